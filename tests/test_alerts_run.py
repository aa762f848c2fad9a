"""Alerts and their pictures of a real edged: over `kill -9`, a restart, and a changed condition."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from PIL import Image
from support.broker import Mosquitto, Subscriber
from support.making import picture
from support.running import Edged

EVENT = "edged/box/yard/event"
ANSWER = "edged/box/yard/gate"
PICTURE = "edged/box/yard/image/jpeg"


def write(path: Path, model: Path, port: int, when: str) -> Path:
    path.write_text(
        f"node: box\nmodel: {{path: {model}, max_new_tokens: 16}}\nmqtt: {{url: 'mqtt://127.0.0.1:{port}'}}\n"
        f"cameras:\n  yard:\n    source: {path.parent}/yard.png\n    every: 300ms\n    image: on_event\n"
        f"    ask: {{gate: {{prompt: Open?, answer: yes_no, alert: {{when: {when}, after: 2}}}}}}\n"
    )
    return path


@pytest.mark.slow
def test_an_alert_survives_kill_9_and_goes_off_when_its_condition_is_changed(
    tmp_path: Path, tiny_folder: Path, mosquitto: Mosquitto, subscriber: Subscriber
) -> None:
    Image.fromarray(picture(1)).save(tmp_path / "yard.png")
    config = write(tmp_path / "edged.yaml", tiny_folder, mosquitto.port, "[true, false]")
    with Edged("run", "--config", config) as edged:
        edged.wait_for(r"INFO ready: ")
        [on] = subscriber.wait_for_topic(EVENT)
        [shown] = subscriber.wait_for_topic(PICTURE)
        answers = subscriber.of(ANSWER)
        edged.send(signal.SIGKILL)
        edged.exit_code()
    value = on.json["value"]
    assert (on.json["event_type"], on.json["from"], on.json["to"]) == ("alert_on", False, True)
    assert [answer.json["value"] for answer in answers if answer.look == on.look] == [value]
    assert shown.look == on.look
    assert answers[0].look != on.look  # the first of two
    subscriber.forget()
    with Edged("run", "--config", config) as edged:
        edged.wait_for(r"INFO ready: ")
        subscriber.forget()
        subscriber.wait_for_topic(ANSWER, 3)
        assert subscriber.of(PICTURE) == []
        assert [each.json["event_type"] for each in subscriber.of(EVENT) if each.json["id"] != on.json["id"]] == []
        subscriber.forget()
        write(config, tiny_folder, mosquitto.port, json.dumps(not value))
        off = subscriber.wait_for_topic(EVENT)[-1]
        [shown] = subscriber.wait_for_topic(PICTURE)
        edged.stop()
    assert (off.json["event_type"], off.json["from"], off.json["to"]) == ("alert_off", True, False)
    assert off.json["since"] == pytest.approx(on.json["ts"])
    assert off.json["value"] == value
    assert shown.look == off.look
