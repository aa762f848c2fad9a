"""The problems and warnings of one config file, each with its line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic_core import PydanticCustomError

from edged.config.document import Document, Problem
from edged.config.phrases import suggestion
from edged.config.places import KeyPath, context, subject
from edged.core.specs import ConfigWarning, WarningKind
from edged.core.text import abridge, printable

MAX_PROBLEMS = 200
MAX_LENGTH = 400  # of a sentence, which may quote a path or a name of any length


def wrong(sentence: str, *below: str | int) -> PydanticCustomError:
    """A problem for a pydantic validator to raise: of the value it checks, or of the key `below` it."""
    return PydanticCustomError("edged", "{sentence}", {"sentence": sentence, "below": below})


@dataclass(slots=True)
class Report:
    """The problems of a file so far. A key of a shared question is reported where it was written."""

    path: Path
    document: Document
    origins: dict[KeyPath, KeyPath] = field(default_factory=dict)
    _warnings: list[tuple[WarningKind, Problem]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.document.problems) > MAX_PROBLEMS

    def problem(self, path: KeyPath, sentence: str) -> None:
        self.document.problems.append(self._placed(path, sentence))

    def about(self, path: KeyPath, predicate: str) -> None:
        """A problem whose sentence begins with the key itself."""
        path = self.origin(path)
        self.document.problems.append(Problem(self.document.line(path), f"{subject(path)} {predicate}"))

    def bare(self, path: KeyPath, sentence: str) -> None:
        """A problem whose sentence names its own place."""
        self.document.problems.append(Problem(self.document.line(self.origin(path)), sentence))

    def warn(self, kind: WarningKind, path: KeyPath, sentence: str) -> None:
        self._warnings.append((kind, self._placed(path, sentence)))

    def hint(self, word: str, known: Iterable[str]) -> str:
        """A suggestion, unless there are so many problems that looking for one would take long."""
        return "" if self.full else suggestion(word, known)

    def origin(self, path: KeyPath) -> KeyPath:
        """Where the value at this path was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]] + path[length:]
        return path

    def line(self, path: KeyPath) -> int:
        return self.document.line(self.origin(path))

    def problems(self) -> list[str]:
        """Sentences in the order of their lines, at most MAX_PROBLEMS and one that says there are more."""
        distinct = sorted(set(self.document.problems))
        more = [f"{self.path}: further problems are not shown"] if len(distinct) > MAX_PROBLEMS else []
        return [self._sentence(problem) for problem in distinct[:MAX_PROBLEMS]] + more

    def warnings(self) -> tuple[ConfigWarning, ...]:
        distinct = sorted(set(self._warnings), key=lambda pair: pair[1])
        return tuple(ConfigWarning(kind, self._sentence(problem)) for kind, problem in distinct[:MAX_PROBLEMS])

    def _placed(self, path: KeyPath, sentence: str) -> Problem:
        path = self.origin(path)
        return Problem(self.document.line(path), context(path) + sentence)

    def _sentence(self, problem: Problem) -> str:
        text = printable(abridge(problem.text, MAX_LENGTH))
        return f"{self.path}:{problem.line}: {text}" if problem.line else f"{self.path}: {text}"
