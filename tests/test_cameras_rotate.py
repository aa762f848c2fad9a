"""Every kind of camera turns its pictures upright before it masks them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.cameras import Watched, spec
from support.http import Site, serving_site
from support.rtsp import serving

from edged.cameras.usb_camera import UsbCamera
from edged.core.specs import Rotation

TOP = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.25), (0.0, 0.25))  # of the upright picture


class GreyCapture:
    """A V4L2 device with a grey picture of 64x48 every 20 ms."""

    def isOpened(self) -> bool:  # noqa: N802 OpenCV's name
        return True

    def get(self, _prop: int) -> float:
        return 0.0

    def set(self, _prop: int, _value: float) -> bool:
        return True

    def grab(self) -> bool:
        time.sleep(0.02)  # the camera's rate
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((48, 64, 3), 200, np.uint8)

    def release(self) -> None: ...


@contextmanager
def opened(kind: str, folder: Path, **more: Any) -> Iterator[Watched]:
    """A camera of this kind. Its pictures are wider than high and have no black row."""
    Site.shade = 200
    if kind == "usb":
        with Watched(spec("0", "usb", **more), UsbCamera, open_capture=lambda _: GreyCapture()) as watched:
            yield watched
    elif kind == "path":
        cv2.imwrite(str(folder / "a.png"), np.full((48, 64, 3), 200, np.uint8))
        with Watched(spec(str(folder / "a.png"), "path", **more)) as watched:
            yield watched
    elif kind == "rtsp":
        with serving() as server, Watched(spec(server.url("h264"), **more)) as watched:
            yield watched
    else:
        with serving_site() as site, Watched(spec(f"http://{site}/{kind}", "http", **more)) as watched:
            yield watched


@pytest.mark.parametrize("kind", ["path", "jpeg", "stream", "usb", pytest.param("rtsp", marks=pytest.mark.slow)])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_turned_camera_gives_upright_masked_pictures(kind: str, rotate: Rotation, tmp_path: Path):
    with opened(kind, tmp_path, rotate=rotate, mask=(TOP,)) as watched:
        rgb = watched.grab().rgb
    height, width = rgb.shape[:2]
    assert (height > width) == (rotate in (90, 270))
    assert not rgb[: height // 4].any()
    assert rgb[height // 4 + 2 :].any(axis=(1, 2)).all()
    assert rgb.flags["C_CONTIGUOUS"]
