"""Runs one of edged's cameras in a process of its own, looks at it again and again, and tells what came of it."""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import fields
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any

# The fork server imports this module once for all probes.
import cv2
import numpy as np

from edged.cameras.source import open_camera
from edged.core.errors import CameraError
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, SourceSpec
from edged.core.types import CameraState, Frame
from vm import pictures

ANSWER_S = 60.0
WRONG = 24  # of 255: a pixel that differs by more is damaged
NOBODY = 65534

Look = dict[str, Any]


class Probe:
    """The case's end. Each of so many `lookers` looks every `every_s` until `finish`.

    `more`: `as_nobody` (a user without rights), `compare` (pixels with those of the bank at this path), and settings
    of the spec.
    """

    def __init__(
        self, context: ForkServerContext, address: str, every_s: float = 0.25, lookers: int = 1, **more: Any
    ) -> None:
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, address, every_s, lookers, more)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._await("started")

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def looks(self) -> list[Look]:
        """All looks so far."""
        return list(self._ask("looks"))

    def state(self) -> dict[str, Any]:
        """`states` (of the availability), `figures` and `log` so far."""
        return dict(self._ask("state"))

    def until(self, limit_s: float, is_met: Any) -> Look | None:
        """The first look for which `is_met(look)`; None after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while True:
            for look in self.looks():
                if is_met(look):
                    return look
            if time.monotonic() > deadline:
                return None
            time.sleep(0.1)

    def reload(self) -> None:
        """Close the camera and open it again at once."""
        self._ask("reload")

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def finish(self) -> dict[str, Any]:
        """End it; everything that it saw."""
        result = {"looks": self.looks(), **self.state()}
        try:
            result["close_s"] = self._ask("close")
        finally:
            self.kill()
        return result

    def _ask(self, what: str) -> Any:
        self._pipe.send(what)
        return self._await(what)

    def _await(self, what: str) -> Any:
        if not self._pipe.poll(ANSWER_S):
            raise TimeoutError(f"the probe did not answer within {ANSWER_S:g} s: {what}")
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((time.monotonic(), record.levelname, record.getMessage()))


def serve(pipe: Connection, address: str, every_s: float, lookers: int, more: dict[str, Any]) -> None:
    """The child. It answers to Probe until its end of the pipe is closed."""
    try:
        if more.pop("as_nobody", False):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        bank = pictures.read(more.pop("compare")) if "compare" in more else []
        records = Records()
        logging.getLogger("edged").addHandler(records)
        logging.getLogger("edged").setLevel(logging.DEBUG)
        watched = Watched(spec_of(address, more), bank, every_s, lookers)
        watched.start()
        pipe.send("started")
        while True:
            match pipe.recv():
                case "looks":
                    pipe.send(watched.looks[:])
                case "state":
                    pipe.send({"log": records.lines[:], **watched.state()})
                case "reload":
                    watched.reload()
                    pipe.send(None)
                case "close":
                    pipe.send(watched.close())
    except EOFError:
        return
    except Exception as error:
        pipe.send(RuntimeError("".join(traceback.format_exception(error))))


class Watched:
    """A camera, and the threads that look at it."""

    def __init__(self, spec: CameraSpec, bank: Sequence[bytes], every_s: float, lookers: int) -> None:
        self.looks: list[Look] = []
        self._states: list[dict[str, Any]] = []
        self._spec = spec
        self._bank = bank
        self._every_s = every_s
        self._stop = threading.Event()
        self._camera = self._opened()
        self._threads = [threading.Thread(target=self._keep_looking, daemon=True) for _ in range(lookers)]

    def start(self) -> None:
        self._camera.start()
        for thread in self._threads:
            thread.start()

    def state(self) -> dict[str, Any]:
        counters = self._camera.figures()
        figures = {field.name: getattr(counters, field.name) for field in fields(counters)}
        return {"states": self._states[:], "figures": figures}

    def reload(self) -> None:
        old = self._camera
        old.close()
        self._camera = self._opened()
        self._camera.start()

    def close(self) -> float:
        """How long the camera took to close, in seconds."""
        self._stop.set()
        for thread in self._threads:
            thread.join(ANSWER_S / 2)
        began = time.monotonic()
        self._camera.close()
        return time.monotonic() - began

    def _opened(self) -> Any:
        return open_camera(self._spec, lambda state: self._states.append(told(state)))

    def _keep_looking(self) -> None:
        while not self._stop.wait(self._every_s):
            began = time.monotonic()
            try:
                seen = look_of(self._camera.grab(self._stop), self._bank)
            except CameraError as error:
                seen = {"ok": False, "kind": type(error).__name__, "error": str(error)}
            except Exception as error:  # a case's finding, like any other
                seen = {"ok": False, "kind": type(error).__name__, "error": "".join(traceback.format_exception(error))}
            self.looks.append({"t": time.monotonic(), "took": time.monotonic() - began, **seen})


def spec_of(address: str, more: dict[str, Any]) -> CameraSpec:
    """Settings that this checkout's CameraSpec does not have are left out."""
    known = {field.name for field in fields(CameraSpec)}
    settings = {name: value for name, value in more.items() if name in known}
    return CameraSpec("dock", SourceSpec("usb", Secret(address), f"usb:{address}"), **settings)


def told(state: CameraState) -> dict[str, Any]:
    return {"t": time.monotonic(), "online": state.online, "reason": state.reason}


def look_of(frame: Frame, bank: Sequence[bytes]) -> Look:
    """`claimed` and `true` are ages at one moment; `number` and `true` are None if the bars cannot be read."""
    now, claimed = time.monotonic(), frame.age_s()
    number = pictures.number_in(frame.rgb)
    return {
        "ok": True,
        "claimed": claimed,
        "number": number,
        "true": None if number is None else pictures.age_s(number, now),
        "mean": float(frame.rgb.mean()),
        "size": [frame.rgb.shape[1], frame.rgb.shape[0]],
        "wrong": wrong_share(frame, bank[number % len(bank)]) if bank and number is not None else None,
    }


def wrong_share(frame: Frame, sent: bytes) -> float:
    """The share of pixels that are not those that the camera sent."""
    bgr = cv2.imdecode(np.frombuffer(sent, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    differs = cv2.absdiff(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), frame.rgb).max(axis=2) > WRONG
    return float(differs.mean())
