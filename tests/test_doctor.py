"""What `edged doctor` says of a machine on which things are missing or broken, row by row."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from support.broker import Mosquitto, Subscriber, free_port, tls  # noqa: F401  # a fixture
from support.making import picture
from support.npu import compiled

from edged.cli import main
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, CameraSpec, Config, ModelSpec, SourceSpec
from edged.tools.doctor import host, peers, rounds, table
from edged.tools.doctor import model as of_model
from edged.tools.doctor import npu as of_npu
from edged.tools.doctor.check import Check, Machine, User, group_name

ROOT = User("root", 0, frozenset({0}))
OWNER = User("owner", 1000, frozenset({1000}))
TESTS = Path(__file__).parent
HIDDEN = "hunter2"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One without an NPU, whose model answers at once."""
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


def source(kind: str, address: str, problem: str | None = None) -> CameraSpec:
    return CameraSpec("dock", SourceSpec(kind, Secret(address), address.rpartition("@")[2], problem))


# everything there, and everything missing


def test_a_whole_box_is_judged_ok(tmp_path: Path, machine: Machine, tiny_folder: Path, image: Path, broker: Mosquitto):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "mqtt").write_text(HIDDEN)
    mqtt = f"{{url: 'mqtt://127.0.0.1:{broker.port}', username: edged, password: {{secret: mqtt}}}}"
    cameras = f"{{dock: {{source: {image}, ask: {{a: {{prompt: How many?, answer: integer}}}}}}}}"
    checks = by_name(rounds.examine(write(tmp_path, tiny_folder, mqtt, cameras), machine))
    checks.pop("clock")  # is the machine's own
    assert [check for check in checks.values() if check.ok is False] == []
    assert checks["config"] == Check("config", True, f"{tmp_path}/edged.yaml: 1 camera, 1 question")
    assert checks["secrets"] == Check("secrets", True, "no secret is missing")
    assert checks["npu"] == Check("npu", None, "not needed: the model is not compiled")
    assert checks["model"].detail.startswith(f"{tiny_folder}: Qwen2-VL, not compiled, ")
    assert checks["camera dock"].detail.startswith("320x240 after ")
    assert checks[f"broker mqtt://127.0.0.1:{broker.port}"].detail.startswith("connected after ")
    assert "with loading" in checks["question"].detail
    assert checks["systemd"].ok is None
    assert {name for name in checks if name.startswith("model/")} == {
        "model/config.json", "model/preprocessor_config.json", "model/tokenizer.json", "model/model.safetensors",
    }  # fmt: skip


def test_a_machine_with_nothing_on_it_gets_a_row_for_each_thing(tmp_path: Path, machine: Machine):
    path = tmp_path / "none.yaml"
    checks = by_name(rounds.examine(path, machine))
    todo = "edged init writes a first one; --config FILE names another"
    assert checks["config"] == Check("config", False, f"there is no {path}", todo)
    for name, detail in (
        ("secrets", "not checked: there is no valid config"),
        ("npu", "no /dev/aries*; a compiled model would need one"),
        ("model", "not checked: there is no valid config"),
        ("broker", "not checked: there is no valid config"),
        ("cameras", "not checked: there is no valid config"),
        ("question", "not asked: there is no valid config"),
    ):
        assert checks[name] == Check(name, None, detail)
    assert checks["opencv"].ok is True


def test_works_where_neither_torch_nor_cv2_nor_paho_can_be_imported(tmp_path: Path, tiny_folder: Path, image: Path):
    barred = tmp_path / "barred"
    barred.mkdir()
    for name in ("torch", "cv2", "paho", "transformers", "llguidance"):
        (barred / f"{name}.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    cameras = f"{{dock: {{source: {image}, ask: {{a: {{prompt: How many?, answer: integer}}}}}}}}"
    path = write(tmp_path, tiny_folder, "{}", cameras)
    done = subprocess.run(
        [sys.executable, "-m", "edged", "doctor", "--config", str(path), "--json"],
        capture_output=True, text=True, timeout=100, env=os.environ | {"PYTHONPATH": str(barred)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    whole = json.loads(done.stdout)
    assert list(whole) == ["ok", "checks"]
    assert whole["ok"] is False
    assert {tuple(check) for check in whole["checks"]} == {("name", "ok", "detail", "next")}
    rows = {check["name"]: check for check in whole["checks"]}
    library = "libGL.so.1: cannot open shared object file"
    assert rows["opencv"] == {
        "name": "opencv", "ok": False, "detail": f"ImportError: {library}",
        "next": "sudo apt-get install libgl1 libglib2.0-0",
    }  # fmt: skip
    for name in ("broker", "cameras"):
        assert (rows[name]["ok"], rows[name]["detail"]) == (None, f"not tried: ImportError: {library}")
    assert (rows["question"]["ok"], rows["question"]["detail"]) == (False, f"ImportError: {library}")
    assert (rows["config"]["ok"], rows["package torch"]["ok"]) == (True, True)


def test_no_row_holds_a_credential(tmp_path: Path, machine: Machine, broker: Mosquitto):
    mqtt = f"{{url: 'mqtt://127.0.0.1:{broker.port}', username: edged, password: wrong-{HIDDEN}}}"
    cameras = f"{{dock: {{source: 'rtsp://me:{HIDDEN}%21@127.0.0.1:9/pass={HIDDEN}', ask: {{a: {{prompt: Hm?}}}}}}}}"
    checks = rounds.examine(write(tmp_path, tmp_path / "no-model", mqtt, cameras), machine)
    assert HIDDEN not in table.as_json(checks)


def test_a_check_that_fails_by_a_defect_hides_no_other(tmp_path: Path, machine: Machine):
    def broken() -> list[User]:
        raise ZeroDivisionError(HIDDEN)

    with_npu(machine)
    bad = Machine(machine.dev, machine.proc, machine.modules, machine.state, machine.unit, users=broken)
    checks = by_name(rounds.examine(tmp_path / "none.yaml", bad))
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
            "edged check {path}",
        ),
        ("model: [", "config", "{path}:1: is not YAML: ", "edged check {path}"),
        (
            "model: {path: m}\nmqtt: {username: me, password: {secret: pw}}\n",
            "secrets",
            '{path}:2: mqtt: the secret "pw" is missing (no file {folder}/credentials/pw',
            "write it into {folder}/credentials/NAME, mode 0600, or use LoadCredential=",
        ),
        (
            "model: {path: m}\nmqtt: {username: me, password: hunter2}\n",
            "secrets",
            "{path}:2: mqtt: a password in the clear, in a file that others can read",
            "chmod 600 {path}",
        ),
    ],
)
def test_a_config_with_something_wrong(tmp_path: Path, text: str, name: str, detail: str, todo: str):
    path = tmp_path / "edged.yaml"
    path.write_text(text)
    path.chmod(0o644)
    row = by_name(peers.read_config(path)[1])[name]
    places = {"path": path, "folder": tmp_path}
    assert row.ok is False
    assert row.detail.startswith(detail.format(**places))
    assert row.next == todo.format(**places)


def test_a_place_that_is_named_secret_is_no_missing_secret(tmp_path: Path):
    (tmp_path / "secrets").mkdir()
    cameras = "{secret-door: {source: none.jpg, ask: {}}}"
    checks = by_name(peers.read_config(write(tmp_path / "secrets", Path("no-model"), cameras=cameras))[1])
    assert checks["secrets"].ok is True


# packages


def test_the_versions_known_to_work_are_those_of_the_project():
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]
    wanted = {text.partition(">")[0]: text for text in project["dependencies"]}
    for package in host.PACKAGES:
        assert package.wanted == wanted[package.names[0]]
    assert host.VENDOR[-1].wanted == wanted["mblt-model-zoo"]
    oldest, beyond = project["requires-python"].replace(">=", "").replace("<", "").split(",")
    assert [f"{major}.{minor}" for major, minor in host.PYTHONS] == [oldest, "3.12"]
    assert beyond == "3.13"


@pytest.mark.parametrize(
    ("package", "compiled", "row"),
    [
        (host.Package(("numpy",), "1", "99"), None, (True, None)),
        (host.Package(("nothing-here",), "2.1", "3"), None, (False, "pip install 'nothing-here>=2.1,<3'")),
        (host.Package(("nothing-here",), compiled_only=True), False, (None, None)),
        (host.Package(("nothing-here",), compiled_only=True), None, (None, None)),
        (host.Package(("nothing-here",), compiled_only=True), True, (False, "pip install 'nothing-here'")),
        (host.Package(("numpy",), "0.1", "0.2"), None, (False, "pip install 'numpy>=0.1,<0.2'")),
        (host.Package(("numpy",), "99"), None, (False, "pip install 'numpy>=99'")),
        (host.Package(("nothing-here", "numpy")), None, (True, None)),
    ],
)
def test_a_package_is_there_of_a_version_known_to_work(package, compiled, row):
    check = host._package(package, compiled)
    assert (check.name, check.ok, check.next) == (f"package {package.names[0]}", *row)


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.13.0+cpu", (2, 13, 0)), ("5.0.0.93", (5, 0, 0)), ("2.1", (2, 1)), ("5.17.0rc1", (5, 17, 0))],
)
def test_versions_are_compared_as_numbers(version, numbers):
    assert host._numbers(version) == numbers


# the NPU


@pytest.fixture
def npu_model(compiled_folder: Path, tmp_path: Path) -> ModelSpec:
    shutil.copytree(compiled_folder, tmp_path / "compiled")
    return ModelSpec(tmp_path / "compiled")


def test_an_npu_that_can_be_opened(machine: Machine, npu_model: ModelSpec):
    node = with_npu(machine)
    assert of_npu.npu(machine, npu_model, True) == [
        Check("npu driver", True, "aries 1.4.2"),
        Check(f"npu {node}", True, "-rw-rw---- root:root"),
    ]


def test_a_compiled_model_without_driver_and_node(machine: Machine, npu_model: ModelSpec):
    node = machine.dev / "aries0"
    assert of_npu.npu(machine, npu_model, True) == [
        Check("npu driver", False, "is not loaded", "install Mobilint's driver for this kernel; then lsmod, dmesg"),
        Check(
            f"npu {node}",
            False,
            "does not exist",
            f"ls {machine.dev}/aries*, and compare model.cores with the devices there",
        ),
    ]


def test_the_second_npu_that_the_config_names_is_missed(machine: Machine, npu_model: ModelSpec):
    with_npu(machine)
    workers = ((("text", "0:0:0"), ("vision", "0:0:1")), (("text", "1:0:0"), ("vision", "1:0:1")))
    rows = by_name(of_npu.npu(machine, ModelSpec(npu_model.path, workers=workers), True))
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
            'a udev rule: KERNEL=="aries0", GROUP="video", MODE="0660"',
        ),
        (0o660, 0, OWNER, False, 'a udev rule: KERNEL=="aries0", GROUP="video", MODE="0660"'),
        (0o666, 0, OWNER, True, None),
        (0o600, 0, ROOT, True, None),
    ],
)
def test_who_may_open_the_npu(machine: Machine, mode, group, user, ok, todo):
    node = with_npu(machine, mode)
    os.chown(node, 0, group)
    row = of_npu._node(node, machine, [user])
    assert row.ok is ok
    assert row.next == (todo and todo.format(group=group_name(group)))
    if not ok:
        assert row.detail.endswith(": owner cannot open it")


def test_a_node_without_a_module_is_not_judged(machine: Machine):
    with_npu(machine, module="other")
    assert of_npu.npu(machine, None, None)[0].ok is None


def test_a_running_edged_that_holds_the_npu_makes_it_busy(tmp_path: Path, machine: Machine, npu_model: ModelSpec):
    node = with_npu(machine)
    process = machine.proc / "812"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "7").symlink_to(node)
    (process / "comm").write_text("edged\n")
    assert of_npu.npu(machine, npu_model, True)[1].detail == "-rw-rw---- root:root, held by edged (pid 812)"
    busy = "not asked, the NPU is busy: edged (pid 812) holds it"
    row = of_model.question(tmp_path / "edged.yaml", config(), True, True, machine)
    assert row == Check("question", None, busy, "stop it to run this check")


def test_a_compiled_model_is_asked_on_the_npu(tmp_path: Path, machine: Machine, npu_model: ModelSpec, monkeypatch):
    # the vendor's code on a simulated NPU
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'support' / 'npu' / 'site'}:{TESTS}")
    monkeypatch.setenv("EDGED_SIMULATED_NPU", "{}")
    path = write(tmp_path, npu_model.path)
    row = of_model.question(path, peers.read_config(path)[0], True, True, machine)
    assert row.ok is not False, row
    assert row.detail.startswith("a red picture was recognised as ")


def test_cores_that_another_program_holds_are_busy():
    said = "core 0:0:0 of /dev/aries0 is held by another program or another worker"
    assert "held by another program" in (TESTS.parent / "edged" / "vlm" / "mobilint.py").read_text()
    row = asked(f"import sys; print('edged: model: {said}', file=sys.stderr); sys.exit(75)")
    assert row == Check("question", None, f"not asked, the NPU is busy: {said}", "stop edged to run this check")


# the model's folder


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut_short(folder: Path) -> None:
    sizes = {compiled.TEXT: {"bytes": 10**6, "sha256": "0"}}
    (folder / "manifest.json").write_text(json.dumps({"files": sizes}))


@pytest.mark.parametrize(
    ("harm", "name", "detail", "whole"),
    [
        (
            without("preprocessor_config.json"),
            "preprocessor_config.json",
            "is missing",
            "lacks preprocessor_config.json",
        ),
        (without(compiled.TEXT), compiled.TEXT, "is missing", f"lacks {compiled.TEXT}, its text model"),
        (without("model.safetensors"), "model.safetensors", "is missing", "lacks model.safetensors"),
        (without("config.json"), "config.json", "is missing", "lacks config.json"),
        (cut_short, compiled.TEXT, "bytes; manifest.json says 1000000", "is not of the size that manifest.json says"),
    ],
)
def test_a_folder_is_judged_file_by_file(npu_model: ModelSpec, harm, name: str, detail: str, whole: str):
    harm(npu_model.path)
    checks = by_name(of_model.model_files(npu_model))
    assert checks["model"].ok is False
    assert whole in checks["model"].detail
    row = checks[f"model/{name}"]
    assert (row.ok, row.detail.endswith(detail)) == (False, True)
    assert all(check.ok for check in checks.values() if check not in (row, checks["model"]))


def test_no_folder_at_all(tmp_path: Path):
    checks = of_model.model_files(ModelSpec(tmp_path / "gone"))
    todo = "edged prepare makes a folder of a compiled model"
    assert checks == [Check("model", False, f"there is no folder {tmp_path / 'gone'}", todo)]


def test_a_model_whose_folder_is_wrong_is_not_asked(tmp_path: Path, machine: Machine):
    row = of_model.question(tmp_path / "edged.yaml", config(), False, False, machine)
    assert row == Check("question", None, "not asked: correct the model's folder first")


def asked(program: str, limit_s: float = 30.0) -> Check:
    return of_model._asked([sys.executable, "-c", program, "--config", "edged.yaml"], limit_s)


@pytest.mark.parametrize(
    ("program", "ok", "detail", "todo"),
    [
        ("import time; time.sleep(60)", False, "no answer within 0.5 s", "try: edged ask --config edged.yaml"),
        ("import os; os.kill(os.getpid(), 9)", False, "the model's process was ended by signal 9", "see dmesg"),
        ("import nothing", False, "ModuleNotFoundError: No module named 'nothing'", "see the lines of the packages"),
        (
            "import sys; print('E1123 aries.cc:173] x', file=sys.stderr); sys.exit('edged: model: x is broken [Y]')",
            False, "x is broken [Y]", "then: edged ask",
        ),
        (
            "print('{\"value\": \"green\", \"timing_ms\": {\"encode\": 310, \"answer\": 12}}')",
            None, 'a red picture was recognised as "green": encode 310 ms, answer 12 ms; ',
            "an intact Qwen2-VL answers red",
        ),
    ],
)  # fmt: skip
def test_what_became_of_the_question(program: str, ok, detail: str, todo: str):
    row = asked(program, 0.5 if "sleep" in program else 30.0)
    assert row.ok is ok
    assert row.detail.startswith(detail)
    assert row.next is not None
    assert row.next.startswith(todo)


# the broker


def test_a_broker_is_told_nothing(broker: Mosquitto, machine: Machine):
    listening = Subscriber(broker.port, "edged", HIDDEN)
    spec = BrokerSpec("127.0.0.1", broker.port, username="edged", password=Secret(HIDDEN), client_id="edged-box")
    assert peers.broker(config(spec), machine).ok is True
    listening.catch_up()
    assert listening.messages == []
    assert "as edged-box " not in broker.log(), "the daemon's own client id would push it off the broker"
    listening.close()


@pytest.mark.parametrize(
    ("change", "detail", "todo"),
    [
        ({"password": Secret("wrong")}, "not authori", "compare mqtt.username and its password with the broker's"),
        (
            {"username": None, "password": None},
            "not authori",
            "the broker wants a login: mqtt.username and mqtt.password",
        ),
        ({"host": "nowhere.invalid"}, "name cannot be resolved", "is the broker running, and mqtt.url right?"),
        ({"port": 9}, "connection refused", "is the broker running, and mqtt.url right?"),
        ({"tls": True}, "connection reset", "mqtts:// belongs to the broker's TLS port, often 8883"),
        ({"problem": 'the secret "pw" is missing'}, 'the secret "pw" is missing', "see the row for secrets"),
        ({"tls": True, "ca": Path("/none.crt")}, "mqtt: ca file /none.crt cannot be used", "correct mqtt.ca"),
    ],
)
def test_a_broker_that_cannot_be_had(broker: Mosquitto, machine: Machine, change, detail: str, todo: str):
    spec = {"host": "127.0.0.1", "port": broker.port, "username": "edged", "password": Secret(HIDDEN)} | change
    row = peers.broker(config(BrokerSpec(**spec)), machine)
    assert row.ok is False
    assert row.detail.lower().startswith(detail)
    assert row.next == todo


def test_a_certificate_that_is_not_trusted(tmp_path: Path, machine: Machine, tls: Path):  # noqa: F811  # the fixture
    with Mosquitto(tmp_path, tls=tls) as secure:
        spec = BrokerSpec("localhost", secure.port, tls=True)
        row = peers.broker(config(spec), machine)
        assert row.detail.startswith("certificate not accepted")
        assert row.next == "mqtt.ca names the CA that signed the broker's certificate"
        trusted = BrokerSpec("localhost", secure.port, tls=True, ca=tls / "ca.crt")
        assert peers.broker(config(trusted), machine).ok is True


def test_a_broker_that_says_nothing_is_waited_for_only_so_long(machine: Machine):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        brief = Machine(broker_s=0.5)
        row = peers.broker(config(BrokerSpec("127.0.0.1", silent.getsockname()[1])), brief)
    assert (row.ok, row.detail) == (False, "no answer to a connection within 0.5 s")


# cameras


@pytest.mark.parametrize(
    ("camera", "detail", "todo"),
    [
        (source("rtsp", "rtsp://me:hunter2@127.0.0.1:9/x"), "connection refused by 127.0.0.1:9", "is it on, and are"),
        (source("http", "http://127.0.0.1:9/x"), "connection refused by 127.0.0.1:9", "is it on, and are"),
        (source("usb", "/dev/no-such-camera"), "/dev/no-such-camera does not exist (unplugged?)", "is it plugged in?"),
        (source("path", "/no/such.png"), "/no/such.png cannot be read: No such file or directory", "put a picture or"),
        (
            source("rtsp", "rtsp://x/y", 'the secret "x" is not there'),
            'the secret "x" is not there',
            "see the row for secrets",
        ),
    ],
)
def test_a_camera_that_gives_nothing_says_why(machine: Machine, camera: CameraSpec, detail: str, todo: str):
    (row,) = peers.cameras(config(None, camera), machine)
    assert (row.name, row.ok, row.detail) == ("camera dock", False, detail)
    assert row.next is not None
    assert row.next.startswith(todo)


def test_a_silent_camera_holds_up_no_other(image: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cameras = [
            source("rtsp", f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"),
            CameraSpec("still", source("path", str(image)).source),
        ]
        quiet, still = peers.cameras(config(None, *cameras), Machine(camera_s=1.0))
    assert (quiet.ok, quiet.detail) == (False, "no picture and no reason within 1 s")
    assert still.ok is True


def test_a_usb_camera_that_a_running_edged_holds_is_not_judged(tmp_path: Path, machine: Machine):
    node = tmp_path / "video9"
    node.touch()
    (machine.proc / "812" / "fd").mkdir(parents=True)
    (machine.proc / "812" / "fd" / "5").symlink_to(node)
    (machine.proc / "812" / "comm").write_text("edged\n")
    (row,) = peers.cameras(config(None, source("usb", str(node))), machine)
    assert (row.ok, row.detail) == (None, "not tried: edged (pid 812) holds it")


def test_a_config_without_cameras(machine: Machine):
    (row,) = peers.cameras(config(), machine)
    assert (row.name, row.ok) == ("cameras", None)


# disk, and how it is shown


def test_a_full_disk_is_wrong(tmp_path: Path, monkeypatch):
    assert host._disk(tmp_path, writes=True).ok is True
    monkeypatch.setattr(host, "LEAST_FREE", 10**18)
    row = host._disk(tmp_path, writes=True)
    assert (row.ok, row.next) == (False, "free at least 1000000000 GB")


def test_a_place_that_is_not_there_yet_is_judged_by_what_holds_it(tmp_path: Path, machine: Machine):
    nowhere = Machine(state=tmp_path / "not" / "yet")
    assert host.disks(tmp_path / "edged.yaml", nowhere)[0].name == f"disk {tmp_path}"


CHECKS = [
    Check("config", True, "/etc/edged/edged.yaml: 2 cameras, 5 questions"),
    Check("broker mqtt://broker.lan:1883", False, "connection refused", "is the broker running, and mqtt.url right?"),
    Check("npu", None, "not needed: the model is not compiled"),
]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_fits_the_terminal_and_loses_no_word(width: int):
    console = Console(width=width, force_terminal=True, no_color=True, legacy_windows=False)
    with console.capture() as capture:
        console.print(table.table(CHECKS, width))
    text = capture.get()
    plain = " ".join("".join(part for part in text.replace("\x1b[1m", "").replace("\x1b[0m", "")).split())
    for word in ("config", "5 questions", "connection refused", "wrong", "ok"):
        assert word in plain
    assert max(len(line) for line in text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()) <= width


def test_not_in_a_terminal_each_check_is_one_plain_line(tmp_path: Path):
    with (tmp_path / "out").open("w+") as file:
        table.show(CHECKS, Console(file=file, width=40))
        file.seek(0)
        lines = file.read().splitlines()
    assert lines == [
        "ok    config: /etc/edged/edged.yaml: 2 cameras, 5 questions",
        "wrong broker mqtt://broker.lan:1883: connection refused -> is the broker running, and mqtt.url right?",
        "-     npu: not needed: the model is not compiled",
        "1 wrong, 1 ok, 1 not checked or not needed",
    ]


def test_what_does_not_apply_makes_nothing_fail():
    assert table.healthy([CHECKS[0], CHECKS[2]])
    assert not table.healthy(CHECKS)


def test_the_command_says_it_with_its_exit_code(tmp_path: Path, capsys):
    assert main(["doctor", "--config", str(tmp_path / "none.yaml"), "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["ok"] is False
    assert said.err == ""
