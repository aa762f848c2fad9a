"""Masks, digests, the measure of change, JPEG."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from edged.cameras.picture import decode_picture, frame_from_bgr
from edged.core.errors import CameraError
from edged.core.types import Frame
from edged.service.picture import CHANGED, change, jpeg, thumbnail

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def scene(seed: int = 0, width: int = 640, height: int = 360) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(40, 200, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC)


def framed(bgr: np.ndarray, *mask: tuple) -> Frame:
    return frame_from_bgr(bgr, mask, time.monotonic())


def noisy(bgr: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 6, bgr.shape)
    return np.clip(bgr + noise, 0, 255).astype(np.uint8)


def changed(before: np.ndarray, after: np.ndarray) -> bool:
    return change(thumbnail(framed(before)), thumbnail(framed(after))) >= CHANGED


def test_frame_is_rgb_and_its_digest_is_of_those_bytes() -> None:
    bgr = scene()
    frame = framed(bgr)
    assert (frame.rgb == bgr[:, :, ::-1]).all()
    assert frame.rgb.flags["C_CONTIGUOUS"]
    assert frame.rgb.dtype == np.uint8
    assert frame.sha256 == hashlib.sha256(frame.rgb.tobytes()).hexdigest()


def test_frame_has_the_time_of_its_capture_not_of_its_decoding() -> None:
    frame = frame_from_bgr(scene(), (), time.monotonic() - 3)
    assert 2.9 < (datetime.now(UTC) - frame.captured_at).total_seconds() < 4
    assert 2.9 < frame.age_s() < 4


def test_masked_pixels_are_black_and_not_in_the_digest() -> None:
    bgr, changed_left = scene(1), scene(1)
    changed_left[:, :300] = scene(2)[:, :300]
    first, second = framed(bgr, LEFT_HALF), framed(changed_left, LEFT_HALF)
    assert not first.rgb[:, :320].any()
    assert first.rgb[:, 322:].any()
    assert first.sha256 == second.sha256 != framed(bgr).sha256
    assert bgr[:, :320].any(), "the caller's picture is not changed"


def test_pixels_under_two_masks_stay_black() -> None:
    frame = framed(np.full((100, 100, 3), 200, np.uint8), LEFT_HALF, LEFT_HALF)
    assert not frame.rgb[:, :50].any()


def test_mask_reaches_the_last_row_and_column() -> None:
    everything = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    assert not framed(np.full((91, 77, 3), 200, np.uint8), everything).rgb.any()


def test_noise_is_not_a_change() -> None:
    assert not changed(noisy(scene(), 1), noisy(scene(), 2))


def test_changing_brightness_is_not_a_change() -> None:
    assert not changed(scene(), (scene() * 0.8).astype(np.uint8))


def test_a_person_who_walks_in_is_a_change() -> None:
    after = noisy(scene(), 2)
    after[200:272, 300:325] = (30, 30, 30)
    assert changed(noisy(scene(), 1), after)


def test_another_scene_is_a_change() -> None:
    assert changed(scene(1), scene(2))


def test_black_pictures_can_be_compared() -> None:
    black = np.zeros((360, 640, 3), np.uint8)
    assert not changed(black, black)
    assert changed(black, scene())


def test_jpeg_is_no_wider_than_requested_and_keeps_its_aspect_ratio() -> None:
    small = decode_picture(jpeg(framed(scene()), max_width=320, quality=90))
    assert small.shape == (180, 320, 3)
    assert np.abs(small.astype(int) - scene(width=320, height=180)).mean() < 12
    assert decode_picture(jpeg(framed(scene()), max_width=4000)).shape == (360, 640, 3)


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8\xff\xe0 no jpeg \xff\xd9", b"\x89PNG\r\n\x1a\n"])
def test_data_that_is_not_a_picture_is_refused(data: bytes) -> None:
    with pytest.raises(CameraError, match="not a picture in a supported format"):
        decode_picture(data)


def test_jpeg_cut_short_is_refused_though_opencv_would_fill_it_with_grey() -> None:
    data = jpeg(framed(scene()))
    with pytest.raises(CameraError, match="truncated"):
        decode_picture(data[: len(data) // 2])
    assert decode_picture(data + b"\0" * 5000).shape == (360, 640, 3), "padding is allowed"


def test_picture_of_absurd_size_is_refused_before_memory_is_allocated() -> None:
    header = bytearray(cv2.imencode(".bmp", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    header[18:26] = (30000).to_bytes(4, "little") * 2
    with pytest.raises(CameraError):
        decode_picture(bytes(header))
