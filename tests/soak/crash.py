"""edged and its broker are killed at named points and random moments; nothing that a look had finished may be lost.

crash.py [RUNS [FIRST_SEED]]: one run for each seed (default 50 runs from seed 1). Each run kills edged several times,
and cuts its connection or kills the broker in between, then lets it deliver what is left. A look has finished once it
is on disk. An oracle reads what a subscriber received: nothing lost, the first copies in order on each topic, one
content for each id, and the newest answer retained. Exits 1 if that does not hold.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from soak.crash_child import DRAIN_S, POINTS
from support.broker import Mosquitto, Received, Subscriber, Wire, until
from support.results.figures import Figure
from support.results.record import Recording

from edged.store.store import DiskStore

PEOPLE, GATE, EVENT = "edged/box/dock/people", "edged/box/dock/gate_open", "edged/box/dock/event"
LIVES = 4  # of edged, that end by a kill
LIFE_S = 4.0  # of a process that does not come to its point


@dataclass(slots=True)
class Outcome:
    """What a run did and what it found. `problems` is empty if every promise was kept."""

    seed: int
    finished: int
    received: int
    duplicates: int
    points: list[str]
    problems: list[str]


@dataclass(slots=True)
class Child:
    """One life of edged. `finished` has the looks that it reported."""

    process: subprocess.Popen[str]
    finished: list[int] = field(default_factory=list)
    reader: threading.Thread | None = None

    @classmethod
    def started(cls, path: Path, port: int, first: int, point: str, count: int, look_s: float = 0.004) -> Child:
        command = [sys.executable, str(Path(__file__).with_name("crash_child.py")), str(path), str(port), str(first)]
        command += [point, str(count), str(look_s)]
        child = cls(subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        child.reader = threading.Thread(target=child._read)
        child.reader.start()
        return child

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def wait(self, timeout_s: float = 20.0) -> None:
        self.process.wait(timeout_s)
        assert self.reader is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.reader.join(10)
        self.process.stdin.close()
        self.process.stdout.close()

    def drain(self) -> int:
        assert self.process.stdin
        self.process.stdin.write("drain\n")
        self.process.stdin.flush()
        self.wait(DRAIN_S + 20)
        return self.process.returncode

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.finished.append(int(line.split()[1]))


class World:
    """A broker, the connection of edged to it, and a subscriber that is there before edged after every restart."""

    def __init__(self, folder: Path) -> None:
        self.broker = Mosquitto(folder)
        self.broker.start()
        self.wire = Wire(self.broker.port)
        self.subscriber = Subscriber(self.broker.port)
        self.received: list[Received] = []

    def outage(self, seconds: float) -> None:
        self.wire.cut()
        time.sleep(seconds)
        self.wire.mend()

    def lose_acknowledgements(self, seconds: float) -> None:
        self.wire.deaf.set()
        time.sleep(seconds)
        self.outage(0.2)

    def kill_broker(self, seconds: float) -> None:
        """SIGKILL; the broker has no store. edged is cut off first, so that the subscriber can keep up."""
        self.wire.cut()
        self.collect()
        self.broker.kill()
        time.sleep(seconds)
        self.broker.start()
        self.subscriber = Subscriber(self.broker.port)
        self.wire.mend()

    def close(self) -> None:
        self.collect()
        self.wire.cut()
        self.broker.kill()

    def collect(self) -> None:
        self.subscriber.catch_up()
        self.received += self.subscriber.messages
        self.subscriber.close()


def run(seed: int, folder: Path) -> Outcome:
    chance = random.Random(seed)
    world, path = World(folder), folder / "state" / "edged.db"
    finished: list[int] = []
    points: list[str] = []
    try:
        first = 0
        for life in range(LIVES):
            point = chance.choice(list(POINTS)) if life else chance.choice(["a random moment", *POINTS])
            points.append(point)
            child = Child.started(path, world.wire.port, first, point, chance.choice([1, 2, 3, 10, 40, 150]))
            _disturb(world, chance, child)
            finished += child.finished
            first = max([first, *finished]) + 1000  # a look that was not finished may have been sent nevertheless
        last = Child.started(path, world.wire.port, first, "none", 0)
        until(lambda: len(last.finished) > 20, 30)
        code = last.drain()
        finished += last.finished
    finally:
        world.close()
    return judged(seed, finished, world.received, points, code, path)


def _disturb(world: World, chance: random.Random, child: Child) -> None:
    """Faults until the child has died; after LIFE_S it is killed."""
    end = time.monotonic() + chance.uniform(1.0, LIFE_S)
    while child.process.poll() is None and time.monotonic() < end:
        time.sleep(chance.uniform(0.1, 0.9))
        fault = chance.choice([world.outage, world.lose_acknowledgements, world.kill_broker, None, None])
        if fault:
            fault(chance.uniform(0.05, 0.6))
    child.kill()


def judged(
    seed: int, finished: list[int], received: list[Received], points: list[str], code: int, path: Path
) -> Outcome:
    messages = [message for message in received if message.topic.startswith("edged/box/dock/") and message.payload]
    ids = [message.json["id"] for message in messages]
    problems = [*_lost(finished, set(ids)), *_disordered(messages), *_differing(messages), *_retained(messages)]
    if code != 0:
        problems.append(f"the last edged ended with exit code {code}")
    problems += _facts(finished, path)
    return Outcome(seed, len(finished), len(set(ids)), len(ids) - len(set(ids)), points, problems)


def _lost(finished: list[int], ids: set[str]) -> list[str]:
    expected = {f"{number:06}-{name}" for number in finished for name in ("people", "gate")}
    expected |= {f"{number:06}-event" for number in finished if number % 3 == 0}
    return [f"lost: {sorted(expected - ids)[:5]} and {len(expected - ids)} in all"] if expected - ids else []


def _disordered(messages: list[Received]) -> list[str]:
    problems = []
    for topic in {message.topic for message in messages}:
        first_copies = list(dict.fromkeys(message.json["id"] for message in messages if message.topic == topic))
        if first_copies != sorted(first_copies):
            problems.append(f"out of order on {topic}")
    return problems


def _differing(messages: list[Received]) -> list[str]:
    contents: dict[str, set[bytes]] = {}
    for message in messages:
        contents.setdefault(message.json["id"], set()).add(message.payload)
    differing = [name for name, payloads in contents.items() if len(payloads) > 1]
    return [f"two contents of one id: {differing[:5]}"] if differing else []


def _retained(messages: list[Received]) -> list[str]:
    problems = []
    for topic in (PEOPLE, GATE):
        retained = [message.json["id"] for message in messages if message.topic == topic and message.retain]
        if not retained or retained[-1] != max(retained):
            problems.append(f"the retained answer of {topic} is not the newest: {retained[-3:]}")
    return problems


def _facts(finished: list[int], path: Path) -> list[str]:
    store = DiskStore(path, lambda: True)
    store.open()
    known, waiting = store.facts("alert").get("dock/people"), [each for each in store.found() if each.waiting]
    store.close()
    problems = [f"the fact is {known}, but the last look was {finished[-1]}"] if known != finished[-1] else []
    return [*problems, *([f"{len(waiting)} messages still wait"] if waiting else [])]


def main(runs: int, first_seed: int) -> list[Figure]:
    outcomes = []
    for seed in range(first_seed, first_seed + runs):
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(run(seed, Path(folder)))
        print(outcomes[-1], flush=True)
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    print(f"{runs} runs, {failed} with problems")
    return [
        Figure("kills", f"kills of edged, in {runs} runs", runs * LIVES, "times"),
        Figure("finished", "looks that had finished", sum(outcome.finished for outcome in outcomes)),
        Figure("twice", "messages that arrived more than once", sum(outcome.duplicates for outcome in outcomes)),
        Figure("failed", "runs in which something was lost or out of order", failed, at_most=0),
    ]


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    runs, first_seed = map(int, [*recording.words, *["50", "1"][len(recording.words) :]])
    sys.exit(recording.finish(main(runs, first_seed)))
