"""`edged demo` as a newcomer types it, and the main job asserting true answers with the demo's own model."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.broker import Mosquitto, Subscriber
from support.rtsp import serving
from support.running import Edged

from edged.demo import show
from edged.demo.scenes import Truth, still
from edged.demo.show import MODEL, judged

LINE = re.compile(r"\d\d:\d\d:\d\d (yard|back) [a-z_]+ .+ (-|\d\.\d{3}) (-|\d+\.\d\ds) (right|wrong|[a-z_]+)")
COUNTS = re.compile(r"(\d+) answers: (\d+) right, (\d+) wrong, (\d+) refused \((\d+\.\d) % right\)")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edged", "demo", *arguments]


def test_the_demo_prints_a_line_for_each_answer_and_ends_by_itself():
    done = subprocess.run(command("--seconds", "12", "--plain"), capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert all(LINE.fullmatch(line) for line in lines), lines
    counts = COUNTS.fullmatch(last)
    assert counts, last
    answers, right, wrong, refused = (int(counts[number]) for number in range(1, 5))
    assert answers == len(lines) == right + wrong + refused
    assert answers >= 12
    assert right >= 0.85 * (right + wrong), done.stdout
    assert "edged ended with exit code 0" in done.stderr
    assert 'the broker has heard "offline"' in done.stderr


def test_ctrl_c_shows_the_clean_stop():
    process = subprocess.Popen(command("--plain"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert LINE.fullmatch(process.stdout.readline().strip())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert COUNTS.search(out) or "answers" in out
    assert "edged ended with exit code 0" in err
    assert "Traceback" not in err


def test_without_a_terminal_it_says_so_and_prints_lines():
    done = subprocess.run(command("--seconds", "1"), capture_output=True, text=True, timeout=110)
    assert done.returncode == 0
    assert "standard output is not a terminal; printing a line for each answer (--plain)" in done.stderr


def test_without_the_extra_it_says_what_to_install():
    barred = "import sys; sys.modules['amqtt'] = None; from edged.cli import main; sys.exit(main(['demo', '--plain']))"
    done = subprocess.run([sys.executable, "-c", barred], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "edged: the demo's broker needs the package amqtt: pip install 'edged[demo]'\n"


def test_without_its_model_it_says_so(tmp_path: Path):
    program = (
        "import sys, pathlib; from edged.demo import show; show.MODEL = pathlib.Path(sys.argv[1]);"
        "from edged.cli import main; sys.exit(main(['demo', '--plain']))"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"edged: the demo's model is not there ({tmp_path}); install edged again\n"


def test_an_answer_is_judged_against_the_truth_of_its_frame():
    truth = Truth(people=2, cars=1, door_open=True, night=False)
    for question, value, verdict in (
        ("people", 2, "right"),
        ("people", 3, "wrong"),
        ("anyone", True, "right"),
        ("report", {"people": 2, "cars": 1, "door_open": True, "night": False}, "right"),
        ("report", {"people": 2, "cars": 1, "door_open": True, "night": True}, "wrong"),
        ("scene", truth.description, "right"),
        ("somebody_changed_the_config", 1, None),
    ):
        assert judged({"question": question, "value": value}, truth) == verdict
    assert judged({"question": "people", "value": 2}, None) is None


def asked(source: str, port: int, every: str) -> str:
    """The config of a demo camera: the demo's own questions, of this source."""
    text = show.CONFIG.format(node="box", model=MODEL, host="127.0.0.1", broker=port, cameras=0)
    head, _, _ = text.partition("  back:")
    return head.replace("http://127.0.0.1:0/yard.mjpeg", source).replace("every: 2s", f"every: {every}")


def test_true_answers_of_a_folder_of_pictures(tmp_path: Path):
    truths: dict[str, Truth] = {}
    (tmp_path / "pictures").mkdir()
    for seed in range(6):
        pixels, truth = still(9_000 + seed, sprites="held_out")
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{seed}.png")
        truths[hashlib.sha256(pixels).hexdigest()] = truth
    with Mosquitto(tmp_path) as broker:
        path = tmp_path / "edged.yaml"
        path.write_text(asked(str(tmp_path / "pictures"), broker.port, "300ms"))
        with Edged("run", "--config", path) as edged:
            edged.wait_for("INFO ready")
            listening = Subscriber(broker.port)
            listening.wait_for(lambda messages: sum(m.topic.endswith("/people") for m in messages) >= 12, 60)
            assert edged.stop()[0] == 0
            listening.close()
    answers = [
        m.json for m in listening.messages if m.topic.startswith("edged/box/yard/") and b"prompt_rev" in m.payload
    ]
    judgements = [
        (judged(answer, truths[answer["frame_sha256"]]), answer) for answer in answers if answer["value"] is not None
    ]
    assert len(judgements) >= 40
    wrong = [answer for verdict, answer in judgements if verdict != "right"]
    assert len(wrong) <= 0.05 * len(judgements), wrong


def test_true_answers_from_rtsp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pixels, truth = still(9_100, sprites="held_out")
    picture = tmp_path / "yard.png"
    Image.fromarray(pixels).resize((448, 448)).save(picture)
    monkeypatch.setenv("YARD", str(picture))
    with Mosquitto(tmp_path) as broker, serving() as server:
        path = tmp_path / "edged.yaml"
        path.write_text(asked(server.url("yard"), broker.port, "500ms"))
        with Edged("run", "--config", path) as edged:
            edged.wait_for("INFO ready")
            listening = Subscriber(broker.port)
            for question in ("people", "cars", "door_open", "anyone"):
                answer = listening.wait_for_topic(f"edged/box/yard/{question}", 2)[-1].json
                assert (answer["status"], judged(answer, truth)) == ("ok", "right"), answer
            assert edged.stop()[0] == 0
            listening.close()
