"""The commands of the README's section on requests, with mosquitto's own clients, as they are typed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.broker import HOST, Mosquitto, an_answer, until
from support.requesting import Handler

from edged.core.requests import AskRequest, InfoRequest, LookRequest, Response
from edged.core.specs import BrokerSpec
from edged.mqtt.publisher import MqttPublisher

README = (Path(__file__).parent.parent / "README.md").read_text()
SECTION = README.partition("\n### Requests\n")[2].partition("\n### ")[0]
COMMANDS = "".join(re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)).splitlines()
DATA: dict[object, Any] = {
    AskRequest("dock", "people"): an_answer("a1"),
    LookRequest("dock"): [an_answer("a2")],
    InfoRequest(): {"version": "0.1.0"},
}


def options_for(folder: Path, port: int) -> dict[str, str]:
    """An environment in which mosquitto's clients connect to this port without being told so."""
    for client in ("mosquitto_rr", "mosquitto_pub", "mosquitto_sub"):
        (folder / client).write_text(f"-p {port}\n")
    return os.environ | {"XDG_CONFIG_HOME": str(folder)}


@pytest.fixture
def typed(tmp_path: Path, mosquitto: Mosquitto) -> Callable[[str], list[str]]:
    """Runs a command as it is typed; the lines that it prints."""
    environment = options_for(tmp_path, mosquitto.port)

    def run(command: str) -> list[str]:
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, ""), command
        return done.stdout.splitlines()

    return run


def test_the_readme_shows_each_client():
    assert [command.split()[0] for command in COMMANDS] == [
        "mosquitto_rr", "mosquitto_rr", "mosquitto_sub", "mosquitto_pub"
    ]  # fmt: skip


def test_the_commands_of_the_readme_get_their_responses(mosquitto: Mosquitto, typed: Callable[[str], list[str]]):
    handler = Handler(lambda request: Response(DATA[request]))
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "dock-box", requested=handler)
    publisher.start()
    publisher.online()
    until(lambda: publisher.figures().published >= 1)
    ask, info, listen, look = COMMANDS
    try:
        asked, informed, looked = typed(ask), typed(info), listened(mosquitto, typed, listen, look)
    finally:
        publisher.close()
    [response] = [json.loads(line) for line in asked]
    assert (response["status"], response["data"]["id"], response["data"]["value"]) == ("ok", "a1", 3)
    assert [json.loads(line) for line in informed] == [
        {"status": "ok", "transaction": None, "data": {"version": "0.1.0"}}
    ]
    topic, _, payload = looked[0].partition(" ")
    assert topic == "edged/dock-box/bridge/response/look"
    response = json.loads(payload)
    assert (response["transaction"], [answer["id"] for answer in response["data"]]) == (7, ["a2"])
    requests = [received.request for received in handler.received]
    assert requests == [AskRequest("dock", "people"), InfoRequest(), LookRequest("dock")]


def listened(mosquitto: Mosquitto, typed: Callable[[str], list[str]], listen: str, publish: str) -> list[str]:
    """What the first command, which is to end after one message, prints of the second."""
    lines: list[str] = []
    subscriptions = mosquitto.log().count("Sending SUBACK")
    listening = threading.Thread(target=lambda: lines.extend(typed(f"{listen} -C 1 -W 20")))
    listening.start()
    until(lambda: mosquitto.log().count("Sending SUBACK") > subscriptions)
    typed(publish)
    listening.join(30)
    return lines


def test_pausing_and_mistakes_as_they_are_typed(mosquitto: Mosquitto, typed: Callable[[str], list[str]]):
    handler = Handler(lambda _: Response({"active": False}))
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port), "box", requested=handler)
    publisher.start()
    publisher.online()
    until(lambda: publisher.figures().published >= 1)

    def request(what: str, message: str, more: str = "") -> str:
        topics = f"-t edged/box/bridge/request/{what} -e edged/box/bridge/response/{what}"
        [line] = typed(f"mosquitto_rr {topics} -W 20 {more} -m '{message}'")
        response = json.loads(line)
        return str(response["error"] if response["status"] == "error" else response["data"])

    try:
        assert request("active", '{"camera": "dock", "active": false}') == "{'active': False}"
        assert request("active", '{"camera": "dock", "active": false}', "-V 311 -q 1") == "{'active': False}"
        assert request("active", "{camera: dock}") == "the payload is not valid JSON (line 1, column 2)"
        assert request("activ", "{}") == 'unknown request "activ". Did you mean "active"?'
        with_correlation = "-D publish correlation-data abc -D publish message-expiry-interval 20"
        assert request("active", '{"camera": "dock"}', with_correlation) == (
            "active is missing; it must be true or false"
        )
    finally:
        publisher.close()
