"""HTTP cameras: one answer, a picture or a stream of pictures, with what went wrong in words."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from threading import Event as StopSignal
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, build_opener

from edged.cameras.login import authorization
from edged.cameras.reasons import ANSWER_S, Address, of_network, of_status, take_apart
from edged.core import CameraError, Stopped

MAX_PICTURE = 32 * 1024 * 1024
PICTURE_S = 10.0  # how long one picture may take to arrive
MAX_PART_HEADERS = 50
HEADERS = {"User-Agent": "edged"}
URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"


@contextlib.contextmanager
def request(address: str) -> Iterator[HTTPResponse]:
    """GET it, with Basic or Digest login if the address has one. Raises CameraError; 5 s for each wait.

    What fails while the body is read becomes a CameraError too.
    """
    target = take_apart(address)
    if target.scheme not in ("http", "https"):
        raise CameraError("a picture over HTTP has an http:// or https:// address")
    try:
        with _logged_in(target) as response:
            yield response
    except OSError as error:
        raise of_network(error, target) from None
    except HTTPException as error:
        raise CameraError(f"{target.where} does not speak HTTP as expected ({type(error).__name__})") from None


def _logged_in(target: Address) -> HTTPResponse:
    """The answer, asked for again with the login if the camera wants one. The login goes to this host only."""
    url = quote(target.url, safe=URL_CHARACTERS)
    try:
        return _open(Request(url, headers=HEADERS), target)  # noqa: S310 the caller judged the scheme
    except HTTPError as error:
        with error:
            if error.code != 401 or target.user is None or take_apart(error.url).host != target.host:
                raise of_status(error.code, with_login=False) from None
            url, challenges = error.url, error.headers.get_all("WWW-Authenticate", [])
    again = Request(url, headers=HEADERS)  # noqa: S310 a redirect leads to http, https or ftp only
    again.add_unredirected_header("Authorization", authorization(challenges, target, "GET", again.selector))
    try:
        return _open(again, target)
    except HTTPError as error:
        with error:
            raise of_status(error.code, with_login=True) from None


def _open(wanted: Request, target: Address) -> HTTPResponse:
    try:
        response: HTTPResponse = build_opener().open(wanted, timeout=ANSWER_S)
    except HTTPError:
        raise
    except URLError as error:
        if isinstance(error.reason, OSError):
            raise error.reason from None
        raise CameraError(f"{target.where} cannot be asked over HTTP") from None
    return response


def picture(response: HTTPResponse, stop: StopSignal) -> bytes:
    """The whole body. Raises CameraError beyond 32 MiB or 10 s, Stopped when `stop` is set."""
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > MAX_PICTURE:
        raise _too_large()
    deadline = time.monotonic() + PICTURE_S
    data = bytearray()
    while chunk := response.read1(65536):
        data += chunk
        if len(data) > MAX_PICTURE:
            raise _too_large()
        if time.monotonic() > deadline:
            raise CameraError(f"the picture did not arrive in {PICTURE_S:.0f} s")
        if stop.is_set():
            raise Stopped
    if length.isdigit() and len(data) < int(length):
        raise CameraError("the connection ended in the middle of the picture")
    return bytes(data)


def is_stream(response: HTTPResponse) -> bool:
    return response.headers.get_content_maintype() == "multipart"


def parts(response: HTTPResponse) -> Iterator[bytes]:
    """The pictures of a multipart stream as they come. Ends when the camera ends it."""
    # Some cameras put the two dashes into the header as well.
    boundary = (response.headers.get_boundary("") or "").lstrip("-").encode("latin-1")
    if not boundary:
        raise CameraError("the stream does not say what stands between its pictures")
    at_boundary = False
    while at_boundary or _skip_to(response, boundary):
        length = _part_length(response)
        at_boundary = length is None
        data = _until(response, boundary) if length is None else response.read(length)
        if not data or len(data) < (length or 0):
            return
        yield data


def _skip_to(response: HTTPResponse, boundary: bytes) -> bool:
    while line := response.readline(65536):
        if _is_boundary(line, boundary):
            return True
    return False


def _is_boundary(line: bytes, boundary: bytes) -> bool:
    return line.startswith(b"--") and line.lstrip(b"-").startswith(boundary)


def _part_length(response: HTTPResponse) -> int | None:
    """Read one part's headers. None if they do not say how long it is."""
    length = None
    for _ in range(MAX_PART_HEADERS):
        name, _, value = response.readline(8192).strip().partition(b":")
        if not name:
            break
        if name.lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
    if length is not None and length > MAX_PICTURE:
        raise _too_large()
    return length


def _until(response: HTTPResponse, boundary: bytes) -> bytes:
    """The part up to the next boundary, which is read too."""
    data = bytearray()
    while line := response.readline(65536):
        if _is_boundary(line, boundary):
            return bytes(data).removesuffix(b"\r\n")
        data += line
        if len(data) > MAX_PICTURE:
            raise _too_large()
    return b""


def _too_large() -> CameraError:
    return CameraError(f"the picture is larger than {MAX_PICTURE // 1024 // 1024} MiB")
