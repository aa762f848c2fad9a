"""What `edged ask --image` prints, and its exit code, for each way that a model can reply or fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.fakes import FakeModel
from support.making import frame
from support.properties import examples

from edged.core.answer_types import Text, TextStream, Unreadable
from edged.core.specs import QuestionSpec
from edged.core.types import Exchange, Reply
from edged.tools.ask import AskOptions, print_answer, question


class Speaking(FakeModel):
    """Passes its reply on as it is generated, a character at a time, but not half of one at its end."""

    def ask(
        self,
        history: Sequence[Exchange],
        question: QuestionSpec,
        stop: threading.Event,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        reply = super().ask(history, question, stop)
        for character in reply.text.removesuffix("\ufffd") if on_text else "":
            on_text(character)
        return reply


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
