"""`frames:` of a running edged: kept, reloaded, killed."""

from __future__ import annotations

import hashlib
import io
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.broker import Mosquitto, Subscriber, until
from support.making import picture
from support.running import Edged

from edged.cli import main
from edged.store.labels import open_labels

PEOPLE = "edged/box/yard/people"


@pytest.mark.slow
def test_frames_are_kept_from_a_reload_on_and_are_those_of_the_published_answers(
    tmp_path: Path, tiny_folder: Path, mosquitto: Mosquitto, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
):
    for number in range(3):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    config, frames = tmp_path / "edged.yaml", tmp_path / "state/frames"
    text = (
        f"node: box\nmodel: {{path: {tiny_folder}, max_new_tokens: 16}}\n"
        f"mqtt: {{url: 'mqtt://127.0.0.1:{mosquitto.port}'}}\n"
        f"cameras:\n  yard:\n    source: {tmp_path}\n    every: 500ms\n    mask: [{{box: [0, 0, 1, 0.5]}}]\n    ask:\n"
        "      people: {prompt: How many?, answer: integer}\n"
    )
    config.write_text(text)
    state = {"STATE_DIRECTORY": str(tmp_path / "state")}
    with Edged("run", "--config", config, env=state) as edged:
        edged.wait_for(r"INFO ready: ")
        subscriber.wait_for_topic(PEOPLE, 2)
        assert not frames.exists()
        config.write_text(f"{text}frames: {{sample: 1, max: 1GB}}\n")
        edged.wait_for(r"config reloaded: .*frames changed")
        until(lambda: frames.exists() and len(list(frames.glob("*.webp"))) > 3, 30)
        edged.send(signal.SIGKILL)
        edged.exit_code()
        config.write_text(text)
    with open_labels(tmp_path / "state/edged.db") as stored:
        tasks = [task for file in frames.glob("*.webp") if (task := stored.task(file.name))]
    published = {message.json["frame_sha256"] for message in subscriber.of(PEOPLE)}
    assert len(tasks) > 2
    for task in tasks:
        with Image.open(io.BytesIO((frames / task.frame.name).read_bytes())) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == task.frame.sha256
        assert not pixels[: len(pixels) // 2].any()
    assert {task.frame.sha256 for task in tasks} <= published
    labelled = tasks[0].frame.name
    (tmp_path / "labels.jsonl").write_text(
        f'{{"frame": "{labelled}", "camera": "yard", "question": "people", "truth": 3}}\n'
    )
    monkeypatch.setenv("STATE_DIRECTORY", state["STATE_DIRECTORY"])
    assert main(["labels", "import", str(tmp_path / "labels.jsonl"), "--config", str(config)]) == 0
    with Edged("run", "--config", config, env=state) as edged:  # which keeps no frames
        edged.wait_for(r"frames: \d+ frames? deleted: `frames:` is not configured")
        until(lambda: [file.name for file in frames.iterdir()] == [labelled], 30)
        assert edged.stop()[0] == 0
