"""What all commands share: exit codes, the config that is taken, options, and closed, full or broken streams."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import re
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
from edged.config.load import DEFAULT_PATH, load
from edged.core.answer_types import Text, YesNo
from edged.core.specs import Generation, QuestionSpec

SHIPPED = Path(__file__).parent.parent / "config" / "edged.yaml"
FULL = "edged: standard output: No space left on device\n"
BUFFERED = {"PYTHONUNBUFFERED": ""}
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}
ANSWER_KEYS = [
    "schema", "id", "node", "camera", "region", "question", "type", "value", "status", "reason", "confidence",
    "agreement", "settled", "alert", "text", "truncated", "prompt", "prompt_rev", "frame_ts", "frame_age_s",
    "frame_sha256", "answered_ts", "clock_synced", "reuse_of", "late", "trigger", "timing_ms", "model", "model_rev",
    "config_rev",
]  # fmt: skip


def shell(line: str, **variables: str) -> tuple[int, str]:
    """Run `edged …` in a shell that redirects; the exit code, and both streams without the warnings."""
    done = subprocess.run(
        ["bash", "-c", line.replace("edged ", f"{sys.executable} -m edged ", 1)],
        capture_output=True, text=True, timeout=180, env=os.environ | variables,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines(keepends=True)
    return done.returncode, "".join(line for line in lines if not line.startswith("warning: "))


@pytest.mark.slow
@pytest.mark.parametrize("variables", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", [f"check {SHIPPED}", "check --schema", "--help", "--version"])
def test_a_full_disk_is_one_sentence_and_exit_1(command: str, variables: dict[str, str]):
    assert shell(f"edged {command} >/dev/full", **variables) == (1, FULL)


@pytest.mark.parametrize("variables", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_a_closed_pipe_is_not_reported(variables: dict[str, str]):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "edged", "check", "--schema"],
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=180, env=os.environ | variables,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", ">&- 2>&- <&-", "<&-", "2>&-", "2>/dev/full", ">&- 2>/dev/full"])
def test_closed_streams_change_no_exit_code(closed: str, tmp_path: Path):
    code, output = shell(f"edged check {SHIPPED} {closed}")
    assert (code, output) == (0, "" if ">&-" in closed.split() else f"{SHIPPED}: valid (2 cameras, 8 questions)\n")
    for command in ("check", "run --config", "watch --config"):
        code, output = shell(f"edged {command} {tmp_path}/none.yaml {closed}")
        assert (code, "Traceback" in output) == (78, False)
    code, output = shell(f"edged labels import --db {tmp_path}/none.db </dev/null {closed}")
    assert (code, "Traceback" in output) == (1, False)


def test_a_file_opened_later_never_gets_the_descriptor_of_a_closed_stream():
    program = (
        "import os, sys; from edged.cli import main; main(['check', '--schema']); "
        "print(os.open('/', os.O_RDONLY), file=sys.stderr)"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{program}" <&- >&-'], capture_output=True, text=True, timeout=180
    )
    assert (done.returncode, int(done.stderr) > 2) == (0, True)


def test_a_file_name_that_is_not_utf_8_is_printed_escaped(tmp_path: Path):
    path = tmp_path / "caf\udce9.yaml"
    path.write_text("model: {path: .}\n")
    code, output = shell(f"edged check {tmp_path}/*.yaml", PYTHONIOENCODING="utf-8:strict")
    assert (code, output) == (0, f"{tmp_path}/caf\\udce9.yaml: valid (0 cameras, 0 questions)\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ask", "x", "--image", "none.jpg", "--config", "bad.yaml"], 78),
        (["ask", "x", "--image", "none.jpg", "--model", ".", "--config", "bad.yaml"], 78),
        (["watch", "--plain", "--config", "bad.yaml"], 78),
        (["bench", "--config", "bad.yaml"], 78),
        (["run", "--config", "bad.yaml"], 78),
        (["look", "dock", "--config", "bad.yaml"], 78),
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
def test_the_exit_code_tells_usage_config_and_other_errors_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("model: {path: m}\ncamras: {}\n")
    assert main(arguments) == code
    assert "Traceback" not in capsys.readouterr().err


def test_check_reports_a_fifo_instead_of_waiting_for_it(tmp_path: Path):
    os.mkfifo(tmp_path / "edged.yaml")
    assert shell(f"edged check {tmp_path}/edged.yaml") == (78, f"{tmp_path}/edged.yaml: is not a regular file\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["doctor --config edged.yaml", "ask x --image http://127.0.0.1:PORT/a.jpg --model ."]
)
def test_ctrl_c_ends_a_command_with_130_and_without_a_traceback(tmp_path: Path, command: str):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        port = silent.getsockname()[1]
        (tmp_path / "edged.yaml").write_text(f"model: {{path: m}}\nmqtt: {{url: 'mqtt://127.0.0.1:{port}'}}\n")
        arguments = [sys.executable, "-m", "edged", *command.replace("PORT", str(port)).split()]
        with (
            subprocess.Popen(
                arguments, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
            ) as done,
            silent.accept()[0],
        ):  # it waits for an answer now
            begun = time.monotonic()
            done.send_signal(signal.SIGINT)
            _, errors = done.communicate(timeout=180)
    assert (done.returncode, "Traceback" in errors) == (130, False)
    assert time.monotonic() - begun < 3


SLOW = """
import sys, time
print("loading", file=sys.stderr, flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["ask x --image a.png", "bench --seconds 1"])
def test_a_signal_while_the_model_loads_ends_the_command_at_once(
    command: str, number: signal.Signals, tiny_folder: Path, tmp_path: Path
):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((56, 56, 3), np.uint8))
    (tmp_path / "transformers.py").write_text(SLOW)  # the first library that loading a model imports
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    arguments = [sys.executable, "-m", "edged", *command.split(), "--model", str(tiny_folder)]
    with subprocess.Popen(
        arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
    ) as done:
        assert done.stderr
        assert done.stderr.readline() == "loading\n"
        begun = time.monotonic()
        done.send_signal(number)
        try:
            _, errors = done.communicate(timeout=10)
        finally:
            done.kill()
    assert (done.returncode, errors) == (130, "")
    assert time.monotonic() - begun < 3


# which config


def unusable(folder: Path) -> str:
    """Write an edged.yaml that no command can use; the problem that is printed for it."""
    (folder / "edged.yaml").write_text("model: {path: m}\ncamras: {}\n")
    return 'edged.yaml:2: unknown key "camras"'


@pytest.fixture
def system_config(tmp_path: Path) -> Path:
    """Stands for /etc/edged/edged.yaml, which the machine that runs this test may have."""
    return tmp_path / "etc" / "edged.yaml"


def test_the_config_of_the_system_is_in_etc():
    assert Path("/etc/edged/edged.yaml") == DEFAULT_PATH
    assert inspect.signature(main).parameters["system_config"].default == DEFAULT_PATH


WITHOUT_CONFIG = [["check"], ["run"], ["watch"], ["bench"], ["look", "x"], ["ask", "x", "--image", "none.jpg"]]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", WITHOUT_CONFIG, ids=lambda arguments: arguments[0])
def test_the_config_of_the_system_is_used_before_the_one_in_the_working_directory(
    arguments: list[str], system_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    system_config.parent.mkdir()
    problem = unusable(system_config.parent)
    unusable(tmp_path)
    assert main(arguments, system_config) == 78
    printed = capsys.readouterr().err
    assert f"{system_config.parent}/{problem}" in printed + caplog.text
    assert "using" not in printed


@pytest.mark.parametrize("arguments", WITHOUT_CONFIG, ids=lambda arguments: arguments[0])
def test_without_it_the_config_in_the_working_directory_is_used(
    arguments: list[str], system_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    problem = unusable(tmp_path)
    assert main(arguments, system_config) == 78
    printed = capsys.readouterr().err
    assert printed.startswith("edged: using ./edged.yaml\n")
    assert problem in printed + caplog.text


def test_doctor_uses_the_config_in_the_working_directory_too(
    system_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    problem = unusable(tmp_path)
    assert main(["doctor", "--json"], system_config) == 1
    printed = capsys.readouterr()
    assert printed.err == "edged: using ./edged.yaml\n"
    assert problem in json.loads(printed.out)["checks"][0]["detail"]


@pytest.mark.parametrize("arguments", WITHOUT_CONFIG, ids=lambda arguments: arguments[0])
def test_without_any_config_both_paths_and_init_are_named(
    arguments: list[str], system_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments, system_config) == 78
    assert capsys.readouterr().err == (
        f"edged: no config: neither {system_config} nor ./edged.yaml exists; edged init writes one\n"
    )


def test_doctor_without_any_config_names_both_paths_and_checks_the_rest(
    system_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--json"], system_config) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"edged: no config: neither {system_config} nor ./edged.yaml exists")
    assert "python" in [check["name"] for check in json.loads(printed.out)["checks"]]


# edged check


def checkable(folder: Path, source: str) -> str:
    path = folder / "edged.yaml"
    path.write_text(f"model: {{path: .}}\ncameras: {{dock: {{source: {source}, ask: {{open: {{prompt: Open?}}}}}}}}\n")
    return str(path)


def test_check_takes_its_file_as_other_commands_do_but_only_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = checkable(tmp_path, "none.png")
    assert main(["check", "--config", path]) == 0
    assert capsys.readouterr().out == f"{path}: valid (1 camera, 1 question)\n"
    assert main(["check", "--config", path, path]) == 2
    assert "argument FILE: not allowed with argument --config" in capsys.readouterr().err


def test_strict_makes_a_warning_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = checkable(tmp_path, "none.png")
    assert main(["check", path]) == 0
    assert capsys.readouterr().out == f"{path}: valid (1 camera, 1 question)\n"
    assert main(["check", "--strict", path]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    warning, verdict = printed.err.splitlines()
    assert warning.startswith("warning: ")
    assert verdict == f"edged: {path}: 1 warning (--strict)"


def test_strict_accepts_a_config_without_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a.png").touch()
    path = checkable(tmp_path, "a.png")
    assert main(["check", "--strict", path]) == 0
    assert capsys.readouterr() == (f"{path}: valid (1 camera, 1 question)\n", "")


# options


@pytest.mark.parametrize("arguments", [["-v", "check"], ["check", "-v"], ["check", "--verbose"]], ids=" ".join)
def test_verbose_is_accepted_before_and_after_the_command(arguments: list[str]):
    assert main([*arguments, str(SHIPPED)]) == 0
    assert logging.getLogger("edged").level == logging.DEBUG


@pytest.mark.parametrize("arguments", [["check", "a.yaml", "b.yaml"], ["run", "b.yaml"], ["-v", "run", "b.yaml"]])
def test_an_unknown_argument_is_reported_with_the_usage_of_its_command(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == 2
    command = next(argument for argument in arguments if not argument.startswith("-"))
    usage, *_, last = capsys.readouterr().err.splitlines()
    assert usage.startswith(f"usage: edged {command} ")
    assert last == f"edged {command}: error: unrecognized arguments: b.yaml"


NO_NAME, NO_PATH = "must be a name, not an address", "must be a path, not an address"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["ADDRESS"], "argument COMMAND: invalid choice: 'ADDRESS' (choose from "),
        (["labels", "ADDRESS"], "argument {export,import}: invalid choice: 'ADDRESS' (choose from "),
        (["check", "-vADDRESS"], "argument -v/--verbose: ignored explicit argument 'ADDRESS'"),
        (["init", "pictures", "-z", "ADDRESS"], "unrecognized arguments: -z ADDRESS"),
        (["check", "a.yaml", "ADDRESS"], "unrecognized arguments: ADDRESS"),
        (["ask", "--max-new-tokens", "ADDRESS"], "argument --max-new-tokens: invalid int value: 'ADDRESS'"),
        (["bench", "--seconds", "ADDRESS"], 'argument --seconds: must be a number of seconds above 0, not "ADDRESS"'),
        (["check", "ADDRESS"], f"argument FILE: {NO_PATH}"),
        (["run", "--config=ADDRESS"], f"argument --config: {NO_PATH}"),
        (["init", "--out", "ADDRESS"], f"argument --out: {NO_PATH}"),
        (["history", "--file", "ADDRESS"], f"argument --file: {NO_PATH}"),
        (["history", "ADDRESS"], f"argument CAMERA[/QUESTION]: {NO_NAME}"),
        (["look", "ADDRESS"], f"argument CAMERA: {NO_NAME}"),
        (["ask", "--camera", "ADDRESS"], f"argument --camera: {NO_NAME}"),
    ],
)
@pytest.mark.parametrize(
    "address",
    ["rtsp://me:hunter2@cam/s", "rtsp:/me:hunter2@cam", "me:hunter2@cam", "rtsp://me:hun 'ter2\"@hunter2@cam/s"],
)
def test_no_address_is_shown(arguments: list[str], error: str, address: str, capsys: pytest.CaptureFixture[str]):
    assert main([argument.replace("ADDRESS", address) for argument in arguments]) == 2
    shown = capsys.readouterr().err
    assert not [piece for piece in ("hun", "ter2") if piece in shown]
    assert f"error: {error}" in shown


def test_a_picture_may_be_an_address_with_its_scheme_only(capsys: pytest.CaptureFixture[str]):
    assert main(["ask", "--image", "me:hunter2@cam/a.jpg", "Open?"]) == 2
    assert (
        "error: argument --image: must be a path, or an address that begins with http or https"
        in capsys.readouterr().err
    )
    assert main(["ask", "--image", "rtsp://me:hunter2@cam/a.jpg", "--model", ".", "Open?"]) != 2
    assert "hunter" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a:b@c.yaml", "a@b.yaml", "a:b.yaml"])
def test_a_file_may_have_any_name_if_it_cannot_be_an_address(name: str, tmp_path: Path):
    (tmp_path / name).write_text(SHIPPED.read_text())
    assert main(["check", str(tmp_path / name)]) == 0


@pytest.mark.parametrize("command", ["demo", "bench"])
@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "abc", "-inf"])
def test_seconds_are_a_finite_number_above_zero(command: str, text: str, capsys: pytest.CaptureFixture[str]):
    assert main([command, f"--seconds={text}"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f'edged {command}: error: argument --seconds: must be a number of seconds above 0, not "{text}"'


# a missing model


@pytest.mark.parametrize(
    "command", ["run --config edged.yaml", "ask x --image a.png --config edged.yaml", "bench --model none"]
)
def test_a_missing_model_folder_is_reported_before_torch_is_imported(command: str, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((56, 56, 3), np.uint8))
    (tmp_path / "edged.yaml").write_text("model: {path: none}\nmqtt: {url: 'mqtt://127.0.0.1:1'}\n")
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers'])); "
        f"from edged.cli import main; sys.exit(main({command.split()}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 78, done.stderr
    hint = (
        "edged prepare makes one from a compiled model (edged prepare --help); "
        "without an NPU, download Qwen/Qwen2-VL-2B-Instruct as the README shows"
    )
    assert done.stderr.splitlines()[-1].endswith(f"model: there is no folder {tmp_path}/none; {hint}")


def test_a_model_folder_that_cannot_be_examined_is_reported_in_one_line(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "edged", "bench", "--model", "x" * 300], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (
        78,
        f"edged: model: {tmp_path}/{'x' * 300} cannot be read: file name too long\n",
    )


# edged ask


@pytest.fixture
def asked(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Ask about a picture with these options, beside a config; the payload of the answer."""
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((56, 56, 3), np.uint8))
    settings = "max_new_tokens: 3, temperature: 0.5, top_p: 0.9, top_k: 5, repetition_penalty: 1.1, deadline: 31s"
    (tmp_path / "edged.yaml").write_text(f"language: ko\nmodel: {{path: {tiny_folder}, {settings}}}\n")

    def ask(*options: str) -> dict[str, object]:
        main(["ask", "Open?", "--image", str(tmp_path / "picture.png"), "--json", *options])
        return dict(json.loads(capsys.readouterr().out))

    return ask


DEMO = Path(__file__).parent.parent / "edged/demo/model"
OF_THE_CONFIG = Generation(3, temperature=0.5, top_p=0.9, top_k=5, repetition_penalty=1.1, deadline_s=31.0)


def as_asked(prompt: str, generation: Generation, answer: Text | YesNo) -> dict[str, object]:
    spec = QuestionSpec("question", prompt, answer, generation=generation)
    return {"prompt": prompt, "prompt_rev": spec.prompt_rev}


def test_ask_uses_settings_and_language_of_the_config(asked, tmp_path: Path):
    config = ("--config", str(tmp_path / "edged.yaml"))
    expected = as_asked("Open? 예 또는 아니요로 답하세요.", OF_THE_CONFIG, YesNo("예", "아니요"))
    assert asked("--answer", "yes_no", *config).items() >= expected.items()


def test_ask_uses_them_for_another_model_too(asked, tiny_folder: Path, tmp_path: Path):
    config = ("--config", str(tmp_path / "edged.yaml"), "--model", str(tiny_folder))
    assert asked(*config).items() >= as_asked("Open?", OF_THE_CONFIG, Text()).items()


def test_ask_fits_the_picture_into_another_model_as_the_config_says(asked, tiny_folder: Path, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "picture.png"), np.full((56, 224, 3), 255, np.uint8))  # the demo's model takes squares
    confidences = []
    for keys in (f"path: {DEMO}", f"path: {DEMO}, fit: letterbox", f"path: {tiny_folder}, fit: letterbox"):
        (tmp_path / "edged.yaml").write_text(f"model: {{{keys}}}\n")
        config = ("--config", str(tmp_path / "edged.yaml"), "--model", str(DEMO))
        confidences.append(asked("--answer", "yes_no", *config)["confidence"])
    stretched, letterbox, of_another = confidences
    assert stretched != letterbox == of_another


def test_the_options_of_ask_win(asked, tmp_path: Path):
    own = ("--language", "en", "--max-new-tokens", "2", "--config", str(tmp_path / "edged.yaml"))
    generation = Generation(2, temperature=0.5, top_p=0.9, top_k=5, repetition_penalty=1.1, deadline_s=31.0)
    expected = as_asked("Open? Answer Yes or No.", generation, YesNo("Yes", "No"))
    assert asked("--answer", "yes_no", *own).items() >= expected.items()


def test_ask_with_a_model_alone_is_greedy_with_128_tokens_and_60_s(asked, tiny_folder: Path):
    expected = as_asked("Open?", Generation(128, deadline_s=60.0), Text())
    assert asked("--model", str(tiny_folder)).items() >= expected.items()


def test_an_answer_of_ask_names_neither_a_camera_nor_a_node(asked, tiny_folder: Path, tmp_path: Path):
    answer = asked("--model", str(tiny_folder))
    assert list(answer) == ANSWER_KEYS
    assert (answer["camera"], answer["node"], answer["config_rev"]) == (None, None, None)
    path = tmp_path / "edged.yaml"
    answer = asked("--config", str(path))
    assert (answer["camera"], answer["node"], answer["config_rev"]) == (None, None, load(path).rev)


def on_a_terminal(command: list[str]) -> tuple[int, str, str]:
    """Run it with a terminal for standard error; the exit code, standard output, and what the terminal got."""
    terminal, errors = os.openpty()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=180)
    finally:
        os.close(errors)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while block := os.read(terminal, 4096):
            shown += block
    os.close(terminal)
    return done.returncode, done.stdout, shown.decode()


@pytest.mark.slow
def test_ask_shows_on_a_terminal_that_it_loads_the_model_and_for_how_long(asked, tiny_folder: Path, tmp_path: Path):
    question = ["ask", "Open?", "--answer", "yes_no", "--image", str(tmp_path / "picture.png")]
    command = [sys.executable, "-m", "edged", *question, "--model", str(tiny_folder)]
    code, output, errors = on_a_terminal(command)
    assert (code, output in ("true\n", "false\n")) == (0, True)
    assert re.fullmatch(rf"loading the model {tiny_folder} … \d+(\.\d)? s\r\n", errors)


@pytest.mark.slow
def test_ask_prints_nothing_but_the_answer_without_a_terminal(asked, tiny_folder: Path, tmp_path: Path):
    line = f"edged ask Open? --answer yes_no --image {tmp_path}/picture.png --model {tiny_folder}"
    assert shell(line) in [(0, "true\n"), (0, "false\n")]


@pytest.mark.slow
@pytest.mark.parametrize("variables", [BUFFERED, UNBUFFERED], ids=["buffered", "unbuffered"])
def test_an_answer_that_cannot_be_written_is_one_sentence(
    asked, tiny_folder: Path, tmp_path: Path, variables: dict[str, str]
):
    picture = tmp_path / "picture.png"
    line = f"edged ask Open? --image {picture} --model {tiny_folder} --max-new-tokens 4 >/dev/full"
    assert shell(line, **variables) == (1, FULL)
