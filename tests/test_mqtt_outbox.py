"""What waits for the broker: order, room, and what may be retained."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from edged.mqtt.outbox import Outbox, Pending, Retained, State
from edged.mqtt.topics import Message


def answer(topic: str, payload: bytes = b"{}") -> Pending:
    return Pending(topic, f"{topic}/late", payload, until=time.monotonic() + 60)


def event(payload: bytes = b"{}") -> Pending:
    return Pending("event", None, payload)


def filled(*waiting: Pending, limit: int = 100) -> Outbox:
    line = Outbox(limit)
    for one in waiting:
        line.add(one)
    return line


def everything(take: Callable[[], Pending | None]) -> list[Pending]:
    return list(iter(take, None))


def test_a_line_keeps_the_newest_of_each_question() -> None:
    line = filled(*map(answer, ("a", "b", "a", "a", "b", "b", "c")), limit=3)
    line.suffer_outage()
    assert (len(line), line.dropped) == (3, 4)
    assert {waiting.topic for waiting in everything(line.take_answer)} == {"a", "b", "c"}


def test_what_was_taken_and_not_sent_stays_behind_what_is_in_flight() -> None:
    answers = [answer("a") for _ in range(4)]
    line = filled(*answers)
    for _ in range(2):
        line.take_answer()
    for _ in range(2):  # the connection is gone, and nobody has told us yet
        taken = line.take_answer()
        assert taken is answers[2]
        line.put_back(taken)
    line.suffer_outage()
    assert line.take_answer() is answers[3]
    assert everything(line.take_overtaken) == answers[:3]


def test_an_event_follows_the_answers_of_its_look_and_waits_for_no_later_one() -> None:
    first, changed, second = answer("a"), event(), answer("a")
    line = filled(first, changed, second)
    assert line.take_event() is None
    assert line.take_answer() is first
    assert line.take_event() is changed


def test_a_retired_answer_is_not_retained_whether_it_waits_or_was_taken() -> None:
    taken, waits = answer("a"), answer("a")
    line = filled(taken, waits)
    line.take_answer()
    line.forget("a")
    line.put_back(taken)
    assert line.take_answer() is None
    assert everything(line.take_overtaken) == [taken, waits]
    assert not any(waiting.message().retain for waiting in (taken, waits))


def test_a_retired_answer_in_flight_is_not_retained_after_an_outage() -> None:
    in_flight = answer("a")
    line = filled(in_flight)
    line.take_answer()
    line.forget("a")
    line.suffer_outage()
    assert line.take_answer() is None
    assert line.take_overtaken() is in_flight


def test_an_acknowledged_answer_of_a_retired_question_does_not_stand() -> None:
    retired, new = answer("a"), answer("a")
    line = filled(retired)
    line.take_answer()
    line.forget("a")
    assert line.settle(retired) is False
    line.add(new)
    line.take_answer()
    assert line.settle(new) is True
    assert len(line) == 0


def test_release_gives_everything_oldest_first() -> None:
    overtaken, in_flight, changed, newest = answer("a"), answer("b"), event(), answer("a")
    line = filled(overtaken)
    line.suffer_outage()
    for one in (in_flight, changed, newest):
        line.add(one)
    assert line.take_answer() is in_flight
    assert line.release() == [overtaken, in_flight, changed, newest]
    assert (len(line), line.release()) == (0, [])


def test_what_was_released_while_it_was_in_hand_is_not_put_back() -> None:
    in_hand = answer("a")
    line = filled(in_hand)
    line.take_answer()
    assert line.release() == [in_hand]
    line.put_back(in_hand)
    assert len(line) == 0


def test_adopted_answers_are_late_and_go_before_what_waits() -> None:
    perhaps_arrived = answer("a", b'{"id":1,"late":false}')
    perhaps_arrived.sent = True
    old, changed = answer("a", b'{"id":2,"late":false}'), event(b'{"id":3}')
    new, later = answer("a", b'{"id":4,"late":false}'), event(b'{"id":5}')
    line = filled(new, later)
    line.adopt([perhaps_arrived, old, changed], lambda _: True)
    assert line.take_answer() is new
    assert everything(line.take_overtaken) == [perhaps_arrived, old]
    assert everything(line.take_event) == [changed, later]
    late = [json.loads(one.message().payload).get("late") for one in (perhaps_arrived, old, changed, new)]
    assert late == [False, True, None, False]


def test_the_newest_adopted_answer_is_retained() -> None:
    first, second = answer("a"), answer("a")
    line = filled()
    line.adopt([first, second], lambda _: True)
    assert line.take_answer() is second
    assert second.message().retain
    assert line.settle(second) is True


def test_an_adopted_answer_older_than_an_acknowledged_one_is_not_the_newest() -> None:
    first, second = answer("a"), answer("a")
    line = filled(first, second)
    line.take_answer()
    line.take_answer()
    line.settle(second)
    heir = Outbox()
    heir.adopt(line.release(), lambda _: True)
    assert heir.take_answer() is None
    assert heir.take_overtaken() is first


def test_adopted_answers_of_another_node_are_not_retained() -> None:
    foreign, own = answer("old/a"), answer("new/a")
    line = Outbox()
    line.adopt([foreign, own], lambda topic: topic.startswith("new/"))
    assert everything(line.take_answer) == [own]
    assert line.take_overtaken() is foreign
    assert foreign.message() == Message("old/a/late", b'{"late":true}')


def test_adoption_keeps_to_the_limit() -> None:
    line = filled(answer("a"), limit=3)
    left = [answer("a") for _ in range(5)]
    line.adopt(left, lambda _: True)
    assert (len(line), line.dropped) == (3, 3)
    line.take_answer()
    assert everything(line.take_overtaken) == left[3:]


def test_a_newer_state_takes_the_place_of_an_unsent_one() -> None:
    retained = Retained()
    states = [State(Message(topic, payload, retain=True)) for topic, payload in (("a", b"1"), ("b", b"2"), ("a", b"3"))]
    for state in states:
        retained.keep(state)
    assert retained.unsent == 2
    assert list(iter(retained.take, None)) == [states[2], states[1]]


def test_a_cleared_topic_is_forgotten_and_can_be_kept_again() -> None:
    retained = Retained()
    cleared, new = State(Message("a", b"", retain=True)), State(Message("a", b"1", retain=True))
    retained.keep(cleared)
    retained.take()
    retained.keep(new)
    retained.settle(cleared)  # acknowledged after the topic came back
    assert retained.take() is new
    retained.keep(cleared)
    retained.settle(cleared)
    retained.send_again()
    assert retained.take() is None
