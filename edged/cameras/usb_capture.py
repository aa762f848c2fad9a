"""The part of cv2.VideoCapture that USB cameras use."""

from __future__ import annotations

from typing import Any, Protocol


class Capture(Protocol):
    def isOpened(self) -> bool: ...  # noqa: N802 OpenCV's name
    def get(self, propId: int, /) -> float: ...  # noqa: N803 OpenCV's name
    def set(self, propId: int, value: float, /) -> bool: ...  # noqa: N803 OpenCV's name
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...
