"""Requests that arrive at a publisher, and their responses, with a real broker."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import json
import random
import re
import shlex
import threading
import time
from typing import Any

import pytest
from support.broker import Censor, Mosquitto, Subscriber, Wire, an_answer, until, wire
from support.publishing import logged, retained
from support.requesting import BRIDGE, Caller, Handler, calling, serving_requests
from test_config_requests import random_payload

from edged.core.payloads import answer_payload
from edged.core.requests import MOST_WAITING, AskRequest, InfoRequest, Response
from edged.mqtt import acknowledgements
from edged.mqtt.client import Incoming
from edged.mqtt.request_queue import MOST_RESPONSES, RequestQueue
from edged.mqtt.responses import too_large, why_refused
from edged.mqtt.topics import Topics

INFO = Response({"version": "0.1.0"})
OK = {"status": "ok", "transaction": None, "data": {"version": "0.1.0"}}


@pytest.mark.parametrize("version", [5, 3])
def test_a_response_is_on_the_topic_of_its_request(mosquitto: Mosquitto, version: int):
    handler = Handler(lambda _: INFO)
    with serving_requests(mosquitto, handler), calling(mosquitto.port, version=version) as caller:
        caller.send("info", {"transaction": 7})
        response = caller.response()
    assert response.topic == f"{BRIDGE}/response/info"
    assert response.json == {**OK, "transaction": 7}
    assert (response.retain, response.qos, response.correlation) == (False, 1, None)
    assert response.content_type == ("application/json" if version == 5 else None)
    assert [received.request for received in handler.received] == [InfoRequest()]
    assert handler.received[0].expires_at is None


def test_a_response_goes_to_the_response_topic_with_the_correlation_data(mosquitto: Mosquitto):
    with (
        serving_requests(mosquitto, Handler(lambda _: INFO)),
        calling(mosquitto.port, topics=("answers/#", f"{BRIDGE}/response/#")) as caller,
    ):
        caller.send("info", {}, ResponseTopic="answers/here", CorrelationData=b"\x00\xff")
        response = caller.response()
        assert (response.topic, response.correlation, response.json) == ("answers/here", b"\x00\xff", OK)
        caller.send("inf", {}, ResponseTopic="answers/here", CorrelationData=b"2")
        response = caller.response()
        assert (response.topic, response.correlation, response.json["status"]) == ("answers/here", b"2", "error")
        assert caller.arrived.empty()


def test_answers_in_a_response_are_as_they_are_published(mosquitto: Mosquitto):
    answers: dict[str, Any] = {"ask": an_answer("a\ud800"), "look": [an_answer("b"), an_answer("c", question="gate")]}
    handler = Handler(lambda request: Response(answers["ask" if isinstance(request, AskRequest) else "look"]))
    with (
        serving_requests(mosquitto, handler) as publisher,
        calling(mosquitto.port, topics=("edged/box/dock/+", f"{BRIDGE}/response/#")) as caller,
    ):
        publisher.answers([answers["ask"]], [], None)
        published = _on(caller, "edged/box/dock/people")
        asked = caller.call("ask", {"camera": "dock", "question": "people"})
        looked = caller.call("look", {"camera": "dock"})
        ad_hoc = caller.call("ask", {"camera": "dock", "prompt": "How many?"})
    assert asked == {"status": "ok", "transaction": None, "data": published.json}
    assert looked["data"] == [answer_payload(answer, "box", late=False) for answer in answers["look"]]
    assert ad_hoc["data"] == {**published.json, "question": None}


def _on(caller: Caller, topic: str) -> Any:
    while (arrived := caller.response()).topic != topic:
        pass
    return arrived


def test_a_transaction_that_utf_8_cannot_encode_is_returned_in_escapes(mosquitto: Mosquitto):
    with serving_requests(mosquitto, Handler(lambda _: INFO)), calling(mosquitto.port) as caller:
        assert caller.call("info", b'{"transaction": ["\\ud800", "\xc3\xa9"]}')["transaction"] == ["\ud800", "é"]


def test_a_response_that_is_no_json_becomes_an_error(mosquitto: Mosquitto):
    handler = Handler(lambda _: Response({"figure": float("nan")}))
    with serving_requests(mosquitto, handler), calling(mosquitto.port) as caller:
        response = caller.call("info", {"transaction": 1})
    assert (response["status"], response["transaction"]) == ("error", 1)
    assert "cannot be written as JSON" in response["error"]


def test_a_response_that_is_too_large_for_the_broker_becomes_an_error():
    desk = Desk()
    desk.queue.receive(Incoming(f"{BRIDGE}/request/info", b'{"transaction": [7]}', False, time.monotonic()))
    desk.handler.received[0].respond(Response({"text": "x" * 1000}))
    message = desk.queue.next()
    assert message is not None
    assert json.loads(too_large(message).payload) == {
        "status": "error",
        "transaction": [7],
        "error": "the response is larger than the broker accepts",
    }


def test_a_retained_request_is_refused_and_logged_once(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture):
    handler = Handler()
    with calling(mosquitto.port) as caller:
        caller.send("reload", {}, retain=True)
        caller.send("info", {"transaction": 7}, retain=True)
        with serving_requests(mosquitto, handler):
            refused = [caller.response().json for _ in range(2)]
    error = "retained requests are not carried out; publish them without the retain flag"
    assert sorted(refused, key=str) == [
        {"status": "error", "transaction": 7, "error": error},
        {"status": "error", "transaction": None, "error": error},
    ]
    assert handler.received == []
    [line] = [line for line in logged(caplog) if "retained request" in line]
    clear = r"; clear it: mosquitto_pub -r -n -t edged/box/bridge/request/\1"
    assert re.fullmatch(rf'broker mqtt://[\d.:]+: retained request "(reload|info)" refused{clear}', line)


def test_a_request_that_is_retained_while_edged_is_connected_is_refused_too(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
):
    handler = Handler(lambda _: INFO)
    with serving_requests(mosquitto, handler), calling(mosquitto.port) as caller:
        caller.send("info", b"", retain=True)  # clears what is retained, and is no request
        caller.send("active", {"camera": "dock", "active": False}, retain=True)
        assert "retained requests are not carried out" in caller.response().json["error"]
        assert caller.call("info", {}) == OK
    assert [received.request for received in handler.received] == [InfoRequest()]
    [line] = [line for line in logged(caplog) if "retained request" in line]
    assert 'retained request "active" refused; clear it: ' in line


def test_the_command_that_clears_a_retained_request_can_be_pasted_into_a_shell(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
):
    with serving_requests(mosquitto, Handler(lambda _: INFO)), calling(mosquitto.port) as caller:
        caller.send("$(reboot) 'x'", {}, retain=True)
        caller.response()
    [line] = [line for line in logged(caplog) if "retained request" in line]
    assert shlex.split(line.partition("clear it: ")[2])[-1] == "edged/box/bridge/request/$(reboot) 'x'"


def test_the_time_until_a_request_expires_is_handed_over(mosquitto: Mosquitto):
    handler = Handler(lambda _: INFO)
    with serving_requests(mosquitto, handler), calling(mosquitto.port) as caller:
        begun = time.monotonic()
        assert caller.call("info", {}, MessageExpiryInterval=30) == OK
    expires_at = handler.received[0].expires_at
    assert expires_at is not None
    assert 29 <= expires_at - begun <= 30 + time.monotonic() - begun


@pytest.mark.parametrize(
    ("topic", "refused"),
    [
        ("answers/here", False),
        ("/", False),
        (f"{BRIDGE}/response/ask", False),
        (f"{BRIDGE}/response/ask/of/mine", False),
        ("edged/box2/dock/people", False),
        ("", True),
        ("a/+", True),
        ("#", True),
        ("$SYS/x", True),
        ("a\nb", True),
        ("a\ufffe", True),
        ("x" * 1025, True),
        ("/" * 100, True),
        ("edged/box/", True),
        ("edged/box/dock/people", True),
        (f"{BRIDGE}/state", True),
        (f"{BRIDGE}/request/ask", True),
        (f"{BRIDGE}/responses", True),
    ],
)
def test_a_response_topic_must_not_be_one_of_edgeds_own(topic: str, refused: bool):
    assert (why_refused(topic, Topics("edged", "box")) is not None) == refused


def test_a_request_whose_response_topic_is_refused_is_not_carried_out(mosquitto: Mosquitto, subscriber: Subscriber):
    handler = Handler()
    state = f"{BRIDGE}/state"
    with serving_requests(mosquitto, handler), calling(mosquitto.port) as caller:
        response = caller.call("info", {"transaction": 7}, ResponseTopic=state)
        subscriber.catch_up()
        assert [message.json for message in subscriber.of(state)] == [{"state": "online"}]
    assert response == {
        "status": "error",
        "transaction": 7,
        "error": f'the response topic "{state}" is one of edged\'s own; use one below {BRIDGE}/response/',
    }
    assert handler.received == []


def test_the_ninth_request_that_waits_gets_an_error_at_once(mosquitto: Mosquitto):
    handler = Handler()
    with serving_requests(mosquitto, handler), calling(mosquitto.port) as caller:
        for number in range(MOST_WAITING + 1):
            caller.send("info", {"transaction": number})
        busy = caller.response().json
        assert busy["error"] == "8 requests are waiting already; try again later"
        assert busy["transaction"] == MOST_WAITING
        assert len(handler.received) == MOST_WAITING
        handler.received[3].respond(INFO)
        assert caller.response().json == {**OK, "transaction": 3}
        caller.send("info", {"transaction": "free again"})
        until(lambda: len(handler.received) == MOST_WAITING + 1)
        assert caller.arrived.empty()


def test_a_second_response_to_a_request_is_not_sent(mosquitto: Mosquitto):
    handler = Handler()
    with serving_requests(mosquitto, handler), calling(mosquitto.port) as caller:
        caller.send("info", {})
        until(lambda: handler.received)
        threads = [threading.Thread(target=handler.received[0].respond, args=(INFO,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert caller.response().json == OK
        assert caller.call("nothing", {})["status"] == "error"  # comes after all that were sent before
        assert caller.arrived.empty()


def test_a_response_is_dropped_without_a_connection_and_sent_once_there_is_one(mosquitto: Mosquitto, wire: Wire):
    handler = Handler()
    with serving_requests(mosquitto, handler, wire.port) as publisher, calling(mosquitto.port) as caller:
        for number in range(2):
            caller.send("info", {"transaction": number})
        until(lambda: len(handler.received) == 2)
        wire.cut()
        until(lambda: not publisher.figures().connected)
        handler.received[0].respond(INFO)
        wire.mend()
        until(lambda: publisher.figures().connected)
        handler.received[1].respond(INFO)
        assert caller.response().json["transaction"] == 1
        assert caller.arrived.empty()


def test_a_response_that_is_refused_for_now_is_sent_again(mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(acknowledgements, "retry_pause_s", lambda tries: 0.05)
    refusals = [0x97, 0x97]
    censor = Censor(mosquitto.port, lambda topic: refusals.pop() if refusals and "response" in topic else None)
    handler = Handler(lambda _: INFO)
    with serving_requests(mosquitto, handler, censor.port), calling(mosquitto.port) as caller:
        assert caller.call("info", {"transaction": 7}) == {**OK, "transaction": 7}
        assert refusals == []
        assert caller.call("info", {"transaction": 8}) == {**OK, "transaction": 8}
    censor.close()


def test_a_request_is_carried_out_once_after_a_reconnect(mosquitto: Mosquitto, wire: Wire):
    handler = Handler()
    with serving_requests(mosquitto, handler, wire.port) as publisher, calling(mosquitto.port) as caller:
        wire.deaf.set()  # the broker's messages do not arrive, so they are not acknowledged
        caller.send("info", {"transaction": 1})
        wire.cut()
        until(lambda: not publisher.figures().connected)
        caller.send("info", {"transaction": 2})
        granted = mosquitto.log().count("Sending SUBACK to edged-box")
        wire.mend()
        until(lambda: mosquitto.log().count("Sending SUBACK to edged-box") > granted)
        caller.send("info", {"transaction": 3})
        until(lambda: handler.received)
        handler.received[0].respond(INFO)
        assert caller.response().json["transaction"] == 3
        assert len(handler.received) == 1


class Desk:
    """A queue of requests without a connection to a broker."""

    def __init__(self) -> None:
        self.handler = Handler()
        self.queue = RequestQueue(Topics("edged", "box"), "mqtt://broker", self.handler, lambda: None)
        self.queue.connected()

    def error(self, incoming: Incoming) -> str:
        self.queue.receive(incoming)
        message = self.queue.next()
        assert message is not None
        return str(json.loads(message.payload)["error"])


def test_a_request_that_has_expired_is_refused():
    desk = Desk()
    long_ago = time.monotonic() - 10
    assert desk.error(Incoming(f"{BRIDGE}/request/info", b"{}", False, long_ago, expires_s=9)) == (
        "the request has expired"
    )
    assert desk.handler.received == []
    desk.queue.receive(Incoming(f"{BRIDGE}/request/info", b"{}", False, long_ago, expires_s=60))
    assert [received.expires_at for received in desk.handler.received] == [long_ago + 60]


def test_a_request_whose_response_could_have_no_topic_is_ignored(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
):
    handler = Handler(lambda _: INFO)
    with serving_requests(mosquitto, handler), calling(mosquitto.port) as caller:
        caller.send("x" * (65535 - len(f"{BRIDGE}/request/")), {})
        assert caller.call("info", {}) == OK
    assert logged(caplog, "ERROR") == []


def test_a_response_is_sent_by_the_last_of_several_successors():
    first, second, third = Desk(), Desk(), Desk()
    first.queue.receive(Incoming(f"{BRIDGE}/request/info", b"{}", False, time.monotonic()))
    first.queue.hand_over(second.queue)
    second.queue.hand_over(third.queue)
    first.handler.received[0].respond(INFO)
    assert (first.queue.next(), second.queue.next()) == (None, None)
    assert third.queue.next() is not None


def test_requests_are_refused_while_edged_stops():
    desk = Desk()
    desk.queue.closing()
    assert desk.error(Incoming(f"{BRIDGE}/request/info", b"{}", False, time.monotonic())) == "edged is stopping"
    assert desk.handler.received == []


def test_responses_that_cannot_be_sent_do_not_fill_the_memory():
    desk = Desk()
    for _ in range(MOST_RESPONSES + 10):
        desk.queue.receive(Incoming(f"{BRIDGE}/request/nothing", b"{}", False, time.monotonic()))
    waiting = 0
    while desk.queue.next():
        waiting += 1
    assert waiting == MOST_RESPONSES


def test_a_response_to_a_request_is_sent_before_the_connection_is_closed(mosquitto: Mosquitto):
    handler = Handler()
    with calling(mosquitto.port) as caller:
        with serving_requests(mosquitto, handler):
            caller.send("info", {})
            until(lambda: handler.received)
            handler.received[0].respond(Response(error="edged is stopping"))
        assert caller.response().json["error"] == "edged is stopping"


def test_random_requests_through_the_broker_change_nothing(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture):
    chance = random.Random(8)
    handler = Handler(lambda _: INFO)
    topics = ["ask", "look", "active", "reload", "info", "", "x", "é", "a b", "$state", "%2e", "x" * 300]
    answers_to = [None, "answers/here", "edged/box/dock/people", f"{BRIDGE}/state", "/", "a" * 2000, "/" * 180]
    with (
        serving_requests(mosquitto, handler) as publisher,
        calling(mosquitto.port, topics=("answers/#", f"{BRIDGE}/response/#", "//#")) as caller,
    ):
        before = retained(mosquitto.port)
        for number in range(300):
            properties: dict[str, Any] = {"CorrelationData": chance.randbytes(9)} if chance.random() < 0.3 else {}
            if topic := chance.choice(answers_to):
                properties["ResponseTopic"] = topic
            caller.send(chance.choice(topics), random_payload(chance), **properties)
            if number % 30 == 29:  # fewer than may wait at edged
                until(lambda: caller.arrived.qsize() > number, 30)  # noqa: B023  # called before the next one
        assert retained(mosquitto.port) == before
        assert publisher.figures().reconnects == 0
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


def test_answers_go_on_while_requests_flood_in(mosquitto: Mosquitto, subscriber: Subscriber):
    handler = Handler(lambda _: INFO)
    stop = threading.Event()
    with serving_requests(mosquitto, handler) as publisher, calling(mosquitto.port, topics=()) as caller:

        def flood() -> None:
            while not stop.is_set():
                caller.send("info", b"{}")

        flooding = [threading.Thread(target=flood) for _ in range(2)]
        for thread in flooding:
            thread.start()
        for number in range(20):
            publisher.answers([an_answer(f"a{number}")], [], None)
        subscriber.wait_for_topic("edged/box/dock/people", 20)
        until(lambda: time.monotonic() - publisher.moved_at < 2)
        stop.set()
        for thread in flooding:
            thread.join(10)
