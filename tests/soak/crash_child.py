"""The process that `crash.py` kills: a publisher with its store, and looks that never end.

crash_child.py STATE_FILE PORT FIRST_LOOK POINT COUNT [LOOK_S]: looks every LOOK_S seconds (default 0.004) and writes
`w NUMBER` for each look that is on disk. At the COUNT-th time that it comes to POINT it kills itself with SIGKILL.
After a line on standard input it makes no more looks, waits until everything is delivered, and ends.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.broker import HOST, an_answer, until
from support.publishing import asking

from edged.core.specs import BrokerSpec
from edged.core.types import Event, Fact, StoredMessage
from edged.mqtt.connection import Connection
from edged.mqtt.publisher import MqttPublisher
from edged.mqtt.send_queue import SendQueue
from edged.store.rows import MessageRows
from edged.store.store import DiskStore
from edged.store.writer import Operation

POINTS: dict[str, tuple[type, str, bool]] = {  # class, method, and if the process is killed after it
    "before the insert": (MessageRows, "insert", False),
    "after the commit": (Operation, "tell", False),
    "before a publish": (Connection, "publish", False),
    "after a publish": (Connection, "publish", True),
    "before an acknowledgement": (SendQueue, "acknowledged", False),
    "before done is written": (MessageRows, "done", False),
    "after done is written": (MessageRows, "done", True),
    "before the mark": (DiskStore, "mark_late", False),
    "after the mark": (DiskStore, "mark_late", True),
    "before the adoption": (SendQueue, "adopt", False),
    "after the adoption": (SendQueue, "adopt", True),
    "after an outage began": (SendQueue, "lost", True),
    "after a connect": (SendQueue, "connected", True),
}
DRAIN_S = 60.0
SINCE = datetime(2026, 7, 1, 12, tzinfo=UTC)


class ReportingStore(DiskStore):
    """Reports every look that is on disk before anything else can happen to it."""

    def write(self, messages: Sequence[StoredMessage], facts: Sequence[Fact], then: Callable[[bool], None]) -> None:
        def written(on_disk: bool) -> None:
            if on_disk:
                os.write(1, b"w %d\n" % facts[0].value)
            then(on_disk)

        super().write(messages, facts, written)


def kill_at(point: str, count: int) -> None:
    owner, name, afterwards = POINTS[point]
    original = getattr(owner, name)
    left = [count]

    @functools.wraps(original)
    def counted(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and not afterwards:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **named)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)


def look(publisher: MqttPublisher, number: int) -> None:
    answers = [an_answer(f"{number:06}-people"), an_answer(f"{number:06}-gate", question="gate_open")]
    events = [Event(f"{number:06}-event", "dock", "people", "changed", 2, 3, SINCE, SINCE)] if number % 3 == 0 else []
    publisher.answers(answers, events, None, [Fact("alert", "dock/people", number)])


def main(path: Path, port: int, first: int, point: str, count: int, look_s: float) -> None:
    if point in POINTS:
        kill_at(point, count)
    store = ReportingStore(path, lambda: True)
    store.open()
    publisher = MqttPublisher(BrokerSpec(HOST, port), "box", store)
    publisher.follow(asking(dock=["people", "gate_open"], image=False))
    publisher.start()
    publisher.online()
    stop = threading.Event()
    threading.Thread(target=_stop_at_a_line, args=(stop,), daemon=True).start()
    number = first
    while not stop.wait(look_s):
        look(publisher, number)
        number += 1
    until(lambda: publisher.figures().connected and publisher.figures().waiting == 0, DRAIN_S)
    publisher.close()
    store.close()


def _stop_at_a_line(stop: threading.Event) -> None:
    sys.stdin.readline()
    stop.set()


if __name__ == "__main__":
    path, port, first, point, count, *pace = sys.argv[1:]
    main(Path(path), int(port), int(first), point, int(count), float(pace[0]) if pace else 0.004)
