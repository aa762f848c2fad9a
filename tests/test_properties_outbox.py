"""Whatever happens to broker, connection and process, and in which order: what subscribers see is what is promised."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.hand_driven import EVENT, ONLINE, TOPICS, Broker, HandDriven
from support.properties import examples

from edged.mqtt.outbox import Limits
from edged.mqtt.topics import Message, late_topic
from edged.store.store import DiskStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]  # with --long
QUESTIONS = ("people", "gate", "weather")
SHM = Path("/dev/shm")  # a disk that is fast; the promises here are not about power cuts
STEPS = st.sampled_from(
    [*QUESTIONS, *["people"] * 2, "event", "everything", *["send"] * 6, *["accepted"] * 2, "refused", *["not_now"] * 2]
)
STATE = TOPICS.availability("dock")


def id_of(message: Message) -> int | None:
    """The id of an answer or event; None for other messages."""
    content = json.loads(message.payload) if message.payload else {}
    return content.get("id")


class Deliveries(RuleBasedStateMachine):
    """Looks, and everything that can happen between their end and a subscriber."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=SHM if SHM.is_dir() else None))
        self.stores: list[DiskStore] = []
        self.brokers: list[Broker] = [Broker("b0")]
        self.ids = itertools.count(1)
        self.topics: dict[int, str] = {}  # of every answer and event, by its id
        self.made_by: dict[int, int] = {}  # the number of its process
        self.newest: dict[str, int] = {}  # answer, by topic
        self.refused: set[int] = set()
        self.refused_for_now: set[int] = set()
        self.may_come_later: set[int] = set()  # than a newer message of its topic
        self.may_follow: dict[int, set[int]] = {}  # than these of its topic
        self.before_outage = 0  # the highest id when the last connection ended
        self.process = 0
        self.dropped = 0  # by publishers before this one
        self.asked = set(QUESTIONS)

    @initialize(limit=st.sampled_from([4, 8, 1000]), window=st.integers(1, 5))
    def begin(self, limit: int, window: int) -> None:
        self.limits, self.window = Limits(messages=limit), window
        self.publisher = HandDriven(self.brokers[-1], self._open(self.folder / "0"), self.limits, window, self.process)
        self.publisher.start(self.asked)

    def _open(self, folder: Path) -> DiskStore:
        store = DiskStore(folder / "edged.db", lambda: True)
        store.open()
        self.stores.append(store)
        return store

    def teardown(self) -> None:
        try:
            if self.stores:
                self.settled()
        finally:
            for store in self.stores:
                store.close()
            shutil.rmtree(self.folder)

    # what happens

    @rule(steps=st.lists(STEPS, min_size=1, max_size=12))
    def looks_and_messages(self, steps: list[str]) -> None:
        for step in steps:
            if step in (*QUESTIONS, "event", "everything"):
                self._look(step)
            elif step == "send":
                self.publisher.send()
            elif self.publisher.wire:
                self._acknowledge(step)

    def _look(self, what: str) -> None:
        asked = [question for question in QUESTIONS if question in self.asked and what in (question, "everything")]
        look: dict[int, str | None] = {next(self.ids): question for question in asked}
        if what in ("event", "everything"):
            look[next(self.ids)] = None
        for number, question in look.items():
            self.made_by[number] = self.process
            self.topics[number] = EVENT if question is None else TOPICS.answer("dock", question)
            if question is not None:
                self.newest[self.topics[number]] = number
        self.publisher.look(look)

    def _acknowledge(self, outcome: str) -> None:
        """A message that is refused for now comes after those that are accepted meanwhile.

        Answers are sent on `late` then, unless they may have arrived in an earlier connection; those of `late` again
        there. A newer answer to the same question may already be on its way there, if that question has left the
        config. States and clearings are not refused for good here: nothing could be said about what their topics
        retain.
        """
        message = self.publisher.wire[0][1]
        number = id_of(message)
        if outcome == "not_now":
            self.publisher.acknowledge("not_now")
            self.refused_for_now |= {number} if number else set()
            in_order = number and message.topic == self.topics[number] != EVENT
            if number and not (in_order and number > self.before_outage):
                self.may_come_later.add(number)
            elif number:
                late = {id_of(other) for _, other in self.publisher.wire if other.topic == late_topic(message.topic)}
                self.may_follow[number] = {other for other in late if other and other > number}
        elif outcome == "refused" and number:
            self.publisher.acknowledge("refused")
            self.refused.add(number)
        else:
            self.publisher.acknowledge("accepted")

    @rule(online=st.booleans())
    def camera_state(self, online: bool) -> None:
        self.state = b'{"online":%d}' % online
        self.publisher.state(self.state)

    @precondition(lambda self: not self.publisher.connected)
    @rule(sends=st.sampled_from([0, 3, 20]))
    def connect(self, sends: int) -> None:
        self.publisher.connect()
        for _ in range(sends):
            if self.publisher.send() is None and self.publisher.wire:
                self.publisher.acknowledge("accepted")

    @rule(
        what=st.sampled_from(
            ["lose", "lose", "lose while sending", "restart", "kill", "change broker", "broker forgets"]
        ),
        arrived=st.sampled_from([0, 0, 1, 2, 5]),
    )
    def disturb(self, what: str, arrived: int) -> None:
        match what:
            case "lose" | "broker forgets" if self.publisher.connected:
                self.publisher.lose(arrived)
            case "lose while sending" if self.publisher.connected:
                self.publisher.take_and_put_back()
                self.publisher.take_and_put_back()  # the loss is not reported yet
                self.publisher.lose(arrived)
            case "restart":
                self._restart(arrived)
            case "kill":
                self._kill(arrived)
            case "change broker":
                self._change_broker(arrived)
        if what == "broker forgets":
            self.brokers[-1].retained.clear()
        self.before_outage = max(self.topics, default=0)

    def _restart(self, arrived: int) -> None:
        self.publisher.cut(arrived)
        self.publisher.close()
        store = self.stores.pop()
        store.close()
        self._start_again(self.folder / str(len(self.stores)))

    def _kill(self, arrived: int) -> None:
        """As kill -9 does: the next process finds the file as it is at this moment.

        Until the next look, it still has what a full outbox dropped and what was refused: that comes after newer ones.
        """
        self.publisher.cut(arrived)
        released = self.publisher.queue.release()
        waiting = {json.loads(pending.payload or b"{}").get("id") for pending in released}
        self.may_come_later |= set(self.topics) - waiting - set(self._received_by_id())
        before, after = self.folder / str(len(self.stores) - 1), self.folder / str(len(self.stores))
        shutil.copytree(before, after)
        self._start_again(after)

    def _start_again(self, folder: Path) -> None:
        """The next process does not know what was refused for now, nor what came after that."""
        self.may_come_later |= self.refused_for_now - set(self._received_by_id())
        self.dropped += self.publisher.queue.figures(0).dropped
        self.process += 1
        self.publisher = HandDriven(self.brokers[-1], self._open(folder), self.limits, self.window, self.process)
        self.publisher.start(self.asked)
        self.state = b'{"online":2}'
        self.publisher.state(self.state)

    def _change_broker(self, arrived: int) -> None:
        self.publisher.cut(arrived)
        self.publisher.close()
        self.dropped += self.publisher.queue.figures(0).dropped
        released = self.publisher.queue.release()
        waiting = {json.loads(pending.payload or b"{}").get("id") for pending in released}
        self.newest = {topic: number for topic, number in self.newest.items() if number in waiting}
        self.brokers.append(Broker(f"b{len(self.brokers)}"))
        self.publisher = HandDriven(self.brokers[-1], self.stores[-1], self.limits, self.window, self.process)
        self.publisher.start(self.asked, released)
        self.state = b'{"online":3}'
        self.publisher.state(self.state)

    @rule(asked=st.sets(st.sampled_from(QUESTIONS)))
    def reload(self, asked: set[str]) -> None:
        for question in self.asked - asked:
            self.newest.pop(TOPICS.answer("dock", question), None)
        self.asked = asked
        self.publisher.follow(asked)

    @precondition(lambda self: self.stores)
    @rule()
    def settled(self) -> None:
        """Five quiet minutes: everything that waits is sent and accepted."""
        if not self.publisher.connected:
            self.publisher.connect()
        while self.publisher.send() or self.publisher.wire:
            while self.publisher.wire:
                self.publisher.acknowledge("accepted")
        assert self.publisher.queue.drained
        self._nothing_is_lost()
        self._retained_is_the_newest()

    def _nothing_is_lost(self) -> None:
        received = set(self._received_by_id())
        missing = set(self.topics) - received - self.refused
        assert len(missing) <= self.dropped + self.publisher.queue.figures(0).dropped
        assert not missing & set(self.newest.values())

    def _retained_is_the_newest(self) -> None:
        retained = self.brokers[-1].retained
        own = {ONLINE.topic, STATE, *(TOPICS.answer("dock", question) for question in self.asked)}
        assert set(retained) <= own
        assert retained[ONLINE.topic] == ONLINE.payload
        if getattr(self, "state", None):
            assert retained[STATE] == self.state
        for topic, number in self.newest.items():
            assert number in self.refused or json.loads(retained[topic])["id"] == number

    # what must hold at any moment

    @invariant()
    def duplicates_are_equal(self) -> None:
        """The next process does not know whether a late answer was sent, and may send it on `late` then."""
        for received in self._received_by_id().values():
            assert len({message.payload for _, message in received}) == 1, received
            for process in {process for process, _ in received}:
                assert len({message.topic for sender, message in received if sender == process}) == 1, received

    @invariant()
    def each_topic_is_in_order(self) -> None:
        for broker in self.brokers:
            order: dict[str, list[int]] = defaultdict(list)
            for _, message in broker.received:
                number = id_of(message)
                if number is None or number in self.may_come_later:
                    continue
                if number not in order[message.topic]:
                    order[message.topic].append(number)
            for topic, numbers in order.items():
                for place, number in enumerate(numbers if numbers != sorted(numbers) else ()):
                    newer = {other for other in numbers[:place] if other > number}
                    assert newer <= self.may_follow.get(number, set()), (topic, numbers)

    @invariant()
    def no_older_answer_replaces_a_retained_one(self) -> None:
        for broker in self.brokers:
            retained: dict[str, int] = {}
            for _, message in broker.received:
                number = id_of(message)
                if message.retain and number is not None:
                    assert retained.get(message.topic, 0) <= number
                    retained[message.topic] = number

    @invariant()
    def late_says_so(self) -> None:
        """Unless it may have arrived from an earlier process: then it says what it said there."""
        for number, received in self._received_by_id().items():
            for process, message in received:
                if message.topic == late_topic(self.topics[number]):
                    assert json.loads(message.payload)["late"] is True or process > self.made_by[number]
                    assert not message.retain
                else:
                    assert message.topic == self.topics[number]

    @invariant()
    def the_outbox_is_bounded(self) -> None:
        if self.stores:
            waiting = self.publisher.queue.figures(0).waiting
            assert waiting <= max(self.limits.messages, len(self.newest) + len(QUESTIONS) + self.window)

    def _received_by_id(self) -> dict[int, list[tuple[int, Message]]]:
        by_id: dict[int, list[tuple[int, Message]]] = defaultdict(list)
        for broker in self.brokers:
            for process, message in broker.received:
                if (number := id_of(message)) is not None:
                    by_id[number].append((process, message))
        return by_id


def test_an_answer_refused_for_now_comes_after_newer_ones_whose_question_left_the_config() -> None:
    """Both are on their way when the older one is refused; what is accepted meanwhile is not held back."""
    deliveries = Deliveries()
    try:
        deliveries.begin(1000, 3)
        deliveries.settled()
        deliveries.looks_and_messages(["people", "people", "send"])
        deliveries.reload(set())
        deliveries.looks_and_messages(["send", "send", "not_now"])
        deliveries.settled()
        late = late_topic(TOPICS.answer("dock", "people"))
        assert [id_of(message) for _, message in deliveries.brokers[0].received if message.topic == late] == [2, 1]
        deliveries.each_topic_is_in_order()
        deliveries.may_follow.clear()
        with pytest.raises(AssertionError):
            deliveries.each_topic_is_in_order()
    finally:
        deliveries.teardown()


def test_what_subscribers_see_after_any_course_of_events() -> None:
    run_state_machine_as_test(Deliveries, settings=examples(100))
