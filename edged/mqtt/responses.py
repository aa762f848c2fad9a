"""Topics and payloads of responses. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edged.config.phrases import shown
from edged.config.requests import Parsed
from edged.core.payloads import answer_payload, encode
from edged.core.requests import AskRequest, Response
from edged.core.types import Answer
from edged.mqtt.client import Incoming
from edged.mqtt.topics import Message, Topics

LONGEST_TOPIC = 1024  # characters
MOST_LEVELS = 100  # of a topic: mosquitto ends the connection of a client that publishes to more than 200


def response_message(response: Response, to: Incoming, parsed: Parsed, topics: Topics) -> Message:
    """The response to a message: on its response topic if that may be used, else on `bridge/response/<what>`.

    Raises ValueError if `data` is not valid in JSON.
    """
    topic = to.response_topic
    if topic is None or why_refused(topic, topics):
        topic = topics.response(what_of(to))
    payload = _encode(_payload(response, parsed, topics.node))
    return Message(topic, payload, correlation=to.correlation, is_response=True)


def too_large(message: Message) -> Message:
    """An error in place of a response that the broker would not accept."""
    transaction = json.loads(message.payload)["transaction"]
    error = "the response is larger than the broker accepts"
    return replace(message, payload=_encode({"status": "error", "transaction": transaction, "error": error}))


def what_of(incoming: Incoming) -> str:
    """The last level of a request's topic."""
    return incoming.topic.rpartition("/")[2]


def why_refused(topic: str, topics: Topics) -> str | None:
    """Why a response topic is not used; None if it may be used. It must not overwrite what edged itself publishes."""
    if not topic:
        return "the response topic is empty"
    if topic.startswith("$") or {"+", "#"} & set(topic) or not topic.isprintable():
        return f"the response topic {shown(topic)} is not one that a client may publish to"
    if len(topic) > LONGEST_TOPIC or topic.count("/") >= MOST_LEVELS:
        return f"the response topic {shown(topic)} is too long"
    if topic.startswith(topics.own) and not topic.startswith(topics.response("")):
        return f"the response topic {shown(topic)} is one of edged's own; use one below {topics.response('')}"
    return None


def _encode(payload: Mapping[str, Any]) -> bytes:
    """Compact JSON, UTF-8. Raises ValueError for NaN and infinity.

    A transaction may have half of a surrogate pair. It is returned as it came, which UTF-8 can do by escapes only.
    """
    try:
        return json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(payload, allow_nan=False, separators=(",", ":")).encode()


def _payload(response: Response, parsed: Parsed, node: str) -> dict[str, Any]:
    if response.error is not None:
        return {"status": "error", "transaction": parsed.transaction, "error": response.error}
    data = _data(response.data, node)
    if isinstance(parsed.request, AskRequest) and parsed.request.ad_hoc and isinstance(response.data, Answer):
        data["question"] = None  # it is none of the config's, and none may be taken for it
    return {"status": "ok", "transaction": parsed.transaction, "data": data}


def _data(data: Any, node: str) -> Any:
    """Answers are exactly as they are published."""
    if isinstance(data, Answer):
        return json.loads(encode(answer_payload(data, node, late=False)))
    if isinstance(data, Mapping) or data is None:
        return data
    return [_data(answer, node) for answer in data]
