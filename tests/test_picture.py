"""Masks, digests, the measure of change, JPEG."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import cache

import cv2
import numpy as np
import pytest
from support.yard.camera import Yard
from support.yard.day import CLOTHES, TENTH, Colour, Moment, Person
from support.yard.weather import WEATHERS

from edged.cameras.picture import decode_picture, frame_from_bgr
from edged.core.errors import CameraError
from edged.core.specs import RegionSpec
from edged.core.types import Frame
from edged.service.picture import CHANGED, change, jpeg, preview, thumbnail
from edged.service.region import cut

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def scene(seed: int = 0, width: int = 640, height: int = 360) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(40, 200, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC)


def framed(bgr: np.ndarray, *mask: tuple) -> Frame:
    return frame_from_bgr(bgr, mask, time.monotonic())


def framed_rgb(rgb: np.ndarray) -> Frame:
    return framed(rgb[:, :, ::-1])


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


STAR = ((0.5, 0.05), (0.78, 0.95), (0.05, 0.4), (0.95, 0.4), (0.22, 0.95))
TWICE_AROUND = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7))
CROSSING = {
    "star": STAR,
    "star, drawn backwards": STAR[::-1],
    "bow tie": ((0.1, 0.1), (0.9, 0.9), (0.9, 0.2), (0.1, 0.9)),
    "twice around": TWICE_AROUND,
    "four times around": TWICE_AROUND * 2,
}


def windings(polygon: tuple, width: int, height: int) -> np.ndarray:
    """How often the polygon goes around the middle of each pixel, by the sum of angles. Height x width."""
    middles = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1) @ [1, 1j]
    around = (np.array(polygon) * (width, height)) @ [1, 1j]
    turns = [
        np.angle((end - middles) / (start - middles)) for start, end in zip(around, np.roll(around, -1), strict=True)
    ]
    return np.asarray(np.rint(np.array(turns).sum(axis=0) / (2 * np.pi)), int)


def near_edges(polygon: tuple, width: int, height: int) -> np.ndarray:
    """True for pixels that an edge may touch, where rounding decides."""
    around = np.rint(np.array(polygon) * (width, height)).astype(np.int32)
    return cv2.polylines(np.zeros((height, width), np.uint8), [around], True, 1, thickness=5).astype(bool)


def random_polygons() -> list[tuple]:
    rng = np.random.default_rng(5)
    return [tuple(map(tuple, rng.random((corners, 2)))) for corners in (3, 4, 5, 5, 6, 7, 9, 12, 30)]


@pytest.mark.parametrize("polygon", [*CROSSING.values(), *random_polygons()], ids=[*CROSSING, *map(str, range(9))])
def test_a_mask_that_crosses_itself_covers_all_that_it_goes_around_and_nothing_else(polygon: tuple) -> None:
    width, height = 160, 90
    frame = framed(np.full((height, width, 3), 200, np.uint8), polygon)
    black, inside = (frame.rgb == 0).all(axis=2), windings(polygon, width, height) != 0
    unclear = near_edges(polygon, width, height)
    assert black[inside & ~unclear].all()
    assert not black[~inside & ~unclear].any()
    assert (inside & ~unclear).sum() > 50, "the rest would prove nothing"


def test_the_middle_of_a_star_is_in_its_region() -> None:
    picture = np.full((90, 160, 3), 200, np.uint8)
    left, top, right, bottom = 0.05, 0.05, 0.95, 0.95
    seen = cut(framed(picture), RegionSpec("star", (left, top, right, bottom), STAR)).rgb
    inside = windings(STAR, 160, 90)[round(top * 90) : round(bottom * 90), 8:152] != 0
    assert (seen.any(axis=2) == inside).all()


def asphalt(seed: int) -> np.ndarray:
    """1080p: grey, a bright wall on the left, leaves at the top, and noise by the seed."""
    return _asphalt(seed).copy()


@cache
def _asphalt(seed: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    bgr = np.full((1080, 1920, 3), 95, np.uint8)
    bgr[:, :300] = 165
    bgr[:150] = cv2.resize(rng.integers(40, 130, (15, 192, 3), dtype=np.uint8), (1920, 150))
    return noisy(bgr, seed)


def with_person(bgr: np.ndarray, colour: tuple[int, int, int], share: float = 0.1, left: int = 1200) -> np.ndarray:
    """A person, `share` of the picture's height tall: three times as tall as wide, in one BGR colour."""
    after, height = bgr.copy(), round(share * bgr.shape[0])
    after[600 : 600 + height, max(0, left) : left + height // 3] = colour
    return after


def test_noise_is_not_a_change() -> None:
    assert not changed(noisy(scene(), 1), noisy(scene(), 2))


def test_noise_in_a_small_picture_is_not_a_change() -> None:
    small = np.full((96, 128, 3), 90, np.uint8)
    assert not changed(noisy(small, 1), noisy(small, 2))


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.2])
def test_changing_brightness_is_not_a_change(factor: float) -> None:
    assert not changed(asphalt(1), np.clip(asphalt(2) * factor, 0, 255).astype(np.uint8))


def test_another_white_balance_is_not_a_change() -> None:
    assert not changed(asphalt(1), np.clip(asphalt(2) * [0.8, 1.0, 1.2], 0, 255).astype(np.uint8))


def test_the_shadow_of_a_cloud_over_a_part_of_the_picture_is_not_a_change() -> None:
    shade = np.linspace(0.5, 1.0, 1920)[None, :, None]
    assert not changed(asphalt(1), (asphalt(2) * shade).astype(np.uint8))


def test_compression_is_not_a_change() -> None:
    assert not changed(*(decode_picture(jpeg(framed(asphalt(seed)), 1920, quality=15)) for seed in (1, 2)))


@pytest.mark.parametrize("rows", [-4, 4])
def test_leaves_and_a_camera_that_move_a_little_are_not_a_change(rows: int) -> None:
    assert not changed(asphalt(1), np.roll(asphalt(2), (rows, 3), (0, 1)))


def test_snowflakes_are_not_a_change() -> None:
    after = asphalt(2)
    for x, y in np.random.default_rng(3).permutation(np.argwhere(np.ones((19, 10))))[:40] * 100 + 15:
        after[y : y + 14, x : x + 14] = 230
    assert not changed(asphalt(1), after)


PEOPLE = {"dark": (58, 58, 60), "light": (210, 210, 215), "red, as bright as the asphalt": (55, 60, 190)}


@pytest.mark.parametrize("colour", PEOPLE.values(), ids=PEOPLE)
@pytest.mark.parametrize("share", [1 / 14, 1 / 10, 1 / 3])
@pytest.mark.parametrize("brightness", [0.7, 1.0])
def test_a_person_who_appears_or_leaves_is_a_change(colour: Colour, share: float, brightness: float) -> None:
    yard, person = asphalt(1), with_person(asphalt(2), colour, share)
    dimmed = (person * brightness).astype(np.uint8)
    assert changed(yard, dimmed)
    assert changed(dimmed, yard)


@pytest.mark.parametrize("left", [-18, 1920 - 18])
def test_a_person_half_of_whom_is_at_the_edge_is_a_change(left: int) -> None:
    assert changed(asphalt(1), with_person(asphalt(2), (58, 58, 60), left=left))


def test_a_person_who_moves_is_a_change() -> None:
    assert changed(with_person(asphalt(1), (58, 58, 60), left=700), with_person(asphalt(2), (58, 58, 60), left=760))


def test_a_gate_that_opens_slowly_adds_up_to_a_change() -> None:
    """Each step is less than a cell, and no change from the look before."""
    pictures = [asphalt(seed) for seed in range(8)]
    for step, after in enumerate(pictures):
        after[400:700, 900 : 1300 - 8 * step] = 150
    measured = [change(thumbnail(framed(pictures[0])), thumbnail(framed(after))) for after in pictures]
    assert not changed(pictures[0], pictures[1])
    assert not changed(pictures[6], pictures[7])
    assert measured[1] < CHANGED <= measured[4]
    assert measured == sorted(measured)


HOURS = {"day": 1300, "night": 240}  # looks


@pytest.mark.parametrize("number", HOURS.values(), ids=HOURS)
@pytest.mark.parametrize("weather", WEATHERS)
def test_in_the_synthetic_yard_a_person_at_the_edge_is_a_change_and_weather_rarely_is(
    weather: str, number: int
) -> None:
    """tests/bench/bench_yard.py counts over days."""
    yard = Yard(6, WEATHERS[weather])
    yard.look(Moment(), number - 1)  # sets the exposure
    first, *empty = (thumbnail(framed_rgb(yard.look(Moment(), number + later))) for later in range(5))
    at_the_edge = Person(0.988, TENTH, *CLOTHES["dark"])
    somebody = thumbnail(framed_rgb(yard.look(Moment((at_the_edge,)), number + 5)))
    assert sum(change(first, after) >= CHANGED for after in empty) <= 1
    assert change(first, somebody) >= CHANGED


FILLED = {  # BGR, before and after
    "a lamp that turns red": ((40, 40, 40), (40, 40, 210)),
    "a lamp that turns from red to green": ((40, 40, 210), (40, 200, 40)),
    "a door that opens to the dark": ((150, 150, 150), (20, 20, 20)),
    "a light that is switched on": ((30, 30, 30), (120, 120, 120)),
}


@pytest.mark.parametrize(("before", "after"), FILLED.values(), ids=FILLED)
def test_a_region_that_is_filled_by_what_changes_has_changed(before: Colour, after: Colour) -> None:
    pictures = [noisy(np.full((400, 600, 3), colour, np.uint8), seed) for seed, colour in enumerate((before, after))]
    assert changed(*pictures)
    assert changed(*reversed(pictures))


def test_another_scene_is_a_change() -> None:
    assert changed(scene(1), scene(2))


def test_black_pictures_can_be_compared() -> None:
    black = np.zeros((360, 640, 3), np.uint8)
    assert not changed(black, black)
    assert changed(black, scene())
    assert changed(scene(), black)


def test_the_first_picture_is_encoded_without_file_descriptors() -> None:
    """Pillow imports its formats when they are first used."""
    encode = (
        "import resource, numpy; from edged.service import picture; from types import SimpleNamespace\n"
        "frame = SimpleNamespace(rgb=numpy.zeros((32, 32, 3), numpy.uint8))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\n"
        "picture.lossless(frame)\n"
        "picture.scaled_down(picture.jpeg(frame), 500)"
    )
    subprocess.run([sys.executable, "-c", encode], check=True, timeout=60)


def test_jpeg_has_no_longer_side_than_requested_and_keeps_its_aspect_ratio() -> None:
    small = decode_picture(jpeg(framed(scene()), max_side=320, quality=90))
    assert small.shape == (180, 320, 3)
    assert np.abs(small.astype(int) - scene(width=320, height=180)).mean() < 12
    assert decode_picture(jpeg(framed(scene()), max_side=4000)).shape == (360, 640, 3)


def test_jpeg_limits_the_longer_side_of_a_tall_picture_too() -> None:
    tall = np.rot90(scene()).copy()
    assert decode_picture(jpeg(framed(tall), max_side=320)).shape == (320, 180, 3)


@pytest.mark.parametrize("max_bytes", [300_000, 30_000, 3_000])
def test_jpeg_is_scaled_down_until_it_has_the_size_that_was_asked_for(max_bytes: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    data = jpeg(framed(noise), max_bytes=max_bytes)
    height, width, _ = decode_picture(data).shape
    assert max_bytes / 3 < len(data) <= max_bytes
    assert width / height == pytest.approx(16 / 9, rel=0.05)


def test_jpeg_ends_at_the_least_side_if_the_size_is_impossible() -> None:
    assert decode_picture(jpeg(framed(scene()), max_bytes=10)).shape == (9, 16, 3)


@pytest.mark.parametrize(
    ("size", "reduced"), [((640, 360), (640, 360)), ((1920, 1080), (640, 360)), ((900, 1), (450, 1))]
)
def test_a_preview_is_reduced_by_a_whole_factor_and_keeps_its_colours(
    size: tuple[int, int], reduced: tuple[int, int]
) -> None:
    width, height = size
    shown = decode_picture(preview(framed(scene(width=width, height=height)), max_side=640))
    assert shown.shape == (reduced[1], reduced[0], 3)
    assert np.abs(shown.astype(int) - cv2.resize(scene(width=width, height=height), reduced)).mean() < 4


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8\xff\xe0 no jpeg \xff\xd9", b"\x89PNG"])
def test_data_that_is_not_a_picture_is_refused(data: bytes) -> None:
    with pytest.raises(CameraError, match=r"^the data is not a picture in a supported format, such as JPEG or PNG$"):
        decode_picture(data)


def test_a_png_gives_its_pixels_in_colour_and_in_8_bits() -> None:
    colour = scene()
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 256
    assert (decode_picture(cv2.imencode(".png", colour)[1].tobytes()) == colour).all()
    decoded = decode_picture(cv2.imencode(".png", grey)[1].tobytes())
    assert decoded.dtype == np.uint8
    assert (decoded == np.arange(64).reshape(8, 8, 1).repeat(3, axis=2)).all()


def test_jpeg_cut_short_is_refused_though_opencv_would_fill_it_with_grey() -> None:
    data = jpeg(framed(scene()))
    with pytest.raises(CameraError, match=r"^the JPEG is truncated$"):
        decode_picture(data[: len(data) // 2])
    assert decode_picture(data + b"\0" * 5000).shape == (360, 640, 3), "padding is allowed"


def test_picture_of_absurd_size_is_refused_before_memory_is_allocated() -> None:
    header = bytearray(cv2.imencode(".bmp", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    header[18:26] = (30000).to_bytes(4, "little") * 2
    with pytest.raises(CameraError):
        decode_picture(bytes(header))
