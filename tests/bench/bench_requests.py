"""How long a request waits while looks with eight questions run, measured in questions.

bench_requests.py [REQUESTS]: a fake model that takes 100 ms for a question and 30 ms for a picture. The schedule's
looks follow each other without a gap; requests for another camera, with one question, come at random moments. Exits 1
if one waits for more than the question that is being answered (10 % more for the operating system).
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.fakes import FakeCamera, FakeModel, FakePublisher
from support.making import frame, question
from support.results.figures import Figure, Spread
from support.results.record import Recording

from edged.core.answer_types import YesNo
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, QuestionSpec, SourceSpec
from edged.service.camera_runtime import CameraRuntime
from edged.service.look import Looks
from edged.service.worker_queue import WorkerQueue

QUESTIONS = 8
QUESTION_S = 0.1
ENCODE_S = 0.03
TOLERANCE = 1.1
OF_REQUEST = frame(1, age_s=-1e9)


class TimedModel(FakeModel):
    """Notes when it began to encode each picture of the requests, and how many of the looks."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[float] = []
        self.encodes = 0

    def encode(self, picture) -> float:
        if picture.sha256 == OF_REQUEST.sha256:
            self.begun.append(time.monotonic())
        else:
            self.encodes += 1
        time.sleep(ENCODE_S)
        return ENCODE_S * 1000

    def ask(self, history, asked, stop, on_text=None):
        time.sleep(QUESTION_S)
        return super().ask(history, asked, stop, on_text)


def runtime(name: str, publisher: FakePublisher, picture, *questions: QuestionSpec) -> CameraRuntime:
    spec = CameraSpec(name, SourceSpec("path", Secret("x"), "x"), questions=questions)
    opened = CameraRuntime(spec, "c1", lambda: publisher)
    opened.use(FakeCamera(picture))
    return opened


def main(requests: int) -> list[Figure]:
    stop, model, publisher, moments = threading.Event(), TimedModel(), FakePublisher(), random.Random(1)
    queue = WorkerQueue(stop)
    queue.serve(queue.load([lambda: model]))
    looks = Looks(queue, stop, lambda: True, lambda _error, _group: None)
    names = [f"q{number}" for number in range(QUESTIONS)]
    dock = runtime("dock", publisher, frame(0, age_s=-1e9), *(question("Open?", YesNo(), name) for name in names))
    yard = runtime("yard", publisher, OF_REQUEST, question("A dog?", YesNo(), "dog"))
    made = [0]

    def schedule() -> None:
        while not stop.is_set():
            looks.look(dock)
            made[0] += 1

    scheduled = threading.Thread(target=schedule, daemon=True)
    scheduled.start()
    waits, totals = [], []
    for _ in range(requests):
        stop.wait(moments.uniform(0.0, QUESTIONS * QUESTION_S))
        begun = time.monotonic()
        looks.request(yard, yard.current(), yard.spec.questions, math.inf)
        totals.append((time.monotonic() - begun) / QUESTION_S)
        waits.append((model.begun[-1] - begun) / QUESTION_S)
    queue.halt()
    scheduled.join()
    own = (ENCODE_S + QUESTION_S) / QUESTION_S
    print(f"{requests} requests while looks with {QUESTIONS} questions ran; all times in questions of {QUESTION_S:g} s")
    print(f"wait: mean {statistics.mean(waits):.2f}, worst {max(waits):.2f}")
    print(f"to the answer: mean {statistics.mean(totals):.2f}, worst {max(totals):.2f}; its own asking takes {own:.2f}")
    print(f"encodes of {made[0]} looks: {model.encodes}")
    return [
        Figure("longest", "longest wait of a request during looks", max(waits), "questions", at_most=TOLERANCE),
        Figure("wait", "wait of a request during looks", Spread.of(waits), "questions"),
        Figure("answer", "from the request to its answer", Spread.of(totals), "questions"),
    ]


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main(int(recording.words[0]) if recording.words else 200)))
