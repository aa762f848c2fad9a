"""Messages that wait for the broker: their order, their limit, and which may be topics."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from edged.core.memory_store import MemoryStore
from edged.core.payloads import as_late
from edged.core.types import StoredMessage
from edged.mqtt import outbox as outbox_module
from edged.mqtt.outbox import Limits, Outbox, Pending, waiting
from edged.mqtt.retained import RetainedMessage, RetainedTopics, clearing
from edged.mqtt.send_queue import SendQueue
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


@pytest.mark.parametrize("newer_is", ["in flight", "settled", "waiting again"])
def test_an_answer_of_an_earlier_process_goes_to_late_unchanged_once_a_newer_one_was_sent(newer_is: str) -> None:
    newer = answer("a", b'{"id":1,"late":false}')
    outbox = filled(newer)
    sent(outbox, outbox.take_answer)
    if newer_is == "settled":
        outbox.settle(newer)
    elif newer_is == "waiting again":
        outbox.connection_lost()
    found = [stored(topic, "people", b'{"id":0,"late":false}', number=-1 - n) for n, topic in enumerate("ba")]
    outbox.adopt([waiting(each, on_disk=True) for each in found], lambda _: True)
    assert sent(outbox, outbox.take_answer).topic == "b"  # as before: no newer one was sent
    assert everything(outbox.take_answer) == ([newer] if newer_is == "waiting again" else [])
    late = outbox.take_overtaken()
    assert late
    assert late.message() == Message("a/late", b'{"id":0,"late":false}')
    outbox.put_back(late)
    assert outbox.take_overtaken() is late


def test_the_payload_of_a_message_in_flight_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "IN_MEMORY", 1)
    first, second, third = (waiting(stored("a", "people", b"{}"), on_disk=True) for _ in range(3))
    outbox = filled(first)
    outbox.take_answer()
    for each in (second, third):
        outbox.add(each)
    assert [pending.payload for pending in (first, second, third)] == [b"{}", None, b"{}"]


# Messages that the broker has refused for now


def refused_for_now(*settled: int, count: int = 3, refused: int = 0) -> tuple[Outbox, list[Pending]]:
    """Answers of one topic that were all sent. One was refused for now after those with these positions were settled.

    What was neither refused nor settled is still in flight.
    """
    answers = [answer("a", b'{"id":%d,"late":false}' % number) for number in range(count)]
    outbox = filled(*answers)
    for _ in answers:
        sent(outbox, outbox.take_answer)
    for number in settled:
        outbox.settle(answers[number])
    outbox.put_back_refused(answers[refused])
    return outbox, answers


def test_an_answer_refused_for_now_is_sent_again_as_it_was_while_no_newer_one_was_accepted() -> None:
    outbox, _ = refused_for_now(count=1)
    assert outbox.unmarked() == []
    again = sent(outbox, outbox.take_answer)
    assert (again.topic, again.payload, again.retain) == ("a", b'{"id":0,"late":false}', True)


def test_an_answer_refused_for_now_is_not_retained_if_a_newer_one_waits() -> None:
    outbox, _ = refused_for_now(count=1)
    outbox.add(answer("a", b'{"id":1,"late":false}'))
    assert sent(outbox, outbox.take_answer) == Message("a", b'{"id":0,"late":false}')
    assert sent(outbox, outbox.take_answer).retain


def test_an_answer_refused_for_now_is_sent_again_as_it_was_although_an_older_one_was_accepted() -> None:
    outbox, _ = refused_for_now(0, count=2, refused=1)
    again = sent(outbox, outbox.take_answer)
    assert (again.topic, again.payload, again.retain) == ("a", b'{"id":1,"late":false}', True)


@pytest.mark.parametrize("settled", [(1,), (2,), (2, 1), (1, 2)])
def test_an_answer_refused_for_now_is_late_once_a_newer_one_was_accepted(settled: tuple[int, ...]) -> None:
    outbox, answers = refused_for_now(*settled)
    assert outbox.unmarked() == [answers[0]]
    assert outbox.take_answer() is None
    assert sent(outbox, outbox.take_overtaken) == Message("a/late", b'{"id":0,"late":true}')


def test_a_refused_answer_that_is_late_has_not_arrived_when_it_is_released() -> None:
    outbox, answers = refused_for_now(1, count=2)
    assert outbox.release() == [answers[0]]
    assert not answers[0].may_have_arrived


def test_the_newest_accepted_answer_counts_whatever_was_accepted_after_it() -> None:
    outbox, _ = refused_for_now(2, 0, refused=1)
    assert outbox.take_answer() is None
    assert sent(outbox, outbox.take_overtaken) == Message("a/late", b'{"id":1,"late":true}')


def test_accepted_answers_of_other_topics_do_not_make_a_refused_one_late() -> None:
    refused, other = answer("a", b'{"id":0,"late":false}'), answer("b")
    outbox = filled(refused, other)
    for _ in range(2):
        sent(outbox, outbox.take_answer)
    outbox.settle(other)
    outbox.put_back_refused(refused)
    assert sent(outbox, outbox.take_answer).payload == b'{"id":0,"late":false}'


def in_flight_again(earlier: str) -> tuple[Outbox, Pending]:
    """An answer that may have arrived in an earlier connection, process or at another broker, and was sent again."""
    outbox = filled()
    if earlier == "process":
        again = waiting(stored("a", "people", b'{"id":0,"late":false}', number=-1), on_disk=False)
        outbox.adopt([again], lambda _: True)
    else:
        again = answer("a", b'{"id":0,"late":false}')
        outbox.add(again)
        sent(outbox, outbox.take_answer)
        if earlier == "broker":
            outbox.adopt(outbox.release(), lambda _: True)
        else:
            outbox.connection_lost()
    sent(outbox, outbox.take_answer)
    return outbox, again


@pytest.mark.parametrize("earlier", ["connection", "process", "broker"])
def test_an_answer_that_may_have_arrived_earlier_stays_as_it_was_when_it_is_refused_for_now(earlier: str) -> None:
    """A subscriber that has it already must be able to tell that it is the same, and that it is not the newest."""
    outbox, again = in_flight_again(earlier)
    newer = answer("a")
    outbox.add(newer)
    sent(outbox, outbox.take_answer)
    outbox.settle(newer)
    outbox.put_back_refused(again)
    assert outbox.unmarked() == []
    assert outbox.take_answer() is None
    assert sent(outbox, outbox.take_overtaken) == Message("a/late", b'{"id":0,"late":false}')


# Answers that expire while they wait


def outdated(topic: str, payload: bytes = b'{"late":false}') -> Pending:
    return answer(topic, payload, until=time.monotonic() - 1)


def test_an_answer_that_expired_while_it_waited_is_late_and_not_retained() -> None:
    newest = outdated("b")
    outbox = filled(outdated("a", b'{"id":1,"late":false}'), answer("a"), newest)
    assert sent(outbox, outbox.take_answer).retain
    assert sent(outbox, outbox.take_answer) == Message("b", b'{"late":true}')
    assert outbox.take_answer() is None
    assert sent(outbox, outbox.take_overtaken) == Message("a/late", b'{"id":1,"late":true}')
    assert outbox.settle(newest) is True


def test_an_answer_that_expired_while_it_was_refused_for_now_is_late() -> None:
    refused = outdated("a")
    refused.sent_to = "a"
    outbox = filled(refused)
    assert sent(outbox, outbox.take_answer) == Message("a", b'{"late":true}')


def test_an_expired_answer_that_may_have_arrived_is_sent_again_unchanged_and_not_retained() -> None:
    again = outdated("a")
    again.sent_to, again.may_have_arrived = "a", True
    outbox = filled(again)
    assert sent(outbox, outbox.take_answer) == Message("a", b'{"late":false}')


# What a message says


def test_a_message_belongs_to_its_look_and_an_answer_says_when_it_expires() -> None:
    until = time.monotonic() + 1000
    current, overtaken = answer("a", look="look-1", until=until), answer("a", look="look-2", until=until)
    overtaken.overtaken = True
    changed = waiting(stored("event", None, b"{}", look="look-3"), on_disk=False)
    message = current.message()
    assert message.expires_s in range(900, 1001)
    assert message == Message("a", b"{}", retain=True, expires_s=message.expires_s, look="look-1")
    assert overtaken.message() == Message("a/late", b"{}", look="look-2")
    assert changed.message() == Message("event", b"{}", look="look-3")


def test_only_a_payload_in_memory_that_says_late_if_it_has_to_can_be_sent() -> None:
    new, unread, unmarked = answer("a"), answer("a"), answer("a")
    unread.payload = None
    unmarked.outage = True
    assert [pending.can_be_sent for pending in (new, unread, unmarked)] == [True, False, False]


# The first message of a process has the number 1, the last one of an earlier process 0.
@pytest.mark.parametrize(
    ("number", "late", "outage", "sent_to"),
    [
        (1, False, False, None),
        (0, False, True, "a"),
        (-1, False, True, "a"),
        (0, True, True, None),
        (2, True, True, None),
    ],
)
def test_what_an_earlier_process_left_waited_in_an_outage_and_may_have_arrived_unless_it_is_late(
    number: int, late: bool, outage: bool, sent_to: str | None
) -> None:
    message = StoredMessage(number, "a", "dock", "people", b"{}", 2, 0.0, 60.0, late)
    pending = waiting(message, on_disk=True)
    assert (pending.late, pending.outage, pending.sent_to) == (late, outage, sent_to)


# What is in the outbox


def test_an_outbox_knows_its_highest_number_and_the_topics_of_answers_that_may_be_retained() -> None:
    outbox = filled()
    assert outbox.last == 0
    overtaken = answer("c")
    overtaken.overtaken = True
    first, changed, last = answer("a"), event(), answer("b")
    for pending in (first, overtaken, changed, last, waiting(stored("a", "people", b"{}", number=-5), on_disk=True)):
        outbox.add(pending)
    assert outbox.last == last.number
    assert outbox.topics() == {"a", "b"}
    assert [outbox.has_newer(topic) for topic in ("a", "c", "event")] == [True, False, False]


def test_what_was_settled_or_dropped_is_told_once() -> None:
    settled, dropped, waits = answer("a"), answer("b"), answer("c")
    outbox = filled(settled, dropped, waits)
    for _ in range(2):
        outbox.take_answer()
    outbox.settle(settled)
    outbox.drop(dropped)
    assert (outbox.finished(), outbox.finished()) == ([settled.number, dropped.number], [])
    assert (len(outbox), outbox.dropped) == (1, 1)
    outbox.take_answer()
    outbox.drop(waits)
    assert (outbox.finished(), outbox.dropped) == ([waits.number], 2)


def test_a_message_is_sent_from_when_it_was_taken_until_it_is_put_back() -> None:
    first, second = answer("a"), answer("b")
    outbox = filled(first, second)
    assert not outbox.is_sent(first)
    outbox.take_answer()
    assert [outbox.is_sent(pending) for pending in (first, second)] == [True, False]
    outbox.put_back(first)
    assert not outbox.is_sent(first)
    outbox.take_answer()
    outbox.settle(first)
    assert outbox.is_sent(first)


def test_only_answers_up_to_a_number_are_taken() -> None:
    first, second = answer("a"), answer("b")
    outbox = filled(first, second)
    assert outbox.take_answer(up_to=first.number) is first
    assert outbox.take_answer(up_to=first.number) is None
    assert outbox.take_answer(up_to=second.number) is second


def test_after_an_outage_everything_that_cannot_have_arrived_has_to_say_late() -> None:
    taken, sent_before, waits, changed = answer("a"), answer("b"), answer("c"), event()
    outbox = filled(taken, sent_before, waits, changed)
    for _ in range(2):
        outbox.take_answer()
    sent_before.sent_to = "b"
    assert outbox.unmarked() == []
    outbox.connection_lost()
    assert outbox.unmarked() == [taken, waits, changed]
    assert outbox.take_answer() is taken
    assert outbox.unmarked() == [taken, waits, changed]
    outbox.settle(taken)
    assert outbox.unmarked() == [waits, changed]


def test_a_topic_without_answers_can_be_forgotten() -> None:
    kept = answer("a")
    outbox = filled(kept)
    outbox.forget("b")
    assert outbox.take_answer() is kept


def test_a_message_that_is_acknowledged_after_the_connection_was_lost_is_settled() -> None:
    acknowledged = answer("a")
    outbox = filled(acknowledged)
    outbox.take_answer()
    outbox.connection_lost()
    assert outbox.settle(acknowledged) is True
    assert (len(outbox), outbox.take_answer(), outbox.take_overtaken()) == (0, None, None)


def test_the_newest_released_answer_stays_the_newest() -> None:
    first, newest = answer("a"), answer("a")
    successor = filled()
    successor.adopt(filled(first, newest).release(), lambda _: True)
    assert successor.take_answer() is newest
    assert everything(successor.take_overtaken) == [first]


def test_what_is_settled_does_not_stay_in_memory() -> None:
    payloads = [b'{"id":"settled %d"}' % number for number in range(3)]
    references = [sys.getrefcount(payload) for payload in payloads]
    on_disk = waiting(stored("a", "people", payloads[0]), on_disk=True)
    outbox = filled(on_disk, answer("a", payloads[1]), event(payloads[2]))
    del on_disk
    for take in (outbox.take_answer, outbox.take_answer, outbox.take_event):
        taken = take()
        assert taken
        outbox.settle(taken)
    del taken
    assert [sys.getrefcount(payload) for payload in payloads] == references


# Limits


def limited(*messages: Pending, **limits: Any) -> Outbox:
    outbox = Outbox(Limits(**limits))
    for message in messages:
        outbox.add(message)
    return outbox


def test_the_size_of_all_payloads_is_limited() -> None:
    outbox = limited(*[answer("a", b"1234") for _ in range(3)], size=12)
    assert (len(outbox), outbox.dropped) == (3, 0)
    outbox.add(answer("a", b"1234"))
    assert (len(outbox), outbox.dropped) == (3, 1)
    outbox.add(answer("a", b"12345678"))
    assert (len(outbox), outbox.dropped) == (2, 3)
    settled = outbox.take_answer()
    assert settled
    outbox.settle(settled)
    outbox.add(answer("a", b"1234"))
    assert (len(outbox), outbox.dropped) == (2, 3)


def test_only_so_many_messages_that_are_not_on_disk_are_kept() -> None:
    def on_disk() -> Pending:
        return waiting(stored("a", "people", b"{}"), on_disk=True)

    first, second = answer("a"), answer("a")
    outbox = limited(on_disk(), first, on_disk(), second, on_disk(), not_on_disk=2)
    assert outbox.dropped == 0
    outbox.add(answer("a"))
    assert (outbox.dropped, first.gone, second.gone) == (1, True, False)
    for _ in range(2):  # one that is on disk, then `second`
        settled = outbox.take_answer()
        assert settled
        outbox.settle(settled)
    for _ in range(2):
        settled = outbox.take_answer()
        assert settled
        outbox.settle(settled)
    outbox.add(answer("a"))
    assert outbox.dropped == 1
    outbox.add(answer("a"))
    assert outbox.dropped == 2


def test_a_message_older_than_the_limit_is_dropped_unless_it_is_the_newest_answer() -> None:
    day_old = time.monotonic() - 86_400
    dropped, newest = answer("a", made_at=day_old), answer("a", made_at=day_old)
    outbox = limited(dropped, newest, answer("b"), age_s=3_600.0)
    assert (dropped.gone, newest.gone, len(outbox)) == (True, False, 2)
    kept = limited(answer("a", made_at=day_old), answer("a", made_at=day_old), age_s=90_000.0)
    assert (len(kept), kept.dropped) == (2, 0)


def test_an_old_answer_that_must_be_kept_does_not_displace_new_messages() -> None:
    """In a long outage: the last answer of a question that is no longer answered, because its camera is away."""
    old, changed, overtaken = answer("a", made_at=time.monotonic() - 86_400), event(), answer("b")
    outbox = limited(old, changed, overtaken, answer("b"), event(), age_s=3_600.0)
    assert (changed.gone, overtaken.gone, outbox.dropped) == (False, False, 0)


def test_the_oldest_that_may_be_dropped_is_dropped_first() -> None:
    newest_of_b, first, second, third = answer("b"), answer("a"), answer("a"), answer("a")
    outbox = limited(newest_of_b, first, second, third, messages=3)
    assert [pending.gone for pending in (newest_of_b, first, second, third)] == [False, True, False, False]
    outbox.add(answer("a"))
    assert [pending.gone for pending in (newest_of_b, second, third)] == [False, True, False]


def test_more_questions_than_the_limit_keep_their_newest_answers() -> None:
    outbox = limited(*map(answer, "abc"), messages=2)
    assert (len(outbox), outbox.dropped) == (3, 0)


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


@pytest.mark.parametrize(("cleared_s", "again"), [(60.0, [b"", b""]), (0.0, [])])
def test_an_acknowledged_clearing_is_sent_again_at_each_connect_for_a_time(
    cleared_s: float, again: list[bytes]
) -> None:
    topics = RetainedTopics(cleared_s)
    topics.send(clearing("a"))
    sent = []
    for _ in range(3):
        while message := topics.take():
            sent.append(message.content.payload)
            topics.settle(message)
        assert "a" not in topics
        topics.send_all()
    assert sent == [b"", *again]


@pytest.mark.parametrize(
    ("cleared_s", "own", "forgotten"), [(60.0, set[str](), []), (0.0, set[str](), ["a"]), (0.0, {"a"}, [])]
)
def test_a_cleared_topic_is_forgotten_once_the_broker_has_it_on_disk(
    cleared_s: float, own: set[str], forgotten: list[str]
) -> None:
    queue = SendQueue(Message("state", b"online", retain=True), MemoryStore(), cleared_s=cleared_s)
    queue.follow(set(), ["a"], [])
    queue.connected()
    entry, message = queue.next() or pytest.fail("nothing is sent")
    queue.sent(1, entry, message)
    queue.acknowledged(1, "accepted")
    assert queue.cleared() == ["a"]
    queue.follow(own, [], [])
    assert queue.forgotten() == forgotten


def test_topics_of_a_node_that_left_are_forgotten_at_once_those_cleared_before_included() -> None:
    queue = SendQueue(Message("state", b"online", retain=True), MemoryStore(), cleared_s=60.0)
    queue.follow(set(), ["old"], [])
    queue.connected()
    acknowledge_all(queue)
    assert queue.forgotten() == []
    queue.withdraw(["old", "new"], [])
    acknowledge_all(queue)
    assert sorted(queue.forgotten()) == ["new", "old"]


def acknowledge_all(queue: SendQueue) -> None:
    for number, (entry, message) in enumerate(iter(queue.next, None), 1):
        queue.sent(number, entry, message)
        queue.acknowledged(number, "accepted")


def test_a_topic_that_is_cleared_again_counts_as_unused() -> None:
    topics = RetainedTopics(60.0)
    topics.send(clearing("a"))
    assert "a" in topics
    while message := topics.take():
        topics.settle(message)
    topics.send_all()
    assert "a" not in topics


def test_an_old_answer_is_dropped_once_a_newer_one_takes_its_place_as_the_newest() -> None:
    day_old = time.monotonic() - 86_400
    old = [answer(topic, made_at=day_old) for topic in "ab"]
    outbox = limited(*old, event(), age_s=3_600.0)
    assert (len(outbox), outbox.dropped) == (3, 0)
    for count, topic in enumerate("ab", 1):
        outbox.add(answer(topic))
        assert (len(outbox), outbox.dropped) == (3, count)
    assert outbox.finished() == [pending.number for pending in old]


def test_an_old_answer_that_is_in_flight_is_not_dropped_for_a_newer_one() -> None:
    """Its acknowledgement is still to come."""
    in_flight = answer("a", made_at=time.monotonic() - 86_400)
    outbox = limited(in_flight, event(), age_s=3_600.0)
    sent(outbox, outbox.take_answer)
    outbox.add(answer("a"))
    assert (outbox.finished(), outbox.dropped) == ([], 0)
    outbox.settle(in_flight)
    assert (outbox.finished(), outbox.dropped) == ([in_flight.number], 0)


def test_a_topic_that_is_used_again_is_not_cleared_again() -> None:
    topics = RetainedTopics(60.0)
    topics.send(clearing("a"))
    while message := topics.take():
        topics.settle(message)
    topics.drop("a")  # an answer is coming
    topics.send_all()
    assert topics.take() is None


def test_an_acknowledged_clearing_is_dropped_and_the_topic_can_be_used_again() -> None:
    topics = RetainedTopics(0.0)
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
