"""The broker is away for minutes, edged is killed meanwhile, and everything is delivered afterwards.

outage.py [MINUTES [RATE]]: RATE answers a second (default 10, with an event for every sixth) while the broker is down
for MINUTES (default 10). edged is killed with SIGKILL after each third of it. Then the broker is back without its
retained messages. Prints what was delivered and how fast; exits 1 if anything was lost or out of order, or if less
than 500 messages a second were delivered.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from soak.crash import Child, World, judged
from support.broker import Subscriber, until

TARGET = 500.0  # messages a second, delivered after the outage
ANSWERS_A_LOOK = 2


@dataclass(frozen=True, slots=True)
class Outage:
    looks: int
    delivered: int
    seconds: float  # from the broker's return until the last message had arrived
    problems: list[str]

    @property
    def rate(self) -> float:
        return self.delivered / self.seconds


def run(away_s: float, answers_a_second: float, folder: Path) -> Outage:
    world, path = World(folder), folder / "state" / "edged.db"
    look_s = ANSWERS_A_LOOK / answers_a_second
    finished: list[int] = []

    def started() -> Child:
        return Child.started(path, world.broker.port, max([0, *finished]) + 1000, "none", 0, look_s)

    child = started()
    until(lambda: len(child.finished) > 5, 30)
    world.collect()
    world.broker.kill()
    for _ in range(2):
        time.sleep(away_s / 3)
        child.kill()
        finished += child.finished
        child = started()
    time.sleep(away_s / 3)
    world.broker.start()
    world.subscriber = Subscriber(world.broker.port)
    world.subscriber.wait_for(lambda messages: any(message.payload for message in messages), 90.0)
    begun = time.monotonic()
    code = child.drain()
    finished += child.finished
    world.subscriber.catch_up()
    seconds, delivered = time.monotonic() - begun, len(world.subscriber.messages)
    world.close()
    problems = judged(0, finished, world.received, [], code, path).problems
    return Outage(len(finished), delivered, seconds, problems)


def main(minutes: float, answers_a_second: float) -> int:
    with tempfile.TemporaryDirectory() as folder:
        outage = run(minutes * 60, answers_a_second, Path(folder))
    print(f"{outage.looks} looks; {outage.delivered} messages in {outage.seconds:.1f} s: {outage.rate:.0f}/s")
    for problem in outage.problems:
        print(problem)
    return 1 if outage.problems or outage.rate < TARGET else 0


if __name__ == "__main__":
    sys.exit(main(*(float(argument) for argument in [*sys.argv[1:], *["10", "10"][len(sys.argv) - 1 :]])))
