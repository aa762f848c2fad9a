"""The shipped example, the editor's schema and the README's table agree with the forms."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.config import SHIPPED, outcome, write

from edged.config import form, reference
from edged.config.form import CameraForm, FramesForm, HistoryForm, ModelForm, MqttForm
from edged.config.keys import Form
from edged.config.levels import fields
from edged.config.load import load
from edged.config.question_form import QuestionForm
from edged.core.answer_types import Choices, Json, Number, Text, YesNo
from edged.core.specs import Config, Every


def properties(schema: object) -> Iterator[tuple[str, dict[str, object]]]:
    """Each property of a JSON schema, at every level."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from properties(part)


def test_each_property_of_the_schema_has_a_description():
    described = [(name, property_.get("description")) for name, property_ in properties(form.json_schema())]
    assert len(described) > 80
    assert [name for name, description in described if not description] == []


def every_form(form_: type[Form] = Form) -> Iterator[type[Form]]:
    for below in form_.__subclasses__():
        yield below
        yield from every_form(below)


def test_a_description_ends_with_the_default_of_an_optional_key():
    for form_ in every_form():
        for name, info in form_.model_fields.items():
            meaning, mark, default = (info.description or "").partition(" Default: ")
            place = f"{form_.__name__}.{name}"
            assert meaning, place
            assert bool(mark) != info.is_required(), place
            if isinstance(info.default, str | int) and info.default != "":
                written = json.dumps(info.default) if isinstance(info.default, bool) else str(info.default)
                assert default == f"{written}.", place


def test_a_sample_of_a_key_is_valid(tmp_path: Path):
    question = {"prompt": "x", "answer": "yes_no"}
    for form_ in (QuestionForm, CameraForm, ModelForm, MqttForm, HistoryForm, FramesForm):
        for name, info in form_.model_fields.items():
            for sample in info.examples or []:
                answer = {"range": "integer"}.get(name, "yes_no")
                base = {"source": "usb:0"} if form_ is CameraForm else {"path": "x"} if form_ is ModelForm else {}
                base = {**question, "answer": answer} if form_ is QuestionForm else base
                form_.model_validate({**base, name: sample})


def test_the_readmes_table_of_keys_is_that_of_the_forms():
    readme = (SHIPPED.parent / "README.md").read_text("utf-8")
    assert reference.with_table(readme) == readme, "run: python -m edged.config.reference README.md"


def test_a_file_without_the_marks_of_the_table_is_left_alone(tmp_path: Path):
    (tmp_path / "x.md").write_text("no table")
    with pytest.raises(ValueError, match="<!-- keys -->"):
        reference.main(tmp_path / "x.md")
    assert (tmp_path / "x.md").read_text() == "no table"


def test_the_shipped_example_loads_as_written(tmp_path: Path):
    config = load(write(tmp_path, (SHIPPED / "edged.yaml").read_text()))
    dock, counter = config.cameras
    people, gate, weather, placement, safety, scene = dock.questions
    assert dock.schedule == Every(30.0)
    assert (people.prompt, people.answer) == (
        "How many people are in this image? Answer with one number.",
        Number(True, 0, 40),
    )
    assert (gate.prompt, gate.answer, gate.min_confidence) == ("Is the gate open? Answer Yes or No.", YesNo(), 0.7)
    assert gate.then[0].when is True
    assert weather.prompt == "What is the weather like? Answer with one of: clear, rain, snow, fog."
    assert isinstance(placement.answer, Choices)
    assert placement.answer.value("no vehicle") == "none"
    assert isinstance(safety.answer, Json)
    assert (scene.prompt, scene.answer, scene.every_s) == (
        "Describe the environment and context surrounding the main subject.",
        Text(),
        600.0,
    )
    assert counter.at_least_every_s == 300.0
    assert config.mqtt.client_id == f"edged-{config.node}"


def test_the_example_shows_every_key():
    text = (SHIPPED / "edged.yaml").read_text()
    keys = {key for form_ in every_form() for key in fields(form_)}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}:\s", text)] == []


def test_each_key_that_the_example_shows_in_a_comment_is_valid(tmp_path: Path):
    lines = (SHIPPED / "edged.yaml").read_text().splitlines()
    instead_of = {"cron": "every and cron both say", "password": "password without a username"}
    shown = 0
    for number, line in enumerate(lines):
        if not (match := re.fullmatch(r"(\s*)# ((?:- )?([a-z_]+): .*)", line)):
            continue
        shown += 1
        text = "\n".join([*lines[:number], match[1] + match[2], *lines[number + 1 :]])
        if match[3] in ("client_certificate", "insecure"):
            text = text.replace("mqtt://", "mqtts://")
        reason = instead_of.get(match[3])
        result = outcome(write(tmp_path, text))
        if reason is None:
            assert isinstance(result, Config), (match[2], result)
        else:
            assert isinstance(result, list), match[2]
            assert reason in result[0], match[2]
    assert shown > 20


def test_the_editors_schema_is_in_step():
    assert json.loads((SHIPPED / "edged.schema.json").read_text()) == json.loads(json.dumps(form.json_schema()))
