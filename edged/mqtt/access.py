"""What the users of a broker need access to: edged, those who read its answers, and those who send it requests. Pure.

The names of cameras and questions are wildcards. So a change of the config needs no change at the broker, and edged
can clear the retained messages of what has left the config.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edged.core.specs import DEFAULT_DISCOVERY_PREFIX
from edged.mqtt.discovery import birth_topics
from edged.mqtt.topics import Topics

ANY = "+"


@dataclass(frozen=True, slots=True)
class Grant:
    """`topic` may have wildcards, as in a subscription."""

    access: Literal["read", "write"]
    topic: str


def of_edged(topics: Topics) -> list[Grant]:
    """Without what concerns Home Assistant.

    edged reads `bridge/health` to notice another edged with its node name. `edged doctor --quick`, which logs in as
    edged, also reads `bridge/state`.
    """
    own = [*_published(topics), topics.response(ANY)]
    return [*_grants("write", own), *_grants("read", [topics.request(ANY), topics.health, topics.state])]


def of_edged_at_home_assistant(discovery: str | None) -> list[Grant]:
    """`discovery` is the prefix of its discovery; None: edged announces nothing.

    Under the default prefix, edged may have to remove what an earlier config announced.
    """
    prefixes = {DEFAULT_DISCOVERY_PREFIX, discovery or DEFAULT_DISCOVERY_PREFIX}
    announcements = _grants("write", [_announcements(prefix) for prefix in sorted(prefixes)])
    return [*announcements, *(_grants("read", birth_topics(discovery)) if discovery else [])]


def of_subscriber(topics: Topics) -> list[Grant]:
    return _grants("read", _published(topics))


def of_requester(topics: Topics) -> list[Grant]:
    """One that sends requests, and waits for the responses."""
    return [Grant("write", topics.request(ANY)), *_grants("read", [topics.response(ANY), topics.state])]


def of_home_assistant(topics: Topics, discovery: str) -> list[Grant]:
    read = _grants("read", [*_published(topics), _announcements(discovery)])
    return [*read, *_grants("write", [topics.request(ANY), *birth_topics(discovery)])]


def _published(topics: Topics) -> list[str]:
    """Answers, states, events, reports and pictures."""
    return [topics.answer(ANY, ANY), topics.late(ANY, ANY), topics.image(ANY)]


def _announcements(discovery: str) -> str:
    return f"{discovery}/device/{ANY}/config"


def _grants(access: Literal["read", "write"], topics: list[str]) -> list[Grant]:
    return [Grant(access, topic) for topic in topics]
