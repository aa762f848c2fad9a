"""How many examples a property is tried with."""

from __future__ import annotations

from hypothesis import settings


def examples(suite: int) -> settings:
    """So many in the ordinary suite, and fifty times as many with --long (see the profiles in conftest.py)."""
    return settings(max_examples=suite * settings().max_examples // 100)
