"""Qwen2-VL's processor, which turns pictures and text into the model's inputs, without its video part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Qwen2VLProcessor

from edged.core.errors import ModelFolderError
from edged.vlm.load_errors import loading


class NoVideo:
    """Mixin that removes the video part from a Qwen2-VL processor class, because it needs torchvision."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **options: Any
    ) -> None:
        options.pop("video_processor", None)
        super().__init__(  # type: ignore[call-arg]  # of the processor class that this is mixed into
            image_processor=image_processor,
            tokenizer=tokenizer,
            video_processor=None,
            chat_template=chat_template,
            **options,
        )

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name == "video_processor":
            return type(None)
        return super().check_argument_for_proper_class(argument_name, argument)  # type: ignore[misc]  # the same


class NoVideoProcessor(NoVideo, Qwen2VLProcessor):  # type: ignore[misc]  # mypy does not follow transformers
    """Qwen2-VL's processor without its video part."""


def load_processor(processor_class: Any, path: Path) -> Any:
    """A processor of this class from the files in a folder. Raises ModelFolderError."""
    with loading(f"the processor in {path}"):
        processor = processor_class.from_pretrained(path, local_files_only=True)
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    if not processor.chat_template:
        raise ModelFolderError(f"model: {path}: chat_template.jinja is missing")
    return processor
