"""A real edged answers requests: `edged ask --camera`, `edged reload`, pauses, and mosquitto_rr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.broker import Mosquitto, Subscriber
from support.making import picture
from support.requesting import calling
from support.running import Edged

from edged.cli import main
from edged.config.load import load

PEOPLE = "edged/box/yard/people"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as mosquitto:
        yield mosquitto


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, broker: Mosquitto) -> Iterator[Path]:
    """The config of an edged that runs."""
    folder = tmp_path_factory.mktemp("edged")
    Image.fromarray(picture(1)).save(folder / "yard.png")
    path = folder / "edged.yaml"
    path.write_text(
        f"node: box\nmodel: {{path: {tiny_folder}, max_new_tokens: 16}}\n"
        f"mqtt: {{url: 'mqtt://127.0.0.1:{broker.port}', allow_prompts: true}}\n"
        f"cameras:\n  yard:\n    source: {folder}/yard.png\n    every: 1h\n    ask:\n"
        "      people: {prompt: How many?, answer: integer, range: [0, 9]}\n"
    )
    with Edged("run", "--config", path, env={"XDG_STATE_HOME": str(folder)}) as edged:
        edged.wait_for(r"INFO ready: ")
        yield path
        assert edged.stop()[0] == 0


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    listening = Subscriber(broker.port)
    listening.wait_for_topic(PEOPLE)  # the first look
    yield listening
    listening.close()


@pytest.fixture
def call(broker: Mosquitto) -> Iterator[Callable[..., Any]]:
    """Sends a request; the payload of its response."""
    with calling(broker.port, topics=("answers/#",)) as caller:
        yield partial(caller.call, ResponseTopic="answers/here")


@pytest.mark.slow
def test_a_running_edged_answers(
    config: Path, subscriber: Subscriber, call: Callable[..., Any], capsys: pytest.CaptureFixture[str]
):
    subscriber.forget()
    at = ["--camera", "yard", "--config", str(config)]
    assert main(["ask", "--question", "people", "--json", *at]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["status"], answer["trigger"], answer["value"] in range(10)) == ("ok", "request", True)
    assert subscriber.wait_for_topic(PEOPLE)[0].json == answer
    assert main(["ask", "Cars?", "--answer", "yes_no", *at]) == 0
    assert capsys.readouterr().out in ("true\n", "false\n")
    assert main(["ask", "--question", "poeple", *at]) == 1
    assert "people" in capsys.readouterr().err
    looked = call("look", {"camera": "yard"})
    assert [(answer["question"], answer["trigger"]) for answer in looked["data"]] == [("people", "request")]
    info = call("info", {})["data"]
    assert (list(info["cameras"]), info["config_rev"]) == (["yard"], load(config).rev)
    assert {message.topic for message in subscriber.messages if "/yard/" in message.topic} <= {
        PEOPLE,
        "edged/box/yard/event",
    }


@pytest.mark.slow
def test_a_paused_camera_answers_that_it_is_paused(config: Path, subscriber: Subscriber, call: Callable[..., Any]):
    paused = call("active", {"camera": "yard", "active": False})
    assert paused["data"]["active"] is False
    assert subscriber.wait_for_topic("edged/box/yard/active", 2)[-1].json == paused["data"]
    answer = call("ask", {"camera": "yard", "question": "people"})["data"]
    assert (answer["status"], answer["value"]) == ("not_asked", None)
    resumed = call("active", {"camera": "yard", "active": True})
    assert resumed["data"]["active"] is True
    answer = call("ask", {"camera": "yard", "question": "people"})["data"]
    assert answer["status"] == "ok"


@pytest.mark.slow
def test_a_reload_responds_with_the_revision_or_the_problems(
    config: Path, call: Callable[..., Any], capsys: pytest.CaptureFixture[str]
):
    whole = config.read_text()
    config.write_text(whole.replace("How many?", "How many people?"))
    assert main(["reload", "--config", str(config)]) == 0
    assert capsys.readouterr().out == f"config reloaded: revision {load(config).rev} is in force\n"
    config.write_text(whole + "colour: red\n")
    response = call("reload", {"transaction": 1})
    assert (response["status"], response["transaction"]) == ("error", 1)
    assert 'unknown key "colour"' in response["error"]
    config.write_text(whole.replace("allow_prompts: true", "allow_prompts: false, client_id: other"))
    assert main(["reload", "--config", str(config)]) == 0  # over a new connection
    assert capsys.readouterr().out == f"config reloaded: revision {load(config).rev} is in force\n"
    refused = call("ask", {"camera": "yard", "prompt": "Cars?"})
    assert refused["error"] == "prompts in requests are not allowed (mqtt: allow_prompts in the config)"
