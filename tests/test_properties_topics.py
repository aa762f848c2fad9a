"""Names that a config accepts give topics that MQTT accepts, each with one meaning, and ids that are unique."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from support.config import write
from support.drawn import mostly
from support.properties import examples

from edged.config.load import ConfigError, load
from edged.core.specs import Config
from edged.mqtt.discovery import discovery
from edged.mqtt.topics import Topics, answer_topics, retained_topics

NAME = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)  # as the README has it
RESERVED = {"availability", "active", "image", "event", "late"}
OF_A_CAMERA = 5  # picture, event, look, switch, connection
LONGEST_TOPIC = 65_535  # bytes, of MQTT
MOST_LEVELS = 200  # of mosquitto

# few letters, and the words of topics and ids, so that names often meet
USUAL = st.text("ab_-0", min_size=1, max_size=4) | st.sampled_from(
    ["look", "state", "a_alert", "bridge_state", "bridge_looks", "jpeg", "b" * 64]
)
WRONG = st.sampled_from(
    ["", "+", "#", "a/b", "A", "a\n", " a", "a b", "\u212a", "é", "$SYS", "b" * 65, "bridge", *sorted(RESERVED)]
)
NAMES = mostly(USUAL, WRONG)
PREFIXES = st.none() | st.lists(mostly(USUAL | st.just("Site"), WRONG), min_size=1, max_size=3).map("/".join)
QUESTIONS = st.dictionaries(
    NAMES, st.tuples(st.booleans(), st.dictionaries(USUAL, st.none(), max_size=2)), min_size=1, max_size=4
)
CAMERAS = st.dictionaries(NAMES, QUESTIONS, min_size=1, max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config")


def a_question(alert: bool, follow_ups: dict[str, None]) -> dict[str, Any]:
    keys: dict[str, Any] = {"prompt": "Open?", "answer": "yes_no"}
    if follow_ups:
        keys["then"] = {name: {"prompt": "And now?"} for name in follow_ups}
    return {**keys, "alert": {"when": True}} if alert else keys


def a_config(node: str, prefix: str | None, cameras: dict[str, Any]) -> dict[str, Any]:
    return {
        "node": node,
        "model": {"path": "m"},
        "mqtt": {} if prefix is None else {"prefix": prefix},
        "cameras": {
            name: {
                "source": "pics",
                "image": "each",
                "ask": {question: a_question(*about) for question, about in asked.items()},
            }
            for name, asked in cameras.items()
        },
    }


def loaded(folder: Path, values: dict[str, Any]) -> Config:
    return load(write(folder, json.dumps(values, ensure_ascii=False)))


def is_valid(node: str, prefix: str | None, cameras: dict[str, Any]) -> bool:
    """By the README: names of a-z 0-9 _ -, at most 64 characters, none reserved, each once in a camera."""
    parts = [] if prefix is None else prefix.split("/")
    return (
        bool(NAME.fullmatch(node))
        and all(re.fullmatch("[A-Za-z0-9_-]+", part) for part in parts)
        and "bridge" not in cameras
        and all(NAME.fullmatch(camera) and _are_valid(list(_asked(asked))) for camera, asked in cameras.items())
    )


def _asked(questions: dict[str, Any]) -> Iterator[str]:
    for name, (_, follow_ups) in questions.items():
        yield from (name, *follow_ups)


def _are_valid(names: list[str]) -> bool:
    return len(set(names)) == len(names) and not RESERVED & set(names) and all(map(NAME.fullmatch, names))


def all_topics(config: Config) -> list[str]:
    """One for each thing that edged publishes or subscribes to."""
    topics = Topics(config.mqtt.prefix, config.node)
    named = [topics.state, topics.info, topics.health]
    named += [of(what) for of in (topics.request, topics.response) for what in ("ask", "look", "active")]
    for camera in config.cameras:
        name = camera.name
        named += [topics.availability(name), topics.active(name), topics.image(name), topics.event(name)]
        for question in camera.all_questions():
            named += [topics.answer(name, question.name), topics.late(name, question.name)]
    return named


def check_topics(config: Config) -> None:
    topics = all_topics(config)
    own = Topics(config.mqtt.prefix, config.node)
    assert len(set(topics)) == len(topics), "two things have one topic"
    for topic in [*topics, *discovery(config, own, "1")]:
        levels = topic.split("/")
        assert all(levels), topic
        assert len(levels) <= MOST_LEVELS
        assert not {"+", "#", "\0", "$"} & set(topic)
        assert topic.isprintable()
        assert len(topic.encode()) <= LONGEST_TOPIC
    assert retained_topics(own, config.cameras) <= set(topics)
    assert len(answer_topics(own, config.cameras)) == len(config.all_questions())


def components(config: Config) -> list[tuple[str, dict[str, Any]]]:
    """Everything that Home Assistant is told of, by its name within the device."""
    messages = discovery(config, Topics(config.mqtt.prefix, config.node), "1")
    return [pair for message in messages.values() for pair in message["components"].items()]


def check_ids(config: Config) -> None:
    found = components(config)
    assert len(found) == number_of_entities(config), "one entity hides another of its device"
    ids = [component["unique_id"] for _, component in found]
    assert len(set(ids)) == len(ids), "Home Assistant would refuse the second entity of this id"


def number_of_entities(config: Config) -> int:
    """Those of the box, of each camera, of each question, and of each alert."""
    of_the_box = len(components(replace(config, cameras=())))
    questions = config.all_questions()
    return of_the_box + OF_A_CAMERA * len(config.cameras) + len(questions) + sum(bool(each.alert) for each in questions)


@examples(120)
@example("box", "\u212a", {"a": {"a": (False, {})}})  # a Kelvin sign, whose lower case is k
@given(NAMES, PREFIXES, CAMERAS)
def test_a_name_is_refused_or_gives_topics_and_ids_of_its_own(
    folder: Path, node: str, prefix: str | None, cameras: dict[str, Any]
):
    try:
        config = loaded(folder, a_config(node, prefix, cameras))
    except ConfigError:
        event("refused")
        assert not is_valid(node, prefix, cameras)
        return
    event("accepted")
    assert is_valid(node, prefix, cameras)
    check_topics(config)
    check_ids(config)


ALONE: st.SearchStrategy[Any] = st.booleans().map(lambda alert: (alert, {}))  # without follow-ups


@examples(25)
@given(st.dictionaries(USUAL, st.dictionaries(USUAL, ALONE, min_size=1), min_size=1, max_size=3))
def test_a_question_named_like_an_id_does_not_take_it(folder: Path, cameras: dict[str, Any]):
    first = loaded(folder, a_config("box", None, cameras))
    names = [name for name, _ in components(first) if NAME.fullmatch(name) and name not in RESERVED]
    more = {camera: {**dict.fromkeys(names, (False, {})), **asked} for camera, asked in cameras.items()}
    check_ids(loaded(folder, a_config("box", None, more)))
