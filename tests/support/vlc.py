"""VLC as an RTSP server of another make: UDP only, parameter sets in the SDP, 1 to 2 s of delay inside."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from typing import IO

import av
import pytest
from av.video.stream import VideoStream

from support.broker import until
from support.clips import ENCODERS, AccessUnit, Clip

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]  # VLC refuses to run as root
STARTED_S = 20.0


class Vlc:
    """Plays a clip live into VLC, which serves it at `url`; both by `with`. `written` is when it got each number."""

    def __init__(self, clip: Clip, port: int) -> None:
        if shutil.which("cvlc") is None:
            pytest.fail("cvlc is missing (vlc-bin, vlc-plugin-base)")
        self.url = f"rtsp://127.0.0.1:{port}/stream"
        self.written: dict[int, float] = {}
        self._port = port
        self._clip = clip
        self._home = tempfile.TemporaryDirectory()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._feeding: threading.Thread | None = None

    def __enter__(self) -> Vlc:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._home.cleanup()

    def start(self) -> None:
        command = [*(NOBODY if os.geteuid() == 0 else []), "cvlc", "--intf", "dummy", "--no-sout-audio", "--sout-keep"]
        command += ["--demux", "ts", "-", "--sout", f"#rtp{{sdp={self.url}}}"]
        self._ended.clear()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._home.name},
        )
        self._feeding = threading.Thread(target=self._feed, args=(self._process,), daemon=True)
        self._feeding.start()
        until(self._serves, STARTED_S)

    def kill(self) -> None:
        """As `kill -9`."""
        if self._process and self._feeding:
            self._ended.set()
            self._process.kill()
            self._process.wait(10)
            self._feeding.join(10)

    def send(self, number: int) -> None:
        """Send this signal."""
        if self._process:
            self._process.send_signal(number)

    def _serves(self) -> bool:
        """False while it starts: it answers 500 before it has seen the clip."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1) as connection:
            connection.settimeout(1)
            connection.sendall(f"DESCRIBE {self.url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            return connection.recv(100).startswith(b"RTSP/1.0 200")
        return False

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        """In a transport stream, which has the time stamps: VLC 3.0.24 makes wrong ones for raw H.264."""
        assert process.stdin
        began, place, units = time.monotonic(), 0, self._clip.units
        with suppress(OSError), process.stdin as pipe, transport_stream(pipe, self._clip) as write:
            while not self._ended.wait(max(0.0, began + place / self._clip.fps - time.monotonic())):
                unit = units[place % len(units)]
                write(unit, place)
                self.written[unit.number] = time.monotonic()
                place += 1


@contextmanager
def transport_stream(pipe: IO[bytes], clip: Clip) -> Iterator[Callable[[AccessUnit, int], None]]:
    """Writes access units to the pipe, each with its place in the stream."""
    with av.open(pipe, "w", format="mpegts", options={"flush_packets": "1", "muxdelay": "0"}) as container:
        stream = container.add_stream(ENCODERS[clip.codec], rate=clip.fps)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = clip.width, clip.height

        def write(unit: AccessUnit, place: int) -> None:
            sets = clip.parameter_sets if unit.key else ()
            packet = av.Packet(b"".join(b"\0\0\0\1" + nal for nal in (*sets, *unit.units)))
            packet.stream, packet.time_base = stream, Fraction(1, clip.fps)
            packet.pts = packet.dts = place
            packet.is_keyframe = unit.key
            container.mux(packet)

        yield write
