"""Messages that wait for the broker: their order, their limit, and which may be topics."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from edged.core.payloads import as_late
from edged.core.types import StoredMessage
from edged.mqtt import outbox as outbox_module
from edged.mqtt.outbox import Limits, Outbox, Pending, waiting
from edged.mqtt.retained import RetainedMessage, RetainedTopics
from edged.mqtt.topics import Message

NUMBERS = itertools.count(1)


def stored(topic: str, question: str | None, payload: bytes, number: int | None = None, **more: Any) -> StoredMessage:
    now = time.monotonic()
    values = {"made_at": now, "until": now + 60, "late": False, **more}
    return StoredMessage(number or next(NUMBERS), topic, "dock", question, payload, len(payload), **values)


def answer(topic: str, payload: bytes = b"{}", **more: Any) -> Pending:
    return waiting(stored(topic, "people", payload, **more), on_disk=False)


def event(payload: bytes = b"{}") -> Pending:
    return waiting(stored("event", None, payload), on_disk=False)


def marked(pending: Pending) -> Message:
    """The message, after `late` was set in it if that was necessary."""
    if pending.unmarked:
        assert pending.payload
        pending.payload, pending.late = as_late(pending.payload), True
    return pending.message()


def filled(*messages: Pending, limit: int = 100) -> Outbox:
    outbox = Outbox(Limits(messages=limit))
    for message in messages:
        outbox.add(message)
    return outbox


def everything(take: Callable[[], Pending | None]) -> list[Pending]:
    return list(iter(take, None))


def test_a_full_outbox_keeps_the_newest_answer_of_each_question() -> None:
    outbox = filled(*map(answer, ("a", "b", "a", "a", "b", "b", "c")), limit=3)
    outbox.connection_lost()
    assert (len(outbox), outbox.dropped) == (3, 4)
    assert {waiting.topic for waiting in everything(outbox.take_answer)} == {"a", "b", "c"}


def test_what_was_taken_and_not_sent_stays_behind_what_is_in_flight() -> None:
    answers = [answer("a") for _ in range(4)]
    outbox = filled(*answers)
    for _ in range(2):
        outbox.take_answer()
    for _ in range(2):  # the connection is lost, but not reported yet
        taken = outbox.take_answer()
        assert taken is answers[2]
        outbox.put_back(taken)
    outbox.connection_lost()
    assert outbox.take_answer() is answers[3]
    assert everything(outbox.take_overtaken) == answers[:3]


def test_an_event_follows_the_answers_of_its_look_and_waits_for_no_later_one() -> None:
    first, changed, second = answer("a"), event(), answer("a")
    outbox = filled(first, changed, second)
    assert outbox.take_event() is None
    assert outbox.take_answer() is first
    assert outbox.take_event() is changed


def test_a_forgotten_answer_is_not_retained_waiting_or_taken() -> None:
    taken, waits = answer("a"), answer("a")
    outbox = filled(taken, waits)
    outbox.take_answer()
    outbox.forget("a")
    outbox.put_back(taken)
    assert outbox.take_answer() is None
    assert everything(outbox.take_overtaken) == [taken, waits]
    assert not any(waiting.message().retain for waiting in (taken, waits))


def test_a_forgotten_answer_in_flight_is_not_retained_after_an_outage() -> None:
    in_flight = answer("a")
    outbox = filled(in_flight)
    outbox.take_answer()
    outbox.forget("a")
    outbox.connection_lost()
    assert outbox.take_answer() is None
    assert outbox.take_overtaken() is in_flight


def test_an_acknowledged_answer_of_a_forgotten_question_is_not_the_newest() -> None:
    forgotten, new = answer("a"), answer("a")
    outbox = filled(forgotten)
    outbox.take_answer()
    outbox.forget("a")
    assert outbox.settle(forgotten) is False
    outbox.add(new)
    outbox.take_answer()
    assert outbox.settle(new) is True
    assert len(outbox) == 0


def test_release_gives_everything_oldest_first() -> None:
    overtaken, in_flight, changed, newest = answer("a"), answer("b"), event(), answer("a")
    outbox = filled(overtaken)
    outbox.connection_lost()
    for message in (in_flight, changed, newest):
        outbox.add(message)
    assert outbox.take_answer() is in_flight
    assert outbox.release() == [overtaken, in_flight, changed, newest]
    assert (len(outbox), outbox.release()) == (0, [])


def test_a_message_released_while_taken_is_not_put_back() -> None:
    taken = answer("a")
    outbox = filled(taken)
    outbox.take_answer()
    assert outbox.release() == [taken]
    outbox.put_back(taken)
    assert len(outbox) == 0


def test_adopted_answers_are_late_and_go_first() -> None:
    old, changed = answer("a", b'{"id":2,"late":false}'), event(b'{"id":3}')
    new, later = answer("a", b'{"id":4,"late":false}'), event(b'{"id":5}')
    outbox = filled(new, later)
    outbox.adopt([old, changed], lambda _: True)
    assert outbox.take_answer() is new
    assert everything(outbox.take_overtaken) == [old]
    assert everything(outbox.take_event) == [changed, later]
    late = [json.loads(marked(pending).payload).get("late") for pending in (old, changed, new)]
    assert late == [True, True, False]


def sent(outbox: Outbox, take: Callable[[], Pending | None]) -> Message:
    """Take the next message and send it; it stays unacknowledged."""
    pending = take()
    assert pending
    message = marked(pending)
    pending.sent_to = message.topic
    return message


def test_an_answer_that_may_have_arrived_is_sent_again_to_the_same_topic_ahead_of_newer_ones() -> None:
    outbox = filled(answer("a", b'{"id":1,"late":false}'), answer("a", b'{"id":2,"late":false}'))
    first = sent(outbox, outbox.take_answer)
    outbox.connection_lost()
    outbox.add(answer("a", b'{"id":3,"late":false}'))
    for _ in range(2):  # and again when the second try is not acknowledged either
        again, newest = sent(outbox, outbox.take_answer), sent(outbox, outbox.take_answer)
        assert again == Message("a", first.payload)  # not retained, because a newer answer is
        assert (newest.payload, newest.retain) == (b'{"id":3,"late":false}', True)
        assert outbox.take_answer() is None
        outbox.connection_lost()
    assert sent(outbox, outbox.take_overtaken) == Message("a/late", b'{"id":2,"late":true}')


def test_an_adopted_answer_that_may_have_arrived_is_sent_again_to_the_same_topic() -> None:
    predecessor, successor = filled(answer("old/a", b'{"id":1,"late":false}'), answer("new/a")), filled()
    first = sent(predecessor, predecessor.take_answer)
    successor.adopt(predecessor.release(), lambda topic: topic.startswith("new/"))
    assert sent(successor, successor.take_answer) == Message("old/a", first.payload)


def test_a_late_answer_that_may_have_arrived_stays_on_late() -> None:
    outbox = filled(answer("a", b'{"id":1}'), answer("a"))
    outbox.connection_lost()
    sent(outbox, outbox.take_answer)
    first = sent(outbox, outbox.take_overtaken)
    outbox.connection_lost()
    assert first == Message("a/late", b'{"id":1,"late":true}')
    assert sent(outbox, outbox.take_overtaken) == first


def test_the_newest_adopted_answer_is_retained() -> None:
    first, second = answer("a"), answer("a")
    outbox = filled()
    outbox.adopt([first, second], lambda _: True)
    assert outbox.take_answer() is second
    assert second.message().retain
    assert outbox.settle(second) is True


def test_an_adopted_answer_older_than_an_acknowledged_one_is_not_the_newest() -> None:
    first, second = answer("a"), answer("a")
    outbox = filled(first, second)
    outbox.take_answer()
    outbox.take_answer()
    outbox.settle(second)
    successor = filled()
    successor.adopt(outbox.release(), lambda _: True)
    assert successor.take_answer() is None
    assert successor.take_overtaken() is first


def test_adopted_answers_of_another_node_are_not_retained() -> None:
    other_node, own = answer("old/a"), answer("new/a")
    outbox = filled()
    outbox.adopt([other_node, own], lambda topic: topic.startswith("new/"))
    assert everything(outbox.take_answer) == [own]
    assert outbox.take_overtaken() is other_node
    assert marked(other_node) == Message("old/a/late", b'{"late":true}')


def test_only_the_newest_payloads_that_are_on_disk_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "IN_MEMORY", 1)
    payloads = [b'{"id":%d}' % number for number in range(3)]
    references = [sys.getrefcount(payload) for payload in payloads]
    pendings = [waiting(stored("a", "people", payload), on_disk=True) for payload in payloads]
    filled(*pendings)
    assert [pending.payload for pending in pendings] == [None, None, payloads[2]]
    remaining = [sys.getrefcount(payload) for payload in payloads]
    assert remaining[:2] == references[:2]


def test_adoption_keeps_to_the_limit() -> None:
    outbox = filled(answer("a"), limit=3)
    released = [answer("a") for _ in range(5)]
    outbox.adopt(released, lambda _: True)
    assert (len(outbox), outbox.dropped) == (3, 3)
    outbox.take_answer()
    assert everything(outbox.take_overtaken) == released[3:]


def test_a_newer_state_replaces_an_unsent_one() -> None:
    topics = RetainedTopics()
    states = [
        RetainedMessage(Message(topic, payload, retain=True))
        for topic, payload in (("a", b"1"), ("b", b"2"), ("a", b"3"))
    ]
    for state in states:
        topics.send(state)
    assert topics.unsent == 2
    assert list(iter(topics.take, None)) == [states[2], states[1]]


def test_an_acknowledged_clearing_is_dropped_and_the_topic_can_be_used_again() -> None:
    topics = RetainedTopics()
    cleared, new = RetainedMessage(Message("a", b"", retain=True)), RetainedMessage(Message("a", b"1", retain=True))
    topics.send(cleared)
    topics.take()
    topics.send(new)
    topics.settle(cleared)  # acknowledged after the topic was used again
    assert topics.take() is new
    topics.send(cleared)
    topics.settle(cleared)
    topics.send_all()
    assert topics.take() is None
