"""Topics and payloads. Pure. A payload always has all its keys: a missing one breaks a subscriber's template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edged.core.specs import CameraSpec
from edged.core.types import AlertState, Answer, CameraState, Event

SCHEMA = 1
JSON_TYPE = "application/json"
JPEG_TYPE = "image/jpeg"


@dataclass(frozen=True, slots=True)
class Message:
    """One PUBLISH, QoS 1. `expires_s` None: never expires. An empty retained payload clears the topic.

    `correlation` is the correlation data of the request that this is the response to, if `is_response`. The messages
    with the outcome of one look share `look`; None for others.
    """

    topic: str
    payload: bytes = field(repr=False)
    retain: bool = False
    expires_s: int | None = None
    content_type: str = JSON_TYPE
    correlation: bytes | None = None
    look: str | None = None
    is_response: bool = False


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics under `<prefix>/<node>/`."""

    prefix: str
    node: str

    @property
    def own(self) -> str:
        """What all of them begin with."""
        return self._topic("")

    @property
    def state(self) -> str:
        return self._topic("bridge", "state")

    @property
    def info(self) -> str:
        return self._topic("bridge", "info")

    @property
    def health(self) -> str:
        return self._topic("bridge", "health")

    def availability(self, camera: str) -> str:
        return self._topic(camera, "availability")

    def active(self, camera: str) -> str:
        return self._topic(camera, "active")

    def answer(self, camera: str, question: str) -> str:
        return self._topic(camera, question)

    def late(self, camera: str, question: str) -> str:
        return late_topic(self.answer(camera, question))

    def image(self, camera: str) -> str:
        return self._topic(camera, "image", "jpeg")

    def event(self, camera: str) -> str:
        return self._topic(camera, "event")

    def request(self, what: str) -> str:
        return self._topic("bridge", "request", what)

    def response(self, what: str) -> str:
        return self._topic("bridge", "response", what)

    def _topic(self, *levels: str) -> str:
        return "/".join((self.prefix, self.node, *levels))


def late_topic(answer_topic: str) -> str:
    return f"{answer_topic}/late"


def retained_topics(topics: Topics, cameras: Sequence[CameraSpec]) -> set[str]:
    """The topics that may have a retained message while edged runs with these cameras."""
    retained = {topics.state, topics.info, topics.health, *answer_topics(topics, cameras)}
    for camera in cameras:
        retained |= {topics.availability(camera.name), topics.active(camera.name)}
        if camera.image and camera.questions:
            retained.add(topics.image(camera.name))
    return retained


def answer_topics(topics: Topics, cameras: Sequence[CameraSpec]) -> set[str]:
    return {topics.answer(camera.name, question.name) for camera in cameras for question in camera.all_questions()}


def is_picture(topic: str) -> bool:
    return topic.endswith("/image/jpeg")


def answer_payload(answer: Answer, node: str, late: bool) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "id": answer.id,
        "node": node,
        "camera": answer.camera,
        "region": answer.region,
        "question": answer.question,
        "type": answer.type,
        "value": answer.value,
        "status": answer.status,
        "reason": answer.reason,
        "confidence": answer.confidence,
        "agreement": None,
        "settled": None,
        "alert": alert_payload(answer.alert),
        "text": answer.text,
        "truncated": answer.truncated,
        "prompt": answer.prompt,
        "prompt_rev": answer.prompt_rev,
        "frame_ts": answer.frame_ts,
        "frame_age_s": answer.frame_age_s,
        "frame_sha256": answer.frame_sha256,
        "answered_ts": answer.answered_ts,
        "clock_synced": answer.clock_synced,
        "reuse_of": answer.reuse_of,
        "late": late,
        "trigger": answer.trigger,
        "timing_ms": answer.timing_ms,
        "model": answer.model,
        "model_rev": answer.model_rev,
        "config_rev": answer.config_rev,
    }


def alert_payload(alert: AlertState | None) -> dict[str, Any] | None:
    if alert is None:
        return None
    return {"on": alert.on, "since": None if alert.since is None else alert.since.timestamp()}


def event_payload(event: Event, node: str, late: bool) -> dict[str, Any]:
    return {
        "event_type": event.kind,
        "schema": SCHEMA,
        "id": event.id,
        "node": node,
        "camera": event.camera,
        "question": event.question,
        "from": event.before,
        "to": event.after,
        "since": None if event.since is None else event.since.timestamp(),
        "value": event.value,
        "ts": event.at.timestamp(),
        "late": late,
    }


def availability_payload(state: CameraState) -> dict[str, Any]:
    return {
        "state": "online" if state.online else "offline",
        "reason": state.reason,
        "since": state.since.timestamp(),
    }


def bridge_payload(online: bool) -> dict[str, Any]:
    return {"state": "online" if online else "offline"}


def encode(payload: dict[str, Any]) -> bytes:
    """Compact JSON, UTF-8. Raises ValueError for NaN and infinity."""
    # A JSON answer may contain a lone surrogate, which UTF-8 cannot encode.
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="replace")


def as_late(payload: bytes) -> bytes:
    """The payload of an answer or an event, with `late` set to true."""
    return encode({**json.loads(payload), "late": True})
