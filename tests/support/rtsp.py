"""Starts and stops the live RTSP server of `rtsp_server.py`, and reads the time out of its pictures."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from edged.cameras.source import open_camera
from edged.core.interfaces import Camera
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, SourceSpec
from edged.core.types import CameraState, Frame

FPS = 15
PYTHON = "/usr/bin/python3"  # the one that has GStreamer's bindings


class Server:
    """One RTSP server process on 127.0.0.1."""

    def __init__(self, scheme: str = "", user: str = "", password: str = "", port: int = 0) -> None:
        self.login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        command = [PYTHON, str(Path(__file__).parent / "rtsp_server.py"), str(port)]
        self.process = subprocess.Popen(
            command + ([scheme, user, password] if scheme else []), stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        word, _, said = self.process.stdout.readline().partition(" ")
        if word != "READY":
            self.kill()
            pytest.fail(
                "the RTSP server did not start (python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-*)"
            )
        self.port = int(said)

    def url(self, path: str, login: str | None = None) -> str:
        return f"rtsp://{self.login if login is None else login}127.0.0.1:{self.port}/{path}"

    def hold_still(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

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


@contextmanager
def answering(reply: Callable[[bytes], bytes | None], hang_up: bool = False) -> Iterator[int]:
    """A port whose every request gets what `reply` says; None is silence. `hang_up`: and then no more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                held.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection: socket.socket) -> None:
            try:
                while (asked := connection.recv(4096)) and (said := reply(asked)) is not None:
                    connection.sendall(said)
                    if hang_up:
                        connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()


class Watched:
    """A started camera and every state it reported."""

    def __init__(self, spec: CameraSpec, make: Callable[..., Camera] = open_camera, **more: object) -> None:
        self.states: list[CameraState] = []
        self.camera = make(spec, self.states.append, **more)
        self.stop = threading.Event()

    def __enter__(self) -> Watched:
        self.camera.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.camera.close()

    def grab(self) -> Frame:
        return self.camera.grab(self.stop)

    def wait_for(self, online: bool, count: int = 1, within_s: float = 30.0) -> CameraState:
        """The newest state, once `count` reports said `online`."""
        until(lambda: sum(state.online is online for state in list(self.states)) >= count, within_s)
        return self.states[-1]


def spec(url: str, kind: str = "rtsp", shown: str | None = None, **more: object) -> CameraSpec:
    source = SourceSpec(kind, Secret(url), shown or url.rpartition("@")[2])  # type: ignore[arg-type]
    return CameraSpec("dock", source, **more)  # type: ignore[arg-type]


def until(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"did not come true in {within_s:g} s"
        threading.Event().wait(0.02)


def made_ago(frame: Frame) -> float:
    """Seconds since the picture was made, by the time that stands in its pixels."""
    bits = frame.rgb[10, 5::10, 1] > 128
    assert (bits[:16] != bits[16:]).all(), "the picture is damaged"
    number = sum(int(bit) << place for place, bit in enumerate(bits[:16]))
    return float((time.time() * FPS - number) % 65536 / FPS)
