"""What the pages show, as JSON: the box, and each camera with its answers. Contract: `/api/state` and `/api/events`.

The answers are the payloads that the broker gets. Stamps `..._ts` are seconds since 1970 by this box's clock; `now_ts`
lets a browser, whose clock may be another, tell their age.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from edged.core import answer_types
from edged.core.intervals import interval_s
from edged.core.payloads import answer_payload
from edged.core.specs import CameraSpec, Config, QuestionSpec, RegionSpec
from edged.core.truths import form
from edged.core.types import CameraState, Event, Frame
from edged.service.observed import Observed
from edged.service.snapshots import CameraSnapshot
from edged.service.time_zone import zone

LATE_S = 10.0  # a look that comes this much later is nothing special


def state(observed: Observed) -> dict[str, Any]:
    """Everything: the box, with its cameras in the order of the config."""
    config, cameras = observed.config(), observed.cameras()
    shown = [camera(config, spec, cameras.get(spec.name) or CameraSnapshot()) for spec in config.cameras]
    return {**box(observed), "cameras": shown}


def box(observed: Observed) -> dict[str, Any]:
    """All but the cameras; of those the names."""
    config, info, health = observed.config(), observed.info(), observed.health()
    return {
        "now_ts": round(time.time(), 3),
        "node": config.node,
        "language": config.language,
        "version": info["version"],
        "phase": observed.phase(),
        "config": {
            "file": str(config.path),
            "rev": config.rev,
            "problems": list(observed.problems()),
            "warnings": [str(warning) for warning in config.warnings],
        },
        "model": {"name": info["model"], "rev": info["model_rev"], "loaded": info["model"] is not None},
        "broker": {"url": config.mqtt.shown, **health["broker"]},
        "store": health["store"],
        "uptime_s": health["uptime_s"],
        "lateness_s": health["lateness_s"],
        "lateness_longest_s": health["lateness_longest_s"],
        "waiting_looks": health["waiting_looks"],
        "clock_synced": health["clock_synced"],
        "allow_prompts": config.mqtt.allow_prompts,
        "keeps_history": config.history is not None,
        "keeps_frames": config.frames is not None,
        "skipped": {name: figures["skipped"] for name, figures in health["cameras"].items()},
        "cameras": [spec.name for spec in config.cameras],
        "off_hours": _off_hours(config),
    }


def camera(config: Config, spec: CameraSpec, snapshot: CameraSnapshot) -> dict[str, Any]:
    return {
        "name": spec.name,
        "title": spec.title or spec.name,
        "source": spec.source.shown,
        "every_s": interval_s(spec),
        "max_age_s": spec.max_age_s,
        "active": snapshot.active,
        "looks": snapshot.looks,
        "availability": _availability(snapshot.state),
        "frame": _frame(snapshot.frame),
        "mask": [[list(point) for point in polygon] for polygon in spec.mask],
        "regions": [_region(region) for region in spec.regions],
        "questions": [_question(config, asked, snapshot) for asked in _all_asked(spec, snapshot)],
    }


def _off_hours(config: Config) -> list[str]:
    now = datetime.now(zone(config.timezone))
    return [spec.name for spec in config.cameras if _is_off_hours(spec, now)]


def _is_off_hours(spec: CameraSpec, now: datetime) -> bool:
    """True if no look is due because of the camera's hours; also until the first one after they have begun."""
    if not spec.hours:
        return False
    moments = (now, now - timedelta(seconds=interval_s(spec) + LATE_S))
    return not all(any(window.contains(at) for window in spec.hours) for at in moments)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question in its place: how often it is asked, and the question that it is a follow-up of."""

    question: QuestionSpec
    every_s: float
    paused: bool
    of: str | None = None


def _all_asked(spec: CameraSpec, snapshot: CameraSnapshot) -> Iterator[_Asked]:
    """Each question, directly before its follow-ups."""
    for question in spec.questions:
        every_s = max(interval_s(spec), question.every_s or 0.0)
        asked = _Asked(question, every_s, question.name in snapshot.paused)
        yield asked
        yield from _follow_ups(asked, snapshot)


def _follow_ups(asked: _Asked, snapshot: CameraSnapshot) -> Iterator[_Asked]:
    for question in asked.question.then:
        paused = asked.paused or question.name in snapshot.paused
        follow_up = _Asked(question, asked.every_s, paused, asked.question.name)
        yield follow_up
        yield from _follow_ups(follow_up, snapshot)


def _availability(state: CameraState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {"online": state.online, "reason": state.reason, "since": state.since.timestamp()}


def _frame(frame: Frame | None) -> dict[str, Any] | None:
    """`sha256` is that of the answers; a browser that has this picture does not fetch it again."""
    if frame is None:
        return None
    height, width = frame.rgb.shape[:2]
    return {"sha256": frame.sha256, "ts": frame.captured_at.timestamp(), "width": width, "height": height}


def _region(region: RegionSpec) -> dict[str, Any]:
    return {"name": region.name, "box": list(region.box), "polygon": [list(point) for point in region.polygon]}


def _question(config: Config, asked: _Asked, snapshot: CameraSnapshot) -> dict[str, Any]:
    question = asked.question
    answer = snapshot.answers.get(question.name)
    if answer and answer.prompt_rev != question.prompt_rev:  # of the question as it was before a reload
        answer = None
    change = snapshot.changes.get(question.name)
    return {
        "name": question.name,
        "title": question.title or question.name,
        "type": question.answer.kind,
        "prompt": question.prompt,
        "wording": _wording(question),
        "region": question.region.name if question.region else None,
        "min_confidence": question.min_confidence,
        "alert": question.alert is not None,
        "every_s": asked.every_s,
        "paused": asked.paused,
        "follow_up_of": asked.of,
        **_values(question.answer),
        "answer": answer_payload(answer, config.node, late=False) if answer else None,
        "expires_s": answer.expires_s if answer else None,
        "change": _change(change) if change and answer else None,
    }


def _wording(question: QuestionSpec) -> str:
    """The prompt without the instruction of its type, for people who want to ask something like it."""
    for language in answer_types.LANGUAGES:
        instruction = question.answer.instruction(language)
        if instruction and question.prompt.endswith(f" {instruction}"):
            return question.prompt.removesuffix(f" {instruction}")
    return question.prompt


def _values(answer: answer_types.AnswerType) -> dict[str, Any]:
    """What a value may be, for people who enter one: `truths.form`, with names for the two parts of a choice."""
    values = form(answer)
    if "choices" in values:
        values["choices"] = [{"label": label, "value": value} for label, value in values["choices"]]
    return values


def _change(event: Event) -> dict[str, Any]:
    since = event.since
    return {
        "from": event.before,
        "to": event.after,
        "since": since.timestamp() if since else None,
        "ts": event.at.timestamp(),
    }
