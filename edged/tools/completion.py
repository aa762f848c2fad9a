"""A completion file for bash, made from the help of each command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

OPTION = re.compile(r"^  (?:-\w, )?(--[\w-]+)(?: (\{[^}]+\}|[A-Za-z][\w-]*))?", re.MULTILINE)
# Without a suggestion of this function, bash suggests file names.
SCRIPT = """\
# Completion of edged for bash, written by `edged install`.
_edged() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} word command= words=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ $word == -* ]] || {{ command=$word; break; }}
    done
    case "$command $previous" in
{values}
    *)
        case "$command" in
{options}
        esac
        [[ -z $command || $current == -* ]] || words=
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _edged edged
"""


@dataclass(frozen=True, slots=True)
class Option:
    """An option with its value as the help names it: `FILE`, `{a,b}`, or nothing."""

    name: str
    value: str


def script(helps: Mapping[str, str]) -> str:
    """The file, from the help text of each command."""
    options = {command: _options(text.partition("\nexample")[0]) for command, text in helps.items()}
    commands = {"": [*helps, "--help", "--version"]}
    commands |= {command: [option.name for option in each] for command, each in options.items()}
    return SCRIPT.format(
        values="\n".join(
            _case(f"{command} {option.name}", _choices(option.value), 4)
            for command, each in options.items()
            for option in each
            if option.value
        ),
        options="\n".join(_case(command, words, 8) for command, words in commands.items()),
    )


def _options(text: str) -> list[Option]:
    return [Option(name, value) for name, value in OPTION.findall(text)]


def _choices(value: str) -> list[str]:
    return value.strip("{}").split(",") if value.startswith("{") else []


def _case(pattern: str, words: list[str], indent: int) -> str:
    return f'{" " * indent}"{pattern}") words="{" ".join(words)}" ;;'
