"""Requests and pauses of an `edged run` process with a real broker and a tiny real model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.broker import Mosquitto, Subscriber, until
from support.making import picture
from support.requesting import Caller, calling
from support.running import Edged

CONFIG = """\
node: box
model: {{path: {model}, max_new_tokens: 8}}
mqtt: {{url: 'mqtt://127.0.0.1:{port}', allow_prompts: true}}
cameras:
  yard:
    source: {picture}
    every: 1h
    ask:
      people: {{prompt: {prompt}, answer: integer, range: [0, 40]}}
      gate: {{prompt: Is the gate open?, answer: yes_no}}
"""


class Box:
    """A config file, a broker, and what they have retained."""

    def __init__(self, folder: Path, model: Path, broker: Mosquitto) -> None:
        self.path, self.model, self.broker = folder / "edged.yaml", model, broker
        Image.fromarray(picture()).save(folder / "yard.png")
        self.write("How many?")

    def write(self, prompt: str) -> None:
        image = self.path.parent / "yard.png"
        text = CONFIG.format(model=self.model, port=self.broker.port, picture=image, prompt=prompt)
        self.path.write_text(text)
        self.path.chmod(0o600)

    def retained(self) -> dict[str, Any]:
        fresh = Subscriber(self.broker.port)
        fresh.close()
        return {message.topic.removeprefix("edged/box/"): message.json for message in fresh.messages}


@pytest.fixture
def box(tmp_path: Path, tiny_folder: Path) -> Iterator[Box]:
    with Mosquitto(tmp_path) as broker:
        yield Box(tmp_path, tiny_folder, broker)


def data(caller: Caller, what: str, **keys: Any) -> Any:
    """Of the response to this request."""
    response = caller.call(what, keys)
    assert response["status"] == "ok", response
    return response["data"]


def test_requests_and_pauses_from_the_broker_to_the_model_and_back(box: Box):
    with Edged("run", "--config", box.path) as edged, calling(box.broker.port) as caller:
        edged.wait_for("INFO ready: ")
        answer = data(caller, "ask", camera="yard", question="people")
        assert (answer["status"], answer["trigger"]) == ("ok", "request")
        until(lambda: box.retained().get("yard/people") == answer)  # the response may come first
        assert [each["question"] for each in data(caller, "look", camera="yard")] == ["people", "gate"]
        prompted = data(caller, "ask", camera="yard", prompt="Is it night?", answer="yes_no")
        assert (type(prompted["value"]), prompted["prompt"]) == (bool, "Is it night? Answer Yes or No.")
        assert prompted["id"] not in json.dumps(box.retained())

        box.write("How many people?")
        revision = data(caller, "reload")["config_rev"]
        assert data(caller, "info")["config_rev"] == revision
        assert data(caller, "ask", camera="yard", question="people")["prompt"].startswith("How many people?")

        assert data(caller, "active", camera="yard", active=False)["active"] is False
        refusal = data(caller, "ask", camera="yard", question="people")
        assert (refusal["status"], refusal["reason"]) == ("not_asked", 'camera "yard" is paused')
        retained = box.retained()
        assert (retained["yard/active"]["active"], retained["yard/availability"]["reason"]) == (False, "paused")
        assert retained["yard/gate"]["status"] == "not_asked"

        listening = Subscriber(box.broker.port)
        listening.forget()
        assert data(caller, "active", camera="yard", active=True)["active"] is True
        asked = listening.wait_for_topic("edged/box/yard/gate")[-1].json
        assert (asked["status"], asked["trigger"]) == ("ok", "schedule")
        assert edged.stop()[0] == 0
        assert not edged.said("ERROR|Traceback")
        listening.close()
