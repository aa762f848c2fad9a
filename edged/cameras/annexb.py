"""H.264 and H.265 as a stream sends them: NAL units between start codes (Annex B of both standards)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

START_CODE = b"\0\0\1"
HEADER = {"h264": 1, "hevc": 2}  # bytes of a NAL unit's header
SPS, IDR = 7, 5  # kinds of H.264's NAL units
I_SLICE = 2  # slice_type modulo 5
SEI = {"h264": (6,), "hevc": (39, 40)}
RECOVERY_POINT, MOST_RECOVERY = 6, 8  # the kind of a payload of H.264's SEI, and its bytes at most
PARAMETER_SETS = {"h264": (7, 8), "hevc": (32, 33, 34)}
HEAD = 512  # bytes of a unit that are read: more than a parameter set takes
CHROMA_PROFILES = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 144, 244})


def units(codec: str, data: bytes) -> Iterator[tuple[int, int]]:
    """The position of each NAL unit's header in a packet, and the unit's kind. Nothing for other codecs."""
    header = HEADER.get(codec)
    at = data.find(START_CODE) if header else -1
    while header and at >= 0 and at + 3 + header < len(data):
        unit = data[at + 3]
        yield at + 3, unit & 0x1F if codec == "h264" else (unit >> 1) & 0x3F
        at = data.find(START_CODE, at + 3)


def parameter_sets(codec: str, data: bytes) -> bytes:
    """The parameter sets among these NAL units, without the others, which a decoder may refuse."""
    if codec not in HEADER:
        return data
    kept = [unit.rstrip(b"\0") for kind, unit in _split(codec, data) if kind in PARAMETER_SETS[codec]]
    return b"".join(b"\0" + START_CODE + unit for unit in kept)


def without_sei(codec: str, data: bytes) -> bytes:
    """The units without supplemental information, which cameras write wrongly and a strict decoder then refuses.

    Of H.264, the recovery point is kept, which a decoder needs for an intra refresh.
    """
    if not any(kind in SEI[codec] for _, kind in units(codec, data)):
        return data
    kept = [data[: data.find(START_CODE)]]
    for kind, unit in _split(codec, data):
        if kind not in SEI[codec]:
            kept.append(START_CODE + unit)
        elif codec == "h264" and (recovery := _recovery_point(unit)):
            kept.append(START_CODE + recovery)
    return b"".join(kept)


def _split(codec: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each NAL unit's kind, and the unit without its start code."""
    found = list(units(codec, data))
    ends = [at - len(START_CODE) for at, _ in found[1:]] + [len(data)]
    for (at, kind), end in zip(found, ends, strict=True):
        yield kind, data[at:end]


def _recovery_point(unit: bytes) -> bytes:
    """A unit with nothing but the recovery point of this one; empty if it has none. H.264 section 7.3.2.3."""
    payload, at = unit[1:].replace(b"\0\0\3", b"\0\0"), 0  # emulation prevention
    while at + 2 < len(payload):
        kind, at = _sei_number(payload, at)
        size, at = _sei_number(payload, at)
        if kind == RECOVERY_POINT and size <= MOST_RECOVERY:
            return bytes([*unit[:1], RECOVERY_POINT, size, *payload[at : at + size], 0x80])
        at += size
    return b""


def _sei_number(payload: bytes, at: int) -> tuple[int, int]:
    """A number at this place, written as many 255 and the rest, and the place after it."""
    total = 0
    while at < len(payload) and payload[at] == 255:
        total, at = total + 255, at + 1
    return total + (payload[at] if at < len(payload) else 0), at + 1


def first_slice(codec: str, data: bytes) -> tuple[int, int] | None:
    """The position and kind of the first NAL unit that is a slice of a picture."""
    slices = range(1, 6) if codec == "h264" else range(32)
    return next(((at, kind) for at, kind in units(codec, data) if kind in slices), None)


def later_slices(codec: str, data: bytes) -> bytes | None:
    """The slices in a packet that continues the previous picture; None for a packet that begins one.

    Parameter sets before the slices are left out: a decoder would take the slices after them for a new picture.
    """
    found = first_slice(codec, data)
    if found is None:
        return None
    at = found[0]
    # first_mb_in_slice is an Exp-Golomb code, 0 being a single 1; or first_slice_segment_in_pic_flag
    begins = data[at + HEADER[codec]] & 0x80
    return None if begins else b"\0" + START_CODE + data[at:]


def begins_refresh(data: bytes) -> bool:
    """True for an H.264 picture that FFmpeg calls a keyframe although it refers to others: with it begins a refresh.

    A camera with intra refresh sends no keyframes: a part of each picture is coded without reference to others, until
    after some pictures all of it is (recovery point, H.264 section D.2.8).
    """
    found = first_slice("h264", data)
    if found is None or found[1] == IDR:
        return False
    bits = _Bits(data[found[0] : found[0] + 32])
    bits.golomb()  # first_mb_in_slice
    return bits.golomb() % 5 != I_SLICE


class FrameNumbers:
    """Finds pictures that are missing in an H.264 stream, by the frame_num in each picture's header.

    Without it a picture after a missing one decodes without an error, smeared. A decoder for H.265 reports that itself.
    """

    DOUBTFUL = 0.25  # so many gaps are the camera's way of counting, not loss
    ENOUGH = 20

    def __init__(self, extradata: bytes) -> None:
        self._sps: _Sps | None = None
        self._previous: int | None = None  # frame_num of the previous picture that others refer to
        self._pictures = self._gaps = 0
        self._read_sps(extradata)

    def gap_before(self, data: bytes, after_loss: bool = False) -> bool:
        """True if a picture is missing between the last one and the one that begins in `data`.

        `after_loss`: RTP packets are known to be lost since the last one, which explains a gap.
        """
        self._read_sps(data)
        found = first_slice("h264", data)
        if found is None or self._sps is None:
            return False
        at, kind = found
        number, before = _frame_number(data[at : at + 32], self._sps), 0 if kind == IDR else self._previous
        if data[at] & 0x60 or kind == IDR:  # nal_ref_idc: others refer to it
            self._previous = number
        if kind == IDR or before is None or self._sps.gaps_allowed:
            return False
        gap = (number - before) % self._sps.max_frame_num > 1
        if not after_loss:
            self._pictures += 1
            self._gaps += gap
        return gap and not (self._pictures >= self.ENOUGH and self._gaps > self.DOUBTFUL * self._pictures)

    def _read_sps(self, data: bytes) -> None:
        for at, kind in units("h264", data):
            if kind == SPS:
                self._sps = _read_sps(data[at : at + HEAD])
            elif 1 <= kind <= IDR:  # a slice: no sets follow, and it is long
                return


@dataclass(frozen=True, slots=True)
class _Sps:
    """The part of a sequence parameter set that frame_num depends on."""

    frame_num_bits: int
    gaps_allowed: bool
    separate_planes: bool

    @property
    def max_frame_num(self) -> int:
        return int(2**self.frame_num_bits)


class _Bits:
    """The bits of a NAL unit after its header. Reads zeros past the end."""

    def __init__(self, unit: bytes) -> None:
        payload = unit[1:].replace(b"\0\0\3", b"\0\0")  # emulation prevention
        self._bits = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)

    def take(self, count: int) -> int:
        """`count` bits as an unsigned number."""
        self._left -= count
        return (self._bits >> self._left if self._left >= 0 else 0) & ((1 << count) - 1)

    def golomb(self) -> int:
        """An unsigned Exp-Golomb code."""
        zeros = 0
        while zeros < 32 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _read_sps(unit: bytes) -> _Sps | None:
    """From seq_parameter_set_data(), H.264 section 7.3.2.1.1. None if it is malformed."""
    bits = _Bits(unit)
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.golomb()  # seq_parameter_set_id
    separate_planes = False
    if profile in CHROMA_PROFILES:
        full_chroma = bits.golomb() == 3
        separate_planes = full_chroma and bool(bits.take(1))
        bits.golomb(), bits.golomb(), bits.take(1)  # bit depths, lossless
        if bits.take(1):
            _skip_scaling_lists(bits, 12 if full_chroma else 8)
    frame_num_bits = bits.golomb() + 4
    if not _skip_order_count(bits) or frame_num_bits > 16:
        return None
    bits.golomb()  # max_num_ref_frames
    return _Sps(frame_num_bits, bool(bits.take(1)), separate_planes)


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for number in range(count):
        if not bits.take(1):
            continue
        last, following = 8, 8
        for _ in range(16 if number < 6 else 64):
            if following:
                code = bits.golomb()
                following = (last + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
            last = following or last


def _skip_order_count(bits: _Bits) -> bool:
    """Skip pic_order_cnt_type and what belongs to it. False if it is malformed."""
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.take(1), bits.golomb(), bits.golomb()
        cycle = bits.golomb()
        if cycle > 255:
            return False
        for _ in range(cycle):
            bits.golomb()
    return kind <= 2


def _frame_number(unit: bytes, sps: _Sps) -> int:
    """From slice_header(), H.264 section 7.3.3."""
    bits = _Bits(unit)
    bits.golomb(), bits.golomb(), bits.golomb()  # first_mb_in_slice, slice_type, pic_parameter_set_id
    if sps.separate_planes:
        bits.take(2)
    return bits.take(sps.frame_num_bits)
