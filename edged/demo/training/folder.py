"""The trained network as a folder that transformers loads as a Qwen2-VL. A tool, not part of the daemon.

The files are written by hand in the older form of Qwen2-VL's own, which versions 4.54 to 5.17 of transformers all
read.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from edged.demo.training.chat import SPECIALS
from edged.demo.training.network import MEAN, STD, LanguageModel, Shape, Tower

PIXELS = 224 * 224
CHAT = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|"
    "im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part or 'image_url' in part %}<|vision_start|><|image_pad|"
    "><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def weights(tower: Tower, text: LanguageModel) -> dict[str, Tensor]:
    """In bfloat16, by the names that a Qwen2-VL folder has. A still picture is two equal frames to it, so that each
    has half of the patch embedding; the head is the embedding, and not stored twice.
    """
    named = {f"visual.{name}": value for name, value in tower.state_dict().items() if name != "patch.weight"}
    half = tower.patch.weight.detach().view(-1, 3, 1, 14, 14) / 2
    named["visual.patch_embed.proj.weight"] = half.repeat(1, 1, 2, 1, 1)
    named |= {f"model.{name}": value for name, value in text.state_dict().items()}
    return {name: value.to(torch.bfloat16).contiguous() for name, value in named.items()}


def config(shape: Shape, ids: dict[str, int], vocabulary: int) -> dict[str, Any]:
    vision = {
        "model_type": "qwen2_vl",
        "depth": shape.vision_depth,
        "embed_dim": shape.vision_width,
        "num_heads": shape.vision_heads,
        "mlp_ratio": shape.vision_ratio,
        "hidden_size": shape.width,
        "hidden_act": "quick_gelu",
        "in_channels": 3,
        "in_chans": 3,
        "patch_size": 14,
        "spatial_patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    text = {
        "vocab_size": vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.inner,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "rope_theta": shape.rope_theta,
        "rope_scaling": {"type": "mrope", "rope_type": "default", "mrope_section": list(shape.mrope)},
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    return {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"],
        "text_config": {"model_type": "qwen2_vl_text", **text},
        **text,
        "vision_config": vision,
    }


def save_folder(tower: Tower, text: LanguageModel, tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    ids = {special: vocabulary[special] for special in SPECIALS}
    save_file(weights(tower, text), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors leaves it to its writer alone
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "chat_template.jinja").write_text(CHAT, encoding="utf-8")
    files: dict[str, Any] = {
        "config.json": config(text.shape, ids, tokenizer.get_vocab_size()),
        "generation_config.json": {
            "do_sample": False,
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
            "pad_token_id": ids["<|endoftext|>"],
            "max_new_tokens": 64,
        },
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
            "min_pixels": PIXELS,
            "max_pixels": PIXELS,
            "size": {"shortest_edge": PIXELS, "longest_edge": PIXELS},
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": list(MEAN),
            "image_std": list(STD),
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "additional_special_tokens": list(SPECIALS[1:]),
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "bos_token": None,
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 2048,
            "chat_template": CHAT,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
