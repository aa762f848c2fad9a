"""`edged check`: judge a config file without opening a camera, the model or the broker."""

from __future__ import annotations

from pathlib import Path

from edged.config.load import ConfigError, load
from edged.core.errors import EXIT_OK, EXIT_WRONG
from edged.core.specs import Config
from edged.core.text import counted
from edged.tools.streams import report, write_line
from edged.vlm import grammar


def check(path: Path, strict: bool) -> int:
    """Report warnings and problems; the exit code. Raises ConfigError. With `strict`, a warning makes it 1."""
    config = load(path)
    report(*(f"warning: {warning}" for warning in config.warnings))
    _check_grammars(config)
    if strict and config.warnings:
        report(f"edged: {path}: {counted(len(config.warnings), 'warning')} (--strict)")
        return EXIT_WRONG
    questions = sum(len(camera.all_questions()) for camera in config.cameras)
    write_line(f"{path}: valid ({counted(len(config.cameras), 'camera')}, {counted(questions, 'question')})")
    return EXIT_OK


def _check_grammars(config: Config) -> None:
    """Raises ConfigError with each JSON schema that cannot be compiled to a grammar."""
    problems = []
    for camera in config.cameras:
        for question in camera.all_questions():
            form = question.answer.grammar()
            if form and (why := grammar.problem(form)):
                place = f'{config.path}: camera "{camera.name}": question "{question.name}"'
                problems.append(f"{place}: the answer cannot be compiled to a grammar: {why}")
    if problems:
        raise ConfigError(problems)
