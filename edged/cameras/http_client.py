"""GET for HTTP cameras: bounded, with login, without proxies, and with a reason for each failure."""

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

from edged.cameras.bounded import ANSWER_S, Bound, BoundedStream, Budget, Cancelled, header_number
from edged.cameras.camera_url import CameraUrl, parse_url
from edged.cameras.login import ALGORITHMS, authorization
from edged.cameras.reasons import network_error, status_error
from edged.core.errors import CameraError

MAX_PICTURE = 32 * 1024 * 1024
PICTURE_S = 10.0
HEADERS = {"User-Agent": "edged"}
URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"

TOO_LARGE = f"the picture is larger than {MAX_PICTURE // 1024 // 1024} MiB"
PICTURE = Bound(PICTURE_S, MAX_PICTURE, f"the picture did not arrive in {PICTURE_S:.0f} s", TOO_LARGE)


class BoundedResponse(HTTPResponse):
    """An answer whose headers and body are read within `budget`."""

    def __init__(self, budget: Budget, connection: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(connection, *args, **options)
        self.budget = budget
        self._stream = BoundedStream(connection, self.fp, budget)
        self.fp = io.BufferedReader(self._stream)

    @property
    def began_at(self) -> float:
        """When (monotonic) the first bytes of its head arrived, which has been read."""
        assert self._stream.began_at
        return self._stream.began_at


class _BoundedHttp(HTTPHandler):
    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_connection, HTTPConnection, self._budget), req)


class _BoundedHttps(HTTPSHandler):
    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(partial(_connection, HTTPSConnection, self._budget), req)


def _connection(kind: type[HTTPConnection], budget: Budget, host: str, **options: Any) -> HTTPConnection:
    connection = kind(host, **options)
    # http.client only calls it; it need not be a class.
    connection.response_class = partial(BoundedResponse, budget)  # type: ignore[assignment]
    return connection


def _opener(budget: Budget) -> OpenerDirector:
    """As urllib.request.build_opener, but without proxies (a camera is on the local network), FTP and files."""
    opener = OpenerDirector()
    for handler in (
        _BoundedHttp(budget),
        _BoundedHttps(budget),
        HTTPRedirectHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


@contextlib.contextmanager
def request(address: str, cancelled: Cancelled) -> Iterator[BoundedResponse]:
    """GET, with Basic or Digest login if the address has one and the camera asks for it.

    Raises CameraError after 5 s of silence, and if there is no answer in 10 s, redirects and login included; Stopped
    once cancelled. An error while the body is read becomes a CameraError too.
    """
    target = parse_url(address)
    if target.scheme not in ("http", "https"):
        raise CameraError("the address of an HTTP camera must begin with http:// or https://")
    try:
        with _logged_in(target, _opener(Budget(cancelled))) as response:
            yield response
    except OSError as error:
        raise network_error(error, target) from None
    except HTTPException as error:
        raise _malformed(target, error) from None


def _logged_in(target: CameraUrl, opener: OpenerDirector) -> BoundedResponse:
    """The answer, requested again with the login after a 401. The login goes to the host of `target` only."""
    url = quote(target.url, safe=URL_CHARACTERS)
    try:
        return _open(opener, Request(url, headers=HEADERS), target)  # noqa: S310 the scheme was checked
    except HTTPError as error:
        with error:
            if error.code != 401 or target.user is None or parse_url(error.url).host != target.host:
                raise status_error(error.code, login_sent=False) from None
            url, challenges = error.url, error.headers.get_all("WWW-Authenticate", [])
    retry = Request(url, headers=HEADERS)  # noqa: S310 a redirect leads to http or https only
    login = authorization(challenges, target, "GET", retry.selector, ALGORITHMS)
    # http.client encodes header values in Latin-1; these are UTF-8.
    retry.add_unredirected_header("Authorization", login.encode().decode("latin-1"))
    try:
        return _open(opener, retry, target)
    except HTTPError as error:
        with error:
            raise status_error(error.code, login_sent=True) from None


def _open(opener: OpenerDirector, request: Request, target: CameraUrl) -> BoundedResponse:
    try:
        response: BoundedResponse = opener.open(request, timeout=ANSWER_S)
    except HTTPError:
        raise
    except URLError as error:
        if isinstance(error.reason, OSError):
            raise error.reason from None
        raise CameraError(f"{target.where} cannot be reached over HTTP") from None
    except ValueError as error:  # from the address of a redirect, which urllib does not check
        raise _malformed(target, error) from None
    return response


def _malformed(target: CameraUrl, error: Exception) -> CameraError:
    return CameraError(f"{target.where} does not speak HTTP as expected ({type(error).__name__})")


def read_picture(response: BoundedResponse) -> bytes:
    """The body. Raises CameraError beyond 32 MiB or 10 s."""
    length = header_number(response.headers.get("Content-Length", "")) or 0
    if length > MAX_PICTURE:
        raise CameraError(TOO_LARGE)
    response.budget.begin(PICTURE)
    data = bytearray()
    while chunk := response.read1(65536):
        data += chunk
    if len(data) < length:
        raise CameraError("the connection ended in the middle of the picture")
    return bytes(data)
