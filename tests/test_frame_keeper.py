"""Which looks keep their frame, and what is kept with it."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.broker import until
from support.fakes import FakeCamera, FakeModel, FakePublisher
from support.making import frame, question

from edged.core.answer_types import Choices, Number, Text, YesNo
from edged.core.errors import CameraError, ModelError
from edged.core.kept_frames import KeptFrame
from edged.core.memory_store import NoFrames
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, Every, FramesSpec, QuestionSpec, RegionSpec, SourceSpec
from edged.core.types import Frame, Reply
from edged.service.camera_runtime import CameraRuntime
from edged.service.frame_keeper import FrameKeeper
from edged.service.look import Looks
from edged.service.worker_queue import WorkerQueue
from edged.store.store import DiskStore

SOURCE = SourceSpec("path", Secret("x"), "x")
PEOPLE = question("How many?", Number(True, 0, 40), "people")
GATE = question("Is the gate open?", YesNo(), "gate", min_confidence=0.95)  # the fake model's is 0.9


class Kept(NoFrames):
    """Remembers what was offered to the store."""

    def __init__(self) -> None:
        self.frames: list[tuple[KeptFrame, Callable[[], bytes]]] = []

    def keep(self, frame: KeptFrame, encode: Callable[[], bytes]) -> None:
        self.frames.append((frame, encode))

    @property
    def why(self) -> list[str]:
        return [kept.why for kept, _ in self.frames]


class Stage:
    """A camera, a model, and looks whose frames may be kept."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.queue = WorkerQueue(self.stop)
        self.publisher = FakePublisher()
        self.kept = Kept()
        self.chances: list[float] = []
        self.keeper = FrameKeeper(self.kept, lambda: self.chances.pop(0) if self.chances else 0.99)
        self.keeper.spec = FramesSpec()
        self.looks = Looks(self.queue, self.stop, lambda: True, lambda _error, _group: None)

    def serve(self, **replies: Any) -> FakeModel:
        model = FakeModel(replies)
        group = self.queue.load([lambda: model])
        until(group.ready)
        self.queue.serve(group)
        return model

    def camera(self, *questions: QuestionSpec, camera: Any = None, **spec: Any) -> CameraRuntime:
        full = CameraSpec("dock", SOURCE, questions=questions, **{"schedule": Every(30.0)} | spec)
        runtime = CameraRuntime(full, "c1", lambda: self.publisher, keep_frame=self.keeper.offer)
        runtime.use(camera or FakeCamera())
        return runtime


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.queue.halt()
    until(stage.queue.gone)


def test_an_unsure_answer_keeps_the_frame_with_every_answer_of_the_look(stage: Stage):
    stage.serve(people="3", gate="Yes")
    stage.looks.look(stage.camera(PEOPLE, GATE))
    [(kept, _)] = stage.kept.frames
    people, gate = kept.answers
    assert (kept.camera, kept.why, kept.config_rev, kept.sha256) == ("dock", "unsure", "c1", "sha-0")
    assert (people.value, people.status, people.guess, people.form) == (3, "ok", 3, {"range": [0, 40]})
    assert (gate.value, gate.status, gate.guess, gate.confidence) == (None, "unsure", True, 0.9)
    assert (gate.prompt, gate.type, gate.form) == (GATE.prompt, "yes_no", {"words": ["Yes", "No"]})
    assert [answer.id for answer in kept.answers] == [answer.id for answer in stage.publisher.answered]


def test_a_changed_value_keeps_the_frame(stage: Stage):
    model, dock = stage.serve(people="3"), stage.camera(PEOPLE)
    stage.looks.look(dock)
    stage.looks.look(dock)
    assert stage.kept.why == []
    model.replies["people"] = "4"
    stage.looks.look(dock)
    assert stage.kept.why == ["changed"]


def test_a_share_of_the_looks_is_kept_at_random(stage: Stage):
    stage.serve(people="3")
    stage.chances = [0.02, 0.0199, 0.5, 0.0]
    dock = stage.camera(PEOPLE)
    for _ in range(4):
        stage.looks.look(dock)
    assert stage.kept.why == ["sample", "sample"]


def test_the_share_is_about_what_the_config_says(stage: Stage):
    stage.serve(people="3")
    keeper = FrameKeeper(stage.kept)
    keeper.spec = FramesSpec(sample=0.1)
    dock = stage.camera(PEOPLE)
    stage.looks.look(dock)
    for _ in range(5000):
        keeper.offer(frame(), stage.publisher.answered, [], {"people": PEOPLE})
    assert 350 < len(stage.kept.frames) < 650


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (None, []),
        (FramesSpec(unsure=False, sample=0.0), []),
        (FramesSpec(unsure=True, sample=0.0), ["unsure"]),
        (FramesSpec(unsure=False, sample=1.0), ["sample"]),
    ],
)
def test_what_the_config_does_not_ask_for_is_not_kept(stage: Stage, spec: FramesSpec | None, why: list[str]):
    stage.serve(gate="Yes")
    dock = stage.camera(GATE)
    stage.keeper.spec = spec
    stage.looks.look(dock)
    assert stage.kept.why == why


def test_an_unsure_answer_that_is_repeated_for_an_unchanged_picture_keeps_one_frame(stage: Stage):
    stage.serve(gate="Yes")
    dock = stage.camera(GATE, at_least_every_s=300.0)
    stage.looks.look(dock)
    stage.looks.look(dock)
    assert [bool(answer.reuse_of) for answer in stage.publisher.answered] == [False, True]
    assert stage.kept.why == ["unsure"]


def test_follow_ups_are_kept_too_whether_they_were_asked_or_not(stage: Stage):
    stage.serve(gate="No")
    car = question("A car?", Choices((("Car", "car"), ("None", "none"))), "car", when=True)
    stage.keeper.spec = FramesSpec(sample=1.0)
    stage.looks.look(stage.camera(question("Open?", YesNo(), "gate", then=(car,))))
    [(kept, _)] = stage.kept.frames
    assert [(answer.question, answer.status, answer.asked) for answer in kept.answers] == [
        ("gate", "ok", True),
        ("car", "not_asked", False),
    ]
    assert kept.answers[1].form == {"choices": [["Car", "car"], ["None", "none"]]}


def test_without_a_frame_there_is_nothing_to_keep(stage: Stage):
    stage.serve()
    stage.keeper.spec = FramesSpec(sample=1.0)
    stage.looks.look(stage.camera(GATE, camera=FakeCamera(CameraError("no route"))))
    assert stage.kept.frames == []
    stage.serve(gate=ModelError("lost"))
    stage.looks.look(stage.camera(GATE))
    [(kept, _)] = stage.kept.frames
    assert [answer.status for answer in kept.answers] == ["model_down"]


def test_a_reply_without_a_value_has_no_guess(stage: Stage):
    stage.serve(people="many", scene=Reply("", "deadline", None, 0, 1.0))
    stage.keeper.spec = FramesSpec(sample=1.0)
    stage.looks.look(stage.camera(PEOPLE, question("Describe.", Text(), "scene")))
    [(kept, _)] = stage.kept.frames
    assert [(answer.status, answer.guess) for answer in kept.answers] == [("unreadable", None), ("timeout", None)]


def test_answers_that_are_not_published_keep_no_frame(stage: Stage):
    stage.serve(gate="Yes")
    dock = stage.camera(GATE)
    stage.looks.request(dock, dock.current(), dock.spec.questions, float("inf"), published=False)
    assert stage.kept.frames == []
    stage.looks.request(dock, dock.current(), dock.spec.questions, float("inf"))
    assert stage.kept.why == ["unsure"]


def test_the_file_has_exactly_the_pixels_of_the_whole_frame(stage: Stage, tmp_path: Path):
    """Not those of the region that the question is about."""
    seen = _noise()
    stage.serve(gate="Yes")
    left = RegionSpec("left", (0.0, 0.0, 0.5, 1.0))
    store = DiskStore(tmp_path / "edged.db", lambda: True)
    store.open()
    store.keep(None, FramesSpec())
    stage.keeper = FrameKeeper(store.frames)
    stage.keeper.spec = FramesSpec()
    stage.looks.look(stage.camera(replace(GATE, region=left), camera=FakeCamera(seen)))
    until(lambda: store.frames.progress().kept)
    task = store.frames.next_unlabelled()
    assert task is not None
    assert task.frame.answers[0].region == "left"
    data = store.frames.read(task.frame.name)
    store.close()
    assert data is not None
    with Image.open(io.BytesIO(data)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert np.array_equal(pixels, seen.rgb)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == task.frame.sha256 == seen.sha256


def _noise() -> Frame:
    rgb = np.random.default_rng(1).integers(0, 256, (333, 517, 3), dtype=np.uint8)
    return replace(frame(), rgb=rgb, sha256=hashlib.sha256(rgb.tobytes()).hexdigest())


def test_names_sort_by_time_and_are_safe(stage: Stage):
    stage.serve(gate="Yes")
    dock = stage.camera(GATE, camera=FakeCamera(*map(partial(frame), range(5))))
    for _ in range(5):
        stage.looks.look(dock)
    names = [kept.name for kept, _ in stage.kept.frames]
    assert len(set(names)) == 5
    assert all(name.split("-")[1] == "dock" and "/" not in name and name.endswith(".webp") for name in names)
