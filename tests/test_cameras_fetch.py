"""One picture, from a file or a URL, as `edged ask --image` takes it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.http import LOGIN, Site, serving_site

from edged.cameras.source import fetch_picture
from edged.core.errors import CameraError

NEVER = threading.Event()


def test_one_picture_from_a_file_or_an_address(tmp_path: Path) -> None:
    Site.shade = 60
    png = tmp_path / "a.png"
    cv2.imwrite(str(png), np.full((8, 8, 3), 33, np.uint8))
    assert fetch_picture(str(png), NEVER).rgb.mean() == 33
    with serving_site() as site:
        assert round(fetch_picture(f"http://{site}/jpeg", NEVER).rgb.mean()) == 60
        assert round(fetch_picture(f"http://{LOGIN}{site}/basic", NEVER).rgb.mean()) == 60
        assert round(fetch_picture(f"http://{site}/stream", NEVER).rgb.mean()) == 60


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("/nowhere/a.jpg", "/nowhere/a.jpg cannot be read: No such file or directory"),
        ("/tmp", "/tmp cannot be read: Is a directory"),
        ("rtsp://viewer:pw@host/a", "pictures from rtsp:// are not supported (use a file or an http(s) address)"),
    ],
)
def test_picture_that_is_not_available_is_an_error_with_the_reason(source: str, error: str) -> None:
    with pytest.raises(CameraError) as caught:
        fetch_picture(source, NEVER)
    assert str(caught.value) == error


def test_one_picture_from_a_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(CameraError, match="is not a regular file"):
        fetch_picture(str(tmp_path / "a.jpg"), NEVER)
