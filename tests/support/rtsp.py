"""Starts the live RTSP server of `rtsp_server.py`, and reads the time in its pictures."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from edged.core.types import Frame
from support.broker import free_port

FPS = 15
PYTHON = "/usr/bin/python3"  # the one that has GStreamer's bindings


class Server:
    """One RTSP server process on 127.0.0.1. `without` is a mount that is left out, such as /h264.

    `h264` is the mount whose stream is at /h264. `lags` is a file for how late the server sends each picture.
    """

    def __init__(
        self,
        scheme: str = "",
        user: str = "",
        password: str = "",
        port: int = 0,
        without: str = "",
        h264: str = "/h264",
        lags: Path | None = None,
    ) -> None:
        self.login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        # not one that the kernel gives to others while the server is restarted
        command = [PYTHON, str(Path(__file__).parent / "rtsp_server.py"), str(port or free_port())]
        self.process = subprocess.Popen(
            command + ([scheme, user, password] if scheme else []),
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "WITHOUT": without, "H264": h264, "LAGS": str(lags or "")},
        )
        assert self.process.stdout is not None
        status, _, bound_port = self.process.stdout.readline().partition(" ")
        if status != "READY":
            self.kill()
            pytest.fail(
                "the RTSP server did not start (python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-*)"
            )
        self.port = int(bound_port)

    def url(self, path: str, login: str | None = None) -> str:
        return f"rtsp://{self.login if login is None else login}127.0.0.1:{self.port}/{path}"

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def resize(self) -> None:
        """Twice, or half, the width and height of the pictures, within each stream."""
        os.kill(self.process.pid, signal.SIGUSR1)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@contextmanager
def serving(scheme: str = "", user: str = "", password: str = "", port: int = 0) -> Iterator[Server]:
    server = Server(scheme, user, password, port)
    try:
        yield server
    finally:
        server.kill()


def made_ago(frame: Frame) -> float:
    """Seconds since the picture was generated, by the time encoded in its pixels."""
    bits = frame.rgb[10, 5::10, 1] > 128
    assert (bits[:16] != bits[16:]).all(), "the picture is damaged"
    number = sum(int(bit) << place for place, bit in enumerate(bits[:16]))
    return float((time.time() * FPS - number) % 65536 / FPS)
