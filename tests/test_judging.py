"""Which pictures may be used, which replies are answers, and when an earlier answer may be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pytest
from support.fakes import FakeModel
from support.making import frame, question

from edged.cameras.picture import frame_from_bgr, is_blank, require_fresh
from edged.core.answer_types import Number, Text, YesNo
from edged.core.errors import StaleFrame
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, Every, RegionSpec, SourceSpec
from edged.core.types import Answer, Reply, Status, TokenChoice, TokenOption
from edged.service import picture
from edged.service.gate import Gate
from edged.service.judging import Provenance, Verdict, answer, judge, repeated
from edged.service.outcomes import LastAnswer

GATE = question("Is the gate open?", YesNo(), "gate", min_confidence=0.7)
PEOPLE = question("How many people?", Number(True), "people")
SCENE = question("What is there?", Text(), "scene")
FRAME = replace(frame(1), captured_at=datetime(2026, 7, 1, 12, 0, 0, 123_456, UTC), grab_ms=38.4)
MODEL = FakeModel()
Ended = Literal["done", "length", "deadline", "context_overflow"]


def reply(text: str, ended: Ended = "done", confidence: float | None = None) -> Reply:
    return Reply(text, ended, confidence, 3, 212.4)


# Pictures


def test_a_picture_is_stale_if_it_is_older_than_max_age() -> None:
    require_fresh(time.monotonic() - 1.0, 1000.0)
    with pytest.raises(StaleFrame, match=r"^the newest picture is \d+\.\d s old, max_age is 5 s$"):
        require_fresh(time.monotonic() - 5.5, 5.0)
    with pytest.raises(StaleFrame, match=r"^the newest undamaged picture is \d+\.\d s old, max_age is 2\.5 s$"):
        require_fresh(time.monotonic() - 5.5, 2.5, after_damage=True)


@pytest.mark.parametrize(("levels", "blank"), [(0, True), (2, True), (3, False)])
@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("at", [(0, 0), (1, 1), (47, 63)])
def test_a_picture_of_one_colour_is_blank_as_nearly_as_compression_keeps_it(
    levels: int, blank: bool, channel: int, at: tuple[int, int]
) -> None:
    rgb = np.full((48, 64, 3), (10, 200, 90), np.uint8)
    rgb[(*at, channel)] += levels
    assert is_blank(rgb) is blank


def test_a_picture_from_the_future_was_captured_now() -> None:
    """The clock of a stream may run ahead of ours."""
    before = datetime.now(UTC)
    captured = frame_from_bgr(np.zeros((8, 8, 3), np.uint8), (), time.monotonic() + 100.0).captured_at
    assert before <= captured <= datetime.now(UTC)


@pytest.mark.parametrize(("rotate", "quarters"), [(0, 0), (90, -1), (180, 2), (270, 1)])
def test_a_picture_is_turned_clockwise_before_it_is_masked(rotate: Any, quarters: int) -> None:
    bgr = np.random.default_rng(0).integers(1, 256, (20, 40, 3), dtype=np.uint8)
    upright = np.rot90(bgr[:, :, ::-1], quarters)
    left_half = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    turned = frame_from_bgr(bgr, (left_half,), time.monotonic(), 12.5, rotate)
    right = upright.shape[1] // 2 + 1
    assert (turned.rgb[:, right:] == upright[:, right:]).all()
    assert (turned.rgb[:, : right - 1] == 0).all()
    assert turned.grab_ms == 12.5
    assert frame_from_bgr(bgr, (), time.monotonic()).grab_ms == 0.0


# Replies


@pytest.mark.parametrize(
    ("asked", "given", "verdict"),
    [
        (GATE, reply("Yes", confidence=0.7), Verdict("ok", True)),
        (
            GATE,
            reply("Yes", confidence=0.694),
            Verdict("unsure", None, "confidence 0.69 is below min_confidence 0.7"),
        ),
        (GATE, reply("Yes"), Verdict("ok", True)),
        (GATE, reply("Maybe", confidence=0.9), Verdict("unreadable", None, '"Maybe" is none of: Yes, No')),
        (PEOPLE, reply("0", confidence=0.0), Verdict("ok", 0)),
        (
            PEOPLE,
            reply("12", "length", 0.9),
            Verdict("unreadable", None, 'the reply was cut off after 12 tokens, before it was a complete value: "12"'),
        ),
        (SCENE, reply("two men and a", "length"), Verdict("ok", "two men and a")),
        (SCENE, reply(" "), Verdict("unreadable", None, "the reply is empty")),
        (SCENE, reply("two", "deadline"), Verdict("timeout", None, "no complete answer within 60 s")),
        (
            SCENE,
            reply("", "context_overflow"),
            Verdict("unreadable", None, "the question and 12 new tokens do not fit the model's cache"),
        ),
    ],
)
def test_a_reply_is_judged(asked: Any, given: Reply, verdict: Verdict) -> None:
    assert judge(asked, given) == verdict


OF = Provenance("dock", "schedule", "c1", True, FRAME, 0.31249, 310.4, MODEL)


def test_an_answer_says_where_it_comes_from() -> None:
    tokens = (TokenChoice(TokenOption("Yes", 0.9), ()),)
    given = replace(reply("Yes", confidence=0.87654), tokens=tokens)
    asked = replace(GATE, region=RegionSpec("door", (0.0, 0.0, 0.5, 1.0)))
    begun = time.time()
    published = answer(asked, Verdict("ok", True), OF, 90.0, given)
    assert begun - 0.001 <= published.answered_ts <= time.time() + 0.001
    assert published == Answer(
        id=published.id,
        camera="dock",
        region="door",
        question="gate",
        type="yes_no",
        value=True,
        status="ok",
        reason=None,
        confidence=0.8765,
        text="Yes",
        truncated=False,
        prompt="Is the gate open? Answer Yes or No.",
        prompt_rev=GATE.prompt_rev,
        frame_ts=round(FRAME.captured_at.timestamp(), 3),
        frame_age_s=0.312,
        frame_sha256="sha-1",
        answered_ts=round(published.answered_ts, 3),
        clock_synced=True,
        reuse_of=None,
        trigger="schedule",
        timing_ms={"grab": 38, "encode": 310, "answer": 212},
        model=MODEL.name,
        model_rev=MODEL.revision,
        config_rev="c1",
        expires_s=90.0,
        tokens=tokens,
    )


def test_every_answer_has_its_own_id() -> None:
    first, second = (answer(GATE, Verdict("ok", True), OF, 90.0) for _ in range(2))
    assert len({first.id, second.id}) == 2
    assert len(first.id) == 32


def test_a_refusal_without_a_picture_has_neither_reply_nor_picture() -> None:
    of = Provenance("dock", "request", "c1", False, frame_age_s=1.0)
    refused = answer(GATE, Verdict("camera_down", None, "no route to host"), of, 60.0)
    assert (refused.status, refused.reason, refused.value) == ("camera_down", "no route to host", None)
    absent = (refused.region, refused.confidence, refused.text, refused.model, refused.model_rev, refused.reuse_of)
    assert absent == (None,) * 6
    assert (refused.frame_ts, refused.frame_age_s, refused.frame_sha256) == (None, None, None)
    assert refused.timing_ms == {"grab": None, "encode": None, "answer": None}
    assert (refused.truncated, refused.tokens, refused.clock_synced) == (False, (), False)


@pytest.mark.parametrize(
    ("status", "given", "confidence", "text", "truncated"),
    [
        ("ok", reply("Yes", confidence=0.9), 0.9, "Yes", False),
        ("unsure", reply("Yes", confidence=0.3), 0.3, "Yes", False),
        ("unreadable", reply("12", "length", 0.9), None, "12", True),
        ("timeout", reply("Y", "deadline", 0.9), None, "Y", False),
        ("unreadable", reply("", "context_overflow"), None, None, False),
    ],
)
def test_a_refusal_keeps_what_the_model_replied(
    status: Status, given: Reply, confidence: float | None, text: str | None, truncated: bool
) -> None:
    published = answer(GATE, Verdict(status), OF, 90.0, given)
    assert (published.confidence, published.text, published.truncated) == (confidence, text, truncated)


# Repeated answers

NEXT = Provenance("dock", "request", "c2", False, replace(frame(2), grab_ms=12.6), 0.51249, None, MODEL)


def test_a_repeated_answer_has_its_own_picture_and_names_the_first() -> None:
    first = replace(answer(GATE, Verdict("ok", True), OF, 90.0, reply("Yes", confidence=0.9)), answered_ts=1.0)
    again = repeated(first, NEXT, 120.0)
    assert again.id != first.id
    assert len(again.id) == 32
    assert isinstance(again.answered_ts, float)
    assert again.answered_ts == round(again.answered_ts, 3) > time.time() - 60
    assert NEXT.frame
    assert again == replace(
        first,
        id=again.id,
        reuse_of=first.id,
        frame_ts=round(NEXT.frame.captured_at.timestamp(), 3),
        frame_age_s=0.512,
        frame_sha256="sha-2",
        answered_ts=again.answered_ts,
        clock_synced=False,
        trigger="request",
        timing_ms={"grab": 13, "encode": None, "answer": None},
        config_rev="c2",
        expires_s=120.0,
    )


def test_the_times_of_a_repeated_answer_without_a_picture_are_not_known() -> None:
    first = answer(GATE, Verdict("ok", True), OF, 90.0)
    again = repeated(first, Provenance("dock", "schedule", "c1", True), 90.0)
    assert (again.frame_ts, again.frame_age_s, again.frame_sha256) == (None, None, None)


# The gate of when_changed

CAMERA = CameraSpec("dock", SourceSpec("path", Secret("x"), "x"), schedule=Every(30.0), at_least_every_s=600.0)
THUMBNAIL = picture.thumbnail(FRAME)


def the_gate(**more: Any) -> Gate:
    values: dict[str, Any] = {
        "camera": CAMERA,
        "thumbnail": THUMBNAIL,
        "of": NEXT,
        "looked_at": 77.0,
        "model_revs": {"r1"},
    }
    return Gate(**values | more)


def last(*statuses: Status, **more: Any) -> LastAnswer:
    answers = tuple(answer(GATE, Verdict(status), OF, 90.0) for status in statuses or ("ok",))
    values: dict[str, Any] = {"model_rev": "r1", "thumbnail": THUMBNAIL, "asked_at": time.monotonic(), "looked_at": 1.0}
    return LastAnswer("a1", answers=answers, **values | more)


def repeats(gate: Gate, last_answer: LastAnswer | None) -> bool:
    return bool(gate.repeat([GATE], lambda _: last_answer))


def test_while_the_picture_is_unchanged_the_last_answers_are_repeated() -> None:
    before = last("ok", "unsure", "not_asked")
    (outcome,) = the_gate().repeat([GATE], lambda _: before)
    assert outcome.question is GATE
    assert [again.reuse_of for again in outcome.answers] == [first.id for first in before.answers]
    assert {again.expires_s for again in outcome.answers} == {90.0}
    assert outcome.last == replace(before, looked_at=77.0)


def test_the_question_is_asked_again_if_anything_has_changed() -> None:
    noise = np.random.default_rng(0).integers(0, 256, THUMBNAIL.shape, dtype=np.uint8)
    assert repeats(the_gate(), last())
    assert not repeats(the_gate(), None)
    assert not repeats(the_gate(thumbnail=noise), last())
    assert not repeats(the_gate(model_revs={"r2"}), last())
    assert not repeats(the_gate(camera=replace(CAMERA, at_least_every_s=None)), last())
    assert not repeats(the_gate(), last(thumbnail=None))
    assert not repeats(the_gate(), last("ok", "timeout"))
    assert not repeats(the_gate(), last(asked_at=time.monotonic() - 600.0))
    assert repeats(the_gate(), last(asked_at=time.monotonic() - 300.0))


def test_each_question_is_compared_with_its_own_last_answer() -> None:
    answers: dict[str, LastAnswer] = {"gate": last(), "people": last("timeout")}
    lookup: Callable[[Any], LastAnswer | None] = lambda asked: answers.get(asked.name)  # noqa: E731
    (outcome,) = the_gate().repeat([SCENE, PEOPLE, GATE], lookup)
    assert outcome.question is GATE


def test_a_repeated_answer_expires_by_the_interval_of_its_question() -> None:
    rare = replace(GATE, every_s=300.0)
    (outcome,) = the_gate().repeat([rare], lambda _: last())
    assert outcome.answers[0].expires_s == 900.0
