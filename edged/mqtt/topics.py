"""Topics, and the payloads of states. Pure. See `core.payloads` for those of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edged.core.specs import CameraSpec
from edged.core.types import CameraState

JSON_TYPE = "application/json"
JPEG_TYPE = "image/jpeg"
PICTURE = ("image", "jpeg")  # levels below a camera


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

    @property
    def is_picture(self) -> bool:
        """Or the clearing of one."""
        return self.content_type == JPEG_TYPE


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
        return self._topic(camera, *PICTURE)

    def is_picture(self, topic: str) -> bool:
        """True for the topic of a camera's pictures. False for every topic of another node."""
        return topic.startswith(self.own) and is_picture(topic.removeprefix(self.own).split("/"))

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
    retained = {topics.state, topics.info, topics.health, *expiring_topics(topics, cameras)}
    for camera in cameras:
        retained |= {topics.availability(camera.name), topics.active(camera.name)}
    return retained


def expiring_topics(topics: Topics, cameras: Sequence[CameraSpec]) -> set[str]:
    """Those of answers and pictures."""
    pictures = {topics.image(camera.name) for camera in cameras if camera.image and camera.questions}
    return answer_topics(topics, cameras) | pictures


def answer_topics(topics: Topics, cameras: Sequence[CameraSpec]) -> set[str]:
    return {topics.answer(camera.name, question.name) for camera in cameras for question in camera.all_questions()}


def is_picture(below_node: Sequence[str]) -> bool:
    """`below_node` are the levels of a topic below its node."""
    return len(below_node) == 3 and tuple(below_node[1:]) == PICTURE


def availability_payload(state: CameraState) -> dict[str, Any]:
    return {
        "state": "online" if state.online else "offline",
        "reason": state.reason,
        "since": state.since.timestamp(),
    }


def bridge_payload(online: bool) -> dict[str, Any]:
    return {"state": "online" if online else "offline"}
