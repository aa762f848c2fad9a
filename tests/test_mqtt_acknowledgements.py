"""The broker's acknowledgements, and messages with which it ends the connection instead of giving one."""

from __future__ import annotations

import re

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from support.publishing import logged

from edged.mqtt import acknowledgements, refused_topics, suspects
from edged.mqtt.acknowledgements import Acknowledgements
from edged.mqtt.broker_limits import WINDOW, BrokerLimits
from edged.mqtt.failure import LOST, Failure, FailureKind
from edged.mqtt.refused_topics import RefusedTopics
from edged.mqtt.suspects import ENDS_LIMIT, LOST_LIMIT, Suspects
from edged.mqtt.topics import Message

BAD = Message("a/bad", b"x" * 100)
GOOD = [Message(f"a/good{number}", b"x") for number in range(3)]
FOR_NOW = 0x97


class Broker:
    """Ends the connection at BAD; accepts everything else, in order, unless it is `refusing`."""

    def __init__(self, failure: Failure = LOST) -> None:
        self.refused = refused = RefusedTopics("mqtt://broker")
        self.suspects = Suspects(refused)
        self.acknowledgements = Acknowledgements("mqtt://broker", refused, self.suspects)
        self.limits = BrokerLimits(self.acknowledgements, self.suspects, refused)
        self.failure = failure
        self.delivered: list[str] = []

    def connection(self, messages: list[Message]) -> bool:
        """One connection in which these are sent, as far as it lasts. True if it did not end."""
        self.suspects.connected()
        waiting = [message for message in messages if self.limits.fits(message)]
        while waiting:
            window, waiting = waiting[: self.limits.window], waiting[self.limits.window :]
            for mid, message in enumerate(window):
                self.acknowledgements.expect(mid, message)
            for mid, message in enumerate(window):
                if message.topic == BAD.topic:
                    self.acknowledgements.connection_lost(self.failure)
                    return False
                self.answer(mid)
                self.delivered.append(message.topic)
        return True

    def answer(self, mid: int, code: int = 0) -> None:
        self.acknowledgements.received(mid, ReasonCode(PacketTypes.PUBACK, identifier=code))


def ends(broker: Broker, messages: list[Message], at_most: int = 20) -> int:
    """How many connections end before one lasts."""
    return next(number for number in range(at_most) if broker.connection(messages))


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("protocol", ENDS_LIMIT), ("too_large", ENDS_LIMIT), ("rejected", ENDS_LIMIT), ("lost", LOST_LIMIT)],
)
def test_the_message_that_ends_every_connection_is_blocked_and_no_other(
    kind: FailureKind, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Broker(Failure(kind, "ended"))
    assert ends(broker, [GOOD[0], BAD, *GOOD[1:]]) == limit
    assert broker.delivered[-3:] == ["a/good0", "a/good1", "a/good2"]
    assert broker.limits.window == WINDOW
    assert logged(caplog) == [
        f"broker mqtt://broker: topic a/bad refused: the connection ended {limit} times in a row with a message of"
        " 100 bytes"
    ]


def test_smaller_messages_of_the_topic_are_sent_unless_the_broker_rejected_the_topic() -> None:
    for kind, smaller_fits in (("protocol", True), ("rejected", False)):
        broker = Broker(Failure(kind, "ended"))  # type: ignore[arg-type]  # two of the kinds
        ends(broker, [BAD])
        assert broker.limits.fits(Message("a/bad", b"x" * 99)) is smaller_fits
        assert not broker.limits.fits(Message("a/bad", b"x" * 101))


def test_a_blocked_topic_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "BLOCKED_S", 0.0)
    broker = Broker(Failure("protocol", "ended"))
    with pytest.raises(StopIteration):
        ends(broker, [BAD])
    assert broker.limits.fits(BAD)


def test_a_connection_that_breaks_at_any_message_blocks_none(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    for number in range(100):
        broker.suspects.connected()
        for mid in range(number % 3 + 1):
            broker.acknowledgements.expect(mid, GOOD[mid])
        for mid in range(number % 3):
            broker.answer(mid)
        broker.acknowledgements.connection_lost(LOST)
    assert logged(caplog) == []


def test_a_broker_that_accepts_nothing_blames_no_message(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    for _ in range(100):
        broker.suspects.connected()
        broker.acknowledgements.expect(1, GOOD[0])
        broker.acknowledgements.connection_lost(LOST)
    assert logged(caplog) == []
    assert broker.limits.window == WINDOW


def test_messages_are_not_sent_one_by_one_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(Failure("protocol", "ended"))
    broker.connection([BAD])
    broker.suspects.connected()
    assert broker.limits.window == 1
    monkeypatch.setattr(suspects, "CAREFUL_S", 0.0)
    broker.suspects.connected()
    assert broker.limits.window == WINDOW


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(0x80, "not_now"), (0x83, "not_now"), (0x97, "not_now"), (0x87, "refused"), (0x00, "accepted")],
)
def test_some_reasons_are_temporary(code: int, outcome: str) -> None:
    broker = Broker()
    broker.acknowledgements.expect(1, GOOD[0])
    assert broker.acknowledgements.received(1, ReasonCode(PacketTypes.PUBACK, identifier=code)) == outcome


def test_what_was_refused_for_now_and_is_not_sent_any_more_does_not_slow_the_others_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    broker = Broker()
    broker.acknowledgements.expect(1, BAD)
    broker.answer(1, FOR_NOW)
    broker.acknowledgements.connection_lost(LOST)  # and then a newer message has taken its place
    assert broker.limits.window == 1
    assert broker.connection(GOOD * acknowledgements.OVER_AFTER)
    assert broker.limits.window == WINDOW
    assert logged(caplog, "INFO") == ["broker mqtt://broker: accepts all messages again"]


def outcome(broker: Broker, message: Message, code: int) -> str:
    broker.acknowledgements.expect(1, message)
    return broker.acknowledgements.received(1, ReasonCode(PacketTypes.PUBACK, identifier=code))


def given_up(monkeypatch: pytest.MonkeyPatch, message: Message = BAD) -> Broker:
    """A broker that has refused a topic for now, again and again, while it accepted others."""
    monkeypatch.setattr(acknowledgements, "retry_pause_s", lambda tries: 0.0)
    broker = Broker()
    give_up(broker, message)
    return broker


def give_up(broker: Broker, message: Message = BAD) -> None:
    outcomes = [outcome(broker, message, FOR_NOW)]
    outcome(broker, GOOD[0], 0)
    outcomes += [outcome(broker, message, FOR_NOW) for _ in range(acknowledgements.MOST_TRIES)]
    assert outcomes == ["not_now"] * acknowledgements.MOST_TRIES + ["refused"]


def test_later_messages_of_a_topic_that_is_always_refused_get_one_try_and_do_not_delay_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broker = given_up(monkeypatch)
    for _ in range(20):
        assert outcome(broker, BAD, FOR_NOW) == "refused"
        assert (broker.limits.window, broker.acknowledgements.pause_s) == (WINDOW, 0.0)
        outcome(broker, GOOD[0], 0)
    assert logged(caplog) == [
        "broker mqtt://broker: topic a/bad temporarily refused: quota exceeded; retrying",
        "broker mqtt://broker: topic a/bad refused: quota exceeded",
    ]
    assert logged(caplog, "INFO") == []
    assert outcome(broker, BAD, 0) == "accepted"
    assert logged(caplog, "INFO") == ["broker mqtt://broker: topic a/bad accepted again"]
    assert outcome(broker, BAD, FOR_NOW) == "not_now"


def test_each_time_a_topic_is_given_up_is_logged_and_so_is_each_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broker = given_up(monkeypatch)
    assert outcome(broker, BAD, 0) == "accepted"
    give_up(broker)
    assert outcome(broker, BAD, 0) == "accepted"
    shown = "broker mqtt://broker: topic a/bad"
    texts = [record.getMessage() for record in caplog.records if record.getMessage().startswith(shown)]
    begin, end = f"{shown} refused: quota exceeded", f"{shown} accepted again"
    assert [text for text in texts if "temporarily" not in text] == [begin, end] * 2


NOT_AUTHORISED, ACCEPTED = 0x87, 0
REFUSED = "broker mqtt://broker: topic a/bad refused: not authorised to publish"
AGAIN = "broker mqtt://broker: topic a/bad accepted again"


def test_the_end_of_a_refusal_is_logged_and_so_is_the_next_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    broker = Broker()
    for code in (NOT_AUTHORISED, NOT_AUTHORISED, ACCEPTED, ACCEPTED, NOT_AUTHORISED, ACCEPTED):
        outcome(broker, BAD, code)
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [REFUSED, AGAIN] * 2


def test_only_a_message_as_large_as_the_refused_one_shows_that_a_limit_of_size_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    broker = Broker()
    broker.refused.by_size(BAD, 120, 110)
    outcome(broker, Message("a/bad", b"x"), ACCEPTED)
    assert logged(caplog, "INFO") == []
    outcome(broker, BAD, ACCEPTED)
    assert logged(caplog, "INFO") == [AGAIN]


def test_a_topic_that_is_accepted_again_makes_room_for_another_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refused_topics, "LOGGED_LIMIT", 2)
    broker = Broker()
    for message in GOOD:
        outcome(broker, message, NOT_AUTHORISED)
    outcome(broker, GOOD[0], ACCEPTED)
    outcome(broker, GOOD[2], NOT_AUTHORISED)
    assert [re.sub("(not authorised).*", r"\1", text.partition("broker: ")[2]) for text in logged(caplog)] == [
        "topic a/good0 refused: not authorised",
        "topic a/good1 refused: not authorised",
        "2 topics refused; further ones are not logged",
        "topic a/good2 refused: not authorised",
    ]


def test_the_topics_of_responses_make_room_without_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(refused_topics, "RESPONSES_LIMIT", 1)
    broker = Broker()
    for topic in ("a/first", "a/second"):
        response = Message(topic, b"x", is_response=True)
        for code in (NOT_AUTHORISED, ACCEPTED):
            outcome(broker, response, code)
    assert len([text for text in logged(caplog) if "further" not in text]) == 2
    assert logged(caplog, "INFO") == []


def test_no_end_is_logged_for_a_topic_that_was_not_logged_when_it_was_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refused_topics, "LOGGED_LIMIT", 0)
    caplog.set_level("INFO")
    assert outcome(given_up(monkeypatch), BAD, 0) == "accepted"
    assert not any("accepted again" in text for text in logged(caplog, "INFO"))


def test_while_the_broker_refuses_everything_for_now_messages_of_every_topic_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broker = given_up(monkeypatch)
    assert outcome(broker, GOOD[1], FOR_NOW) == "not_now"
    assert outcome(broker, BAD, FOR_NOW) == "not_now"
    assert outcome(broker, GOOD[1], 0) == "accepted"
    assert outcome(broker, BAD, FOR_NOW) == "refused"
    assert broker.limits.window == WINDOW
    outcome(broker, GOOD[1], FOR_NOW)
    outcome(broker, GOOD[1], 0)
    [end] = logged(caplog, "INFO")
    assert end == "broker mqtt://broker: accepts all messages again, except those of refused topics"


def test_topics_of_responses_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    response = Message("a/response", b"x", is_response=True)
    assert outcome(given_up(monkeypatch, response), response, FOR_NOW) == "not_now"
