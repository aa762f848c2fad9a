"""The pictures of an HTTP camera's multipart stream (MJPEG over HTTP)."""

from __future__ import annotations

from collections.abc import Iterator

from edged.cameras.bounded import Bound, header_number
from edged.cameras.http_client import MAX_PICTURE, PICTURE, PICTURE_S, TOO_LARGE, BoundedResponse
from edged.core.errors import CameraError

MAX_PART_HEADERS = 50
NO_BOUNDARY = "the stream does not contain the boundary that its header declares"
BOUNDARY = Bound(PICTURE_S, MAX_PICTURE, NO_BOUNDARY, NO_BOUNDARY)


def is_stream(response: BoundedResponse) -> bool:
    return response.headers.get_content_maintype() == "multipart"


def pictures(response: BoundedResponse) -> Iterator[tuple[float, bytes]]:
    """The pictures of a multipart stream as they arrive, until the camera ends it.

    Each with a time (monotonic) at which nothing of it had arrived yet: the last wait before its first byte was read.
    Raises CameraError for a picture beyond 32 MiB or 10 s, and if the declared boundary does not occur.
    """
    # Some cameras include the two dashes in the header.
    boundary = (response.headers.get_boundary("") or "").lstrip("-").encode("latin-1", "ignore")
    if not boundary:
        raise CameraError("the stream's header declares no boundary between its pictures")
    at_boundary = False
    while at_boundary or _skip_to(response, boundary):
        response.budget.begin(PICTURE)
        response.peek(1)  # waits only if nothing of this part was read together with what came before it
        since = response.budget.waited_at
        length = _part_length(response)
        at_boundary = length is None
        data = _read_to(response, boundary) if length is None else response.read(length)
        if not data or len(data) < (length or 0):
            return
        yield since, data


def _skip_to(response: BoundedResponse, boundary: bytes) -> bool:
    """Read past the next boundary. False if the stream ends before it."""
    response.budget.begin(BOUNDARY)
    while line := response.readline(65536):
        if _is_boundary(line, boundary):
            return True
    return False


def _is_boundary(line: bytes, boundary: bytes) -> bool:
    return line.startswith(b"--") and line.lstrip(b"-").startswith(boundary)


def _part_length(response: BoundedResponse) -> int | None:
    """Read one part's headers. None if they do not give its length."""
    length = None
    for _ in range(MAX_PART_HEADERS):
        name, _, value = response.readline(8192).strip().decode("latin-1").partition(":")
        if not name:
            break
        if name.lower() == "content-length":
            length = header_number(value.strip())
    if length is not None and length > MAX_PICTURE:
        raise CameraError(TOO_LARGE)
    return length


def _read_to(response: BoundedResponse, boundary: bytes) -> bytes:
    """The part up to the next boundary, which is read too. Empty if the stream ends before it."""
    data = bytearray()
    while line := response.readline(65536):
        if _is_boundary(line, boundary):
            return bytes(data).removesuffix(b"\r\n")
        data += line
    return b""
