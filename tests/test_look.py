"""One look: every question that is due gets exactly one answer, or a refusal with a reason."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import math
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from support.broker import until
from support.fakes import FakeCamera, FakeModel, FakePublisher
from support.making import frame, question

from edged.core.answer_types import Number, Text, YesNo
from edged.core.conditions import Comparison, OneOf
from edged.core.errors import CameraError, FrozenPicture, ModelError, ModelLost, StaleFrame
from edged.core.secret import Secret
from edged.core.specs import AlertSpec, CameraSpec, Every, Generation, Hours, QuestionSpec, RegionSpec, SourceSpec
from edged.core.types import Answer, CameraState, Exchange, Frame, Reply, utc_now
from edged.service import model_outage
from edged.service.camera_runtime import CameraRuntime
from edged.service.look import Looks
from edged.service.model_outage import ModelCall, ModelOutage
from edged.service.outcomes import Outcome
from edged.service.stale_looks import StaleLooks
from edged.service.worker import Worker, WorkerGroup
from edged.service.worker_queue import Ticket, WorkerQueue

SOURCE = SourceSpec("path", Secret("x"), "x")
GATE = question("Is the gate open?", YesNo(), "gate")
OPEN_TWICE = AlertSpec(OneOf((True,)), after=2, clear_after=2)


def _same(model: FakeModel) -> FakeModel:
    return model


class Stage:
    """A camera, a model and a publisher, and looks at them."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.queue = WorkerQueue(self.stop)
        self.publisher = FakePublisher()
        self.lost: list[ModelError] = []
        self.looks = Looks(self.queue, self.stop, lambda: True, lambda error, _group: self.lost.append(error))

    def open(self, *models: FakeModel) -> FakeModel:
        group = self.queue.load([partial(_same, model) for model in models])
        until(group.ready)
        self.queue.serve(group)
        return models[0]

    def camera(self, *questions: QuestionSpec, camera: Any = None, name: str = "dock", **spec: Any) -> CameraRuntime:
        remembered = spec.pop("remembered", {})
        full = CameraSpec(name, SOURCE, questions=questions, **{"schedule": Every(30.0)} | spec)
        runtime = CameraRuntime(full, "c1", lambda: self.publisher, remembered)
        runtime.use(camera or FakeCamera())
        return runtime

    def look(self, runtime: CameraRuntime) -> None:
        self.looks.look(runtime)

    def reload(self, runtime: CameraRuntime, *questions: QuestionSpec, **spec: Any) -> None:
        runtime.adopt(replace(runtime.spec, questions=questions, **spec), "c2")

    def statuses(self) -> dict[str, str]:
        return {answer.question: answer.status for answer in self.publisher.answered}

    def values(self) -> list[Any]:
        return [answer.value for answer in self.publisher.answered]


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.queue.halt()
    until(stage.queue.gone)


def test_all_questions_of_a_look_are_asked_about_the_same_frame(stage: Stage):
    model = stage.open(FakeModel({"people": "3", "scene": " A yard.\n"}))
    people, scene = question("How many?", Number(True), "people"), question("Describe.", Text(), "scene")
    stage.look(stage.camera(people, GATE, scene))
    assert stage.values() == [3, True, "A yard."]
    assert len(model.seen) == 1
    assert {answer.frame_sha256 for answer in stage.publisher.answered} == {"sha-0"}
    assert all(answer.expires_s == 90.0 for answer in stage.publisher.answered)


def test_a_model_is_called_by_one_thread_only(stage: Stage):
    model = stage.open(FakeModel())
    lookers = [threading.Thread(target=stage.look, args=(stage.camera(GATE),)) for _ in range(5)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join(20)
    assert (len(model.seen), len(model.threads)) == (5, 1)


@pytest.mark.parametrize(
    ("error", "status"),
    [(CameraError("no route"), "camera_down"), (StaleFrame("the newest picture is 9 s old"), "stale_frame")],
)
def test_a_look_without_a_frame_refuses_every_question_and_follow_up(stage: Stage, error: Exception, status: str):
    stage.open(FakeModel())
    gate = replace(GATE, then=(question("A car?", YesNo(), "car"),))
    stage.look(stage.camera(gate, camera=FakeCamera(error)))
    assert stage.statuses() == {"gate": status, "car": status}
    for answer in stage.publisher.answered:
        assert (answer.value, answer.reason) == (None, str(error))
        assert [answer.frame_ts, answer.frame_age_s, answer.frame_sha256, answer.model] == [None] * 4


def test_a_frame_that_grew_old_before_its_turn_is_refused(stage: Stage):
    model = stage.open(FakeModel())
    stage.look(stage.camera(GATE, camera=FakeCamera(frame(age_s=7.0)), max_age_s=5.0))
    assert stage.statuses() == {"gate": "stale_frame"}
    reason = stage.publisher.answered[0].reason
    assert reason
    assert re.fullmatch(r"the picture is [78]\.\d s old, and max_age is 5 s", reason)
    assert model.seen == []


def ages(monkeypatch: pytest.MonkeyPatch, age_s: Callable[[], float]) -> None:
    """Every frame has the age that this returns."""
    monkeypatch.setattr(Frame, "age_s", lambda _: age_s())


def test_an_answer_never_states_more_than_max_age(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """As after a SIGSTOP of some seconds between the comparison and the encode."""
    stage.open(FakeModel())
    passing = iter([1.0])
    ages(monkeypatch, lambda: next(passing, 7.0))
    stage.look(stage.camera(GATE, max_age_s=5.0))
    (answer,) = stage.publisher.answered
    assert (answer.status, answer.frame_age_s) in {("ok", 1.0), ("stale_frame", 7.0)}


def test_a_frame_that_grew_old_while_requests_were_served_is_not_encoded_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    car = question("A car?", YesNo(), "car")
    people = question("How many?", Number(True), "people")
    model = stage.open(FakeModel({"people": "3"}))
    interrupted = iter([False, False, True])  # before the look, and before each question
    monkeypatch.setattr(Ticket, "give_way", lambda *_: next(interrupted, 0))
    ages(monkeypatch, lambda: 7.0 if "gate" in dict(model.asked) else 1.0)
    stage.look(stage.camera(replace(GATE, then=(car,)), people, max_age_s=5.0))
    assert stage.statuses() == {"gate": "ok", "car": "stale_frame", "people": "stale_frame"}
    assert {answer.reason for answer in stage.publisher.answered[1:]} == {
        "the picture is 7.0 s old, and max_age is 5 s"
    }
    assert len(model.seen) == 1


def test_a_frame_that_grew_old_before_the_first_question_is_replaced(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    model = stage.open(FakeModel())
    interrupted = iter([False, True])
    monkeypatch.setattr(Ticket, "give_way", lambda *_: next(interrupted, 0))
    monkeypatch.setattr(Ticket, "delayed", True)
    passing = iter([1.0, 7.0])
    ages(monkeypatch, lambda: next(passing, 1.0))
    stage.look(stage.camera(GATE, camera=FakeCamera(frame(), replace(frame(), sha256="new")), max_age_s=5.0))
    (answer,) = stage.publisher.answered
    assert (answer.status, answer.frame_sha256, answer.frame_age_s) == ("ok", "new", 1.0)
    assert model.seen[-1] == "new"


def test_a_look_whose_pictures_always_grow_old_is_refused_in_the_end(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """As while requests come without end, each of which takes longer than `max_age`."""
    model = stage.open(FakeModel())
    monkeypatch.setattr(Ticket, "delayed", True)
    ages(monkeypatch, lambda: 7.0)
    stage.look(stage.camera(GATE, max_age_s=5.0))
    (answer,) = stage.publisher.answered
    assert (answer.status, answer.reason) == (
        "stale_frame",
        "every picture became older than max_age, 5 s, in the queue",
    )
    assert answer.frame_ts is None
    assert model.seen == []


def test_a_model_that_fails_in_the_middle_refuses_the_rest_and_keeps_its_answers(stage: Stage):
    failing = ModelError("model: out of memory")
    stage.open(FakeModel({"gate": "No", "second": failing}))
    second = replace(question("B?", YesNo(), "second"), then=(question("C?", YesNo(), "third"),))
    stage.look(stage.camera(GATE, second))
    assert stage.statuses() == {"gate": "ok", "second": "model_down", "third": "model_down"}
    assert stage.lost == []


def test_a_lost_device_is_reported_to_the_daemon(stage: Stage):
    gone = ModelLost("model: the NPU is gone")
    stage.open(FakeModel({"gate": gone}))
    stage.look(stage.camera(GATE))
    assert stage.statuses() == {"gate": "model_down"}
    assert stage.lost == [gone]


def test_an_unexpected_error_is_logged_once_and_published_as_a_refusal(stage: Stage, caplog: pytest.LogCaptureFixture):
    stage.open(FakeModel({"gate": ZeroDivisionError("oops")}))
    dock = stage.camera(GATE)
    stage.look(dock)
    stage.look(dock)
    assert [answer.status for answer in stage.publisher.answered] == ["model_down"] * 2
    assert len([record for record in caplog.records if record.exc_info]) == 1


@pytest.mark.parametrize(
    ("reply", "status", "value", "reason"),
    [
        (Reply("Yes", "done", 0.91, 0, 1.0), "ok", True, None),
        (Reply("Yes", "done", 0.42, 0, 1.0), "unsure", None, "confidence 0.42 is below min_confidence 0.7"),
        (Reply("Ye", "deadline", None, 3, 1.0), "timeout", None, "no complete answer within 60 s"),
        (
            Reply("Y", "length", None, 3, 1.0),
            "unreadable",
            None,
            'the reply was cut off after 12 tokens, before it was a complete value: "Y"',
        ),
        (Reply("Maybe", "done", 0.9, 3, 1.0), "unreadable", None, '"Maybe" is none of: Yes, No'),
        (
            Reply("", "context_overflow", None, 0, 0.0),
            "unreadable",
            None,
            "the question and 12 new tokens do not fit the model's cache",
        ),
    ],
)
def test_a_reply_is_a_value_or_has_a_reason(stage: Stage, reply: Reply, status: str, value: Any, reason: str | None):
    stage.open(FakeModel({"gate": reply}))
    stage.look(stage.camera(replace(GATE, min_confidence=0.7)))
    answer = stage.publisher.answered[0]
    assert (answer.status, answer.value, answer.reason) == (status, value, reason)
    assert (answer.confidence is not None) == (status in ("ok", "unsure"))


def test_a_text_that_was_cut_off_is_an_answer_marked_truncated(stage: Stage):
    stage.open(FakeModel({"scene": Reply("A yard with", "length", None, 9, 1.0)}))
    stage.look(stage.camera(question("Describe.", Text(), "scene")))
    answer = stage.publisher.answered[0]
    assert (answer.status, answer.value, answer.truncated) == ("ok", "A yard with", True)


def test_a_follow_up_is_asked_in_the_conversation_when_its_condition_holds(stage: Stage):
    model = stage.open(FakeModel({"gate": "Yes", "colour": "It is red."}))
    car = replace(question("A car?", YesNo(), "car"), when=True, then=(question("Colour?", Text(), "colour"),))
    stage.look(stage.camera(replace(GATE, then=(car,))))
    assert stage.statuses() == {"gate": "ok", "car": "ok", "colour": "ok"}
    assert model.asked[2][1] == [Exchange(GATE.prompt, "Yes"), Exchange("A car? Answer Yes or No.", "Yes")]


def test_a_follow_up_whose_condition_does_not_hold_is_not_asked(stage: Stage):
    stage.open(FakeModel({"gate": "No"}))
    car = replace(question("A car?", YesNo(), "car"), when=True, then=(question("Colour?", Text(), "colour"),))
    stage.look(stage.camera(replace(GATE, then=(car,))))
    assert stage.statuses() == {"gate": "ok", "car": "not_asked", "colour": "not_asked"}
    assert stage.publisher.answered[1].reason == '"gate" was false, and this is asked only after true'


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        (Reply("Yes", "done", 0.9, 0, 1.0), True),
        (Reply("Yes", "done", 0.1, 0, 1.0), True),
        (Reply("", "deadline", None, 0, 1.0), False),
        (Reply("Y", "length", None, 0, 1.0), False),
    ],
)
def test_a_follow_up_without_condition_needs_an_answer_before_it(stage: Stage, reply: Reply, asked: bool):
    stage.open(FakeModel({"gate": reply}))
    gate = replace(GATE, min_confidence=0.5, then=(question("A car?", YesNo(), "car"),))
    stage.look(stage.camera(gate))
    assert stage.statuses()["car"] == ("ok" if asked else "not_asked")


def test_a_question_with_its_own_interval_waits_for_it(stage: Stage):
    model = stage.open(FakeModel())
    dock = stage.camera(GATE, replace(question("Describe.", Text(), "scene"), every_s=600.0))
    for _ in range(3):
        stage.look(dock)
    assert [name for name, _ in model.asked] == ["gate", "scene", "gate", "gate"]


def test_the_last_answers_are_repeated_for_an_unchanged_picture(stage: Stage):
    model = stage.open(FakeModel({"gate": "No"}))
    dock = stage.camera(GATE, camera=FakeCamera(frame(1), frame(1), frame(2)), at_least_every_s=300.0)
    for _ in range(3):
        stage.look(dock)
    first, again, new = stage.publisher.answered
    assert (again.value, again.reuse_of, first.reuse_of, new.reuse_of) == (False, first.id, None, None)
    assert len({first.id, again.id, new.id}) == 3
    assert len(model.seen) == 2


@pytest.mark.slow
def test_an_answer_is_repeated_only_for_the_picture_that_this_question_was_answered_on(stage: Stage):
    model = stage.open(FakeModel())
    often, seldom = GATE, replace(question("A car?", YesNo(), "car"), every_s=1.0)
    dock = stage.camera(often, seldom, camera=FakeCamera(frame(1), frame(2)), at_least_every_s=300.0)
    stage.look(dock)  # picture 1: both are asked
    stage.look(dock)  # picture 2: only the first is due
    cars = lambda: [answer for answer in stage.publisher.answered if answer.question == "car"]  # noqa: E731

    def answered_twice() -> bool:
        stage.look(dock)  # picture 2 again: unchanged for the first question, new for the second
        return len(cars()) == 2

    until(answered_twice)
    first, second = cars()
    assert (first.frame_sha256, second.frame_sha256) == ("sha-1", "sha-2")
    assert second.reuse_of is None
    assert [name for name, _ in model.asked].count("car") == 2


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Is the gate shut? Answer Yes or No."},
        {"min_confidence": 0.95},
        {"then": (question("A car?", YesNo(), "car"),)},
    ],
)
def test_a_changed_question_is_asked_at_the_next_look(stage: Stage, change: dict[str, Any]):
    model = stage.open(FakeModel())
    gate = replace(GATE, every_s=3600.0)
    dock = stage.camera(gate, camera=FakeCamera(frame(1)), at_least_every_s=3600.0)
    stage.look(dock)
    stage.look(dock)
    assert len(model.asked) == 1
    stage.reload(dock, replace(gate, **change))
    stage.look(dock)
    assert len(model.asked) == 2 + len(change.get("then", ()))
    assert stage.publisher.answered[-1].reuse_of is None


def test_an_unchanged_picture_is_asked_again_when_the_model_was_changed(stage: Stage):
    stage.open(FakeModel({"gate": "No"}))
    dock = stage.camera(GATE, camera=FakeCamera(frame(1)), at_least_every_s=300.0)
    stage.look(dock)
    other = FakeModel({"gate": "Yes"})
    other.revision = "r2"
    stage.open(other)
    stage.look(dock)
    assert [(answer.value, answer.reuse_of) for answer in stage.publisher.answered] == [(False, None), (True, None)]


def test_a_look_in_flight_does_not_publish_a_question_that_a_reload_removed_or_changed(stage: Stage):
    other, third = question("A car?", YesNo(), "car"), question("A dog?", YesNo(), "dog")
    dock = stage.camera(GATE, other, third)

    def reload_meanwhile() -> str:
        stage.reload(dock, replace(other, prompt="A lorry? Answer Yes or No."), third)
        return "Yes"

    stage.open(FakeModel({"gate": reload_meanwhile}))
    stage.look(dock)
    assert [answer.question for answer in stage.publisher.answered] == ["dog"]
    stage.look(dock)
    assert [answer.question for answer in stage.publisher.answered] == ["dog", "car", "dog"]


def test_a_follow_up_that_fails_leaves_the_answer_before_it(stage: Stage):
    stage.open(FakeModel({"gate": "Yes", "car": ModelError("model: out of memory")}))
    stage.look(stage.camera(replace(GATE, then=(question("A car?", YesNo(), "car"),))))
    assert stage.statuses() == {"gate": "ok", "car": "model_down"}


class PickyPublisher(FakePublisher):
    """Refuses NaN, as JSON does."""

    def answers(self, answers: Sequence[Answer], *more: Any) -> None:
        if any(answer.confidence is not None and math.isnan(answer.confidence) for answer in answers):
            raise ValueError("NaN")
        super().answers(answers, *more)


def test_an_answer_that_cannot_be_published_becomes_a_refusal(stage: Stage):
    stage.publisher = PickyPublisher()
    stage.open(FakeModel({"gate": Reply("Yes", "done", math.nan, 0, 1.0)}))
    stage.look(stage.camera(GATE, question("A car?", YesNo(), "car")))
    assert stage.statuses() == {"gate": "model_down", "car": "model_down"}


def test_a_camera_that_fails_unexpectedly_is_logged_under_its_own_name_until_it_works(
    stage: Stage, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "edged")
    stage.open(FakeModel())
    bad = FakeCamera(ZeroDivisionError("oops"), ZeroDivisionError("oops"), frame(1))
    dock, yard = stage.camera(GATE, camera=bad), stage.camera(GATE, name="yard")
    stage.look(dock)
    stage.look(yard)  # works, which does not end the outage of the dock
    stage.look(dock)
    assert [answer.status for answer in stage.publisher.answered] == ["camera_down", "ok", "camera_down"]
    stage.look(dock)
    assert stage.publisher.answered[-1].status == "ok"
    messages = [message for message in caplog.messages if "camera dock" in message]
    assert len(messages) == 2
    assert messages[0] == "camera dock: unexpected error in a look: ZeroDivisionError('oops')"
    assert messages[1].startswith("camera dock: looks succeed again after ")


def test_a_camera_that_stays_without_a_current_picture_is_logged_once_and_when_it_has_one(
    stage: Stage, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "edged")
    stage.open(FakeModel())
    old = [StaleFrame(f"the newest picture is {age} s old, max_age is 5 s") for age in (9, 69, 129)]
    dock, minutes = stage.camera(GATE, camera=FakeCamera(frame(), *old, frame(1))), itertools.count()
    dock.stale = StaleLooks("dock", lambda: 60.0 * next(minutes))
    dock.report(CameraState(True, None, utc_now()))
    for _ in range(5):
        stage.look(dock)
    assert [answer.status for answer in stage.publisher.answered] == ["ok", *["stale_frame"] * 3, "ok"]
    assert [message for message in caplog.messages if "camera dock" in message] == [
        "camera dock: stale frames: the newest picture is 69 s old, max_age is 5 s",
        "camera dock: fresh frames again after 3 min (3 looks)",
    ]


def test_a_reload_that_opens_a_stale_camera_anew_does_not_log_it_again(stage: Stage, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "edged")
    stage.open(FakeModel())
    frozen = FrozenPicture("frozen: the pictures have been bit-identical for 31 s")
    before = stage.camera(GATE, camera=FakeCamera(frozen))
    before.report(CameraState(True, None, utc_now()))
    stage.look(before)
    after = stage.camera(GATE, camera=FakeCamera(frozen, frame(1)))
    after.inherit(before)
    after.report(CameraState(True, None, utc_now()))
    stage.look(after)
    stage.look(after)
    messages = [message for message in caplog.messages if "camera dock" in message]
    assert messages[0] == f"camera dock: stale frames: {frozen}"
    assert [message.partition(" after ")[0] for message in messages[1:]] == ["camera dock: fresh frames again"]


def test_a_model_that_fails_at_one_camera_is_not_reported_as_back_by_another(
    stage: Stage, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "edged")
    model = stage.open(FakeModel({"gate": ModelError("model: out of memory")}))
    dock, yard = stage.camera(GATE), stage.camera(question("A car?", YesNo(), "car"), name="yard")
    for _ in range(3):
        stage.look(dock)
        stage.look(yard)
    assert [message for message in caplog.messages if message.startswith("model: ")] == ["model: out of memory"]
    model.replies["gate"] = "Yes"
    stage.look(dock)
    assert caplog.messages[-1].startswith("model: working again after ")


def once(*more: Any) -> FakeCamera:
    """A folder with one new picture."""
    return FakeCamera(frame(1), *more, StaleFrame("no new picture in /uploads since 12:00"))


def test_a_picture_that_comes_once_is_left_to_the_schedule_by_a_request_that_publishes_nothing(stage: Stage):
    stage.open(FakeModel())
    dock = stage.camera(GATE, camera=once(), new_only=True)
    stage.looks.request(dock, dock.current(), [GATE], time.monotonic() + 20, published=False)
    stage.look(dock)
    stage.look(dock)
    assert [(a.status, a.frame_sha256) for a in stage.publisher.answered] == [("ok", "sha-1"), ("stale_frame", None)]


def test_a_picture_that_comes_once_is_shown_to_the_next_model_if_the_model_is_replaced(stage: Stage):
    def replaced() -> str:
        stage.open(FakeModel())
        return "Yes"

    stage.open(FakeModel({"gate": replaced}))
    stage.look(stage.camera(GATE, camera=once(), new_only=True))
    assert [(answer.status, answer.frame_sha256) for answer in stage.publisher.answered] == [("ok", "sha-1")]


def test_a_picture_that_comes_once_is_not_used_when_it_has_become_too_old_or_there_is_a_newer_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    stage.open(FakeModel())
    for camera, age_s, expected in ((once(), 7.0, "stale_frame"), (once(frame(2)), 1.0, "ok")):
        dock = stage.camera(GATE, camera=camera, new_only=True, max_age_s=5.0)
        stage.looks.request(dock, dock.current(), [GATE], time.monotonic() + 20, published=False)
        monkeypatch.setattr(Frame, "age_s", partial(float, age_s))
        stage.look(dock)
        assert stage.publisher.answered[-1].status == expected
    assert stage.publisher.answered[-1].frame_sha256 == "sha-2"


def test_a_picture_that_comes_once_is_not_shown_after_a_newer_one(stage: Stage):
    """A request takes the first one, and is slow; the schedule is quicker with the second."""
    asked, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        asked.set()
        assert go_on.wait(20)
        return "Yes"

    model = stage.open(FakeModel({"gate": slow}))
    dock = stage.camera(GATE, camera=once(frame(2)), new_only=True)
    arguments = (dock, dock.current(), [GATE], time.monotonic() + 20, False)
    request = threading.Thread(target=stage.looks.request, args=arguments)
    request.start()
    assert asked.wait(20)
    dock.camera.grab(stage.stop)  # as the schedule's look does
    dock.left_frame.taken(frame(2))
    model.replies["gate"] = "Yes"
    go_on.set()
    request.join(20)
    stage.look(dock)
    assert [answer.status for answer in stage.publisher.answered] == ["stale_frame"]


def test_a_picture_that_comes_once_is_still_there_after_requests_that_end_too_early(stage: Stage):
    model = stage.open(FakeModel({"gate": Reply("", "deadline", None, 0, 2.0)}))
    dock = stage.camera(GATE, camera=once(), new_only=True)
    stage.looks.request(dock, dock.current(), [GATE], time.monotonic() + 0.5, published=False)
    stage.looks.request(dock, dock.current(), [GATE], time.monotonic() - 1.0, published=False)  # has no turn
    model.replies["gate"] = "Yes"
    stage.look(dock)
    assert [(a.status, a.frame_sha256) for a in stage.publisher.answered][-1] == ("ok", "sha-1")


def test_a_request_whose_time_passes_leaves_the_picture_to_the_next_look(stage: Stage):
    def late() -> Reply:
        threading.Event().wait(0.3)
        return Reply("", "deadline", None, 0, 2.0)

    model = stage.open(FakeModel({"gate": late}))
    dock = stage.camera(GATE, camera=once(), new_only=True)
    (answer,) = stage.looks.request(dock, dock.current(), [GATE], time.monotonic() + 0.2)
    assert (answer.status, stage.publisher.answered) == ("timeout", [])
    model.replies["gate"] = "Yes"
    stage.look(dock)
    assert [(a.status, a.frame_sha256) for a in stage.publisher.answered] == [("ok", "sha-1")]


def test_what_a_replaced_model_answered_does_not_count_if_it_is_published_after_the_new_one_serves(stage: Stage):
    stage.open(FakeModel())
    often = replace(GATE, every_s=3600.0)
    dock, made = stage.camera(often), list[Any]()
    publish = dock.publish

    def late(*published: Any) -> Any:
        dock.forget_answers()  # as when a model is replaced
        made.append(published)
        return publish(*published)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dock, "publish", late)
        stage.look(dock)
    assert (len(made), len(stage.publisher.answered)) == (1, 1)
    assert dock.due(dock.spec) == [often]
    stage.look(dock)
    assert dock.due(dock.spec) == []


def test_a_camera_that_was_slow_does_not_keep_the_model_waiting_at_its_next_look(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("edged.service.look.SLOW_FRAME_S", 0.01)

    def after_a_while() -> Exception:
        threading.Event().wait(0.05)
        return CameraError("no answer within 5 s")

    stage.open(FakeModel())
    dock = stage.camera(GATE, camera=FakeCamera(after_a_while, frame()))
    assert not dock.slow
    stage.look(dock)
    assert dock.slow
    stage.look(dock)
    assert not dock.slow


def test_a_retired_camera_reports_nothing(stage: Stage):
    dock = stage.camera(GATE)
    dock.report(CameraState(True, None, utc_now()))
    dock.retire("edged is stopped")
    dock.report(CameraState(False, "the camera ended the stream", utc_now()))
    assert [(state.online, state.reason) for _, state in stage.publisher.states] == [
        (True, None),
        (False, "edged is stopped"),
    ]


class Watched(FakeCamera):
    """Returns a new frame at each grab, and counts those that are still in memory."""

    def __init__(self, *grabs: Exception, age_s: float = 0.0) -> None:
        super().__init__()
        self.errors = list(grabs)
        self.age_s = age_s
        self.alive: set[int] = set()

    def grab(self, stop: threading.Event) -> Frame:
        if self.errors:
            raise self.errors.pop()
        taken = frame(len(self.alive) % 7, 32, 24, self.age_s)
        number = id(taken.rgb)
        self.alive.add(number)
        weakref.finalize(taken.rgb, self.alive.discard, number)
        return taken


@pytest.mark.slow
def test_a_look_frees_its_frame(stage: Stage, caplog: pytest.LogCaptureFixture):
    """With the garbage collector off: it runs by the number of objects, so a frame in a cycle lives for minutes."""
    caplog.set_level(logging.CRITICAL + 1, "edged")  # pytest keeps the tracebacks of what it captures
    replies: dict[str, Any] = {"fails": lambda: ModelError("model: no"), "breaks": lambda: ZeroDivisionError("oops")}
    stage.open(FakeModel(replies))
    door = replace(GATE, region=RegionSpec("door", (0, 0, 1, 1), ((0, 0), (1, 0), (1, 1))))
    watched = [*(Watched() for _ in range(5)), Watched(age_s=60.0), Watched(*[CameraError("gone")] * 50)]
    kinds = [
        stage.camera(GATE, camera=watched[0], image="each"),
        stage.camera(GATE, camera=watched[1], at_least_every_s=300.0),
        stage.camera(question("A?", YesNo(), "fails"), camera=watched[2]),
        stage.camera(question("A?", YesNo(), "breaks"), camera=watched[3]),
        stage.camera(door, question("A?", name="a"), camera=watched[4], at_least_every_s=300.0),
        stage.camera(GATE, camera=watched[5]),
        stage.camera(GATE, camera=watched[6]),
    ]
    gc.collect()
    gc.disable()
    try:
        for _ in range(60):
            for runtime in kinds:
                stage.look(runtime)
        until(lambda: [len(camera.alive) for camera in watched] == [0] * 7, 5)
    finally:
        gc.enable()


def test_a_look_that_a_stop_cuts_off_frees_its_frame(stage: Stage):
    asked, go_on = threading.Event(), threading.Event()

    def hang() -> str:
        asked.set()
        assert go_on.wait(20)
        return "Yes"

    stage.open(FakeModel({"gate": hang}))
    first, second = Watched(), Watched()
    gc.collect()
    gc.disable()
    try:
        lookers = [
            threading.Thread(target=stage.look, args=(stage.camera(GATE, camera=camera),)) for camera in (first, second)
        ]
        for looker in lookers:
            looker.start()
        assert asked.wait(10)
        stage.queue.halt()
        for looker in lookers:
            looker.join(10)
            assert not looker.is_alive()
        go_on.set()
        until(stage.queue.gone)
        until(lambda: not first.alive and not second.alive, 5)
    finally:
        go_on.set()
        gc.enable()
    assert stage.publisher.answered == []


def test_a_refusal_is_never_repeated(stage: Stage):
    stage.open(FakeModel({"gate": Reply("", "deadline", None, 0, 1.0)}))
    dock = stage.camera(GATE, camera=FakeCamera(frame(1)), at_least_every_s=300.0)
    stage.look(dock)
    stage.look(dock)
    assert [answer.reuse_of for answer in stage.publisher.answered] == [None, None]


def test_retired_camera_does_not_publish_its_last_answer(stage: Stage):
    stage.open(FakeModel())
    dock = stage.camera(GATE)
    dock.retire()
    stage.look(dock)
    assert stage.publisher.answered == []


def test_what_a_stop_cuts_off_is_not_published(stage: Stage):
    stage.open(FakeModel())
    stage.stop.set()
    stage.look(stage.camera(GATE))
    assert stage.publisher.answered == []


def test_events_say_what_changed_and_alerts_wait_for_their_count(stage: Stage):
    model = stage.open(FakeModel())
    dock = stage.camera(replace(GATE, alert=OPEN_TWICE))
    for reply in ("No", "Yes", "Yes", "Yes", "No", "No"):
        model.replies["gate"] = reply
        stage.look(dock)
    assert [(event.kind, event.before, event.after) for event in stage.publisher.events] == [
        ("changed", False, True),
        ("alert_on", False, True),
        ("changed", True, False),
        ("alert_off", True, False),
    ]


def test_every_answer_says_whether_its_alert_is_on_and_a_refusal_does_not_end_it(stage: Stage):
    model = stage.open(FakeModel())
    dock = stage.camera(replace(GATE, alert=AlertSpec(OneOf((True,)))), question("How many?", Number(True), "people"))
    for reply in ("No", "Yes", ModelError("lost")):
        model.replies["gate"] = reply
        stage.look(dock)
    answers = [answer for answer in stage.publisher.answered if answer.question == "gate"]
    assert [answer.status for answer in answers] == ["ok", "ok", "model_down"]
    assert [answer.alert and answer.alert.on for answer in answers] == [False, True, True]
    since = [answer.alert and answer.alert.since for answer in answers]
    assert since == [None, stage.publisher.events[-1].at, stage.publisher.events[-1].at]
    assert {answer.alert for answer in stage.publisher.answered if answer.question == "people"} == {None}


def test_an_alert_goes_on_where_it_was_after_a_restart(stage: Stage):
    alerting = replace(GATE, alert=OPEN_TWICE)
    model = stage.open(FakeModel())
    for reply in ("No", "Yes", "Yes", "No", "No"):
        model.replies["gate"] = reply
        remembered = {fact.name: json.loads(json.dumps(fact.value)) for fact in stage.publisher.facts}
        stage.look(stage.camera(alerting, remembered=remembered))  # a new process at each look
    assert [(event.kind, event.before, event.after) for event in stage.publisher.events] == [
        ("changed", False, True),
        ("alert_on", False, True),
        ("changed", True, False),
        ("alert_off", True, False),
    ]
    assert stage.publisher.events[3].since == stage.publisher.events[1].at


def test_a_reload_that_changes_the_condition_of_an_alert_ends_it_unless_the_new_one_holds(stage: Stage):
    people = question("How many?", Number(True), "people")
    model = stage.open(FakeModel({"people": "5"}))
    dock = stage.camera(replace(people, alert=AlertSpec(Comparison(">", 3))))
    stage.look(dock)
    for bound in (4, 6):
        stage.reload(dock, replace(people, alert=AlertSpec(Comparison(">", bound))))
        stage.look(dock)
    model.replies["people"] = "7"
    stage.look(dock)
    stage.reload(dock, people)
    stage.look(dock)
    assert [(event.kind, event.value) for event in stage.publisher.events if event.kind != "changed"] == [
        ("alert_on", 5),
        ("alert_off", 5),
        ("alert_on", 7),
        ("alert_off", 7),
    ]


def test_prompts_are_swapped_between_two_looks(stage: Stage):
    model = stage.open(FakeModel())
    dock = stage.camera(GATE)
    stage.look(dock)
    stage.reload(dock, question("Shut?", YesNo(), "shut"))
    stage.look(dock)
    assert [name for name, _ in model.asked] == ["gate", "shut"]


def test_prompt_rev_changes_with_the_prompt_and_with_how_it_is_asked():
    revisions = {
        GATE.prompt_rev,
        replace(GATE, prompt="Shut?").prompt_rev,
        replace(GATE, answer=YesNo("Ja", "Nein")).prompt_rev,
        replace(GATE, generation=Generation(temperature=0.5)).prompt_rev,
    }
    assert len(revisions) == 4


def test_a_picture_that_grew_too_old_to_be_analysed_is_not_published(stage: Stage):
    stage.open(FakeModel())
    stage.look(stage.camera(GATE, camera=FakeCamera(frame(age_s=7.0)), max_age_s=5.0, image="each"))
    assert (stage.statuses(), stage.publisher.images) == ({"gate": "stale_frame"}, [])


def test_a_look_in_flight_does_not_publish_a_picture_that_a_reload_turned_off(stage: Stage):
    dock = stage.camera(GATE, image="each")

    def reload_meanwhile() -> str:
        stage.reload(dock, GATE, image=None)
        return "Yes"

    stage.open(FakeModel({"gate": reload_meanwhile}))
    stage.look(dock)
    assert (stage.statuses(), stage.publisher.images) == ({"gate": "ok"}, [])


def test_on_event_publishes_the_picture_of_a_look_with_an_event_only(stage: Stage):
    model = stage.open(FakeModel())
    dock = stage.camera(replace(GATE, alert=OPEN_TWICE), image="on_event")
    pictures = []
    for reply in ("No", "No", "Yes", "Yes", "Yes", "No"):
        model.replies["gate"] = reply
        stage.look(dock)
        pictures.append(len(stage.publisher.images))
    assert [event.kind for event in stage.publisher.events] == ["changed", "alert_on", "changed"]
    assert pictures == [0, 0, 1, 2, 2, 3]
    assert all(image.startswith(b"\xff\xd8") for image in stage.publisher.images)


def test_on_event_publishes_the_picture_that_an_answer_was_repeated_for(stage: Stage):
    stage.open(FakeModel())
    dock = stage.camera(
        replace(GATE, alert=OPEN_TWICE), camera=FakeCamera(frame(1)), at_least_every_s=300.0, image="on_event"
    )
    stage.look(dock)
    assert stage.publisher.images == []
    stage.look(dock)
    assert [bool(answer.reuse_of) for answer in stage.publisher.answered] == [False, True]
    assert ([event.kind for event in stage.publisher.events], len(stage.publisher.images)) == (["alert_on"], 1)


def test_each_publishes_a_picture_only_if_the_model_was_asked_about_it(stage: Stage):
    stage.open(FakeModel())
    dock = stage.camera(GATE, camera=FakeCamera(frame(1)), at_least_every_s=300.0, image="each")
    stage.look(dock)
    stage.look(dock)
    assert len(stage.publisher.images) == 1


@pytest.mark.parametrize(("mode", "encoded"), [(None, 0), ("on_event", 1), ("each", 3)])
def test_a_picture_is_encoded_only_for_looks_that_publish_it(stage: Stage, mode: Any, encoded: int):
    model = stage.open(FakeModel())
    source, published = stage.camera(GATE, image=mode), []
    for reply in ("No", "No", "Yes"):
        model.replies["gate"] = reply
        stage.look(stage.camera(GATE))
        answer = stage.publisher.answered[-1]

        def jpeg() -> bytes:
            published.append(1)
            return b"jpeg"

        source.publish([Outcome(GATE, (answer,))], jpeg, time.monotonic())
    assert (len(published), len(stage.publisher.images)) == (encoded, encoded)


def test_quiet_hours_are_those_of_the_time_zone_of_the_config(stage: Stage):
    stage.open(FakeModel())
    zones = [timezone(timedelta(hours=hours)) for hours in (-6, 6)]
    begin = (datetime.now(zones[0]) - timedelta(hours=1)).time()
    end = (datetime.now(zones[0]) + timedelta(hours=1)).time()
    quiet_there = AlertSpec(OneOf((True,)), quiet=(Hours(frozenset(range(7)), begin, end),))
    kinds = []
    for zone in zones:
        dock = stage.camera(replace(GATE, alert=quiet_there))
        dock.adopt(dock.spec, "c2", zone)
        stage.look(dock)
        kinds.append([event.kind for event in stage.publisher.events])
    assert kinds == [[], ["alert_on"]]


def test_a_repeated_answer_expires_by_the_present_interval(stage: Stage):
    stage.open(FakeModel())
    dock = stage.camera(GATE, camera=FakeCamera(frame(1)), at_least_every_s=3600.0)
    stage.look(dock)
    stage.reload(dock, GATE, schedule=Every(600.0))
    stage.look(dock)
    assert [(bool(a.reuse_of), a.expires_s) for a in stage.publisher.answered] == [(False, 90.0), (True, 1800.0)]


def test_a_follow_up_expires_with_the_question_it_follows(stage: Stage):
    stage.open(FakeModel({"gate": "No"}))
    unasked = replace(question("A van?", YesNo(), "van"), when=True)
    gate = replace(GATE, every_s=600.0, then=(question("A car?", YesNo(), "car"), unasked))
    stage.look(stage.camera(gate))
    assert [answer.expires_s for answer in stage.publisher.answered] == [1800.0] * 3


@pytest.mark.slow
def test_a_questions_interval_runs_from_look_to_look_however_long_its_answer_takes(stage: Stage):
    model = stage.open(FakeModel(see_s=0.5))
    dock = stage.camera(replace(GATE, every_s=0.6))
    begun = time.monotonic()
    stage.look(dock)
    until(lambda: time.monotonic() >= begun + 0.6)
    stage.look(dock)
    assert len(model.asked) == 2


def test_a_model_that_fails_after_it_was_replaced_refuses_nothing(stage: Stage, caplog: pytest.LogCaptureFixture):
    other = FakeModel({"gate": "No"})

    def replaced_meanwhile() -> ModelError:
        stage.open(other)
        return ModelLost("model: the NPU is gone")

    stage.open(FakeModel({"gate": replaced_meanwhile}))
    stage.look(stage.camera(GATE))
    assert (stage.statuses(), stage.values()) == ({"gate": "ok"}, [False])
    assert (stage.lost, stage.looks.model_outage.on, caplog.messages) == ([], False, [])


def test_a_question_that_fails_after_a_reload_removed_it_begins_no_outage(stage: Stage):
    other = question("A car?", YesNo(), "car")
    dock = stage.camera(GATE)

    def removed_meanwhile() -> ModelError:
        stage.reload(dock, other)
        stage.looks.model_outage.keep("dock", [other])
        return ModelError("model: out of memory")

    stage.open(FakeModel({"gate": removed_meanwhile}))
    stage.look(dock)
    assert not stage.looks.model_outage.on


def test_no_outage_remains_of_a_call_that_a_reload_ends_while_its_failure_is_recorded():
    outage = ModelOutage()
    is_made = iter([True, False])
    worker = Worker("worker 0", FakeModel, WorkerGroup())
    outage.failed(ModelCall("dock", worker, "gate"), ModelError("model: out of memory"), lambda: next(is_made))
    assert not outage.on


@pytest.mark.parametrize(("repeated_s", "over"), [(600.0, False), (0.0, True)])
def test_a_call_that_failed_and_is_not_repeated_for_long_does_not_keep_the_outage_on(
    repeated_s: float, over: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A question that is asked once a day, or that the other worker has answered meanwhile."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(model_outage, "REPEATED_S", repeated_s)
    outage, group = ModelOutage(), WorkerGroup()
    first, second = Worker("worker 0", FakeModel, group), Worker("worker 1", FakeModel, group)
    outage.failed(ModelCall("dock", first, "gate"), ModelError("model: out of memory"), lambda: True)
    outage.succeeded(ModelCall("dock", second, "gate"))
    assert outage.on is not over
    ends = [line for line in caplog.messages if "after" in line]
    assert [line.partition(": ")[2].partition(" after")[0] for line in ends] == ["over"] * over
