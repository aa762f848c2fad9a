"""What `edged ask --image` prints, and its exit code, for each way that a model can reply or fail."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.fakes import FakeModel
from support.making import frame
from support.properties import examples

from edged.core.answer_types import Text, TextStream, Unreadable
from edged.core.errors import ModelError, ModelLost
from edged.core.specs import QuestionSpec
from edged.core.types import Exchange, Frame, Reply
from edged.tools.ask import AskOptions, print_answer, question

NOT_FINITE = "model: logits are not finite"


class Speaking(FakeModel):
    """Passes its reply on as it is generated, a character at a time, but not half of one at its end. May then fail."""

    def __init__(self, replies: dict[str, Any], failure: ModelError | None = None) -> None:
        super().__init__(replies)
        self.failure = failure

    def ask(
        self,
        history: Sequence[Exchange],
        question: QuestionSpec,
        stop: threading.Event,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        reply = super().ask(history, question, stop)
        if on_text:
            for character in reply.text.removesuffix("\ufffd"):
                on_text(character)
        if self.failure:
            raise self.failure
        return reply


class Failing(FakeModel):
    """Cannot encode a picture."""

    def encode(self, picture: Frame) -> float:
        raise ModelError("model: out of memory")


def printed(
    capsys: pytest.CaptureFixture[str], model: FakeModel, answer: str, as_json: bool = False
) -> tuple[int, str, str]:
    options = AskOptions(question("Open?", {"answer": answer}, None), "x.png", as_json, None)
    code = print_answer(model, frame(), options, threading.Event())
    output = capsys.readouterr()
    return code, output.out, output.err


# text


@pytest.mark.parametrize(
    ("reply", "output"),
    [
        ("two people", "two people\n"),
        ("two \ufffd", "two \ufffd\n"),
        (" two people\x1b[31m\x07 \n", "two people[31m\n"),
        ("\n\n one\n\n\ttwo  \x9b\n", "one\n\n\ttwo\n"),
    ],
)
def test_the_text_that_is_printed_is_the_value_of_the_answer(
    capsys: pytest.CaptureFixture[str], reply: str, output: str
) -> None:
    assert printed(capsys, Speaking({"question": reply}), "text") == (0, output, "")


@pytest.mark.parametrize("reply", ["", " \n", "\x1b"])
def test_a_reply_without_a_text_prints_nothing(capsys: pytest.CaptureFixture[str], reply: str) -> None:
    assert printed(capsys, Speaking({"question": reply}), "text") == (
        1, "", "edged: unreadable: the reply is empty\n",
    )  # fmt: skip


PIECES = st.lists(
    st.text(st.sampled_from(" \n\t\xa0\u3000ab예\x00\x1b\x07\x0b\x1c\x7f\x85\x9b"), max_size=4), max_size=6
)


@examples(200)
@example([" ", "a ", "\x1b", " ", "b", "\n"])
@given(PIECES)
def test_whatever_its_pieces_a_stream_passes_on_the_value(pieces: list[str]) -> None:
    passed_on: list[str] = []
    stream = TextStream(passed_on.append)
    for piece in pieces:
        stream(piece)
    assert all(passed_on)
    try:
        assert "".join(passed_on) == Text().value("".join(pieces))
    except Unreadable:
        assert passed_on == []


def test_a_stream_does_not_wait_for_the_end_of_the_text() -> None:
    passed_on: list[str] = []
    stream = TextStream(passed_on.append)
    for piece in ("two", " ", "people"):
        stream(piece)
    assert passed_on == ["two", " people"]


# failures


def test_a_model_that_fails_gives_no_value_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    model = FakeModel({"question": ModelError(NOT_FINITE)})
    for answer in ("yes_no", "text"):
        assert printed(capsys, model, answer) == (1, "", f"edged: model_down: {NOT_FINITE}\n")


def test_a_text_that_was_begun_ends_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    model = Speaking({"question": "two "}, ModelError(NOT_FINITE))
    assert printed(capsys, model, "text") == (1, "two\n", f"edged: model_down: {NOT_FINITE}\n")


@pytest.mark.parametrize(
    ("model", "reason", "encode_ms"),
    [
        (FakeModel({"question": ModelError(NOT_FINITE)}), NOT_FINITE, 1),
        (Failing(), "model: out of memory", None),
    ],
    ids=["asking", "encoding"],
)
def test_the_whole_answer_of_a_model_that_fails_is_model_down(
    capsys: pytest.CaptureFixture[str], model: FakeModel, reason: str, encode_ms: int | None
) -> None:
    code, output, errors = printed(capsys, model, "yes_no", as_json=True)
    payload: dict[str, Any] = json.loads(output)
    assert (code, errors) == (1, f"edged: model_down: {reason}\n")
    assert (payload["status"], payload["reason"], payload["value"]) == ("model_down", reason, None)
    assert (payload["model"], payload["confidence"], payload["text"]) == ("fake", None, None)
    assert payload["timing_ms"] == {"grab": 0, "encode": encode_ms, "answer": None}
    assert payload["frame_sha256"] == frame().sha256


@pytest.mark.parametrize("as_json", [True, False])
def test_no_control_character_of_the_model_reaches_the_terminal(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    model = FakeModel({"question": "\x9b2J\x7f"})
    for answer in ("text", "yes_no"):
        _, output, errors = printed(capsys, model, answer, as_json)
        assert not re.search("[\x7f-\x9f]", output + errors)
        if as_json:
            assert json.loads(output)["text"] == "\x9b2J\x7f"


def test_a_device_that_was_lost_is_not_the_answer_to_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelLost):
        printed(capsys, FakeModel({"question": ModelLost("model: the NPU was lost")}), "yes_no")
    assert capsys.readouterr().out == ""
