"""`edged doctor`: everything that edged needs on this machine, looked at once, and what to do about each thing.

Nothing here is imported, opened or started that can take this process down: what may crash or hang runs in a child or
in a thread that is waited for only so long. A check that fails by a defect is a line of its own, and no line holds a
credential.
"""

from __future__ import annotations

import grp
import json
import os
import platform
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged import clock, cores
from edged.cameras.environment import OPENCV
from edged.config import ConfigError, load
from edged.core import EXIT_UNAVAILABLE, CameraError, EdgedError, ModelError, Stopped
from edged.outage import counted, spoken
from edged.specs import BrokerSpec, CameraSpec, Config, ModelSpec
from edged.vlm import folder as files

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PYTHONS = ((3, 11), (3, 12))  # the vendor's runtime has wheels for no other
PROCESSOR_FILES = ("preprocessor_config.json",)
SYSTEMCTL_S = 5.0
LEAST_FREE = 500 * 10**6
NARROW = 64  # columns, below which a line is stacked
WORDS = {True: "ok", False: "wrong", None: "-"}
COLOURS = {True: "green", False: "red", None: "bright_black"}
INSTALL_LIBRARIES = "sudo apt-get install libgl1 libglib2.0-0"
RED_SQUARE = ("What colour is this image?", "red", "[red, green, blue]")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what to do next where something is to be done.

    `ok` is true; false if edged cannot work so, or not well; None if it does not apply here, or could not be judged
    (because something else is missing, or because a running edged holds the NPU). None makes nothing fail.
    """

    name: str
    ok: bool | None
    detail: str
    next: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who has to open the NPU."""

    name: str
    uid: int
    groups: frozenset[int]

    def may_open(self, node: os.stat_result) -> bool:
        """Whether the node's mode lets this user read and write."""
        shift = 6 if self.uid == node.st_uid else 3 if node.st_gid in self.groups else 0
        return self.uid == 0 or (node.st_mode >> shift) & 0o6 == 0o6


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a machine shows what it has, and how long it may take over it. Tests have one of their own."""

    dev: Path = Path("/dev")
    proc: Path = Path("/proc")
    modules: Path = Path("/sys/module")
    state: Path = Path("/var/lib/edged")
    unit: str = "edged.service"
    users: Callable[[], Sequence[User]] = field(default_factory=lambda: users)
    import_s: float = 60.0
    question_s: float = 240.0
    camera_s: float = 20.0
    broker_s: float = 12.0


@dataclass(frozen=True, slots=True)
class Package:
    """A package edged needs: its names on the index, and the versions (from, up to) known to work.

    `tests/test_doctor.py` keeps these in step with pyproject.toml.
    """

    names: tuple[str, ...]
    least: str | None = None
    below: str | None = None
    compiled_only: bool = False

    @property
    def wanted(self) -> str:
        bounds = (f"{sign}{version}" for sign, version in ((">=", self.least), ("<", self.below)) if version)
        return f"{self.names[0]}{','.join(bounds)}"


PACKAGES = (
    Package(("torch",), "2.4.1", "2.14"),
    Package(("transformers",), "5.12", "5.18"),
    Package(("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")),
    Package(("paho-mqtt",), "2.1", "3"),
    Package(("llguidance",), "1.3", "2"),
)
VENDOR = (  # one of them, looked for in this order
    Package(("transformers-mblt",), "0.6.1", "0.7", compiled_only=True),
    Package(("mblt-model-zoo",), "2.10", "2.11", compiled_only=True),
)
RUNTIME = Package(("mobilint-qb-runtime",), "1.5", "1.6", compiled_only=True)


def examine(path: Path, machine: Machine | None = None) -> list[Check]:
    """Look at everything, with the config at `path` if it can be read. Bounded by the machine's times."""
    here = machine or Machine()
    config, of_config = _config(path)
    model = config.model if config else None
    compiled = _compiled(model)
    rounds: list[Callable[[], Iterable[Check]]] = [
        lambda: [_python(), *_packages(compiled)],
        lambda: [_opencv(here)],
        lambda: _npu(here, model, compiled),
        lambda: _model_files(model),
        lambda: [_broker(config, here)],
        lambda: _cameras(config, here),
        lambda: _disks(path, here),
        lambda: [_clock(), _unit(here)],
    ]
    found = [*of_config, *(check for checks in _side_by_side(rounds) for check in checks)]
    # alone, so that its time says something
    sound = not any(check.ok is False and check.name.startswith("model") for check in found)
    return [*found, *_guarded(lambda: [_question(path, config, compiled, sound, here)])]


def healthy(checks: Sequence[Check]) -> bool:
    return not any(check.ok is False for check in checks)


def as_json(checks: Sequence[Check]) -> str:
    whole = {"ok": healthy(checks), "checks": [asdict(check) for check in checks]}
    return json.dumps(whole, ensure_ascii=False, indent=2)


def show(checks: Sequence[Check], console: Console) -> None:
    """A table in a terminal, else a line for each check."""
    if console.is_terminal:
        console.print(table(checks, console.width))
    else:
        for check in checks:
            todo = f" -> {check.next}" if check.next else ""
            console.file.write(f"{WORDS[check.ok]:5} {check.name}: {check.detail}{todo}\n")
    console.file.write(f"{_summary(checks)}\n")


def table(checks: Sequence[Check], width: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    narrow = width < NARROW
    made = Table(box=None, show_header=False, padding=(0, 1, 0, 0), width=width)
    made.add_column(width=5)
    if not narrow:
        made.add_column(max_width=31, overflow="fold")
    made.add_column(ratio=1, overflow="fold")
    for check in checks:
        said = Text(check.detail)
        if check.next:
            said = Text.assemble(said, "\n", (f"→ {check.next}", "yellow" if check.ok is False else "bright_black"))
        verdict, name = Text(WORDS[check.ok], style=COLOURS[check.ok]), Text(check.name, style="bold")
        cells = [verdict, Text.assemble(name, "\n", said)] if narrow else [verdict, name, said]
        made.add_row(*cells)
    return made


def _summary(checks: Sequence[Check]) -> str:
    count = {ok: sum(1 for check in checks if check.ok is ok) for ok in WORDS}
    return f"{count[False]} wrong, {count[True]} ok, {count[None]} not judged or not needed"


# the edges


def _guarded(look: Callable[[], Iterable[Check]]) -> list[Check]:
    try:
        return list(look())
    except Exception as error:  # one check's defect must not hide the others; its text could hold anything
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        line = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else "edged"
        return [Check("doctor", None, f"a check failed by a defect: {type(error).__name__} at {line}", "report it")]


def _side_by_side(looks: Sequence[Callable[[], Iterable[Check]]]) -> list[list[Check]]:
    """Each in a thread of its own; all of them are bounded."""
    found: list[list[Check]] = [[] for _ in looks]

    def run(number: int) -> None:
        found[number] = _guarded(looks[number])

    threads = [threading.Thread(target=run, args=[number], daemon=True) for number in range(len(looks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# this machine


def _python() -> Check:
    said = f"{platform.python_version()}, {platform.machine()}"
    if sys.version_info[:2] in PYTHONS:
        return Check("python", True, said)
    return Check("python", False, said, "make edged's environment with Python 3.11 or 3.12")


def _packages(compiled: bool | None) -> list[Check]:
    """By what is said of the installed packages; none of them is imported."""
    vendor = next((package for package in VENDOR if _version(package.names)), VENDOR[-1])
    return [_package(package, compiled) for package in (*PACKAGES, vendor, RUNTIME)]


def _package(package: Package, compiled: bool | None) -> Check:
    name, install = f"package {package.names[0]}", f"pip install '{package.wanted}'"
    installed = _version(package.names)
    if installed is None:
        if package.compiled_only and not compiled:
            why = "needed for a compiled model only" if compiled is None else "not needed: the model is not compiled"
            return Check(name, None, f"not installed; {why}")
        return Check(name, False, "not installed", install)
    which, version = installed
    said = version if which == package.names[0] else f"{version} ({which})"
    least, below = (_numbers(bound) if bound else None for bound in (package.least, package.below))
    if (least and _numbers(version) < least) or (below and _numbers(version) >= below):
        return Check(name, False, f"{said} is not known to work", install)
    return Check(name, True, said)


def _version(names: Sequence[str]) -> tuple[str, str] | None:
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            return name, metadata.version(name)
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _opencv(here: Machine) -> Check:
    """In a child: its import needs libraries of the system, and what cannot be loaded may also crash."""
    name, done = "opencv", _child([sys.executable, "-c", "import cv2; print(cv2.__version__)"], here.import_s)
    if done is None:
        return Check(name, False, f"cannot be imported within {spoken(here.import_s)}", "see whether the disk is slow")
    if done.code == 0:
        return Check(name, True, f"{done.out.strip()} can be imported")
    reason = _last_line(done.errors) or f"its import ended with {done.code}"
    library = "cannot open shared object" in reason
    return Check(name, False, reason, INSTALL_LIBRARIES if library else "pip install --force-reinstall opencv-python")


def _disks(config: Path, here: Machine) -> list[Check]:
    found, seen = [], set()
    state = Path(os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or here.state)
    for place in (state, config.absolute().parent):
        there = next(parent for parent in (place, *place.parents) if parent.is_dir())
        device = there.stat().st_dev
        if device not in seen:
            seen.add(device)
            found.append(_disk(there, writes=place is state))
    return found


def _disk(place: Path, writes: bool) -> Check:
    name, free = f"disk {place}", shutil.disk_usage(place).free
    if writes and os.statvfs(place).f_flag & os.ST_RDONLY:
        return Check(name, False, "is mounted read-only", "see dmesg: a worn-out card or disk ends like this")
    if free < LEAST_FREE:
        return Check(name, False, f"{_size(free)} free", f"make room: {_size(LEAST_FREE)} at least")
    return Check(name, True, f"{_size(free)} free")


def _clock() -> Check:
    if clock.synced():
        return Check("clock", True, "synchronised")
    return Check(
        "clock", False, "not synchronised: the stamps of answers cannot be believed", "timedatectl set-ntp true"
    )


def _unit(here: Machine) -> Check:
    keys = ("LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "NRestarts")
    done = _child(["systemctl", "show", here.unit, *(f"--property={key}" for key in keys)], SYSTEMCTL_S)
    state = dict(line.partition("=")[::2] for line in done.out.splitlines()) if done and done.code == 0 else {}
    match state.get("LoadState"), state.get("ActiveState"):
        case (None, _):
            return Check("systemd", None, "systemd is not in charge here")
        case ("not-found", _):
            return Check("systemd", None, f"there is no {here.unit}", "to run as a service, see README: As a service")
        case (_, "failed"):
            why = f"{here.unit} has failed ({state.get('Result')})"
            return Check("systemd", False, why, f"journalctl -u {here.unit} -n 50")
        case (_, active):
            restarts = state.get("NRestarts", "0")
            more = f", restarted {counted(int(restarts), 'time')}" if restarts not in ("", "0") else ""
            said = f"{here.unit} is {active} ({state.get('SubState')}), {state.get('UnitFileState') or 'static'}{more}"
            off = state.get("UnitFileState") == "disabled"
            todo = f"systemctl enable {here.unit}, else it is off after the next boot" if off else None
            return Check("systemd", True, said, todo)


# the NPU


def users() -> list[User]:
    """Who runs this, and the service's own user where there is one (its unit adds the group video)."""
    me = os.geteuid()
    found = [User(_user_name(me), me, frozenset([os.getegid(), *os.getgroups()]))]
    with suppress(KeyError):
        service = pwd.getpwnam("edged")
        groups = {*os.getgrouplist("edged", service.pw_gid), grp.getgrnam("video").gr_gid}
        found.append(User("edged", service.pw_uid, frozenset(groups)))
    return found


def holders(nodes: Iterable[Path], proc: Path) -> list[str]:
    """The other processes that have one of these open: `edged (pid 812)`. Only root sees those of other users."""
    wanted, found = {str(node) for node in nodes}, []
    for process in proc.glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):
            if any(_points_at(handle) in wanted for handle in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
    return sorted(found)


def _npu(here: Machine, model: ModelSpec | None, compiled: bool | None) -> list[Check]:
    nodes = sorted(here.dev.glob("aries*"))
    if not nodes and not compiled:
        said = "no /dev/aries*; a compiled model would need one" if compiled is None else "the model is not compiled"
        return [Check("npu", None, f"not needed: {said}" if compiled is False else said)]
    wanted = {here.dev / f"aries{device}" for device in _devices(model)} if model and compiled else set()
    who = list(here.users())
    return [_driver(here, bool(nodes)), *(_node(node, here, who) for node in sorted({*nodes, *wanted}))]


def _driver(here: Machine, has_nodes: bool) -> Check:
    with suppress(OSError):
        loaded = [line.split()[0] for line in (here.proc / "modules").read_text().splitlines() if line]
        for module in loaded:
            if "aries" in module or "mobilint" in module:
                version = _text(here.modules / module / "version")
                return Check("npu driver", True, f"{module} {version}".strip())
    if has_nodes:
        return Check("npu driver", None, "no module named aries is loaded, but its nodes are there (built in?)")
    return Check("npu driver", False, "is not loaded", "install Mobilint's driver for this kernel; then lsmod, dmesg")


def _node(node: Path, here: Machine, who: Sequence[User]) -> Check:
    name = f"npu {node}"
    try:
        about = node.stat()
    except OSError:
        return Check(
            name, False, "is not there", f"ls {here.dev}/aries*, and compare model.cores with the devices there"
        )
    group = _group_name(about.st_gid)
    said = f"{stat.filemode(about.st_mode)} {_user_name(about.st_uid)}:{group}"
    shut_out = [user.name for user in who if not user.may_open(about)]
    if not shut_out:
        by = holders([node], here.proc)
        return Check(name, True, f"{said}{', held by ' + ', '.join(by) if by else ''}")
    todo = f"sudo usermod -aG {group} {shut_out[0]}, then log in or start the service anew"
    if about.st_mode & 0o060 != 0o060 or about.st_gid == 0:
        todo = f'a udev rule: KERNEL=="{node.name}", GROUP="video", MODE="0660"'
    return Check(name, False, f"{said}: {' and '.join(shut_out)} may not open it", todo)


def _devices(model: ModelSpec) -> set[int]:
    """The numbers of the NPUs that the model is to run on; none where that cannot be said."""
    found: set[int] = set()
    with suppress(ValueError, ModelError):
        parts = files.compiled_parts(files.read_json(model.path / "config.json"))
        for worker in model.each_worker():
            words = dict(worker.cores)
            for part, settings in parts.items():
                where = cores.parsed(words[part]) if part in words else cores.of_config(settings)
                found |= set(where.devices)
    return found


# the config and the model's folder


def _config(path: Path) -> tuple[Config | None, list[Check]]:
    try:
        config = load(path)
    except ConfigError as error:
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        todo = f"edged check {path}" if path.exists() else "edged init writes a first one; --config FILE names another"
        why = f"{error.problems[0]}{more}" if path.exists() else f"there is no {path}"
        return None, [Check("config", False, why, todo), Check("secrets", None, "no config says which")]
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
        return None, [Check("config", False, why, f"ls -l {path}"), Check("secrets", None, "no config says which")]
    questions = sum(len(camera.all_questions()) for camera in config.cameras)
    said = f"{path}: {counted(len(config.cameras), 'camera')}, {counted(questions, 'question')}"
    return config, [Check("config", True, said), _secrets(config)]


def _secrets(config: Config) -> Check:
    open_to_all = [warning for warning in config.warnings if "in the clear" in warning]
    missing = [warning for warning in config.warnings if "secret" in warning and warning not in open_to_all]
    if missing:
        todo = f"write it into {config.path.absolute().parent / 'credentials'}/NAME, mode 0600, or use LoadCredential="
        return Check("secrets", False, "; ".join(missing), todo)
    if open_to_all:
        return Check("secrets", False, "; ".join(open_to_all), f"chmod 600 {config.path}")
    return Check("secrets", True, "none is missing")


def _compiled(model: ModelSpec | None) -> bool | None:
    """Whether the model is compiled for an NPU; None where no folder says so."""
    if model:
        with suppress(ModelError):
            return bool(files.read_json(model.path / "config.json").get("model_type") == files.COMPILED)
    return None


def _model_files(model: ModelSpec | None) -> list[Check]:
    if model is None:
        return [Check("model", None, "no config says where it is")]
    try:
        config = files.read_config(model.path)
    except ModelError as error:
        todo = "edged prepare makes a folder of a compiled model" if "no folder" in str(error) else None
        whole = Check("model", False, str(error).removeprefix("model: "), todo)
    else:
        kind = "compiled" if config["model_type"] == files.COMPILED else "not compiled"
        size = sum(path.stat().st_size for path in model.path.iterdir() if path.is_file())
        whole = Check("model", True, f"{model.path}: Qwen2-VL, {kind}, {_size(size)}")
    sizes = _manifest_sizes(model.path)
    return [whole, *(_model_file(model.path, name, sizes.get(name)) for name in _expected(model.path, sizes))]


def _expected(folder: Path, sizes: dict[str, int]) -> list[str]:
    """The files that the folder has to hold, as far as its own files say."""
    if not folder.is_dir():
        return []
    names = ["config.json", *PROCESSOR_FILES, _either(folder, "tokenizer.json", "vocab.json")]
    index = folder / "model.safetensors.index.json"
    with suppress(ModelError, AttributeError):
        shards = files.read_json(index).get("weight_map", {}).values() if index.is_file() else ["model.safetensors"]
        names += sorted({str(shard) for shard in shards})
    with suppress(ModelError, AttributeError):
        config = files.read_json(folder / "config.json")
        if config.get("model_type") == files.COMPILED:
            parts = (part.get("mxq_path") for part in files.compiled_parts(config).values())
            names += [part for part in parts if isinstance(part, str)]
    return list(dict.fromkeys([*names, *sizes]))


def _manifest_sizes(folder: Path) -> dict[str, int]:
    try:
        listed = files.read_json(folder / files.MANIFEST)["files"]
        return {str(name): int(entry["bytes"]) for name, entry in listed.items()}
    except (ModelError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _model_file(folder: Path, name: str, wanted: int | None) -> Check:
    path = folder / name
    title = f"model/{name}"
    if not path.is_file():
        return Check(title, False, "is not there", "copy it into the folder, or run edged prepare again")
    if not os.access(path, os.R_OK):
        return Check(title, False, "may not be read by this user", f"ls -l {path}")
    size = path.stat().st_size
    if wanted not in (None, size):
        return Check(title, False, f"{size} bytes; {files.MANIFEST} says {wanted}", "run edged prepare again")
    return Check(title, True, f"{_size(size)}{', as in the manifest' if wanted is not None else ''}")


def _either(folder: Path, first: str, second: str) -> str:
    return second if (folder / second).is_file() and not (folder / first).is_file() else first


# one question


def _question(path: Path, config: Config | None, compiled: bool | None, sound: bool, here: Machine) -> Check:
    """In a child of its own: a driver may hang, and a model may need more memory than there is."""
    if config is None:
        return Check("question", None, "not asked: no config says of which model")
    if not sound:
        return Check("question", None, "not asked: the model's folder has to be put right first")
    if compiled and (by := holders(here.dev.glob("aries*"), here.proc)):
        busy = f"not asked, the NPU is busy: {', '.join(by)} holds it"
        return Check("question", None, busy, "stop that to have it asked")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "red.ppm"
        picture.write_bytes(b"P6 224 224 255\n" + b"\xd0\x10\x18" * (224 * 224))
        asked, _, choices = RED_SQUARE
        command = [sys.executable, "-m", "edged", "ask", "--config", str(path.absolute()), "--image", str(picture)]
        return _asked([*command, "--answer", choices, "--json", asked], here.question_s)


def _asked(command: list[str], limit_s: float) -> Check:
    begun = time.monotonic()
    done = _child(command, limit_s)
    if done is None:
        return Check("question", False, f"no answer within {spoken(limit_s)}", f"try: {_spelt(command)}")
    reason = _last_line(done.errors).removeprefix("model: ")
    if done.code == 0:
        return _answered(json.loads(done.out.splitlines()[-1]), time.monotonic() - begun)
    if done.code == EXIT_UNAVAILABLE and "held by another program" in reason:
        return Check("question", None, f"not asked, the NPU is busy: {reason}", "stop edged to have it asked")
    if done.code < 0:
        ended = f"the model's process was ended by signal {-done.code}"
        return Check("question", False, ended, "see dmesg: is there enough memory?")
    todo = "see the lines of the packages" if "Error: " in reason else f"then: {_spelt(command)}"
    return Check("question", False, reason, todo)


def _answered(answer: dict[str, Any], took: float) -> Check:
    timing, (_, right, _) = answer["timing_ms"], RED_SQUARE
    times = f"encode {timing['encode']} ms, answer {timing['answer']} ms; {spoken(took)} with loading"
    if answer["value"] == right:
        return Check("question", True, f'a red picture is "{right}": {times}')
    hint = "a whole Qwen2-VL says red: was this one compiled or copied right?"
    return Check("question", None, f'a red picture is "{answer["value"]}": {times}', hint)


# broker and cameras


def _broker(config: Config | None, here: Machine) -> Check:
    if config is None:
        return Check("broker", None, "no config says which")
    try:
        from edged.mqtt.follower import Follower
    except ImportError as error:
        return Check("broker", None, f"not tried: {_of_import(error)}")
    name = f"broker {config.mqtt.shown}"
    follower = Follower(config.mqtt, config.node)
    begun = time.monotonic()
    try:
        follower.start()
        while not follower.connected and follower.reason == "connecting" and time.monotonic() - begun < here.broker_s:
            follower.next(0.05)
        if follower.connected:
            return Check(name, True, f"connected after {spoken(time.monotonic() - begun)}")
        silent = f"no answer to a connection within {spoken(here.broker_s)}"
        reason = silent if follower.reason == "connecting" else follower.reason
    except EdgedError as error:
        return Check(name, False, str(error), "correct mqtt.ca")
    finally:
        follower.close()
    return Check(name, False, reason, _for_broker(reason, config.mqtt))


def _for_broker(reason: str, spec: BrokerSpec) -> str:
    if "authori" in reason or "password" in reason:
        known = "compare mqtt.username and its password with the broker's"
        return known if spec.username else "the broker wants a login: mqtt.username and mqtt.password"
    if "certificate" in reason:
        return "mqtt.ca names the CA that signed the broker's certificate"
    if "TLS" in reason or (spec.tls and "reset" in reason):  # a plain port hangs up on a handshake
        return "mqtts:// belongs to the broker's TLS port, often 8883"
    return "is the broker running, and mqtt.url right?"


def _cameras(config: Config | None, here: Machine) -> list[Check]:
    if config is None:
        return [Check("cameras", None, "no config says which")]
    if not config.cameras:
        return [Check("cameras", None, "the config names none", "edged init finds USB cameras and takes addresses")]
    try:
        import edged.cameras.source  # noqa: F401  # whether it can be, before threads stumble over it
    except ImportError as error:
        return [Check("cameras", None, f"not tried: {_of_import(error)}")]
    found: dict[str, Check] = {}
    stop = threading.Event()

    def grab(spec: CameraSpec) -> None:
        found[spec.name] = _guarded(lambda: [_camera(spec, stop, here)])[0]

    threads = [threading.Thread(target=grab, args=[spec], daemon=True) for spec in config.cameras]
    end = time.monotonic() + here.camera_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    stop.set()
    silent = f"no picture and no reason within {spoken(here.camera_s)}"
    late = {spec.name: Check(f"camera {spec.name}", False, silent, _for_camera(spec)) for spec in config.cameras}
    return list((late | found).values())


def _camera(spec: CameraSpec, stop: threading.Event, here: Machine) -> Check:
    from edged.cameras.source import open_camera

    name = f"camera {spec.name}"
    if spec.source.problem:
        return Check(name, False, spec.source.problem, "see the line of the secrets")
    camera, begun = open_camera(spec, lambda _: None), time.monotonic()
    camera.start()
    try:
        height, width = camera.grab(stop).rgb.shape[:2]
    except (CameraError, Stopped) as error:
        if spec.source.kind == "usb" and (by := holders([_usb_node(spec)], here.proc)):
            return Check(name, None, f"not tried: {', '.join(by)} holds it", "stop that to have it tried")
        return Check(name, False, str(error), _for_camera(spec))
    finally:
        camera.close()
    return Check(name, True, f"{width}x{height} after {spoken(time.monotonic() - begun)}")


def _usb_node(spec: CameraSpec) -> Path:
    device = spec.source.address.reveal()
    return Path(f"/dev/video{device}" if device.isdigit() else device).resolve()


def _for_camera(spec: CameraSpec) -> str:
    match spec.source.kind:
        case "usb":
            return "is it plugged in? ls -l /dev/v4l/by-id"
        case "path":
            return f"put a picture or a clip at {spec.source.shown}, or change source"
        case _:
            return f"is it on, and are address and login right? {spec.source.shown}"


# small things


@dataclass(frozen=True, slots=True)
class Done:
    """A child that ended by itself. A negative code is the signal that ended it."""

    code: int
    out: str
    errors: str


def _child(command: list[str], limit_s: float) -> Done | None:
    """Run it to its end; None if that did not come in time, or there is no such command."""
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ | OPENCV)  # noqa: S603  # our own words
    except OSError:
        return None
    with child:
        with suppress(OSError):  # if memory runs out, this is to go, and not the edged that runs
            Path(f"/proc/{child.pid}/oom_score_adj").write_text("1000")
        try:
            out, errors = child.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return None
    return Done(child.returncode, out, errors)


def _last_line(errors: str) -> str:
    """What a command said last: in edged's name, if it said anything so."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    ours = [line.removeprefix("edged: ") for line in lines if line.startswith("edged: ")]
    return next(iter([*ours[-1:], *lines[-1:]]), "")


def _of_import(error: ImportError) -> str:
    return f"{type(error).__name__}: {error}"


def _spelt(command: list[str]) -> str:
    """The command as an owner would type it, with a picture of their own."""
    config = command[command.index("--config") + 1]
    return f"edged ask --config {config} --image PICTURE 'What is this?'"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.1f} {unit}" if count < 10 and unit != "bytes" else f"{count:.0f} {unit}"
        count /= 1000
    raise AssertionError


def _points_at(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
