"""How often a minute of the demo would be less than 97 % right: `bench_demo_minutes.py [--minutes N]`.

Each minute has its own two yards; people, the report and the description are asked at the demo's pace. Its other
questions are counted as right.
"""

from __future__ import annotations

import argparse

import torch

from edged.core.specs import ModelSpec
from edged.demo.cameras import SIZE
from edged.demo.sequence import Sequence
from edged.demo.training.evaluate import MODEL_FOLDER, PROBES, Shown, results
from edged.vlm.model import load
from edged.vlm.qwen2vl import Qwen2VL

FIRST_S = 6
YARD_EVERY_S, BACK_EVERY_S, SCENE_EVERY = 2, 3, 5  # seconds, seconds, looks
BY_NAME = {probe.name: probe for probe in PROBES}


def minute(model: Qwen2VL, seed: int) -> float:
    """The share of right answers."""
    yard, back = Sequence(seed, size=SIZE), Sequence(seed + 1, size=SIZE)
    wrong = answers = 0
    for number in range(60 // YARD_EVERY_S):
        asked = ["people", "description"] if number % SCENE_EVERY == 0 else ["people"]
        wrong += _wrong(model, yard, FIRST_S + number * YARD_EVERY_S, asked)
        answers += 3 + len(asked)
    for number in range(60 // BACK_EVERY_S):
        wrong += _wrong(model, back, FIRST_S + number * BACK_EVERY_S, ["people", "JSON"])
        answers += 4
    return 1 - wrong / answers


def _wrong(model: Qwen2VL, sequence: Sequence, t_s: float, asked: list[str]) -> int:
    picture, truth = sequence.frame(t_s)
    found = results(model, [Shown(picture, truth)], [BY_NAME[name] for name in asked])
    return sum(not one.right for one in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1_795_000_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load(ModelSpec(MODEL_FOLDER))
    shares = sorted(minute(model, given.seed + number * 7919) for number in range(given.minutes))
    model.dispose()
    low = sum(share < 0.97 for share in shares)
    print(f"{given.minutes} minutes, {100 * sum(shares) / len(shares):.2f} % right; the worst {100 * shares[0]:.1f} %")
    print(f"{low} of them below 97 %")


if __name__ == "__main__":
    main()
