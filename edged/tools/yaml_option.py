"""Options of the command line whose value is YAML, as in the config file."""

from __future__ import annotations

from edged.config.document import parse
from edged.core.errors import UsageError


def yaml_option(option: str, text: str) -> object:
    """The value of an option. Raises UsageError with every problem."""
    document = parse(text)
    if document.problems:
        raise UsageError("\n".join(f"{option}: {problem.text}" for problem in document.problems))
    return document.tree
