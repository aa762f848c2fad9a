"""Builds a tiny Qwen2-VL folder with random weights, complete in every file."""

from __future__ import annotations

import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>",
    "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
CHAT = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MERGES = ["Y e", "Ye s", "N o", "p e", "o p", "pe op", "l e", "peop le", '{ "', '" :', "r e", "Ġ re", "1 2"]


def tokenizer(merges: list[str] | None = None):
    """Byte-level BPE with a few merges, so that some words are a single token and others are not."""
    from transformers import Qwen2TokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(first, second) for first, second in map(str.split, MERGES if merges is None else merges)]
    vocabulary = [*alphabet, *(first + second for first, second in pairs)]
    bare = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=pairs))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bare.decoder = decoders.ByteLevel()
    fast = Qwen2TokenizerFast(
        tokenizer_object=bare, bos_token=None, unk_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL,
    )  # fmt: skip
    fast.chat_template = CHAT
    return fast


def build(
    folder: Path,
    hidden: int = 64,
    layers: int = 2,
    seed: int = 0,
    pixels: tuple[int, int] = (3136, 200704),
    encoder: dict[str, int] | None = None,
) -> Path:
    """Write the folder. `pixels` are the least and most pixels of a picture; if equal, the size is fixed.

    `encoder` overrides settings of the vision part.
    """
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor

    tokens = tokenizer()
    number = tokens.convert_tokens_to_ids
    half = hidden // 4 // 2
    sections = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
    text = {
        "vocab_size": len(tokens) + 8,  # models have more rows than their tokenizer has tokens
        "hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096, "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "rope_type": "default", "mrope_section": sections},
        "tie_word_embeddings": False, "use_sliding_window": False,
        "bos_token_id": number("<|endoftext|>"), "eos_token_id": number("<|im_end|>"),
    }  # fmt: skip
    vision = {
        "depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": hidden, "mlp_ratio": 2,
        "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3, **(encoder or {}),
    }  # fmt: skip
    special = {
        f"{name}_token_id": number(f"<|{name if 'vision' in name else name + '_pad'}|>")
        for name in ("image", "video", "vision_start", "vision_end")
    }
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **special)
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(config).eval()
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2:
                scale = 1.0 if "embed_tokens" in name else 0.25 * (64 / hidden) ** 0.5
                weight.copy_(torch.randn(weight.shape, generator=chance) * scale)
    model.generation_config.eos_token_id = [number("<|im_end|>"), number("<|endoftext|>")]
    model.generation_config.pad_token_id = number("<|endoftext|>")
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    least, most = pixels
    Qwen2VLImageProcessor(min_pixels=least, max_pixels=most).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    build(Path(sys.argv[1]))
