"""The tools that make and measure the demo's model, in a rehearsal of a few steps."""

from __future__ import annotations

import json
import logging
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from transformers import Qwen2VLForConditionalGeneration

from edged.core.answer_types import Json, Number, Unreadable, YesNo
from edged.core.specs import ModelSpec
from edged.demo.sequence import Sequence
from edged.demo.show import MODEL
from edged.demo.training import chat, evaluate, train, wordings
from edged.demo.training.evaluate import Result
from edged.demo.training.folder import save_folder
from edged.demo.training.network import to_patches
from edged.demo.training.training_data import Mix, render
from edged.demo.truth import Truth
from edged.vlm.model import load
from edged.vlm.processor import NoVideoProcessor

pytestmark = pytest.mark.slow

STAGES = ("tower", "text", "both", "again")
EMPTY, BUSY = Truth(0, 0, False, False), Truth(3, 2, True, True)
KO_YES_NO = YesNo("예", "아니요")


# -- training --------------------------------------------------------------------------------------


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def run_main(main: Callable[[], None], *arguments: str) -> list[str]:
    """The lines that the command logs."""
    lines, log = Lines(), logging.getLogger("edged.demo.training.train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", *arguments])
        level = log.level
        log.setLevel(logging.INFO)
        log.addHandler(lines)
        try:
            main()
        finally:
            log.removeHandler(lines)
            log.setLevel(level)
    return lines.texts


@dataclass(frozen=True, slots=True)
class Rehearsal:
    work: Path
    lines: list[str]
    packaged: dict[Path, int]  # the packaged model's files and when they changed, before

    @property
    def model(self) -> Path:
        return self.work / "rehearsal" / "model"


def changed_at(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    work, packaged = tmp_path_factory.mktemp("rehearsal"), changed_at(MODEL)
    return Rehearsal(work, run_main(train.main, "--rehearse", "--work", str(work)), packaged)


def test_a_rehearsal_logs_every_stage_and_leaves_the_packaged_model_alone(rehearsal: Rehearsal):
    *stages, last = rehearsal.lines
    found = [re.match(r"(\w+): step (\d+) of \2, \d+ CPU s, loss (\d+\.\d{3}); (.+)", line) for line in stages]
    assert tuple(match and match[1] for match in found) == STAGES
    assert "people, cars, door, night right: " in stages[0]
    assert re.search(r"json \d+\.\d, number \d+\.\d", stages[1])
    assert re.fullmatch(r"temperature \d\.\d\d", last)
    assert changed_at(MODEL) == rehearsal.packaged
    shards = [path.name for path in (rehearsal.work / "rehearsal" / "data").iterdir()]
    assert sorted(shards) == ["check.npy", "check.npz"]


def test_the_folder_of_a_rehearsal_loads_and_answers_by_type(rehearsal: Rehearsal):
    assert {path.name for path in rehearsal.model.iterdir()} == {path.name for path in MODEL.iterdir()} - {"README.md"}
    model = load(ModelSpec(rehearsal.model))
    try:
        results = evaluate.results(model, evaluate.clear_stills(1), evaluate.PROBES)
        typed = [result for result in results if "description" not in result.name and "text" not in result.name]
        assert len(results) == len(evaluate.PROBES)
        assert all(0 < (result.confidence or 0) <= 1 for result in typed)
    finally:
        model.dispose()


def test_finished_stages_are_not_trained_again(rehearsal: Rehearsal, tmp_path: Path):
    lines = run_main(train.main, "--rehearse", "--work", str(rehearsal.work), "--out", str(tmp_path))
    files = [rehearsal.work / "rehearsal" / f"{stage}.pt" for stage in STAGES]
    loaded = [f"{file.stem}: already finished, loaded from {file}" for file in files]
    assert lines == [*loaded, rehearsal.lines[-1]]
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / name).read_bytes() == (rehearsal.model / name).read_bytes()


def test_without_rehearse_all_is_trained_into_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    calls = []
    monkeypatch.setattr(train, "train", lambda *given: calls.append(given))
    run_main(train.main, "--work", str(tmp_path))
    run_main(train.main, "--work", str(tmp_path), "--out", str(tmp_path / "model"))
    assert calls == [(train.FULL, tmp_path, MODEL), (train.FULL, tmp_path, tmp_path / "model")]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return chat.make_tokenizer(300)


@pytest.fixture(scope="module")
def packer(tokenizer: Tokenizer) -> chat.Packer:
    return chat.Packer(tokenizer)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = tmp_path_factory.mktemp("shard") / "shard"
    render(name, 5, 16, mix=Mix(clear=0.1, crowded=0.1, overlapping=True))
    return name


def losses(steps: Iterator[Tensor], count: int) -> list[float]:
    return [loss.item() for loss in islice(steps, count)]


def test_the_losses_fall_on_pictures_that_come_again(tokenizer: Tokenizer, packer: chat.Packer, shard: Path):
    network, batches = train.Network.fresh(tokenizer.get_vocab_size()), repeat(train.Pictures(shard).batch(0, 4))
    tower, text = (replace(stage, steps=12, warm=2) for stage in train.STAGES[:2])
    of_tower = losses(train.train_tower(network, batches, tower), 10)
    assert of_tower[-1] < 0.6 * of_tower[0], of_tower
    of_text = losses(train.train_text(network, batches, text, packer, train.REHEARSAL), 10)
    assert np.mean(of_text[-3:]) < 0.8 * np.mean(of_text[:3]), of_text


def test_a_stage_counts_as_finished_only_once_its_checkpoint_is_complete(
    tokenizer: Tokenizer, packer: chat.Packer, shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    finished_meanwhile, save = [], torch.save
    network, file = train.Network.fresh(tokenizer.get_vocab_size()), tmp_path / "tower.pt"

    def save_and_look(states: dict[str, Any], to: Path) -> None:
        save(states, to)
        finished_meanwhile.append(file.exists())

    monkeypatch.setattr(torch, "save", save_and_look)
    steps = repeat(torch.tensor(1.0))
    train.run(replace(train.STAGES[0], steps=2), steps, network, train.Pictures(shard), packer, file)
    assert finished_meanwhile == [False]
    network.load(file)


def test_fresh_pictures_are_deleted_once_they_are_in_memory(tmp_path: Path):
    batches = train.fresh_batches(tmp_path, train.STAGES[0], train.REHEARSAL)
    first, _, other = (next(batches) for _ in range(3))
    (shards,) = tmp_path.iterdir()
    assert {"1000.npy", "1000.npz", "1001.npy", "1001.npz"}.isdisjoint(path.name for path in shards.iterdir())
    assert not torch.equal(first.patches, other.patches)
    batches.close()
    assert list(tmp_path.iterdir()) == []


def test_targets_say_what_the_truth_says(shard: Path):
    batch = train.Pictures(shard).batch(0, 16)
    assert torch.allclose(batch.cells.sum(1), batch.facts[:, :2], atol=0.02)
    assert [truth.people for truth in batch.truths] == batch.facts[:, 0].tolist()
    assert len({(truth.people, truth.cars) for truth in batch.truths}) > 3
    assert batch.cover[..., 1:].max() > 0.5


def test_a_shard_that_is_there_is_left_alone(shard: Path):
    before = shard.with_suffix(".npy").read_bytes()
    render(shard, 6, 2)
    assert shard.with_suffix(".npy").read_bytes() == before


def test_conversations_see_the_picture_and_themselves_and_learn_the_answers(tokenizer: Tokenizer, packer: chat.Packer):
    asked = wordings.Asked("How many?", "12"), wordings.Asked("All?", '{"cars":2,"night":true}', values_only=True)
    dialogue = packer.conversation(asked)
    learned = [[dialogue.ids[place] for place, turn in dialogue.learn if turn == number] for number in (0, 1)]
    assert tokenizer.decode(learned[0], skip_special_tokens=False) == "12<|im_end|>"
    assert tokenizer.decode(learned[1]) == "2true"
    packed = packer.pack([EMPTY, BUSY], random.Random(1))
    look, start = packed.mask[0, 0], packer.image_end + 1
    assert not look.triu(1).any()
    assert look[start:, :start].all()
    assert len({tuple(row.nonzero()[0].tolist()) for row in look[start:, start:]}) > 2  # several conversations
    assert packed.wanted.tolist() == [
        packed.ids[row, at + 1] for row, at in zip(packed.rows, packed.places, strict=True)
    ]


def test_the_folder_computes_in_transformers_what_was_trained(
    tokenizer: Tokenizer, packer: chat.Packer, shard: Path, tmp_path: Path
):
    """Pixels, chat template, positions and weights: the same logits from both."""
    network, truth = train.Network.fresh(tokenizer.get_vocab_size()), BUSY
    save_folder(network.tower, network.text, tokenizer, tmp_path)
    picture, packed = np.load(shard.with_suffix(".npy"))[:1], packer.pack([truth], random.Random(2))
    with torch.no_grad():
        tokens, _ = train.seen(network.tower, to_patches(torch.from_numpy(picture)))
        logits, _ = train.answer_logits(network.text, tokens, packed, packer)
    processor = NoVideoProcessor.from_pretrained(tmp_path)
    asked = wordings.ask_long(truth, random.Random(2))[0]
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked.prompt}]}]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(images=[Image.fromarray(picture[0])], text=[text], return_tensors="pt")
    model = Qwen2VLForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = model(**inputs).logits[0, -1]
    assert inputs["input_ids"][0].tolist() == packed.ids[0, : packed.places[0] + 1].tolist()
    assert theirs.std() > 0.5
    assert (theirs - logits[0]).abs().max() < 0.1 * theirs.std()


# -- wordings --------------------------------------------------------------------------------------


def asked(
    ask: Callable[[Truth, random.Random], wordings.Asked], count: int = 400
) -> list[tuple[Truth, wordings.Asked]]:
    rng = random.Random(11)
    truths = [Truth(rng.randint(0, 5), rng.randint(0, 2), rng.random() < 0.5, rng.random() < 0.5) for _ in range(count)]
    return [(truth, ask(truth, rng)) for truth in truths]


def yes_or_no(answer: str) -> bool:
    try:
        return bool(YesNo().value(answer))
    except Unreadable:
        return bool(KO_YES_NO.value(answer))


def test_wordings_differ_and_leave_no_slot_open():
    for ask in (wordings.ask_short, lambda truth, rng: wordings.ask_long(truth, rng)[0]):
        prompts = [one.prompt for _, one in asked(ask)]
        assert len(set(prompts)) > 0.8 * len(prompts)
        assert [prompt for prompt in prompts if set("{}()|") & set(prompt) or prompt != prompt.strip()] == []


@pytest.mark.parametrize("kind", wordings.YES_NO_QUESTIONS)
def test_yes_or_no_questions_have_the_truths_answer(kind: str):
    holds = wordings.YES_NO_QUESTIONS[kind].holds
    for truth, one in asked(lambda truth, rng: wordings.ask_yes_no(kind, truth, rng), 60):
        assert yes_or_no(one.answer) is holds(truth), one


@pytest.mark.parametrize("kind", wordings.COUNTS)
def test_counts_are_the_truths(kind: str):
    for truth, one in asked(lambda truth, rng: wordings.ask_count(kind, truth, rng), 60):
        assert Number(whole=True).value(one.answer) == getattr(truth, kind), one


def test_what_is_never_there_is_denied_and_what_always_is_affirmed():
    for _, one in asked(wordings.ask_absent):
        assert one.answer == "0" or not yes_or_no(one.answer), one
    assert all(yes_or_no(one.answer) for _, one in asked(wordings.ask_scenery))


def test_choices_are_offered_and_json_is_of_the_schema():
    for _, one in asked(wordings.ask_choice):
        assert one.answer in one.prompt.rpartition(":")[2], one
    keys, named = 0, 0
    for truth, one in asked(wordings.ask_json):
        values = json.loads(one.answer)
        assert values == {key: getattr(truth, key) for key in values}, one
        if values.keys() == wordings.JSON_VALUES.keys():
            assert Json(json.dumps(evaluate.SCHEMA)).value(one.answer) == values
        elif not one.values_only:
            keys += len(values)
            named += sum(key in one.prompt for key in values)
    assert named > 0.95 * keys > 50  # all but those with a slip


# -- measuring -------------------------------------------------------------------------------------


def test_evaluate_prints_shares_by_group_confidence_and_unseen_wordings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["evaluate", "--frames", "1"])
    evaluate.main()
    out = capsys.readouterr().out
    titles = re.findall(r"^## (.+)", out, re.MULTILINE)
    assert [title.partition(" (")[0] for title in titles] == [
        "Clear frames, JPEG 20 to 95",
        "Moving sequences as they come",
        "Of these, clear frames",
        "Confidence",
        "Wordings never trained",
    ]
    unseen = [
        float(share) for share in re.findall(r"^\w+(?:, by another)?: (\d+\.\d\d) %, wrong with", out, re.MULTILINE)
    ]
    assert len(unseen) == 13
    assert np.mean(unseen) > 90
    assert "crowds, JPEG 10 to 30, people: 2 answers" in out


def test_a_video_is_measured_by_the_sequences_truth(tmp_path: Path):
    file, seed, fps = tmp_path / "yard.avi", 600_000, 0.1
    sequence = Sequence(seed, sprites="held_out", size=(evaluate.WIDE, evaluate.WIDE))
    video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (evaluate.WIDE, evaluate.WIDE))
    for number in range(21):
        video.write(np.ascontiguousarray(sequence.frame(number / fps)[0][..., ::-1]))
    video.release()
    model = load(ModelSpec(MODEL))
    try:
        shown = list(evaluate.clip(file, seed, fps))
        lines = list(evaluate.measured_clip(model, file, seed, fps))
    finally:
        model.dispose()
    assert len(shown) == 3
    assert len({one.truth for one in shown}) > 1
    assert lines[0].startswith("\n## Video, clear frames")
    assert "\n## Video, all frames (3 frames)\n" in lines
    cars = next(re.match(r"cars: (\d+\.\d\d) %", line) for line in reversed(lines) if line.startswith("cars"))
    assert cars
    assert float(cars[1]) >= 80


def result(right: bool, confidence: float | None) -> Result:
    return Result("people", right, confidence, EMPTY)


def test_the_calibration_error_is_the_distance_of_confidence_and_share():
    calibrated = [result(number < 3, 0.75) for number in range(4)]
    assert evaluate.calibration_error(calibrated) == pytest.approx(0)
    assert evaluate.calibration_error([*calibrated, result(False, None)]) == pytest.approx(0)
    assert evaluate.calibration_error([result(False, 1.0), result(True, 0.1)]) == pytest.approx((1.0 + 0.9) / 2)


def test_confidence_is_reported_by_threshold():
    results = [result(False, 0.5), result(True, 0.5), *(result(number > 0, 0.95) for number in range(10))]
    first, at_60, *_ = evaluate.report_confidence("these", results)
    assert first.startswith("these: 12 answers, 2 wrong, expected calibration error")
    assert at_60 == "  below 0.6: 2 answers, 50.0 % wrong; above: 10, 10.00 % wrong; 5.0 times"
    assert list(evaluate.report_confidence("sure", [result(True, 0.95)]))[1].endswith("; inf times")
