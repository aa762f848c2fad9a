"""Sequence parameter sets of H.264 in all the forms that frame_num depends on, written bit by bit as the standard says.

Encoders at hand write only some of them. A reader that loses its place in one finds gaps where there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from edged.cameras.annexb import FrameNumbers, begins_refresh, later_slices, parameter_sets, units

START = b"\0\0\0\1"
SPS, SLICE, IDR = 0x67, 0x41, 0x65  # headers of NAL units that other pictures refer to
FLAT = [8]  # scaling lists as their values; a list that ends early repeats its last value
RISING = [10 + number for number in range(16)]
FALLING = [250 - 3 * number for number in range(64)]


class Bits:
    """Bits in the order of the standard's syntax tables."""

    def __init__(self) -> None:
        self._text = ""

    def u(self, count: int, value: int) -> Bits:
        self._text += f"{value:0{count}b}"
        return self

    def ue(self, value: int) -> Bits:
        code = f"{value + 1:b}"
        self._text += "0" * (len(code) - 1) + code
        return self

    def se(self, value: int) -> Bits:
        return self.ue(2 * value - 1 if value > 0 else -2 * value)

    def unit(self, header: int) -> bytes:
        text = self._text + "1"  # rbsp_trailing_bits
        text += "0" * (-len(text) % 8)
        payload, zeros = bytearray(), 0
        for byte in int(text, 2).to_bytes(len(text) // 8, "big"):
            if zeros == 2 and byte <= 3:
                payload.append(3)  # emulation prevention
                zeros = 0
            payload.append(byte)
            zeros = 0 if byte else zeros + 1
        return START + bytes([header]) + bytes(payload)


@dataclass(frozen=True)
class Form:
    """A form of seq_parameter_set_data()."""

    profile: int = 66
    chroma: int = 1
    separate_planes: bool = False
    lists: Sequence[Sequence[int] | None] = ()
    frame_num_bits: int = 4
    order_count: int = 2
    cycle: Sequence[int] = ()
    gaps_allowed: bool = False

    def unit(self) -> bytes:
        bits = Bits().u(8, self.profile).u(8, 0).u(8, 40).ue(0)
        if self.profile != 66:
            self._chroma(bits)
        bits.ue(self.frame_num_bits - 4).ue(self.order_count)
        if self.order_count == 0:
            bits.ue(2)
        elif self.order_count == 1:
            bits.u(1, 1).se(-3).se(4).ue(len(self.cycle))
            for offset in self.cycle:
                bits.se(offset)
        bits.ue(4).u(1, self.gaps_allowed)
        bits.ue(19).ue(14).u(1, 1).u(1, 1).u(1, 0).u(1, 0)  # 320 x 240
        return bits.unit(SPS)

    def _chroma(self, bits: Bits) -> None:
        bits.ue(self.chroma)
        if self.chroma == 3:
            bits.u(1, self.separate_planes)
        bits.ue(0).ue(0).u(1, 0).u(1, bool(self.lists))
        for number, values in enumerate(self.lists):
            bits.u(1, values is not None)
            if values is not None:
                _scaling_list(bits, values, 16 if number < 6 else 64)

    def picture(self, frame_num: int, kind: int = SLICE) -> bytes:
        bits = Bits().ue(0).ue(0).ue(0)
        if self.separate_planes:
            bits.u(2, 0)
        return bits.u(self.frame_num_bits, frame_num).u(32, 0xA5A5A5A5).unit(kind)


def _scaling_list(bits: Bits, values: Sequence[int], size: int) -> None:
    last = 8
    for value in values:
        bits.se((value - last + 128) % 256 - 128)
        last = value
    if len(values) < size:
        bits.se(-last if last <= 128 else 256 - last)  # the next value is 0: the rest is as the last


FORMS = {
    "baseline": Form(),
    "order count 0": Form(order_count=0),
    "order count 1": Form(order_count=1, cycle=[2, -2, 7]),
    "high": Form(profile=100, frame_num_bits=16),
    "high with scaling lists": Form(profile=100, lists=[RISING, None, FLAT, RISING[:5], None, None, FALLING, FLAT]),
    "4:4:4 with scaling lists": Form(profile=244, chroma=3, lists=[RISING] + [None] * 5 + [FALLING] * 6),
    "4:4:4 in separate planes": Form(profile=244, chroma=3, separate_planes=True, frame_num_bits=7),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_missing_picture_is_found_and_a_whole_stream_has_no_gap(form: Form) -> None:
    last = 2**form.frame_num_bits - 1
    numbers = FrameNumbers(form.unit())
    assert not numbers.gap_before(form.picture(0, IDR))
    assert [numbers.gap_before(form.picture(number)) for number in (1, 2, 2, 4, 5)] == [
        False,
        False,
        False,
        True,
        False,
    ]
    assert not numbers.gap_before(form.picture(0, IDR)), "a picture that refers to none needs none before it"
    assert numbers.gap_before(form.picture(last))
    assert not numbers.gap_before(form.picture(0)), "frame_num begins again after its largest value"


def test_a_camera_that_may_leave_numbers_out_has_no_gaps() -> None:
    form = replace(FORMS["high"], gaps_allowed=True)
    numbers = FrameNumbers(form.unit())
    assert not any(numbers.gap_before(form.picture(number)) for number in (0, 1, 5, 9))


@pytest.mark.parametrize(
    "form",
    [Form(order_count=3), Form(order_count=1, cycle=[0] * 256), Form(frame_num_bits=17)],
    ids=["order count", "cycle", "bits of frame_num"],
)
def test_malformed_parameter_sets_are_not_used(form: Form) -> None:
    numbers = FrameNumbers(form.unit())
    assert not any(numbers.gap_before(form.picture(number)) for number in (0, 1, 5, 9))


def test_later_parameter_sets_replace_the_earlier_ones() -> None:
    narrow, wide = Form(frame_num_bits=4), Form(frame_num_bits=9)
    numbers = FrameNumbers(narrow.unit())
    assert not numbers.gap_before(narrow.picture(3, IDR))
    assert not numbers.gap_before(wide.unit() + wide.picture(0, IDR))
    assert not numbers.gap_before(wide.picture(1))
    assert numbers.gap_before(wide.picture(300))


def test_parameter_sets_that_are_cut_off_are_read_without_an_error() -> None:
    whole = FORMS["4:4:4 with scaling lists"].unit()
    for length in range(len(whole)):
        FrameNumbers(whole[:length]).gap_before(Form().picture(1))


def test_packets_of_other_codecs_have_no_units() -> None:
    jpeg = b"\xff\xd8\0\0\1\x67\xff\xd9"
    assert list(units("mjpeg", jpeg)) == []
    assert parameter_sets("mjpeg", jpeg) == jpeg
    assert later_slices("mjpeg", jpeg) is None


def test_a_packet_without_a_slice_begins_no_refresh() -> None:
    assert not begins_refresh(Form().unit())
    assert not begins_refresh(Form().picture(0, IDR)), "an IDR picture is a keyframe"
    assert begins_refresh(Form().picture(1)), "a P slice that is marked as a keyframe"
    assert not begins_refresh(Bits().ue(0).ue(7).ue(0).u(8, 1).unit(SLICE)), "I slices only"
