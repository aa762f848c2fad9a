"""The demo's cameras, over HTTP on loopback: an MJPEG stream, and one JPEG for each request.

The truth of each picture sent is stored under the digest of its pixels, which is the `frame_sha256` of the answers, so
that an answer is compared with the truth of exactly its frame.
"""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from edged.cameras.picture import decode_picture, frame_from_bgr
from edged.core.errors import EdgedError
from edged.demo.sequence import Sequence
from edged.demo.truth import Truth

HOST = "127.0.0.1"
FPS = 5.0
QUALITY = 88
STORED_TRUTHS = 4000  # several minutes of two cameras
BOUNDARY = "edgedframe"
SIZE = (448, 448)


class Yards:
    """Serves each sequence as /NAME.mjpeg and /NAME.jpg."""

    def __init__(self, sequences: dict[str, Sequence]) -> None:
        self._sequences = sequences
        self._truths: OrderedDict[str, Truth] = OrderedDict()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.closing = threading.Event()

    def start(self) -> int:
        """Serve on a free port; the port. Raises EdgedError if there is none."""
        yards = self

        class Handler(_Handler):
            serving = yards

        try:
            self._server = ThreadingHTTPServer((HOST, 0), Handler)
        except OSError as error:
            raise EdgedError(f"the demo's cameras cannot be served on {HOST}: {error.strerror}") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo-cameras", daemon=True)
        self._thread.start()
        return int(self._server.server_address[1])

    def close(self) -> None:
        self.closing.set()
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)

    def truth(self, sha256: str | None) -> Truth | None:
        """The truth of the frame with this digest. None if it is unknown or no longer stored."""
        with self._lock:
            return self._truths.get(sha256 or "")

    def picture(self, name: str) -> bytes:
        """The current picture of a camera, as JPEG. Raises KeyError if there is no such sequence."""
        pixels, truth = self._sequences[name].frame(time.time())
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
        data = file.getvalue()
        digest = frame_from_bgr(decode_picture(data), (), time.monotonic()).sha256
        with self._lock:
            self._truths[digest] = truth
            while len(self._truths) > STORED_TRUTHS:
                self._truths.popitem(last=False)
        return data


class _Handler(BaseHTTPRequestHandler):
    """GET only, without a log."""

    serving: Yards
    timeout = 10

    def do_GET(self) -> None:  # http.server requires the name
        name, _, kind = self.path.lstrip("/").partition(".")
        try:
            if kind == "mjpeg":
                self._stream(name)
            else:
                self._send_picture(name)
        except KeyError:
            self.send_error(404)
        except OSError:  # the client has disconnected
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server requires the name
        return

    def _send_picture(self, name: str) -> None:
        data = self.serving.picture(name)
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, name: str) -> None:
        data = self.serving.picture(name)
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        while not self.serving.closing.is_set():
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
            if self.serving.closing.wait(1 / FPS):
                return
            data = self.serving.picture(name)
