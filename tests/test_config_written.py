"""A prompt that was tried becomes lines of a config file, which mean exactly what was asked."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.config import CAMERA, write

from edged.cli import main
from edged.config import ad_hoc
from edged.config.document import FORBIDDEN
from edged.config.load import load
from edged.config.written import as_question
from edged.core.errors import EdgedError
from edged.core.requests import AdHoc
from edged.core.specs import Config, QuestionSpec

BASE = "mqtt: {allow_prompts: true}\n" + CAMERA + "    regions: {gate: {box: [0, 0, 0.5, 0.5]}}\n    ask:\n"
TAKEN = ["is_it_open", "is_it_open_2"]
PIECES = [
    *"\"':#{}[]&*!|>%@`,-?~\\\n\t /=<$", ": ", " #", "- ", "? ", "---", "...", "yes", "No", "null", "true", "1e5",
    "0x1f", "0o7", "1_000", "{secret:x}", "<<", "한국어 질문인가요", "예", "\U0001f6aa", "\U0001f468\u200d\U0001f469",
    "\u2028", "\u2029", "\x85", "\u00a0", "\ufeff", "\u200b", "\u00ad", "\x1b", "\x7f", "\ud800", "\U000e0001",
    "How many people?", "Is it open",
]  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(write(tmp_path, BASE + "      seen: {prompt: Seen?}\n"))


def pasted(folder: Path, lines: str) -> QuestionSpec:
    """The question as the file has it."""
    return load(write(folder, BASE + lines)).cameras[0].questions[0]


def test_the_lines_are_those_that_an_owner_would_write():
    prompt = AdHoc("Is it open?", answer=["wide open", "shut"], region="gate", max_new_tokens=9)
    assert as_question(prompt, []) == (
        "      is_it_open:\n"
        '        prompt: "Is it open?"\n'
        '        answer: ["wide open", shut]\n'
        "        region: gate\n"
        "        max_new_tokens: 9\n"
    )


def test_the_name_is_free_valid_and_not_reserved(tmp_path: Path):
    names = {prompt: (as_question(AdHoc(prompt), TAKEN) or "").split(":")[0].strip() for prompt in PROMPTS}
    assert names == PROMPTS


PROMPTS = {
    "Is it open?": "is_it_open_3",
    "열려 있나요?": "question",
    "Image": "image_2",
    "How many people, cars and bicycles are there in the yard?": "how_many_people_cars_and_bicycles_are",
}


@pytest.mark.parametrize(
    "fields",
    [
        {"answer": "yes_no"},
        {"answer": "integer", "range": [0, 40]},
        {"answer": "number", "range": [-1.5, 1e5]},
        {"answer": ["yes", "no", "null", "1", "# x", "예", ": "]},
        {"answer": ["a", True, 1, 2.5, 1e-7]},
        {"answer": {"choices": {"on: the left": {"x": [1, None]}, "off": "off"}}},
        {"answer": {"json": {"type": "object", "properties": {"a: #": {"type": "string", "enum": ["x'\"", "~"]}}}}},
    ],
)
def test_each_type_of_answer_is_written(tmp_path: Path, config: Config, fields: dict[str, Any]):
    prompt = AdHoc("What is it?", **fields)
    try:
        asked = ad_hoc.question(config, config.cameras[0], prompt)
    except EdgedError:
        assert ": " in fields["answer"]  # the file refuses it too
        return
    lines = as_question(prompt, [])
    assert lines
    assert pasted(tmp_path, lines).prompt_rev == asked.prompt_rev


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_asked_the_lines_pass_check_and_mean_the_same(
    tmp_path: Path, config: Config, seed: int, capsys: pytest.CaptureFixture[str]
):
    chance, written = random.Random(seed), 0

    def some_text() -> str:
        return "".join(chance.choices(PIECES, k=chance.randint(1, 6)))

    for _ in range(60):
        one, other = some_text(), some_text()
        answer = chance.choice([None, "yes_no", [one, other], {"json": {"enum": [one]}}])
        prompt = AdHoc(some_text(), answer=answer, region=chance.choice([None, "gate"]))
        try:
            asked = ad_hoc.question(config, config.cameras[0], prompt)
        except EdgedError:
            continue
        lines = as_question(prompt, TAKEN)
        if isinstance(answer, dict) and FORBIDDEN.search(one):  # a request may have it, a file may not
            assert lines is None
            continue
        assert lines, prompt
        question = pasted(tmp_path, lines)
        assert (question.prompt, question.prompt_rev, question.region) == (asked.prompt, asked.prompt_rev, asked.region)
        written += 1
    assert written > 20
    assert main(["check", str(tmp_path / "edged.yaml")]) == 0, capsys.readouterr().err


def test_what_a_config_file_cannot_hold_has_no_lines():
    deep: Any = {"type": "integer"}
    for _ in range(50):
        deep = {"anyOf": [deep]}
    assert as_question(AdHoc("?", answer={"json": deep}), []) is None
    assert as_question(AdHoc("?", answer={"json": {"k" * 300: 1}}), []) is None
