"""The register of the kinds of faults.

Each kind is a generator: it begins the fault, yields once, ends it, and returns its effect: a count of what the fault
has really hit, such as connections, bytes or processes. 0 means that it hit nothing; the table of the run shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

from support.storm.parts import Parts
from support.storm.proxy import Mode
from support.storm.schedule import Fault, Range

Running: TypeAlias = Generator[None, None, int]
Run: TypeAlias = Callable[[Parts, Fault], Running]


@dataclass(frozen=True, slots=True)
class Kind:
    """`tls`: only in storms with TLS (True) or without it (False); None: in all."""

    range: Range
    run: Run
    tls: bool | None


KINDS: dict[str, Kind] = {}


def kind(
    name: str, places: tuple[tuple[str, ...], ...], least_s: float, most_s: float, tls: bool | None = None
) -> Callable[[Run], Run]:
    """Register a kind of fault. For `places`, see Range; for `tls`, Kind."""

    def register(run: Run) -> Run:
        KINDS[name] = Kind(Range(places, least_s, most_s), run, tls)
        return run

    return register


def finish(running: Running) -> int:
    """End the fault; its effect."""
    try:
        next(running)
    except StopIteration as end:
        return int(end.value)
    raise AssertionError("a fault yields once")


def ranges(seconds: float, tls: bool) -> dict[str, Range]:
    """The kinds for storms of this length, with or without TLS: none that may last for more than a third of it."""
    fitting = {name: each for name, each in KINDS.items() if each.range.most_s <= seconds / 3}
    return {name: each.range for name, each in fitting.items() if each.tls in (None, tls)}


def cut(parts: Parts, names: tuple[str, ...]) -> Running:
    """The connections of these parts end, and others are refused."""
    proxies = [parts.proxies[name] for name in names]
    before = sum(proxy.affected for proxy in proxies)
    for proxy in proxies:
        proxy.cut()
    yield
    for proxy in proxies:
        proxy.mend()
    return sum(proxy.affected for proxy in proxies) - before


def failing(parts: Parts, fault: Fault, mode: Mode) -> Running:
    """The network in front of the fault's part fails in this way."""
    proxy = parts.proxies[fault.parts[0]]
    before = proxy.affected
    proxy.fail(mode, fault.seed)
    yield
    if mode not in ("held", "trickle"):  # the rest of these streams would make no sense
        proxy.cut()
    proxy.mend()
    return proxy.affected - before
