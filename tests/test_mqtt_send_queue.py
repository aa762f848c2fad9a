"""Which message is next: before `online`, after it, after an outage, and when the box leaves the broker."""

from __future__ import annotations

import itertools
import time

from edged.core.memory_store import MemoryStore
from edged.core.types import StoredMessage
from edged.mqtt.outbox import waiting
from edged.mqtt.retained import RetainedMessage
from edged.mqtt.send_queue import SendQueue
from edged.mqtt.topics import JPEG_TYPE, Message

ONLINE = Message("state", b'{"state":"online"}', retain=True)


NUMBERS = itertools.count(1)


def stored(topic: str, question: str | None, payload: bytes, expires_s: float = 60) -> StoredMessage:
    now, size = time.monotonic(), len(payload)
    return StoredMessage(next(NUMBERS), topic, "dock", question, payload, size, now, now + expires_s, late=False)


def answer(topic: str) -> StoredMessage:
    return stored(topic, "people", b'{"late":false}')


def event(topic: str) -> StoredMessage:
    return stored(topic, None, b"{}")


def new_queue() -> SendQueue:
    return SendQueue(ONLINE, MemoryStore())


def state(topic: str) -> RetainedMessage:
    return RetainedMessage(Message(topic, b"{}", retain=True))


def picture(topic: str) -> RetainedMessage:
    return RetainedMessage(Message(topic, b"jpeg", retain=True, content_type=JPEG_TYPE))


def send_all(queue: SendQueue) -> list[str]:
    """The topics in the order in which they are sent; everything is acknowledged."""
    topics: list[str] = []
    while following := queue.next():
        entry, message = following
        queue.sent(len(topics), entry, message)
        queue.acknowledged(len(topics), "accepted")
        topics.append(message.topic)
    return topics


def test_only_states_are_sent_before_online_is_called() -> None:
    queue = new_queue()
    queue.add([answer("people"), event("event")], picture("image"))
    queue.keep(state("info"))
    queue.connected()
    assert send_all(queue) == ["info"]
    queue.online()
    assert send_all(queue) == ["people", "state", "event", "image"]


def test_answers_given_after_the_connect_come_after_online() -> None:
    queue = new_queue()
    queue.online()
    queue.add([answer("first")], None)
    queue.connected()
    queue.add([answer("second")], None)
    assert send_all(queue) == ["first", "state", "second"]


def test_states_answers_events_and_pictures_take_turns() -> None:
    queue = new_queue()
    queue.connected()
    queue.online()
    assert send_all(queue) == ["state"]
    for number in range(2):
        queue.add([answer(f"answer {number}"), event("event")], picture(f"image {number}"))
        queue.keep(state(f"state {number}"))
    order = [topic.split()[0] for topic in send_all(queue)]
    assert order == ["state", "answer", "event", "image"] * 2


def test_an_unacknowledged_message_is_sent_again_after_an_outage() -> None:
    queue = new_queue()
    queue.connected()
    queue.online()
    send_all(queue)
    queue.add([answer("people")], None)
    following = queue.next()
    assert following is not None
    queue.sent(1, *following)
    assert queue.drained is False
    queue.lost()
    assert queue.in_flight == 0
    queue.connected()
    assert send_all(queue) == ["people", "state"]
    assert queue.drained is True


def test_nothing_but_clearings_is_sent_after_a_withdrawal() -> None:
    queue = new_queue()
    queue.connected()
    queue.online()
    send_all(queue)
    queue.add([answer("people")], None)
    queue.withdraw(["info", "people"], ["image"])
    queue.add([answer("gate")], picture("image"))
    assert send_all(queue) == ["info", "people", "image"]
    assert [pending.topic for pending in queue.release()] == ["people", "gate"]
    assert queue.cleared() == ["info", "people", "image"]


def test_what_an_earlier_process_left_goes_to_the_successor_if_it_is_found_after_the_hand_over() -> None:
    queue, successor = new_queue(), new_queue()
    assert queue.release() == []
    queue.hand_over(successor)
    queue.adopt([waiting(stored("event", None, b"{}"), on_disk=True)])
    queue.restore(state("people"))
    successor.connected()
    successor.online()
    assert sorted(send_all(successor)) == ["event", "people", "state"]
    assert queue.release() == []


def test_a_refused_message_is_counted_and_not_sent_again() -> None:
    queue = new_queue()
    queue.keep(state("info"))
    queue.connected()
    following = queue.next()
    assert following is not None
    queue.refuse(following[0])
    assert queue.next() is None
    figures = queue.figures(reconnects=0)
    assert (figures.published, figures.refused) == (0, 1)


def sent_ids(queue: SendQueue, outcomes: str = "") -> list[tuple[str, bytes]]:
    """Send everything, then acknowledge it: `n` refuses a message for now."""
    sent: list[tuple[str, bytes]] = []
    assert queue.resume_refused()
    while following := queue.next():
        queue.sent(len(sent), *following)
        sent.append((following[1].topic, following[1].payload))
    for mid, outcome in enumerate(outcomes.ljust(len(sent), "a")):
        queue.acknowledged(mid, "not_now" if outcome == "n" else "accepted")
    return sent


def connected_queue() -> SendQueue:
    queue = new_queue()
    queue.online()
    queue.connected()
    send_all(queue)
    return queue


def test_what_was_refused_for_now_is_late_once_a_newer_message_of_its_topic_was_accepted() -> None:
    queue = connected_queue()
    queue.add([answer("people"), answer("people")], None)
    assert sent_ids(queue, "na") == [("people", b'{"late":false}')] * 2
    assert sent_ids(queue) == [("people/late", b'{"late":true}')]


def test_what_was_refused_for_now_twice_is_late_once_a_newer_message_was_accepted() -> None:
    queue = connected_queue()
    queue.add([answer("people")], None)
    assert sent_ids(queue, "n") == [("people", b'{"late":false}')]
    queue.add([answer("people")], None)
    assert sent_ids(queue, "na") == [("people", b'{"late":false}')] * 2
    assert sent_ids(queue) == [("people/late", b'{"late":true}')]


def test_what_may_have_arrived_is_sent_again_unchanged_although_a_newer_message_was_accepted() -> None:
    queue = connected_queue()
    queue.add([answer("people")], None)
    following = queue.next()
    assert following
    queue.sent(1, *following)
    queue.lost()
    queue.connected()
    queue.add([answer("people")], None)
    assert [topic for topic, _ in sent_ids(queue, "naa")] == ["people", "state", "people"]
    assert sent_ids(queue) == [("people", b'{"late":false}')]


def test_an_event_does_not_wait_behind_an_answer_that_goes_to_late() -> None:
    queue = connected_queue()
    queue.add([answer("gate")], None)
    sent_ids(queue)  # the turn of events is next
    queue.add([answer("people"), event("event")], None)
    queue.follow(own=["state"], gone=[], pictures=[])
    assert [topic for topic, _ in sent_ids(queue)] == ["event", "people/late"]


def test_the_topic_of_an_answer_that_expired_while_it_waited_is_cleared() -> None:
    queue = connected_queue()
    queue.add([stored("people", "people", b'{"late":false}', expires_s=-1)], None)
    assert sent_ids(queue) == [("people", b'{"late":true}')]
    queue.expire()
    assert sent_ids(queue) == [("people", b"")]
