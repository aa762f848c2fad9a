"""The bodies of POST requests: JSON objects, bounded in size and in time. For every route that takes one."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from edged.core.json_object import json_object

LARGEST = 65_536  # bytes
LIMIT_S = 10.0  # from the request's head to the end of its body
NOT_JSON = "The request must have Content-Type: application/json.\n"
TOO_LARGE = f"The request is larger than {LARGEST} bytes.\n"
TOO_SLOW = f"The request did not arrive within {LIMIT_S:.0f} s.\n"
CUT_OFF = "The request was cut off.\n"
NO_OBJECT = "The request must be a JSON object.\n"


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object that a request carries. Raises HTTPException as `read_json_bytes`, and 400 if it is none."""
    value = json_object(await read_json_bytes(request))
    if value is None:
        raise HTTPException(400, NO_OBJECT)
    return value


async def read_json_bytes(request: Request) -> bytes:
    """What a request carries, for a reader of JSON.

    Raises HTTPException: 415 if it is declared to be anything else, which is all that a form of another site can send;
    413 if it is too large, 408 if it is too slow.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, NOT_JSON)
    return bytes(await _read(request))


async def _read(request: Request) -> bytearray:
    if int(request.headers.get("content-length", 0)) > LARGEST:
        raise HTTPException(413, TOO_LARGE)
    body = bytearray()
    try:
        async with asyncio.timeout(LIMIT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST:
                    raise HTTPException(413, TOO_LARGE)
    except TimeoutError:
        raise HTTPException(408, TOO_SLOW, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, CUT_OFF) from None
    return body
