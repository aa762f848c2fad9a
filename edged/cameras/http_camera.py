"""HTTP cameras: snapshots or an MJPEG stream, as the content type of each answer says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event as StopSignal

from edged.cameras import multipart
from edged.cameras.bounded import Cancelled
from edged.cameras.frozen import FrozenCheck
from edged.cameras.health import Health
from edged.cameras.http_client import BoundedResponse, read_picture, request
from edged.cameras.jpeg import DamagedPicture
from edged.cameras.packets import OpenStream, Packet
from edged.cameras.picture import Pixels, decode_picture
from edged.cameras.reader import Reader
from edged.cameras.reasons import LOGIN_PAUSE_S, WrongPassword
from edged.cameras.still import SourceStreams, Still, take_still
from edged.cameras.stream_camera import StreamCamera
from edged.cameras.waiting import raise_if_ended
from edged.core.errors import CameraError
from edged.core.interfaces import Noise
from edged.core.specs import CameraSpec
from edged.core.types import CameraFigures, CameraReport, Frame

SNAPSHOT_S = 30.0  # the name look-up, which has no time-out of its own, plus the bounds of `http_client`


class NotStream(CameraError):
    """The camera answered with something else than a stream."""


class HttpCamera:
    """Fetches one picture per look. While the camera answers with a stream, it hands over to a StreamCamera."""

    def __init__(self, spec: CameraSpec, report: CameraReport, noise: Noise | None = None) -> None:
        self._spec = spec
        self._noise = noise
        self._health = Health(spec.name, report)
        self._frozen = FrozenCheck(spec.frozen_after_s, noise)
        self._closing = threading.Event()
        self._reader = Reader(spec.name, "the camera", SNAPSHOT_S, self._closing)
        self._lock = threading.Lock()
        self._stream: StreamCamera | None = None
        self._stream_over = threading.Event()  # the camera no longer answers with a stream
        self._wrong_password: tuple[str, float] | None = None  # the reason, and when (monotonic) the camera gave it

    def start(self) -> None:
        """Does nothing: the first look connects."""

    def grab(self, stop: StopSignal) -> Frame:
        self._leave_stream()
        stream = self._stream
        if stream is None:
            try:
                return self._frozen.check(take_still(self._spec, self._health, lambda: self._snapshot(stop)))
            except SourceStreams:
                stream = self._start_stream(stop)
        return stream.grab(stop)

    def figures(self) -> CameraFigures:
        return self._health.figures()

    def close(self) -> None:
        """Returns after 1 s at most."""
        self._health.close()
        with self._lock:  # so that no stream is started after this
            self._closing.set()
            stream = self._stream
        if stream is None:
            self._reader.join()
        else:
            stream.close()

    def _start_stream(self, stop: StopSignal) -> StreamCamera:
        """The stream, started by the first of the looks that need it."""
        with self._lock:
            raise_if_ended(stop, self._closing)
            if self._stream is None:
                stream = StreamCamera(self._spec, self._open_stream, self._health, self._noise)
                stream.start()
                self._stream = stream
            return self._stream

    @contextmanager
    def _open_stream(self, address: str, cancelled: Cancelled) -> Iterator[OpenStream]:
        try:
            with open_mjpeg(address, cancelled) as stream:
                self._stream_over.clear()
                yield stream
        except NotStream:
            self._stream_over.set()
            raise

    def _leave_stream(self) -> None:
        """Back to snapshots, if the camera no longer answers with a stream."""
        with self._lock:
            if self._closing.is_set() or not self._stream_over.is_set():
                return
            stream, self._stream = self._stream, None
            self._stream_over.clear()
        if stream:
            stream.stop()

    def _snapshot(self, stop: StopSignal) -> Still:
        def cancelled() -> bool:
            return stop.is_set() or self._closing.is_set()

        def fetch() -> Still:
            try:
                return self._fetch(cancelled)
            except DamagedPicture:
                self._health.count_damaged()
                return self._fetch(cancelled)  # the next one is likely whole

        return self._reader.read(fetch, stop)

    def _fetch(self, cancelled: Cancelled) -> Still:
        """Raises WrongPassword without asking the camera for a while after it refused the login."""
        if self._wrong_password and time.monotonic() - self._wrong_password[1] < LOGIN_PAUSE_S:
            raise WrongPassword(self._wrong_password[0])
        try:
            return self._request(cancelled)
        except WrongPassword as error:
            self._wrong_password = str(error), time.monotonic()
            raise

    def _request(self, cancelled: Cancelled) -> Still:
        with request(self._spec.source.address.reveal(), cancelled) as response:
            if multipart.is_stream(response):
                raise SourceStreams
            # Captured before its answer began, at the latest: the transfer, of the head too, may take seconds.
            return Still(decode_picture(read_picture(response)), "HTTP snapshot", response.began_at)


def fetch_once(address: str, cancelled: Cancelled) -> Pixels:
    """One picture (BGR): the answer itself, or the first of a stream. Raises CameraError, Stopped once cancelled."""
    with request(address, cancelled) as response:
        is_stream = multipart.is_stream(response)
        data = next(multipart.pictures(response), (0.0, b""))[1] if is_stream else read_picture(response)
    return decode_picture(data)


@contextmanager
def open_mjpeg(address: str, cancelled: Cancelled) -> Iterator[OpenStream]:
    """Raises CameraError with the reason if the stream is not available, NotStream if it is none, Stopped once
    cancelled.
    """
    with request(address, cancelled) as response:
        if not multipart.is_stream(response):
            raise NotStream(f"the camera now sends {response.headers.get_content_type()} instead of a stream")
        yield OpenStream("mjpeg", b"", _packets(response))


def _packets(response: BoundedResponse) -> Iterator[Packet | None]:
    began = time.monotonic()
    try:
        for since, data in multipart.pictures(response):
            yield Packet(data, True, since, time.monotonic(), None)
            began = time.monotonic()
    except TimeoutError:
        raise CameraError(f"no picture for {time.monotonic() - began:.1f} s") from None
    raise CameraError("the camera ended the stream")
