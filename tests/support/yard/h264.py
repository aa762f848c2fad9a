"""H.264 as cameras send it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from support.yard.drawing import HEIGHT, WIDTH, Picture

FPS = 25


def packets(pictures: Iterable[Picture], options: Mapping[str, str]) -> list[av.Packet]:
    """A keyframe every two seconds, no B-frames. `options` are x264's for the rate control."""
    encoder = VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.gop_size, encoder.max_b_frames, encoder.thread_count = 2 * FPS, 0, 1
    encoder.options = {"preset": "superfast", "tune": "zerolatency", "scenecut": "0", **options}
    made = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        made += encoder.encode(frame)
    return [*made, *encoder.encode(None)]


def last_picture(packets: Iterable[av.Packet]) -> Picture:
    """What a decoder makes of the last packet. RGB."""
    decoder = VideoCodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoded = [picture for packet in packets for picture in decoder.decode(packet)] + decoder.decode(None)
    return np.asarray(decoded[-1].to_ndarray(format="rgb24"), np.uint8)
