"""Which questions are meant: all, those of a camera, or one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from edged.config.phrases import suggestion
from edged.core.errors import UsageError
from edged.core.specs import Config
from edged.store.history import Series

Name: TypeAlias = tuple[str, str]  # camera and question


def configured(config: Config | None) -> list[Name]:
    """In the order of the config."""
    cameras = config.cameras if config else ()
    return [(camera.name, question.name) for camera in cameras for question in camera.all_questions()]


def chosen(text: str | None, config: Config | None, stored: Iterable[Series]) -> list[Name]:
    """The questions of `CAMERA` or `CAMERA/QUESTION`, or all: those of the config first, then others with answers.

    Raises UsageError, with what there is.
    """
    names = list(dict.fromkeys([*configured(config), *((each.camera, each.question) for each in stored)]))
    if text is None:
        return names
    camera, slash, question = text.partition("/")
    of_camera = [name for name in names if name[0] == camera]
    if not of_camera:
        raise UsageError(f'no camera "{camera}"{_what_there_is(camera, (name[0] for name in names))}')
    if slash and (camera, question) not in of_camera:
        others = _what_there_is(question, (name[1] for name in of_camera))
        raise UsageError(f'camera "{camera}" has no question "{question}"{others}')
    return [(camera, question)] if slash else of_camera


def _what_there_is(word: str, words: Iterable[str]) -> str:
    known = list(dict.fromkeys(words))
    return suggestion(word, known) or (f"; there are: {', '.join(known)}" if known else "; there are no answers")
