"""The packets since the last keyframe, and how old each packet is."""

from __future__ import annotations

import pytest

from edged.cameras.decode import decode
from edged.cameras.gop_buffer import GOP_BYTES, GOP_PACKETS, GopBuffer, Snapshot
from edged.cameras.live_edge import LiveEdge
from edged.cameras.packets import Packet
from edged.core.errors import CameraError


def test_a_gop_beyond_its_bounds_keeps_the_keyframe_with_the_keyframes_time() -> None:
    gop = GopBuffer("h264", b"sets")
    for number in range(GOP_PACKETS + 50):
        gop.add(Packet(b"p%d" % number, number == 0, number, number, None), captured=float(number))
    assert gop.snapshot() == Snapshot("h264", (b"sets", b"p0"), 0.0)
    gop.add(Packet(b"key", True, 900.0, 900.0, None), captured=900.0)
    gop.add(Packet(b"x" * GOP_BYTES, False, 901.0, 901.0, None), captured=901.0)
    assert gop.snapshot() == Snapshot("h264", (b"sets", b"key"), 900.0)


IDR, SLICE, SETS = 0x65, 0x41, b"\0\0\0\1\x67set\0\0\0\1\x68set"


def slice_of(kind: int, first: bool, name: bytes, sets: bytes = b"") -> bytes:
    return sets + b"\0\0\0\1" + bytes([kind, 0x80 if first else 0x40]) + name


def test_slices_are_added_once_their_picture_is_complete() -> None:
    gop = GopBuffer("h264", b"")

    def add(number: int, kind: int, first: bool) -> None:
        data = slice_of(kind, first, b"%d" % number, SETS if kind == IDR else b"")
        gop.add(Packet(data, kind == IDR, number, number, None), float(number))

    key = (b"", slice_of(IDR, True, b"0", SETS), slice_of(IDR, False, b"1"))
    for number, kind, first in ((0, IDR, True), (1, IDR, False), (2, SLICE, True)):
        assert gop.snapshot().packets == (b"",)
        add(number, kind, first)
    assert gop.snapshot() == Snapshot("h264", key, 0.0)
    for number, kind, first in ((3, SLICE, False), (4, IDR, True)):
        add(number, kind, first)
    complete = (*key, slice_of(SLICE, True, b"2"), slice_of(SLICE, False, b"3"))
    assert gop.snapshot() == Snapshot("h264", complete, 2.0), "an incomplete keyframe does not replace them"


def test_picture_in_one_packet_is_added_at_once() -> None:
    gop = GopBuffer("h264", b"")
    for number in range(6):
        gop.add(Packet(slice_of(IDR if number == 0 else SLICE, True, b"%d" % number), number == 0, 0, 0, None), number)
    assert len(gop.snapshot().packets) == 7


@pytest.mark.parametrize("pictures", [1, 6], ids=["not sure", "sure of one packet per picture"])
def test_a_picture_whose_slices_never_end_is_an_error_within_bounds(pictures: int) -> None:
    gop = GopBuffer("h264", b"")
    for number in range(pictures):
        gop.add(Packet(slice_of(IDR, True, b"k"), True, number, number, None), float(number))
    later = Packet(slice_of(SLICE, False, b"x" * 100), False, 9.0, 9.0, None)

    def add_them_all() -> None:
        for _ in range(10 * GOP_PACKETS):
            gop.add(later, 9.0)

    with pytest.raises(CameraError, match="more than 500 slices"):
        add_them_all()
    assert len(gop.snapshot().packets) <= GOP_PACKETS + pictures + 1


def test_packets_before_the_first_keyframe_are_not_kept() -> None:
    gop = GopBuffer("h264", b"")
    gop.add(Packet(b"late", False, 1.0, 1.0, None), 1.0)
    assert not gop.has_keyframe


def test_slice_of_a_picture_that_was_dropped_is_dropped_too() -> None:
    gop = GopBuffer("h264", b"")
    for number in range(GOP_PACKETS + 50):
        data = slice_of(SLICE if number else IDR, True, b"%d" % number)
        gop.add(Packet(data, number == 0, 0, 0, None), float(number))
    gop.add(Packet(slice_of(SLICE, False, b"late"), False, 0, 0, None), 0.0)
    assert gop.snapshot() == Snapshot("h264", (b"", slice_of(IDR, True, b"0")), 0.0)


def test_undecodable_packets_are_an_error_not_a_picture() -> None:
    with pytest.raises(CameraError, match=r"cannot be decoded \(H.264\)"):
        decode(Snapshot("h264", (b"", b"\0\0\0\1\x65garbage" * 50), 0.0))


# --- how old a packet is ---


def ages(steps: list[tuple[float, float]]) -> list[float]:
    """For each (arrival, camera's time stamp): by how much the packet is older than its arrival."""
    edge = LiveEdge()
    return [round(at - edge.captured(Packet(b"", False, at, at, stamp)), 2) for at, stamp in steps]


def test_burst_after_congestion_is_known_to_be_old() -> None:
    calm = [(tenth / 10, tenth / 10) for tenth in range(20)]
    jam = [(5.0 + number / 1000, 2.0 + number / 10) for number in range(31)]
    lags = ages(calm + jam)
    assert lags[:20] == [0.0] * 20
    assert lags[20] == pytest.approx(3.0, abs=0.01)
    assert lags[-1] == pytest.approx(0.0, abs=0.05)


def test_time_stamps_that_jump_by_hours_make_no_picture_old() -> None:
    assert max(ages([(n / 10, n / 10 + (7200 if n > 20 else 0)) for n in range(60)])) == 0
    assert max(ages([(n / 10, n / 10 - (7200 if n > 20 else 0)) for n in range(60)])) == 0


def test_time_stamps_of_b_frames_add_little_age() -> None:
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    assert max(ages([(n / 25, place / 25) for n, place in enumerate(order)])) < 0.2


def test_time_stamps_slower_than_the_clock_do_not_make_a_camera_stale() -> None:
    assert max(ages([(n / 10, n / 10 * 0.8) for n in range(3000)])) <= 1.01


def test_burst_after_an_open_is_waited_out() -> None:
    edge = LiveEdge()
    for number in range(20):
        edge.captured(Packet(b"", False, 9.0, 9.0 + number / 1000, number / 10))
    assert not edge.reached
    for number in range(20, 27):
        at = 9.0 + (number - 19) / 10
        edge.captured(Packet(b"", False, at, at, number / 10))
    assert edge.reached
