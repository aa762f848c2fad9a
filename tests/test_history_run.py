"""What `edged run` has published is what `edged history` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from support.broker import Mosquitto, Subscriber
from support.making import picture
from support.running import Edged

from edged.cli import main

TOPICS = [f"edged/box/yard/{question}" for question in ("people", "gate")]


@pytest.mark.slow
def test_the_history_has_each_published_answer(
    tmp_path: Path, tiny_folder: Path, mosquitto: Mosquitto, subscriber: Subscriber, capsys: pytest.CaptureFixture[str]
):
    Image.fromarray(picture(1)).save(tmp_path / "yard.png")
    config = tmp_path / "edged.yaml"
    config.write_text(
        f"node: box\nmodel: {{path: {tiny_folder}, max_new_tokens: 16}}\n"
        f"mqtt: {{url: 'mqtt://127.0.0.1:{mosquitto.port}'}}\n"
        f"cameras:\n  yard:\n    source: {tmp_path}/yard.png\n    every: 500ms\n    ask:\n"
        "      people: {prompt: How many?, answer: integer}\n      gate: {prompt: Open?, answer: yes_no}\n"
    )
    with Edged("run", "--config", config) as edged:
        edged.wait_for(r"INFO ready: ")
        for topic in TOPICS:
            subscriber.wait_for_topic(topic, 3)
        assert main(["history", "--json", "--config", str(config)]) == 0
        while_running = capsys.readouterr().out.encode().splitlines()
        assert {subscriber.of(topic)[0].payload for topic in TOPICS} <= set(while_running)
        edged.stop()
    subscriber.catch_up()
    published = [message.payload for topic in TOPICS for message in subscriber.of(topic)]
    assert main(["history", "--json", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.encode().splitlines()
    assert set(published) <= set(lines)
    assert [json.loads(line)["answered_ts"] for line in lines] == sorted(
        json.loads(line)["answered_ts"] for line in lines
    )
    assert main(["history", "--config", str(config)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[2:-1]] == ["yard/people", "yard/gate"]
