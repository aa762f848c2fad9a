"""HTTP cameras: one answer, a picture or a stream of pictures, with what went wrong in words."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    UnknownHandler,
)

from edged.cameras.login import authorization
from edged.cameras.reasons import ANSWER_S, Address, of_network, of_status, parse_address, whole_number
from edged.cameras.wire import Ended, Patience, Stage, Wire
from edged.core.errors import CameraError

MAX_PICTURE = 32 * 1024 * 1024
PICTURE_S = 10.0  # how long one picture may take to arrive
MAX_PART_HEADERS = 50
HEADERS = {"User-Agent": "edged"}
URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"

TOO_LARGE = f"the picture is larger than {MAX_PICTURE // 1024 // 1024} MiB"
NO_BOUNDARY = "the stream's parts do not begin with the boundary it announced"
PICTURE = Stage(PICTURE_S, MAX_PICTURE, f"the picture did not arrive in {PICTURE_S:.0f} s", TOO_LARGE)
BOUNDARY = Stage(PICTURE_S, MAX_PICTURE, NO_BOUNDARY, NO_BOUNDARY)


class Response(HTTPResponse):
    """An answer whose headers and body arrive within the stage that `patience` is in."""

    def __init__(self, patience: Patience, connection: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(connection, *args, **options)
        self.patience = patience
        self.fp = io.BufferedReader(Wire(connection, self.fp, patience))


class _Http(HTTPHandler):
    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_connection, HTTPConnection, self._patience), req)


class _Https(HTTPSHandler):
    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_connection, HTTPSConnection, self._patience), req)


def _connection(kind: type[HTTPConnection], patience: Patience, host: str, **options: Any) -> HTTPConnection:
    connection = kind(host, **options)
    # http.client only calls it, so that it need not be a class.
    connection.response_class = partial(Response, patience)  # type: ignore[assignment]
    return connection


def _opener(patience: Patience) -> OpenerDirector:
    """What urllib.request.build_opener makes, without proxies (a camera is on the local network), FTP and files."""
    opener = OpenerDirector()
    for handler in (
        _Http(patience),
        _Https(patience),
        HTTPRedirectHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


@contextlib.contextmanager
def request(address: str, ended: Ended) -> Iterator[Response]:
    """GET it, with Basic or Digest login if the address has one.

    Raises CameraError after 5 s of silence, and if there is no answer in 10 s, redirects and login included; Stopped
    once `ended`. What fails while the body is read becomes a CameraError too.
    """
    target = parse_address(address)
    if target.scheme not in ("http", "https"):
        raise CameraError("a picture over HTTP has an http:// or https:// address")
    try:
        with _logged_in(target, _opener(Patience(ended))) as response:
            yield response
    except OSError as error:
        raise of_network(error, target) from None
    except HTTPException as error:
        raise CameraError(f"{target.where} does not speak HTTP as expected ({type(error).__name__})") from None


def _logged_in(target: Address, opener: OpenerDirector) -> Response:
    """The answer, asked for again with the login if the camera wants one. The login goes to this host only."""
    url = quote(target.url, safe=URL_CHARACTERS)
    try:
        return _open(opener, Request(url, headers=HEADERS), target)  # noqa: S310 the caller judged the scheme
    except HTTPError as error:
        with error:
            if error.code != 401 or target.user is None or parse_address(error.url).host != target.host:
                raise of_status(error.code, with_login=False) from None
            url, challenges = error.url, error.headers.get_all("WWW-Authenticate", [])
    again = Request(url, headers=HEADERS)  # noqa: S310 a redirect leads to http or https only
    login = authorization(challenges, target, "GET", again.selector)
    again.add_unredirected_header("Authorization", login.encode().decode("latin-1"))  # which http.client encodes
    try:
        return _open(opener, again, target)
    except HTTPError as error:
        with error:
            raise of_status(error.code, with_login=True) from None


def _open(opener: OpenerDirector, wanted: Request, target: Address) -> Response:
    try:
        response: Response = opener.open(wanted, timeout=ANSWER_S)
    except HTTPError:
        raise
    except URLError as error:
        if isinstance(error.reason, OSError):
            raise error.reason from None
        raise CameraError(f"{target.where} cannot be reached over HTTP") from None
    except ValueError as error:  # of a redirect's address: urllib checks none
        raise CameraError(f"{target.where} does not speak HTTP as expected ({type(error).__name__})") from None
    return response


def picture(response: Response) -> bytes:
    """The whole body. Raises CameraError beyond 32 MiB or 10 s."""
    length = whole_number(response.headers.get("Content-Length", "")) or 0
    if length > MAX_PICTURE:
        raise CameraError(TOO_LARGE)
    response.patience.begin(PICTURE)
    data = bytearray()
    while chunk := response.read1(65536):
        data += chunk
    if len(data) < length:
        raise CameraError("the connection ended in the middle of the picture")
    return bytes(data)


def is_stream(response: Response) -> bool:
    return response.headers.get_content_maintype() == "multipart"


def parts(response: Response) -> Iterator[bytes]:
    """The pictures of a multipart stream as they come. Ends when the camera ends it.

    Raises CameraError for a picture beyond 32 MiB or 10 s, and for a boundary that does not come.
    """
    # Some cameras put the two dashes into the header as well.
    boundary = (response.headers.get_boundary("") or "").lstrip("-").encode("latin-1", "ignore")
    if not boundary:
        raise CameraError("the stream does not announce the boundary between its pictures")
    at_boundary = False
    while at_boundary or _skip_to(response, boundary):
        response.patience.begin(PICTURE)
        length = _part_length(response)
        at_boundary = length is None
        data = _until(response, boundary) if length is None else response.read(length)
        if not data or len(data) < (length or 0):
            return
        yield data


def _skip_to(response: Response, boundary: bytes) -> bool:
    response.patience.begin(BOUNDARY)
    while line := response.readline(65536):
        if _is_boundary(line, boundary):
            return True
    return False


def _is_boundary(line: bytes, boundary: bytes) -> bool:
    return line.startswith(b"--") and line.lstrip(b"-").startswith(boundary)


def _part_length(response: Response) -> int | None:
    """Read one part's headers. None if they do not say how long it is."""
    length = None
    for _ in range(MAX_PART_HEADERS):
        name, _, value = response.readline(8192).strip().decode("latin-1").partition(":")
        if not name:
            break
        if name.lower() == "content-length":
            length = whole_number(value.strip())
    if length is not None and length > MAX_PICTURE:
        raise CameraError(TOO_LARGE)
    return length


def _until(response: Response, boundary: bytes) -> bytes:
    """The part up to the next boundary, which is read too."""
    data = bytearray()
    while line := response.readline(65536):
        if _is_boundary(line, boundary):
            return bytes(data).removesuffix(b"\r\n")
        data += line
    return b""
