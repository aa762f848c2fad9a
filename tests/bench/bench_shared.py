"""Eight questions about one frame: one encoded frame against eight separate calls the tutorial's way.

Both in this process, one thread, CPU time, the same answers token for token. A model of about 50 million random
weights: in a tiny one the fixed costs hide the difference. Exits 1 where a ratio is above its target.

Usage: python tests/bench/bench_shared.py
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
import conftest  # noqa: F401  # sets the environment

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from PIL import Image
from support import tiny_model
from support.making import frame, question
from support.npu import compiled, simulator
from support.results.figures import Figure
from support.results.record import Recording
from test_model import PROMPTS

from edged.core.npu_cores import parsed
from edged.core.specs import ModelSpec
from edged.vlm.mobilint import EMBEDDING_KEY, import_vendor_classes
from edged.vlm.model import load
from edged.vlm.processor import NoVideo, NoVideoProcessor
from edged.vlm.qwen2vl import Qwen2VL

NEW_TOKENS = 4
ROUNDS = 3
SIDES = {64: 224, 256: 448}
TARGETS = {("simulated NPU", 64): 0.40, ("plain transformers", 64): 0.40, ("plain transformers", 256): 0.22}


def main() -> list[Figure]:
    torch.set_num_threads(1)
    figures = []
    with tempfile.TemporaryDirectory() as place:
        for (where, tokens), target in TARGETS.items():
            ratio, weights, questions = measured(Path(place), where, tokens)
            what, name = f"CPU of {questions} questions, {where}, {tokens} image tokens", f"{where.split()[0]}-{tokens}"
            apart = f"{questions} separate calls"
            figures.append(Figure(name, what, ratio, at_most=target, against=apart))
            print(
                f"ratio {ratio:.3f} (at most {target:.2f}): {questions} questions shared to {questions} separate, "
                f"{where}, {tokens} image tokens, {weights / 1e6:.0f} million weights, {NEW_TOKENS} new tokens, "
                f"transformers {version()}"
            )
    return figures


def measured(place: Path, where: str, tokens: int) -> tuple[float, int, int]:
    """The ratio of CPU times, the number of weights, and of questions."""
    folder = place / f"plain-{tokens}"
    if not folder.exists():
        pixels = SIDES[tokens] ** 2
        encoder = {"depth": 8, "embed_dim": 512, "num_heads": 8, "mlp_ratio": 4}
        tiny_model.build(folder, hidden=512, layers=10, pixels=(pixels, pixels), encoder=encoder)
    weights = (folder / "model.safetensors").stat().st_size // 4
    if where != "simulated NPU":
        return compared(load(ModelSpec(folder)), plainly(folder), tokens), weights, len(PROMPTS)
    made = compiled.with_processor(compiled.compile_folder(folder, place / "compiled"), folder)
    with simulator.installed():
        model, separate = load(ModelSpec(made, cores=CORES[0])), the_tutorials_way(made)
        ratio = compared(model, separate, tokens)
        model.dispose()
    return ratio, weights, len(PROMPTS)


CORES = ((("text", "0:0"), ("vision", "0:1")), (("text", "1:0"), ("vision", "1:1")))
Separate = Callable[[Image.Image, str], str]


def compared(model: Qwen2VL, separate: Separate, tokens: int) -> float:
    """Shared CPU time over separate CPU time, the best of some rounds each. Asserts that the answers are the same."""
    shared_s, separate_s = [], []
    for seed in range(ROUNDS + 1):
        seen = frame(seed, SIDES[tokens], SIDES[tokens])
        begun = time.process_time()
        model.encode(seen)
        together = [
            model.ask([], question(prompt, max_new_tokens=NEW_TOKENS), threading.Event()).text for prompt in PROMPTS
        ]
        shared_s.append(time.process_time() - begun)
        picture = Image.fromarray(seen.rgb)
        begun = time.process_time()
        apart = [separate(picture, prompt) for prompt in PROMPTS]
        separate_s.append(time.process_time() - begun)
        assert together == apart, (together, apart)
        assert len(set(apart)) > 1
    return min(shared_s[1:]) / min(separate_s[1:])  # the first round warms up


def plainly(folder: Path) -> Separate:
    from transformers import Qwen2VLForConditionalGeneration

    model = Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    return whole_calls(model, NoVideoProcessor.from_pretrained(folder))


def the_tutorials_way(folder: Path) -> Separate:
    vendor = import_vendor_classes()
    settings: dict[str, Any] = {}
    for part, word in CORES[1]:
        own = parsed(word).settings()
        settings |= {f"{part}_{key}": value for key, value in own.items()}
    model = vendor.model.from_pretrained(
        folder, key_mapping=EMBEDDING_KEY, dtype=torch.float32, local_files_only=True, **settings
    )
    processor_class: Any = type("Processor", (NoVideo, vendor.processor), {})
    return whole_calls(model, processor_class.from_pretrained(folder))


def whole_calls(model: Any, processor: Any) -> Separate:
    def ask(picture: Image.Image, prompt: str) -> str:
        messages = [
            {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]}
        ]
        inputs = processor.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        model.model.rope_deltas = None
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        return str(processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    return ask


def version() -> str:
    import transformers

    return str(transformers.__version__)


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main()))
