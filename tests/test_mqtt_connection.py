"""The connection: log lines, login, TLS, protocol versions, and brokers that misbehave."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import errno
import gc
import logging
import re
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import MQTTErrorCode
from support.broker import (
    CONNACK_V5,
    CONNACK_V311,
    HOST,
    Mosquitto,
    Subscriber,
    Wire,
    an_answer,
    free_port,
    protocol_level,
    scripted_broker,
    tls,
    until,
    wire,
)
from support.publishing import (
    PEOPLE,
    an_event,
    disconnected,
    logged,
    publishing,
)

from edged.core.errors import EXIT_CONFIG, FileUnusable
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec
from edged.mqtt import connection as connection_module
from edged.mqtt.back_off import ShortConnections
from edged.mqtt.client import V5, ClientEvent, Connack, ConnectFailed, Incoming, PahoClient, Puback
from edged.mqtt.connection import Connection
from edged.mqtt.follower import Follower
from edged.mqtt.publisher import MqttPublisher
from edged.mqtt.refused_topics import RefusedTopics
from edged.mqtt.topics import Message


@pytest.fixture(autouse=True)
def capture_every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


class IgnoringListener:
    """A listener that does nothing."""

    def on_connected(self) -> None: ...

    def on_lost(self) -> None: ...

    def on_acknowledged(self, mid: int, outcome: str) -> None: ...

    def on_message(self, incoming: Incoming) -> None: ...

    def on_rivals_gone(self) -> None: ...


def processed_until(connection: Connection, condition: Callable[[], Any], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        connection.process_events(0.05)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EMFILE, "too many open files"), RuntimeError("can't start new thread")],
    ids=["file", "thread"],
)
def test_without_descriptors_or_threads_for_a_client_it_tries_again(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    failing = [error, error]

    class Starved(PahoClient):
        def loop_start(self) -> MQTTErrorCode:
            if failing:
                raise failing.pop()
            return super().loop_start()

    connection = Connection(BrokerSpec(host=HOST, port=mosquitto.port), "box", IgnoringListener(), Starved)
    connection.start()
    assert connection.tried
    processed_until(connection, lambda: connection.connected)
    shown = f"broker mqtt://{HOST}:{mosquitto.port}"
    words = error.strerror if isinstance(error, OSError) else error
    assert logged(caplog) == [f"{shown}: {words}; retrying"]
    assert re.fullmatch(rf"{shown}: connected after .* s \(3 tries\)", logged(caplog, "INFO")[-1])
    connection.close(time.monotonic() + 5)


@pytest.mark.parametrize("starved", [("paho-", "edged-mqtt-stop"), ("paho-",)], ids=["any thread", "paho's only"])
def test_while_no_thread_can_be_started_it_tries_again(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, starved: tuple[str, ...]
) -> None:
    start, failures = threading.Thread.start, [RuntimeError("can't start new thread") for _ in starved * 2]

    def start_unless_starved(thread: threading.Thread) -> None:
        if thread.name.startswith(starved) and failures:
            raise failures.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_unless_starved)
    connection = Connection(BrokerSpec(host=HOST, port=mosquitto.port), "box", IgnoringListener())
    connection.start()
    processed_until(connection, lambda: connection.connected)
    assert (failures, len(logged(caplog))) == ([], 1)
    failures.append(RuntimeError("can't start new thread"))
    connection.close(time.monotonic() + 5)
    assert bool(failures) == ("edged-mqtt-stop" not in starved)
    until(lambda: not any(thread.name.startswith("paho-mqtt-client-edged-box") for thread in threading.enumerate()))


# Log lines, login and TLS


def test_a_thread_of_paho_that_ends_just_when_it_is_stopped_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sets its own attribute to None, after loop_stop has seen that there is a thread."""
    client = PahoClient(BrokerSpec(host=HOST, port=1), "box", V5, None, lambda event: None)
    client._thread = threading.Thread()

    def current_thread() -> threading.Thread:
        client._thread = None
        return threading.current_thread()

    monkeypatch.setattr(mqtt, "threading", SimpleNamespace(current_thread=current_thread))
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    client.abandon(10.0)
    assert not failed


@pytest.mark.slow
def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_is_over(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    broker = Mosquitto(tmp_path)
    shown = f"broker mqtt://{HOST}:{broker.port}:"
    with publishing(broker.port) as publisher:
        until(lambda: logged(caplog))
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + 1.2)  # the second try comes after a second
        with broker:
            until(lambda: publisher.figures().connected)
        disconnected(publisher)
        with broker:
            until(lambda: publisher.figures().connected)
            publisher.close()
    assert logged(caplog)[:2] == [f"{shown} connection refused; retrying", f"{shown} connection lost; retrying"]
    assert (
        logged(caplog).count(f"{shown} connection refused; retrying") <= 2
    )  # a second one belongs to the second outage
    first, second = logged(caplog, "INFO")
    assert re.fullmatch(re.escape(shown) + r" connected after [\d.]+ s \([23] tries\)", first)
    assert re.fullmatch(re.escape(shown) + r" back after [\d.]+ s \(\d (try|tries)\)", second)


def test_a_day_without_failures_is_one_log_line(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    with publishing(mosquitto.port) as publisher:
        publisher.answers([an_answer("a")], [an_event("e")], b"jpeg")
        until(lambda: publisher.figures().published >= 4)
    assert logged(caplog, "INFO") == [f"broker mqtt://{HOST}:{mosquitto.port}: connected"]
    assert logged(caplog) == []


def test_the_broker_counts_as_tried_once_the_first_attempt_has_an_outcome(mosquitto: Mosquitto) -> None:
    gone = BrokerSpec(HOST, free_port())
    for spec in (BrokerSpec(HOST, mosquitto.port), gone, replace(gone, problem="no password")):
        publisher = MqttPublisher(spec, "box")
        assert publisher.tried == (spec.problem is not None)
        publisher.start()
        until(lambda publisher=publisher: publisher.tried)  # type: ignore[misc]
        assert publisher.figures().connected == (spec.port == mosquitto.port)
        publisher.close()


def test_a_broker_that_accepts_and_says_nothing_counts_as_tried_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "CONNACK_S", 0.3)
    with scripted_broker(lambda _number, _connect: b"") as port:
        publisher = MqttPublisher(BrokerSpec(HOST, port), "box")
        publisher.start()
        assert not publisher.tried
        until(lambda: publisher.tried)
        publisher.close()


def test_a_wrong_password_is_logged_once_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        Mosquitto(tmp_path, users={"edged": "right-word"}) as broker,
        publishing(broker.port, username="edged", password=Secret("wrong-word")) as publisher,
    ):
        until(lambda: broker.log().count("not authorised") >= 2)
        assert publisher.figures().connected is False
        assert "wrong-word" not in repr(publisher.__dict__)
    shown = f"broker mqtt://{HOST}:{broker.port}:"
    assert logged(caplog) == [f"{shown} not authorised (wrong user or password); retrying"]
    assert "wrong-word" not in caplog.text


def test_the_right_password_is_accepted(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path, users={"edged": "right-word"}) as broker,
        publishing(broker.port, username="edged", password=Secret("right-word")) as publisher,
    ):
        until(lambda: publisher.figures().connected)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70])
def test_an_unresolvable_name_is_logged_once(host: str, caplog: pytest.LogCaptureFixture) -> None:
    with publishing(1883, host) as publisher:
        until(lambda: logged(caplog))
        begun = time.monotonic()
        publisher.close()
        assert time.monotonic() - begun < 1.0
    assert logged(caplog) == [f"broker mqtt://{host}:1883: name cannot be resolved; retrying"]


def test_tls_connects_with_the_right_ca(tmp_path: Path, tls: Path) -> None:
    with (
        Mosquitto(tmp_path, tls=tls) as broker,
        publishing(broker.port, "localhost", tls=True, ca=tls / "ca.crt") as publisher,
    ):
        publisher.answers([an_answer("a")], [], None)
        until(lambda: publisher.figures().published >= 2)
        assert publisher.close() is True


def test_a_certificate_of_an_unknown_ca_is_not_accepted(
    tmp_path: Path, tls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Mosquitto(tmp_path, tls=tls) as broker, publishing(broker.port, "localhost", tls=True):
        until(lambda: logged(caplog))
    shown = f"broker mqtts://localhost:{broker.port}:"
    reason = "certificate not accepted: unable to get local issuer certificate"
    assert logged(caplog) == [f"{shown} {reason}; retrying"]


def test_a_certificate_of_another_host_is_not_accepted(
    tmp_path: Path, tls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Mosquitto(tmp_path, tls=tls) as broker, publishing(broker.port, HOST, tls=True, ca=tls / "ca.crt"):
        until(lambda: logged(caplog))
    assert f"mqtts://{HOST}:{broker.port}: certificate not accepted: IP address mismatch" in logged(caplog)[0]


def test_a_port_without_tls_is_named_as_such(caplog: pytest.LogCaptureFixture) -> None:
    with scripted_broker(lambda *_: b"220 mail.example\r\n") as port, publishing(port, tls=True):
        until(lambda: logged(caplog))
    assert logged(caplog) == [f"broker mqtts://{HOST}:{port}: no TLS at this port; retrying"]


def damaged(tls: Path) -> bytes:
    lines = (tls / "ca.crt").read_bytes().splitlines()
    return b"\n".join([lines[0], b"AAAA" + lines[1][4:], *lines[2:]])


CA_FILES: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "missing": (lambda folder, _: folder / "missing.crt", "no such file or directory"),
    "a folder": (lambda folder, _: folder, "is a directory"),
    "unreadable": (lambda *_: Path("/proc/self/mem"), "input/output error"),  # for root too
    "empty": (lambda folder, _: written(folder / "empty.crt", b"\n"), "the file is empty"),
    "text": (lambda folder, _: written(folder / "a.crt", b"a"), "it contains no certificate in PEM format"),
    "a key": (lambda _, tls: tls / "server.key", "it contains no certificate in PEM format"),
    "damaged": (lambda folder, tls: written(folder / "b.crt", damaged(tls)), "damaged certificate (.*)"),
}


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", CA_FILES)
def test_an_unusable_ca_file_is_a_config_error(tmp_path: Path, tls: Path, name: str) -> None:
    make, reason = CA_FILES[name]
    ca = make(tmp_path, tls)
    spec = BrokerSpec(port=1, tls=True, ca=ca)
    publisher = MqttPublisher(spec, "box")
    for fails in (publisher.prepare, publisher.start, Follower(spec, None).start):
        with pytest.raises(FileUnusable, match=rf"^mqtt: ca file {re.escape(str(ca))} cannot be used: {reason}$") as it:
            fails()
        assert it.value.code == EXIT_CONFIG
    assert publisher.close() is False


def test_a_ca_file_is_read_once_and_before_connecting(tmp_path: Path, tls: Path) -> None:
    ca = written(tmp_path / "ca.crt", (tls / "ca.crt").read_bytes())
    with Mosquitto(tmp_path, tls=tls) as broker:
        publisher = MqttPublisher(BrokerSpec("localhost", broker.port, tls=True, ca=ca), "box")
        publisher.prepare()
        ca.unlink()
        publisher.start()
        publisher.online()
        until(lambda: publisher.figures().connected)
        assert publisher.close() is True


def test_a_refused_topic_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    acl = "topic readwrite edged/box/bridge/#\ntopic readwrite edged/box/dock/gate_open\n"
    with Mosquitto(tmp_path, acl=acl) as broker, publishing(broker.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        for number in range(3):
            publisher.answers([an_answer(f"p{number}"), an_answer(f"g{number}", question="gate_open")], [], None)
        until(lambda: publisher.figures().published >= 4)
        until(lambda: publisher.figures().refused == 3)
        assert publisher.figures().waiting == 0
    shown = f"broker mqtt://{HOST}:{broker.port}:"
    refused = "refused: not authorised to publish; its messages are dropped (see `edged acl`)"
    assert logged(caplog) == [f"{shown} topic {PEOPLE} {refused}"]


# Errors in callbacks, and brokers that misbehave


def test_an_error_in_a_callback_is_logged_and_survived(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    accepted, failed, acknowledged = threading.Event(), threading.Event(), threading.Event()

    def report(event: ClientEvent) -> None:
        if isinstance(event, Connack):
            accepted.set()
        if isinstance(event, Puback) and not failed.is_set():
            failed.set()
            raise RuntimeError("first acknowledgement")
        if isinstance(event, Puback):
            acknowledged.set()

    client = PahoClient(BrokerSpec(host=HOST, port=mosquitto.port), "box", V5, None, report)
    client.begin(60)
    assert accepted.wait(15)
    client.publish("a", b"1", 1)
    client.publish("a", b"2", 1)
    assert acknowledged.wait(15)
    client.abandon(2.0)
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == f"broker mqtt://{HOST}:{mosquitto.port}: unexpected error in the callback _on_puback"
    assert record.exc_info is not None


@pytest.mark.slow
def test_a_dead_network_thread_is_replaced(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    clients: list[PahoClient] = []

    class FirstDies(PahoClient):
        def reconnect(self) -> MQTTErrorCode:
            clients.append(self)
            if len(clients) == 1:
                raise RuntimeError("died")
            return super().reconnect()

    connection = Connection(BrokerSpec(host=HOST, port=mosquitto.port), "box", IgnoringListener(), FirstDies)
    connection.start()
    processed_until(connection, lambda: connection.connected)
    assert connection.close(time.monotonic() + 10) is True
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == f"broker mqtt://{HOST}:{mosquitto.port}: unexpected error in paho's network thread"


def test_a_broker_that_closes_on_mqtt_5_is_tried_with_3_1_1(caplog: pytest.LogCaptureFixture) -> None:
    def answers(_: int, connect: bytes) -> bytes | None:
        return None if protocol_level(connect) == 5 else CONNACK_V311

    with scripted_broker(answers) as port:
        connection = Connection(BrokerSpec(host=HOST, port=port), "box", IgnoringListener())
        connection.start()
        processed_until(connection, lambda: connection.connected)
        connection.close(0.0)
    assert logged(caplog, "INFO") == [
        f"broker mqtt://{HOST}:{port}: connected (MQTT 3.1.1: the broker does not remove expired answers)"
    ]


@pytest.mark.slow
def test_after_a_failure_in_3_1_1_mqtt_5_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    versions = []

    def answers(number: int, connect: bytes) -> bytes | None:
        versions.append(protocol_level(connect))
        return CONNACK_V5 if number == 2 else None

    with scripted_broker(answers) as port:
        connection = Connection(BrokerSpec(host=HOST, port=port), "box", IgnoringListener())
        connection.start()
        processed_until(connection, lambda: connection.connected)
        connection.close(0.0)
    assert versions == [5, 4, 5]
    assert f"broker mqtt://{HOST}:{port}: connection closed before CONNACK; retrying" in logged(caplog)


def test_a_broker_that_has_spoken_mqtt_5_and_stalls_is_not_taken_for_an_old_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection_module, "CONNACK_S", 0.3)
    versions = []

    def answers(number: int, connect: bytes) -> bytes:
        versions.append(protocol_level(connect))
        ends = b"\xe0\x02\x8b\x00"  # DISCONNECT: server shutting down
        return [CONNACK_V5 + ends, b"", b"", CONNACK_V5][number]

    with scripted_broker(answers) as port:
        connection = Connection(BrokerSpec(host=HOST, port=port), "box", IgnoringListener())
        connection.start()
        processed_until(connection, lambda: connection.connections == 2)
        connection.close(0.0)
    assert versions == [5, 5, 5, 5]
    assert not [line for line in logged(caplog, "INFO") if "3.1.1" in line]


def test_a_message_without_its_acknowledgement_ends_the_connection_and_is_sent_again(
    wire: Wire, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection_module, "PUBACK_S", 1.0)
    with publishing(wire.port) as publisher:
        until(lambda: publisher.figures().published >= 1)
        wire.deaf.set()
        publisher.answers([an_answer("a")], [], None)
        subscriber.wait_for_topic("edged/box/dock/people")
        until(lambda: not publisher.figures().connected)
        wire.deaf.clear()
        until(lambda: publisher.figures().connected and publisher.figures().waiting == 0)
    subscriber.catch_up()
    assert [message.json["id"] for message in subscriber.of("edged/box/dock/people")] == ["a", "a"]
    shown = f"broker mqtt://{HOST}:{wire.port}:"
    assert logged(caplog) == [f"{shown} a message was not acknowledged within 1 s; retrying"]


def test_a_broker_that_flaps_is_tried_again_within_seconds() -> None:
    short = ShortConnections()
    for number in range(50):
        short.connected(float(number))
        short.lost(number + 0.1)
        assert short.pause_s <= 5.0


@pytest.mark.slow
def test_a_malformed_packet_does_not_end_the_connection_for_good() -> None:
    malformed = b"\x40\x01\x00"  # PUBACK with half a message id

    def answers(number: int, _: bytes) -> bytes:
        return CONNACK_V5 + malformed if number == 0 else CONNACK_V5

    with scripted_broker(answers) as port:
        connection = Connection(BrokerSpec(host=HOST, port=port), "box", IgnoringListener())
        connection.start()
        processed_until(connection, lambda: connection.connections == 2)
        assert connection.connected
        connection.close(0.0)


@pytest.mark.slow
def test_the_reason_of_a_disconnect_by_the_broker_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    disconnects = [b"\xe0\x02\x8e\x00", b"\xe0\x02\x8b\x00"]

    def answers(number: int, _: bytes) -> bytes:
        return CONNACK_V5 + (disconnects[number] if number < 2 else b"")

    with scripted_broker(answers) as port:
        connection = Connection(BrokerSpec(host=HOST, port=port), "box", IgnoringListener())
        connection.start()
        processed_until(connection, lambda: connection.connections == 3)
        connection.close(0.0)
    shown = f"broker mqtt://{HOST}:{port}:"
    assert logged(caplog)[:2] == [
        f'{shown} another client connected with the client id "edged-box"; each edged needs its own node and client id',
        f"{shown} disconnected by the broker: server shutting down; retrying",
    ]


def test_a_message_too_large_for_the_broker_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    connack = b"\x20\x08\x00\x00\x05\x27" + (1000).to_bytes(4, "big")  # maximum packet size
    with scripted_broker(lambda *_: connack) as port:
        connection = Connection(BrokerSpec(host=HOST, port=port), "box", IgnoringListener())
        connection.start()
        processed_until(connection, lambda: connection.connected)
        assert connection.limits.fits(Message("a/picture", b"x" * 900))
        assert not connection.limits.fits(Message("a/picture", b"x" * 2000))
        assert not connection.limits.fits(Message("a/picture", b"x" * 2001))
        connection.close(0.0)
    shown = f"broker mqtt://{HOST}:{port}:"
    refused = f"{shown} topic a/picture refused: 2040 bytes exceed the broker's maximum packet size of 1000"
    assert logged(caplog)[0] == refused
    assert sum("exceed" in text for text in logged(caplog)) == 1


def test_refused_topics_are_logged_by_name_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    connack = b"\x20\x08\x00\x00\x05\x27" + (1000).to_bytes(4, "big")  # maximum packet size
    with scripted_broker(lambda *_: connack) as port:
        connection = Connection(BrokerSpec(host=HOST, port=port), "box", IgnoringListener())
        connection.start()
        processed_until(connection, lambda: connection.connected)
        for number in range(150):
            assert not connection.limits.fits(Message(f"cam{number}/picture", b"x" * 2000))
        connection.close(0.0)
    refused = [text for text in logged(caplog) if "refused" in text]
    assert len(refused) == 101
    assert refused[-1] == f"broker mqtt://{HOST}:{port}: 100 topics refused; further ones are not logged"


def test_topics_of_responses_do_not_use_up_that_limit(caplog: pytest.LogCaptureFixture) -> None:
    refused = RefusedTopics("mqtt://broker")
    for number in range(150):
        refused.by_size(Message(f"answers/{number}", b"", is_response=True), 2000, 1000)
    refused.by_size(Message("cam/picture", b""), 2000, 1000)
    assert len(logged(caplog)) == 12
    assert logged(caplog)[10] == "broker mqtt://broker: 10 topics of responses refused; further ones are not logged"
    assert "topic cam/picture refused" in logged(caplog)[11]


def test_unprocessed_wakes_do_not_pile_up() -> None:
    connection = Connection(BrokerSpec(), "box", IgnoringListener())
    tracemalloc.start()
    try:
        for _ in range(50_000):
            connection.wake()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 100_000


@pytest.mark.slow
def test_two_clients_with_one_id_are_logged_once_and_not_at_every_disconnect(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    shown = f"broker mqtt://{HOST}:{mosquitto.port}:"
    expected = (
        f'{shown} connection lost within 5 s, 3 times in a row (another client with the client id "twin"?); retrying'
    )
    with publishing(mosquitto.port, client_id="twin"):
        with publishing(mosquitto.port, client_id="twin"):
            until(lambda: logged(caplog).count(expected) == 2, 40.0)
            count = len(caplog.records)
            wait = threading.Event()
            wait.wait(3)
            assert len(caplog.records) <= count + 1
        assert logged(caplog).count(expected) == 2


def test_the_wait_for_the_acknowledgement_of_offline_is_bounded(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    connection = Connection(BrokerSpec(host=HOST, port=wire.port), "box", IgnoringListener())
    connection.start()
    processed_until(connection, lambda: connection.connected)
    wire.deaf.set()
    begun = time.monotonic()
    assert connection.close(begun + 0.3) is False
    assert time.monotonic() - begun < 2.0
    assert logged(caplog) == [
        f'broker mqtt://{HOST}:{wire.port}: "offline" was not acknowledged; subscribers may not have received it'
    ]


@pytest.mark.parametrize("with_broker", [True, False])
def test_an_abandoned_client_is_freed_without_the_garbage_collector(mosquitto: Mosquitto, with_broker: bool) -> None:
    """It keeps two sockets, and the collector may not run for days."""
    spec = BrokerSpec(host=HOST, port=mosquitto.port if with_broker else free_port())
    tried = (Connack, ConnectFailed)
    events: SimpleQueue[ClientEvent] = SimpleQueue()
    gc.disable()
    try:
        client = PahoClient(spec, "edged-box", V5, None, events.put)
        abandoned = weakref.ref(client)
        client.begin(60)
        while not isinstance(events.get(timeout=15), tried):
            pass
        client.abandon(1.0)
        del client
        until(lambda: abandoned() is None)
    finally:
        gc.enable()
