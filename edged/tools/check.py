"""`edged check`: judge a config file without opening a camera, the model or the broker."""

from __future__ import annotations

from pathlib import Path

from edged.config.load import load
from edged.core.errors import EXIT_OK, EXIT_WRONG
from edged.core.text import counted
from edged.tools.streams import report, warn, write_line
from edged.vlm import grammar


def check(path: Path, strict: bool) -> int:
    """Report warnings and problems; the exit code. Raises ConfigError. With `strict`, a warning makes it 1."""
    config = load(path, grammar.problem)
    warn(*(f"warning: {warning}" for warning in config.warnings))
    if strict and config.warnings:
        report(f"edged: {path}: {counted(len(config.warnings), 'warning')} (--strict)")
        return EXIT_WRONG
    questions = len(config.all_questions())
    write_line(f"{path}: valid ({counted(len(config.cameras), 'camera')}, {counted(questions, 'question')})")
    return EXIT_OK
