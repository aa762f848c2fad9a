"""Answers in JSON."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from edged.core.payloads import encode


class JsonResponse(Response):
    """As the broker gets it. Starlette's own class fails on the lone surrogates that an answer of a model may have."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode(content)
