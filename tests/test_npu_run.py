"""`edged ask` and `edged run` as real processes on the simulated NPU, and the tutorial's own script beside them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.broker import Mosquitto, Subscriber
from support.making import picture, question
from support.npu import compiled, simulator
from support.running import Edged

from edged.core.specs import Generation, ModelSpec
from edged.core.types import Frame
from edged.tools.prepare import prepare
from edged.vlm.chat import Chat
from edged.vlm.model import load
from edged.vlm.processor import NoVideoProcessor, load_processor

TESTS = Path(__file__).parent


def on_the_simulator(**board: Any) -> dict[str, str]:
    return {
        "PYTHONPATH": f"{TESTS / 'support' / 'npu' / 'site'}:{TESTS}:{TESTS.parent}",
        "EDGED_SIMULATED_NPU": json.dumps({"prints": True, **board}),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def prepared(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    output = compiled.compile_folder(tiny_folder, folder / "mxq")
    return prepare(output, str(tiny_folder), folder / "model", {}).folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "yard.png"
    Image.fromarray(picture(3)).save(path)
    return path


@pytest.mark.slow
def test_the_tutorials_script_and_edged_give_the_same_answer(prepared: Path, image: Path):
    asked = "Describe the environment and context surrounding the main subject."
    script = [sys.executable, str(TESTS / "support" / "npu" / "tutorial.py"), prepared, prepared, image, asked, "220"]
    done = subprocess.run(
        list(map(str, script)), capture_output=True, text=True, timeout=180, env=os.environ | on_the_simulator()
    )
    assert done.returncode == 0, done.stderr
    reply, _, after = done.stdout.rpartition("<|im_start|>assistant\n")[2].partition("\nsimulated NPU: dispose")
    assert after.endswith("0 left\n"), after
    for mark in ("<|im_end|>", "<|endoftext|>"):
        reply = reply.removesuffix(mark)

    pixels = np.asarray(Image.open(image).convert("RGB"))
    chat = Chat(load_processor(NoVideoProcessor, prepared))
    with simulator.installed() as board:
        model = load(ModelSpec(prepared))
        model.encode(Frame(pixels, "", datetime.now(UTC), 0.0))
        _, prefix = board.text_calls[-1]
        room = 220 - prefix - len(chat.tail([], asked))
        wanted = question(asked, generation=Generation(max_new_tokens=room, repetition_penalty=1.1))
        answer = model.ask([], wanted, threading.Event())
        model.dispose()
    assert answer.text
    assert reply == answer.text


@pytest.mark.slow
def test_ask_prints_the_answer_and_gives_the_device_back(prepared: Path, image: Path):
    command = [sys.executable, "-m", "edged", "ask", "How many?", "--image", image, "--model", prepared, "--json",
               "--answer", "integer", "--range", "[0, 9]"]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=180, env=os.environ | on_the_simulator()
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    answer = next(json.loads(line) for line in lines if line.startswith("{"))
    assert (answer["status"], answer["model"]) == ("ok", "mobilint/Tiny-VL")
    assert answer["value"] in range(10)
    manifest = json.loads((prepared / "manifest.json").read_text())
    assert len(answer["model_rev"]) == 12
    assert manifest["model"] == answer["model"]
    assert lines[-1].endswith("0 left")


def config(folder: Path, model: str, port: int, image: Path) -> Path:
    path = folder / "edged.yaml"
    path.write_text(
        f"node: box\nmodel: {{{model}, max_new_tokens: 8}}\nmqtt: {{url: 'mqtt://127.0.0.1:{port}'}}\n"
        f"cameras:\n  yard:\n    source: {image}\n    every: 1s\n"
        "    ask: {people: {prompt: How many?, answer: integer, range: [0, 40]}}\n"
    )
    return path


@pytest.mark.slow
def test_run_with_two_workers_answers_and_ends_with_nothing_launched(prepared: Path, image: Path, tmp_path: Path):
    with Mosquitto(tmp_path) as broker:
        workers = "[{text: 0:0, vision: 1:0}, {text: 0:1, vision: 1:1}]"
        path = config(tmp_path, f"path: {prepared}, workers: {workers}", broker.port, image)
        env = on_the_simulator(prints=False)
        with Edged("run", "--config", path, env=env) as edged:
            edged.wait_for(r"mobilint/Tiny-VL is ready after .* \(npu, 2 workers\)")
            listening = Subscriber(broker.port)
            answer = listening.wait_for_topic("edged/box/yard/people")[-1].json
            assert (answer["status"], answer["model"]) == ("ok", "mobilint/Tiny-VL")
            listening.close()
            code, took = edged.stop(signal.SIGTERM)
            assert (code, took < 5) == (0, True)
            assert not edged.said("ERROR|Traceback|WARNING")


@pytest.mark.slow
def test_a_device_that_is_lost_during_a_look_ends_edged_with_75(prepared: Path, image: Path, tmp_path: Path):
    with Mosquitto(tmp_path) as broker:
        path = config(tmp_path, f"path: {prepared}", broker.port, image)
        lost = {"call": "infer", "code": "Acc_NPUTimeout", "part": "text", "after": 4}
        with Edged("run", "--config", path, env=on_the_simulator(prints=False, faults=[lost])) as edged:
            edged.wait_for(r"model: /dev/aries0 did not respond .* \[Acc_NPUTimeout\]")
            assert edged.exit_code() == 75


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "model", "code", "sentence"),
    [
        ({"devices": []}, "path: {}", 75, r"ERROR model: the NPU driver does not respond for /dev/aries0"),
        (
            {},
            "path: {}, cores: {{text: global16, vision: 0:0}}",
            78,
            r"edged.yaml:2: model: cores.text \"global16\" is not a valid core setting",
        ),
    ],
)
def test_what_keeps_edged_from_starting_is_one_sentence_and_a_code(
    prepared: Path, image: Path, tmp_path: Path, board: dict[str, Any], model: str, code: int, sentence: str
):
    path = config(tmp_path, model.format(prepared), 9, image)
    with Edged("run", "--config", path, env=on_the_simulator(**board)) as edged:
        assert edged.exit_code() == code
        assert edged.said(sentence)
        assert not edged.said("Traceback")
