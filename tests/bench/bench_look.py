"""What edged itself adds to a look (all but grab and model), and whether its memory stays flat.

bench_look.py [LOOKS]: CPU milliseconds of a look at 8 questions with a fake model that takes no time, down to payloads
in the line of a publisher without a broker; resident memory after the first 5,000 looks and at the end.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.fakes import FakeCamera, FakeModel
from support.making import frame, question
from support.results.figures import Figure
from support.results.record import Recording

from edged.core.answer_types import YesNo
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, CameraSpec, SourceSpec
from edged.mqtt.outbox import Limits
from edged.mqtt.publisher import MqttPublisher
from edged.service.camera_runtime import CameraRuntime
from edged.service.look import Looks
from edged.service.worker_queue import WorkerQueue

QUESTIONS = 8
SETTLED = 5_000


class QuietModel(FakeModel):
    """Remembers nothing."""

    def encode(self, picture) -> float:
        return 0.0

    def ask(self, history, question, stop, on_text=None):
        self.asked.clear()
        self.seen.clear()
        return super().ask(history, question, stop, on_text)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(looks: int) -> list[Figure]:
    stop = threading.Event()
    queue = WorkerQueue(stop)
    queue.serve(queue.load([QuietModel]))
    publisher = MqttPublisher(BrokerSpec(port=1, client_id="bench"), "bench", limits=Limits(messages=1000))
    publisher.start()
    publisher.online()
    looker = Looks(queue, stop, lambda: True, lambda _error, _crew: None)
    questions = tuple(question(f"Is {n} open?", YesNo(), f"q{n}") for n in range(QUESTIONS))
    spec = CameraSpec("dock", SourceSpec("path", Secret("x"), "x"), questions=questions)
    dock = CameraRuntime(spec, "c1", lambda: publisher)
    dock.use(FakeCamera(frame(age_s=-1e9)))
    settled, begun = 0, time.process_time()
    for number in range(looks):
        if number == SETTLED:
            settled, begun = resident(), time.process_time()
        looker.look(dock)
    cpu_ms = (time.process_time() - begun) * 1000 / max(1, looks - SETTLED)
    growth = 100 * (resident() / settled - 1) if settled else float("nan")
    queue.halt()
    publisher.close()
    print(f"looks {looks}, {QUESTIONS} questions each: {cpu_ms:.2f} ms CPU a look (target under 5)")
    print(f"resident memory after {SETTLED} looks {settled / 1e6:.1f} MB, growth {growth:+.2f} % (target within 2)")
    return [
        Figure("cpu", f"CPU of a look with {QUESTIONS} questions, but for grab and model", cpu_ms, "ms", at_most=5),
        Figure("growth", f"growth of memory from look {SETTLED:,} to {looks:,}", growth, "%", at_most=2),
    ]


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main(int(recording.words[0]) if recording.words else 100_000)))
