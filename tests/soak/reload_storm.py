"""Reloads a running edged hundreds of times, with every kind of change, and checks what it publishes and uses.

reload_storm.py [--reloads N] [--seed S]. Reads only the brokers, edged's log and /proc. Exits 1 on a violation.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from PIL import Image
from soak.oracle import Message, Oracle, Recorder, Save, Violation, passwords
from soak.shapes import BAD, GOOD, NotNow, Setting, Shape, change_prompt, first, make_fast, put_right
from support import tiny_model
from support.broker import Mosquitto, Received, Subscriber
from support.making import picture
from support.rtsp import serving
from support.run_delays import RunDelays
from support.running import Edged

from edged.core.specs import revision

PATIENT_S = 120.0  # waits are so long, and what took too long is found afterwards: a busy machine may be the cause
IN_FORCE_S = 5.0
MODEL_IN_FORCE_S = 30.0
QUIET_S = 3.0
STOP_S = 5.0
RELOADED = r"(INFO config reloaded: |ERROR config not reloaded: )"
PASSWORDS = {"dock": "p w/1-dock", "mqtt-one": "first#Word", "mqtt-two": "second/Word"}
WATCHER = ("watcher", "looks-on")
BURST = "burst of 20 SIGHUPs"
TWO_FILES = "two files within 0.3 s"
PUT_BACK = "removed and put back"
SLOWLY = "written in two pieces"
FROZEN = "while the broker is frozen"
TRICKS = {BURST: 2, TWO_FILES: 4, PUT_BACK: 2, SLOWLY: 3, FROZEN: 6}
OF_QUESTIONS = (
    "prompt changed",
    "question removed",
    "question added",
    "camera removed",
    "camera added",
    "image on or off",
)
FROZEN_S = 1.5
PENDING_S = 0.7  # so that a pending signal does not make edged read half of a file
BASELINE = slice(30, 60)
LAST = 30
MEMORY_GROWTH = 1.05
MORE = 2


@dataclass(frozen=True)
class Sample:
    """edged's process after a reload."""

    reload: int
    kind: str
    resident_kb: int
    threads: int
    descriptors: int


@dataclass
class Storm:
    """One edged, its brokers, and every config that was saved."""

    setting: Setting
    path: Path
    chance: Random
    shape: Shape
    edged: Edged
    recorder: Recorder
    brokers: list[Mosquitto]
    saves: list[Save]
    delays: RunDelays
    violations: list[Violation] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    samples: list[Sample] = field(default_factory=list)
    texts: int = 1
    bag: list[str] = field(default_factory=list)
    unconnected: int = 0  # reloads in a row without a broker
    spoiled: bool = False  # the file is invalid, so edged follows an earlier one

    # reloads

    def reload(self, number: int) -> None:
        kind = self._drawn()
        if kind in BAD:
            self._spoil(number, kind)
        elif kind in TRICKS:
            self._trick(number, kind)
        else:
            self._change(number, kind)
        self._sample(number, kind)
        time.sleep(self.chance.choice((0.0, 0.1, 0.3, 0.7)))

    def _drawn(self) -> str:
        """The next kind in the bag that fits. After three reloads without a broker, the secrets are corrected."""
        if self.unconnected >= 3 or (self.shape.secrets["dock"] != PASSWORDS["dock"] and self.chance.random() < 0.4):
            return "secrets put right"
        for place, kind in enumerate(self._filled_bag()):
            if kind not in GOOD.changes or self._fits(kind):
                return self.bag.pop(place)
        self.bag.clear()
        return "prompt changed"

    def _filled_bag(self) -> list[str]:
        if not self.bag:
            weights = {**GOOD.weights, **TRICKS, **dict.fromkeys(BAD, 1)}
            self.bag = [kind for kind, weight in weights.items() for _ in range(weight)]
            self.chance.shuffle(self.bag)
        return self.bag

    def _fits(self, kind: str) -> bool:
        with suppress(NotNow):
            GOOD.changes[kind](copy.deepcopy(self.shape), Random(0), self.setting)
            return True
        return False

    def _change(self, number: int, kind: str) -> None:
        shape = self._changed(kind)
        only_secrets = not self.spoiled and self.chance.random() < 0.5 and self._differs_in_secrets(shape)
        self._write_secrets(shape)
        text = self.path.read_text() if only_secrets else self._text(shape)
        since = len(self.edged.lines), len(self.recorder.messages)
        save = self._saved(number, kind, shape, text)
        if only_secrets:
            self.edged.send(signal.SIGHUP)
        else:
            self._write(text)
        self._await(save, *since)

    def _changed(self, kind: str) -> Shape:
        while True:
            shape = copy.deepcopy(self.shape)
            with suppress(NotNow):
                GOOD.changes[kind](shape, self.chance, self.setting)
                return shape

    def _differs_in_secrets(self, shape: Shape) -> bool:
        return shape.text(self.setting, 0) == self.shape.text(self.setting, 0) and shape.secrets != self.shape.secrets

    def _spoil(self, number: int, kind: str) -> None:
        text = BAD[kind](self.shape, self._text(self.shape), self.setting)
        since = len(self.edged.lines), len(self.recorder.messages)
        begun = time.monotonic()
        if text is None:
            self.path.unlink(missing_ok=True)
            if kind == "FIFO":
                os.mkfifo(self.path)
            self.edged.send(signal.SIGHUP)
        else:
            self._write(text)
        self.spoiled = True
        self._await_refusal(number, kind, begun, *since)

    def _trick(self, number: int, kind: str) -> None:
        time.sleep(PENDING_S)
        shape = self._changed("prompt changed")
        change_prompt(shape, self.chance, self.setting)
        text = self._text(shape)
        since = len(self.edged.lines), len(self.recorder.messages)
        match kind:
            case "burst of 20 SIGHUPs":
                save = self._saved(number, kind, shape, text)
                self._replace(text)
                for _ in range(20):
                    self.edged.send(signal.SIGHUP)
                    time.sleep(0.02)
            case "two files within 0.3 s":
                self._saved(number, kind, shape, text)
                self._write(text)
                time.sleep(self.chance.uniform(0.0, 0.3))
                shape = self._later(shape, ("question removed", "camera removed", "camera added", "node renamed"))
                text = self._text(shape)
                save = self._saved(number, kind, shape, text)
                self._write(text)
            case "while the broker is frozen":
                shape = self._later(self.shape, OF_QUESTIONS)
                text = self._text(shape)
                self.brokers[shape.broker].freeze()
                save = self._saved(number, kind, shape, text)
                self._write(text)
                time.sleep(FROZEN_S)
                self.brokers[shape.broker].thaw()
            case "removed and put back":
                self.path.unlink(missing_ok=True)
                time.sleep(0.6)
                save = self._saved(number, kind, shape, text)
                self._write(text)
            case _:
                half = len(text) // 2
                save = self._saved(number, kind, shape, text)
                self._make_regular()
                with self.path.open("w") as file:
                    file.write(text[:half])
                    file.flush()
                    time.sleep(0.25)
                    file.write(text[half:])
        self._await(save, *since)

    def _later(self, shape: Shape, kinds: Sequence[str]) -> Shape:
        """The shape with one more change of these kinds."""
        for _ in range(20):
            other = copy.deepcopy(shape)
            with suppress(NotNow):
                GOOD.changes[self.chance.choice(kinds)](other, self.chance, self.setting)
                return other
        change_prompt(shape, self.chance, self.setting)
        return shape

    # saving

    def _text(self, shape: Shape) -> str:
        """The text of a config, different each time, so that a revision stands for one save."""
        self.texts += 1
        return shape.text(self.setting, self.texts)

    def _saved(self, number: int, kind: str, shape: Shape, text: str) -> Save:
        save = Save(number, kind, revision(text), shape, time.monotonic())
        self.saves.append(save)
        return save

    def _write(self, text: str) -> None:
        (self._replace if self.chance.random() < 0.5 else self._write_in_place)(text)
        if self.chance.random() < 0.5:
            self.edged.send(signal.SIGHUP)

    def _replace(self, text: str) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text(text)
        beside.rename(self.path)

    def _write_in_place(self, text: str) -> None:
        self._make_regular()
        self.path.write_text(text)

    def _make_regular(self) -> None:
        if self.path.is_fifo():
            self.path.unlink()

    def _write_secrets(self, shape: Shape) -> None:
        for name, value in shape.secrets.items():
            file = self.path.parent / "credentials" / name
            if value is None:
                file.unlink(missing_ok=True)
            else:
                file.write_text(f"{value}\n")

    # expectations

    def _await(self, save: Save, line: int, message: int) -> None:
        limit_s = IN_FORCE_S if save.shape.model == self.shape.model else MODEL_IN_FORCE_S
        two = save.kind == TWO_FILES
        self._logged("INFO config reloaded: ", save.number, save.kind, line, save.saved_at, limit_s)
        if save.shape.connected(self.setting):
            self._informed(save, message, limit_s)
            self.unconnected = 0
        else:
            if two:  # the log does not say which of the two files it was
                time.sleep(2.0)
            save.in_force_at = time.monotonic()
            self.unconnected += 1
        self.seconds[save.kind].append(save.in_force_at - save.saved_at)
        self.shape, self.spoiled = save.shape, False

    def _informed(self, save: Save, start: int, limit_s: float) -> None:
        def in_force(message: Message) -> bool:
            if not self._is_info(message, save.shape) or message.cleared:
                return False
            return (message.json["config_rev"], message.json["config_problems"]) == (save.rev, [])

        message = self.recorder.wait_for(in_force, PATIENT_S, start)
        if message is None or self._took_longer(save.saved_at, message.at, limit_s):
            self._violated(save.number, save.kind, f"bridge/info does not show {save.rev} after {limit_s:g} s", start)
        # later than it really was, so that the next reload is still waited for
        save.in_force_at = message.at if message else time.monotonic()

    def _await_refusal(self, number: int, kind: str, begun: float, line: int, message: int) -> None:
        self._logged("ERROR config not reloaded: ", number, kind, line, begun, IN_FORCE_S)
        rev = self.saves[-1].rev

        def refused(message: Message) -> bool:
            if not self._is_info(message, self.shape) or message.cleared:
                return False
            is_refusal: bool = message.json["config_rev"] == rev and message.json["config_problems"] != []
            return is_refusal

        if self.shape.connected(self.setting):
            informed = self.recorder.wait_for(refused, PATIENT_S, message)
            if informed is None or self._took_longer(begun, informed.at, IN_FORCE_S):
                self._violated(number, kind, "bridge/info does not show the problems with the old revision", message)
        self.seconds[kind].append(time.monotonic() - begun)

    def _is_info(self, message: Message, shape: Shape) -> bool:
        return (message.broker, message.topic) == (shape.broker, f"{shape.prefix}/{shape.node}/bridge/info")

    def _took_longer(self, begun: float, ended: float, limit_s: float) -> bool:
        """Apart from the time in which others used the processors."""
        return ended - begun > limit_s and ended - begun - self.delays.during(begun, ended) > limit_s

    def _logged(self, wanted: str, number: int, kind: str, line: int, begun: float, limit_s: float) -> None:
        try:
            at = self.edged.wait_for(RELOADED, PATIENT_S, line)
        except AssertionError:
            self._violated(number, kind, f"no line {wanted!r} in the log after {PATIENT_S:g} s")
            return
        if self._took_longer(begun, time.monotonic(), limit_s):
            self._violated(number, kind, f"no line {wanted!r} in the log after {limit_s:g} s")
        if wanted not in self.edged.lines[at]:
            self._violated(number, kind, f"{wanted!r} was expected, the log has {self.edged.lines[at]!r}")

    def _violated(self, number: int, kind: str, sentence: str, start: int | None = None) -> None:
        oracle = Oracle(self.setting, self.saves, list(self.recorder.messages), self.delays.during)
        around = [] if start is None else [m for m in oracle.messages[start:] if "/bridge/" in m.topic]
        lines = [f"  log: {line}" for line in self.edged.lines[-6:]]
        self.violations.append(Violation(number, kind, sentence, (*map(oracle.line, around[-6:]), *lines)))

    # the process

    def _sample(self, number: int, kind: str) -> None:
        process = Path(f"/proc/{self.edged.pid}")
        status = (process / "status").read_text()
        resident, threads = (int(re.search(rf"{key}:\s+(\d+)", status)[1]) for key in ("VmRSS", "Threads"))  # type: ignore[index]  # both are always there
        self.samples.append(Sample(number, kind, resident, threads, len(list((process / "fd").iterdir()))))

    def growth(self) -> Iterator[Violation]:
        early, late = self.samples[BASELINE], self.samples[-LAST:]
        if len(self.samples) < BASELINE.stop + LAST:
            return
        for figure, limit in (("resident_kb", None), ("threads", MORE), ("descriptors", MORE)):
            before, after = (
                statistics.median(getattr(sample, figure) for sample in part if sample.kind != "model changed")
                for part in (early, late)
            )
            if after > (before * MEMORY_GROWTH if limit is None else before + limit):
                yield Violation(late[-1].reload, "growth", f"{figure}: {before:g} at first, {after:g} at last")

    # the end

    def settle(self, number: int) -> None:
        """Save a last config, under which every topic gets a retained message."""
        shape = copy.deepcopy(self.shape)
        with suppress(NotNow):
            make_fast(shape)
        with suppress(NotNow):
            put_right(shape, self.chance, self.setting)
        self._write_secrets(shape)
        since = len(self.edged.lines), len(self.recorder.messages)
        text = self._text(shape)
        save = self._saved(number, "the last", shape, text)
        self._replace(text)
        self._await(save, *since)
        self._await_answers(since[1])
        time.sleep(QUIET_S)  # the retained messages are checked after a time without changes

    def _await_answers(self, start: int) -> None:
        """Wait for an answer to each question."""
        steady = ("/availability", "/active", "/state", "/info", "/health", "/config")
        missing = {place for place in self.shape.topics() if not place[1].endswith(steady)}

        def completes(message: Message) -> bool:
            missing.discard((message.broker, message.topic))
            return not missing

        self.recorder.wait_for(completes, PATIENT_S, start)

    def retained(self) -> list[Violation]:
        """The brokers have the retained messages of the last config, and no others, once nothing is on its way."""
        begun = time.monotonic()
        while (found := list(self._retained())) and not self._took_longer(begun, time.monotonic(), QUIET_S):
            time.sleep(0.1)
        return found

    def _retained(self) -> Iterator[Violation]:
        on_brokers: dict[tuple[int, str], Received] = {}
        for number, port in enumerate(self.setting.ports):
            late = Subscriber(port, *WATCHER)
            on_brokers |= {(number, message.topic): message for message in late.messages if message.payload}
            late.close()
        wanted = self.shape.topics()
        offline = {
            place for place, m in on_brokers.items() if m.topic.endswith("bridge/state") and b"offline" in m.payload
        }
        for difference, places in (
            ("is retained, but not of the last config", on_brokers.keys() - wanted - offline),
            ("of the last config is not retained", wanted - on_brokers.keys()),
        ):
            for broker, topic in sorted(places):
                lines = self._last_messages(broker, topic)
                yield Violation(self.saves[-1].number, "at the end", f"broker {broker}: {topic} {difference}", lines)

    def _last_messages(self, broker: int, topic: str) -> tuple[str, ...]:
        oracle = Oracle(self.setting, self.saves, self.recorder.messages, self.delays.during)
        same = [message for message in self.recorder.messages if (message.broker, message.topic) == (broker, topic)]
        return tuple(map(oracle.line, same[-4:]))

    def stop(self) -> Iterator[Violation]:
        start = len(self.recorder.messages)
        begun = time.monotonic()
        code, took_s = self.edged.stop()
        if code != 0 or self._took_longer(begun, begun + took_s, STOP_S):
            yield self._at_stop(f"exit code {code} after {took_s:.1f} s")
        node = f"{self.shape.prefix}/{self.shape.node}"

        def is_offline(topic: str) -> Callable[[Message], bool]:
            return lambda m: m.topic == topic and not m.cleared and m.json["state"] == "offline"

        for camera in self.shape.cameras:
            message = self.recorder.wait_for(is_offline(f"{node}/{camera}/availability"), PATIENT_S, start)
            if message is None or not message.json["reason"]:
                yield self._at_stop(f"camera {camera} is not offline with a reason")
        if self.recorder.wait_for(is_offline(f"{node}/bridge/state"), PATIENT_S, start) is None:
            yield self._at_stop("bridge/state is not offline")

    def _at_stop(self, sentence: str) -> Violation:
        return Violation(self.saves[-1].number, "SIGTERM", sentence, tuple(self.edged.lines[-6:]))

    def log_violations(self) -> Iterator[Violation]:
        secrets = "|".join(map(re.escape, passwords(self.saves)))
        for line in self.edged.said(f"Traceback|unexpected error|Exception|{secrets}"):
            yield Violation(self.saves[-1].number, "log", line)


def run(
    folder: Path, reloads: int, seed: int, model: Path | None = None, report: Callable[[str], None] = lambda _: None
) -> Storm:
    """Run a storm. Its `violations` are empty if all went well."""
    with _started(folder, seed, model) as storm:
        for number in range(1, reloads + 1):
            if not storm.edged.running:
                storm.violations.append(Violation(number, "edged", "has ended", tuple(storm.edged.lines[-20:])))
                return storm
            storm.reload(number)
            if number % 10 == 0:
                report(f"{number} reloads, {len(storm.violations)} violations so far; {storm.samples[-1]}")
        storm.settle(reloads + 1)
        storm.violations += [*storm.retained(), *storm.growth()]
        messages = list(storm.recorder.messages)
        storm.violations += [*storm.stop(), *storm.log_violations()]
        storm.violations += Oracle(storm.setting, storm.saves, messages, storm.delays.during).violations()
        return storm


@contextmanager
def _started(folder: Path, seed: int, model: Path | None) -> Iterator[Storm]:
    with ExitStack() as stack:
        server = stack.enter_context(serving("digest", "viewer", PASSWORDS["dock"]))
        brokers = []
        for name in ("broker-a", "broker-b"):
            (folder / name).mkdir()
            users = {"one": PASSWORDS["mqtt-one"], "two": PASSWORDS["mqtt-two"], WATCHER[0]: WATCHER[1]}
            brokers.append(stack.enter_context(Mosquitto(folder / name, users=users)))
        setting = Setting(folder, (brokers[0].port, brokers[1].port), server.port, PASSWORDS)
        _make_folders(setting, model)
        shape, path = first(setting), folder / "edged.yaml"
        for name, value in PASSWORDS.items():
            (folder / "credentials" / name).write_text(f"{value}\n")
        text = shape.text(setting, 1)
        path.write_text(text)
        recorder = Recorder(setting.ports, *WATCHER)
        stack.callback(recorder.close)
        first_save = Save(0, "start", revision(text), shape, time.monotonic())
        state = {"XDG_STATE_HOME": str(folder / "state")}
        edged = stack.enter_context(Edged("run", "--config", path, verbose=False, env=state))
        edged.wait_for("INFO ready: ")
        first_save.in_force_at = time.monotonic()
        delays = RunDelays()
        stack.callback(delays.close)
        yield Storm(setting, path, Random(seed), shape, edged, recorder, brokers, [first_save], delays)


def make_tiny_model(folder: Path) -> None:
    """In a process of its own, so that the storm does not load torch."""
    # -P: without the script's folder in the path, whose http.py would hide the package of that name
    subprocess.run([sys.executable, "-P", tiny_model.__file__, folder], check=True)


def _make_folders(setting: Setting, model: Path | None) -> None:
    (setting.folder / "credentials").mkdir()
    tiny, other = setting.models
    if model:
        shutil.copytree(model, tiny)
    else:
        make_tiny_model(tiny)
    shutil.copytree(tiny, other)
    for number, pictures in enumerate(setting.pictures):
        pictures.mkdir()
        for index in range(3):
            Image.fromarray(picture(10 * number + index)).save(pictures / f"{index}.png")


def summary(storm: Storm) -> str:
    lines = [f"{'kind of change':28} {'count':>5}  {'median s':>8}  {'worst s':>8}"]
    for kind, taken in sorted(storm.seconds.items()):
        lines.append(f"{kind:28} {len(taken):5}  {statistics.median(taken):8.2f}  {max(taken):8.2f}")
    for name in ("resident_kb", "threads", "descriptors"):
        early, late = (
            statistics.median(getattr(sample, name) for sample in part or storm.samples)
            for part in (storm.samples[BASELINE], storm.samples[-LAST:])
        )
        lines.append(f"{name}: median {early:g} early, {late:g} at the end")
    lines.append(f"{len(storm.recorder.messages)} messages, {len(storm.saves)} saves")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        storm = run(Path(name), options.reloads, options.seed, report=lambda line: print(line, flush=True))
    for violation in storm.violations:
        print(violation)
    print(summary(storm))
    print(f"seed {options.seed}: {len(storm.violations)} violations")
    return 1 if storm.violations else 0


if __name__ == "__main__":
    sys.exit(main())
