"""Reads requests from JSON. Pure. Whatever arrives, the result is a request or a sentence that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from edged.config.phrases import shown, suggestion
from edged.core.json_object import JsonRefused, json_value
from edged.core.json_values import is_number
from edged.core.requests import ActiveRequest, AdHoc, AskRequest, InfoRequest, LookRequest, ReloadRequest, Request
from edged.core.text import shorten

LARGEST_REQUEST = 64 * 1024  # bytes
DEADLINE_S = (0.1, 3600.0)  # least and most
OF_A_PROMPT = ("answer", "region", "range", "max_new_tokens")


@dataclass(frozen=True, slots=True)
class Parsed:
    """`error` is None if there is a request. `transaction` is returned with the response as it came; null without."""

    request: Request | None
    error: str | None
    transaction: Any = None


class _NotARequest(ValueError):
    """The message is a sentence for the sender."""


def parse(what: str, payload: bytes) -> Parsed:
    """The request `what` that this payload describes."""
    try:
        values = _read_object(payload)
    except _NotARequest as error:
        return Parsed(None, str(error) if what in READERS else _unknown_request(what))
    transaction = values.pop("transaction", None)
    if what not in READERS:
        return Parsed(None, _unknown_request(what), transaction)
    try:
        return Parsed(READERS[what](_Keys(what, values)), None, transaction)
    except _NotARequest as error:
        return Parsed(None, str(error), transaction)


def _unknown_request(what: str) -> str:
    hint = suggestion(what, READERS) or f"; there are {', '.join(READERS)}"
    return f"unknown request {shown(what)}{hint}"


# JSON


def _read_object(payload: bytes) -> dict[str, Any]:
    if len(payload) > LARGEST_REQUEST:
        raise _NotARequest(f"the payload has more than {LARGEST_REQUEST // 1024} kB")
    if not payload.strip():
        raise _NotARequest("the payload is empty; a request is a JSON object, {} if it has no keys")
    value = _read_json(payload)
    if not isinstance(value, dict):
        raise _NotARequest(f"the payload is {shorten(shown(value))}; a request is a JSON object")
    return value


def _read_json(payload: bytes) -> Any:
    try:
        return json_value(payload.decode())
    except UnicodeDecodeError:
        raise _NotARequest("the payload is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise _NotARequest(f"the payload is not valid JSON (line {error.lineno}, column {error.colno})") from None
    except JsonRefused as error:
        raise _NotARequest(f"the payload {error}") from None


# keys


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of one request. A null counts as a key that is not there, where that is optional."""

    what: str
    values: dict[str, Any]

    def only(self, *known: str) -> None:
        """Refuses all other keys; the first is named."""
        for key in self.values:
            if key not in known:
                hint = suggestion(key, known) or f"; {self.what} has {_listed(known)}"
                raise _NotARequest(f"unknown key {shown(key)}{hint}")

    def optional(self, key: str, of_type: type, expected: str) -> Any:
        value = self.values.get(key)
        if value is not None and (not isinstance(value, of_type) or (isinstance(value, bool) and of_type is not bool)):
            raise _NotARequest(f"{key} must be {expected}, not {shorten(shown(value))}")
        return value

    def needed(self, key: str, of_type: type, expected: str) -> Any:
        value = self.optional(key, of_type, expected)
        if value is None:
            missing = "has no value" if key in self.values else "is missing"
            raise _NotARequest(f"{key} {missing}; it must be {expected}")
        return value

    def camera(self) -> str:
        return str(self.needed("camera", str, "the name of a camera"))

    def question(self) -> str | None:
        name: str | None = self.optional("question", str, "the name of a question")
        return name


def _listed(known: Collection[str]) -> str:
    return ", ".join((*known, "transaction")) if known else "no keys except transaction"


def _ask(keys: _Keys) -> Request:
    keys.only("camera", "question", "prompt", *OF_A_PROMPT, "deadline")
    camera, question, prompt = keys.camera(), keys.question(), keys.optional("prompt", str, "text")
    deadline_s = _deadline_s(keys)
    if (question is None) == (prompt is None):
        raise _NotARequest("ask needs a question (the name of one) or a prompt (its text), and not both")
    if prompt is not None:
        return AskRequest(camera, ad_hoc=_ad_hoc(prompt, keys), deadline_s=deadline_s)
    if extra := next((key for key in OF_A_PROMPT if keys.values.get(key) is not None), None):
        raise _NotARequest(f"{extra} is allowed with a prompt only; a question of the config has its own")
    return AskRequest(camera, question, deadline_s=deadline_s)


def _ad_hoc(prompt: str, keys: _Keys) -> AdHoc:
    return AdHoc(
        prompt,
        answer=keys.values.get("answer"),
        region=keys.optional("region", str, "the name of a region"),
        range=keys.values.get("range"),
        max_new_tokens=keys.optional("max_new_tokens", int, "a whole number"),
    )


def _deadline_s(keys: _Keys) -> float | None:
    least, most = DEADLINE_S
    deadline = keys.values.get("deadline")
    if deadline is None:
        return None
    if not is_number(deadline) or not least <= deadline <= most:
        expected = f"a number of seconds from {least:g} to {most:g}"
        raise _NotARequest(f"deadline must be {expected}, not {shorten(shown(deadline))}")
    return float(deadline)


def _look(keys: _Keys) -> Request:
    keys.only("camera")
    return LookRequest(keys.camera())


def _active(keys: _Keys) -> Request:
    keys.only("camera", "active", "question")
    return ActiveRequest(keys.camera(), bool(keys.needed("active", bool, "true or false")), keys.question())


def _reload(keys: _Keys) -> Request:
    keys.only()
    return ReloadRequest()


def _info(keys: _Keys) -> Request:
    keys.only()
    return InfoRequest()


READERS: dict[str, Callable[[_Keys], Request]] = {
    "ask": _ask,
    "look": _look,
    "active": _active,
    "reload": _reload,
    "info": _info,
}
