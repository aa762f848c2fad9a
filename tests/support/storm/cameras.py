"""The cameras of a storm. Their pictures show the time: `clips.number_in` reads floor(time() * 15) modulo 65536."""

from __future__ import annotations

import base64
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from support.broker import HOST
from support.clips import picture
from support.rtsp import FPS

STREAM_FPS = 5
MODULUS = 65536
SIZES = ((320, 240), (640, 480))
NOISE = 16  # rows and columns in a corner


def number_now() -> int:
    return int(time.time() * FPS) % MODULUS


def seconds_since(number: int, moment: float) -> float:
    """The time from the picture with this number to the moment (wall clock), within +-36 minutes."""
    return ((moment * FPS - number + MODULUS / 2) % MODULUS - MODULUS / 2) / FPS


class HttpCamera:
    """One picture at /snap, a stream at /stream. `frozen` is the number that all pictures show; None: the time.

    `size` is width and height, `password` that of the user `viewer` (Basic).
    """

    def __init__(self, password: str) -> None:
        self.password = password
        self.frozen: int | None = None
        self.froze_at: set[int] = set()  # every number that `frozen` was
        self.size = SIZES[0]
        self.served = 0  # pictures
        self.refused = 0  # requests with a wrong login
        self._server = ThreadingHTTPServer((HOST, 0), _handler(self))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def freeze(self) -> None:
        self.frozen = number_now()
        self.froze_at.add(self.frozen)

    def jpeg(self) -> bytes:
        """No two are alike while the camera is not frozen."""
        number = number_now() if self.frozen is None else self.frozen
        luma = picture(number, *self.size)
        self.served += 1
        luma[-NOISE:, -NOISE:] = 0 if self.frozen is not None else self.served % 256
        return cv2.imencode(".jpg", np.stack([luma] * 3, axis=2), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()

    def admits(self, header: str | None) -> bool:
        admitted = header == "Basic " + base64.b64encode(f"viewer:{self.password}".encode()).decode()
        self.refused += not admitted and header is not None
        return admitted

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(camera: HttpCamera) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                if not camera.admits(self.headers.get("Authorization")):
                    self._head(401, WWW_Authenticate='Basic realm="cam"', Content_Length="0")
                elif self.path == "/stream":
                    self._stream()
                else:
                    jpeg = camera.jpeg()
                    self._head(200, Content_Type="image/jpeg", Content_Length=str(len(jpeg)))
                    self.wfile.write(jpeg)

        def _head(self, status: int, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def _stream(self) -> None:
            self._head(200, Content_Type="multipart/x-mixed-replace; boundary=frame")
            while True:
                jpeg = camera.jpeg()
                head = f"\r\n--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg)
                time.sleep(1 / STREAM_FPS)

    return Handler
