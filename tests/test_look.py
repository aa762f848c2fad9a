"""One look: every question that was due gets exactly one answer, or a refusal that says why."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeCamera, FakeModel, FakePublisher
from making import frame, question

from edged.answers import Number, Text, YesNo
from edged.core import CameraError, ModelError, ModelLost, Reply, Secret, StaleFrame, Turn
from edged.look import Looks, Post
from edged.specs import AlertSpec, CameraSpec, Generation, QuestionSpec, SourceSpec
from edged.turns import Turns

SOURCE = SourceSpec("path", Secret("x"), "x")
GATE = question("Is the gate open?", YesNo(), "gate")


class Stage:
    """A camera, a model and a publisher, and looks at them."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.turns = Turns(self.stop)
        self.publisher = FakePublisher()
        self.lost: list[ModelError] = []
        self.looks = Looks(self.turns, self.stop, lambda: self.publisher, lambda: True, self.lost.append)

    def open(self, model: FakeModel) -> FakeModel:
        self.turns.open([lambda: model])
        return model

    def post(self, *questions: QuestionSpec, camera: FakeCamera | None = None, **spec: Any) -> Post:
        return Post(CameraSpec("dock", SOURCE, questions=questions, **spec), camera or FakeCamera(), 30.0, "c1")

    def statuses(self) -> dict[str, str]:
        return {answer.question: answer.status for answer in self.publisher.answered}

    def values(self) -> list[Any]:
        return [answer.value for answer in self.publisher.answered]


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.stop.set()
    assert made.turns.close()


def test_all_questions_of_a_look_are_asked_about_the_same_frame(stage: Stage):
    model = stage.open(FakeModel({"people": "3", "scene": " A yard.\n"}))
    people, scene = question("How many?", Number(True), "people"), question("Describe.", Text(), "scene")
    stage.looks.look(stage.post(people, GATE, scene))
    assert stage.values() == [3, True, "A yard."]
    assert len(model.seen) == 1
    assert {answer.frame_sha256 for answer in stage.publisher.answered} == {"sha-0"}
    assert all(answer.expires_s == 90.0 for answer in stage.publisher.answered)


def test_a_model_is_called_by_one_thread_only(stage: Stage):
    model = stage.open(FakeModel())
    lookers = [threading.Thread(target=stage.looks.look, args=(stage.post(GATE),)) for _ in range(5)]
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
    stage.looks.look(stage.post(gate, camera=FakeCamera(error)))
    assert stage.statuses() == {"gate": status, "car": status}
    for answer in stage.publisher.answered:
        assert (answer.value, answer.reason) == (None, str(error))
        assert [answer.frame_ts, answer.frame_age_s, answer.frame_sha256, answer.model] == [None] * 4


def test_a_frame_that_grew_old_before_its_turn_is_refused(stage: Stage):
    model = stage.open(FakeModel())
    stage.looks.look(stage.post(GATE, camera=FakeCamera(frame(age_s=7.0)), max_age_s=5.0))
    assert stage.statuses() == {"gate": "stale_frame"}
    assert stage.publisher.answered[0].reason == "the picture is 7.0 s old, and max_age is 5 s"
    assert model.seen == []


def test_a_model_that_fails_in_the_middle_refuses_the_rest_and_keeps_what_it_said(stage: Stage):
    failing = ModelError("model: out of memory")
    stage.open(FakeModel({"gate": "No", "second": failing}))
    second = replace(question("B?", YesNo(), "second"), then=(question("C?", YesNo(), "third"),))
    stage.looks.look(stage.post(GATE, second))
    assert stage.statuses() == {"gate": "ok", "second": "model_down", "third": "model_down"}
    assert stage.lost == []


def test_a_lost_device_is_told_to_the_daemon(stage: Stage):
    gone = ModelLost("model: the NPU is gone")
    stage.open(FakeModel({"gate": gone}))
    stage.looks.look(stage.post(GATE))
    assert stage.statuses() == {"gate": "model_down"}
    assert stage.lost == [gone]


def test_a_defect_is_logged_once_and_published_as_a_refusal(stage: Stage, caplog: pytest.LogCaptureFixture):
    stage.open(FakeModel({"gate": ZeroDivisionError("oops")}))
    post = stage.post(GATE)
    stage.looks.look(post)
    stage.looks.look(post)
    assert [answer.status for answer in stage.publisher.answered] == ["model_down"] * 2
    assert len([record for record in caplog.records if record.exc_info]) == 1


@pytest.mark.parametrize(
    ("reply", "status", "value", "reason"),
    [
        (Reply("Yes", "done", 0.91, 0, 1.0), "ok", True, None),
        (Reply("Yes", "done", 0.42, 0, 1.0), "unsure", None, "confidence 0.42 is below min_confidence 0.7"),
        (Reply("Ye", "deadline", None, 3, 1.0), "timeout", None, "no whole answer within 60 s"),
        (
            Reply("Y", "length", None, 3, 1.0),
            "unreadable",
            None,
            'the reply was cut off after 12 tokens, before it was a value: "Y"',
        ),
        (Reply("Maybe", "done", 0.9, 3, 1.0), "unreadable", None, '"Maybe" is none of: Yes, No'),
        (
            Reply("", "no_room", None, 0, 0.0),
            "unreadable",
            None,
            "the question and 12 new tokens do not fit the model's cache",
        ),
    ],
)
def test_a_reply_is_a_value_or_says_why_not(stage: Stage, reply: Reply, status: str, value: Any, reason: str | None):
    stage.open(FakeModel({"gate": reply}))
    stage.looks.look(stage.post(replace(GATE, min_confidence=0.7)))
    answer = stage.publisher.answered[0]
    assert (answer.status, answer.value, answer.reason) == (status, value, reason)
    assert (answer.confidence is not None) == (status in ("ok", "unsure"))


def test_a_cut_off_text_is_an_answer_that_says_so(stage: Stage):
    stage.open(FakeModel({"scene": Reply("A yard with", "length", None, 9, 1.0)}))
    stage.looks.look(stage.post(question("Describe.", Text(), "scene")))
    answer = stage.publisher.answered[0]
    assert (answer.status, answer.value, answer.truncated) == ("ok", "A yard with", True)


def test_a_follow_up_is_asked_in_the_conversation_when_its_condition_holds(stage: Stage):
    model = stage.open(FakeModel({"gate": "Yes", "colour": "It is red."}))
    car = replace(question("A car?", YesNo(), "car"), when=True, then=(question("Colour?", Text(), "colour"),))
    stage.looks.look(stage.post(replace(GATE, then=(car,))))
    assert stage.statuses() == {"gate": "ok", "car": "ok", "colour": "ok"}
    assert model.asked[2][1] == [Turn(GATE.prompt, "Yes"), Turn("A car? Answer Yes or No.", "Yes")]


def test_a_follow_up_whose_condition_does_not_hold_says_so(stage: Stage):
    stage.open(FakeModel({"gate": "No"}))
    car = replace(question("A car?", YesNo(), "car"), when=True, then=(question("Colour?", Text(), "colour"),))
    stage.looks.look(stage.post(replace(GATE, then=(car,))))
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
    stage.looks.look(stage.post(gate))
    assert stage.statuses()["car"] == ("ok" if asked else "not_asked")


def test_a_question_with_its_own_interval_waits_for_it(stage: Stage):
    model = stage.open(FakeModel())
    post = stage.post(GATE, replace(question("Describe.", Text(), "scene"), every_s=600.0))
    for _ in range(3):
        stage.looks.look(post)
    assert [name for name, _ in model.asked] == ["gate", "scene", "gate", "gate"]


def test_an_unchanged_picture_gets_its_last_answers_again(stage: Stage):
    model = stage.open(FakeModel({"gate": "No"}))
    post = stage.post(GATE, camera=FakeCamera(frame(1), frame(1), frame(2)), at_least_every_s=300.0)
    for _ in range(3):
        stage.looks.look(post)
    first, again, new = stage.publisher.answered
    assert (again.value, again.reuse_of, first.reuse_of, new.reuse_of) == (False, first.id, None, None)
    assert len({first.id, again.id, new.id}) == 3
    assert len(model.seen) == 2


def test_a_refusal_is_never_given_again(stage: Stage):
    stage.open(FakeModel({"gate": Reply("", "deadline", None, 0, 1.0)}))
    post = stage.post(GATE, camera=FakeCamera(frame(1)), at_least_every_s=300.0)
    stage.looks.look(post)
    stage.looks.look(post)
    assert [answer.reuse_of for answer in stage.publisher.answered] == [None, None]


def test_retired_camera_does_not_publish_its_last_answer(stage: Stage):
    stage.open(FakeModel())
    post = stage.post(GATE)
    post.retired = True
    stage.looks.look(post)
    assert stage.publisher.answered == []


def test_what_a_stop_cuts_off_is_not_published(stage: Stage):
    stage.open(FakeModel())
    stage.stop.set()
    stage.looks.look(stage.post(GATE))
    assert stage.publisher.answered == []


def test_events_say_what_changed_and_alerts_wait_for_their_count(stage: Stage):
    model = stage.open(FakeModel())
    post = stage.post(replace(GATE, alert=AlertSpec(when=True, after=2)))
    for said in ("No", "Yes", "Yes", "Yes", "No", "No"):
        model.replies["gate"] = said
        stage.looks.look(post)
    assert [(event.kind, event.before, event.after) for event in stage.publisher.events] == [
        ("changed", False, True),
        ("alert_on", False, True),
        ("changed", True, False),
        ("alert_off", True, False),
    ]


def test_prompts_are_swapped_between_two_looks(stage: Stage):
    model = stage.open(FakeModel())
    post = stage.post(GATE)
    stage.looks.look(post)
    post.spec = replace(post.spec, questions=(question("Shut?", YesNo(), "shut"),))
    stage.looks.look(post)
    assert [name for name, _ in model.asked] == ["gate", "shut"]


def test_prompt_rev_changes_with_the_prompt_and_with_how_it_is_asked():
    revisions = {
        GATE.prompt_rev,
        replace(GATE, prompt="Shut?").prompt_rev,
        replace(GATE, answer=YesNo("Ja", "Nein")).prompt_rev,
        replace(GATE, generation=Generation(temperature=0.5)).prompt_rev,
    }
    assert len(revisions) == 4
