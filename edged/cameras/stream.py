"""Frames from RTSP and HTTP streams. A thread per camera drains packets; nothing is decoded until a look asks."""

from __future__ import annotations

import io
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from edged.cameras import web
from edged.cameras.health import THREADS, Health, keep_connected
from edged.cameras.picture import Pixels, decode_picture, frame_from_bgr
from edged.cameras.preflight import describe
from edged.cameras.reader import CLOSE_S, CLOSED, SLICE_S
from edged.cameras.wire import Ended
from edged.core.errors import CameraError, StaleFrame, Stopped
from edged.core.specs import CameraSpec
from edged.core.types import Frame

OPEN_S = 5.0
SILENT_S = 4.0  # a camera that sends nothing for so long is lost
NO_KEYFRAME_S = 30.0
FIRST_LOOK_S = 8.0  # how long the first look of a fresh camera waits: an open takes 0.5 to 5 s
GROUP_BYTES = 16 * 1024 * 1024
GROUP_PACKETS = 500  # beyond these only the keyframe is kept; 500 at 1080p take about 1.5 s to decode
CODECS = {"h264": "H.264", "hevc": "H.265", "MJPG": "MJPEG"}


@dataclass(frozen=True, slots=True)
class Packet:
    """One compressed picture, or a part of one. Times are monotonic.

    `since` is when the wait for it began. A packet is no younger than that: FFmpeg's parser gives one out only when the
    next one begins, and what it gives out after a stall lay there all the while.
    """

    data: bytes
    key: bool
    since: float
    arrived: float
    stream_s: float | None  # the camera's own time stamp; no clock, see LiveEdge


@dataclass(frozen=True, slots=True)
class Feed:
    """An open stream. `extradata` holds the parameter sets that may be missing in the packets."""

    codec: str
    extradata: bytes
    about: str
    packets: Iterator[Packet]


class StreamCamera:
    """A camera whose packets a thread of its own drains."""

    def __init__(
        self, spec: CameraSpec, open_feed: Callable[[str, Ended], AbstractContextManager[Feed]], health: Health
    ) -> None:
        self._spec = spec
        self._open_feed = open_feed
        self._health = health
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._group: GopBuffer | None = None
        self._started = 0.0
        self._thread = threading.Thread(target=self._run, name=THREADS + spec.name, daemon=True)

    def start(self) -> None:
        self._started = time.monotonic()
        self._thread.start()

    def grab(self, stop: threading.Event) -> Frame:
        began = time.monotonic()
        held = self._live_group(stop).held()
        age = time.monotonic() - held.captured
        if age > self._spec.max_age_s:
            raise StaleFrame(f"the newest picture is {age:.1f} s old, max_age is {self._spec.max_age_s:g} s")
        bgr = decode(held)
        return frame_from_bgr(bgr, self._spec.mask, held.captured, (time.monotonic() - began) * 1000)

    def close(self) -> None:
        """Returns after 1 s at most. A thread inside FFmpeg ends later, at its time-out."""
        self._health.end()
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _live_group(self, stop: threading.Event) -> GopBuffer:
        patience = self._started + FIRST_LOOK_S
        with self._changed:
            while self._group is None and self._health.online is None and time.monotonic() < patience:
                if stop.is_set():
                    raise Stopped
                if self._closing.is_set():
                    raise CameraError(CLOSED)
                self._changed.wait(SLICE_S)
            if self._group is None:
                raise CameraError(self._health.reason or "the camera is being reconnected")
            return self._group

    def _run(self) -> None:
        keep_connected(self._session, self._health, self._closing)

    def _session(self) -> None:
        """Drain one connection until it is lost (CameraError) or the camera is closed."""
        try:
            with self._open_feed(self._spec.source.address.reveal(), self._closing.is_set) as feed:
                self._drain(feed)
        except cv2.error as error:
            raise CameraError(f"OpenCV failed on the stream (error {error.code})") from None
        finally:
            self._show(None)

    def _drain(self, feed: Feed) -> None:
        group, edge, opened = GopBuffer(feed.codec, feed.extradata), LiveEdge(), time.monotonic()
        for packet in feed.packets:
            if self._closing.is_set():
                return
            group.add(packet, edge.captured(packet))
            if self._group is None and edge.reached and group.begun:
                self._show(group)
                self._health.works(feed.about)
            elif not group.begun and time.monotonic() - opened > NO_KEYFRAME_S:
                raise CameraError(
                    f"no keyframe in {NO_KEYFRAME_S:.0f} s: set the camera to send one every second or two"
                )

    def _show(self, group: GopBuffer | None) -> None:
        with self._changed:
            self._group = group
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one decode needs: the packets since the last keyframe, and when the newest was captured."""

    codec: str
    packets: tuple[bytes, ...]
    captured: float


class GopBuffer:
    """The packets since the last keyframe, bounded. One thread adds, any may ask what is held.

    A picture can come as several packets, a slice each. Half a picture decodes without a word, so that a picture is
    held only once it is whole: at once for a camera that sends each in one packet, else when the next one begins.
    """

    SURE = 3  # pictures in one packet each, before a camera is taken to send them so

    def __init__(self, codec: str, extradata: bytes) -> None:
        self.begun = False
        self._codec = codec
        self._extradata = extradata
        self._lock = threading.Lock()
        self._coming: list[bytes] = []  # of the picture that may have more slices
        self._coming_key = False
        self._coming_captured = 0.0
        self._slices, self._slice_bytes = 0, 0  # of the picture that came last
        self._whole = 0
        self._sliced = False
        self._packets: list[bytes] = []
        self._size = 0
        self._key_packets = 0
        self._full = False
        self._captured = 0.0
        self._key_captured = 0.0

    def add(self, packet: Packet, captured: float) -> None:
        """Raises CameraError for a picture whose slices do not end."""
        rest = later_slices(self._codec, packet.data)
        with self._lock:
            if rest is None:
                self._hold()
                self._coming, self._coming_key = [packet.data], packet.key or self._codec == "MJPG"
                self._coming_captured = captured
                self._slices, self._slice_bytes = 1, len(packet.data)
            elif self._coming or self.begun:
                self._add_slice(rest)
            if self._codec == "MJPG" or (not self._sliced and self._whole >= self.SURE):
                self._hold()

    def held(self) -> Snapshot:
        with self._lock:
            return Snapshot(self._codec, (self._extradata, *self._packets), self._captured)

    def _add_slice(self, rest: bytes) -> None:
        self._slices, self._slice_bytes, self._sliced = self._slices + 1, self._slice_bytes + len(rest), True
        if self._slices > GROUP_PACKETS or self._slice_bytes > GROUP_BYTES:
            raise CameraError(
                f"a picture of the stream has more than {GROUP_PACKETS} slices or {GROUP_BYTES // 1024 // 1024} MiB"
            )
        # without one that is coming: a slice more than we were sure of
        (self._coming or self._packets).append(rest)

    def _hold(self) -> None:
        """The picture that was coming is whole."""
        picture, self._coming = self._coming, []
        self._whole += len(picture) == 1
        if self._coming_key and picture:
            self._packets, self._size, self._full = [], 0, False
            self._key_packets, self._key_captured, self.begun = len(picture), self._coming_captured, True
        if not picture or not self.begun or self._full:
            return
        self._packets += picture
        self._size += sum(len(data) for data in picture)
        self._captured = self._coming_captured
        if len(self._packets) > self._key_packets and (self._size > GROUP_BYTES or len(self._packets) > GROUP_PACKETS):
            self._full, self._captured = True, self._key_captured
            del self._packets[self._key_packets :]


START_CODE = b"\0\0\1"


def later_slices(codec: str, data: bytes) -> bytes | None:
    """The slices in a packet that goes on with the picture before; None for a packet that begins one.

    Parameter sets before them are left out: there, a decoder would take the slices for another picture.
    """
    header = {"h264": 1, "hevc": 2}.get(codec)
    at = data.find(START_CODE) if header else -1
    while header and at >= 0 and at + 3 + header < len(data):
        unit = data[at + 3]
        kind = unit & 0x1F if header == 1 else (unit >> 1) & 0x3F
        if 1 <= kind <= 5 if header == 1 else kind < 32:
            # first_mb_in_slice is an Exp-Golomb code, 0 being a single 1; or first_slice_segment_in_pic_flag
            begins = data[at + 3 + header] & 0x80
            return None if begins else b"\0" + data[at:]
        at = data.find(START_CODE, at + 3)
    return None


class LiveEdge:
    """How far behind the newest each packet is.

    After an open, and after a jam on the way, seconds of old packets come in one burst. Their arrival is new and their
    pictures are not; it shows in the camera's stamps, which advance faster than our clock. Those stamps are no clock:
    they run backwards with B-frames, jump by hours when an encoder restarts, go too slow in the dark. So only their lag
    against the least of the last 5 s counts, and a jump starts anew.
    """

    WINDOW_S = 5.0
    BACKWARDS_S = 0.5  # B-frames step back by less
    FORWARDS_S = 10.0
    CALM_S = 0.5
    BURST_S = 3.0  # longer than any burst after an open

    def __init__(self) -> None:
        self.reached = False  # the burst after the open is over
        self._lags: deque[tuple[float, float]] = deque()  # arrived, lag: the least first
        self._stream_s: float | None = None
        self._began: float | None = None
        self._least = 0.0
        self._calm_from = 0.0

    def captured(self, packet: Packet) -> float:
        """When the packet's picture was captured at the latest; monotonic."""
        if packet.stream_s is None:
            self.reached = True
            return packet.since
        if self._stream_s is not None and not -self.BACKWARDS_S < packet.stream_s - self._stream_s < self.FORWARDS_S:
            self._lags.clear()
        self._stream_s = packet.stream_s
        lag = packet.arrived - packet.stream_s
        while self._lags and self._lags[-1][1] >= lag:
            self._lags.pop()
        self._lags.append((packet.arrived, lag))
        while self._lags[0][0] < packet.arrived - self.WINDOW_S:
            self._lags.popleft()
        least = self._lags[0][1]
        self._look_for_calm(packet.arrived, least)
        return packet.since - (lag - least)

    def _look_for_calm(self, arrived: float, least: float) -> None:
        """The burst is over when the least lag has stopped falling."""
        if self._began is None:
            self._began, self._least, self._calm_from = arrived, least, arrived
        elif abs(self._least - least) > 0.1:
            self._least, self._calm_from = least, arrived
        self.reached |= arrived - self._calm_from > self.CALM_S or arrived - self._began > self.BURST_S


@contextmanager
def rtsp_feed(address: str, ended: Ended) -> Iterator[Feed]:
    """Open an RTSP stream in raw mode. Raises CameraError with the reason why it is not available."""
    describe(address, ended)
    began = time.monotonic()
    capture = _raw_capture(address)
    if not capture.isOpened() and time.monotonic() - began < 1:
        # A server built on GStreamer is busy (503) while it takes down what `describe` made it set up.
        capture.release()
        time.sleep(0.5)
        capture = _raw_capture(address)
    try:
        if not capture.isOpened():
            raise CameraError("the camera answers, but its stream does not open")
        codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1").strip("\0 ")
        width, height = (int(capture.get(size)) for size in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        about = f"{CODECS.get(codec, codec)}, {width}x{height}"
        yield Feed(codec, _extradata(capture), about, rtsp_packets(capture))
    finally:
        capture.release()  # by the thread that read it: from another one this crashes


@contextmanager
def http_feed(address: str, ended: Ended) -> Iterator[Feed]:
    """Open an HTTP stream of JPEGs. Raises CameraError with the reason why it is not available."""
    with web.request(address, ended) as response:
        if not web.is_stream(response):
            raise CameraError(f"the camera sends {response.headers.get_content_type()}, no longer a stream")
        yield Feed("MJPG", b"", "MJPEG over HTTP", _http_packets(response))


def decode(held: Snapshot) -> Pixels:
    """The newest picture (BGR). Raises CameraError if none can be decoded."""
    if held.codec == "MJPG":
        return decode_picture(held.packets[-1])
    data = b"".join(held.packets)
    newest, count = _last(data, skip=len(held.packets) - 3)
    if newest is None and count:
        newest, _ = _last(data, skip=count - 1)  # interlaced: two packets a picture
    if newest is None:
        raise CameraError(f"the stream's pictures cannot be decoded ({CODECS.get(held.codec, held.codec)})")
    return newest


def _last(data: bytes, skip: int) -> tuple[Pixels | None, int]:
    """The last picture after the first `skip`, which are not converted, and how many there were in all."""
    # OpenCV keeps no reference to what it reads from: without this name the next grab() reads freed memory.
    file = io.BytesIO(data)
    # It takes any file-like object; its type hints say otherwise.
    decoder = cv2.VideoCapture(file, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])  # type: ignore[call-overload]
    newest, count = None, 0
    try:
        while decoder.grab():
            count += 1
            if count > skip:
                _, newest = decoder.retrieve()
    finally:
        decoder.release()
        file.close()  # not before
    return None if newest is None else np.asarray(newest, dtype=np.uint8), count


def _raw_capture(address: str) -> cv2.VideoCapture:
    return cv2.VideoCapture(
        address,
        cv2.CAP_FFMPEG,
        [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(OPEN_S * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(SILENT_S * 1000)),
            *(cv2.CAP_PROP_FORMAT, -1),  # packets as they come, not decoded
        ],
    )


def _extradata(capture: cv2.VideoCapture) -> bytes:
    found, data = capture.retrieve(None, int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX)))
    return data.tobytes() if found and data is not None else b""


def rtsp_packets(capture: cv2.VideoCapture) -> Iterator[Packet]:
    begun, since = False, time.monotonic()
    while True:
        got = capture.grab()
        arrived = time.monotonic()
        # FFmpeg calls what it had left over a packet when its time-out comes; isOpened() stays True for ever.
        if arrived - since > 0.9 * SILENT_S:
            raise CameraError(f"no packet for {arrived - since:.1f} s")
        if not got:
            raise CameraError("the camera ended the stream" if begun else "the stream opened, but sent no picture")
        begun = True
        key = bool(capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME))
        stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        found, data = capture.retrieve()
        if found and data is not None:
            yield Packet(data.tobytes(), key, since, arrived, stamp)
            since = time.monotonic()


def _http_packets(response: web.Response) -> Iterator[Packet]:
    since = time.monotonic()
    try:
        for data in web.parts(response):
            arrived = time.monotonic()
            yield Packet(data, True, since, arrived, None)
            since = time.monotonic()
    except TimeoutError:
        raise CameraError(f"no picture for {time.monotonic() - since:.1f} s") from None
    raise CameraError("the camera ended the stream")
