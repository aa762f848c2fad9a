"""The output of the vendor's compile tutorial, made from a plain model's folder for the simulated NPU.

Four files: two MXQ, a config.json in the old flat format that names cores but no core mode, and a model.safetensors
with the embeddings only, under the key of older transformers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.npu.simulator import MAGIC

from edged.core.npu_cores import MODES

MAX_CACHE = 2048  # tokens
TEXT, VISION = "Tiny-VL_text_model.mxq", "Tiny-VL_vision_transformer.mxq"
PROCESSOR = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "preprocessor_config.json",
    "generation_config.json",
)  # fmt: skip


def compile_folder(
    plain: Path, out: Path, modes: tuple[str, ...] = MODES, max_cache: int = MAX_CACHE, grid: int = 16
) -> Path:
    """Write the four files. `grid` is the number of patches along a side of the picture."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    out.mkdir(parents=True)
    config = json.loads((plain / "config.json").read_text())
    text, vision = dict(config["text_config"]), dict(config["vision_config"])
    # newer versions of transformers write the first form; the demo's folder has the second
    rope = text.pop("rope_parameters", None) or {**text["rope_scaling"], "rope_theta": text["rope_theta"]}
    weights: dict[str, Any] = {}
    for shard in plain.glob("*.safetensors"):
        weights |= load_file(shard)
    embeddings = next(value for key, value in weights.items() if key.endswith("embed_tokens.weight"))
    save_file({"model.embed_tokens.weight": embeddings.clone()}, out / "model.safetensors")

    before_picture = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
    common: dict[str, Any] = {
        "plain": str(plain.resolve()), "modes": list(modes), "max_cache": max_cache, "grid": grid,
        "hidden": text["hidden_size"], "vocabulary": text["vocab_size"],
        "picture_at": len(AutoTokenizer.from_pretrained(plain)(before_picture)["input_ids"]),
    }  # fmt: skip
    for part, name in (("text", TEXT), ("vision", VISION)):
        (out / name).write_bytes(MAGIC + json.dumps({"part": part, **common}).encode())

    for key in ("model_type", "dtype", "layer_types"):
        text.pop(key, None)
        vision.pop(key, None)
    special = {key: value for key, value in config.items() if key.endswith("_token_id")}
    flat_config = {
        **text,
        **special,
        "architectures": ["MobilintQwen2VLForConditionalGeneration"],
        "model_type": "mobilint-qwen2_vl",
        "_name_or_path": "mobilint/Tiny-VL",
        "mxq_path": TEXT,
        "target_cores": ["0:0"],
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2",
        "vision_config": {**vision, "mxq_path": VISION, "target_cores": ["0:0"]},
    }
    (out / "config.json").write_text(json.dumps(flat_config, indent=2))
    return out


def with_processor(compiled: Path, plain: Path) -> Path:
    """Copy the processor's files into the compiled folder."""
    for name in PROCESSOR:
        (compiled / name).write_bytes((plain / name).read_bytes())
    return compiled
