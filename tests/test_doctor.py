"""The rows of `edged doctor` on a machine where something is missing or broken."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from support.account import unprivileged
from support.broker import MUTUAL_TLS, Mosquitto, Subscriber, free_port, tls  # noqa: F401  # a fixture
from support.making import picture
from support.npu import compiled

from edged.cli import main
from edged.config.exposure import user_name
from edged.core.errors import ModelError
from edged.core.pip import pip_install
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, CameraSpec, ClientCertificate, Config, ModelSpec, SourceKind, SourceSpec
from edged.tools.doctor import host, packages, probe, table
from edged.tools.doctor.broker import broker as check_broker
from edged.tools.doctor.broker import next_step
from edged.tools.doctor.cameras import cameras as check_cameras
from edged.tools.doctor.check import Check
from edged.tools.doctor.child import probe_command
from edged.tools.doctor.config import read_config
from edged.tools.doctor.examine import examine
from edged.tools.doctor.machine import Machine, User, group_name
from edged.tools.doctor.model import is_compiled, model_files
from edged.tools.doctor.npu import node_check
from edged.tools.doctor.npu import npu as check_npu
from edged.tools.doctor.packages import opencv_from
from edged.tools.doctor.question import ask
from edged.tools.doctor.question import question as check_question
from edged.tools.invocation import command_line

ROOT = User("root", 0, frozenset({0}))
OWNER = User("owner", 1000, frozenset({1000}))
TESTS = Path(__file__).parent
HIDDEN = "hunter2"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without an NPU."""
    for folder in ("dev", "proc", "modules", "state"):
        (tmp_path / "machine" / folder).mkdir(parents=True)
    root = tmp_path / "machine"
    return Machine(
        root / "dev", root / "proc", root / "modules", root / "state", "no-such-edged.service",
        users=lambda: [ROOT], camera_s=6.0, broker_s=3.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker"), users={"edged": HIDDEN}) as running:
        yield running


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(picture()).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def with_npu(machine: Machine, mode: int = 0o660, module: str = "aries") -> Path:
    node = machine.dev / "aries0"
    node.touch()
    node.chmod(mode)
    (machine.proc / "modules").write_text(f"ext4 1000 2 - Live 0x0\n{module} 65536 0 - Live 0x0\n")
    (machine.modules / module).mkdir()
    (machine.modules / module / "version").write_text("1.4.2\n")
    return node


def write(folder: Path, model: Path, mqtt: str = "{}", cameras: str = "{}") -> Path:
    path = folder / "edged.yaml"
    path.write_text(f"node: box\nmodel: {{path: {model}}}\nmqtt: {mqtt}\ncameras: {cameras}\n")
    path.chmod(0o600)
    return path


def by_name(checks: list[Check]) -> dict[str, Check]:
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def config(mqtt: BrokerSpec | None = None, *cameras: CameraSpec) -> Config:
    return Config("box", ModelSpec(Path("/none")), mqtt or BrokerSpec(), cameras, None, "r", Path("edged.yaml"))


def source(kind: SourceKind, address: str, problem: str | None = None) -> CameraSpec:
    return CameraSpec("dock", SourceSpec(kind, Secret(address), address.rpartition("@")[2], problem))


# everything there, and everything missing


@pytest.mark.slow
def test_a_complete_machine_is_ok(tmp_path: Path, machine: Machine, tiny_folder: Path, image: Path, broker: Mosquitto):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "mqtt").write_text(HIDDEN)
    mqtt = f"{{url: 'mqtt://127.0.0.1:{broker.port}', username: edged, password: {{secret: mqtt}}}}"
    cameras = f"{{dock: {{source: {image}, ask: {{a: {{prompt: How many?, answer: integer}}}}}}}}"
    checks = by_name(examine(write(tmp_path, tiny_folder, mqtt, cameras), machine))
    checks.pop("clock")  # is the machine's own
    assert [check for check in checks.values() if check.ok is False] == []
    assert checks["config"] == Check("config", True, f"{tmp_path}/edged.yaml: 1 camera, 1 question")
    assert checks["secrets"] == Check("secrets", True, "no secret is missing, and no other user can read one")
    assert checks["npu"] == Check("npu", None, "not needed: the model is not compiled")
    assert checks["model"].detail.startswith(f"{tiny_folder}: Qwen2-VL, not compiled, ")
    assert checks["camera dock"].detail.startswith("320x240 after ")
    assert checks[f"broker mqtt://127.0.0.1:{broker.port}"].detail.startswith("connected after ")
    assert re.search(r"answer \d+ ms \((cpu|cuda)\); .* with loading$", checks["question"].detail)
    assert checks["systemd"].ok is None
    assert {name for name in checks if name.startswith("model/")} == {
        "model/config.json", "model/preprocessor_config.json", "model/tokenizer.json", "model/model.safetensors",
    }  # fmt: skip


def test_a_machine_without_a_config_gets_a_row_for_each_check(tmp_path: Path, machine: Machine):
    path = tmp_path / "none.yaml"
    checks = by_name(examine(path, machine))
    todo = f"{command_line('init')} writes a first config; --config FILE names another one"
    assert checks["config"] == Check("config", False, f"{path} does not exist", todo)
    for name, detail in (
        ("secrets", "not checked: there is no valid config"),
        ("npu", "no /dev/aries*; a compiled model needs one"),
        ("model", "not checked: there is no valid config"),
        ("broker", "not checked: there is no valid config"),
        ("cameras", "not checked: there is no valid config"),
        ("question", "not asked: there is no valid config"),
    ):
        assert checks[name] == Check(name, None, detail)
    assert checks["opencv"].ok is True


def test_a_config_that_cannot_be_examined_is_not_called_missing(tmp_path: Path):
    config, checks = read_config(tmp_path / ("x" * 300))
    assert config is None
    assert checks[0].detail.endswith(f"/{'x' * 300}: cannot be read: File name too long")


def test_works_where_neither_torch_nor_cv2_nor_paho_can_be_imported(tmp_path: Path, tiny_folder: Path, image: Path):
    library = "libGL.so.1: cannot open shared object file"
    barred = tmp_path / "barred"
    barred.mkdir()
    for name in ("torch", "cv2", "paho", "transformers", "llguidance"):
        # what Python raises for a compiled module that the dynamic linker cannot load
        (barred / f"{name}.py").write_text(f"raise ImportError('{library}', name='{name}', path='/x/{name}.abi3.so')\n")
    cameras = f"{{dock: {{source: {image}, ask: {{a: {{prompt: How many?, answer: integer}}}}}}}}"
    path = write(tmp_path, tiny_folder, "{}", cameras)
    done = subprocess.run(
        [sys.executable, "-m", "edged", "doctor", "--config", str(path), "--json"],
        capture_output=True, text=True, timeout=180, env=os.environ | {"PYTHONPATH": str(barred)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    document = json.loads(done.stdout)
    assert list(document) == ["ok", "checks"]
    assert document["ok"] is False
    assert {tuple(check) for check in document["checks"]} == {("name", "ok", "detail", "next")}
    rows = {check["name"]: check for check in document["checks"]}
    assert rows["opencv"] == {
        "name": "opencv", "ok": False, "detail": f"cannot be imported: ImportError: {library}",
        "next": "sudo apt-get install libgl1 libglib2.0-0; if that does not help: "
        f"{pip_install('--force-reinstall', 'opencv-python')}",
    }  # fmt: skip
    for name in ("broker", "cameras"):
        assert (rows[name]["ok"], rows[name]["detail"]) == (None, f"not tried: ImportError: {library}")
    assert (rows["question"]["ok"], rows["question"]["detail"]) == (False, f"ImportError: {library}")
    assert rows["question"]["next"] == "see the rows of the packages"
    assert (rows["config"]["ok"], rows["package torch"]["ok"]) == (True, True)


@pytest.mark.slow
def test_no_row_holds_a_credential(tmp_path: Path, machine: Machine, broker: Mosquitto):
    mqtt = f"{{url: 'mqtt://127.0.0.1:{broker.port}', username: edged, password: wrong-{HIDDEN}}}"
    cameras = f"{{dock: {{source: 'rtsp://me:{HIDDEN}%21@127.0.0.1:9/pass={HIDDEN}', ask: {{a: {{prompt: Hm?}}}}}}}}"
    checks = examine(write(tmp_path, tmp_path / "no-model", mqtt, cameras), machine)
    assert HIDDEN not in table.as_json(checks)


def test_an_unexpected_error_in_one_check_hides_no_other(tmp_path: Path, machine: Machine):
    def broken() -> list[User]:
        raise ZeroDivisionError(HIDDEN)

    with_npu(machine)
    bad = Machine(machine.dev, machine.proc, machine.modules, machine.state, machine.unit, users=broken)
    checks = by_name(examine(tmp_path / "none.yaml", bad))
    assert (checks["doctor"].ok, checks["config"].ok) == (None, False)
    assert checks["doctor"].detail.startswith("unexpected error in a check: ZeroDivisionError at test_doctor.py:")
    assert HIDDEN not in table.as_json(list(checks.values()))


# the config


@pytest.mark.parametrize(
    ("text", "name", "detail", "todo"),
    [
        (
            "model: {path: m}\nfoo: 1\nbar: 2\n",
            "config",
            '{path}:2: unknown key "foo" (and 1 more)',
            "{edged} check {path}",
        ),
        ("model: [", "config", "{path}:1: is not YAML: ", "{edged} check {path}"),
        (
            "model: {path: m}\nmqtt: {username: me, password: {secret: pw}}\n",
            "secrets",
            '{path}:2: mqtt: the secret "pw" is missing (no file {folder}/credentials/pw',
            "write it to {folder}/credentials/NAME, owner {me}, mode 0600, or use LoadCredential=",
        ),
        (
            "model: {path: m}\nmqtt: {username: me, password: hunter2}\n",
            "secrets",
            "{path}:2: mqtt: a clear-text password, in a file that other users can read",
            "chmod 600 {path}",
        ),
    ],
)
def test_a_config_with_something_wrong(open_folder: Path, text: str, name: str, detail: str, todo: str):
    path = open_folder / "edged.yaml"
    path.write_text(text)
    path.chmod(0o644)
    row = by_name(read_config(path)[1])[name]
    places = {"path": path, "folder": open_folder, "me": user_name(os.geteuid()), "edged": command_line()}
    assert row.ok is False
    assert row.detail.startswith(detail.format(**places))
    assert row.next == todo.format(**places)


@pytest.mark.parametrize("folder", ["secret", "a clear-text password"])
def test_a_missing_picture_is_no_problem_of_secrets_whatever_its_folder_is_called(tmp_path: Path, folder: str):
    cameras = f"{{secret-door: {{source: '{folder}/none.jpg', ask: {{}}}}}}"
    checks = by_name(read_config(write(tmp_path, Path("no-model"), cameras=cameras))[1])
    assert checks["secrets"].ok is True


# packages


def test_the_tested_versions_are_those_of_the_project():
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]
    wanted = {text.partition(">")[0]: text for text in project["dependencies"]}
    for package in packages.PACKAGES:
        assert package.requirement == wanted[package.names[0]]
    assert packages.VENDOR[-1].requirement == wanted["mblt-model-zoo"]
    oldest, beyond = project["requires-python"].replace(">=", "").replace("<", "").split(",")
    assert [f"{major}.{minor}" for major, minor in packages.PYTHONS] == [oldest, "3.12"]
    assert beyond == "3.13"


@pytest.mark.parametrize(
    ("package", "compiled", "row"),
    [
        (packages.Package(("numpy",), "1", "99"), None, (True, None)),
        (packages.Package(("nothing-here",), "2.1", "3"), None, (False, pip_install("nothing-here>=2.1,<3"))),
        (packages.Package(("nothing-here",), compiled_only=True), False, (None, None)),
        (packages.Package(("nothing-here",), compiled_only=True), None, (None, None)),
        (packages.Package(("nothing-here",), compiled_only=True), True, (False, pip_install("nothing-here"))),
        (packages.Package(("numpy",), "0.1", "0.2"), None, (False, pip_install("numpy>=0.1,<0.2"))),
        (packages.Package(("numpy",), "99"), None, (False, pip_install("numpy>=99"))),
        (packages.Package(("nothing-here", "numpy")), None, (True, None)),
    ],
)
def test_a_package_is_ok_if_its_version_is_tested(package, compiled, row):
    check = packages.package_check(package, compiled)
    assert (check.name, check.ok, check.next) == (f"package {package.names[0]}", *row)


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.13.0+cpu", (2, 13, 0)), ("5.0.0.93", (5, 0, 0)), ("2.1", (2, 1)), ("5.17.0rc1", (5, 17, 0))],
)
def test_versions_are_compared_as_numbers(version, numbers):
    assert packages.version_numbers(version) == numbers


# the NPU


@pytest.fixture
def npu_model(compiled_folder: Path, tmp_path: Path) -> ModelSpec:
    shutil.copytree(compiled_folder, tmp_path / "compiled")
    return ModelSpec(tmp_path / "compiled")


def test_an_npu_that_can_be_opened(machine: Machine, npu_model: ModelSpec):
    node = with_npu(machine)
    assert check_npu(machine, npu_model, True) == [
        Check("npu driver", True, "aries 1.4.2"),
        Check(f"npu {node}", True, "-rw-rw---- root:root"),
    ]


def test_a_compiled_model_without_driver_and_node(machine: Machine, npu_model: ModelSpec):
    node = machine.dev / "aries0"
    assert check_npu(machine, npu_model, True) == [
        Check(
            "npu driver",
            False,
            "is not loaded",
            "install Mobilint's driver for this kernel, then check lsmod and dmesg",
        ),
        Check(f"npu {node}", False, "does not exist", f"compare model.cores with the devices: ls {machine.dev}/aries*"),
    ]


def test_the_second_npu_in_the_config_is_reported_as_missing(machine: Machine, npu_model: ModelSpec):
    with_npu(machine)
    workers = ((("text", "0:0:0"), ("vision", "0:0:1")), (("text", "1:0:0"), ("vision", "1:0:1")))
    rows = by_name(check_npu(machine, ModelSpec(npu_model.path, workers=workers), True))
    assert [check.ok for check in rows.values()] == [True, True, False]
    assert rows[f"npu {machine.dev / 'aries1'}"].detail == "does not exist"


@pytest.mark.parametrize(
    ("mode", "group", "user", "ok", "todo"),
    [
        (0o660, 44, OWNER, False, "sudo usermod -aG {group} owner, then log in again or restart the service"),
        (0o660, 44, User("owner", 1000, frozenset({44})), True, None),
        (
            0o600,
            44,
            User("owner", 1000, frozenset({44})),
            False,
            'add a udev rule: KERNEL=="aries0", GROUP="video", MODE="0660"',
        ),
        (0o660, 0, OWNER, False, 'add a udev rule: KERNEL=="aries0", GROUP="video", MODE="0660"'),
        (0o666, 0, OWNER, True, None),
        (0o600, 0, ROOT, True, None),
    ],
)
def test_who_may_open_the_npu(machine: Machine, mode, group, user, ok, todo):
    node = with_npu(machine, mode)
    os.chown(node, 0, group)
    row = node_check(node, machine, [user])
    assert row.ok is ok
    assert row.next == (todo and todo.format(group=group_name(group)))
    if not ok:
        assert row.detail.endswith(": owner cannot open it")


def test_a_node_without_a_kernel_module_is_not_judged(machine: Machine):
    with_npu(machine, module="other")
    assert check_npu(machine, None, None)[0].ok is None


def test_an_npu_that_a_running_edged_uses_is_not_asked(tmp_path: Path, machine: Machine, npu_model: ModelSpec):
    node = with_npu(machine)
    process = machine.proc / "812"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "7").symlink_to(node)
    (process / "comm").write_text("edged\n")
    assert check_npu(machine, npu_model, True)[1].detail == "-rw-rw---- root:root, in use by edged (pid 812)"
    busy = "not asked: the NPU is in use by edged (pid 812)"
    row = check_question(tmp_path / "edged.yaml", config(), True, True, machine)
    assert row == Check("question", None, busy, "stop it to run this check")


@pytest.mark.slow
def test_a_compiled_model_is_asked_on_the_npu(tmp_path: Path, machine: Machine, npu_model: ModelSpec, monkeypatch):
    # the vendor's code on a simulated NPU
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'support' / 'npu' / 'site'}:{TESTS}:{TESTS.parent}")
    monkeypatch.setenv("EDGED_SIMULATED_NPU", "{}")
    path = write(tmp_path, npu_model.path)
    row = check_question(path, read_config(path)[0], True, True, machine)
    assert row.ok is not False, row
    assert row.detail.startswith("a red picture was recognised as ")


@pytest.mark.slow
def test_cores_that_another_program_uses_are_not_judged(
    tmp_path: Path, machine: Machine, npu_model: ModelSpec, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'support' / 'npu' / 'site'}:{TESTS}:{TESTS.parent}")
    fault = {"call": "launch", "code": "Acc_CoreAlreadyInUse"}
    monkeypatch.setenv("EDGED_SIMULATED_NPU", json.dumps({"faults": [fault], "prints": True}))
    path = write(tmp_path, npu_model.path)
    row = check_question(path, read_config(path)[0], True, True, machine)
    assert (row.ok, row.next) == (None, "stop edged to run this check")
    assert row.detail.startswith("not asked: core 0:0:0 of /dev/aries0 is in use by another program")


# the model's folder


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut_short(folder: Path) -> None:
    sizes = {compiled.TEXT: {"bytes": 10**6, "sha256": "0"}}
    (folder / "manifest.json").write_text(json.dumps({"files": sizes}))


@pytest.mark.parametrize(
    ("harm", "name", "detail", "sentence"),
    [
        (
            without("preprocessor_config.json"),
            "preprocessor_config.json",
            "is missing",
            "preprocessor_config.json is missing",
        ),
        (without(compiled.TEXT), compiled.TEXT, "is missing", f"{compiled.TEXT} is missing (the text model)"),
        (without("model.safetensors"), "model.safetensors", "is missing", "model.safetensors is missing"),
        (without("config.json"), "config.json", "is missing", "config.json is missing"),
        (
            cut_short,
            compiled.TEXT,
            "bytes; manifest.json says 1000000",
            "does not have the size recorded in manifest.json",
        ),
    ],
)
def test_a_folder_is_checked_file_by_file(npu_model: ModelSpec, harm, name: str, detail: str, sentence: str):
    harm(npu_model.path)
    checks = by_name(model_files(npu_model))
    assert checks["model"].ok is False
    assert sentence in checks["model"].detail
    row = checks[f"model/{name}"]
    assert (row.ok, row.detail.endswith(detail)) == (False, True)
    assert all(check.ok for check in checks.values() if check not in (row, checks["model"]))


def test_no_folder_at_all(tmp_path: Path):
    checks = model_files(ModelSpec(tmp_path / "gone"))
    todo = (
        f"{command_line('prepare')} makes one from a compiled model; "
        "without an NPU, download Qwen/Qwen2-VL-2B-Instruct as the README shows"
    )
    assert checks == [Check("model", False, f"there is no folder {tmp_path / 'gone'}", todo)]


def test_a_folder_that_exists_is_not_reported_as_missing_whatever_its_name(tmp_path: Path):
    (tmp_path / "no folder").mkdir()
    folder, *_ = model_files(ModelSpec(tmp_path / "no folder"))
    assert (folder.ok, folder.next) == (False, None)


def test_a_model_of_another_account_is_not_called_missing(npu_model: ModelSpec, open_folder: Path):
    folder = shutil.copytree(npu_model.path, open_folder / "models" / "npu")
    folder.parent.chmod(0o700)
    with unprivileged():
        assert is_compiled(ModelSpec(folder)) is None
        assert model_files(ModelSpec(folder)) == [
            Check("model", False, f"{folder} cannot be read: permission denied"),
        ]


def test_a_file_of_another_account_is_not_called_missing(npu_model: ModelSpec, open_folder: Path):
    folder = shutil.copytree(npu_model.path, open_folder / "npu")
    (open_folder / "closed").mkdir(mode=0o700)
    (folder / compiled.TEXT).rename(open_folder / "closed" / "text")
    (folder / compiled.TEXT).symlink_to(open_folder / "closed" / "text")
    with unprivileged():
        checks = by_name(model_files(ModelSpec(folder)))
    assert checks["model"].detail == f"{folder} cannot be read: permission denied"
    assert checks[f"model/{compiled.TEXT}"].detail == "cannot be read: permission denied"


def test_a_model_whose_folder_is_wrong_is_not_asked(tmp_path: Path, machine: Machine):
    row = check_question(tmp_path / "edged.yaml", config(), False, False, machine)
    assert row == Check("question", None, "not asked: correct the model's folder first")


def asked(program: str, limit_s: float = 30.0) -> Check:
    return ask([sys.executable, "-c", program], Path("/edged.yaml"), limit_s)


def reports(**document: object) -> str:
    return f"print('a line of a library'); print({json.dumps(document)!r})"


TRY = f"try: {command_line('ask')} --config /edged.yaml --image PICTURE 'What is this?'"


@pytest.mark.parametrize(
    ("program", "ok", "detail", "todo"),
    [
        ("import time; time.sleep(60)", False, "did not finish within 0.5 s", TRY),
        ("import os; os.kill(os.getpid(), 9)", False, "the process was ended by signal 9", "check dmesg"),
        ("import sys; sys.exit(3)", False, "the process ended with exit code 3 and no report", TRY),
        (reports(error="no module x", kind="package"), False, "no module x", "see the rows of the packages"),
        (reports(error="x is broken [Y]", kind="other"), False, "x is broken [Y]", TRY),
        (reports(error="core 0 is in use", kind="npu_in_use"), None, "not asked: core 0 is in use", "stop edged"),
        (
            reports(result={"colour": "red", "encode_ms": 310, "answer_ms": 12, "device": "npu"})
            + "; import os; os.abort()",
            True, 'a red picture was recognised as "red": encode 310 ms, answer 12 ms (npu); ', None,
        ),
        (
            reports(result={"colour": "green", "encode_ms": 310, "answer_ms": 12, "device": "npu"}),
            None, 'a red picture was recognised as "green": encode 310 ms, answer 12 ms (npu); ',
            "a working Qwen2-VL answers red",
        ),
        # the words of an error decide nothing
        (reports(error="held by another program", kind="other"), False, "held by another program", TRY),
        (reports(error="ZeroDivisionError: x", kind="other"), False, "ZeroDivisionError: x", TRY),
    ],
)  # fmt: skip
def test_the_report_of_the_question_decides_its_row(program: str, ok, detail: str, todo: str | None):
    row = asked(program, 0.5 if "sleep" in program else 30.0)
    assert row.ok is ok
    assert row.detail.startswith(detail)
    assert (row.next or "").startswith(todo or "")
    assert (row.next is None) is (todo is None)


def failing(error: Exception) -> Callable[[], dict[str, Any]]:
    def probe() -> dict[str, Any]:
        raise error

    return probe


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ModelError("model: core 0 is in use", "npu_in_use"), "npu_in_use", "core 0 is in use"),
        (ModuleNotFoundError("No module named 'x'", name="x"), "package", "ModuleNotFoundError: No module named 'x'"),
        (
            ImportError("libx.so: not found", name="x", path="/x.so"),
            "system_library",
            "ImportError: libx.so: not found",
        ),
        (ImportError("cannot import name 'a' from 'x'", name="x", path="/x.py"), "package", "ImportError: cannot"),
        (ZeroDivisionError(HIDDEN), "other", "unexpected error: ZeroDivisionError at test_doctor.py:"),
    ],
)
def test_a_probe_reports_the_kind_of_its_error_and_no_foreign_text(error: Exception, kind: str, text: str):
    report = probe.report(failing(error))
    assert report["kind"] == kind
    assert report["error"].startswith(text)
    assert HIDDEN not in report["error"]


def test_a_probe_ends_with_its_report_whatever_thread_is_left(tmp_path: Path, monkeypatch):
    thread = "import threading; threading.Thread(target=threading.Event().wait).start()"
    (tmp_path / "cv2.py").write_text(f"{thread}\n__version__ = '5'\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{TESTS.parent}")
    assert opencv_from(probe_command("opencv"), 20.0) == Check("opencv", True, "5 can be imported")


def test_the_row_of_opencv_says_when_numpy_is_missing(tmp_path: Path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise ImportError('no numpy')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{TESTS.parent}")
    assert opencv_from(probe_command("opencv"), 20.0).detail == "cannot be imported: ImportError: no numpy"


# the broker


def test_nothing_is_published_to_the_broker(broker: Mosquitto, machine: Machine):
    listening = Subscriber(broker.port, "edged", HIDDEN)
    spec = BrokerSpec("127.0.0.1", broker.port, username="edged", password=Secret(HIDDEN), client_id="edged-box")
    assert check_broker(config(spec), machine).ok is True
    listening.catch_up()
    assert listening.messages == []
    assert "as edged-box " not in broker.log(), "the daemon's own client id would push it off the broker"
    listening.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "detail", "todo"),
    [
        ({"password": Secret("wrong")}, "not authori", "compare mqtt.username and its password with the broker's"),
        (
            {"username": None, "password": None},
            "not authori",
            "the broker requires a login: set mqtt.username and mqtt.password",
        ),
        ({"host": "nowhere.invalid"}, "name cannot be resolved", "check the host name in mqtt.url"),
        ({"port": 9}, "connection refused", "check that the broker is running and that mqtt.url is right"),
        ({"tls": True}, "connection reset", "mqtts:// needs the broker's TLS port, often 8883"),
        ({"problem": 'the secret "pw" is missing'}, 'the secret "pw" is missing', "see the row for secrets"),
        (
            {"tls": True, "ca": Path("/none.crt")},
            "mqtt: ca file /none.crt cannot be used",
            "correct that file, or its name under mqtt",
        ),
    ],
)
def test_a_broker_that_cannot_be_reached(broker: Mosquitto, machine: Machine, change, detail: str, todo: str):
    spec = {"host": "127.0.0.1", "port": broker.port, "username": "edged", "password": Secret(HIDDEN)} | change
    row = check_broker(config(BrokerSpec(**spec)), machine)
    assert row.ok is False
    assert row.detail.lower().startswith(detail)
    assert row.next == todo


@pytest.mark.slow
def test_the_words_in_a_host_name_decide_nothing(machine: Machine):
    row = check_broker(config(BrokerSpec("password.invalid", 1883)), machine)
    assert row.next == "check the host name in mqtt.url"
    assert next_step("refused", BrokerSpec(tls=True)) == "check that the broker is running and that mqtt.url is right"


@pytest.mark.slow
def test_a_certificate_that_is_not_trusted(tmp_path: Path, machine: Machine, tls: Path):  # noqa: F811  # the fixture
    with Mosquitto(tmp_path, tls=tls) as secure:
        spec = BrokerSpec("localhost", secure.port, tls=True)
        row = check_broker(config(spec), machine)
        assert row.detail.startswith("certificate not accepted")
        assert row.next == "mqtt.ca must name the CA that signed the broker's certificate"
        trusted = BrokerSpec("localhost", secure.port, tls=True, ca=tls / "ca.crt")
        assert check_broker(config(trusted), machine).ok is True


@pytest.mark.slow
def test_a_broker_that_requires_a_client_certificate(tmp_path: Path, machine: Machine, tls: Path):  # noqa: F811
    with Mosquitto(tmp_path, tls=tls, more=MUTUAL_TLS) as mutual:
        spec = BrokerSpec("localhost", mutual.port, tls=True, ca=tls / "ca.crt")
        row = check_broker(config(spec), machine)
        assert (row.ok, row.detail) == (False, "the broker requires a client certificate")
        assert row.next == "set mqtt.client_certificate"
        shown = ClientCertificate(tls / "client.crt", tls / "client.key")
        assert check_broker(config(replace(spec, client_certificate=shown)), machine).ok is True


def test_the_wait_for_a_silent_broker_is_bounded(machine: Machine):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        brief = Machine(broker_s=0.5)
        row = check_broker(config(BrokerSpec("127.0.0.1", silent.getsockname()[1])), brief)
    assert (row.ok, row.detail) == (False, "no reply within 0.5 s")


# cameras


@pytest.mark.parametrize(
    ("camera", "detail", "todo"),
    [
        (
            source("rtsp", "rtsp://me:hunter2@127.0.0.1:9/x"),
            "connection refused by 127.0.0.1:9",
            "check that the camera is on",
        ),
        (source("http", "http://127.0.0.1:9/x"), "connection refused by 127.0.0.1:9", "check that the camera is on"),
        (
            source("usb", "/dev/no-such-camera"),
            "/dev/no-such-camera does not exist (unplugged?)",
            "check that the camera is plugged in",
        ),
        (source("path", "/no/such.png"), "/no/such.png cannot be read: No such file or directory", "put a picture or"),
        (
            source("rtsp", "rtsp://x/y", 'the secret "x" is not there'),
            'the secret "x" is not there',
            "see the row for secrets",
        ),
    ],
)
def test_a_camera_without_a_frame_gives_the_reason(machine: Machine, camera: CameraSpec, detail: str, todo: str):
    (row,) = check_cameras(config(None, camera), machine)
    assert (row.name, row.ok, row.detail) == ("camera dock", False, detail)
    assert row.next is not None
    assert row.next.startswith(todo)


@pytest.mark.slow
def test_a_silent_camera_delays_no_other(image: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cameras = [
            source("rtsp", f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"),
            CameraSpec("still", source("path", str(image)).source),
        ]
        quiet, still = check_cameras(config(None, *cameras), Machine(camera_s=1.0))
    assert (quiet.ok, quiet.detail) == (False, "no frame and no error within 1 s")
    assert still.ok is True


def test_a_usb_camera_that_a_running_edged_uses_is_not_judged(tmp_path: Path, machine: Machine):
    node = tmp_path / "video9"
    node.touch()
    (machine.proc / "812" / "fd").mkdir(parents=True)
    (machine.proc / "812" / "fd" / "5").symlink_to(node)
    (machine.proc / "812" / "comm").write_text("edged\n")
    (row,) = check_cameras(config(None, source("usb", str(node))), machine)
    assert (row.ok, row.detail) == (None, "not tried: in use by edged (pid 812)")


def test_a_config_without_cameras(machine: Machine):
    (row,) = check_cameras(config(), machine)
    assert (row.name, row.ok) == ("cameras", None)


# the disk, and the output


def test_a_full_disk_is_wrong(tmp_path: Path):
    assert host.disk(tmp_path, written=True).ok is True
    row = host.disk(tmp_path, written=True, least_free=10**18)
    assert (row.ok, row.next) == (False, "free at least 1000000000 GB")


def test_a_folder_that_this_user_may_not_search_is_judged_by_its_parent(open_folder: Path, machine: Machine):
    (open_folder / "closed" / "inner").mkdir(parents=True)
    (open_folder / "closed").chmod(0o700)
    with unprivileged():
        checks = host.disks(open_folder / "closed" / "inner" / "edged.yaml", machine)
    assert all(check.name.startswith("disk ") for check in checks)


def test_a_folder_that_does_not_exist_yet_is_judged_by_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "not" / "yet"))
    nowhere = Machine(state=tmp_path / "nowhere")
    assert host.disks(tmp_path / "edged.yaml", nowhere)[0].name == f"disk {tmp_path}"


CHECKS = [
    Check("config", True, "/etc/edged/edged.yaml: 2 cameras, 5 questions"),
    Check("broker mqtt://broker.lan:1883", False, "connection refused", "is the broker running, and mqtt.url right?"),
    Check("npu", None, "not needed: the model is not compiled"),
]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_fits_the_terminal_and_is_complete(width: int):
    console = Console(width=width, force_terminal=True, no_color=True, legacy_windows=False)
    with console.capture() as capture:
        console.print(table.table(CHECKS, width))
    text = capture.get()
    plain = " ".join("".join(part for part in text.replace("\x1b[1m", "").replace("\x1b[0m", "")).split())
    for word in ("config", "5 questions", "connection refused", "FAIL", "ok"):
        assert word in plain
    assert max(len(line) for line in text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()) <= width


def test_not_in_a_terminal_each_check_is_one_plain_line(tmp_path: Path):
    with (tmp_path / "out").open("w+") as file:
        table.show(CHECKS, Console(file=file, width=40))
        file.seek(0)
        lines = file.read().splitlines()
    assert lines == [
        "ok    config: /etc/edged/edged.yaml: 2 cameras, 5 questions",
        "FAIL  broker mqtt://broker.lan:1883: connection refused -> is the broker running, and mqtt.url right?",
        "-     npu: not needed: the model is not compiled",
        "1 failed, 1 ok, 1 not checked or not needed",
    ]


def test_a_check_that_does_not_apply_is_no_failure():
    assert table.healthy([CHECKS[0], CHECKS[2]])
    assert not table.healthy(CHECKS)


def test_the_exit_code_tells_whether_something_is_wrong(tmp_path: Path, capsys):
    assert main(["doctor", "--config", str(tmp_path / "none.yaml"), "--json"]) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["ok"] is False
    assert output.err == ""
