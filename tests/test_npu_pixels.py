"""After a look nothing keeps its picture in memory: neither the model nor an error that is still referenced."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support.making import frame, question
from support.npu import simulator
from support.npu.simulator import Fault
from torch.nn.modules.module import register_module_forward_pre_hook

from edged.core.errors import ModelError
from edged.core.specs import ModelSpec
from edged.core.types import Frame
from edged.vlm.model import load
from edged.vlm.qwen2vl import Qwen2VL

GO_ON = threading.Event()
PIXELS = 224 * 224 * 3


class Plain:
    """An uncompiled model, and how to make it fail."""

    def __init__(self, folder: Path) -> None:
        self.model = load(ModelSpec(folder))
        self.modules: dict[str, torch.nn.Module] = {}
        hook = register_module_forward_pre_hook(lambda module, _: self.modules.update({type(module).__name__: module}))
        self.model.encode(frame(1, 224, 224))
        hook.remove()

    def fail(self, part: str, error: Exception) -> None:
        def raise_error(*_: Any) -> None:
            raise error

        name = "Qwen2VisionTransformerPretrainedModel" if part == "vision" else "Qwen2VLTextModel"
        self.modules[name].register_forward_hook(raise_error)


class Compiled:
    """A compiled model on the simulated NPU, and how to make it fail."""

    def __init__(self, folder: Path, board: simulator.Board) -> None:
        self.board = board
        self.model = load(ModelSpec(folder))

    def fail(self, part: str, error: Exception) -> None:
        if isinstance(error, RuntimeError):
            self.board.faults.append(Fault("infer", "Driver_WaitDoneTimeout", part))
        else:
            self.board.after_text = Raising(error)


class Raising:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, *_: Any) -> None:
        raise self.error


@pytest.fixture(params=["plain", "compiled"])
def loaded(request: pytest.FixtureRequest, tiny_folder: Path, compiled_folder: Path) -> Iterator[Plain | Compiled]:
    with simulator.installed() as board:
        part = Plain(tiny_folder) if request.param == "plain" else Compiled(compiled_folder, board)
        part.model.encode(frame(1, 224, 224))  # the first look creates what stays in memory
        gc.collect()
        gc.freeze()  # hides other tests' pictures from `copies`
        gc.disable()
        try:
            yield part
        finally:
            gc.enable()
            gc.unfreeze()
        part.model.dispose()


def seen(model: Qwen2VL) -> tuple[weakref.ref, BaseException | None]:
    """One look; its picture, if it is still there, and the error that `encode` raised."""
    look = [frame(2, 224, 224)]
    picture = weakref.ref(look[0].rgb)
    return picture, caught(model, look)


def caught(model: Qwen2VL, look: list[Frame]) -> BaseException | None:
    try:
        model.encode(look.pop())  # this function's frame is part of the traceback too
    except Exception as error:
        return error
    return None


def copies() -> list[Any]:
    """Pictures, and tensors made of the pixels of one, that have been created since the fixture."""
    objects = [(item, type(item)) for item in gc.get_objects()]  # isinstance would touch torch's deprecated proxies
    pictures = [item for item, kind in objects if issubclass(kind, Image.Image)]
    tensors = [item for item, kind in objects if kind is torch.Tensor and item.numel() == 2 * PIXELS]
    return [*pictures, *tensors]


def test_a_look_that_went_well_keeps_no_pixels(loaded: Plain | Compiled):
    picture, error = seen(loaded.model)
    assert error is None
    loaded.model.ask([], question("Tell all."), GO_ON)
    assert picture() is None
    assert copies() == []


@pytest.mark.slow
@pytest.mark.parametrize("part", ["vision", "text"])
def test_a_model_error_of_encode_keeps_no_pixels(loaded: Plain | Compiled, part: str):
    loaded.fail(part, RuntimeError("the device is gone"))
    picture, error = seen(loaded.model)
    assert isinstance(error, ModelError)
    assert picture() is None
    assert copies() == []


@pytest.mark.slow
def test_an_unexpected_error_of_encode_keeps_its_lines_and_no_pixels(loaded: Plain | Compiled):
    loaded.fail("text", TypeError("an unexpected error"))
    picture, error = seen(loaded.model)
    assert isinstance(error, TypeError)
    assert picture() is None
    assert copies() == []
    lines = []
    trace = error.__traceback__
    while trace:
        lines.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert lines[:3] == ["caught", "encode", "_encode"]
    assert len(lines) > 5


@pytest.mark.slow
def test_an_exception_that_the_caller_is_handling_keeps_its_traceback(loaded: Plain | Compiled):
    loaded.fail("text", RuntimeError("the device is gone"))
    own = KeyError("the caller's own")
    try:
        raise own
    except KeyError:
        _, error = seen(loaded.model)
    assert isinstance(error, ModelError)
    assert own.__traceback__ is not None


@pytest.mark.slow
def test_a_model_error_of_ask_keeps_no_pixels(loaded: Plain | Compiled):
    picture, _ = seen(loaded.model)
    loaded.fail("text", RuntimeError("the device is gone"))
    with pytest.raises(ModelError) as raised:
        loaded.model.ask([], question("Tell all."), GO_ON)
    assert raised.value.__cause__ is not None
    assert picture() is None
    assert copies() == []
