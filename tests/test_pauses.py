"""A paused camera is closed and not looked at; a paused question is not asked. Both say so once, and last."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.asked import Gate
from support.broker import until
from support.making import question
from support.world import CONFIG, GATE, PEOPLE, World, camera

from edged.core.answer_types import YesNo
from edged.core.errors import ModelError
from edged.core.specs import Every
from edged.core.types import Fact
from edged.service.judging import Provenance
from edged.service.outcomes import refusals
from edged.service.pauses import ACTIVE


def dog_question() -> Any:
    return question("A dog?", YesNo(), "dog")


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.start()
    world.look()
    yield world
    end(world)


def end(world: World) -> None:
    world.service.queue.halt()
    world.service.close_cameras("stopped")
    until(world.service.queue.gone)


def restarted(world: World) -> World:
    """Another process with the same store and broker."""
    after = World(world.config)
    after.store, after.brokers = world.store, world.brokers
    after.start()
    return after


def answers(world: World, name: str) -> list[tuple[str, str, str | None]]:
    """Of this camera, since the first look."""
    published = [answer for answer in world.broker().answers if answer.camera == name]
    return [(answer.question, answer.status, answer.reason) for answer in published]


def state(world: World, name: str) -> tuple[bool, str | None]:
    state = world.broker().retained[("box", name, "availability")]
    return state.online, state.reason


def active(world: World, name: str) -> dict[str, Any]:
    payload: dict[str, Any] = world.broker().retained[("box", name, "active")]
    return payload


def opened(world: World, name: str) -> list[int]:
    """How often each of this camera's sources that were opened was closed."""
    return [camera.closed for camera in world.cameras if camera.spec.name == name and camera.started]


def test_a_paused_camera_is_closed_says_not_asked_once_and_is_not_looked_at(world: World):
    world.broker().answers.clear()
    world.service.set_active("dock", None, False)
    world.look()
    world.look()
    reason = 'camera "dock" is paused'
    assert answers(world, "dock") == [(name, "not_asked", reason) for name in ("gate", "car", "people")]
    assert state(world, "dock") == (False, "paused")
    assert opened(world, "dock") == [1]
    assert not world.service.schedule.has("dock")
    assert {(q, status) for q, status, _ in answers(world, "shop")} == {("gate", "ok"), ("car", "ok")}


def test_a_resumed_camera_is_opened_again_and_asks_everything(world: World):
    every = replace(PEOPLE, every_s=600.0)
    world.reload.take(replace(CONFIG, cameras=(camera("dock", GATE, every),)))
    world.look()
    world.service.set_active("dock", None, False)
    world.broker().answers.clear()
    world.service.set_active("dock", None, True)
    world.look()
    assert [(q, status) for q, status, _ in answers(world, "dock")] == [("gate", "ok"), ("car", "ok"), ("people", "ok")]
    assert state(world, "dock") == (True, None)
    assert opened(world, "dock") == [1, 0]


def test_a_resumed_camera_looks_within_a_second_whatever_its_interval(world: World):
    world.reload.take(replace(CONFIG, cameras=(camera("dock", GATE, schedule=Every(3600.0)),)))
    world.service.schedule.start()
    until(lambda: len(world.broker().answers) > 0)
    world.service.set_active("dock", None, False)
    world.broker().answers.clear()
    world.service.set_active("dock", None, True)
    until(lambda: [status for _, status, _ in answers(world, "dock")] == ["ok", "ok"], 3.0)
    world.service.queue.halt()
    assert world.service.schedule.stop()


def test_a_paused_question_is_not_asked_and_the_others_are(world: World):
    world.broker().answers.clear()
    world.service.set_active("dock", "people", False)
    world.look()
    assert answers(world, "dock") == [
        ("people", "not_asked", 'question "people" is paused'),
        ("gate", "ok", None),
        ("car", "ok", None),
    ]
    assert (state(world, "dock"), opened(world, "dock")) == ((True, None), [0])


def test_a_pause_of_a_question_includes_its_follow_ups(world: World):
    world.broker().answers.clear()
    world.service.set_active("shop", "gate", False)
    world.look()
    reason = 'question "gate" is paused'
    assert answers(world, "shop") == [("gate", "not_asked", reason), ("car", "not_asked", reason)]


def test_a_follow_up_can_be_paused_alone(world: World):
    world.broker().answers.clear()
    world.service.set_active("shop", "car", False)
    world.look()
    world.look()
    assert answers(world, "shop") == [
        ("car", "not_asked", 'question "car" is paused'),
        ("gate", "ok", None),
        ("gate", "ok", None),
    ]
    world.broker().answers.clear()
    world.service.set_active("shop", "car", True)
    world.look()
    assert [(q, status) for q, status, _ in answers(world, "shop")] == [("gate", "ok"), ("car", "ok")]


def test_what_is_paused_already_says_nothing_again(world: World):
    world.service.set_active("dock", "people", False)
    world.broker().answers.clear()
    world.service.set_active("dock", "people", False)
    world.service.set_active("dock", None, False)
    assert [q for q, _, _ in answers(world, "dock")] == ["gate", "car"]
    world.broker().answers.clear()
    world.service.set_active("dock", None, True)
    world.look()
    assert [q for q, _, _ in answers(world, "dock")] == ["gate", "car"]  # people is still paused


def test_the_state_on_the_broker_tells_what_is_paused_since_when(world: World):
    before = active(world, "dock")
    assert (before["active"], before["questions"]) == (True, {"gate": True, "car": True, "people": True})
    world.service.set_active("dock", "people", False)
    assert active(world, "dock") == before | {"questions": {"gate": True, "car": True, "people": False}}
    world.service.set_active("dock", None, False)
    paused = active(world, "dock")
    assert (paused["active"], paused["questions"]["people"]) == (False, False)
    assert paused["since"] >= before["since"]
    world.service.set_active("dock", None, True)
    assert active(world, "dock")["active"]


def test_pauses_survive_a_restart_and_a_paused_camera_is_not_opened(world: World):
    world.service.set_active("dock", None, False)
    world.service.set_active("shop", "gate", False)
    since = active(world, "dock")["since"]
    world.broker().answers.clear()
    after = restarted(world)
    after.look()
    assert opened(after, "dock") == []
    assert answers(after, "dock") == answers(after, "shop") == []
    assert state(after, "dock") == (False, "paused")
    assert active(after, "dock") == {"active": False, "questions": active(world, "dock")["questions"], "since": since}
    end(after)


def test_pauses_survive_a_reload_that_changes_the_camera(world: World):
    world.service.set_active("dock", None, False)
    world.service.set_active("yard", "people", False)
    moved = (camera("dock", GATE, PEOPLE, address="b"), camera("yard", PEOPLE, dog_question(), address="b"))
    world.broker().answers.clear()
    world.reload.take(replace(CONFIG, cameras=moved, rev="r2"))
    world.look()
    assert opened(world, "dock") == [1]
    assert (state(world, "dock"), answers(world, "dock")) == ((False, "paused"), [])
    assert [q for q, _, _ in answers(world, "yard")] == ["dog"]
    assert active(world, "yard")["questions"] == {"people": False, "dog": True}


def test_pauses_of_what_left_the_config_are_forgotten(world: World):
    world.service.set_active("dock", None, False)
    world.service.set_active("shop", "gate", False)
    world.service.set_active("yard", "people", False)
    world.reload.take(replace(CONFIG, cameras=(camera("yard", PEOPLE), camera("shop", PEOPLE)), rev="r2"))
    assert set(world.store.facts(ACTIVE)) == {"yard/people"}
    assert ("box", "dock", "active") not in world.broker().retained


def test_a_camera_that_cannot_be_resumed_stays_paused_and_is_resumed_later(world: World):
    world.service.set_active("dock", None, False)
    before = active(world, "dock")
    world.broken["camera.start dock"] = RuntimeError("can't start new thread")
    with pytest.raises(RuntimeError, match="new thread"):
        world.service.set_active("dock", None, True)
    assert (active(world, "dock"), state(world, "dock")) == (before, (False, "paused"))
    assert set(world.store.facts(ACTIVE)) == {"dock"}
    assert not world.service.schedule.has("dock")
    world.broker().answers.clear()
    world.service.set_active("dock", None, True)
    world.look()
    assert [status for _, status, _ in answers(world, "dock")] == ["ok", "ok", "ok"]
    assert (active(world, "dock")["active"], state(world, "dock")) == (True, (True, None))


def test_a_camera_that_can_be_neither_resumed_nor_paused_again_is_resumed_later(world: World):
    world.service.set_active("dock", None, False)
    world.broken["camera.start dock"] = RuntimeError("can't start new thread")
    world.broken["publisher.follow"] = RuntimeError("oops")
    with pytest.raises(RuntimeError, match="oops"):
        world.service.set_active("dock", None, True)
    world.service.set_active("dock", None, True)
    world.look()
    assert (active(world, "dock")["active"], state(world, "dock")) == (True, (True, None))


def test_pauses_are_kept_by_a_reload_that_fails(world: World):
    world.service.set_active("dock", None, False)
    world.broken["publisher.follow"] = RuntimeError("oops")
    with pytest.raises(Exception, match="oops"):
        world.reload.take(replace(CONFIG, cameras=(camera("yard", PEOPLE),), rev="r2"))
    world.look()
    assert (state(world, "dock"), active(world, "dock")["active"]) == ((False, "paused"), False)


def test_a_new_broker_gets_the_state_of_each_pause(world: World):
    world.service.set_active("dock", None, False)
    world.reload.take(replace(CONFIG, mqtt=replace(CONFIG.mqtt, host="second"), rev="r2"))
    retained = world.broker("second").retained
    assert (retained[("box", "dock", "active")]["active"], retained[("box", "yard", "active")]["active"]) == (
        False,
        True,
    )
    assert retained[("box", "dock", "availability")].reason == "paused"


def test_a_look_that_a_pause_overtakes_publishes_nothing_of_what_is_paused(world: World):
    world.broker().answers.clear()
    gate = world.models[0].replies["gate"] = Gate()
    look = threading.Thread(target=world.service.looks.look, args=(world.service.cameras["dock"],))
    look.start()
    gate.wait()
    world.service.set_active("dock", "gate", False)
    gate.open.set()
    look.join(20)
    reason = 'question "gate" is paused'
    assert answers(world, "dock") == [
        ("gate", "not_asked", reason),
        ("car", "not_asked", reason),
        ("people", "ok", None),
    ]


def test_a_look_from_before_a_pause_publishes_nothing_after_the_resume(world: World):
    world.broker().answers.clear()
    gate = world.models[0].replies["gate"] = Gate()
    look = threading.Thread(target=world.service.looks.look, args=(world.service.cameras["shop"],))
    look.start()
    gate.wait()
    world.service.set_active("shop", "car", False)
    world.service.set_active("shop", "car", True)
    gate.open.set()
    look.join(20)
    world.look()
    assert [(q, status) for q, status, _ in answers(world, "shop")] == [
        ("car", "not_asked"),
        ("gate", "ok"),
        ("gate", "ok"),
        ("car", "ok"),
    ]


def test_a_look_whose_camera_is_paused_ends_at_the_next_question(world: World):
    world.broker().answers.clear()
    gate = world.models[0].replies["gate"] = Gate()
    begun = len(world.models[0].asked)
    look = threading.Thread(target=world.service.looks.look, args=(world.service.cameras["dock"],))
    look.start()
    gate.wait()
    world.service.set_active("dock", None, False)
    gate.open.set()
    look.join(20)
    assert [name for name, _ in world.models[0].asked[begun:]] == ["gate"]
    assert {status for _, status, _ in answers(world, "dock")} == {"not_asked"}


def test_a_pause_neither_raises_nor_clears_an_alert(world: World):
    def facts() -> Any:
        return world.store.facts("alert")

    before = facts()
    assert before
    world.service.set_active("dock", None, False)
    world.service.set_active("dock", None, True)
    assert facts() == before


@pytest.mark.parametrize("paused", [None, "people"])
def test_an_outage_of_the_model_ends_when_what_fails_is_paused(
    world: World, caplog: pytest.LogCaptureFixture, paused: str | None
):
    caplog.set_level("INFO", "edged")
    fails = iter([ModelError("model: out of memory")])
    world.models[0].replies["people"] = lambda: next(fails, "3")
    world.service.looks.look(world.service.cameras["dock"])
    assert world.service.looks.model_outage.on
    world.service.set_active("dock", paused, False)
    assert not world.service.looks.model_outage.on
    _, over = [line for line in caplog.messages if line.startswith("model: ")]
    assert re.fullmatch(r"model: over after [\d.]+ s \(1 try\): the questions that failed are no longer asked", over)


def test_a_question_that_fails_when_it_is_paused_begins_no_outage(world: World):
    def paused_meanwhile() -> ModelError:
        world.service.set_active("dock", "people", False)
        return ModelError("model: out of memory")

    world.models[0].replies["people"] = paused_meanwhile
    world.service.looks.look(world.service.cameras["dock"])
    assert not world.service.looks.model_outage.on


def test_a_damaged_fact_is_a_pause_of_unknown_time(world: World):
    world.store.remember([Fact(ACTIVE, "dock", [1])])
    after = restarted(world)
    assert active(after, "dock")["active"] is False
    assert active(after, "dock")["since"] == 0.0
    end(after)


def test_answers_are_published_in_the_order_in_which_their_frames_were_taken(world: World):
    """A request's newer answer is not overwritten by an older look that ends later."""
    runtime = world.service.cameras["yard"]
    gate = world.models[0].replies["people"] = Gate("3")
    world.broker().answers.clear()
    look = threading.Thread(target=world.service.looks.look, args=(runtime,))
    look.start()
    gate.wait()
    of = Provenance("yard", "request", "r1", True)
    newer = refusals(runtime.spec.questions, runtime.spec, of, "unsure", "as a request on a second worker would")
    runtime.publish(newer, None, time.monotonic())
    gate.open.set()
    look.join(20)
    assert world.broker().answers == list(newer[0].answers)
