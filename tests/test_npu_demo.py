"""The demo's model, compiled for the simulated NPU: true answers, the same as those of the plain model."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from support.making import question
from support.npu import compiled, simulator

from edged.core.answer_types import Number, Text, YesNo
from edged.core.specs import ModelSpec
from edged.core.types import Frame, utc_now
from edged.demo.show import MODEL
from edged.demo.stills import still
from edged.vlm.model import load

GO_ON = threading.Event()
QUESTIONS = [
    question("How many people are in this image?", Number(True, 0, 9), "people"),
    question("How many cars are there?", Number(True, 0, 9), "cars"),
    question("Is the door open?", YesNo(), "door_open"),
    question("Describe the scene.", Text(), "scene", max_new_tokens=48),
]


@pytest.mark.slow
def test_the_compiled_demo_model_gives_the_true_answers_of_the_plain_one(tmp_path: Path):
    folder = compiled.with_processor(compiled.compile_folder(MODEL, tmp_path / "compiled"), MODEL)
    plain = load(ModelSpec(MODEL))
    true = 0
    with simulator.installed() as board:
        model = load(ModelSpec(folder))
        for seed in range(9_200, 9_206):
            pixels, truth = still(seed, sprites="held_out")
            frame = Frame(pixels, str(seed), utc_now(), 0.0)
            model.encode(frame)
            plain.encode(frame)
            expected = [truth.people, truth.cars, truth.door_open, truth.description]
            for asked, right in zip(QUESTIONS, expected, strict=True):
                reply, reference = model.ask([], asked, GO_ON), plain.ask([], asked, GO_ON)
                assert (reply.text, reply.steps) == (reference.text, reference.steps)
                true += asked.answer.value(reply.text) == right
        model.dispose()
        assert board.launched == []
    assert true >= 22, f"{true} of 24 answers are true"
