"""Make the demo's model anew: `python -m edged.demo.training.train`. A tool, not part of the daemon; needs PyTorch and
transformers.

Four stages: the vision tower alone, on what is where in the picture; the language model alone, on the frozen tower's
tokens; both together; and both again from a lower rate, where in many pictures people stand before each other. Another
process draws the pictures meanwhile, and each is learned from once. Finished stages stay in the work folder, so that a
training that was broken off begins again with the stage it was in. `--rehearse` does all of it in a few steps.
"""

import argparse
import logging
import multiprocessing
import random
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edged.demo.training.chat import Packed, Packer, make_tokenizer
from edged.demo.training.folder import save_folder
from edged.demo.training.network import IMAGE_TOKENS, LanguageModel, ReadOut, Shape, Tower, in_patch_order, to_patches
from edged.demo.training.training_data import Mix, render
from edged.demo.truth import Truth

log = logging.getLogger("edged.demo.training.train")
T = TypeVar("T")

SEED = 1
SHARDS_AHEAD = 4
MODEL_FOLDER = Path(__file__).parent.parent / "model"


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """How long and how fast to learn: `rate` falls in a line to `rate * end` over the steps, after `warm` steps of
    rising.
    """

    name: str
    steps: int
    tower_rate: float
    text_rate: float
    end: float
    warm: int
    seed: int
    mix: Mix = Mix()  # noqa: RUF009


STAGES = (
    TrainingStage("tower", 3200, 1.6e-3, 0, 0.3, 150, 1),
    TrainingStage("text", 600, 0, 2e-3, 0.25, 100, 2),
    TrainingStage("both", 2600, 7e-4, 1.1e-3, 0.01, 50, 3),
    TrainingStage("again", 1000, 3.5e-4, 5e-4, 0.01, 30, 4, Mix(clear=0.35, overlapping=True)),
)


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The stages, and how much they learn from."""

    stages: tuple[TrainingStage, ...] = STAGES
    conversations: int = 30_000  # for the tokenizer
    batch: int = 32
    shard: int = 1600  # pictures in one file
    cached: int = 250  # batches whose image tokens are kept for the stage "text"
    check: int = 1500  # pictures kept apart, for the checks and the temperature


FULL = TrainingPlan()
REHEARSAL = TrainingPlan(
    tuple(replace(stage, steps=2, warm=1) for stage in STAGES), conversations=500, batch=2, shard=4, cached=2, check=4
)


@dataclass(frozen=True, slots=True)
class Batch:
    patches: Tensor
    cells: Tensor
    cover: Tensor
    facts: Tensor

    @property
    def truths(self) -> list[Truth]:
        return [
            Truth(int(people), int(cars), bool(door), bool(night)) for people, cars, door, night in self.facts.tolist()
        ]


class Pictures:
    """One rendered shard."""

    def __init__(self, name: Path) -> None:
        self._pictures = torch.from_numpy(np.load(name.with_suffix(".npy")))
        with np.load(name.with_suffix(".npz")) as targets:
            self._targets = [torch.from_numpy(targets[key]) for key in ("cells", "patches", "facts")]

    def __len__(self) -> int:
        return len(self._pictures)

    def batch(self, start: int, end: int) -> Batch:
        cells, cover, facts = (target[start:end].float() for target in self._targets)
        patches = to_patches(self._pictures[start:end])
        return Batch(patches, cells.view(-1, IMAGE_TOKENS, 2), in_patch_order(cover), facts)

    def batches(self, size: int) -> Iterator[Batch]:
        return (self.batch(start, start + size) for start in range(0, len(self), size))


def fresh_batches(folder: Path, stage: TrainingStage, plan: TrainingPlan) -> Generator[Batch]:
    """Endless batches of pictures that another process draws meanwhile; no picture comes twice."""
    spawn = multiprocessing.get_context("spawn")
    with TemporaryDirectory(dir=folder) as shards, ProcessPoolExecutor(1, spawn) as pool:
        coming = deque[tuple[Path, Future[None]]]()
        try:
            for number in count(1000 * stage.seed):
                name = Path(shards, str(number))
                coming.append((name, pool.submit(render, name, number, plan.shard, mix=stage.mix)))
                if len(coming) == SHARDS_AHEAD:
                    name, drawn = coming.popleft()
                    drawn.result()
                    yield from _taken(name).batches(plan.batch)
        finally:
            pool.shutdown(cancel_futures=True)


def _taken(name: Path) -> Pictures:
    """The shard in memory, and its files gone."""
    pictures = Pictures(name)
    for suffix in (".npy", ".npz"):
        name.with_suffix(suffix).unlink()
    return pictures


@dataclass(frozen=True, slots=True)
class Network:
    """Everything that learns."""

    tower: Tower
    text: LanguageModel
    read_out: ReadOut

    @classmethod
    def fresh(cls, vocabulary: int) -> "Network":
        torch.manual_seed(SEED)
        shape = Shape()
        return cls(Tower(shape), LanguageModel(vocabulary, shape), ReadOut(shape))

    def parts(self) -> dict[str, nn.Module]:
        return {"tower": self.tower, "text": self.text, "read_out": self.read_out}

    def save(self, file: Path) -> None:
        torch.save({name: part.state_dict() for name, part in self.parts().items()}, file)

    def load(self, file: Path) -> None:
        for name, states in torch.load(file, weights_only=True).items():
            self.parts()[name].load_state_dict(states)


class Optimiser:
    """Muon for the matrices inside blocks, at twice the rate; AdamW for everything else."""

    def __init__(self, rates: dict[nn.Module, float], stage: TrainingStage) -> None:
        self._stage, self._step, self._parameters = stage, 0, [p for part in rates for p in part.parameters()]
        self._optimisers: list[torch.optim.Optimizer] = []
        for part, rate in rates.items():
            self._add(part, rate)
        self._full = [[group["lr"] for group in one.param_groups] for one in self._optimisers]

    def _add(self, part: nn.Module, rate: float) -> None:
        matrices, others, scales = list[nn.Parameter](), list[nn.Parameter](), list[nn.Parameter]()
        for name, parameter in part.named_parameters():
            inner = parameter.dim() == 2 and any(word in name for word in ("blocks.", "layers.", "merger."))
            (matrices if inner else others if parameter.dim() > 1 else scales).append(parameter)
        groups = [{"params": others, "weight_decay": 0.03}, {"params": scales, "weight_decay": 0.0}]
        self._optimisers.append(torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98)))
        if matrices:
            muon = torch.optim.Muon(
                matrices, lr=2 * rate, weight_decay=0.03, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            )
            self._optimisers.append(muon)

    def learn(self, loss: Tensor) -> None:
        stage = self._stage
        factor = min(1.0, (self._step + 1) / stage.warm) * (1 - (1 - stage.end) * self._step / stage.steps)
        for one, rates in zip(self._optimisers, self._full, strict=True):
            one.zero_grad()
            for group, rate in zip(one.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, 2.5)
        for one in self._optimisers:
            one.step()
        self._step += 1


def varied(patches: Tensor) -> Tensor:
    """A little more or less contrast and brightness."""
    many = len(patches)
    return patches * (1 + 0.06 * torch.randn(many, 1, 1)) + 0.06 * torch.randn(many, 1, 1)


def half_precision() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def seen(tower: Tower, patches: Tensor) -> tuple[Tensor, Tensor]:
    with half_precision():
        tokens, features = tower(patches)
    return tokens.float(), features.float()


def answer_logits(text: LanguageModel, tokens: Tensor, packed: Packed, packer: Packer) -> tuple[Tensor, list[Tensor]]:
    """Logits at every place where an answer's token is to be said, and the states after each layer."""
    states = text.embed_tokens(packed.ids)
    first = packer.first_image
    states = torch.cat((states[:, :first], tokens, states[:, first + IMAGE_TOKENS :]), 1)
    with half_precision():
        after = text(states, packed.positions, packed.mask)
    return after[-1][packed.rows, packed.places].float() @ text.embed_tokens.weight.T, after


def language_loss(network: Network, tokens: Tensor, batch_facts: Tensor, packed: Packed, packer: Packer) -> Tensor:
    logits, after = answer_logits(network.text, tokens, packed, packer)
    answers = F.cross_entropy(logits, packed.wanted, reduction="sum") / len(tokens) / 8
    return 2 * answers + 0.5 * network.read_out.facts_loss(after, packer.image_end, batch_facts)


@torch.no_grad()
def vision_check(network: Network, pictures: Pictures) -> str:
    right, checked = torch.zeros(4), 0
    for batch in islice(pictures.batches(50), 6):
        read = network.read_out.vision_loss(*seen(network.tower, batch.patches), batch.cells, batch.cover, batch.facts)[
            1
        ]
        read = torch.cat((read[:, :2].round(), (read[:, 2:] > 0).float()), 1)
        right += (read == batch.facts).sum(0)
        checked += len(read)
    shares = (right / checked).tolist()
    return "people, cars, door, night right: " + ", ".join(f"{100 * share:.1f} %" for share in shares)


@torch.no_grad()
def language_check(network: Network, pictures: Pictures, packer: Packer) -> str:
    """Shares of wholly right answers by kind, teacher-forced, on wordings as in training."""
    rng, right, asked = random.Random(5), dict[str, int](), dict[str, int]()
    for batch in islice(pictures.batches(50), 6):
        packed = packer.pack(batch.truths, rng)
        logits, _ = answer_logits(network.text, seen(network.tower, batch.patches)[0], packed, packer)
        good = (logits.argmax(-1) == packed.wanted).tolist()
        whole: dict[int, bool] = {}
        for number, one in zip(packed.turns, good, strict=True):
            whole[number] = whole.get(number, True) and one
        for number, one in whole.items():
            kind = packed.kinds[number]
            asked[kind], right[kind] = asked.get(kind, 0) + 1, right.get(kind, 0) + one
    return ", ".join(f"{kind} {100 * right[kind] / asked[kind]:.1f}" for kind in sorted(asked))


def train_tower(network: Network, batches: Iterator[Batch], stage: TrainingStage) -> Iterator[Tensor]:
    network.tower.start_from(torch.cat([batch.patches for batch in islice(batches, 10)]))
    optimiser = Optimiser({network.tower: stage.tower_rate, network.read_out: stage.tower_rate}, stage)
    for batch in ahead(batches):
        found = seen(network.tower, varied(batch.patches))
        loss, _ = network.read_out.vision_loss(*found, batch.cells, batch.cover, batch.facts)
        optimiser.learn(loss)
        yield loss


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same endless items, each made by another thread while the one before is being learned."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items)
        while True:
            item = coming.result()
            coming = pool.submit(next, items)
            yield item


def train_text(
    network: Network, batches: Iterator[Batch], stage: TrainingStage, packer: Packer, plan: TrainingPlan
) -> Iterator[Tensor]:
    rng, words = np.random.default_rng([SEED, stage.seed]), random.Random(SEED)
    tokens, facts, truths = list[Tensor](), list[Tensor](), list[Truth]()
    for batch in islice(batches, plan.cached):
        with torch.no_grad():
            tokens.append(seen(network.tower, varied(batch.patches))[0])
        facts.append(batch.facts)
        truths += batch.truths
    all_tokens, all_facts = torch.cat(tokens), torch.cat(facts)
    optimiser = Optimiser({network.text: stage.text_rate, network.read_out.facts: stage.text_rate}, stage)
    drawn = (rng.integers(0, len(truths), plan.batch) for _ in count())
    packs = ((numbers, packer.pack([truths[number] for number in numbers], words)) for numbers in drawn)
    for numbers, packed in ahead(packs):
        loss = language_loss(network, all_tokens[numbers], all_facts[numbers], packed, packer)
        optimiser.learn(loss)
        yield loss


def train_both(network: Network, batches: Iterator[Batch], stage: TrainingStage, packer: Packer) -> Iterator[Tensor]:
    words = random.Random(stage.seed - 1)
    rates = {network.tower: stage.tower_rate, network.text: stage.text_rate, network.read_out: stage.tower_rate}
    optimiser = Optimiser(rates, stage)
    for batch, packed in ahead((batch, packer.pack(batch.truths, words)) for batch in batches):
        tokens, features = seen(network.tower, varied(batch.patches))
        loss = language_loss(network, tokens, batch.facts, packed, packer)
        vision, _ = network.read_out.vision_loss(tokens, features, batch.cells, batch.cover, batch.facts)
        optimiser.learn(loss + 0.3 * vision)
        yield loss


def run(
    stage: TrainingStage, steps: Iterator[Tensor], network: Network, check: Pictures, packer: Packer, file: Path
) -> None:
    began_s, mean, part = time.process_time(), 0.0, file.with_suffix(".part")
    for number, loss in zip(range(1, stage.steps + 1), steps, strict=False):
        mean += (loss.item() - mean) * (0.02 if number > 1 else 1)
        if number % 100 == 0 or number == stage.steps:
            found = vision_check(network, check) if stage.name == "tower" else language_check(network, check, packer)
            spent_s = time.process_time() - began_s
            log.info(
                "%s: step %d of %d, %.0f CPU s, loss %.3f; %s", stage.name, number, stage.steps, spent_s, mean, found
            )
            network.save(part)
    part.replace(file)


@torch.no_grad()
def temperature(network: Network, pictures: Pictures, packer: Packer) -> float:
    """By what to divide the logits so that the probabilities fit pictures that were not learned."""
    rng, all_logits, all_wanted = random.Random(7), list[Tensor](), list[Tensor]()
    for batch in pictures.batches(50):
        packed = packer.pack(batch.truths, rng)
        all_logits.append(answer_logits(network.text, seen(network.tower, batch.patches)[0], packed, packer)[0])
        all_wanted.append(packed.wanted)
    logits, wanted = torch.cat(all_logits), torch.cat(all_wanted)
    tried = [0.8 + 0.05 * number for number in range(45)]
    return min(tried, key=lambda divisor: F.cross_entropy(logits / divisor, wanted).item())


def train(plan: TrainingPlan, work: Path, out: Path) -> None:
    """Train the model in the work folder, continuing after the last finished stage, and write it to `out`."""
    data = work / "data"
    data.mkdir(parents=True, exist_ok=True)
    render(data / "check", 100, plan.check)
    check = Pictures(data / "check")
    tokenizer = make_tokenizer(plan.conversations)
    packer, network = Packer(tokenizer), Network.fresh(tokenizer.get_vocab_size())
    for stage in plan.stages:
        file = work / f"{stage.name}.pt"
        if file.exists():
            log.info("%s: already finished, loaded from %s", stage.name, file)
            network.load(file)
            continue
        torch.manual_seed(SEED)
        run(stage, _steps(stage, network, data, packer, plan), network, check, packer, file)
    divisor = temperature(network, check, packer)
    log.info("temperature %.2f", divisor)
    # the logits are linear in this weight, and the tied embedding must stay as it is
    network.text.norm.weight.data /= divisor
    save_folder(network.tower, network.text, tokenizer, out)


def _steps(stage: TrainingStage, network: Network, data: Path, packer: Packer, plan: TrainingPlan) -> Iterator[Tensor]:
    batches = fresh_batches(data, stage, plan)
    if stage.name == "tower":
        return train_tower(network, batches, stage)
    if stage.name == "text":
        return train_text(network, batches, stage, packer, plan)
    return train_both(network, batches, stage, packer)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo's model from nothing, two hours on two cores.")
    parser.add_argument("--work", type=Path, default=Path("build/demo"), help="for pictures (2 GB) and checkpoints")
    parser.add_argument("--out", type=Path, help=f"where the finished model goes (default: {MODEL_FOLDER})")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="only a few steps of each stage, to see within a minute that training works here; in WORK/rehearsal, "
        "where the model goes too unless --out is given",
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if given.rehearse:
        work = given.work / "rehearsal"
        train(REHEARSAL, work, given.out or work / "model")
    else:
        train(FULL, given.work, given.out or MODEL_FOLDER)


if __name__ == "__main__":
    main()
