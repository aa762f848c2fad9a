"""What every command owes its caller: the exit code, and standard streams that may be closed, full, or read no more."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.cli import main
from edged.core.answer_types import Text, YesNo
from edged.core.specs import Generation, QuestionSpec

SHIPPED = Path(__file__).parent.parent / "config" / "edged.yaml"
FULL = "edged: standard output: No space left on device\n"
BUFFERED = {"PYTHONUNBUFFERED": ""}
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


def shell(line: str, **variables: str) -> tuple[int, str]:
    """Run `edged …` in a shell that redirects; the exit code, and what came out on both streams but for warnings."""
    done = subprocess.run(
        ["bash", "-c", line.replace("edged ", f"{sys.executable} -m edged ", 1)],
        capture_output=True, text=True, timeout=60, env=os.environ | variables,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines(keepends=True)
    return done.returncode, "".join(line for line in lines if not line.startswith("warning: "))


@pytest.mark.parametrize("variables", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", [f"check {SHIPPED}", "check --schema", "--help", "--version"])
def test_a_full_disk_is_one_sentence_and_exit_1(command: str, variables: dict[str, str]):
    assert shell(f"edged {command} >/dev/full", **variables) == (1, FULL)


@pytest.mark.parametrize("variables", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_a_pipe_that_is_read_no_more_ends_in_silence(variables: dict[str, str]):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "edged", "check", "--schema"],
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, env=os.environ | variables,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", ">&- 2>&- <&-", "2>&-", "2>/dev/full", ">&- 2>/dev/full"])
def test_closed_streams_change_no_exit_code(closed: str, tmp_path: Path):
    code, output = shell(f"edged check {SHIPPED} {closed}")
    assert (code, output) == (0, "" if ">&-" in closed.split() else f"{SHIPPED}: valid (2 cameras, 8 questions)\n")
    for command in ("check", "run --config", "watch --config"):
        code, output = shell(f"edged {command} {tmp_path}/none.yaml {closed}")
        assert (code, "Traceback" in output) == (78, False)


def test_a_file_opened_later_never_takes_the_number_of_a_closed_stream():
    program = (
        "import os, sys; from edged.cli import main; main(['check', '--schema']); "
        "print(os.open('/', os.O_RDONLY), file=sys.stderr)"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{program}" <&- >&-'], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, int(done.stderr) > 2) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ask", "x", "--image", "none.jpg", "--config", "bad.yaml"], 78),
        (["ask", "x", "--image", "none.jpg", "--model", ".", "--config", "bad.yaml"], 78),
        (["watch", "--plain", "--config", "bad.yaml"], 78),
        (["bench", "--config", "bad.yaml"], 78),
        (["run", "--config", "bad.yaml"], 78),
        (["check", "bad.yaml"], 78),
        (["check", "none.yaml"], 78),
        (["nonsense"], 2),
        ([], 2),
        (["ask", "x", "--model", "."], 2),
        (["ask", "x", "--image", "none.jpg", "--model", ".", "--answer", "colour"], 2),
        (["ask", "x", "--image", "none.jpg", "--model", ".", "--answer", "[a"], 2),
        (["ask", "x", "--image", "none.jpg", "--model", ".", "--answer", "[" * 1000], 2),
        (["ask", "x", "--image", "none.jpg", "--model", ".", "--answer", "number", "--range", "[1"], 2),
        (["ask", "x", "--image", "none.jpg", "--model", ".", "--max-new-tokens", "0"], 2),
        (["ask", "x\0", "--image", "none.jpg", "--model", "."], 2),
        (["ask", "x\udcff", "--image", "none.jpg", "--model", "."], 2),
        (["ask", "x", "--image", "none.jpg", "--model", "."], 1),
        (["ask", "x", "--image", "~nobody-of-that-name/a.jpg", "--model", "."], 1),
        (["ask", "x", "--image", "http://a..b/a.jpg", "--model", "."], 1),
        (["demo", "--seconds", "nan"], 2),
        (["demo", "--seconds", "0"], 2),
        (["bench", "--seconds", "-1"], 2),
        (["bench", "--seconds", "inf"], 2),
        (["init", "--out", "a" * 300], 1),
        (["--help"], 0),
        (["--version"], 0),
    ],
)
def test_the_exit_code_says_whose_turn_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("model: {path: m}\ncamras: {}\n")
    assert main(arguments) == code
    assert "Traceback" not in capsys.readouterr().err


def test_check_reports_a_fifo_instead_of_waiting_for_it(tmp_path: Path):
    os.mkfifo(tmp_path / "edged.yaml")
    assert shell(f"edged check {tmp_path}/edged.yaml") == (78, "edged.yaml: is not a regular file\n")


@pytest.mark.parametrize(
    "command", ["doctor --config edged.yaml", "ask x --image http://127.0.0.1:PORT/a.jpg --model ."]
)
def test_ctrl_c_ends_a_command_with_130_and_without_a_traceback(tmp_path: Path, command: str):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        port = silent.getsockname()[1]
        (tmp_path / "edged.yaml").write_text(f"model: {{path: m}}\nmqtt: {{url: 'mqtt://127.0.0.1:{port}'}}\n")
        words = [sys.executable, "-m", "edged", *command.replace("PORT", str(port)).split()]
        with (
            subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as done,
            silent.accept()[0],
        ):  # now it waits for an answer
            begun = time.monotonic()
            done.send_signal(signal.SIGINT)
            _, errors = done.communicate(timeout=60)
    assert (done.returncode, "Traceback" in errors) == (130, False)
    assert time.monotonic() - begun < 3


# edged ask


@pytest.fixture
def asked(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Ask about a picture with these options, where a config stands beside; the answer as the broker would get it."""
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((56, 56, 3), np.uint8))
    settings = "max_new_tokens: 3, temperature: 0.5, top_p: 0.9, top_k: 5, repetition_penalty: 1.1, deadline: 31s"
    (tmp_path / "edged.yaml").write_text(f"language: ko\nmodel: {{path: {tiny_folder}, {settings}}}\n")

    def ask(*options: str) -> dict[str, object]:
        main(["ask", "Open?", "--image", str(tmp_path / "picture.png"), "--json", *options])
        return dict(json.loads(capsys.readouterr().out))

    return ask


OF_THE_CONFIG = Generation(3, temperature=0.5, top_p=0.9, top_k=5, repetition_penalty=1.1, deadline_s=31.0)


def as_asked(prompt: str, generation: Generation, answer: Text | YesNo) -> dict[str, object]:
    spec = QuestionSpec("question", prompt, answer, generation=generation)
    return {"prompt": prompt, "prompt_rev": spec.prompt_rev}


def test_ask_takes_settings_and_language_from_the_config(asked, tmp_path: Path):
    config = ("--config", str(tmp_path / "edged.yaml"))
    expected = as_asked("Open? 예 또는 아니요로 답하세요.", OF_THE_CONFIG, YesNo("예", "아니요"))
    assert asked("--answer", "yes_no", *config).items() >= expected.items()


def test_ask_takes_them_for_another_model_too(asked, tiny_folder: Path, tmp_path: Path):
    config = ("--config", str(tmp_path / "edged.yaml"), "--model", str(tiny_folder))
    assert asked(*config).items() >= as_asked("Open?", OF_THE_CONFIG, Text()).items()


def test_the_options_of_ask_win(asked, tmp_path: Path):
    own = ("--language", "en", "--max-new-tokens", "2", "--config", str(tmp_path / "edged.yaml"))
    generation = Generation(2, temperature=0.5, top_p=0.9, top_k=5, repetition_penalty=1.1, deadline_s=31.0)
    expected = as_asked("Open? Answer Yes or No.", generation, YesNo("Yes", "No"))
    assert asked("--answer", "yes_no", *own).items() >= expected.items()


def test_ask_with_a_model_alone_is_greedy_with_128_tokens_and_60_s(asked, tiny_folder: Path):
    expected = as_asked("Open?", Generation(128, deadline_s=60.0), Text())
    assert asked("--model", str(tiny_folder)).items() >= expected.items()


@pytest.mark.parametrize("variables", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_an_answer_that_finds_no_room_is_one_sentence(
    asked, tiny_folder: Path, tmp_path: Path, variables: dict[str, str]
):
    picture = tmp_path / "picture.png"
    line = f"edged ask Open? --image {picture} --model {tiny_folder} --max-new-tokens 4 >/dev/full"
    assert shell(line, **variables) == (1, FULL)
