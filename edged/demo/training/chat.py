"""The demo's tokenizer, and conversations packed for training: many questions on one picture in one pass. A tool, not
part of the daemon.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from edged.demo.training.network import CELLS, IMAGE_TOKENS
from edged.demo.training.wordings import Asked, ask_long, ask_short
from edged.demo.truth import MAX_CARS, MAX_PEOPLE, Truth

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCABULARY = 1500
BEFORE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
AFTER_IMAGE = "<|vision_end|>"
TO_ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
ANSWERED = "<|im_end|>"
NEXT_TURN = "\n<|im_start|>user\n"
# As Qwen2's: contractions, words, single digits, marks, line ends, spaces.
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _texts(rng: random.Random, conversations: int) -> Iterator[str]:
    for _ in range(conversations):
        truth = Truth(rng.randint(0, MAX_PEOPLE), rng.randint(0, MAX_CARS), rng.random() < 0.5, rng.random() < 0.5)
        for asked in (ask_short(truth, rng), *ask_long(truth, rng)):
            yield asked.prompt
            yield asked.answer
        yield "system\nYou are a helpful assistant."
        yield "user\n"
        yield "assistant\n"


def make_tokenizer(conversations: int = 30_000) -> Tokenizer:
    """A byte-level BPE learned from so many conversations; it can encode any text."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=alphabet,
        min_frequency=5,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(random.Random(3), conversations), trainer)
    return tokenizer


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch: n x tokens ids, 3 x n x tokens positions, n x 1 x tokens x tokens mask; then, for each token of an
    answer that is to be learned, its row, the place before it, itself, and the number of the turn it belongs to; the
    kind of each turn.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    rows: list[int]
    places: list[int]
    wanted: Tensor
    turns: list[int]
    kinds: list[str]


@dataclass(frozen=True, slots=True)
class Dialogue:
    ids: list[int]
    learn: list[tuple[int, int]]  # place in ids, number of the turn in the conversation
    kinds: list[str]


class Packer:
    """Puts conversations behind one picture, each of which sees the picture and itself only."""

    def __init__(self, tokenizer: Tokenizer, tail: int = 176) -> None:
        self._tokenizer, self._tail = tokenizer, tail
        before = self._encoded(BEFORE)
        self.first_image = len(before)
        self._prefix = [*before, *self._encoded("<|image_pad|>") * IMAGE_TOKENS, *self._encoded(AFTER_IMAGE)]
        self.image_end = len(self._prefix) - 1
        self._values = {tokenizer.token_to_id(word) for word in (*"0123456789", "true", "false")}

    def _encoded(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def conversation(self, turns: tuple[Asked, ...]) -> Dialogue:
        ids: list[int] = []
        learn: list[tuple[int, int]] = []
        for number, asked in enumerate(turns):
            ids += self._encoded((NEXT_TURN if ids else "") + asked.prompt + TO_ANSWER)
            answer = self._encoded(asked.answer + ANSWERED)
            learn += [
                (place, number)
                for place, token in enumerate(answer, len(ids))
                if not asked.values_only or token in self._values
            ]
            ids += answer
        return Dialogue(ids, learn, [_kind(turns, number) for number in range(len(turns))])

    def _chosen(self, truth: Truth, rng: random.Random) -> list[Dialogue]:
        chosen = [self.conversation(ask_long(truth, rng))]
        room = self._tail - len(chosen[0].ids)
        while True:
            one = self.conversation((ask_short(truth, rng),))
            if len(one.ids) > room:
                return chosen
            chosen.append(one)
            room -= len(one.ids)

    def pack(self, truths: list[Truth], rng: random.Random) -> Packed:
        many, start = len(truths), len(self._prefix)
        total = start + self._tail
        ids, segment = np.zeros((many, total), np.int64), np.full((many, total), -1)
        ids[:, :start], segment[:, :start] = np.array(self._prefix), 0
        positions = np.zeros((3, many, total), np.int64)
        positions[:, :, :start] = self._prefix_positions()[:, None]
        rows, places, wanted, numbers, kinds = list[int](), list[int](), list[int](), list[int](), list[str]()
        for row, truth in enumerate(truths):
            at = start
            for part, one in enumerate(self._chosen(truth, rng), 1):
                end = at + len(one.ids)
                ids[row, at:end], segment[row, at:end] = one.ids, part
                positions[:, row, at:end] = self.first_image + CELLS + 1 + np.arange(len(one.ids))
                for place, turn in one.learn:
                    rows.append(row)
                    places.append(at + place - 1)
                    wanted.append(one.ids[place])
                    numbers.append(len(kinds) + turn)
                kinds += one.kinds
                at = end
        same = (segment[:, :, None] == segment[:, None, :]) | (segment[:, None, :] == 0)
        mask = torch.from_numpy(same & np.tri(total, dtype=bool))[:, None]
        return Packed(
            torch.from_numpy(ids), torch.from_numpy(positions), mask, rows, places, torch.tensor(wanted), numbers, kinds
        )

    def _prefix_positions(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """As Qwen2-VL counts: the image's tokens share one time, and the text goes on after its longer side."""
        first, tokens = self.first_image, np.arange(IMAGE_TOKENS)
        image = np.stack((np.zeros_like(tokens), tokens // CELLS, tokens % CELLS)) + first
        before = np.tile(np.arange(first), (3, 1))
        return np.concatenate((before, image, np.full((3, 1), first + CELLS)), 1)


def _kind(turns: tuple[Asked, ...], number: int) -> str:
    answer = turns[number].answer
    if number:
        return "follow-up"
    if answer[0] == "{":
        return "json"
    if answer[0].isdigit():
        return "number"
    return "sentence" if len(answer) > 20 else "choice" if answer.islower() else "yes or no"
