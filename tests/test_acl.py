"""`edged acl`: a mosquitto with this file accepts everything that edged publishes, and denies everything else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from support.broker import HOST, Mosquitto, Subscriber, Wire, an_answer, until
from support.publishing import WHOLE, an_event, asking, disconnected, publishing, settled

from edged.cli import main
from edged.core.memory_store import MemoryStore
from edged.core.requests import Received, Response
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, ClientCertificate, Config, HomeAssistantSpec
from edged.core.types import CameraState, Fact, utc_now
from edged.mqtt import access
from edged.mqtt.caller import Caller
from edged.mqtt.publisher import MqttPublisher
from edged.mqtt.topics import Topics, retained_topics
from edged.tools.acl import text

SECRET = "abc"
USERS = dict.fromkeys(["edged", "subscriber", "requester", "homeassistant", "admin"], SECRET)
ASKING = ("edged", "requester")
CONFIG = replace(asking(dock=["people", "gate_open"]), mqtt=BrokerSpec(username="edged"))
TOPICS = Topics("edged", "box")
ANSWER, LATE, RESPONSE = "edged/box/dock/people", "edged/box/dock/people/late", "edged/box/bridge/response/ask"
REQUEST, STATE, BIRTH = "edged/box/bridge/request/ask", "edged/box/bridge/state", "homeassistant/status"
HEALTH = "edged/box/bridge/health"
DISCOVERY = "homeassistant/device/edged_box_dock/config"
FOREIGN = [
    "edged/other/dock/people",
    "edged/box",
    "edged/box/dock",
    "edged/box/dock/people/more",
    "edged/box/dock/image/png",
    "edged/box/bridge/response/ask/more",
    "homeassistant/sensor/x/config",
    "homeassistant",
    "other",
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """With the printed ACL, and a user `admin` who may do everything."""
    acl = f"{text(CONFIG, 'homeassistant')}\n\nuser admin\ntopic readwrite #\n"
    with Mosquitto(tmp_path_factory.mktemp("broker"), users=USERS, acl=acl) as mosquitto:
        yield mosquitto


class Client:
    """A user of the broker, with MQTT 5."""

    def __init__(self, port: int, user: str) -> None:
        self.received: list[str] = []
        self._answered = threading.Event()
        self._refused = False
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.username_pw_set(user, SECRET)
        self._client.on_publish = lambda _client, _data, _mid, reason, _properties: self._acknowledged(
            reason.is_failure
        )
        self._client.on_subscribe = lambda *_: self._answered.set()
        self._client.on_message = lambda _client, _data, message: self._received(message)
        connected = threading.Event()
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect(HOST, port)
        self._client.loop_start()
        assert connected.wait(10)

    def may_write(self, topic: str) -> bool:
        self._answered.clear()
        self._client.publish(topic, b"{}", 1)
        assert self._answered.wait(10)
        return not self._refused

    def subscribe(self) -> None:
        self._answered.clear()
        self._client.subscribe("#", qos=1)
        assert self._answered.wait(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _received(self, message: mqtt.MQTTMessage) -> None:
        if not message.retain:  # not one that another test has left
            self.received.append(message.topic)

    def _acknowledged(self, refused: bool) -> None:
        self._refused = refused
        self._answered.set()


@contextmanager
def client(broker: Mosquitto, user: str) -> Iterator[Client]:
    connected = Client(broker.port, user)
    try:
        yield connected
    finally:
        connected.close()


def test_everything_that_edged_publishes_is_accepted(broker: Mosquitto):
    """Answers, events, pictures, states and reports, an answer that is late, and the clearing of what has left."""
    wire, everything = Wire(broker.port), Subscriber(broker.port, "admin", SECRET)
    with publishing(wire.port, config=CONFIG, username="edged", password=Secret(SECRET)) as publisher:
        publisher.info({})
        publisher.health({})
        publisher.camera("dock", CameraState(True, None, utc_now()))
        publisher.active("dock", {"active": True})
        publisher.answers([an_answer("a"), an_answer("b", question="gate_open")], [an_event("e")], b"jpeg")
        settled(publisher)
        wire.cut()
        disconnected(publisher)
        publisher.answers([an_answer("c")], [], None)
        publisher.answers([an_answer("d")], [], None)
        wire.mend()
        settled(publisher)
        expected = {*retained_topics(TOPICS, CONFIG.cameras), "edged/box/dock/event", LATE}
        everything.wait_for(lambda messages: {message.topic for message in messages} >= expected)
        publisher.follow(replace(CONFIG, cameras=()))
        until(lambda: everything.of(ANSWER)[-1].payload == b"")
        assert publisher.figures().refused == 0
    everything.close()
    wire.cut()


def test_a_requester_gets_the_response_of_edged(broker: Mosquitto):
    def handle(received: Received) -> None:
        received.respond(Response({"version": "0"}))

    edged, requester = (BrokerSpec(HOST, broker.port, username=name, password=Secret(SECRET)) for name in ASKING)
    publisher = MqttPublisher(edged, "box", requested=handle)
    publisher.start()
    publisher.online()
    until(lambda: publisher.figures().published >= 1)
    assert Caller(requester, "box", "info", {}, 10.0).call(threading.Event()) == {"version": "0"}
    publisher.close()


@pytest.mark.parametrize(
    ("user", "topics"),
    [
        (
            "edged",
            [ANSWER, LATE, STATE, HEALTH, RESPONSE, DISCOVERY, "edged/box/dock/image/jpeg", "edged/box/dock/event"],
        ),
        ("subscriber", []),
        ("requester", [REQUEST]),
        ("homeassistant", [REQUEST, BIRTH]),
    ],
)
def test_a_user_may_write_its_topics_and_no_others(broker: Mosquitto, user: str, topics: list[str]):
    others = {ANSWER, LATE, STATE, HEALTH, RESPONSE, REQUEST, BIRTH, DISCOVERY, *FOREIGN} - set(topics)
    with client(broker, user) as writing:
        assert {topic: writing.may_write(topic) for topic in topics} == dict.fromkeys(topics, True)
        assert {topic: writing.may_write(topic) for topic in others} == dict.fromkeys(others, False)


@pytest.mark.parametrize(
    ("user", "topics"),
    [
        ("edged", {REQUEST, HEALTH, STATE, BIRTH}),
        ("subscriber", {ANSWER, LATE, STATE, HEALTH}),
        ("requester", {RESPONSE, STATE}),
        ("homeassistant", {ANSWER, LATE, STATE, HEALTH, DISCOVERY}),
    ],
)
def test_a_user_receives_its_topics_and_no_others(broker: Mosquitto, user: str, topics: set[str]):
    with client(broker, user) as reading, client(broker, "admin") as admin:
        reading.subscribe()
        written = [REQUEST, RESPONSE, BIRTH, DISCOVERY, ANSWER, LATE, *FOREIGN, STATE, HEALTH]
        assert [topic for topic in written if not admin.may_write(topic)] == []
        last = [topic for topic in written if topic in topics][-1]
        until(lambda: last in reading.received)
        assert set(reading.received) == topics


@pytest.mark.parametrize("config", [CONFIG, WHOLE])
def test_every_topic_that_may_be_retained_is_granted(config: Config):
    granted = [grant.topic for grant in access.of_edged(TOPICS) if grant.access == "write"]
    topics = retained_topics(TOPICS, config.cameras)
    assert [topic for topic in topics if not any(mqtt.topic_matches_sub(grant, topic) for grant in granted)] == []


def test_the_prefix_the_node_and_the_username_are_those_of_the_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "edged.yaml"
    path.write_text("node: shop\nmodel: {path: m}\nmqtt: {username: box one, password: x, prefix: site/a}\n")
    path.chmod(0o600)
    assert main(["acl", "--config", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index("user box one")
    assert lines[begin + 1 : begin + 4] == [
        "topic write site/a/shop/+/+",
        "topic write site/a/shop/+/+/late",
        "topic write site/a/shop/+/image/jpeg",
    ]


def test_without_a_username_the_grants_of_edged_are_for_anonymous_clients(tmp_path: Path):
    config = replace(CONFIG, mqtt=BrokerSpec())
    printed = text(config, None)
    assert printed.index("topic write edged/box/+/+") < printed.index("\nuser ")
    with Mosquitto(tmp_path, acl=printed) as broker, publishing(broker.port, config=config) as publisher:
        publisher.answers([an_answer("a")], [], None)
        settled(publisher)
        assert publisher.figures().refused == 0


def test_with_a_client_certificate_the_file_says_where_its_name_goes():
    certificate = ClientCertificate(Path("box.pem"), Path("box.key"))
    printed = text(replace(CONFIG, mqtt=BrokerSpec(client_certificate=certificate)), None)
    assert "add: user COMMON-NAME-OF-THE-CERTIFICATE\ntopic write edged/box/+/+\n" in printed


def test_a_username_that_would_add_lines_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "edged.yaml"
    path.write_text('node: box\nmodel: {path: m}\nmqtt: {username: "a\\ntopic readwrite #", password: x}\n')
    path.chmod(0o600)
    assert main(["acl", "--config", str(path)]) == 1
    assert "cannot have the username" in capsys.readouterr().err


@pytest.mark.parametrize("discovery", [None, "ha"])
def test_what_an_earlier_config_announced_to_home_assistant_can_be_cleared(tmp_path: Path, discovery: str | None):
    acl = f"{text(CONFIG, discovery)}\n\nuser admin\ntopic readwrite #\n"
    with Mosquitto(tmp_path, users=USERS, acl=acl) as broker:
        admin = Subscriber(broker.port, "admin", SECRET)
        admin.publish(DISCOVERY, b"{}", retain=True)
        store = MemoryStore()
        store.remember([Fact(f"retained {HOST}:{broker.port}", DISCOVERY, True)])
        spec = HomeAssistantSpec(discovery) if discovery else None
        config = replace(CONFIG, homeassistant=spec)
        with publishing(
            broker.port, store=store, config=config, username="edged", password=Secret(SECRET)
        ) as publisher:
            assert [message.payload for message in admin.wait_for_topic(DISCOVERY, 2)] == [b"{}", b""]
            until(lambda: publisher.figures().published >= 2)
            assert publisher.figures().refused == 0
        admin.close()


@pytest.mark.parametrize("user", ["edged", "homeassistant"])
def test_with_another_discovery_prefix_the_default_topic_of_the_birth_is_granted_too(user: str):
    _, _, block = text(CONFIG, "ha").partition(f"user {user}\n")
    access = "read" if user == "edged" else "write"
    assert {f"topic {access} ha/status", f"topic {access} homeassistant/status"} <= set(
        block.split("\n\n")[0].splitlines()
    )


def test_without_home_assistant_edged_may_only_remove_what_was_announced_before():
    lines = text(CONFIG, None).splitlines()
    assert [line for line in lines if "homeassistant" in line] == ["topic write homeassistant/device/+/config"]
