"""The kinds of faults. Each is a generator: it begins the fault, yields once, ends it, and returns its effect.

The effect is a count of what the fault has really hit, such as connections, bytes or processes; 0 means that it hit
nothing, which the table of the run shows.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

from support.storm.cameras import SIZES, number_now
from support.storm.config_file import write_private
from support.storm.parts import Parts
from support.storm.proxy import Mode
from support.storm.schedule import Fault, Range

Running: TypeAlias = Generator[None, None, int]
CAMERAS = ("dock", "yard", "back")
EACH_CAMERA = tuple((name,) for name in CAMERAS)
TWO_CAMERAS = (("dock", "yard"), ("dock", "back"), ("yard", "back"))
HTTP_CAMERAS = (("yard",), ("back",))
POLL_S = 0.4  # edged's, of its config file


@dataclass(frozen=True, slots=True)
class Kind:
    """`brings_offline`: edged is down, or cannot reach the broker, while it lasts."""

    range: Range
    run: Callable[[Parts, Fault], Running]


KINDS: dict[str, Kind] = {}


def kind(
    name: str, places: tuple[tuple[str, ...], ...], least_s: float, most_s: float
) -> Callable[[Callable[[Parts, Fault], Running]], Callable[[Parts, Fault], Running]]:
    """Register a kind of fault. For `places`, see Range."""

    def register(run: Callable[[Parts, Fault], Running]) -> Callable[[Parts, Fault], Running]:
        KINDS[name] = Kind(Range(places, least_s, most_s), run)
        return run

    return register


def ranges() -> dict[str, Range]:
    return {name: each.range for name, each in KINDS.items()}


# Cameras


@kind("camera refused", EACH_CAMERA, 1, 8)
@kind("two cameras refused", TWO_CAMERAS, 2, 8)
def camera_refused(parts: Parts, fault: Fault) -> Running:
    return _cut(parts, fault.parts)


def _cut(parts: Parts, names: tuple[str, ...]) -> Running:
    proxies = [parts.proxies[name] for name in names]
    before = sum(proxy.affected for proxy in proxies)
    for proxy in proxies:
        proxy.cut()
    yield
    for proxy in proxies:
        proxy.mend()
    return sum(proxy.affected for proxy in proxies) - before


@kind("camera connection reset", (("dock",), ("back",)), 0.3, 2)
def camera_reset(parts: Parts, fault: Fault) -> Running:
    proxy, chance, before = parts.proxies[fault.parts[0]], Random(fault.seed), parts.proxies[fault.parts[0]].affected
    time.sleep(chance.uniform(0, 0.3))  # anywhere in a group of pictures, which lasts a second
    proxy.reset()
    yield
    proxy.reset()
    return proxy.affected - before


@kind("camera half-open", EACH_CAMERA, 2, 10)
def camera_half_open(parts: Parts, fault: Fault) -> Running:
    return _failing(parts, fault, "silent")


@kind("camera's data comes late", EACH_CAMERA, 1, 8)
def camera_held(parts: Parts, fault: Fault) -> Running:
    return _failing(parts, fault, "held")


@kind("camera trickles", EACH_CAMERA, 2, 8)
def camera_trickles(parts: Parts, fault: Fault) -> Running:
    return _failing(parts, fault, "trickle")


@kind("camera sends garbage", EACH_CAMERA, 0.5, 4)
def camera_garbage(parts: Parts, fault: Fault) -> Running:
    return _failing(parts, fault, "garbage")


def _failing(parts: Parts, fault: Fault, mode: Mode) -> Running:
    proxy = parts.proxies[fault.parts[0]]
    before = proxy.affected
    proxy.fail(mode, fault.seed)
    yield
    if mode in ("silent", "garbage"):  # the rest of these streams would make no sense
        proxy.cut()
    proxy.mend()
    return proxy.affected - before


@kind("camera stopped (SIGSTOP)", (("dock",),), 1, 10)
def camera_stopped(parts: Parts, fault: Fault) -> Running:
    parts.rtsp.pause()
    stopped = _is_stopped(parts.rtsp.process.pid)
    yield
    parts.rtsp.resume()
    return stopped


@kind("camera frozen", HTTP_CAMERAS, 6, 14)
def camera_frozen(parts: Parts, fault: Fault) -> Running:
    camera = parts.http[fault.parts[0]]
    camera.frozen, before = number_now(), camera.served
    yield
    camera.frozen = None
    return camera.served - before


@kind("camera changes its resolution", HTTP_CAMERAS, 1, 4)
def camera_resized(parts: Parts, fault: Fault) -> Running:
    camera = parts.http[fault.parts[0]]
    before, camera.size = camera.served, SIZES[1]
    yield
    camera.size = SIZES[0]
    return camera.served - before


# The broker


@kind("broker killed", (("broker",),), 0.2, 6)
def broker_killed(parts: Parts, fault: Fault) -> Running:
    parts.kill_broker()
    yield
    parts.restart_broker()
    return 1


@kind("broker restarted without its store", (("broker",),), 0.2, 4)
def broker_forgets(parts: Parts, fault: Fault) -> Running:
    parts.kill_broker()
    yield
    had_store = (parts.folder / "broker" / "mosquitto.db").exists()
    parts.restart_broker(forget=True)
    return int(had_store)


@kind("broker stopped (SIGSTOP)", (("broker",),), 1, 10)
def broker_stopped(parts: Parts, fault: Fault) -> Running:
    parts.broker.freeze()
    yield
    parts.broker.thaw()
    return 1


@kind("broker unreachable", (("broker",),), 1, 8)
def broker_unreachable(parts: Parts, fault: Fault) -> Running:
    return _cut(parts, fault.parts)


@kind("broker half-open", (("broker",),), 2, 10)
def broker_half_open(parts: Parts, fault: Fault) -> Running:
    return _failing(parts, fault, "silent")


@kind("cut between PUBLISH and PUBACK", (("broker",),), 1, 4)
def acknowledgements_lost(parts: Parts, fault: Fault) -> Running:
    proxy = parts.proxies["broker"]
    before = proxy.affected
    proxy.fail("deaf")
    yield
    lost = proxy.affected - before
    proxy.cut()
    proxy.mend()
    return lost


# edged


@kind("edged killed", (("edged",),), 0.1, 12)
def edged_killed(parts: Parts, fault: Fault) -> Running:
    return _ended(parts, signal.SIGKILL)


@kind("edged stopped (SIGTERM)", (("edged",),), 0.1, 6)
def edged_terminated(parts: Parts, fault: Fault) -> Running:
    return _ended(parts, signal.SIGTERM)


def _ended(parts: Parts, number: signal.Signals) -> Running:
    was_running = parts.life.edged.running
    parts.end_edged(number)
    yield
    parts.await_end()
    parts.start_edged()
    return int(was_running)


@kind("edged frozen (SIGSTOP)", (("edged",),), 0.5, 8)
def edged_frozen(parts: Parts, fault: Fault) -> Running:
    parts.life.edged.send(signal.SIGSTOP)
    stopped = _is_stopped(parts.life.edged.pid)
    yield
    parts.life.edged.send(signal.SIGCONT)
    return stopped


@kind("SIGHUP", (("edged",),), 0.1, 2)
def hang_up(parts: Parts, fault: Fault) -> Running:
    for _ in range(Random(fault.seed).choice((1, 1, 20))):
        parts.life.edged.send(signal.SIGHUP)
    yield
    return int(parts.life.edged.running)


def _is_stopped(pid: int) -> int:
    """1 once the process is stopped, 0 if it is not within a second."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "T":
            return 1
        time.sleep(0.01)
    return 0


# The config


@kind("config half-written", (("config",),), 0.2, 3)
def config_half_written(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    config.revision += 1
    text = config.text()
    cut = Random(fault.seed).randrange(len(text) // 4, len(text) - 20)
    write_private(config.path, text[:cut])
    yield
    write_private(config.path, text)
    return cut


@kind("config deleted and made again", (("config",),), 0.2, 3)
def config_deleted(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    config.path.unlink()
    yield
    config.revision += 1
    config.save()
    return 1


@kind("config good, bad and good again", (("config",),), 0.1, 0.3)
def config_good_bad_good(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    config.revision += 1
    config.save()
    time.sleep(Random(fault.seed).uniform(0, POLL_S / 4))
    config.replace(config.text().replace("every:", "evry:"))
    yield
    config.revision += 1
    config.save()
    return 1


@kind("config renamed", (("config",),), 0.2, 3)
def config_renamed(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    elsewhere = config.path.with_suffix(".old")
    config.path.rename(elsewhere)
    yield
    elsewhere.rename(config.path)
    config.revision += 1
    config.save()
    return 1


@kind("question moved to another camera", (("config",),), 1, 5)
def question_moved(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    source, target = Random(fault.seed).sample(list(config.sources), 2)
    before = dict(config.questions)
    config.questions |= {source: ["clock", "seen"], target: ["clock", "even", "seen"]}
    config.save()
    yield
    config.questions = before
    config.save()
    return 1


@kind("camera renamed", (("config",),), 1, 5)
def camera_renamed(parts: Parts, fault: Fault) -> Running:
    config = parts.config
    name = Random(fault.seed).choice(list(config.sources))
    before = dict(config.sources)
    config.sources = {f"{name}2" if each == name else each: source for each, source in before.items()}
    config.save()
    yield
    config.sources = before
    config.save()
    return 1


# The model


@kind("model fails", (("model",),), 1, 6)
def model_fails(parts: Parts, fault: Fault) -> Running:
    return _planted(parts, "model", "error")


@kind("model hangs", (("model",),), 1, 6)
def model_hangs(parts: Parts, fault: Fault) -> Running:
    return _planted(parts, "model", "hang")


@kind("model slow", (("model",),), 2, 8)
def model_slow(parts: Parts, fault: Fault) -> Running:
    return _planted(parts, "model", "slow")


@kind("model's cache overflows", (("model",),), 1, 4)
def model_overflows(parts: Parts, fault: Fault) -> Running:
    return _planted(parts, "model", "overflow")


@kind("model's answer cut off", (("model",),), 1, 4)
def model_cut_off(parts: Parts, fault: Fault) -> Running:
    return _planted(parts, "model", "cut off")


@kind("model talks nonsense", (("model",),), 1, 4)
def model_nonsense(parts: Parts, fault: Fault) -> Running:
    return _planted(parts, "model", "nonsense")


def _planted(parts: Parts, name: str, value: object) -> Running:
    effects = parts.failures.with_name(parts.failures.name + ".effects")
    effects.touch()
    before = effects.stat().st_size
    _plant(parts.failures, {**planted(parts.failures), name: value})
    yield
    _plant(parts.failures, {each: value for each, value in planted(parts.failures).items() if each != name})
    return effects.read_bytes()[before:].decode().split("\n").count(name)


def planted(path: Path) -> dict[str, object]:
    """The failures that are on; {} without the file."""
    try:
        content: dict[str, object] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return content


def _plant(path: Path, failures: dict[str, object]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(failures))
    new.replace(path)
