"""Every kind of camera turns its pictures upright before it masks them."""

from __future__ import annotations

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
from support.usb import FakeCapture, watching

from edged.core.specs import Rotation

TOP = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.25), (0.0, 0.25))  # of the upright picture


@contextmanager
def opened(kind: str, folder: Path, **more: Any) -> Iterator[Watched]:
    """A camera of this kind. Its pictures are wider than high and have no black row."""
    Site.shade = 200
    if kind == "usb":
        with watching(FakeCapture(), **more) as watched:
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
