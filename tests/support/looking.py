"""Looks at a camera of the scripted server, each with the truth about its picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edged.core.errors import CameraError, StaleFrame
from edged.core.types import Frame
from support.cameras import Watched
from support.clips import number_in, psnr
from support.scripted_rtsp import ScriptedServer

CLAIM_S = 0.3  # the stated age may differ from the true one by this much
WHOLE_DB = 30.0  # PSNR of an undamaged picture; damaged ones have 10 to 25


@dataclass(frozen=True, slots=True)
class Look:
    """A picture or a refusal. `truth` tells what is wrong with the picture; empty if nothing is.

    `age_s` is the picture's true age, counted from the moment the server had sent it.
    """

    at: float
    refusal: str = ""
    stale: bool = False
    number: int | None = None
    age_s: float = 0.0
    truth: str = ""
    frame: Frame | None = field(default=None, repr=False)


def look(server: ScriptedServer, watched: Watched, by_capture: bool = False) -> Look:
    """With `by_capture`, the stated time is compared with the camera's capture of the picture, not with its sending."""
    try:
        frame = watched.grab()
    except CameraError as error:
        return Look(time.monotonic(), str(error), isinstance(error, StaleFrame))
    number, now = number_in(frame.rgb), time.monotonic()
    if number is None:
        return Look(now, truth="damaged: its bars cannot be read", frame=frame)
    sent = server.newest(number)
    error_s = frame.captured_mono - (sent.captured if by_capture else sent.sent)
    quality, wrong = psnr(frame.rgb, number), []
    if quality < WHOLE_DB:
        wrong.append(f"damaged: PSNR {quality:.0f} dB")
    if abs(error_s) > CLAIM_S:
        wrong.append(
            f"stated age {now - frame.captured_mono:.2f} s, true age {now - frame.captured_mono + error_s:.2f} s"
        )
    return Look(now, number=number, age_s=now - sent.sent, truth="; ".join(wrong), frame=frame)


def looks(
    server: ScriptedServer, watched: Watched, for_s: float, every_s: float = 0.1, by_capture: bool = False
) -> list[Look]:
    until_mono, taken = time.monotonic() + for_s, []
    while time.monotonic() < until_mono:
        taken.append(look(server, watched, by_capture))
        threading.Event().wait(every_s)  # at another position in the group of pictures
    return taken


def first(
    server: ScriptedServer, watched: Watched, within_s: float, accept: Callable[[Look], bool] = lambda _look: True
) -> Look:
    """The first picture that is accepted. Fails after `within_s`, with the last refusal."""
    deadline, last = time.monotonic() + within_s, None
    while time.monotonic() < deadline:
        last = look(server, watched)
        if last.frame is not None and accept(last):
            return last
        threading.Event().wait(0.05)
    raise AssertionError(f"no such picture within {within_s:g} s; the last look: {last}")


def given(taken: Iterable[Look]) -> list[Look]:
    return [each for each in taken if each.frame is not None]


def wrong(taken: Iterable[Look]) -> list[str]:
    """What is wrong with the pictures given, e.g. `12: damaged: PSNR 21 dB`."""
    return [f"{each.number}: {each.truth}" for each in taken if each.truth]
