"""`edged run` as a process, with a real broker, a real RTSP server, real signals and a tiny real model."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from PIL import Image
from support.broker import Mosquitto, Received, Subscriber, free_port, until
from support.making import picture
from support.publishing import retained
from support.rtsp import Server, serving
from support.running import Edged
from support.scraping import fetch, values

KEYS = [
    "schema", "id", "node", "camera", "region", "question", "type", "value", "status", "reason", "confidence",
    "agreement", "settled", "alert", "text", "truncated", "prompt", "prompt_rev", "frame_ts", "frame_age_s",
    "frame_sha256", "answered_ts", "clock_synced", "reuse_of", "late", "trigger", "timing_ms", "model", "model_rev",
    "config_rev",
]  # fmt: skip
STARTED = r"INFO ready: "


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        Image.fromarray(picture(number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as mosquitto:
        yield mosquitto


def config(folder: Path, model: Path, port: int, cameras: str, more: str = "") -> Path:
    """Write edged.yaml; `cameras` is indented YAML."""
    path = folder / "edged.yaml"
    text = f"node: box\nmodel: {{path: {model}, max_new_tokens: 16}}\nmqtt: {{url: 'mqtt://127.0.0.1:{port}'}}\n"
    path.write_text(f"{text}{more}cameras:\n{cameras}")
    path.chmod(0o600)
    return path


def yard(source: Path | str, prompt: str = "How many people are here?", every: str = "1s") -> str:
    return (
        f"  yard:\n    source: {source}\n    every: {every}\n    ask:\n"
        f"      people: {{prompt: '{prompt}', answer: integer, range: [0, 40]}}\n"
        "      gate:\n        prompt: Is the gate open?\n        answer: yes_no\n"
        "        then: {sure: {prompt: Are you sure?, answer: [yes, no, maybe]}}\n"
        "      scene: {prompt: Describe the scene., every: 1h}\n"
    )


def test_answers_are_retained_complete_and_typed(tmp_path: Path, tiny_folder: Path, pictures: Path):
    with Mosquitto(tmp_path) as broker:
        metrics = free_port()
        path = config(tmp_path, tiny_folder, broker.port, yard(pictures), f"metrics: 127.0.0.1:{metrics}\n")
        with Edged("run", "--config", path) as edged:
            listening = Subscriber(broker.port)
            for question in ("people", "gate", "sure", "scene"):
                listening.wait_for_topic(f"edged/box/yard/{question}")
            late = Subscriber(broker.port)  # gets the retained answers
            answers = {name: late.of(f"edged/box/yard/{name}")[-1] for name in ("people", "gate", "sure", "scene")}
            for message in answers.values():
                assert list(message.json) == KEYS
                assert message.json["status"] == "ok"
                assert (message.json["node"], message.json["camera"], message.json["late"]) == ("box", "yard", False)
                assert 0 <= message.json["frame_age_s"] < 5
            assert type(answers["people"].json["value"]) is int
            assert 0 <= answers["people"].json["value"] <= 40
            assert type(answers["gate"].json["value"]) is bool
            assert answers["sure"].json["value"] in ("yes", "no", "maybe")
            assert answers["scene"].json["confidence"] is None
            assert answers["people"].json["prompt"] == "How many people are here? Answer with one number."
            assert answers["people"].json["frame_sha256"] == answers["gate"].json["frame_sha256"]
            expires_s = answers["people"].expires_s
            assert expires_s is not None
            assert 0 < expires_s <= 60
            assert late.of("edged/box/bridge/state")[-1].json == {"state": "online"}
            assert late.of("edged/box/yard/availability")[-1].json["state"] == "online"
            info = late.of("edged/box/bridge/info")[-1].json
            assert (info["config_problems"], list(info["cameras"])) == ([], ["yard"])
            assert late.of("edged/box/bridge/health")
            assert values(fetch(metrics).text, "edged_answers_total")["yard sure ok"] > 0
            code, took = edged.stop()
            assert (code, took < 5) == (0, True)
            assert listening.wait_for_topic("edged/box/bridge/state", 2)[-1].json == {"state": "offline"}
            state = listening.of("edged/box/yard/availability")[-1].json
            assert (state["state"], state["reason"]) == ("offline", "edged is stopped")
            assert not edged.said("ERROR|Traceback")
            for client in (listening, late):
                client.close()


@pytest.mark.slow
def test_a_camera_that_fails_and_comes_back_is_reported(tmp_path: Path, tiny_folder: Path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "dock").write_text("p w/1\n")
    with Mosquitto(tmp_path) as broker, serving("digest", "viewer", "p w/1") as server:
        source = f"'rtsp://viewer:{{secret:dock}}@127.0.0.1:{server.port}/h264'"
        path = config(tmp_path, tiny_folder, broker.port, yard(source))
        with Edged("run", "--config", path) as edged:
            listening = Subscriber(broker.port)
            # on a busy machine the first look may be over before the camera is connected
            listening.wait_for(lambda _: "ok" in statuses(listening))
            first = listening.of("edged/box/yard/people")[statuses(listening).index("ok")].json
            assert (type(first["value"]), first["model"]) == (int, tiny_folder.name)
            assert first["frame_age_s"] < 5
            assert abs(first["answered_ts"] - first["frame_ts"]) < 20

            listening.forget()
            lines = len(edged.lines)
            server.kill()
            listening.wait_for(lambda _: availability(listening) == ["offline"])
            listening.wait_for(lambda _: statuses(listening)[-1:] in (["camera_down"], ["stale_frame"]))
            replacement = Server("digest", "viewer", "p w/1", port=server.port)
            try:
                listening.wait_for(lambda _: availability(listening)[:2] == ["offline", "online"])
                listening.wait_for(lambda _: statuses(listening)[-1] == "ok")
                back = edged.wait_for("INFO camera yard: back after ", after=lines)
                assert edged.stop()[0] == 0
            finally:
                replacement.kill()
            assert sum("WARNING camera yard: " in line for line in edged.lines[lines:back]) == 1
            assert len(edged.said("INFO camera yard: back after ")) == len(edged.said("WARNING camera yard: "))
            assert not edged.said("p w/1|p%20w")
            listening.close()


def availability(listening: Subscriber) -> list[str]:
    """The states of the camera in order, repeated ones once. For use within `wait_for`, which holds the lock."""
    topic = "edged/box/yard/availability"
    return [state for state, _ in groupby(m.json["state"] for m in listening.messages if m.topic == topic)]


def statuses(listening: Subscriber) -> list[str]:
    """The statuses of the people question so far. For use within `wait_for`, which holds the lock."""
    return [message.json["status"] for message in listening.messages if message.topic == "edged/box/yard/people"]


@pytest.mark.slow
def test_a_prompt_changed_in_the_file_is_asked_at_the_next_look(tmp_path: Path, tiny_folder: Path, pictures: Path):
    with Mosquitto(tmp_path) as broker:
        path = config(tmp_path, tiny_folder, broker.port, yard(pictures))
        with Edged("run", "--config", path) as edged:
            listening = Subscriber(broker.port)
            listening.wait_for_topic("edged/box/yard/people")
            path.write_text(path.read_text().replace("How many people are here?", "Count the people."))
            saved = time.monotonic()
            edged.wait_for("INFO config reloaded: 1 camera changed, 0 untouched")
            in_force_s = time.monotonic() - saved
            listening.wait_for(lambda _: asked(listening, "people")[-1] == "Count the people. Answer with one number.")
            assert in_force_s < 10, "1 s is the aim, on a machine that does nothing else"
            assert len(edged.said("model: loading")) == 1
            assert len(edged.said(r"INFO model: \S+ is ready after .* \((cpu|cuda)\)$")) == 1
            assert len(edged.said("camera yard: connected")) == 1

            before = path.read_text()
            path.write_text(before.replace("answer: yes_no", "answer: yesno"))
            edged.wait_for(f'ERROR config not reloaded: {path}:12: camera "yard": question "gate": answer "yesno"')
            count = len(listening.of("edged/box/yard/people"))
            listening.wait_for_topic("edged/box/yard/people", count + 1)
            problems = [message.json["config_problems"] for message in listening.of("edged/box/bridge/info")]
            assert problems[-1][0].startswith(f"{path}:12:")

            without = before.replace("        then: {sure: {prompt: Are you sure?, answer: [yes, no, maybe]}}\n", "")
            path.write_text(without.replace("every: 1s", "every: 2s"))
            edged.send(signal.SIGHUP)
            cleared = lambda: listening.of("edged/box/yard/sure")[-1].payload == b""  # noqa: E731
            listening.wait_for(lambda _: cleared())
            until(lambda: listening.of("edged/box/bridge/info")[-1].json["config_problems"] == [])
            listening.close()
            assert edged.stop()[0] == 0


@pytest.mark.slow
def test_edged_goes_on_with_the_old_config_and_logs_what_is_wrong_with_the_new_one(
    tmp_path: Path, tiny_folder: Path, pictures: Path, broker: Mosquitto
):
    path = config(tmp_path, tiny_folder, broker.port, yard(pictures))
    good = path.read_text()
    bad = {
        good.replace("every: 1s", "every: 99999999999h"): "out of range .100ms to 31d",
        good + "questions: " + "[" * 500 + "]" * 500: "levels",
        good.replace(str(tiny_folder), "/none"): "model: there is no folder /none",
        good.replace("mqtt://", "mqtts://").replace("'}", "', ca: none.pem}"): "none.pem",
    }
    with Edged("run", "--config", path) as edged:
        edged.wait_for("camera yard: people: ")
        for text, sentence in bad.items():
            seen = len(edged.lines)
            path.write_text(text)
            edged.wait_for(f"ERROR config not reloaded: .*{sentence}", after=seen)
            edged.wait_for("camera yard: people: ", after=len(edged.lines))
        seen = len(edged.lines)
        path.write_text(good)
        edged.wait_for("INFO config reloaded: 1 camera untouched", after=seen)
        assert len(edged.said("model: loading")) == 1
        assert len(edged.said("camera yard: connected")) == 1
        assert edged.stop()[0] == 0
        assert not edged.said("Traceback")


@pytest.mark.slow
def test_answers_that_wait_are_published_on_the_next_broker(
    tmp_path: Path, tiny_folder: Path, pictures: Path, broker: Mosquitto
):
    with Mosquitto(tmp_path) as first:
        path = config(tmp_path, tiny_folder, first.port, yard(pictures))
        with Edged("run", "--config", path) as edged:
            before = Subscriber(first.port)
            before.wait_for_topic("edged/box/yard/people")
            first.kill()
            edged.wait_for("WARNING broker mqtt://127.0.0.1:")
            seen = len(edged.lines)
            for _ in range(3):
                seen = edged.wait_for("camera yard: people: ", after=seen) + 1
            listening = Subscriber(broker.port)
            listening.forget()
            path.write_text(path.read_text().replace(str(first.port), str(broker.port)))
            edged.wait_for("INFO config reloaded: .*broker changed")
            listening.wait_for_topic("edged/box/yard/people")
            waited = listening.wait_for_topic("edged/box/yard/people/late", 2)
            assert all(message.json["late"] for message in waited if message.topic.endswith("late"))
            assert listening.wait_for_topic("edged/box/bridge/state")[-1].json == {"state": "online"}
            assert listening.wait_for_topic("edged/box/yard/availability")[-1].json["state"] == "online"
            assert edged.stop()[0] == 0
            for client in (before, listening):
                client.close()


def asked(listening: Subscriber, question: str) -> list[str]:
    """The prompts of the answers so far. For use within `wait_for`, which holds the lock."""
    topic = f"edged/box/yard/{question}"
    return [message.json["prompt"] for message in listening.messages if message.topic == topic]


@pytest.mark.slow
def test_an_added_and_a_removed_camera_leave_the_third_alone(tmp_path: Path, tiny_folder: Path, pictures: Path):
    with Mosquitto(tmp_path) as broker:
        gate = yard(pictures).replace("yard:", "gate:")
        path = config(tmp_path, tiny_folder, broker.port, yard(pictures) + gate)
        with Edged("run", "--config", path) as edged:
            listening = Subscriber(broker.port)
            listening.wait_for_topic("edged/box/gate/people")
            path.write_text(path.read_text().replace("  gate:\n    source", "  dock:\n    source"))
            edged.wait_for("INFO config reloaded: 1 camera started, 1 stopped, 1 untouched")
            listening.wait_for_topic("edged/box/dock/people")
            until(lambda: listening.of("edged/box/gate/availability")[-1].payload == b"")
            late = Subscriber(broker.port)
            assert not [message.topic for message in late.messages if "/gate/" in message.topic]
            assert len(edged.said("camera yard: connected")) == 1
            for client in (listening, late):
                client.close()
            assert edged.stop()[0] == 0


@pytest.mark.slow
def test_sigterm_in_the_middle_of_a_generation_ends_at_the_next_token(
    tmp_path: Path, tiny_folder: Path, pictures: Path, broker: Mosquitto
):
    talk = f"  talk:\n    source: {pictures}\n    ask: {{all: {{prompt: Tell all., max_new_tokens: 3900}}}}\n"
    with Edged("run", "--config", config(tmp_path, tiny_folder, broker.port, talk)) as edged:
        listening = Subscriber(broker.port)
        edged.wait_for("camera talk: asking all")
        code, took = edged.stop()
        assert (code, took < 3) == (0, True)
        assert listening.wait_for_topic("edged/box/bridge/state", 2)[-1].json == {"state": "offline"}
        assert listening.of("edged/box/talk/all") == []
        listening.close()


@pytest.mark.slow
def test_a_second_signal_kills(tmp_path: Path, tiny_folder: Path, pictures: Path):
    with (
        Mosquitto(tmp_path) as broker,
        Edged("run", "--config", config(tmp_path, tiny_folder, broker.port, yard(pictures))) as edged,
    ):
        edged.wait_for("camera yard: people: ")
        broker.freeze()  # so that edged waits up to 10 s for the acknowledgement of `offline`
        begun = time.monotonic()
        edged.send(signal.SIGTERM)
        edged.wait_for("INFO stopping")
        edged.send(signal.SIGTERM)
        assert edged.exit_code() == -signal.SIGTERM
        assert time.monotonic() - begun < 5
        broker.thaw()


@pytest.mark.slow
def test_without_a_broker_looks_go_on_and_the_broker_gets_the_answers_later(
    tmp_path: Path, tiny_folder: Path, pictures: Path
):
    broker = Mosquitto(tmp_path)
    path = config(tmp_path, tiny_folder, broker.port, yard(pictures))
    with Edged("run", "--config", path) as edged, broker:
        broker.kill()
        edged.wait_for("WARNING broker mqtt://127.0.0.1:")
        edged.wait_for("camera yard: people: ")
        broker.start()
        listening = Subscriber(broker.port)
        listening.wait_for_topic("edged/box/yard/people")
        listening.close()
        broker.kill()
        edged.wait_for("camera yard: people: ", after=len(edged.lines))
        broker.start()
        listening = Subscriber(broker.port)
        listening.wait_for_topic("edged/box/yard/people")
        assert edged.stop()[0] == 0
        listening.close()


@pytest.mark.slow
def test_answers_that_wait_for_the_broker_survive_kill_9(tmp_path: Path, tiny_folder: Path, pictures: Path):
    with Mosquitto(tmp_path) as broker:
        broker.kill()
        path = config(tmp_path, tiny_folder, broker.port, yard(pictures, every="500ms"))
        with Edged("run", "--config", path) as edged:
            edged.wait_for(r"camera yard: scene: ")
            for _ in range(3):
                edged.wait_for(r"camera yard: people: ", after=len(edged.lines))
            edged.send(signal.SIGKILL)
            edged.exit_code()
            looks = len(edged.said(r"camera yard: people: "))  # the last one may have been logged and not written
            assert looks > 3
        broker.start()
        listening = Subscriber(broker.port)
        with Edged("run", "--config", path) as edged:
            edged.wait_for(r"broker .*: connected")
            edged.wait_for(r"camera yard: people: ")
            listening.wait_for(lambda messages: _late(messages, "people") >= looks - 1, 30.0)
            scenes = [*listening.of("edged/box/yard/scene/late"), *listening.of("edged/box/yard/scene")]
            assert scenes[0].json["late"]
            assert edged.stop()[0] == 0


def _late(messages: list[Received], question: str) -> int:
    """How many answers came late, on either topic."""
    topics = (f"edged/box/yard/{question}", f"edged/box/yard/{question}/late")
    return len({each.json["id"] for each in messages if each.topic in topics and each.json["late"]})


@pytest.mark.slow
def test_a_broker_without_its_store_gets_the_newest_answer_of_an_edged_that_was_restarted(
    tmp_path: Path, tiny_folder: Path, pictures: Path
):
    with Mosquitto(tmp_path) as broker:
        path = config(tmp_path, tiny_folder, broker.port, yard(pictures))
        with Edged("run", "--config", path) as edged:
            listening = Subscriber(broker.port)
            scene = listening.wait_for_topic("edged/box/yard/scene")[0]
            until(lambda: listening.of("edged/box/yard/people"))
            assert edged.stop()[0] == 0
        path.write_text(path.read_text().replace("every: 1s", "cron: '0 3 1 1 *'"))
        broker.kill()
        broker.start()
        listening = Subscriber(broker.port)
        with Edged("run", "--config", path) as edged:
            again = listening.wait_for_topic("edged/box/yard/scene")[0]
            assert (again.payload, again.retain) == (scene.payload, True)
            assert edged.stop()[0] == 0


@pytest.mark.slow
def test_a_camera_that_left_the_config_while_edged_was_off_is_cleared(
    tmp_path: Path, tiny_folder: Path, pictures: Path
):
    with Mosquitto(tmp_path) as broker:
        path = config(tmp_path, tiny_folder, broker.port, yard(pictures))
        with Edged("run", "--config", path) as edged:
            edged.wait_for(STARTED)
            listening = Subscriber(broker.port)
            listening.wait_for_topic("edged/box/yard/scene")
            assert edged.stop()[0] == 0
            listening.close()
        path.write_text(path.read_text().replace("  yard:", "  dock:"))
        with Edged("run", "--config", path) as edged:
            listening = Subscriber(broker.port)
            listening.wait_for_topic("edged/box/dock/scene")
            until(lambda: not [topic for topic in retained(broker.port) if "/yard/" in topic])
            assert edged.stop()[0] == 0
            listening.close()


@pytest.mark.slow
def test_a_second_edged_with_the_same_state_is_refused(tmp_path: Path, tiny_folder: Path, pictures: Path):
    with Mosquitto(tmp_path) as broker:
        path = config(tmp_path, tiny_folder, broker.port, yard(pictures))
        with Edged("run", "--config", path) as first:
            first.wait_for(STARTED)
            with Edged("run", "--config", path) as second:
                assert second.exit_code() == 75
            [line] = second.said("ERROR")
            assert re.search(
                r"another edged uses .*/edged/box/edged\.db; give each its own STATE_DIRECTORY or node", line
            )
            assert first.running
            assert first.stop()[0] == 0


@pytest.mark.slow
def test_a_wrong_broker_password_is_logged_once_and_looks_go_on(tmp_path: Path, tiny_folder: Path, pictures: Path):
    with Mosquitto(tmp_path, users={"edged": "right"}) as broker:
        path = config(tmp_path, tiny_folder, broker.port, yard(pictures))
        path.write_text(path.read_text().replace("'}", "', username: edged, password: hunter2}"))
        with Edged("run", "--config", path) as edged:
            edged.wait_for("WARNING broker .*not authorised")
            for _ in range(2):
                edged.wait_for("camera yard: people: ", after=len(edged.lines))
            assert edged.stop()[0] == 0
            assert len(edged.said("not authorised")) == 1
            assert not edged.said("hunter2")


@pytest.mark.slow
def test_a_camera_that_cannot_be_reached_is_refused_with_a_reason(tmp_path: Path, tiny_folder: Path, broker: Mosquitto):
    cameras = "  gone:\n    source: rtsp://me:hunter2@127.0.0.1:9/x\n    every: 1s\n"
    cameras += "    ask: {people: {prompt: How many?, answer: integer, then: {sure: {prompt: Sure?}}}}\n"
    with Edged("run", "--config", config(tmp_path, tiny_folder, broker.port, cameras)) as edged:
        listening = Subscriber(broker.port)
        for question in ("people", "sure"):
            refusal = listening.wait_for_topic(f"edged/box/gone/{question}")[-1].json
            assert list(refusal) == KEYS
            assert (refusal["value"], refusal["status"]) == (None, "camera_down")
            assert "refused" in refusal["reason"]
            assert [refusal[key] for key in ("frame_ts", "frame_age_s", "frame_sha256", "model")] == [None] * 4
        topic = "edged/box/gone/availability"
        listening.wait_for(lambda _: any("refused" in message.json["reason"] for message in listening.of(topic)))
        assert {message.json["state"] for message in listening.of(topic)} == {"offline"}
        assert edged.stop()[0] == 0
        assert not edged.said("hunter2")
        listening.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (lambda text: text.replace("every:", "evry:"), 78, 'edged.yaml:7: camera "yard": unknown key "evry"'),
        (lambda text: text.replace("model: {path: ", "model: {path: /none"), 78, "model: there is no folder /none"),
        (
            lambda text: text.replace("[yes, no, maybe]", '{json: {type: "what"}}'),
            78,
            "cannot be compiled to a grammar",
        ),
    ],
)
def test_an_invalid_config_or_model_folder_ends_edged_with_78(
    tmp_path: Path, tiny_folder: Path, pictures: Path, broker: Mosquitto, change, code: int, sentence: str
):
    path = config(tmp_path, tiny_folder, broker.port, yard(pictures))
    path.write_text(change(path.read_text()))
    with Edged("run", "--config", path) as edged:
        assert edged.exit_code() == code
        assert edged.said(sentence.replace("[", r"\["))
        assert not edged.said("Traceback")


def test_a_start_that_fails_before_it_connects_says_nothing_about_the_broker(tmp_path: Path):
    path = tmp_path / "edged.yaml"
    path.write_text("version: 1\nmodel: {path: .}\nmqtt: {url: 'mqtts://127.0.0.1:1', ca: none.pem}\n")
    with Edged("run", "--config", path, env={"STATE_DIRECTORY": str(tmp_path)}) as edged:
        assert edged.exit_code() == 78
        assert [line.split(" ", 2)[2] for line in edged.lines][-2:] == [
            "INFO stopped",
            f"ERROR mqtt: ca file {tmp_path}/none.pem cannot be used: no such file or directory",
        ]
        assert not edged.said("offline")


def test_a_missing_config_is_one_line(tmp_path: Path):
    with Edged("run", "--config", tmp_path / "none.yaml") as edged:
        assert edged.exit_code() == 78
        assert edged.said(f"ERROR {tmp_path}/none.yaml: file not found")
