"""edged, with a model of a test in the place of that of its config."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edged.core.interfaces import VisionModel
    from edged.core.specs import ModelSpec

TESTS = Path(__file__).parent.parent
SEARCH_PATH = f"{TESTS.parent}:{TESTS}"  # PYTHONPATH of a program that calls edged_with


def edged_with(load: Callable[[ModelSpec], VisionModel], arguments: Sequence[str]) -> int:
    """Run a command of edged, which is imported only now; its exit code."""
    from edged.cli import main
    from edged.tools import load_model

    setattr(load_model, "load_model", load)  # noqa: B010  # mypy knows its type
    sys.argv = ["edged", *arguments]
    return main()
