"""A prompt of a request becomes a question by the rules of the config file, or is refused with a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.config import CAMERA, MODEL, TYPES, write

from edged.config import ad_hoc
from edged.config.load import load
from edged.core.answer_types import Choices, Json, Number, Text, YesNo
from edged.core.errors import EdgedError
from edged.core.requests import AdHoc
from edged.core.specs import Config

ALLOWED = "mqtt: {allow_prompts: true}\n"
REGION = "    regions: {gate: {box: [0, 0, 0.5, 0.5]}}\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(write(tmp_path, ALLOWED + CAMERA + REGION))


def refusal(config: Config, ad_hoc_prompt: AdHoc) -> str:
    with pytest.raises(EdgedError) as caught:
        ad_hoc.question(config, config.cameras[0], ad_hoc_prompt)
    return str(caught.value)


def test_prompts_are_refused_unless_the_config_allows_them(tmp_path: Path, config: Config):
    closed = load(write(tmp_path, CAMERA))
    assert refusal(closed, AdHoc("Open?")) == (
        "prompts in requests are not allowed (mqtt: allow_prompts in the config)"
    )
    assert ad_hoc.question(config, config.cameras[0], AdHoc("Open?")).prompt == "Open?"


def test_allowing_prompts_needs_no_new_connection(tmp_path: Path, config: Config):
    assert load(write(tmp_path, CAMERA + REGION)).mqtt == config.mqtt


@pytest.mark.parametrize(
    ("fields", "prompt", "answer"),
    [
        ({}, "Open?", Text()),
        ({"answer": "yes_no"}, "Open? Answer Yes or No.", YesNo()),
        ({"answer": "integer", "range": [0, 40]}, "Open? Answer with one number.", Number(True, 0, 40)),
        ({"answer": ["a", "b"]}, "Open? Answer with one of: a, b.", Choices((("a", "a"), ("b", "b")))),
        ({"answer": {"json": {"type": "object"}}}, "Open? Answer in JSON.", Json('{"type": "object"}')),
    ],
)
def test_the_answer_type_is_that_of_a_question_in_the_file(
    config: Config, fields: dict[str, Any], prompt: str, answer: object
):
    asked = ad_hoc.question(config, config.cameras[0], AdHoc("Open?", **fields))
    assert (asked.prompt, asked.answer) == (prompt, answer)


def test_model_settings_language_and_region_are_those_of_the_config(tmp_path: Path, config: Config):
    korean = "language: ko\n" + ALLOWED + CAMERA.replace("path: m", "path: m, max_new_tokens: 7, deadline: 9s") + REGION
    spec = load(write(tmp_path, korean))
    dock = spec.cameras[0]
    asked = ad_hoc.question(spec, dock, AdHoc("Open?", answer="yes_no", region="gate"))
    assert asked.prompt == "Open? 예 또는 아니요로 답하세요."
    assert (asked.generation.max_new_tokens, asked.generation.deadline_s) == (7, 9.0)
    assert asked.region == dock.region("gate")
    assert ad_hoc.question(spec, dock, AdHoc("Open?", max_new_tokens=3)).generation.max_new_tokens == 3


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"answer": "color"}, f'answer "color" is not a type ({TYPES}). Did you mean a list?'),
        ({"answer": 5}, f"answer 5 is not a type ({TYPES}). Did you mean a list?"),
        ({"answer": "integer", "range": [9, 1]}, "range [9, 1] is reversed; write [1, 9]"),
        ({"range": "0-40", "answer": "integer"}, 'range must be a list, not "0-40"'),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, not 0"),
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": "<|im_end|>"}, 'prompt contains "<|im_end|>", which is a special token of the model'),
        ({"region": "gat"}, 'region "gat" is not a region of camera "dock". Did you mean "gate"?'),
    ],
)
def test_what_is_wrong_is_one_sentence(config: Config, fields: dict[str, Any], sentence: str):
    assert refusal(config, replace(AdHoc("Open?"), **fields)) == sentence


def test_two_mistakes_are_one_sentence(config: Config):
    both = AdHoc("", answer="colour")
    assert refusal(config, both) == f'answer "colour" is not a type ({TYPES}). Did you mean a list?; prompt is empty'


def test_a_camera_without_regions_says_so(tmp_path: Path):
    config = load(write(tmp_path, ALLOWED + MODEL + "cameras: {dock: {source: pics}}\n"))
    asked = AdHoc("Open?", region="gate")
    assert refusal(config, asked) == 'region "gate" is not a region of camera "dock", which has none'
