"""Finds the shortest prefix of a schedule that still breaks a promise, by running it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from support.storm.schedule import Fault


def shortest_prefix(faults: Sequence[Fault], fails: Callable[[Sequence[Fault]], bool]) -> list[Fault]:
    """By halving: at most log2(n) + 1 runs. The whole schedule if it does not fail when it is run again.

    A failure that depends on timing may not come again with every run; then the prefix is longer than necessary.
    """
    short, long = 0, len(faults)  # the first `short` faults did not fail; the first `long` did
    while long - short > 1:
        middle = (short + long) // 2
        if fails(faults[:middle]):
            long = middle
        else:
            short = middle
    return list(faults[:long])
