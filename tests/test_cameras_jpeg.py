"""JPEGs and PNGs are decoded strictly: no damaged one passes as whole, and no whole one is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from support import jpegs

from edged.cameras.jpeg import DamagedPicture
from edged.cameras.picture import decode_picture
from edged.core.errors import CameraError

SHAPES = [("420", 0), ("420", 16), ("422", 0), ("422", 10), ("422", 40)]


@cache
def jpeg(sampling: str = "420", restart: int = 0, seed: int = 1) -> bytes:
    return jpegs.encoded(jpegs.scene(seed), 85, sampling, restart)


def refused(data: bytes) -> bool:
    try:
        decode_picture(data)
    except CameraError:
        return True
    return False


# --- whole ---


def with_thumbnail(data: bytes) -> bytes:
    return jpegs.with_segment(data, 0xE2, b"MPF\0" + jpegs.encoded(jpegs.scene(2, 160, 120)))


@pytest.mark.parametrize(("sampling", "restart"), SHAPES)
def test_whole_pictures_have_the_pixels_that_opencv_decodes(sampling: str, restart: int) -> None:
    whole = jpeg(sampling, restart)
    expected = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    for data in (
        whole,
        whole + bytes(5000),
        whole + bytes(range(256)) * 20,
        jpegs.without_huffman_tables(whole),
        jpegs.with_segment(whole, 0xFE, b"a comment with an end mark \xff\xd9"),
        with_thumbnail(whole),
        whole[:2] + b"\xff\xff\xff" + whole[2:],  # fill bytes
        whole[:20] + b"\x07" + whole[20:],  # a byte too many in the header
    ):
        assert (decode_picture(data) == expected).all()


@pytest.mark.parametrize("more", [{"progressive": 1}, {"optimize": 1}, {"sampling": "444"}])
def test_other_kinds_of_jpeg_are_decoded(more: dict) -> None:
    assert decode_picture(jpegs.encoded(jpegs.scene(1), **more)).shape == (480, 640, 3)


def test_jpeg_with_a_rare_chroma_subsampling_is_decoded() -> None:
    """3:1, which libjpeg decodes and simplejpeg does not know: two grey MCUs of 24x8 pixels, written by hand."""
    grey = jpegs.encoded(np.full((16, 24, 3), 128, np.uint8), sampling="444")
    header = b"".join(
        segment[:11] + b"\x31" + segment[12:] if marker == 0xC0 else segment for marker, segment in jpegs.segments(grey)
    )
    mcu = "001010" * 3 + "0000" * 2  # the codes of blocks without coefficients: three of luma, one of each chroma
    bits = 2 * mcu + "1111"
    data = jpegs.START + header + int(bits, 2).to_bytes(len(bits) // 8, "big") + jpegs.END
    assert (decode_picture(data) == np.full((16, 24, 3), 128)).all()


def test_grey_jpeg_is_decoded() -> None:
    grey = np.ascontiguousarray(jpegs.scene(1)[:, :, 0])
    assert decode_picture(cv2.imencode(".jpg", grey)[1].tobytes()).shape == (480, 640, 3)


@pytest.mark.parametrize(("sampling", "restart"), SHAPES)
def test_filler_that_some_webcams_put_before_each_marker_is_no_damage(sampling: str, restart: int) -> None:
    whole = jpeg(sampling, restart)
    expected = decode_picture(whole)
    for share in (0.02, 0.3, 1.0):
        for data in (whole, jpegs.without_huffman_tables(whole)):
            assert (decode_picture(jpegs.with_filler(data, random.Random(5), share)) == expected).all()


ORIENTATION_6 = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # to be turned clockwise


def test_picture_is_turned_as_its_exif_says() -> None:
    turned = decode_picture(jpegs.with_segment(jpeg(), 0xE1, ORIENTATION_6))
    assert (turned == np.rot90(decode_picture(jpeg()), -1)).all()


def test_picture_is_turned_although_a_colour_profile_comes_before_its_exif() -> None:
    profile = b"ICC_PROFILE\0\1\1" + bytes(3000)
    data = jpegs.with_segment(jpegs.with_segment(jpeg(), 0xE1, ORIENTATION_6), 0xE2, profile)
    assert decode_picture(data).shape == (640, 480, 3)


# --- damaged ---


@pytest.mark.parametrize("loss", jpegs.LOSSES)
@pytest.mark.parametrize("filler", [False, True])
def test_every_loss_inside_a_jpeg_is_found(loss: str, filler: bool) -> None:
    chance = random.Random(loss)
    for sampling, restart in SHAPES:
        whole = jpeg(sampling, restart)
        whole = jpegs.with_filler(whole, chance) if filler else whole
        for _ in range(8):
            with pytest.raises(CameraError, match=r"the JPEG is damaged \(\w[\w ]*\)$"):
                decode_picture(jpegs.LOSSES[loss](whole, chance))


def found(damage: Callable[[bytes, random.Random], bytes], tries: int) -> float:
    """The share of damaged pictures that is refused."""
    chance = random.Random(7)
    return sum(refused(damage(jpeg(*shape), chance)) for shape in SHAPES for _ in range(tries)) / tries / len(SHAPES)


def test_most_zeroed_and_spliced_jpegs_are_found() -> None:
    assert found(jpegs.zeroed, 8) > 0.95
    assert found(lambda whole, chance: jpegs.spliced(whole, jpeg(seed=2), chance), 8) > 0.8


def test_flipped_bits_are_found_unless_the_data_stays_valid() -> None:
    """Four of five flips change a value and nothing else: no decoder can tell them."""
    assert 0.08 < found(jpegs.flipped, 40) < 0.3


def test_reason_says_what_was_found() -> None:
    with pytest.raises(CameraError, match=r"^the JPEG is damaged \(premature end of data segment\)$"):
        decode_picture(jpeg()[:20000] + jpegs.END)


def test_header_that_claims_four_billion_pixels_is_refused_before_memory_is_allocated() -> None:
    whole = jpeg()
    huge = b"".join(
        segment[:5] + b"\xff\xdc\xff\xdc" + segment[9:] if marker == 0xC0 else segment
        for marker, segment in jpegs.segments(whole)
    )
    with pytest.raises(CameraError, match="not a picture in a supported format"):
        decode_picture(jpegs.START + huge + whole[jpegs.scan(whole)[0] :])


@pytest.mark.parametrize("seed", range(4))
def test_header_with_a_wrong_byte_gives_a_picture_or_an_expected_error(seed: int) -> None:
    """Whatever the header says, nothing but CameraError is raised, also by the search for filler."""
    chance = random.Random(seed)
    small = jpegs.with_filler(jpegs.encoded(jpegs.scene(3, 96, 64), restart=2), chance)
    for _ in range(300):
        data = bytearray(small)
        data[chance.randrange(2, jpegs.scan(small)[0])] = chance.randrange(256)
        refused(bytes(data))


# --- PNG ---


def png() -> bytes:
    return cv2.imencode(".png", jpegs.scene(1, 64, 48))[1].tobytes()


def test_a_png_is_damaged_wherever_it_is_cut() -> None:
    whole = png()
    for length in [*range(8, len(whole), 97), len(whole) - 1]:
        with pytest.raises(DamagedPicture, match=r"^the PNG is truncated$"):
            decode_picture(whole[:length])


def test_a_png_with_another_byte_in_its_pixels_is_damaged() -> None:
    changed = bytearray(png())
    changed[len(changed) // 2] ^= 1
    with pytest.raises(DamagedPicture, match=r"^the PNG is damaged$"):
        decode_picture(bytes(changed))
