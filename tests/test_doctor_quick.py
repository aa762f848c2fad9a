"""`edged doctor --quick`, the health check of a running edged."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support.broker import Mosquitto, Subscriber, free_port

from edged.cli import main
from edged.core.specs import BrokerSpec, Config, ModelSpec
from edged.tools.doctor.check import Check
from edged.tools.doctor.machine import Machine
from edged.tools.doctor.running import running

HEALTH, STATE = "edged/box/bridge/health", "edged/box/bridge/state"
ONLINE, OFFLINE = b'{"state":"online"}', b'{"state":"offline"}'
BRIEF = Machine(broker_s=1.0)


def config(port: int) -> Config:
    return Config("box", ModelSpec(Path("/none")), BrokerSpec("127.0.0.1", port), (), None, "r", Path("edged.yaml"))


def test_an_edged_that_published_its_health_lately_is_running(mosquitto: Mosquitto, subscriber: Subscriber):
    subscriber.publish(STATE, ONLINE, retain=True)
    subscriber.publish(HEALTH, json.dumps({"ts": time.time() - 40}).encode(), retain=True)
    check = running(config(mosquitto.port), Machine())
    assert (check.ok, check.detail) == (True, "running; published bridge/health 40 s ago")


def test_an_edged_that_is_offline_is_not_running_however_lately_it_published_its_health(
    mosquitto: Mosquitto, subscriber: Subscriber
):
    subscriber.publish(HEALTH, json.dumps({"ts": time.time()}).encode(), retain=True)
    subscriber.publish(STATE, OFFLINE, retain=True)
    assert running(config(mosquitto.port), Machine()) == Check(
        "edged", False, "offline: it is stopped, is starting, or has lost the broker", "start edged; its log says why"
    )


def test_where_the_broker_hides_the_state_the_health_tells(mosquitto: Mosquitto, subscriber: Subscriber):
    subscriber.publish(HEALTH, json.dumps({"ts": time.time()}).encode(), retain=True)
    assert running(config(mosquitto.port), BRIEF).ok


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"ts": "now"}', b"[]"])
def test_without_a_health_message_that_has_a_time_it_is_not(
    mosquitto: Mosquitto, subscriber: Subscriber, payload: bytes
):
    subscriber.publish(HEALTH, payload, retain=True)
    check = running(config(mosquitto.port), BRIEF)
    assert (check.ok, check.detail) == (False, "has not published bridge/health")


def test_an_edged_that_stopped_publishing_is_not(mosquitto: Mosquitto, subscriber: Subscriber):
    subscriber.publish(STATE, ONLINE, retain=True)
    subscriber.publish(HEALTH, json.dumps({"ts": time.time() - 600}).encode(), retain=True)
    check = running(config(mosquitto.port), BRIEF)
    assert (check.ok, check.detail) == (False, "has not published bridge/health for 10 min")


def test_without_a_broker_it_is_not_known():
    assert running(config(free_port()), BRIEF) == Check("edged", None, "not known: connection refused")


def test_the_command_opens_neither_the_model_nor_a_camera(
    tmp_path: Path, mosquitto: Mosquitto, subscriber: Subscriber, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "edged.yaml"
    path.write_text(
        f"node: box\nmodel: {{path: none}}\nmqtt: {{url: 'mqtt://127.0.0.1:{mosquitto.port}'}}\n"
        "cameras: {dock: {source: none.jpg, ask: {q: {prompt: x}}}}\n"
    )
    subscriber.publish(STATE, ONLINE, retain=True)
    subscriber.publish(HEALTH, json.dumps({"ts": time.time()}).encode(), retain=True)
    assert main(["doctor", "--quick", "--config", str(path), "--json"]) in (
        0,
        1,
    )  # the disk of this machine may be full
    checks = {check["name"]: check["ok"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert {name: ok for name, ok in checks.items() if not name.startswith("disk")} == {
        "config": True,
        "secrets": True,
        f"broker mqtt://127.0.0.1:{mosquitto.port}": True,
        "edged": True,
    }
