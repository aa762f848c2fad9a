"""`edged demo` as a newcomer types it, and the main job asserting true answers with the demo's own model."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.broker import Mosquitto, Subscriber, free_port, until
from support.rtsp import serving
from support.running import Edged

import edged
from edged.cli import main
from edged.config.load import load
from edged.core.pip import pip_install
from edged.demo.next_steps import as_typed, next_steps, own_camera
from edged.demo.questions import CONFIG, judged, write_config
from edged.demo.show import MODEL, running_demo
from edged.demo.stills import still
from edged.demo.truth import Truth

PACKAGE = Path(edged.__file__).parent
LINE = re.compile(r"\d\d:\d\d:\d\d (yard|back) [a-z_]+ .+ (-|\d\.\d{3}) (-|\d+\.\d\ds) (right|wrong|[a-z_]+)")
COUNTS = re.compile(r"(\d+) answers?: (\d+) right, (\d+) wrong, (\d+) refused \((\d+\.\d) % right\)")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edged", "demo", *arguments]


@pytest.mark.slow
def test_the_demo_prints_a_line_for_each_answer_and_ends_by_itself():
    done = subprocess.run(command("--seconds", "12", "--plain"), capture_output=True, text=True, timeout=180)
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
    page = next(line for line in done.stderr.splitlines() if "Open the page:" in line)
    assert re.fullmatch(r"  Open the page:    http://127\.0\.0\.1:\d+/", page)
    assert len(page) <= 80
    assert done.stderr.count("run --config edged.yaml") == 2  # the next steps, at the beginning and at the end
    assert max(len(line) for line in own_camera().splitlines()) <= 80
    assert 'its state on the broker is "offline"' in done.stderr


@pytest.mark.slow
def test_ctrl_c_stops_edged_cleanly():
    process = subprocess.Popen(command("--plain"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert LINE.fullmatch(process.stdout.readline().strip())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert COUNTS.search(out)
    assert "edged ended with exit code 0" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_closed_terminal_ends_the_demo_and_the_edged_that_it_started():
    terminal, its_end = os.openpty()
    arguments = ["setsid", "--ctty", *command("--plain")]
    process = subprocess.Popen(arguments, stdin=its_end, stdout=its_end, stderr=subprocess.DEVNULL)
    os.close(its_end)
    assert LINE.search(os.read(terminal, 200).decode())
    started = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(started) == 1
    try:
        os.close(terminal)
        process.wait(180)
        assert not Path(f"/proc/{started[0]}").exists()
    finally:
        if Path(f"/proc/{started[0]}").exists():
            os.kill(int(started[0]), signal.SIGKILL)


@pytest.mark.slow
def test_the_edged_that_the_demo_started_ends_even_if_the_demo_is_killed():
    process = subprocess.Popen(command("--plain"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    assert process.stdout.readline()
    [started] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()  # the second Ctrl-C does the same
    process.communicate()
    try:
        until(lambda: not Path(f"/proc/{started}").exists(), 20)
    finally:
        if Path(f"/proc/{started}").exists():
            os.kill(int(started), signal.SIGKILL)


@pytest.mark.slow
def test_without_a_terminal_the_demo_prints_lines():
    done = subprocess.run(command("--seconds", "1"), capture_output=True, text=True, timeout=180)
    assert done.returncode == 0
    assert "standard output is not a terminal; printing a line for each answer (--plain)" in done.stderr


def test_without_the_extra_the_message_says_what_to_install():
    barred = "import sys; sys.modules['amqtt'] = None; from edged.cli import main; sys.exit(main(['demo', '--plain']))"
    done = subprocess.run([sys.executable, "-c", barred], capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert done.stderr == f"edged: the demo's broker needs the package amqtt: {pip_install('edged[demo]')}\n"


def test_without_its_model_the_message_names_the_folder(tmp_path: Path):
    program = (
        "import sys, pathlib; from edged.demo import show; show.MODEL = pathlib.Path(sys.argv[1]);"
        "from edged.cli import main; sys.exit(main(['demo', '--plain']))"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert done.stderr == f"edged: the demo's model is missing ({tmp_path}); install edged again\n"


TRUTH = Truth(people=2, cars=1, door_open=True, night=False)
PEOPLE = "How many people are in this image? Answer with one number."
REPORT = {"people": 2, "cars": 1, "door_open": True, "night": False}


@pytest.mark.parametrize(
    ("kind", "prompt", "value", "judgement"),
    [
        ("integer", PEOPLE, 2, "right"),
        ("integer", PEOPLE, 3, "wrong"),
        ("integer", "  how many  people are in this image? answer with one number. ", 2, "right"),
        ("yes_no", "Is there anyone in the picture? Answer Yes or No.", True, "right"),
        ("yes_no", "지금은 밤인가요? 예 또는 아니요로 답하세요.", False, "right"),
        ("json", "Report what you see. Answer in JSON.", REPORT, "right"),
        ("json", "Report what you see. Answer in JSON.", REPORT | {"night": True}, "wrong"),
        ("json", "Report what you see. Answer in JSON.", {"cars": 1}, "right"),
        ("json", "Report what you see. Answer in JSON.", {"people": 2, "dogs": 1}, None),
        ("text", "Describe the scene.", TRUTH.description, "right"),
        ("integer", "How many windows are there? Answer with one number.", 2, None),
        ("text", PEOPLE, "2", None),
    ],
)
def test_an_answer_is_judged_by_what_was_asked(kind: str, prompt: str, value: object, judgement: str | None):
    payload = {"question": "people", "type": kind, "prompt": prompt, "value": value}
    assert judged(payload, TRUTH) == judgement
    assert judged(payload, None) is None


def test_each_question_of_the_demo_can_be_judged(tmp_path: Path):
    path = tmp_path / "edged.yaml"
    path.write_text(asked("rtsp://127.0.0.1/yard", 1883, "1s"))
    questions = [question for camera in load(path).cameras for question in camera.questions]
    assert len(questions) == 5
    for question in questions:
        payload = {"type": question.answer.kind, "prompt": question.prompt, "value": None}
        assert judged(payload, TRUTH) == "wrong", question


@pytest.mark.parametrize(
    "folder", ["Projects, 2025", "[new]", "x: y", "it's", "#1", "a #1", '"', "e\u0301", "{node}", "true"]
)
def test_the_demo_can_be_installed_in_any_folder(tmp_path: Path, folder: str):
    model = tmp_path / folder / "model"
    write_config(tmp_path / "edged.yaml", "demo", model, "127.0.0.1", 1, 2, 3)
    assert load(tmp_path / "edged.yaml").model.path == model


def test_the_config_of_the_demo_is_utf_8_in_any_locale(tmp_path: Path):
    program = (
        "import sys, pathlib; from edged.demo.questions import write_config;"
        "write_config(pathlib.Path('edged.yaml'), 'demo', pathlib.Path('m'), '127.0.0.1', 1, 2, 3)"
    )
    ascii_only = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    environment = os.environ | ascii_only | {"PYTHONPATH": str(PACKAGE.parent)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=180)
    assert load(tmp_path / "edged.yaml").cameras


@pytest.mark.slow
def test_a_changed_prompt_is_not_judged_by_the_truth_of_the_former():
    with running_demo() as demo:
        config = demo.config.read_text()
        demo.config.write_text(config.replace("How many people are in this image?", "How many windows are there?"))

        def both_answered() -> bool:
            if message := demo.follower.next(1.0):
                demo.board.hear(message)
            yard = demo.board.cameras.get("demo/yard")
            people, doors = (yard and yard.answers.get(question) for question in ("people", "door_open"))
            return bool(people and doors and people.payload["prompt"].startswith("How many windows"))

        until(both_answered, 90)
        answers = demo.board.cameras["demo/yard"].answers
        assert answers["people"].judgement is None
        assert answers["door_open"].judgement in ("right", "wrong")


@pytest.mark.slow
def test_an_edged_that_exits_by_itself_is_reported_with_the_end_of_its_log(tmp_path: Path):
    program = (
        "import sys, pathlib; from edged.demo import show; show.MODEL = pathlib.Path(sys.argv[1]);"
        "from edged.cli import main; sys.exit(main(['demo', '--plain']))"
    )
    (tmp_path / "model.safetensors").write_text("")  # edged cannot load this folder and exits with 78
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert re.search(r"edged exited by itself with exit code 78; the end of its log:\n.+", done.stderr), done.stderr
    assert "SIGTERM" not in done.stderr
    assert str(tmp_path) in done.stderr
    assert done.stdout == "0 answers: 0 right, 0 wrong, 0 refused\n"


# the way to one's own camera


@pytest.mark.parametrize("folder", ["/opt/edged/bin", "/home/somebody/with a long name/and/a project folder/.venv/bin"])
def test_the_next_steps_fit_80_columns_and_name_the_command_as_it_can_be_typed(folder: str):
    text = next_steps(shlex.quote(f"{folder}/edged"), shlex.quote(f"{folder}/hf"))
    assert max(len(line) for line in text.splitlines()) <= 80, text
    typed = [shlex.split(line) for line in text.replace("\\\n", "").splitlines() if folder in line]
    assert [words[0] for words in typed] == [f"{folder}/hf"] + [f"{folder}/edged"] * 4


def test_the_next_steps_write_a_config_that_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    text = next_steps("edged", "hf").replace("\\\n", "")
    typed = [shlex.split(line)[1:] for line in text.splitlines() if line.strip().startswith("edged ")]
    init, check = (next(words for words in typed if words[0] == name) for name in ("init", "check"))
    assert main(init) == 0
    assert main(check) == 0


def test_a_command_on_the_path_is_named_without_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "bin" / "edged"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    assert as_typed(program) == "bin/edged"
    monkeypatch.chdir("/")
    assert as_typed(program) == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert as_typed(program) == "edged"


@pytest.mark.slow
def test_the_demo_works_without_the_training_code(tmp_path: Path):
    """As installed from a wheel, which leaves edged/demo/training/ out."""
    ignored = shutil.ignore_patterns("training", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "edged", ignore=ignored)
    done = subprocess.run(
        command("--seconds", "1", "--plain"), cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert COUNTS.search(done.stdout) or "answer" in done.stdout


def test_nothing_else_imports_the_training_code():
    others = [path for path in PACKAGE.rglob("*.py") if "training" not in path.parts]
    assert [path for path in others if "demo.training" in path.read_text()] == []


def asked(source: str, port: int, every: str) -> str:
    """The config of a demo camera: the demo's own questions, of this source."""
    text = CONFIG.format(node="box", model=MODEL, host="127.0.0.1", broker=port, cameras=0, page=free_port())
    head, _, _ = text.partition("  back:")
    return head.replace("http://127.0.0.1:0/yard.mjpeg", source).replace("every: 2s", f"every: {every}")


@pytest.mark.slow
def test_true_answers_of_a_folder_of_pictures(tmp_path: Path):
    truths: dict[str, Truth] = {}
    (tmp_path / "pictures").mkdir()
    for seed in range(6):
        pixels, truth = still(9_000 + seed, sprites="held_out")
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{seed}.png")
        truths[hashlib.sha256(pixels.tobytes()).hexdigest()] = truth
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


@pytest.mark.slow
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
