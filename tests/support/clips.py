"""Clips for the scripted RTSP server: numbered pictures, encoded once, whose number can be read from the pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

ENCODERS = {"h264": "libx264", "h265": "libx265", "jpeg": "mjpeg"}
PARAMETER_SETS = {"h264": (7, 8), "h265": (32, 33, 34)}  # SPS, PPS; VPS, SPS, PPS
NO_PICTURE = {"h264": (6, 9), "h265": (35, 39, 40)}  # SEI, access unit delimiter
RECOVERY_POINT = b"\x06\x06"  # an SEI unit of H.264, and its payload's type
BARS = 16  # bits of a picture's number, each shown as a bar; 16 more bars show the inverse


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One picture as the encoder wrote it: NAL units without start codes and parameter sets, or one JPEG.

    `shown` is the picture's place in the order of display, from 0; `number` is in its pixels, the same but for a still.
    """

    shown: int
    number: int
    key: bool
    units: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Clip:
    """`units` in order of decoding. `sei` are the encoder's SEI units, which no access unit contains."""

    codec: str
    fps: int
    width: int
    height: int
    units: tuple[AccessUnit, ...]
    parameter_sets: tuple[bytes, ...]
    sei: tuple[bytes, ...]

    @property
    def reorder(self) -> int:
        """By how many pictures the order of decoding runs ahead of the order of display: 0 without B-frames."""
        return max(unit.shown - place for place, unit in enumerate(self.units))


@cache
def clip(
    codec: str = "h264",
    *,
    gop: int = 15,
    pictures: int = 300,
    fps: int = 15,
    width: int = 320,
    height: int = 240,
    b_frames: int = 0,
    slices: int = 1,
    still: bool = False,
    intra_refresh: bool = False,
) -> Clip:
    """`pictures` is a multiple of `gop`: the clip can be played in a loop. With `still`, all pictures are number 0.

    With `intra_refresh` (H.264), only the clip's first picture is a keyframe; every `gop` pictures a refresh begins.
    """
    assert pictures % gop == 0
    context = _encoder(codec, gop, fps, width, height, b_frames, slices)
    if intra_refresh:
        context.options |= {"x264-params": f"keyint={gop}:intra-refresh=1:bframes=0:scenecut=0:threads=1"}
    packets = list(_packets(context, [0 if still else number for number in range(pictures)]))
    units: list[AccessUnit] = []
    parameter_sets: dict[int, bytes] = {}
    sei: dict[int, bytes] = {}
    for packet in packets:
        assert packet.pts is not None
        nals = _nal_units(bytes(packet)) if codec != "jpeg" else [bytes(packet)]
        kinds = [nal_type(codec, nal) for nal in nals]
        parameter_sets |= {
            kind: nal for kind, nal in zip(kinds, nals, strict=True) if kind in PARAMETER_SETS.get(codec, ())
        }
        sei |= {kind: nal for kind, nal in zip(kinds, nals, strict=True) if kind in NO_PICTURE.get(codec, ())}
        if intra_refresh:  # the recovery points belong to their pictures
            kinds = [-1 if nal[:2] == RECOVERY_POINT else kind for kind, nal in zip(kinds, nals, strict=True)]
        picture = tuple(nal for kind, nal in zip(kinds, nals, strict=True) if kind not in parameter_sets | sei)
        units.append(AccessUnit(packet.pts, 0 if still else packet.pts, packet.is_keyframe, picture))
    return Clip(codec, fps, width, height, tuple(units), tuple(parameter_sets.values()), tuple(sei.values()))


def nal_type(codec: str, nal: bytes) -> int:
    return {"h264": nal[0] & 0x1F, "h265": nal[0] >> 1 & 0x3F}.get(codec, -1)


def _encoder(codec: str, gop: int, fps: int, width: int, height: int, b_frames: int, slices: int) -> VideoCodecContext:
    context = av.CodecContext.create(ENCODERS[codec], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuvj420p" if codec == "jpeg" else "yuv420p"
    context.time_base, context.framerate = Fraction(1, fps), Fraction(fps)
    context.thread_count = 1  # else the JPEG encoder writes restart markers, which plain RTP/JPEG does not carry
    group = f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes={b_frames}:b-adapt=0:b-pyramid=0"
    tune = {} if b_frames else {"tune": "zerolatency"}
    common = {"preset": "ultrafast", "qp": "22", **tune}
    context.options = {
        "h264": {**common, "x264-params": f"{group}:slices={slices}:threads=1"},
        "h265": {**common, "x265-params": f"{group}:slices={slices}:repeat-headers=1:info=1:pools=1:log-level=none"},
        "jpeg": {"huffman": "default", "qmin": "3", "qmax": "3", "strict": "unofficial"},
    }[codec]
    return context


def _packets(context: VideoCodecContext, numbers: list[int]) -> Iterator[Packet]:
    for pts, number in enumerate(numbers):
        luma = picture(number, context.width, context.height)
        chroma = np.full((context.height // 2, context.width), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), format="yuv420p").reformat(format=context.pix_fmt)
        frame.pts, frame.time_base = pts, context.time_base
        yield from context.encode(frame)
    yield from context.encode(None)


def _nal_units(annex_b: bytes) -> list[bytes]:
    return [unit.rstrip(b"\0") for unit in annex_b.split(b"\0\0\1")[1:]]


@lru_cache(1000)
def picture(number: int, width: int, height: int) -> np.ndarray:
    """Luma (16 to 235). Bars that show the number above a pattern that moves by 3 columns per picture."""
    bits = [number >> place & 1 for place in range(BARS)]
    row = np.repeat([235 if bit else 16 for bit in bits + [1 - bit for bit in bits]], width // (2 * BARS))
    top = np.tile(row, (height // 4, 1))
    columns, rows = np.meshgrid(np.arange(width), np.arange(height - height // 4))
    moving = 126 + 60 * np.sin((columns + 3 * number) / 6.5) + 40 * np.sin(rows / 9 + number / 5)
    return np.vstack([top, moving]).astype(np.uint8)


def number_in(rgb: np.ndarray) -> int | None:
    """The number that the picture's bars show; None if they are damaged."""
    width = rgb.shape[1] // (2 * BARS)
    levels = rgb[rgb.shape[0] // 8, width // 2 :: width, 1].astype(int)
    bits = levels > 128
    if (bits[:BARS] == bits[BARS:]).any():
        return None
    return sum(int(bit) << place for place, bit in enumerate(bits[:BARS]))


def psnr(rgb: np.ndarray, number: int) -> float:
    """How close the picture is to the undamaged one, in dB. Above 30: encoded; below 25: damaged."""
    height, width = rgb.shape[:2]
    original: Any = np.clip((picture(number, width, height).astype(float) - 16) * 255 / 219, 0, 255)
    error = float(np.mean((rgb[:, :, 1].astype(float) - original) ** 2))
    return 10 * float(np.log10(255**2 / max(error, 1e-3)))
