"""What a loaded model consists of, compiled or not, and what loading has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import Qwen2VLProcessor

from edged.core.errors import ModelError, ModelFolderError


@dataclass(frozen=True, slots=True)
class ModelParts:
    """A model on its device. `cache` is a model.Cache; `dispose` gives back what the device holds."""

    model: Any
    processor: Any
    cache: Any
    dispose: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Unloaded:
    """A model's folder that is in order as far as can be known without its weights and its device.

    `load` reads the weights and starts the device.
    """

    processor: Any
    load: Callable[[], ModelParts]


class NoVideo:
    """Takes the video part out of a Qwen2-VL processor class, because it would need torchvision."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **rest: Any
    ) -> None:
        rest.pop("video_processor", None)
        super().__init__(  # type: ignore[call-arg]  # of the class beside this one
            image_processor=image_processor,
            tokenizer=tokenizer,
            video_processor=None,
            chat_template=chat_template,
            **rest,
        )

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name == "video_processor":
            return type(None)
        return super().check_argument_for_proper_class(argument_name, argument)  # type: ignore[misc]  # of the class beside


class NoVideoProcessor(NoVideo, Qwen2VLProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Qwen2-VL's processor without its video part."""


def load_processor(kind: Any, path: Path) -> Any:
    """A processor of this class from the folder's files. Raises ModelFolderError."""
    with loading(f"the processor in {path}"):
        processor = kind.from_pretrained(path, local_files_only=True)
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    if not processor.chat_template:
        raise ModelFolderError(f"model: {path} lacks chat_template.jinja")
    return processor


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Whatever the libraries raise while they read the folder's files, as a ModelFolderError: its owner has to act.

    They check little themselves: a file that holds a list where they expect a mapping is a TypeError.
    """
    try:
        yield
    except MemoryError as error:
        raise ModelError(f"model: not enough memory for {what}") from error
    except Exception as error:
        reason = f"{first_line(error)} [{type(error).__name__}]"
        raise ModelFolderError(f"model: {what} cannot be loaded: {reason}") from error


def check_loaded(path: Path, info: dict[str, Any]) -> None:
    """Weights that were not in the file are random, and transformers only warns of them. Raises ModelFolderError."""
    missing = sorted(str(key) for key in [*info["missing_keys"], *info.get("mismatched_keys", [])])
    if missing:
        raise missing_weights(path, missing)


def missing_weights(path: Path, names: list[str]) -> ModelFolderError:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return ModelFolderError(f"model: the weights in {path} lack {names[0]}{more}; they belong to another model")


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
