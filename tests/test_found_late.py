"""What an earlier process left is acted on, also if the store can be read only after the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.broker import until
from support.world import CONFIG, PEOPLE, World, camera

from edged.core.conditions import Comparison
from edged.core.memory_store import MemoryStore
from edged.core.specs import AlertSpec, Config
from edged.core.types import Fact
from edged.service.camera_runtime import ALERT
from edged.service.pauses import ACTIVE

SINCE = {"since": 1.0}
MANY = replace(PEOPLE, alert=AlertSpec(Comparison(">", 2)))
ALERTING = replace(CONFIG, cameras=(camera("dock", MANY),))


class LateStore(MemoryStore):
    """Has the facts of an earlier process only after `read`, as a file that another program had locked."""

    def __init__(self, earlier: Sequence[Fact]) -> None:
        super().__init__()
        self.earlier = earlier
        self.late: Sequence[Fact] = ()
        self.changed: set[tuple[str, str]] = set()  # kind and name

    def remember(self, facts: Sequence[Fact]) -> None:
        self.changed |= {(fact.kind, fact.name) for fact in facts}
        super().remember(facts)

    def read(self) -> None:
        super().remember([fact for fact in self.earlier if (fact.kind, fact.name) not in self.changed])
        self.late = self.earlier

    def found_facts(self) -> Sequence[Fact]:
        late, self.late = self.late, ()
        return late


class LateWorld(World):
    """`store` is that of an earlier process, which left `earlier`."""

    def __init__(self, config: Config, earlier: Sequence[Fact]) -> None:
        super().__init__(config)
        self.store: LateStore = LateStore(earlier)

    def look_for(self, people: str) -> None:
        self.models[-1].replies["people"] = people
        self.look()

    def read(self) -> None:
        """As the main loop does once the store has read its file."""
        self.store.read()
        self.service.recall()

    def answers(self, name: str) -> list[tuple[str, str]]:
        """Of this camera, since the last call."""
        answers: list[tuple[str, str]] = [
            (each.question, each.status) for each in self.broker().answers if each.camera == name
        ]
        self.broker().answers.clear()
        return answers

    def events(self) -> list[tuple[str, Any, Any]]:
        """Since the last call."""
        events: list[tuple[str, Any, Any]] = [(event.kind, event.before, event.after) for event in self.broker().events]
        self.broker().events.clear()
        return events


Begin = Callable[..., LateWorld]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts a process with a config. Its store has the facts of an earlier one, which it has not read yet."""
    begun: list[LateWorld] = []

    def begin_one(config: Config, *earlier: Fact) -> LateWorld:
        begun.append(LateWorld(config, earlier))
        begun[-1].start()
        return begun[-1]

    yield begin_one
    for world in begun:
        end(world)


def end(world: World) -> None:
    world.service.queue.halt()
    world.service.close_cameras("stopped")
    until(world.service.queue.gone)


def alert_that_is_on(begin: Begin) -> list[Fact]:
    before = begin(ALERTING)
    before.look_for("3")
    assert before.events() == [("alert_on", False, True)]
    return [Fact(ALERT, name, value) for name, value in before.store.facts(ALERT).items()]


def test_a_camera_whose_pause_is_read_late_is_closed_and_says_not_asked(begin: Begin):
    world = begin(CONFIG, Fact(ACTIVE, "dock", SINCE))
    world.look()
    world.answers("dock")
    world.read()
    world.look()
    assert world.answers("dock") == [(name, "not_asked") for name in ("gate", "car", "people")]
    retained = world.broker().retained
    assert retained[("box", "dock", "active")]["active"] is False
    assert retained[("box", "dock", "availability")].reason == "paused"
    assert [each.closed for each in world.cameras if each.spec.name == "dock" and each.started] == [1]
    assert not world.service.schedule.has("dock")


def test_what_was_resumed_before_its_pause_could_be_read_stays_so(begin: Begin):
    world = begin(CONFIG, Fact(ACTIVE, "dock", SINCE))
    world.service.set_active("dock", None, True)
    world.read()
    world.look()
    assert world.answers("dock") == [(name, "ok") for name in ("gate", "car", "people")]
    assert world.store.facts(ACTIVE) == {}


def test_a_question_whose_pause_is_read_late_says_not_asked_once(begin: Begin):
    world = begin(CONFIG, Fact(ACTIVE, "dock/people", SINCE), Fact(ACTIVE, "elsewhere", SINCE))
    world.look()
    world.answers("dock")
    world.read()
    world.look()
    assert world.answers("dock") == [("people", "not_asked"), ("gate", "ok"), ("car", "ok")]
    assert set(world.store.facts(ACTIVE)) == {"dock/people"}


def test_until_a_late_pause_is_carried_out_the_camera_is_looked_at(begin: Begin):
    world = begin(CONFIG, Fact(ACTIVE, "dock", SINCE))
    world.store.read()
    world.look()
    assert world.answers("dock") == [("gate", "ok"), ("car", "ok"), ("people", "ok")]
    assert world.service.pauses.state(CONFIG.cameras[0])["active"]


def test_a_pause_that_is_read_while_the_model_loads_opens_nothing():
    world = LateWorld(CONFIG, [Fact(ACTIVE, "dock", SINCE)])
    world.loading = world.store.read
    world.start()
    world.look()
    assert world.answers("dock") == []
    assert [each for each in world.cameras if each.spec.name == "dock" and each.started] == []
    end(world)


def test_an_alert_that_is_read_late_goes_off_with_the_next_answer(begin: Begin):
    world = begin(ALERTING, *alert_that_is_on(begin))
    world.look_for("1")  # before anybody knows that the alert is on
    assert world.events() == []
    world.read()
    assert world.events() == [("changed", 3, 1)]
    world.look_for("1")
    assert world.events() == [("alert_off", True, False)]
    assert [value["alert_on"] for value in world.store.facts(ALERT).values()] == [False]


def test_an_alert_that_is_read_before_the_first_answer_goes_on_from_there(begin: Begin):
    world = begin(ALERTING, *alert_that_is_on(begin))
    world.read()
    world.look_for("1")
    assert world.events() == [("changed", 3, 1), ("alert_off", True, False)]


def test_an_alert_that_is_read_late_and_holds_still_says_nothing_more(begin: Begin):
    world = begin(ALERTING, *alert_that_is_on(begin))
    world.look_for("3")
    assert world.events() == [("alert_on", False, True)]
    world.read()
    world.look_for("3")
    assert world.events() == []


def test_an_alert_of_a_question_that_is_gone_goes_off_when_it_is_read(begin: Begin):
    world = begin(replace(CONFIG, cameras=(camera("yard", PEOPLE),)), *alert_that_is_on(begin))
    world.read()
    assert world.events() == [("alert_off", True, False)]
    assert world.store.facts(ALERT) == {}


def test_what_was_read_before_the_cameras_were_opened_changes_nothing_later(begin: Begin):
    world = LateWorld(ALERTING, alert_that_is_on(begin))
    world.loading = world.store.read
    world.start()
    world.look_for("1")
    assert world.events() == [("changed", 3, 1), ("alert_off", True, False)]
    world.service.recall()
    assert world.events() == []
    end(world)
