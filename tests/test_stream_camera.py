"""A camera of a stream, packet by packet: silence, a damaged keyframe, the end of a look and of the camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import pytest
from support.broker import until
from support.cameras import spec
from support.clips import clip

from edged.cameras.bounded import Cancelled
from edged.cameras.health import Health
from edged.cameras.packets import OpenStream, Packet
from edged.cameras.stream_camera import StreamCamera
from edged.core.errors import CameraError, StaleFrame, Stopped
from edged.core.types import CameraState

SILENT = "connected, but the camera has sent nothing for 0 s"
DAMAGED = "the newest keyframe of the stream is damaged"


class Stream:
    """A stream of JPEGs that arrive when the test sends them; None is the time-out of reading."""

    def __init__(self) -> None:
        self.states: list[CameraState] = []
        self.opens = 0
        self._sent: SimpleQueue[Packet | None] = SimpleQueue()
        self._reads = self._sendings = 0
        self._number = 0
        self._pictures = clip("jpeg", pictures=60).units
        self.camera = StreamCamera(spec("rtsp://cam/"), self._open, Health("dock", self.states.append))

    @contextmanager
    def _open(self, _address: str, _cancelled: Cancelled) -> Iterator[OpenStream]:
        self.opens += 1
        yield OpenStream("mjpeg", b"", iter(self._receive, "the end"))

    def _receive(self) -> Packet | None:
        self._reads += 1
        return self._sent.get(timeout=30)

    def send(self, damaged: bool = False) -> None:
        data, now = self._pictures[self._number].units[0], time.monotonic()
        self._number += 1
        self._put(Packet(b"\xff\xd8damaged\xff\xd9" if damaged else data, True, now, now, None))

    def time_out(self) -> None:
        self._put(None)

    def _put(self, packet: Packet | None) -> None:
        """Send it, and wait until the camera's thread has dealt with it."""
        self._sendings += 1
        self._sent.put(packet)
        until(lambda: self._reads > self._sendings, 10)

    def send_until_online(self) -> None:
        def online() -> bool:
            self.send()
            return bool(self.states) and self.states[-1].online

        until(online)

    def close(self) -> None:
        self._sent.put(None)  # wakes the camera's thread
        self.camera.close()

    def error(self) -> CameraError:
        with pytest.raises(CameraError) as caught:
            self.camera.grab(threading.Event())
        return caught.value


@pytest.fixture
def stream() -> Iterator[Stream]:
    made = Stream()
    made.camera.start()
    yield made
    made.close()


def test_a_camera_that_connects_and_sends_nothing_is_offline_and_its_looks_say_since_when(stream: Stream) -> None:
    stream.time_out()
    until(lambda: stream.states)
    assert [(state.online, state.reason) for state in stream.states] == [
        (False, "connected, but the camera sends nothing")
    ]
    error = stream.error()
    assert (type(error), str(error)) == (StaleFrame, SILENT)
    stream.send_until_online()
    assert stream.camera.grab(threading.Event()).rgb.any()
    assert stream.opens == 1


def test_a_look_at_a_stream_whose_keyframes_are_damaged_is_stale(stream: Stream) -> None:
    stream.send_until_online()
    outcomes = SimpleQueue[CameraError]()
    damaged = stream.camera.figures().damaged
    stream.send(damaged=True)
    looking = threading.Thread(target=lambda: outcomes.put(stream.error()))
    looking.start()
    until(lambda: stream.camera.figures().damaged > damaged)
    stream.send(damaged=True)
    stream.send(damaged=True)
    error = outcomes.get(timeout=20)
    looking.join(10)
    assert isinstance(error, StaleFrame)
    assert str(error).startswith(DAMAGED)


def test_a_look_ends_when_edged_stops_and_when_its_camera_is_closed() -> None:
    stream = Stream()
    stream.camera.start()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        stream.camera.grab(stop)
    outcomes = SimpleQueue[CameraError]()
    looking = threading.Thread(target=lambda: outcomes.put(stream.error()))
    looking.start()
    stream.close()
    assert str(outcomes.get(timeout=20)) in ("the camera is closed", SILENT)
    looking.join(10)
