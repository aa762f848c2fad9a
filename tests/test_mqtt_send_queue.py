"""Which message is next: before `online`, after it, after an outage, and when the box leaves the broker."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping

import pytest
from support.broker import until

from edged.core.errors import MessageUnreadable, StoreUnreadable
from edged.core.memory_store import MemoryStore
from edged.core.types import StoredMessage
from edged.mqtt import outbox, send_queue, stored_payloads
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


def test_what_was_refused_for_now_when_the_connection_ended_is_late_after_a_newer_message() -> None:
    queue = connected_queue()
    queue.add([answer("people"), answer("people")], None)
    assert sent_ids(queue, "na") == [("people", b'{"late":false}')] * 2
    queue.lost()
    queue.connected()
    assert ("people/late", b'{"late":true}') in sent_ids(queue)


def test_what_was_refused_for_now_at_a_reload_is_late_after_a_newer_message() -> None:
    before, after = connected_queue(), connected_queue()
    before.add([answer("people"), answer("people")], None)
    assert sent_ids(before, "na") == [("people", b'{"late":false}')] * 2
    after.adopt(before.release(), {"people"})
    assert sent_ids(after) == [("people/late", b'{"late":true}')]


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
    assert sent_ids(queue) == [("people/late", b'{"late":false}')]


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


class SlowToMark(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.marked = False

    def mark_late(self, payloads: Mapping[int, bytes]) -> bool:
        return self.marked


def test_what_has_to_be_marked_waits_for_a_slow_store_and_the_rest_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash, the store would give it again unmarked: two contents under one id."""
    monkeypatch.setattr(send_queue, "MARK_AGAIN_S", 0.05)
    store = SlowToMark()
    queue = SendQueue(ONLINE, store)
    queue.add([answer("people")], None, True)
    queue.online()
    queue.mark_late()
    queue.connected()
    queue.keep(state("info"))
    assert send_all(queue) == ["info"]
    store.marked = True
    sent: list[tuple[str, bytes]] = []

    def is_sent() -> bool:
        sent.extend(sent_ids(queue))
        return len(sent) == 2

    until(is_sent)
    assert sent == [("people", b'{"late":true}'), ("state", ONLINE.payload)]


# What is on disk only


class Disk(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.payloads: dict[int, bytes] = {}
        self.readable = False
        self.bad: set[int] = set()  # messages that cannot be read although others can
        self.reads = 0

    def payload(self, number: int) -> bytes | None:
        self.reads += 1
        if not self.readable:
            raise StoreUnreadable("disk I/O error")
        if number in self.bad:
            raise MessageUnreadable("disk I/O error")
        return self.payloads.get(number)


def on_disk(monkeypatch: pytest.MonkeyPatch, *topics: str) -> tuple[SendQueue, Disk]:
    """A queue with late answers and events. Of the last two, payloads are in memory, and on disk for all."""
    monkeypatch.setattr(outbox, "IN_MEMORY", 2)
    monkeypatch.setattr(stored_payloads, "READ_AGAIN_S", 0.1)
    disk = Disk()
    queue = SendQueue(ONLINE, disk)
    queue.online()
    for number, topic in enumerate(topics, 1):
        payload, question = b'{"id":%d,"late":true}' % number, None if topic == "event" else topic
        disk.payloads[number] = payload
        now = time.monotonic()
        queue.add([StoredMessage(number, topic, "dock", question, payload, 21, now, now + 60, late=True)], None, True)
    queue.mark_late()
    queue.connected()
    return queue, disk


def test_while_the_store_cannot_be_read_nothing_is_dropped_and_states_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue, disk = on_disk(monkeypatch, *["people"] * 4, "event", "gate", "people", "event")
    assert send_all(queue) == []  # the newest answer of `gate` is on disk, and comes first
    queue.keep(state("info"))
    assert send_all(queue) == ["info"]
    assert (queue.figures(0).waiting, queue.figures(0).dropped) == (8, 0)
    disk.readable = True
    sent: list[str] = []

    def all_sent() -> bool:
        sent.extend(send_all(queue))
        return queue.drained

    until(all_sent)
    assert sent[:3] == ["gate", "people", "state"]
    assert [sent.count(topic) for topic in ("people/late", "people", "gate", "event")] == [4, 1, 1, 2]
    assert queue.newly_dropped() == (0, 0)


def test_a_store_that_cannot_be_read_is_tried_once_a_second_however_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, disk = on_disk(monkeypatch, *["people"] * 50)
    monkeypatch.setattr(stored_payloads, "READ_AGAIN_S", 60.0)
    assert send_all(queue) == ["people", "state"]
    assert send_all(queue) == []
    assert disk.reads == 1


def found_answers(disk: Disk, *topics: str) -> list[StoredMessage]:
    """The newest answers of an earlier process, which the broker has acknowledged."""
    now, found = time.monotonic(), []
    for topic in topics:
        number = -len(disk.payloads)
        disk.payloads[number] = topic.encode()
        found.append(StoredMessage(number, topic, "dock", topic, None, 9, now, now + 60, late=False, waiting=False))
    return found


def test_online_waits_a_minute_at_most_for_answers_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_queue, "HELD_BACK_S", 0.0)
    queue, _ = on_disk(monkeypatch, "gate", "people", "event")
    assert send_all(queue) == ["state"]
    assert queue.figures(0).waiting == 3


def test_one_failed_read_is_enough_to_know_that_no_found_answer_can_be_read_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored_payloads, "READ_AGAIN_S", 60.0)
    disk = Disk()
    queue = SendQueue(ONLINE, disk)
    queue.restore_found(found_answers(disk, "people", "gate"))
    for _ in range(3):
        queue.read_found()
    assert disk.reads == 1


def test_a_found_answer_that_is_read_after_a_newer_one_is_not_sent() -> None:
    disk = Disk()
    disk.readable = True
    queue = SendQueue(ONLINE, disk)
    queue.restore_found(found_answers(disk, "people", "gate"))
    queue.add([stored("people", "people", b'{"late":true}')], None)
    queue.read_found()
    queue.online()
    queue.connected()
    assert send_all(queue) == ["gate", "people", "state"]


def test_found_answers_that_could_not_be_read_are_for_the_successor() -> None:
    disk = Disk()
    queue, successor = SendQueue(ONLINE, disk), SendQueue(ONLINE, disk)
    queue.restore_found(found_answers(disk, "people"))
    queue.read_found()
    queue.hand_over(successor)
    queue.restore_found(found_answers(disk, "gate"))
    disk.readable = True
    successor.read_found()
    successor.online()
    successor.connected()
    assert send_all(successor) == ["people", "gate", "state"]


def test_an_event_waits_for_the_store_behind_an_older_one_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, _ = on_disk(monkeypatch, "event", "event", "people")
    assert send_all(queue) == ["people", "state"]


def test_what_cannot_be_read_for_long_is_dropped_and_does_not_stop_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored_payloads, "GIVE_UP_S", 0.0)
    queue, disk = on_disk(monkeypatch, "gate", "people", "event")
    disk.readable, disk.bad = True, {1}
    assert send_all(queue) == ["people", "state", "event"]
    assert (queue.newly_dropped(), queue.newly_dropped()) == ((0, 1), (0, 0))
    assert queue.finished() == [1, 2, 3]


def test_what_is_not_marked_late_and_cannot_be_read_for_long_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "IN_MEMORY", 0)
    monkeypatch.setattr(stored_payloads, "READ_AGAIN_S", 0.01)
    monkeypatch.setattr(stored_payloads, "GIVE_UP_S", 0.05)
    disk, bad = Disk(), answer("gate")
    disk.readable, disk.bad = True, {bad.number}
    queue = SendQueue(ONLINE, disk)
    queue.add([bad], None, on_disk=True)
    queue.mark_late()
    queue.online()
    queue.connected()

    def all_settled() -> bool:
        send_all(queue)
        return queue.drained

    until(all_settled)
    assert queue.newly_dropped() == (0, 1)


def test_messages_are_kept_however_long_the_whole_store_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_payloads, "GIVE_UP_S", 0.0)
    queue, disk = on_disk(monkeypatch, "gate", "people", "event")
    sent: list[str] = []

    def tried(reads: int) -> bool:
        sent.extend(send_all(queue))
        return disk.reads >= reads

    until(lambda: tried(5))
    assert queue.newly_dropped() == (0, 0)
    disk.readable = True
    until(lambda: tried(0) and queue.drained)
    assert sorted(sent) == ["event", "gate", "people", "state"]


def test_what_is_not_in_the_store_any_more_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, disk = on_disk(monkeypatch, "gate", "people", "event")
    disk.readable = True
    del disk.payloads[1]
    assert send_all(queue) == ["people", "state", "event"]
    assert queue.newly_dropped() == (0, 1)


def test_the_newest_answer_is_sent_again_at_the_next_connect_although_many_came_while_it_was_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue, _ = on_disk(monkeypatch, "gate")
    following = queue.next()
    assert following
    queue.sent(1, *following)
    for _ in range(3):
        queue.add([answer("people")], None, on_disk=True)
    queue.acknowledged(1, "accepted")
    queue.lost()
    queue.connected()
    following = queue.next()
    assert following
    assert (following[1].topic, following[1].payload) == ("gate", b'{"id":1,"late":true}')
