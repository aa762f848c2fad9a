"""Cameras whose every report is recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from edged.cameras.source import open_camera
from edged.core.errors import CameraError
from edged.core.interfaces import Camera
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, SourceKind, SourceSpec
from edged.core.types import CameraState, Frame
from support.broker import until


class Watched:
    """A camera, started and closed by `with`, and every state it reported."""

    def __init__(self, spec: CameraSpec, make: Callable[..., Camera] = open_camera, **more: object) -> None:
        self.states: list[CameraState] = []
        self.camera = make(spec, self.states.append, **more)
        self.stop = threading.Event()

    def __enter__(self) -> Watched:
        self.camera.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.camera.close()

    def grab(self) -> Frame:
        return self.camera.grab(self.stop)

    def outcome(self, within_s: float = 3.0) -> str:
        """The result of a look: a picture, its error, or that it hangs."""
        outcomes = ["the look hangs"]

        def look() -> None:
            try:
                outcomes[0] = f"a picture of {self.grab().rgb.shape[1]} columns"
            except CameraError as error:
                outcomes[0] = str(error)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        thread.join(within_s)
        return outcomes[0]

    def wait_for(self, online: bool, count: int = 1, within_s: float = 30.0) -> CameraState:
        """The newest state, once there were `count` reports with this `online`."""
        until(lambda: sum(state.online is online for state in list(self.states)) >= count, within_s)
        return self.states[-1]


def spec(url: str, kind: SourceKind = "rtsp", shown: str | None = None, **more: Any) -> CameraSpec:
    source = SourceSpec(kind, Secret(url), shown or url.rpartition("@")[2])
    return CameraSpec("dock", source, **more)
