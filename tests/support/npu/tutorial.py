"""The script of the vendor's runtime tutorial, except for the lines that no released version can run.

The tutorial imports from `mblt_model_zoo.transformers`, which was removed; its AutoProcessor needs torchvision; and the
model no longer has a `dispose()` of its own. The rest is as in the tutorial, with a local picture.

Usage: tutorial.py MODEL-FOLDER PROCESSOR-FOLDER PICTURE QUESTION MAX-LENGTH
"""

import sys
from typing import Any

import mblt_model_zoo.hf_transformers.models.qwen2_vl.modeling_qwen2_vl  # noqa: F401  # registers the compiled model
import torch
from mblt_model_zoo.hf_transformers.models.qwen2_vl.processing_qwen2_vl import MobilintQwen2VLProcessor
from transformers import AutoModelForImageTextToText, TextStreamer, pipeline

from edged.vlm.processor import NoVideo

torch.set_num_threads(1)
model_folder, model_id, image, question, max_length = sys.argv[1:]

model = AutoModelForImageTextToText.from_pretrained(model_folder)

processor_class: Any = type("Processor", (NoVideo, MobilintQwen2VLProcessor), {})
processor = processor_class.from_pretrained(model_id)

pipe = pipeline(
    "image-text-to-text",
    model=model,
    processor=processor,
)

pipe.generation_config.max_new_tokens = None

messages = [
    {
        "role": "user",
        "content": [
            {"type": "image", "image": image},
            {"type": "text", "text": question},
        ],
    }
]

pipe(
    text=messages,
    generate_kwargs={
        "max_length": int(max_length),
        "streamer": TextStreamer(tokenizer=pipe.tokenizer, skip_prompt=False),
        "repetition_penalty": 1.1,
    },
)

pipe.model.model.visual.dispose()
pipe.model.model.language_model.dispose()
