"""From the packets of a stream to its newest undamaged picture: ages, damage, order, and a decoder that stays open."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from support.clips import Clip, clip, number_in

from edged.cameras.annexb import FrameNumbers, parameter_sets, without_sei
from edged.cameras.decode import Decoded, GroupDecoder
from edged.cameras.gop_buffer import GOP_PICTURES, GopBuffer, Picture
from edged.cameras.health import Health
from edged.cameras.live_stream import LiveStream, Newest
from edged.cameras.packets import OpenStream, Packet
from edged.core.errors import CameraError, StaleFrame, Stopped

NAMES = {"h264": "h264", "h265": "hevc", "jpeg": "mjpeg"}


def nothing() -> None: ...


def packets(recorded: Clip, count: int) -> list[bytes]:
    """The first pictures of a clip, parameter sets before each keyframe."""
    sets = recorded.parameter_sets
    if recorded.codec == "jpeg":
        return [unit.units[0] for unit in recorded.units[:count]]
    return [
        b"".join(b"\0\0\0\1" + nal for nal in ((*sets, *unit.units) if unit.key else unit.units))
        for unit in recorded.units[:count]
    ]


class Camera:
    """A stream whose pictures arrive one by one; picture n in order of display was captured at `began` + n / 15."""

    def __init__(self, recorded: Clip, b_frames: int = 0) -> None:
        self.recorded = recorded
        self.health = Health("dock", lambda _: None)
        self.stream = LiveStream(OpenStream(NAMES[recorded.codec], b"", iter(())), self.health)
        self.began = time.monotonic() - 4.0
        self._delay_s = recorded.reorder / 15

    def send(self, data: Sequence[bytes], first: int = 0, lost: bool = False) -> None:
        for place, packet in enumerate(data, first):
            unit = self.recorded.units[place]
            at = self.began + self._delay_s + place / 15
            self.stream.add(Packet(packet, unit.key, at, at, unit.shown / 15, lost=lost))

    def newest(self) -> tuple[int | None, int]:
        """The number in the picture, and the number that its age claims."""
        newest = self.stream.newest(nothing)
        return number_in(newest.bgr), self.claimed(newest)

    def claimed(self, newest: Newest) -> int:
        return round((newest.captured - self.began) * 15)


@pytest.mark.parametrize("codec", ["h264", "h265", "jpeg"])
def test_newest_picture_has_its_own_age(codec: str) -> None:
    recorded = clip(codec, gop=1 if codec == "jpeg" else 15)
    camera = Camera(recorded)
    data = packets(recorded, 25)
    for place in range(25):
        camera.send(data[place : place + 1], place)
        if place >= 5:
            number, claimed = camera.newest()
            assert number == claimed
            assert number >= place - 1, "one picture may be incomplete"


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_newest_of_reordered_pictures_has_its_own_age(codec: str) -> None:
    recorded = clip(codec, b_frames=2)
    camera = Camera(recorded)
    camera.send(packets(recorded, 26))
    number, claimed = camera.newest()
    assert number is not None
    assert abs(number - claimed) <= recorded.reorder
    assert number >= 22


def drop(data: list[bytes]) -> list[bytes]:
    return [*data[:10], *data[11:]]


def cut(data: list[bytes]) -> list[bytes]:
    return [*data[:10], data[10][: len(data[10]) // 2], *data[11:]]


@pytest.mark.parametrize("damage", [drop, cut])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_nothing_after_a_damaged_picture_is_used_until_the_next_keyframe(
    codec: str, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    recorded = clip(codec, gop=30)
    buffer, decoder = GopBuffer(NAMES[codec], b""), GroupDecoder(NAMES[codec], b"")
    data = damage(packets(recorded, 25))
    for place, packet in enumerate(data):
        buffer.add(Packet(packet, place == 0, 0.0, 0.0, float(place)), float(place))
    decoded = decoder.decode(buffer.pictures(), nothing)
    assert number_in(decoder.pixels()) == 9
    assert decoded.captured == 9.0
    assert (decoded.damaged == 11) or buffer.damaged_groups == 1


@pytest.mark.parametrize("lost", [1, 3], ids=["second slice", "last slice"])
def test_nothing_after_a_picture_without_one_of_its_slices_is_used(lost: int) -> None:
    """FFmpeg makes the slice up, says so of this picture only, and raises nothing."""
    recorded = clip("h264", gop=30, slices=4)
    data = packets(recorded, 25)
    data[10] = b"".join(b"\0\0\0\1" + nal for nal in without(recorded.units[10].units, lost))
    decoded, number = newest_of("h264", data)
    assert (decoded.captured, decoded.damaged, number) == (9.0, 11, 9)


def test_keyframe_without_one_of_its_slices_is_not_used() -> None:
    recorded = clip("h264", gop=30, slices=4)
    data = packets(recorded, 25)
    units = without(recorded.units[0].units, 3)
    data[0] = b"".join(b"\0\0\0\1" + nal for nal in (*recorded.parameter_sets, *units))
    with pytest.raises(CameraError, match="cannot be decoded"):
        newest_of("h264", data)


def without(units: Sequence[bytes], lost: int) -> list[bytes]:
    assert len(units) == 4
    return [unit for place, unit in enumerate(units) if place != lost]


def newest_of(codec: str, data: Sequence[bytes]) -> tuple[Decoded, int | None]:
    buffer, decoder = GopBuffer(NAMES[codec], b""), GroupDecoder(NAMES[codec], b"")
    for place, packet in enumerate(data):
        buffer.add(Packet(packet, place == 0, 0.0, 0.0, float(place)), float(place))
    decoded = decoder.decode(buffer.pictures(), nothing)
    return decoded, number_in(decoder.pixels())


SEI = {
    "h264": {
        "truncated": b"\x06\x64\xc8" + b"\x11" * 8 + b"\x80",
        "user data without its end": b"\x06\x05\xff\x40" + b"\x22" * 30 + b"\x80",
        "no trailing bits": b"\x06\xc3\x18" + b"\x33" * 16,
        "bad timing": b"\x06\x01\x08\xff\xff\xff\x80",
        "recovery point of an impossible size": b"\x06\x06\xff\xff\xff\x80",
        "unknown parameter set": b"\x06\x00\x04\x00\x40\x80",
    },
    "h265": {"truncated": b"\x4e\x01\x64\xc8" + b"\x11" * 8 + b"\x80", "bad timing": b"\x4e\x01\x01\x08\xff\x80"},
}


@pytest.mark.parametrize(("codec", "kind"), [(codec, kind) for codec, kinds in SEI.items() for kind in kinds])
def test_malformed_supplemental_information_is_no_damage(codec: str, kind: str) -> None:
    """Some cameras send it with each picture."""
    recorded, sei = clip(codec, gop=30), SEI[codec][kind]
    data = [
        b"".join(b"\0\0\0\1" + nal for nal in (*(recorded.parameter_sets if unit.key else ()), sei, *unit.units))
        for unit in recorded.units[:20]
    ]
    decoded, number = newest_of(codec, data)
    assert (decoded.captured, decoded.damaged, number) == (19.0, None, 19)


def test_of_supplemental_information_the_recovery_point_is_kept() -> None:
    picture = b"\0\0\0\1\x41\xe0" + b"\x55" * 20
    timing, recovery = b"\x01\x02\x12\x34", b"\x06\x01\xc4"
    data = b"\0\0\0\1\x06" + timing + recovery + b"\x80" + picture
    assert without_sei("h264", data) == b"\0\0\0\1\x06" + recovery + b"\x80" + picture[1:]
    assert without_sei("h264", picture) == picture


def test_group_without_end_ends_the_connection() -> None:
    """An encoder of its own for each connection may send one keyframe at its beginning, and no other."""
    camera = Camera(clip("h264", gop=30))
    camera.began -= 200.0
    data = packets(camera.recorded, 2)
    camera.send(data)

    def add(numbers: range) -> None:
        for number in numbers:
            at = camera.began + number / 15
            camera.stream.add(Packet(data[1], False, at, at, at))

    add(range(2, GOP_PICTURES))
    with pytest.raises(CameraError, match="too few keyframes"):
        add(range(GOP_PICTURES, GOP_PICTURES + 10))


def test_damage_is_counted_once_per_group_and_is_over_with_the_next_keyframe() -> None:
    recorded = clip("h265", gop=15)
    camera = Camera(recorded)
    data = packets(recorded, 40)
    camera.send(data[:5])
    camera.send(data[6:14], first=6)
    assert camera.newest() == (4, 4)
    assert camera.newest() == (4, 4)
    assert camera.health.figures().damaged == 1
    camera.send(data[15:20], first=15)
    assert camera.newest()[0] in (18, 19)
    assert camera.health.figures().damaged == 1


def test_picture_whose_first_slice_was_lost_is_damage() -> None:
    recorded = clip(slices=4, gop=30)
    buffer = GopBuffer("h264", b"")
    for place, unit in enumerate(recorded.units[:12]):
        for number, nal in enumerate((*recorded.parameter_sets, *unit.units) if unit.key else unit.units):
            if (place, number) != (8, 0):
                buffer.add(Packet(b"\0\0\0\1" + nal, unit.key, 0.0, 0.0, float(place)), float(place))
    assert [picture.captured for picture in buffer.pictures()] == [float(place) for place in range(8)]
    assert buffer.damaged_groups == 1


def test_no_picture_is_decoded_twice_while_a_group_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packets(clip(gop=150, pictures=150), 100)
    group = [Picture(number, float(number), packet) for number, packet in enumerate(data, 1)]
    decoder, checks = GroupDecoder("h264", b""), itertools.count()

    def count() -> None:
        next(checks)

    for upto in (40, 60, 61, 100):
        assert decoder.decode(group[:upto], count).captured == upto
        assert number_in(decoder.pixels()) == upto - 1
    assert next(checks) == 100


def test_stop_ends_a_long_decode() -> None:
    data = packets(clip(gop=150, pictures=150), 100)
    group = [Picture(number, float(number), packet) for number, packet in enumerate(data, 1)]

    def stop() -> None:
        raise Stopped

    decoder = GroupDecoder("h264", b"")
    with pytest.raises(Stopped):
        decoder.decode(group, stop)
    assert decoder.position == 0


def test_stream_whose_keyframes_cannot_be_decoded_ends_with_the_reason() -> None:
    recorded = clip("h264", gop=15)
    camera = Camera(recorded)
    camera.send(packets(recorded, 10))
    assert camera.stream.prove()
    assert camera.stream.about == "H.264, 320x240"
    garbage = b"\0\0\0\1\x65\x88" + bytes(range(3, 255))
    for place in (15, 30):
        camera.send([garbage], first=place)
        camera.send(packets(recorded, 300)[place + 1 : place + 3], first=place + 1)
        assert not camera.stream.prove()
        assert not camera.stream.proven
    camera.send([garbage], first=45)
    with pytest.raises(CameraError, match=r"the stream's pictures cannot be decoded \(H.264\)"):
        camera.stream.prove()


def test_look_waits_a_second_for_another_keyframe_and_is_then_stale() -> None:
    recorded = clip("jpeg", gop=1)
    camera = Camera(recorded)
    camera.send([packet[:-200] + packet[-2:] for packet in packets(recorded, 3)])
    began = time.monotonic()
    with pytest.raises(StaleFrame, match="keyframe of the stream is damaged: the JPEG is damaged"):
        camera.stream.newest(nothing)
    assert time.monotonic() - began < 4
    assert camera.health.figures().damaged > 0


# --- frame_num ---


@pytest.mark.parametrize("options", [{"gop": 30}, {"b_frames": 2}, {"slices": 4}], ids=str)
def test_whole_stream_has_no_gap(options: dict[str, int]) -> None:
    numbers = FrameNumbers(b"")
    assert not any(numbers.gap_before(packet) for packet in packets(clip(**options), 60))


def test_missing_picture_is_a_gap_and_the_parameter_sets_may_be_in_the_sdp_only() -> None:
    recorded = clip(gop=30)
    sdp = b"".join(b"\0\0\0\1" + each for each in recorded.parameter_sets)
    numbers = FrameNumbers(sdp)
    data = packets(recorded, 25)
    data[0] = data[0].removeprefix(sdp)
    assert [place for place, packet in enumerate(drop(data)) if numbers.gap_before(packet)] == [10]


def test_camera_that_counts_in_its_own_way_is_not_taken_for_a_lossy_one() -> None:
    numbers = FrameNumbers(b"")
    data = packets(clip(gop=150, pictures=150), 150)
    gaps = [numbers.gap_before(packet) for packet in data[::2]]
    assert any(gaps[:20])
    assert not any(gaps[25:])


def test_parameter_sets_of_the_sdp_are_taken_without_other_units() -> None:
    recorded = clip("h265")
    sdp = b"".join(b"\0\0\0\1" + each for each in (*recorded.parameter_sets, *recorded.sei))
    kept = parameter_sets("hevc", sdp)
    assert kept == b"".join(b"\0\0\0\1" + each for each in recorded.parameter_sets)
    assert parameter_sets("mjpeg", b"") == b""


def test_pixels_are_in_the_order_of_opencv() -> None:
    decoder = GroupDecoder("h264", b"")
    decoder.decode([Picture(1, 0.0, packets(clip(), 1)[0])], nothing)
    bgr = decoder.pixels()
    assert bgr.shape == (240, 320, 3)
    assert bgr.dtype == np.uint8
