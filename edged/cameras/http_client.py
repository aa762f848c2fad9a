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

MAX_LOGINS = 5  # for one picture, at paths that redirect to each other
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
    """The answer, requested again with the login after a 401. The login goes to the host of `target` only.

    After a login, a redirect may lead to another path that requires one too; on the same port, or it is not sent.
    """
    request = Request(quote(target.url, safe=URL_CHARACTERS), headers=HEADERS)  # noqa: S310 the scheme was checked
    for _ in range(MAX_LOGINS + 1):
        try:
            return _open(opener, request, target)
        except HTTPError as error:
            with error:
                refused = _has_login(request) and error.url == request.full_url
                if error.code != 401 or refused or target.user is None or not _may_log_in(error.url, request, target):
                    raise status_error(error.code, login_sent=refused) from None
                request = _with_login(error, target)
    raise CameraError("the camera redirects in a loop")


def _has_login(request: Request) -> bool:
    return request.has_header("Authorization")


def _may_log_in(url: str, request: Request, target: CameraUrl) -> bool:
    asked = parse_url(url)
    return asked.where == parse_url(request.full_url).where if _has_login(request) else asked.host == target.host


def _with_login(refusal: HTTPError, target: CameraUrl) -> Request:
    """The request that was refused, with the login that it asks for."""
    request = Request(refusal.url, headers=HEADERS)  # noqa: S310 a redirect leads to http or https only
    challenges = refusal.headers.get_all("WWW-Authenticate", [])
    login = authorization(challenges, target, "GET", request.selector, ALGORITHMS)
    # http.client encodes header values in Latin-1; these are UTF-8.
    request.add_unredirected_header("Authorization", login.encode().decode("latin-1"))
    return request


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
