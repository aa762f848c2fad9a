"""Qwen2-VL's vision tower and language model as plain batched PyTorch, for training on a CPU: the same mathematics
and, but for the patch embedding, the same names of weights as in transformers, without its generality. A tool, not
part of the daemon.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  PyTorch's own name for it
from torch import Tensor, nn

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PATCHES, CELLS, PATCH_VALUES = 16, 8, 588
IMAGE_TOKENS = CELLS * CELLS


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the network."""

    vision_width: int = 128
    vision_depth: int = 4
    vision_heads: int = 2
    vision_ratio: int = 2
    width: int = 128
    depth: int = 4
    heads: int = 4
    kv_heads: int = 2
    inner: int = 256
    rope_theta: float = 30.0
    mrope: tuple[int, int, int] = (4, 6, 6)

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def to_patches(pictures: Tensor) -> Tensor:
    """uint8 n x 224 x 224 x 3 -> float n x 256 x 588, normalised, in the order of Qwen2-VL's image processor (2 x 2
    groups).
    """
    grouped = pictures.view(-1, CELLS, 2, 14, CELLS, 2, 14, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    values = grouped.reshape(-1, PATCHES * PATCHES, 3, 196).float() / 255
    mean, std = torch.tensor(MEAN).view(1, 1, 3, 1), torch.tensor(STD).view(1, 1, 3, 1)
    return ((values - mean) / std).reshape(-1, PATCHES * PATCHES, PATCH_VALUES)


def in_patch_order(grid: Tensor) -> Tensor:
    """n x 16 x 16 x k -> n x 256 x k, in the order of `to_patches`."""
    return (
        grid.view(-1, CELLS, 2, CELLS, 2, grid.shape[-1])
        .permute(0, 1, 3, 2, 4, 5)
        .reshape(len(grid), -1, grid.shape[-1])
    )


def rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = states.chunk(2, -1)
    return states * cos + torch.cat((-second, first), -1) * sin


def attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention, heads joined again: n x heads x tokens x width -> n x tokens x (heads * width). Written out, because
    in half precision it is twice as quick on a CPU as PyTorch's own.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    out: Tensor = scores.softmax(-1) @ value
    return out.transpose(1, 2).flatten(2)


class VisionBlock(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.vision_width
        self.heads = shape.vision_heads
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        inner = width * shape.vision_ratio
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})

    def forward(self, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        many, tokens, width = states.shape
        joined = self.attn["qkv"](self.norm1(states)).view(many, tokens, 3, self.heads, width // self.heads)
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        states = states + self.attn["proj"](attended(rotated(query, cos, sin), rotated(key, cos, sin), value))
        inner = self.mlp["fc1"](self.norm2(states))
        out: Tensor = states + self.mlp["fc2"](inner * torch.sigmoid(1.702 * inner))
        return out


class Tower(nn.Module):
    """Patches to image tokens: n x 256 x 588 -> n x 64 x width, and the patches' own features."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.vision_width
        self.patch = nn.Linear(PATCH_VALUES, width, bias=False)
        self.blocks = nn.ModuleList(VisionBlock(shape) for _ in range(shape.vision_depth))
        mlp = nn.Sequential(nn.Linear(4 * width, 4 * width), nn.GELU(), nn.Linear(4 * width, shape.width))
        self.merger = nn.ModuleDict({"ln_q": nn.LayerNorm(width, 1e-6), "mlp": mlp})
        half = width // shape.vision_heads // 2
        rates = 1 / 10000 ** (torch.arange(0, half, 2).float() / half)
        line = torch.arange(PATCHES)
        places = in_patch_order(torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)[None])[0].float()
        angles = (places[:, :, None] * rates).flatten(1).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        states = self.patch(patches)
        for block in self.blocks:
            states = block(states, self.cos, self.sin)
        states = self.merger["ln_q"](states)
        return self.merger["mlp"](states.reshape(len(states), IMAGE_TOKENS, -1)), states

    @torch.no_grad()
    def start_from(self, patches: Tensor) -> None:
        """Begin with the patches' principal components, softly whitened: far quicker than chance."""
        flat = patches.reshape(-1, PATCH_VALUES)[:60000]
        _, spread, axes = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
        width = self.patch.weight.shape[0]
        self.patch.weight.copy_(axes[:width] / ((spread[:width, None] / len(flat) ** 0.5) ** 0.7 * 0.8))


class TextBlock(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, kv_width = shape.width, shape.kv_heads * shape.head_width
        self.head_width, self.groups = shape.head_width, shape.heads // shape.kv_heads
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": nn.Linear(width, width),
                "k_proj": nn.Linear(width, kv_width),
                "v_proj": nn.Linear(width, kv_width),
                "o_proj": nn.Linear(width, width, bias=False),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": nn.Linear(width, shape.inner, bias=False),
                "up_proj": nn.Linear(width, shape.inner, bias=False),
                "down_proj": nn.Linear(shape.inner, width, bias=False),
            }
        )
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(width, 1e-6), nn.RMSNorm(width, 1e-6)

    def forward(self, states: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        normed = self.input_layernorm(states)
        query, key, value = (self._heads(self.self_attn[name](normed)) for name in ("q_proj", "k_proj", "v_proj"))
        query, key = rotated(query, cos, sin), rotated(key, cos, sin).repeat_interleave(self.groups, 1)
        states = states + self.self_attn["o_proj"](attended(query, key, value.repeat_interleave(self.groups, 1), mask))
        normed = self.post_attention_layernorm(states)
        inner = F.silu(self.mlp["gate_proj"](normed)) * self.mlp["up_proj"](normed)
        out: Tensor = states + self.mlp["down_proj"](inner)
        return out

    def _heads(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], -1, self.head_width).transpose(1, 2)


class LanguageModel(nn.Module):
    """The language model over embeddings; the head's weights are the embedding's."""

    def __init__(self, vocabulary: int, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(vocabulary, shape.width)
        nn.init.normal_(self.embed_tokens.weight, std=0.1)
        self.layers = nn.ModuleList(TextBlock(shape) for _ in range(shape.depth))
        self.norm = nn.RMSNorm(shape.width, 1e-6)

    def rope(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin (n x 1 x tokens x head width) of positions in time, height and width (3 x n x tokens)."""
        head_width = self.shape.head_width
        rates = 1 / self.shape.rope_theta ** (torch.arange(0, head_width, 2).float() / head_width)
        parts = torch.split(positions[..., None].float() * rates, list(self.shape.mrope), -1)
        angles = torch.cat([part[axis] for axis, part in enumerate(parts)], -1).repeat(1, 1, 2)[:, None]
        return angles.cos(), angles.sin()

    def forward(self, states: Tensor, positions: Tensor, mask: Tensor) -> list[Tensor]:
        """The states after each layer, the last one normed. `mask` (n x 1 x tokens x tokens) is true where one may
        look.
        """
        cos, sin = self.rope(positions)
        after = []
        for layer in self.layers:
            states = layer(states, cos, sin, mask)
            after.append(states)
        after[-1] = self.norm(after[-1])
        return after


DOOR_CELLS = [row * CELLS + column for row in (1, 2) for column in (4, 5)]


class ReadOut(nn.Module):
    """For training only: what the image tokens and patches, and the language model's state after the picture, should
    know.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.cells = nn.Linear(shape.width, 5)
        self.places = nn.Linear(shape.width, 2)
        self.patches = nn.Linear(shape.vision_width, 3)
        self.facts = nn.ModuleList(nn.Linear(shape.width, 12) for _ in range(2))

    def vision_loss(
        self, tokens: Tensor, patches: Tensor, cells: Tensor, cover: Tensor, facts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss, and what was read off: n x 4 (people and cars counted, logits of door and night). `cells` n x 64
        x 2 and `cover` n x 256 x 3 are masses of heads, cars and bodies; people are two thermometer channels, as a
        cell may hold two.
        """
        read, places = self.cells(tokens), self.places(tokens)
        heads, cars = cells.unbind(-1)
        wanted = torch.stack((heads.clamp(max=1), (heads - 1).clamp(0, 1), cars.clamp(max=1)), -1)
        shares = read[..., :3].sigmoid().sum(1)
        counted = torch.stack((shares[:, 0] + shares[:, 1], shares[:, 2]), -1)
        door, night = places[:, DOOR_CELLS, 0], places[..., 1]
        loss = 1.5 * F.binary_cross_entropy_with_logits(read[..., :3], wanted, reduction="none").sum(1).mean()
        loss = loss + 2 * ((read[..., 3:] - cells) ** 2).sum(1).mean()
        loss = loss + 0.5 * F.smooth_l1_loss(counted, facts[:, :2], beta=0.3)
        loss = (
            loss
            + 0.3
            * F.binary_cross_entropy_with_logits(self.patches(patches), cover.clamp(max=1), reduction="none")
            .sum(1)
            .mean()
        )
        loss = loss + F.binary_cross_entropy_with_logits(door, facts[:, 2:3].expand_as(door))
        loss = loss + F.binary_cross_entropy_with_logits(night, facts[:, 3:].expand_as(night))
        return loss, torch.cat((counted, torch.stack((door.mean(1), night.mean(1)), 1)), 1)

    def facts_loss(self, after: list[Tensor], place: int, facts: Tensor) -> Tensor:
        """People, cars, door and night, read from the state at one place after the second and third layer."""
        loss = torch.zeros(())
        for number, head in enumerate(self.facts, 1):
            read = head(F.rms_norm(after[number][:, place].float(), (after[number].shape[-1],)))
            loss = (
                loss
                + F.cross_entropy(read[:, :7], facts[:, 0].long())
                + F.cross_entropy(read[:, 7:10], facts[:, 1].long())
            )
            loss = loss + F.binary_cross_entropy_with_logits(read[:, 10:], facts[:, 2:])
        return loss
