"""The packets since the last keyframe, and how old each packet is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edged.cameras.gop_buffer import GOP_BYTES, GOP_PICTURES, PICTURE_SLICES, GopBuffer
from edged.cameras.live_edge import LiveEdge, SenderClock
from edged.cameras.packets import Packet
from edged.core.errors import CameraError

IDR, SLICE, SETS = 0x65, 0x41, b"\0\0\0\1\x67set\0\0\0\1\x68set"


def slice_of(kind: int, first: bool, name: bytes, sets: bytes = b"") -> bytes:
    return sets + b"\0\0\0\1" + bytes([kind, 0x80 if first else 0x40]) + name


def packet(data: bytes, key: bool = False, lost: bool = False) -> Packet:
    return Packet(data, key, 0.0, 0.0, None, lost=lost)


def filled(pictures: int, size: int = 1) -> GopBuffer:
    """A keyframe and other pictures; picture n, from 0, was captured at n."""
    gop = GopBuffer("h264", b"")
    for number in range(pictures):
        gop.add(packet(slice_of(SLICE if number else IDR, True, b"x" * size), key=not number), float(number))
    return gop


def times(gop: GopBuffer) -> list[float]:
    return [picture.captured for picture in gop.pictures()]


def test_group_beyond_its_bounds_keeps_the_keyframe_with_the_keyframes_time() -> None:
    assert len(filled(GOP_PICTURES).pictures()) == GOP_PICTURES
    assert times(filled(GOP_PICTURES + 50)) == [0.0]
    gop = filled(5)
    gop.add(packet(slice_of(SLICE, True, b"x" * GOP_BYTES)[:GOP_BYTES]), 5.0)
    gop.add(packet(slice_of(SLICE, True, b"x")), 6.0)
    assert times(gop) == [0.0]


def test_slices_are_added_once_their_picture_is_complete() -> None:
    gop = GopBuffer("h264", b"")

    def add(number: int, kind: int, first: bool) -> None:
        data = slice_of(kind, first, b"%d" % number, SETS if kind == IDR else b"")
        gop.add(packet(data, kind == IDR), float(number))

    for number, kind, first in ((0, IDR, True), (1, IDR, False), (2, SLICE, True)):
        assert not gop.pictures()
        add(number, kind, first)
    keyframe = slice_of(IDR, True, b"0", SETS) + slice_of(IDR, False, b"1")
    assert [(picture.data, picture.captured) for picture in gop.pictures()] == [(keyframe, 0.0)]
    for number, kind, first in ((3, SLICE, False), (4, IDR, True)):
        add(number, kind, first)
    assert gop.pictures()[1].data == slice_of(SLICE, True, b"2") + slice_of(SLICE, False, b"3")
    assert times(gop) == [0.0, 2.0], "an incomplete keyframe does not replace them"


def test_picture_in_one_packet_is_added_at_once() -> None:
    assert times(filled(6)) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_keyframe_that_was_taken_for_whole_before_its_last_slice_is_not_kept() -> None:
    """A camera may send its keyframes in slices, and the pictures between them in one packet each."""
    gop = GopBuffer("h264", b"")
    gop.add(packet(slice_of(5, True, b"K0"), key=True), 0.0)
    for number in range(1, 6):
        gop.add(packet(slice_of(1, True, b"P")), float(number))
    gop.add(packet(slice_of(5, True, b"K1"), key=True), 6.0)
    gop.add(packet(slice_of(5, False, b"K1")), 6.0)
    gop.add(packet(slice_of(1, True, b"P")), 7.0)
    gop.add(packet(slice_of(1, True, b"P")), 8.0)
    assert gop.pictures() == ()
    assert gop.damaged_groups == 1
    gop.add(packet(slice_of(5, True, b"K2"), key=True), 9.0)
    gop.add(packet(slice_of(5, False, b"K2")), 9.0)
    gop.add(packet(slice_of(1, True, b"P")), 10.0)
    assert [picture.data.count(b"K2") for picture in gop.pictures()] == [2]


@pytest.mark.parametrize("pictures", [1, 6], ids=["not sure", "sure of one packet per picture"])
def test_a_picture_whose_slices_never_end_is_an_error_within_bounds(pictures: int) -> None:
    gop = GopBuffer("h264", b"")
    for number in range(pictures):
        gop.add(packet(slice_of(IDR, True, b"k"), key=True), float(number))
    later = packet(slice_of(SLICE, False, b"x" * 100))

    def add_them_all() -> None:
        for _ in range(10 * PICTURE_SLICES):
            gop.add(later, 9.0)

    with pytest.raises(CameraError, match="more than 500 slices"):
        add_them_all()


def test_packets_before_the_first_keyframe_are_not_kept() -> None:
    gop = GopBuffer("h264", b"")
    for number in range(5):
        gop.add(packet(slice_of(SLICE, True, b"x")), float(number))
    assert not gop.keyframe
    assert not gop.pictures()


def test_slice_of_a_picture_that_was_dropped_is_dropped_too() -> None:
    gop = filled(GOP_PICTURES + 50)
    gop.add(packet(slice_of(SLICE, False, b"late")), 0.0)
    gop.add(packet(slice_of(SLICE, True, b"next")), 0.0)
    assert times(gop) == [0.0]


def test_after_loss_pictures_are_dropped_until_the_next_keyframe() -> None:
    gop = filled(5)
    gop.add(packet(slice_of(SLICE, True, b"x"), lost=True), 5.0)
    gop.add(packet(slice_of(SLICE, True, b"x")), 6.0)
    assert times(gop) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert gop.newest_captured == 4.0
    assert gop.damaged_groups == 1
    assert gop.damaged_for_s(now=9.0) == 4.0
    gop.add(packet(slice_of(IDR, True, b"x"), key=True), 7.0)
    gop.add(packet(slice_of(SLICE, True, b"x")), 8.0)
    assert times(gop) == [7.0, 8.0]
    assert gop.damaged_for_s(now=9.0) == 0.0


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_keyframe_with_loss_is_not_kept(codec: str) -> None:
    """FFmpeg decodes many a keyframe of H.265 that lacks its end, without an error."""
    keyframe = slice_of(IDR, True, b"x") if codec == "h264" else b"\0\0\0\1\x26\1\x80x"
    gop = GopBuffer(codec, b"")
    for number in range(3):
        gop.add(packet(keyframe, key=True), float(number))
    gop.add(packet(keyframe, key=True, lost=True), 3.0)
    gop.add(packet(keyframe, key=True), 4.0)
    gop.add(packet(keyframe, key=True, lost=True), 5.0)
    gop.add(packet(slice_of(SLICE, True, b"x") if codec == "h264" else b"\0\0\0\1\2\1\x80x"), 6.0)
    assert times(gop) == [4.0]
    assert gop.damaged_groups == 2


def test_a_jpeg_after_a_lost_one_is_whole() -> None:
    gop = GopBuffer("mjpeg", b"")
    gop.add(packet(b"\xff\xd8", key=True, lost=True), 1.0)
    assert times(gop) == [1.0]


def test_picture_that_the_decoder_refused_ends_its_group() -> None:
    gop = filled(5)
    gop.drop_from(gop.pictures()[3].number)
    gop.add(packet(slice_of(SLICE, True, b"x")), 5.0)
    assert times(gop) == [0.0, 1.0, 2.0]
    assert gop.damaged_groups == 1


def test_keyframe_interval_is_the_longer_one_of_the_last_two() -> None:
    gop = filled(5)
    for captured in (7.0, 10.0):
        assert gop.keyframe_interval_s == 0.0
        gop.add(packet(slice_of(IDR, True, b"x"), key=True), captured)
    assert gop.keyframe_interval_s == 7.0


def test_group_with_intra_refresh_begins_with_the_refresh_before_the_latest() -> None:
    """A decoder that begins with a refresh has a whole picture only when that is complete, when the next one begins."""
    gop = filled(3)
    inter = b"\0\0\0\1\x41\xe0"  # the slice of a picture that refers to others
    for number in range(3, 12):
        gop.add(packet(inter, key=number % 3 == 0), float(number))
        assert times(gop)[-1] == number
    assert times(gop) == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
    assert gop.pictures()[0].number == gop.keyframe
    gop.add(packet(inter, lost=True), 12.0)
    gop.add(packet(inter, key=True), 13.0)
    assert times(gop) == [13.0]


@pytest.mark.parametrize(
    ("period", "size"), [(1200, 1), (GOP_PICTURES + 100, 1), (20, GOP_BYTES // 30), (40, GOP_BYTES // 30)]
)
def test_intra_refreshes_beyond_the_bounds_leave_out_no_picture_within_the_group(period: int, size: int) -> None:
    gop = filled(3)
    inter = b"\0\0\0\1\x41\xe0" + b"x" * size
    for number in range(3, 4 * period + 10):
        gop.add(packet(inter, key=number % period == 0), float(number))
        group = times(gop)
        assert len(group) == 1 or group == [float(each) for each in range(int(group[0]), number + 1)]
        if number % period == 0:
            assert group[-1] == number
    assert gop.pictures()[0].number == gop.keyframe


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


def test_burst_after_congestion_within_a_picture_of_slices_is_known_to_be_old() -> None:
    calm = [(tenth / 10 + part / 1000, tenth / 10) for tenth in range(20) for part in range(4)]
    jam = [(5.0 + number / 100 + part / 1000, 2.0 + number / 10) for number in range(31) for part in range(4)]
    lags = ages([*calm, (2.0, 2.0), *jam[1:]])
    assert lags[81] == pytest.approx(3.0, abs=0.02)
    assert lags[84] == pytest.approx(2.9, abs=0.02)
    assert lags[-1] == pytest.approx(0.3, abs=0.02)


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


def reached_at(
    steps: list[tuple[float, float | None]], stamped: bool = True, began: float | None = None
) -> float | None:
    """Of steps as in `ages`, the arrival of the packet with which the burst after the open is over."""
    edge = LiveEdge(stamped, began)
    for at, stamp in steps:
        edge.captured(Packet(b"", False, at, at, stamp))
        if edge.reached:
            return at
    return None


WAITED = [(3.0 + number / 1000, number / 15 or None) for number in range(45)]  # FFmpeg does not stamp the first packet
LIVE = [(3.0 + number / 15, 3.0 + number / 15) for number in range(1, 12)]


def test_burst_after_an_open_is_waited_out_though_its_first_packet_has_no_time_stamp() -> None:
    over = reached_at([*WAITED, *LIVE])
    assert over is not None
    assert 3.067 < over < 3.3


def test_burst_after_a_pause_between_the_first_two_packets_is_waited_out() -> None:
    over = reached_at([(0.0, None), *WAITED[1:], *LIVE])
    assert over is not None
    assert 3.5 < over < 3.7


def test_burst_that_a_busy_machine_reads_with_gaps_is_waited_out() -> None:
    gaps = [(3.0 + number / 1000 + 0.2 * (number // 15), number / 15 or None) for number in range(45)]
    live = [(3.5 + number / 15, 3.0 + number / 15) for number in range(15)]
    over = reached_at([*gaps, *live], began=0.0)
    assert over is not None
    assert 3.9 < over < 4.2


def test_burst_over_a_slow_connection_is_waited_out() -> None:
    """4 s of pictures arrive in 2 s."""
    burst = [(3.0 + number / 30, number / 15 or None) for number in range(60)]
    over = reached_at([*burst, *((5.0 + number / 15, 4.0 + number / 15) for number in range(10))])
    assert over is not None
    assert 4.95 < over < 5.2


@pytest.mark.parametrize("fps", [1, 5, 10, 15, 20, 25, 30])
def test_a_live_stream_is_awaited_for_a_tenth_of_a_second_at_most(fps: int) -> None:
    over = reached_at([(number / fps, number / fps or None) for number in range(60)])
    assert over is not None
    assert over - 1 / fps < 0.1, "later than the second picture"


def test_a_stream_without_time_stamps_is_not_awaited_where_none_are_expected_and_else_not_for_long() -> None:
    steps: list[tuple[float, float | None]] = [(number / 15, None) for number in range(60)]
    assert reached_at(steps, stamped=False) == 0.0
    over = reached_at(steps)
    assert over is not None
    assert over < 3.1


def test_time_stamps_that_stand_still_make_no_picture_old() -> None:
    assert max(ages([(n / 10, min(n, 30) / 10) for n in range(200)])) <= 1.0
    assert ages([(n / 10, min(n, 30) / 10) for n in range(200)])[-1] == 0.0


# --- the clock of the sender ---


@pytest.mark.parametrize(("behind_s", "delay_s"), [(1.1, 1.1), (0.0, 0.0), (3600.0, 0.0), (-3600.0, 0.0), (-0.5, 0.0)])
def test_delay_within_the_camera_is_taken_from_its_clock_if_that_is_plausible(behind_s: float, delay_s: float) -> None:
    clock = SenderClock(wall=lambda: 1000.0, monotonic=lambda: 50.0)
    sent = [Packet(b"", False, at, at, at, sent_s=950.0 + at - behind_s) for at in (50.0, 50.1, 50.2)]
    assert [clock.delay_s(packet) for packet in sent] == pytest.approx([delay_s] * 3)


def test_congestion_adds_nothing_to_the_delay_within_the_camera() -> None:
    clock = SenderClock(wall=lambda: 1000.0, monotonic=lambda: 50.0)
    assert clock.delay_s(Packet(b"", False, 50.0, 50.0, 0.0, sent_s=999.5)) == pytest.approx(0.5)
    assert clock.delay_s(Packet(b"", False, 51.5, 51.5, 0.1, sent_s=999.6)) == pytest.approx(0.5)


def stated_with_reports(
    true_fps: float,
    late: Callable[[float], float],
    set_by: Callable[[float], float] = lambda _: 0.0,
    every_s: float = 5.0,
) -> list[tuple[float, float, float]]:
    """When a picture was taken, its true age and the stated one: of a camera that stamps at 25 fps.

    It sends a report every `every_s`. Its wall clock is an hour behind, and changed by `set_by`.
    """
    edge, stated, arrived = LiveEdge(), [], 0.0
    reported_at, reported = -every_s, (0.0, 0.0)
    for number in range(int(300 * true_fps)):
        taken, stamp = number / true_fps, number / 25
        if taken - reported_at >= every_s:
            reported_at, reported = taken, (taken - 3600 + set_by(taken), stamp)
        arrived = max(arrived, taken + late(taken))
        picture = Packet(b"", False, arrived, arrived, stamp, sent_s=reported[0] + stamp - reported[1])
        stated.append((taken, arrived - taken, arrived - edge.captured(picture)))
    return stated


def congested(taken: float) -> float:
    """Slowly, and for long: 4 s late from 220 s on, until 260 s."""
    return min(4.0, (taken - 200) / 5) if 200 < taken < 260 else 0.0


@pytest.mark.parametrize("true_fps", [25, 24.95, 24.9, 24.5, 25.02])
def test_lasting_congestion_is_seen_though_the_camera_stamps_faster_than_it_takes_pictures(true_fps: float) -> None:
    stated = stated_with_reports(true_fps, congested)
    assert max(abs(age - true) for taken, true, age in stated if taken > 20) < 0.15


@pytest.mark.parametrize("every_s", [5.0, 10.0, 12.0, 15.0])
def test_time_stamps_at_half_speed_between_rare_reports_do_not_make_a_camera_stale(every_s: float) -> None:
    stated = stated_with_reports(12.5, lambda _: 0.0, every_s=every_s)
    assert max(age for _, _, age in stated) < 2.6


def test_of_a_camera_with_time_stamps_at_half_speed_lateness_is_seen_beyond_what_they_fall_behind() -> None:
    """By 2.5 s between two reports."""
    stated = stated_with_reports(12.5, lambda taken: 2 * congested(taken))
    assert max(abs(age - true) for _, true, age in stated) < 2.7


@pytest.mark.parametrize("step_s", [-20.0, 20.0])
def test_a_camera_whose_wall_clock_is_set_is_not_old_and_then_known_again(step_s: float) -> None:
    stated = stated_with_reports(25, congested, lambda taken: step_s if taken > 100 else 0.0)
    assert max(abs(age - true) for taken, true, age in stated) < 0.01


def test_lateness_by_the_wall_clock_is_known_once_reports_have_agreed_for_15_seconds() -> None:
    clock = SenderClock(wall=lambda: 1000.0, monotonic=lambda: 1000.0)

    def late_s(at: float, sent_s: float | None) -> float | None:
        clock.delay_s(Packet(b"", False, at, at, at, sent_s))
        return clock.late_s

    assert [late_s(at, at - 50.0) for at in (1.0, 16.0, 16.1)] == [None, None, 0.0]
    assert [late_s(at, at - 70.0) for at in (20.0, 35.0, 35.1)] == [None, None, 0.0], "the clock was set back"
    assert late_s(35.2, None) is None


@pytest.mark.parametrize("jump_s", [-7200.0, 7200.0])
def test_time_stamps_that_jump_make_no_picture_old_though_their_wall_time_is_wrong_until_the_next_report(
    jump_s: float,
) -> None:
    edge = LiveEdge()
    for number in range(600):
        at, jumped_s = number / 10, jump_s if number > 300 else 0.0
        sent_s = at + jumped_s if number < 340 else at
        assert edge.captured(Packet(b"", False, at, at, at + jumped_s, sent_s)) == pytest.approx(at)


@pytest.mark.parametrize("silence_s", [7.0, 60.0])
def test_burst_after_a_silence_longer_than_the_window_is_known_to_be_old(silence_s: float) -> None:
    """As after a pause of this process: a suspended virtual machine, a debugger."""
    calm = [(tenth / 10, tenth / 10) for tenth in range(100)]
    burst = [(10.0 + silence_s + n / 1000, 10.0 + n / 10) for n in range(int(silence_s * 10))]
    after = [(10.0 + silence_s + n / 10, 10.0 + silence_s + n / 10) for n in range(1, 100)]
    lags = ages([*calm, *burst, *after])
    assert lags[100] == pytest.approx(silence_s, abs=0.01)
    assert lags[100 + len(burst) // 2] == pytest.approx(silence_s / 2, abs=0.4)
    assert max(lags[100 + len(burst) :]) < 0.05


def test_a_camera_that_paused_with_its_clock_is_believed_again_after_a_while() -> None:
    lags = ages([(n / 10 + (60 if n > 50 else 0), n / 10) for n in range(200)])
    assert lags[51] == pytest.approx(60, abs=0.01)
    assert lags[120:] == [0.0] * 80
