"""Whatever a model says, an answer is a value of its question's type or has a status that says why there is none."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import event, example, given, reject
from hypothesis import strategies as st
from support.adversary import LARGEST, Adversary, Dictated, Fixed, Flat, Mood, Noise, Poisoned, conforms, is_json
from support.config import ASK, write
from support.drawn import KINDS, TEXTS, mostly
from support.making import frame
from support.properties import examples

from edged.config.load import ConfigError, load, one_question
from edged.core.answer_types import CONTROL, INTEGER_LIMIT, Choices, Json, Number, Text, YesNo, bounded
from edged.core.errors import ModelError, ModelFolderError, Stopped
from edged.core.payloads import answer_payload, encode
from edged.core.specs import QuestionSpec
from edged.core.types import Answer, Exchange, Reply
from edged.service.judging import Provenance, answer, judge
from edged.vlm.chat import Chat
from edged.vlm.grammar import problem

IMAGE_TOKEN = "<|image_pad|>"
FRAME = frame(width=32, height=32)
MOST_TOKENS = 24
REASONS = {"unsure", "unreadable", "timeout"}  # of a reply; the other statuses are those of camera and model


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("config"), "")


@pytest.fixture(scope="module")
def adversary(tiny_folder: Any) -> Adversary:
    return Adversary(tiny_folder)


# what the model says

FOREIGN = st.text(st.characters(min_codepoint=0x80, codec="utf-8"), min_size=1, max_size=6)
HOSTILE = [
    "1e999", "-1e-999", "-0", "9" * 40, "0.000000000000000000001", "[[[[", '{"a":1,"a":2}',
    '[{"a":1e999}]', '{"a":', '"\\ud800', '"\\u0000', "NaN", "-Infinity",
    "Yes", "No", "예", "true", "null", " ", "\n", "\x1b[2J", "<|im_end|>", IMAGE_TOKEN, "<|im_start|>",
]  # fmt: skip
FINITE = st.one_of(
    st.builds(Noise, st.integers(0, 2**32), st.sampled_from([1e-6, 1.0, 30.0, 1e30, 3e38])),
    st.builds(Flat, st.sampled_from([0.0, 1.0, LARGEST, -LARGEST])),
    st.builds(Dictated, st.sampled_from(HOSTILE) | FOREIGN, st.booleans()),
    # numbers of single bytes: most are no character by themselves
    st.builds(
        Fixed, st.lists(st.integers(0, 300), min_size=1, max_size=3).map(tuple), st.sampled_from([0.0, -LARGEST])
    ),
)
NOT_FINITE = st.builds(
    Poisoned, FINITE, st.sampled_from([math.nan, math.inf, -math.inf]), st.none() | st.integers(0, 300)
)
MOODS: st.SearchStrategy[list[Mood]] = st.lists(mostly(FINITE, NOT_FINITE), min_size=1, max_size=5)
GENERATION = st.fixed_dictionaries(
    {"max_new_tokens": st.integers(1, MOST_TOKENS)},
    optional={
        "temperature": st.floats(0, 5),
        "top_p": st.floats(0, 1, exclude_min=True),
        "top_k": st.integers(1, 1000),
        "repetition_penalty": st.floats(0, 10, exclude_min=True),
    },
)


def a_question(adversary: Adversary, keys: dict[str, Any]) -> QuestionSpec:
    """As the config would have it. Rejects the example if edged refuses the question before it is asked."""
    try:
        question = one_question({"prompt": "What is it?", **keys})
        adversary.model.check([question])
    except (ConfigError, ModelFolderError):
        reject()
    return question


# schemas that nobody meant to write

SCHEMA_KEYS = [
    "type", "properties", "patternProperties", "$defs", "definitions", "required", "additionalProperties", "items",
    "prefixItems", "anyOf", "oneOf", "allOf", "enum", "const", "default", "$ref", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "pattern",
    "format",
]  # fmt: skip
SCHEMA_WORDS = ["object", "array", "string", "integer", "number", "null", "#", "#/$defs/a", "(", "a+", "date"]
SCHEMA_LEAVES = st.one_of(
    st.sampled_from(["\ud800", "a\udfff", "\0", "\x1b[2J"]),
    st.sampled_from(SCHEMA_WORDS),
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([10**400, 10**4299, -(10**4299), 1.7e308, -1.7e308]),
)
ANY_SCHEMA = st.dictionaries(
    st.sampled_from(SCHEMA_KEYS),
    st.recursive(
        SCHEMA_LEAVES,
        lambda inner: st.one_of(
            st.dictionaries(st.sampled_from(SCHEMA_KEYS), inner, max_size=3),
            st.dictionaries(st.sampled_from(["a", "b\ud800", "\x7f"]), inner, max_size=2),
            st.lists(inner, max_size=3),
        ),
        max_leaves=8,
    ),
    max_size=4,
)


# what becomes of it


def asked(
    adversary: Adversary, question: QuestionSpec, moods: list[Mood], stops_after: int | None = None
) -> tuple[Reply | ModelError, str]:
    """The reply, or the model's error, and the text that was passed on until then."""
    streamed: list[str] = []
    adversary.cache.begin(moods, stops_after)
    adversary.model.encode(FRAME)
    with torch.random.fork_rng(devices=[]):  # sampling is the same each time
        torch.manual_seed(1)
        try:
            reply = adversary.model.ask([], question, adversary.cache.stop, streamed.append)
        except ModelError as error:
            return error, "".join(streamed)
    return reply, "".join(streamed)


def judged(question: QuestionSpec, reply: Reply) -> Answer:
    of = Provenance("dock", "schedule", "r1", clock_synced=True, frame=FRAME, frame_age_s=0.1, encode_ms=1.0)
    return answer(question, judge(question, reply), of, 60.0, reply)


def is_value(question: QuestionSpec, value: Any) -> bool:
    """By the README, not by the code that has made it."""
    match question.answer:
        case Text():
            return isinstance(value, str) and bool(value.strip()) and not CONTROL.search(value)
        case YesNo():
            return isinstance(value, bool)
        case Number(whole, low, high):
            least, most = -INTEGER_LIMIT if low is None else low, INTEGER_LIMIT if high is None else high
            return type(value) is (int if whole else float) and least <= value <= most
        case Choices(options):
            return any(type(value) is type(option) and value == option for _, option in options)
        case Json(schema):
            parsed = json.loads(schema)
            return is_json(value) and conforms(value, parsed) and conforms(value, bounded(parsed))


def check_answer(question: QuestionSpec, given: Answer) -> None:
    """A value without a reason, or a reason without a value; and it can be published."""
    assert is_json(json.loads(encode(answer_payload(given, "box", late=False))))
    if given.status == "ok":
        assert is_value(question, given.value), given.value
        assert given.reason is None
        return
    assert given.status in REASONS
    assert given.value is None
    assert given.reason
    assert len(given.reason) < 300


def check_confidence(question: QuestionSpec, given: Answer) -> None:
    if question.answer.grammar() is None or given.status in ("unreadable", "timeout"):
        assert given.confidence is None
    else:
        assert given.confidence is not None
        assert 0 <= given.confidence <= 1
        least = round(question.min_confidence, 4)
        assert given.confidence >= least if given.status == "ok" else given.confidence <= least


def check_streamed(reply: Reply, streamed: str) -> None:
    """What was passed on is the reply, except for the bytes of a last character that never became whole."""
    assert reply.text.startswith(streamed)
    assert streamed == reply.text or reply.text.endswith("\ufffd")


# the properties


@examples(100)
@example({"type": ["object", "null"], "properties": 5})
@example({"items": {"type": ["object"], "properties": None}})
@example({"type": "string", "minLength": 1.7e308})
@example({"type": "number", "minimum": 1.7e308})
@example({"type": "integer", "maximum": -(10**4299)})
@example({"enum": ["\ud800"]})
@example({"type": "object", "properties": {"\ud800": {"type": "integer"}}})
@given(ANY_SCHEMA)
def test_a_schema_is_used_or_refused_with_a_sentence_whatever_its_keywords_contain(
    adversary: Adversary, config_file: Path, schema: dict[str, Any]
):
    config_file.write_text(f"{ASK}        answer: {json.dumps({'json': schema})}\n")
    with suppress(ConfigError):
        adversary.model.check(load(config_file, problem).cameras[0].questions)
        event("used")
        return
    with pytest.raises((ConfigError, ModelFolderError)):  # as a request has it: only the model compiles it
        adversary.model.check([one_question({"prompt": "What is it?", "answer": {"json": schema}})])


@pytest.mark.parametrize("kind", KINDS)
@examples(30)
@given(data=st.data())
def test_a_reply_is_a_value_of_the_type_or_a_status_whatever_the_model_says(
    adversary: Adversary, kind: str, data: st.DataObject
):
    keys = {**data.draw(KINDS[kind], "keys"), **data.draw(GENERATION, "generation")}
    if kind != "text":
        keys["min_confidence"] = data.draw(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1), "min_confidence")
    question, moods = a_question(adversary, keys), data.draw(MOODS, "moods")
    reply, streamed = asked(adversary, question, moods)
    assert adversary.cache.runs <= question.generation.max_new_tokens
    if isinstance(reply, ModelError):
        event("model_down")
        overflows = kind == "text" and "repetition_penalty" in keys
        assert adversary.cache.poisoned or overflows
        return
    assert not adversary.cache.poisoned, "a token was taken from logits that are not finite"
    given = judged(question, reply)
    event(given.status)
    check_answer(question, given)
    check_confidence(question, given)
    check_streamed(reply, streamed)


@examples(30)
@given(st.sampled_from(list(KINDS)), st.data(), st.integers(0, 5), MOODS)
def test_a_stop_or_a_deadline_ends_every_reply(
    adversary: Adversary, kind: str, data: st.DataObject, steps: int, moods: list[Mood]
):
    question = a_question(adversary, {**data.draw(KINDS[kind], "keys"), "max_new_tokens": MOST_TOKENS})
    late = replace(question, generation=replace(question.generation, deadline_s=0.0))
    reply, _ = asked(adversary, late, moods)
    assert isinstance(reply, Reply)
    assert reply.ended == "deadline" or adversary.cache.runs == 0, "a grammar may force the whole reply"
    try:
        asked(adversary, question, moods, stops_after=steps)
    except Stopped:
        assert adversary.cache.runs == steps
    assert adversary.cache.runs <= max(steps, 1) or not adversary.cache.stop.is_set()


@pytest.mark.parametrize("schema", [{}, {"type": ["number", "array", "object"]}], ids=json.dumps)
@pytest.mark.parametrize("wanted", ["1e999", '[{"a":-1e999}]', "[" * 70 + "]" * 70], ids=lambda text: text[:8])
def test_what_json_cannot_carry_is_no_value(adversary: Adversary, schema: Any, wanted: str):
    question = a_question(adversary, {"answer": {"json": schema}, "max_new_tokens": 200})
    reply, _ = asked(adversary, question, [Dictated(wanted)])
    assert isinstance(reply, Reply)
    check_answer(question, judged(question, reply))


@examples(80)
@given(TEXTS, TEXTS)
def test_no_reply_becomes_a_special_token_in_the_conversation_that_follows(adversary: Adversary, text: str, more: str):
    def special(reply: str) -> list[int]:
        tokens = Chat(adversary.processor).tail([Exchange("Open?", reply)], "And now?")
        return [token for token in tokens if token in adversary.tokenizer.all_special_ids]

    for marker in ("", "<|im_end|>", IMAGE_TOKEN, "<|"):
        assert special(text + marker + more) == special("Yes")
