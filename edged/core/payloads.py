"""Answers and events as JSON: what the broker, the page and the store have. A payload always has all its keys."""

from __future__ import annotations

import json
from typing import Any

from edged.core.types import AlertState, Answer, Event

SCHEMA = 1


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


def encode(payload: dict[str, Any]) -> bytes:
    """Compact JSON, UTF-8. Raises ValueError for NaN and infinity."""
    # A JSON answer may contain a lone surrogate, which UTF-8 cannot encode.
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="replace")


def as_late(payload: bytes) -> bytes:
    """The payload of an answer or an event, with `late` set to true."""
    return encode({**json.loads(payload), "late": True})
