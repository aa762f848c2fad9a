"""The YAML parser's errors, translated: the line to change, and how.

No value of the file is shown, because it may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ruamel.yaml.error import MarkedYAMLError

KEY = re.compile(r"(?P<indent>\s*)(?:- +)*(?P<key>[\w-]+) *:(?P<value>.*)")
BARE_KEY = re.compile(r"\s*(?:- +)*[A-Za-z_][\w-]*:[^\s:/].*")  # `every:5s`, not `rtsp://`
FLOW_KEY = re.compile(r"[\w-]+ *:(?:\s|$)")
BARE_WORD = re.compile(r"(?P<indent>\s*)[\w-]+\s*(?:#.*)?")  # a key without its colon
OPEN_TEXT = re.compile(r"([\w-]+)\s*:\s+[^:,{}\[\]]*$")  # the key of the text that a flow mapping ends with
CLOSED = re.compile(r"([}\]\"'])\s*(?:#.*)?$")  # the end of a line, or of what precedes an error
LAST_WORD = re.compile(r"(?:^|[^\s:,{\[]\s)\s*[\w-]+ *$")  # not the first word of a text
BEGINS = re.compile(r"found character '(?P<character>[^\\'])' that cannot start any token")
NO_SPACE = "put a space after the colon"
NEAR = 1000  # characters; the time of some patterns grows with the square of their number
TAB_INDENTATION = "YAML does not allow tabs for indentation; use spaces"
KEY_AND_VALUE = 'expected "key: value"'
INDENTATION = "wrong indentation: all keys of a mapping must begin in the same column"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The line to change, from 1 (0: unknown), and a sentence without its subject."""

    line: int
    text: str


def diagnose(error: MarkedYAMLError, text: str) -> Diagnosis:
    """Find the change to `text` that removes the error."""
    return next(_diagnoses(_Failure(error, text.splitlines())))


class _Failure:
    """A parser's error with the lines around it. Line numbers count from 0."""

    def __init__(self, error: MarkedYAMLError, lines: list[str]) -> None:
        mark, start = error.problem_mark or error.context_mark, error.context_mark or error.problem_mark
        self.problem = str(error.problem or error.context or "")
        self.context = str(error.context or "")
        self.line: int = mark.line if mark else -1
        self.column: int = mark.column if mark else 0
        self.start: int = start.line if start else -1
        self.start_column: int = start.column if start else 0
        self.lines = lines

    def text(self, line: int) -> str:
        return self.lines[line] if 0 <= line < len(self.lines) else ""

    def before(self) -> str:
        """The part of the line before the error."""
        return self.text(self.line)[: self.column]

    def after(self) -> str:
        """The part of the line from the error on."""
        return self.text(self.line)[self.column :]

    def above(self) -> int:
        """The nearest line above with anything but a comment; -1 if there is none."""
        rows = range(self.line - 1, -1, -1)
        return next((row for row in rows if self.text(row).strip() and self.text(row).lstrip()[0] != "#"), -1)

    def at(self, line: int, text: str) -> Diagnosis:
        return Diagnosis(line + 1, text)


def _diagnoses(failure: _Failure) -> Iterator[Diagnosis]:
    """Diagnoses, the most specific first; there is always one."""
    yield from _tab(failure)
    yield from _alias_or_tag(failure)
    yield from _first_character(failure)
    yield from _colon(failure)
    yield from _line_without_key(failure)
    yield from _flow(failure)
    yield from _quotes(failure)
    yield from _block(failure)
    yield from _documents(failure)
    yield failure.at(failure.line, failure.problem)


def _tab(failure: _Failure) -> Iterator[Diagnosis]:
    if failure.text(failure.line)[failure.column : failure.column + 1] == "\t" or "'\\t'" in failure.problem:
        indentation = not failure.before().strip()
        yield failure.at(failure.line, TAB_INDENTATION if indentation else "a tab character; use a space")


def _alias_or_tag(failure: _Failure) -> Iterator[Diagnosis]:
    if "alias" in failure.problem:
        yield failure.at(failure.line, "an unknown alias; a text that begins with * needs quotes")
    if "tag handle" in failure.problem:
        yield failure.at(failure.line, "an unknown tag; a text that begins with ! needs quotes")
    for kind, character in (("alias", "*"), ("anchor", "&"), ("tag", "!"), ("block scalar", "| or >")):
        if f"scanning an {kind}" in failure.context or f"scanning a {kind}" in failure.context:
            yield failure.at(failure.start, f"a text that begins with {character} needs quotes")


def _first_character(failure: _Failure) -> Iterator[Diagnosis]:
    if match := BEGINS.search(failure.problem):
        yield failure.at(failure.line, f"a text that begins with {match['character']} needs quotes")
    for problem, character in (("sequence entries are not", "-"), ("mapping keys are not", "?")):
        if problem in failure.problem:
            yield failure.at(failure.line, f"a text that begins with {character} needs quotes")


def _colon(failure: _Failure) -> Iterator[Diagnosis]:
    """A second colon: within a text, or in a line that the parser takes for the continuation of the text above."""
    if "mapping values are not allowed" not in failure.problem:
        return
    key, above = KEY.match(failure.text(failure.line)), failure.above()
    if not key or key.start("value") <= failure.column:
        yield failure.at(failure.line, _needs_quotes(key["key"] if key else ""))
        return
    if BARE_KEY.fullmatch(failure.text(above)):
        yield failure.at(above, NO_SPACE)
    yield from _key_without_colon(failure)
    yield failure.at(failure.line, INDENTATION)


def _key_without_colon(failure: _Failure) -> Iterator[Diagnosis]:
    """A word alone in the line above, in the column of this line's key."""
    key, above = KEY.match(failure.text(failure.line)), failure.above()
    word = BARE_WORD.fullmatch(failure.text(above))
    if key and word and word["indent"] == key["indent"]:
        yield failure.at(above, KEY_AND_VALUE)


def _line_without_key(failure: _Failure) -> Iterator[Diagnosis]:
    if "could not find expected ':'" in failure.problem:
        bare = BARE_KEY.fullmatch(failure.text(failure.start))
        yield failure.at(failure.start, NO_SPACE if bare else KEY_AND_VALUE)


def _flow(failure: _Failure) -> Iterator[Diagnosis]:
    """Within `{}` or `[]`."""
    if "while parsing a flow" not in failure.context:
        return
    bracket = failure.text(failure.start)[failure.start_column : failure.start_column + 1]
    if "content, but found ','" in failure.problem:
        yield failure.at(failure.line, "a value is missing before the comma")
    if "stream end" in failure.problem:
        yield failure.at(failure.start, f'"{bracket}" is not closed' if bracket else 'a "[" or "{" is not closed')
    yield from _comma_after(failure, bracket)
    before = failure.before()[-NEAR:]
    key = OPEN_TEXT.search(before)
    advice = [_needs_quotes(key[1] if key else "")]
    if "got ':'" in failure.problem and LAST_WORD.search(before):
        advice.append("add the comma that is missing before the key")
    if failure.line != failure.start:
        advice.append(f'close "{bracket}" of line {failure.start + 1}')
    yield failure.at(failure.line, ", or ".join(advice))


def _comma_after(failure: _Failure, bracket: str) -> Iterator[Diagnosis]:
    """Something new begins after a bracket or a quote was closed."""
    if "but got" not in failure.problem or "got ':'" in failure.problem:
        return
    line = failure.line if failure.before().strip() else failure.above()
    closed = CLOSED.search((failure.before() if line == failure.line else failure.text(line))[-NEAR:])
    if closed and closed[1] in "}]":
        other = ""
        if line != failure.line:
            other = f', or "{bracket}" of line {failure.start + 1} is not closed'
        elif "<scalar>" in failure.problem and not FLOW_KEY.match(failure.after()):
            other = ', or put the whole text in quotes ("…")'  # such as [A] gate open?
        yield failure.at(line, f'a comma is missing after "{closed[1]}"{other}')
    elif closed:
        other = '"' if closed[1] == "'" else "'"
        quotes = f"put the whole text in {other}…{other}"
        yield failure.at(line, f"a comma is missing after the closing {closed[1]}, or {quotes}")


def _quotes(failure: _Failure) -> Iterator[Diagnosis]:
    if "escape" in failure.problem:
        yield failure.at(failure.line, "a backslash inside \"…\" begins an escape; put the text in '…'")
    if "quoted scalar" in failure.context:
        yield failure.at(failure.start, "a quote is not closed")


def _block(failure: _Failure) -> Iterator[Diagnosis]:
    if "expected <block end>" not in failure.problem:
        return
    match = KEY.match(failure.text(failure.line))
    first = match["value"].strip()[:1] if match else ""
    if "<scalar>" in failure.problem and first in ("'", '"'):
        other = '"' if first == "'" else "'"
        yield failure.at(failure.line, f"text after the closing {first}; put the whole text in {other}…{other}")
    if "<scalar>" in failure.problem and match and first:
        yield failure.at(failure.line, _needs_quotes(match["key"]))
    if closing := re.search(r"found '([\]}])'", failure.problem):
        yield failure.at(failure.line, f'"{closing[1]}" without an opening bracket')
    yield from _key_without_colon(failure)
    yield failure.at(failure.line, INDENTATION)


def _documents(failure: _Failure) -> Iterator[Diagnosis]:
    if "another document" in failure.problem:
        yield failure.at(failure.line, "a second document (---); the config must be a single document")
    if "<document start>" in failure.problem:
        yield failure.at(failure.line, KEY_AND_VALUE)


def _needs_quotes(key: str) -> str:
    return f'put the {"prompt" if key == "prompt" else "text"} in quotes ("…")'
