"""Messages that the broker does not accept: for now, for good, or because of their size."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.broker import HOST, Censor, Mosquitto, Received, Subscriber, an_answer, mosquitto, subscriber, until
from support.publishing import EVENT, ONLINE, PEOPLE, STATE, an_event, ids, logged, publishing, retained, settled

from edged.mqtt import acknowledgements
from edged.service.picture import scaled_down

GATE = "edged/box/dock/gate_open"
PICTURE = "edged/box/dock/image/jpeg"
UNSPECIFIED, QUOTA, NOT_AUTHORISED = 0x80, 0x97, 0x87


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements, "retry_pause_s", lambda tries: 0.05)


@contextmanager
def censored(port: int, verdict: Any) -> Iterator[Censor]:
    censor = Censor(port, verdict)
    try:
        yield censor
    finally:
        censor.close()


def test_what_is_refused_for_now_is_sent_again_in_order(
    mosquitto: Mosquitto, subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    full = True

    def verdict(topic: str) -> int | None:
        return QUOTA if full else None

    with censored(mosquitto.port, verdict) as censor, publishing(censor.port) as publisher:
        for number in range(60):
            publisher.answers([an_answer(f"a{number}")], [an_event(f"e{number}")], None)
        until(lambda: len(censor.seen) > 60)
        full = False
        settled(publisher)
        subscriber.wait_for(lambda messages: any(each.json == ONLINE for each in messages))
        assert publisher.figures().refused == 0
    subscriber.catch_up()
    received = [ids(subscriber.of(topic)) for topic in (f"{PEOPLE}/late", PEOPLE)]
    everything = [f"a{number}" for number in range(60)]
    assert sorted(received[0] + received[1]) == sorted(everything)
    assert received == [sorted(each, key=everything.index) for each in received]  # in order on each topic
    assert received[1][-1] == "a59"
    assert ids(subscriber.of(EVENT)) == [f"e{number}" for number in range(60)]
    refusals = [line for line in logged(caplog) if "refused" in line]
    assert len(refusals) == 1
    assert "temporarily refused" in refusals[0]
    assert [line for line in logged(caplog, "INFO") if "accepts all messages again" in line]


def test_an_older_answer_that_was_refused_for_now_goes_to_late_once_a_newer_one_was_accepted(
    mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    refused: list[str] = []

    def verdict(topic: str) -> int | None:
        if topic == PEOPLE and not refused:
            refused.append(topic)
            return QUOTA
        return None

    with censored(mosquitto.port, verdict) as censor, publishing(censor.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        publisher.answers([an_answer("old"), an_answer("new")], [], None)
        settled(publisher)
        subscriber.wait_for_topic(f"{PEOPLE}/late")
        assert ids(subscriber.of(PEOPLE)) == ["new"]
        [late] = subscriber.of(f"{PEOPLE}/late")
        assert (late.json["id"], late.json["late"]) == ("old", True)


def test_a_message_that_is_refused_again_and_again_does_not_stop_the_others(
    mosquitto: Mosquitto, subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    def verdict(topic: str) -> int | None:
        return UNSPECIFIED if topic == PEOPLE else None

    with censored(mosquitto.port, verdict) as censor, publishing(censor.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        publisher.answers([an_answer("p"), an_answer("g", question="gate_open")], [], None)
        subscriber.wait_for_topic(GATE)
        until(lambda: publisher.figures().refused == 1, 30)
        assert publisher.figures().waiting == 0
        assert censor.seen.count(PEOPLE) == acknowledgements.MOST_TRIES + 1
    assert f"topic {PEOPLE} refused: unspecified error" in logged(caplog)[-1]


def test_what_is_refused_for_good_is_dropped_and_logged_once(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    reasons = {PEOPLE: NOT_AUTHORISED, GATE: 0x99, EVENT: 0x90}
    with censored(mosquitto.port, reasons.get) as censor, publishing(censor.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        for number in range(3):
            look = [an_answer(f"p{number}"), an_answer(f"g{number}", question="gate_open")]
            publisher.answers(look, [an_event(f"e{number}")], None)
        until(lambda: publisher.figures().refused == 9)
        assert censor.seen.count(PEOPLE) == 3
    assert [line.partition(": ")[2] for line in logged(caplog)] == [
        f"topic {PEOPLE} refused: not authorised to publish; its messages are dropped (see `edged acl`)",
        f"topic {GATE} refused: the payload is not in the format that the broker expects",
        f"topic {EVENT} refused: the broker does not accept this topic name",
    ]


def test_a_corrected_acl_is_logged_without_a_reconnect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    acl = "topic readwrite edged/box/bridge/#\n"
    with Mosquitto(tmp_path, acl=acl) as broker, publishing(broker.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        publisher.answers([an_answer("p1")], [], None)
        until(lambda: publisher.figures().refused == 1)
        (tmp_path / "acl").write_text(f"{acl}topic readwrite edged/box/dock/#\n")
        broker.reload()
        until(lambda: "Reloading config" in broker.log())
        publisher.answers([an_answer("p2")], [], None)
        until(lambda: publisher.figures().published >= 2)
        assert publisher.figures().reconnects == 0
    [line] = [line for line in logged(caplog, "INFO") if "accepted again" in line]
    assert line == f"broker mqtt://{HOST}:{broker.port}: topic {PEOPLE} accepted again"


def noise(width: int, height: int) -> bytes:
    """A JPEG that hardly compresses."""
    pixels = random.Random(1).randbytes(width * height * 3)
    data = io.BytesIO()
    Image.frombytes("RGB", (width, height), pixels).save(data, "JPEG", quality=90)
    return data.getvalue()


def test_a_picture_is_scaled_down_to_the_packet_size_of_the_broker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    jpeg = noise(640, 480)
    limit = 60_000
    assert len(jpeg) > 3 * limit
    with Mosquitto(tmp_path, more=f"max_packet_size {limit}") as broker:
        with publishing(broker.port, scale_down=scaled_down) as publisher:
            for name in ("a", "b"):
                publisher.answers([an_answer(name)], [], jpeg)
            settled(publisher)
            until(lambda: publisher.figures().published >= 4)
            assert publisher.figures().refused == 0
        listening = Subscriber(broker.port)
        [message] = listening.of(PICTURE)
        listening.close()
    with Image.open(io.BytesIO(message.payload)) as image:
        assert image.width / image.height == pytest.approx(640 / 480, abs=0.05)
        assert 100 < image.width < 640
    assert limit / 3 < len(message.payload) < limit
    assert len([line for line in logged(caplog, "INFO") if "scaled down" in line]) == 1
    assert logged(caplog) == []


@pytest.mark.slow
def test_a_message_that_ends_the_connection_again_and_again_is_dropped_and_nothing_else_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Mosquitto(tmp_path, more="message_size_limit 2000") as broker, publishing(broker.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        subscriber = Subscriber(broker.port)
        large = replace(an_answer("large"), text="x" * 5000)
        publisher.answers([large, an_answer("g1", question="gate_open")], [an_event("e1")], None)
        publisher.answers([an_answer("p2")], [an_event("e2")], None)
        settled(publisher)
        assert publisher.figures().refused == 1
        subscriber.catch_up()
        assert set(ids(subscriber.of(PEOPLE))) == {"p2"}
        assert set(ids(subscriber.of(GATE))) == {"g1"}
        assert list(dict.fromkeys(ids(subscriber.of(EVENT)))) == ["e1", "e2"]
        subscriber.close()
    refused = [line for line in logged(caplog) if "refused" in line]
    assert len(refused) == 1
    assert re.search(
        rf"topic {PEOPLE} refused: the connection ended 3 times in a row with a message of \d+ bytes", refused[0]
    )


@pytest.mark.slow
def test_a_picture_that_ends_the_connection_to_a_broker_without_an_announced_limit_comes_back_smaller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jpeg = noise(320, 240)
    with (
        Mosquitto(tmp_path, more=f"message_size_limit {int(len(jpeg) * 0.8)}") as broker,
        publishing(broker.port, scale_down=scaled_down) as publisher,
    ):
        until(lambda: publisher.figures().published >= 1)
        publisher.answers([an_answer("a")], [], jpeg)
        until(lambda: PICTURE in retained(broker.port))
        settled(publisher)
    assert logged(caplog) == [
        f"broker mqtt://{HOST}:{broker.port}: connection ended: invalid packet from the broker; retrying"
    ]


def test_a_picture_that_cannot_be_small_enough_is_not_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with (
        Mosquitto(tmp_path, more="max_packet_size 700") as broker,
        publishing(broker.port, scale_down=scaled_down) as publisher,
    ):
        for name in ("a", "b"):
            publisher.answers([an_answer(name)], [], noise(320, 240))
        settled(publisher)
        until(lambda: publisher.figures().refused >= 1)
        assert PICTURE not in retained(broker.port)
    [line] = [line for line in logged(caplog, "INFO") if "limit" in line]
    assert re.search(r"pictures are not published; they exceed its limit of \d+ bytes", line)


def test_a_jpeg_is_scaled_down_to_the_limit_if_that_is_possible() -> None:
    jpeg = noise(640, 480)
    scaled = scaled_down(jpeg, 50_000)
    assert scaled is not None
    assert 10_000 < len(scaled) <= 50_000
    assert scaled_down(jpeg, 300) is None
