"""Measure the demo's model on scenes and wordings that training never saw: `python -m edged.demo.training.evaluate`.

A tool, not part of the daemon. It asks through edged's own model code, grammars and confidence included, as a look
does.
"""

import argparse
import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edged.core.answer_types import AnswerType, Choices, Json, Number, Text, Unreadable, YesNo
from edged.core.specs import ModelSpec, QuestionSpec
from edged.core.types import Frame
from edged.demo.drawing import Picture, compressed
from edged.demo.sequence import Sequence
from edged.demo.stills import still
from edged.demo.training.unseen import ABSENT_UNSEEN, TRUTHS, UNSEEN, UNSEEN_BY_ANOTHER, answer_type, tongue_of
from edged.demo.truth import SIDE, Truth, truth_of
from edged.demo.visits import LOOP_S
from edged.vlm.model import load
from edged.vlm.qwen2vl import Qwen2VL

MODEL_FOLDER = Path(__file__).parent.parent / "model"
GO_ON = threading.Event()
SCHEMA = {
    "type": "object",
    "properties": {
        "people": {"type": "integer", "minimum": 0},
        "cars": {"type": "integer", "minimum": 0},
        "door_open": {"type": "boolean"},
        "night": {"type": "boolean"},
    },
    "required": ["people", "cars", "door_open", "night"],
    "additionalProperties": False,
}
WIDE = 448


def spec(prompt: str, answer: AnswerType, tongue: str = "") -> QuestionSpec:
    instruction = answer.instruction("ko" if (tongue or tongue_of(prompt)) == "ko" else "en")
    return QuestionSpec(name="asked", prompt=f"{prompt} {instruction}".strip(), answer=answer)


@dataclass(frozen=True, slots=True)
class Probe:
    """A question and its right value."""

    name: str
    question: QuestionSpec
    truth: Any  # Truth -> value


KO_YES_NO = YesNo("예", "아니요")
WHOLE = Number(whole=True)
OPEN = Choices((("open", True), ("shut", False)))
DAY = Choices((("day", False), ("night", True)))
PROBES = (
    Probe("people", spec("How many people are there?", WHOLE), TRUTHS["people"]),
    Probe("people, Korean", spec("사람이 몇 명 있나요?", WHOLE), TRUTHS["people"]),
    Probe("people, as text", spec("How many people are in the picture?", Text()), lambda truth: str(truth.people)),
    Probe("cars", spec("How many cars are there?", WHOLE), TRUTHS["cars"]),
    Probe("cars, Korean", spec("차가 몇 대 있나요?", WHOLE), TRUTHS["cars"]),
    Probe("anyone", spec("Is anyone there?", YesNo()), TRUTHS["anyone"]),
    Probe("anyone, Korean", spec("사람이 있나요?", KO_YES_NO), TRUTHS["anyone"]),
    Probe("car", spec("Is there a car?", YesNo()), TRUTHS["any_car"]),
    Probe("door open", spec("Is the door open?", YesNo()), TRUTHS["door_open"]),
    Probe("door open, Korean", spec("문이 열려 있나요?", KO_YES_NO), TRUTHS["door_open"]),
    Probe("door, choice", spec("What is the state of the door?", OPEN), TRUTHS["door_open"]),
    Probe("night", spec("Is it night?", YesNo()), TRUTHS["night"]),
    Probe("night, Korean", spec("지금 밤인가요?", KO_YES_NO), TRUTHS["night"]),
    Probe("day or night, choice", spec("Is it day or night?", DAY), TRUTHS["night"]),
    Probe("dog", spec("Is there a dog?", YesNo()), TRUTHS["absent"]),
    Probe(
        "JSON",
        spec("Describe the scene.", Json(json.dumps(SCHEMA))),
        lambda truth: {key: getattr(truth, key) for key in ("people", "cars", "door_open", "night")},
    ),
    Probe("description", spec("Describe the scene.", Text()), lambda truth: truth.description),
    Probe("description, Korean", spec("장면을 설명하세요.", Text()), lambda truth: truth.description_ko),
)
GROUPS = {
    "people": ("people", "people, Korean", "people, as text"),
    "cars": ("cars", "cars, Korean"),
    "yes/no": ("anyone", "anyone, Korean", "car", "door open", "door open, Korean", "night", "night, Korean", "dog"),
    "choices": ("door, choice", "day or night, choice"),
    "JSON": ("JSON",),
    "description": ("description", "description, Korean"),
}
MOVING = ("people", "cars", "anyone", "car", "door open", "night", "JSON")


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture with its truth; the stretch to the model's size is the model code's."""

    picture: Picture
    truth: Truth


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    right: bool
    confidence: float | None
    truth: Truth


def frame_of(picture: Picture) -> Frame:
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    return Frame(picture, digest, datetime.now(UTC), time.monotonic())


def value_of(model: Qwen2VL, question: QuestionSpec) -> tuple[Any, float | None]:
    """The answer's value, None if it has none, and its confidence."""
    reply = model.ask([], question, GO_ON)
    try:
        return (question.answer.value(reply.text) if reply.ended == "done" else None), reply.confidence
    except Unreadable:
        return None, reply.confidence


def results(model: Qwen2VL, shown: Iterable[Shown], probes: Iterable[Probe]) -> list[Result]:
    found = []
    asked = tuple(probes)
    for one in shown:
        model.encode(frame_of(one.picture))
        for probe in asked:
            value, confidence = value_of(model, probe.question)
            found.append(Result(probe.name, bool(value == probe.truth(one.truth)), confidence, one.truth))
    return found


# -- what is shown ---------------------------------------------------------------------------------


def clear_stills(count: int, seed: int = 500_000) -> Iterator[Shown]:
    """Clear frames, held-out people and cars, JPEG qualities 20 to 95, half of them drawn at 448 x 448."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        side = SIDE if number % 2 else WIDE
        picture, truth = still(seed + number, sprites="held_out", size=(side, side), jpeg=int(rng.integers(20, 96)))
        yield Shown(picture, truth)


def moving(count: int, seed: int = 600_000) -> Iterator[Shown]:
    """Frames as they come out of sequences of 448 x 448, 40 of each, JPEG."""
    rng, of_each = np.random.default_rng(seed), 40
    for number, shown in enumerate(range(0, count, of_each)):
        sequence = Sequence(seed + number, sprites="held_out", size=(WIDE, WIDE), jpeg=int(rng.integers(40, 96)))
        for t_s in rng.uniform(0, LOOP_S, of_each)[: count - shown]:
            yield Shown(*sequence.frame(float(t_s)))


def crowds(count: int, best: int, worst: int, seed: int = 700_000) -> Iterator[Shown]:
    """Stills in which people cover each other or are cut by the edge, in JPEG qualities from `worst` to `best`."""
    rng = np.random.default_rng(seed)
    number = 0
    while count:
        picture, truth = still(seed + number, sprites="held_out", clear=False)
        number += 1
        if not truth.clear:
            count -= 1
            yield Shown(compressed(picture, int(rng.integers(worst, best + 1))), truth)


def clip(file: Path, seed: int, fps: float, every: int = 10) -> Iterator[Shown]:
    """Some frames of a video of this seed's sequence, with held-out people and cars, from its begin."""
    import cv2

    sequence, video, number = Sequence(seed, sprites="held_out"), cv2.VideoCapture(str(file)), 0
    while (read := video.read())[0]:
        if number % every == 0:
            picture = np.ascontiguousarray(read[1][..., ::-1]).astype(np.uint8)
            yield Shown(picture, truth_of(sequence.moment(number / fps)))
        number += 1


# -- what comes of it ------------------------------------------------------------------------------


def calibration_error(found: list[Result], bins: int = 10) -> float:
    """The expected calibration error: the mean distance of confidence and share of right answers, over equal bins."""
    confidence = np.array([one.confidence for one in found if one.confidence is not None])
    right = np.array([one.right for one in found if one.confidence is not None])
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    inside = (bin_of == number for number in range(bins))
    return float(sum(abs(confidence[here].mean() - right[here].mean()) * here.mean() for here in inside if here.any()))


def share(found: list[Result]) -> float:
    return sum(one.right for one in found) / max(1, len(found))


def told_apart(found: list[Result], threshold: float) -> tuple[int, float, int, float]:
    """Answers below the threshold and their share of wrong ones; the same above."""
    below = [one for one in found if one.confidence is not None and one.confidence < threshold]
    above = [one for one in found if one.confidence is not None and one.confidence >= threshold]
    return len(below), 1 - share(below) if below else 0.0, len(above), 1 - share(above) if above else 0.0


def report(title: str, found: list[Result]) -> Iterator[str]:
    """The share of right answers by group and question."""
    frames = len(found) // max(1, len({one.name for one in found}))
    yield f"\n## {title} ({frames} frames)\n"
    for group, names in GROUPS.items():
        by_name = {name: [one for one in found if one.name == name] for name in names}
        asked = {name: answers for name, answers in by_name.items() if answers}
        if asked:
            each = ", ".join(f"{name} {100 * share(answers):.2f}" for name, answers in asked.items())
            yield f"{group}: {100 * share([one for answers in asked.values() for one in answers]):.2f} % ({each})"


def report_confidence(title: str, found: list[Result]) -> Iterator[str]:
    wrong = sum(not one.right for one in found)
    yield f"{title}: {len(found)} answers, {wrong} wrong, expected calibration error {calibration_error(found):.4f}"
    for threshold in (0.6, 0.7, 0.8, 0.9):
        few, bad, many, good = told_apart(found, threshold)
        times = bad / good if good else float("inf")
        below = f"below {threshold}: {few} answers, {100 * bad:.1f} % wrong"
        yield f"  {below}; above: {many}, {100 * good:.2f} % wrong; {times:.1f} times"


def report_unseen(model: Qwen2VL, frames: list[Shown]) -> Iterator[str]:
    """Every unseen wording with its type's instruction; "with confidence" is 0.9 or more."""
    yield f"\n## Wordings never trained ({len(frames)} frames each)\n"
    things = {"absent": tuple(text for text, _ in ABSENT_UNSEEN)}
    groups = (("", UNSEEN), (", by another", UNSEEN_BY_ANOTHER), ("", things))
    for by, kind, texts in ((by, kind, texts) for by, group in groups for kind, texts in group.items()):
        probes = [Probe(text, spec(text, answer_type(kind, tongue_of(text))), TRUTHS[kind]) for text in texts]
        found = results(model, frames, probes)
        sure = [one for one in found if not one.right and (one.confidence or 0) >= 0.9]
        by_text = {text: 100 * share([one for one in found if one.name == text]) for text in texts}
        low = ", ".join(f'"{text}" {percent:.0f}' for text, percent in by_text.items() if percent < 95)
        yield f"{kind}{by}: {100 * share(found):.2f} %, wrong with confidence {100 * len(sure) / len(found):.2f} %"
        if low:
            yield f"  below 95 %: {low}"


def measured(model: Qwen2VL, frames: int) -> Iterator[str]:
    yield from report("Clear frames, JPEG 20 to 95", results(model, clear_stills(frames), PROBES))
    asked = [probe for probe in PROBES if probe.name in MOVING]
    found = results(model, moving(2 * frames), asked)
    yield from report("Moving sequences as they come", found)
    yield from report("Of these, clear frames", [one for one in found if one.truth.clear])
    yield "\n## Confidence\n"
    yield from report_confidence("moving, people", [one for one in found if one.name == "people"])
    yield from report_confidence("moving, all but JSON", [one for one in found if one.name != "JSON"])
    counted = [probe for probe in PROBES if probe.name == "people"]
    yield from report_confidence("crowds, JPEG 20 to 95, people", results(model, crowds(2 * frames, 95, 20), counted))
    yield from report_confidence("crowds, JPEG 10 to 30, people", results(model, crowds(2 * frames, 30, 10), counted))
    yield from report_unseen(model, list(clear_stills(max(1, frames // 20), seed=800_000)))


def measured_clip(model: Qwen2VL, file: Path, seed: int, fps: float) -> Iterator[str]:
    found = results(model, clip(file, seed, fps), PROBES)
    yield from report("Video, clear frames", [one for one in found if one.truth.clear])
    yield from report("Video, all frames", found)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the demo's model on what it has never seen.")
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--frames", type=int, default=1000, help="clear frames; twice as many moving ones")
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load(ModelSpec(given.model))
    for line in measured(model, given.frames):
        print(line, flush=True)


if __name__ == "__main__":
    main()
