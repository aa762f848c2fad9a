"""The compiled model on the simulated NPU answers as the plain model does, through the vendor's own classes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.making import frame, picture, question
from support.npu import compiled, simulator
from test_model import PROMPTS, Reference

from edged.core.answer_types import Choices, Json, Number, YesNo
from edged.core.errors import ModelFolderError, Stopped
from edged.core.specs import Generation, ModelSpec
from edged.core.types import Exchange, Frame
from edged.vlm.chat import Chat
from edged.vlm.model import load
from edged.vlm.processor import NoVideoProcessor, load_processor
from edged.vlm.qwen2vl import Qwen2VL

GO_ON = threading.Event()


@pytest.fixture
def npu() -> Iterator[simulator.Board]:
    with simulator.installed() as board:
        yield board
        assert board.launched == []


@pytest.fixture
def model(npu: simulator.Board, compiled_folder: Path) -> Iterator[Qwen2VL]:
    loaded = load(ModelSpec(compiled_folder))
    npu.calls.clear()
    yield loaded
    loaded.dispose()


@pytest.fixture(scope="module")
def reference(tiny_folder: Path) -> Reference:
    return Reference(tiny_folder)


def small(seed: int, *size: int) -> np.ndarray:
    """The picture as the compiled model takes it: the processor stretches it."""
    return np.asarray(Image.fromarray(picture(seed, *size)).resize((224, 224)))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(320, 240), (640, 360), (224, 448)])
def test_shared_answers_on_the_npu_equal_separate_ones_of_the_plain_model(
    model: Qwen2VL, npu: simulator.Board, reference: Reference, size: tuple[int, int]
):
    model.encode(frame(1, *size))
    for prompt in PROMPTS:
        reply = model.ask([], question(prompt, max_new_tokens=16), GO_ON)
        assert reply.text == reference.text(small(1, *size), [], prompt, 16)
    assert npu.vision_calls == 1


def test_looks_of_two_cameras_one_after_another_do_not_mix(model: Qwen2VL, reference: Reference):
    for seed, size in enumerate([(320, 240), (640, 360), (320, 240), (224, 448)]):
        model.encode(frame(seed, *size))
        for prompt in PROMPTS[:2]:
            assert model.ask([], question(prompt), GO_ON).text == reference.text(small(seed, *size), [], prompt, 12)


def test_a_follow_up_is_asked_in_the_same_conversation(model: Qwen2VL, reference: Reference):
    model.encode(frame(3))
    first = Exchange(PROMPTS[0], "Two people.")
    assert model.ask([first], question(PROMPTS[3]), GO_ON).text == reference.text(small(3), [first], PROMPTS[3], 12)
    assert model.ask([], question(PROMPTS[1]), GO_ON).text == reference.text(small(3), [], PROMPTS[1], 12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        YesNo(),
        YesNo("예", "아니요"),
        Number(True, 0, 40),
        Number(False, -2.5, 7.25),
        Choices((("clear", 1), ("rain", 2), ("red car", 3))),
        Json(json.dumps({"type": "object", "properties": {"people": {"type": "integer", "minimum": 0, "maximum": 9}}})),
    ],
)
def test_typed_answers_equal_those_of_the_plain_model(model: Qwen2VL, tiny_folder: Path, answer):
    plain = load(ModelSpec(tiny_folder))
    for seed in range(3):
        model.encode(frame(seed))
        plain.encode(Frame(small(seed), "", frame().captured_at, 0.0))
        asked = question(PROMPTS[0], answer, max_new_tokens=40)
        reply, wanted = model.ask([], asked, GO_ON), plain.ask([], asked, GO_ON)
        assert (reply.text, reply.ended, reply.steps) == (wanted.text, "done", wanted.steps)
        assert reply.confidence == pytest.approx(wanted.confidence, rel=1e-3)


def test_a_prompt_is_prefilled_in_chunks_and_never_a_token_a_call(model: Qwen2VL, npu: simulator.Board):
    model.encode(frame(1))
    assert npu.text_calls == [(0, npu.text_calls[0][1])]
    prefix = npu.text_calls[0][1]
    npu.calls.clear()
    reply = model.ask([], question("Tell all. " * 30, max_new_tokens=3), GO_ON)
    counts = [count for _, count in npu.text_calls]
    assert counts[:2] == [128, 128]
    assert npu.text_calls[0][0] == prefix
    assert reply.steps == 2
    assert counts[-2:] == [1, 1]
    assert len(counts) == -(-sum(counts[:-2]) // 128) + 2


def test_a_yes_or_no_costs_no_step_after_its_prefill_but_one(model: Qwen2VL, npu: simulator.Board):
    model.encode(frame(1))
    npu.calls.clear()
    model.ask([], question("Is it open?", YesNo()), GO_ON)
    assert len(npu.text_calls) <= 2


def test_a_question_that_would_not_fit_the_cache_is_not_run(
    model: Qwen2VL, npu: simulator.Board, compiled_folder: Path
):
    model.encode(frame(1))
    used = prompt_tokens(npu, compiled_folder, "Tell all.")
    npu.calls.clear()
    room = compiled.MAX_CACHE - used + 1
    assert model.ask([], question("Tell all.", max_new_tokens=room + 1), GO_ON).ended == "context_overflow"
    assert npu.calls == []
    asked = question("Tell all.", generation=Generation(max_new_tokens=room, deadline_s=0.0))
    assert model.ask([], asked, GO_ON).ended == "deadline"


def prompt_tokens(npu: simulator.Board, folder: Path, prompt: str) -> int:
    """The tokens of a question to the frame that was just encoded."""
    _, prefix = npu.text_calls[-1]
    return prefix + len(Chat(load_processor(NoVideoProcessor, folder)).tail([], prompt))


def test_the_cache_may_be_filled_to_its_end_and_no_further(npu: simulator.Board, tiny_folder: Path, tmp_path: Path):
    folder = compiled.compile_folder(tiny_folder, tmp_path / "small", max_cache=160)
    model = load(ModelSpec(compiled.with_processor(folder, tiny_folder)))
    model.encode(frame(1))
    room = 160 - prompt_tokens(npu, folder, "Tell all.") + 1
    reply = model.ask([], question("Tell all.", max_new_tokens=room), GO_ON)
    assert reply.ended == "length"
    assert max(cached + count for cached, count in npu.text_calls) == 160
    model.dispose()


def test_after_a_cancelled_generation_the_next_answer_is_right(model: Qwen2VL, reference: Reference):
    model.encode(frame(5))
    stop = threading.Event()
    with pytest.raises(Stopped):
        model.ask([], question("Tell all.", max_new_tokens=200), stop, on_text=lambda _: stop.set())
    assert model.ask([], question(PROMPTS[1]), GO_ON).text == reference.text(small(5), [], PROMPTS[1], 12)


def test_two_models_side_by_side_do_not_share_a_cache(
    npu: simulator.Board, compiled_folder: Path, reference: Reference
):
    cores = [{"text": "0:0", "vision": "1:0"}, {"text": "0:1", "vision": "1:1"}]
    first, second = (load(ModelSpec(compiled_folder, cores=tuple(pair.items()))) for pair in cores)
    first.encode(frame(1))
    second.encode(frame(2))
    for prompt in PROMPTS[:3]:
        assert first.ask([], question(prompt), GO_ON).text == reference.text(small(1), [], prompt, 12)
        assert second.ask([], question(prompt), GO_ON).text == reference.text(small(2), [], prompt, 12)
    first.dispose()
    second.dispose()


def test_letterbox_is_not_stretch(npu: simulator.Board, compiled_folder: Path, reference: Reference):
    model = load(ModelSpec(compiled_folder, fit="letterbox"))
    model.encode(frame(1, 640, 360))
    square = Image.new("RGB", (640, 640))
    square.paste(Image.fromarray(picture(1, 640, 360)), (0, 140))
    boxed = np.asarray(square.resize((224, 224)))
    answer = model.ask([], question(PROMPTS[0]), GO_ON).text
    assert answer == reference.text(boxed, [], PROMPTS[0], 12)
    assert answer != reference.text(small(1, 640, 360), [], PROMPTS[0], 12)
    model.dispose()


@pytest.mark.parametrize(
    ("text", "vision", "wanted"),
    [
        ("0:0", "1:0", (("single", 0, 1), ("single", 0, 1))),
        ("1:1:3", "1:0:2", (("single", 1, 1), ("single", 1, 1))),
        ("global4:1", "multi:0", (("global4", 0, 1), ("multi", 0, 1))),
        ("global4:1:0", "0:3", (("global4", 1, 1), ("single", 0, 1))),
        ("global8", "global8:1", (("global8", 0, 0), ("global8", 1, 0))),
    ],
)
def test_each_part_runs_on_the_cores_of_its_word(npu: simulator.Board, compiled_folder: Path, text, vision, wanted):
    npu.devices = frozenset({0, 1})
    model = load(ModelSpec(compiled_folder, cores=(("text", text), ("vision", vision))))
    on = {part.part: (part.mode, part.accelerator and part.accelerator.device) for part in npu.launched}
    assert (on["text"], on["vision"]) == (wanted[0][:2], wanted[1][:2])
    model.dispose()


def test_a_folder_straight_from_the_tutorial_works_once_the_processor_is_beside_it(
    npu: simulator.Board, tiny_folder: Path, tmp_path: Path, reference: Reference
):
    folder = compiled.with_processor(compiled.compile_folder(tiny_folder, tmp_path / "raw"), tiny_folder)
    model = load(ModelSpec(folder))
    assert [part.mode for part in npu.launched] == ["single", "single"]
    model.encode(frame(1))
    assert model.ask([], question(PROMPTS[0]), GO_ON).text == reference.text(small(1), [], PROMPTS[0], 12)
    assert model.name == "mobilint/Tiny-VL"
    model.dispose()


def test_a_chat_template_of_another_order_is_refused(npu: simulator.Board, tiny_folder: Path, tmp_path: Path):
    folder = compiled.with_processor(compiled.compile_folder(tiny_folder, tmp_path / "raw"), tiny_folder)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("a helpful assistant", "a guard"))
    with pytest.raises(ModelFolderError, match="does not begin with Qwen2-VL's default system turn and the picture"):
        load(ModelSpec(folder))
    assert npu.launches == 0
