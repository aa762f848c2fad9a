"""One encoded frame serves many questions, and every answer equals that of a separate call."""

from __future__ import annotations

import json
import math
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save, save_file
from support import tiny_model
from support.broker import until
from support.making import frame, picture, question

from edged.core.answer_types import Choices, Json, Number, YesNo
from edged.core.errors import ModelError, ModelFolderError, Stopped
from edged.core.specs import Generation, ModelSpec
from edged.core.types import Exchange
from edged.vlm.chat import Chat
from edged.vlm.folder import revision
from edged.vlm.grammar_tokenizer import GrammarTokenizer
from edged.vlm.model import load
from edged.vlm.plain import check_plain
from edged.vlm.processor import NoVideoProcessor
from edged.vlm.qwen2vl import Qwen2VL

PROMPTS = [
    "How many people are here?", "Is the gate open?", "Describe the scene.", "What colour is the car?",
    "예 또는 아니요?", "Where?", "Is it night, or is it day? Say which, and why.", "Count the people.",
]  # fmt: skip
GO_ON = threading.Event()


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> Qwen2VL:
    return load(ModelSpec(tiny_folder))


class Reference:
    """The tutorial's way: a separate `generate` for each question."""

    def __init__(self, folder: Path) -> None:
        from transformers import Qwen2VLForConditionalGeneration

        self.model = Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = NoVideoProcessor.from_pretrained(folder)

    def text(self, image: np.ndarray, turns: list[Exchange], prompt: str, new: int, **settings) -> str:
        messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "image"}]}]
        for turn in turns:
            messages[-1]["content"].append({"type": "text", "text": turn.prompt})
            messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.reply}]})
            messages.append({"role": "user", "content": []})
        messages[-1]["content"].append({"type": "text", "text": prompt})
        text = self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = self.processor(images=[Image.fromarray(image)], text=[text], return_tensors="pt")
        self.model.model.rope_deltas = None
        settings = {"do_sample": False, "max_new_tokens": new} | settings
        out = self.model.generate(**inputs, **settings)
        reply: str = self.processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return reply


@pytest.fixture(scope="module")
def reference(tiny_folder: Path) -> Reference:
    return Reference(tiny_folder)


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("size", [(320, 240), (448, 224)])
def test_shared_answers_equal_separate_ones(model: Qwen2VL, reference: Reference, count: int, size: tuple[int, int]):
    model.encode(frame(count, *size))
    for prompt in PROMPTS[:count]:
        reply = model.ask([], question(prompt), GO_ON)
        assert reply.text == reference.text(picture(count, *size), [], prompt, 12)


def test_frames_of_different_size_one_after_another_do_not_shift_positions(model: Qwen2VL, reference: Reference):
    for seed, size in enumerate([(320, 240), (448, 224), (224, 448), (320, 240)]):
        model.encode(frame(seed, *size))
        for prompt in PROMPTS[:2]:
            assert model.ask([], question(prompt), GO_ON).text == reference.text(picture(seed, *size), [], prompt, 12)


def test_a_follow_up_is_asked_in_the_same_conversation(model: Qwen2VL, reference: Reference):
    model.encode(frame(3))
    first = Exchange(PROMPTS[0], "Two people.")
    reply = model.ask([first], question(PROMPTS[3]), GO_ON)
    assert reply.text == reference.text(picture(3), [first], PROMPTS[3], 12)
    again = model.ask([], question(PROMPTS[1]), GO_ON)
    assert again.text == reference.text(picture(3), [], PROMPTS[1], 12)


def test_repetition_penalty_is_that_of_transformers(model: Qwen2VL, reference: Reference):
    model.encode(frame(4))
    asked = question(PROMPTS[2], generation=Generation(max_new_tokens=20, repetition_penalty=1.3))
    with_penalty = reference.text(picture(4), [], PROMPTS[2], 20, repetition_penalty=1.3)
    assert model.ask([], asked, GO_ON).text == with_penalty
    assert with_penalty != reference.text(picture(4), [], PROMPTS[2], 20)


@pytest.mark.parametrize(
    ("answer", "steps"),
    [
        (YesNo(), 1),
        (YesNo("예", "아니요"), 2),
        (Number(True, 0, 40), 2),
        (Number(True), 9),
        (Number(False, -2.5, 7.25), 12),
        (Choices((("clear", 1), ("rain", 2), ("red car", 3))), 7),
        (
            Json(
                json.dumps(
                    {"type": "object", "properties": {"people": {"type": "integer", "minimum": 0, "maximum": 9}}}
                )
            ),
            1,
        ),
    ],
)
def test_a_typed_answer_is_of_its_type_even_from_random_weights(model: Qwen2VL, answer, steps: int):
    for seed in range(4):
        model.encode(frame(seed))
        reply = model.ask([], question(PROMPTS[0], answer, max_new_tokens=40), GO_ON)
        assert reply.ended == "done"
        answer.value(reply.text)
        assert reply.confidence is not None
        assert 0 < reply.confidence <= 1
        assert reply.steps <= steps


def test_confidence_is_the_probability_before_the_mask(model: Qwen2VL, reference: Reference):
    model.encode(frame(5))
    asked = question("Is it open?", YesNo())
    reply = model.ask([], asked, GO_ON)
    text = reference.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked.prompt}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    inputs = reference.processor(images=[Image.fromarray(picture(5))], text=[text], return_tensors="pt")
    with torch.inference_mode():
        probabilities = reference.model(**inputs).logits[0, -1].softmax(-1)
    tokenizer = reference.processor.tokenizer
    token_ids = {word: tokenizer.convert_tokens_to_ids(word) for word in ("Yes", "Ye", "Y", "No", "N")}
    best = max(token_ids, key=lambda word: probabilities[token_ids[word]])
    assert reply.text == ("Yes" if best[0] == "Y" else "No")
    assert reply.confidence is not None
    assert math.isclose(reply.confidence, probabilities[token_ids[best]], rel_tol=1e-3)


def test_stop_ends_a_generation_at_the_next_token(model: Qwen2VL):
    model.encode(frame(7))
    stop = threading.Event()
    streamed: list[str] = []

    def stop_after_three(text: str) -> None:
        streamed.append(text)
        if len(streamed) == 3:
            stop.set()

    with pytest.raises(Stopped):
        model.ask([], question("Tell all.", max_new_tokens=200), stop, on_text=stop_after_three)
    assert len(streamed) == 3


@pytest.mark.slow
def test_a_deadline_ends_a_generation_at_the_next_token(model: Qwen2VL):
    model.encode(frame(8))
    deadline_s = 1.0
    begun = time.monotonic()
    pieces: list[str] = []

    def wait_at_the_third(text: str) -> None:
        pieces.append(text)
        if len(pieces) == 3:
            until(lambda: time.monotonic() > begun + deadline_s)

    asked = question("Tell all.", generation=Generation(max_new_tokens=2000, deadline_s=deadline_s))
    reply = model.ask([], asked, GO_ON, on_text=wait_at_the_third)
    assert (reply.ended, reply.confidence) == ("deadline", None)
    assert len(pieces) == 3
    assert reply.text == "".join(pieces)


def test_a_deadline_that_is_past_runs_nothing(model: Qwen2VL):
    model.encode(frame(8))
    asked = question("Is it open?", YesNo(), generation=Generation(deadline_s=0.0))
    reply = model.ask([], asked, GO_ON)
    assert (reply.text, reply.ended, reply.confidence) == ("", "deadline", None)


def test_a_reply_is_streamed_in_whole_characters(model: Qwen2VL):
    model.encode(frame(8))
    pieces: list[str] = []
    reply = model.ask([], question("열려 있나요?", YesNo("예", "아니요")), GO_ON, on_text=pieces.append)
    assert "".join(pieces) == reply.text
    assert "\ufffd" not in "".join(pieces)


def test_the_text_of_a_special_token_in_a_reply_does_not_become_one(reference: Reference):
    chat, end = Chat(reference.processor), reference.processor.tokenizer.eos_token_id
    with_token, without = (chat.tail([Exchange("Who?", reply)], "Where?").count(end) for reply in ("<|im_end|>", "x"))
    assert with_token == without


def test_a_question_that_does_not_fit_is_not_asked(model: Qwen2VL):
    model.encode(frame(9))
    reply = model.ask([], question("Tell all.", max_new_tokens=4096), GO_ON)
    assert (reply.ended, reply.steps) == ("context_overflow", 0)


def test_an_error_in_the_middle_leaves_the_next_look_right(model: Qwen2VL, reference: Reference):
    model.encode(frame(1))

    def fail(text: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.ask([], question("Tell all."), GO_ON, on_text=fail)
    with pytest.raises(ModelError):
        model.ask([], question("Tell all."), GO_ON)
    model.encode(frame(2))
    assert model.ask([], question(PROMPTS[0]), GO_ON).text == reference.text(picture(2), [], PROMPTS[0], 12)


def test_a_choice_the_tokenizer_cannot_encode_is_reported_at_start(tmp_path: Path):
    folder = tiny_model.build(tmp_path / "m")
    stored = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = stored["model"]["vocab"]
    vocabulary.pop("Z")
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    model = load(ModelSpec(folder))
    with pytest.raises(ModelFolderError, match='question "q": this model\'s tokenizer cannot encode "Zoo"'):
        model.check([question("Where?", Choices((("Zoo", 1), ("Home", 2))))])


@pytest.fixture
def own_folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder, tmp_path / "model")


def test_weights_that_are_written_over_do_not_change_the_model_that_runs(own_folder: Path):
    """transformers maps a file of float32. With `cp new/* model/`, edged answered with weights of another revision."""
    weights = own_folder / "model.safetensors"
    tensors = {name: tensor.float() for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    model = load(ModelSpec(own_folder))
    before = replies(model)
    other = save({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, metadata={"format": "pt"})
    with weights.open("r+b") as file:
        file.write(other)
    assert replies(model) == before
    assert not [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(weights))]


def replies(model: Qwen2VL) -> list[str]:
    model.encode(frame(1))
    return [model.ask([], question(prompt), GO_ON).text for prompt in PROMPTS]


def test_a_folder_that_changes_while_it_is_loaded_is_no_model(own_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """It would answer with the weights of one revision, and the name of another."""

    def check(path: Path) -> Any:
        (path / "model.safetensors").touch()
        return check_plain(path)

    monkeypatch.setattr("edged.vlm.model.check_plain", check)
    with pytest.raises(ModelError, match="was changed while it was loaded") as caught:
        load(ModelSpec(own_folder))
    assert caught.value.code == 75


def test_the_revision_changes_with_files_in_subfolders_and_not_with_hidden_ones(own_folder: Path):
    before = revision(own_folder)
    (own_folder / ".cache").mkdir()
    (own_folder / ".cache/model.metadata").write_text("downloaded today")
    assert revision(own_folder) == before
    (own_folder / "mxq").mkdir()
    (own_folder / "mxq/text.mxq").write_bytes(b"1")
    first = revision(own_folder)
    (own_folder / "mxq/text.mxq").write_bytes(b"2")
    assert len({before, first, revision(own_folder)}) == 3


def test_dispose_happens_once(tiny_folder: Path):
    calls: list[int] = []
    loaded = replace(check_plain(tiny_folder).load(), dispose=lambda: calls.append(1))
    tokenizer = loaded.processor.tokenizer
    model = Qwen2VL(loaded, GrammarTokenizer(tokenizer, len(tokenizer)), "tiny", "r1")
    model.dispose()
    model.dispose()
    assert calls == [1]


def _broken(folder: Path, change) -> Path:
    tiny_model.build(folder)
    change(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda f: (f / "preprocessor_config.json").unlink(), "preprocessor_config.json is missing"),
        (lambda f: (f / "chat_template.jinja").unlink(), "chat_template.jinja is missing"),
        (lambda f: (f / "config.json").write_text('{"model_type": "llama"}'), "is not a Qwen2-VL"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is not valid JSON"),
        (lambda f: (f / "model.safetensors").write_bytes(b"junk"), "cannot be loaded"),
    ],
)
def test_a_broken_folder_is_reported_with_the_file(tmp_path: Path, change, sentence: str):
    with pytest.raises(ModelFolderError, match=sentence):
        load(ModelSpec(_broken(tmp_path / "m", change)))


def test_weights_of_another_model_are_refused_and_not_left_random(tmp_path: Path):
    folder = tiny_model.build(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 3
    config["text_config"]["layer_types"] = ["full_attention"] * 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFolderError, match="they belong to another model"):
        load(ModelSpec(folder))
