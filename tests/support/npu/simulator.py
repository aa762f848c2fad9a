"""A simulated Aries 2 for tests, in place of the C classes `Model` and `Accelerator` of Mobilint's qbruntime.

Everything above them is the vendor's own code. Simulated are the MXQ file (`compiled.py` writes it), the core modes it
was compiled for, one KV cache per model on the device, built-in positions, delays, and errors by their code. It says
nothing about the behaviour of the real hardware.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import qbruntime.qbruntime as c

MAGIC = b"simulated MXQ\n"
PATCH, MERGE = 14, 2
ROPE_WIDTH = 128  # of heads up to 64 wide


@dataclass
class Fault:
    """An error in this call (open, create, launch or infer) of this part, after so many calls that succeed."""

    call: str
    code: str
    part: str | None = None
    after: int = 0


@dataclass
class Board:
    """The devices, the faults to raise, the delays, and a record of the calls."""

    devices: frozenset[int] = frozenset({0})
    faults: list[Fault] = field(default_factory=list)
    vision_s: float = 0.0
    call_s: float = 0.0
    token_s: float = 0.0
    prints: bool = False
    after_text: Callable[[np.ndarray], None] = lambda logits: None  # called before a text call returns
    calls: list[tuple[Any, ...]] = field(default_factory=list)  # ("vision",) or ("text", cache size, tokens)
    launched: list[Model] = field(default_factory=list)
    opened: int = 0
    launches: int = 0
    disposals: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_or_fail(self, call: str, part: str | None = None) -> None:
        with self.lock:
            for fault in self.faults:
                if fault.call == call and fault.part in (None, part):
                    if fault.after == 0:
                        raise _error(fault.code)
                    fault.after -= 1

    def note(self, event: str, model: Model) -> None:
        with self.lock:
            if event == "launch":
                self.launches += 1
                self.launched.append(model)
            elif model in self.launched:
                self.disposals += 1
                self.launched.remove(model)
            if self.prints:
                print(f"simulated NPU: {event} {model.part} {len(self.launched)} left", flush=True)

    @property
    def text_calls(self) -> list[tuple[int, int]]:
        """Cache size and number of tokens of each call of a text part."""
        return [call[1:] for call in self.calls if call[0] == "text"]

    @property
    def vision_calls(self) -> int:
        return sum(1 for call in self.calls if call[0] == "vision")


class Accelerator:
    board: Board

    def __init__(self, device_name: str = "auto", dev_no: int = 0) -> None:
        self.board.opened += 1
        self.board.pass_or_fail("open")
        if dev_no not in self.board.devices:
            raise _error("Acc_DeviceNotFound" if self.board.devices else "Driver_NotInitialized")
        self.device = dev_no

    def get_device_name(self) -> str:
        return "aries-rb"


class Model:
    """One part on the device. It computes with the weights of the plain model it was "compiled" from."""

    board: Board

    def __init__(self, path: str, config: Any = None) -> None:
        content = Path(path).read_bytes() if Path(path).is_file() else b""
        if not content.startswith(MAGIC):
            raise _error("Model_FailedToLoadMXQ")
        self.path, self.settings = path, json.loads(content.removeprefix(MAGIC))
        self.part: str = self.settings["part"]
        self.board.pass_or_fail("create", self.part)
        self.mode = str(config.get_core_mode()).rpartition(".")[2].lower()
        self.cores = [str(core) for core in (*config.core_ids, *config.clusters)]
        # Auto is allowed only if the MXQ has a single mode
        if self.mode not in self.settings["modes"] and (self.mode != "auto" or len(self.settings["modes"]) > 1):
            raise _error("Model_MXQAndModelConfigNotMatch")
        self.accelerator: Accelerator | None = None
        self._cache: Any = None

    # called by the vendor's wrappers

    def launch(self, accelerator: Accelerator) -> None:
        self.board.pass_or_fail("launch", self.part)
        self.accelerator = accelerator
        self.board.note("launch", self)

    def dispose(self) -> None:
        self.accelerator = None
        self.board.note("dispose", self)

    def get_num_model_variants(self) -> int:
        return 1

    def get_model_variant_handle(self, _number: int) -> Model:
        return self

    def get_variant_idx(self) -> int:
        return 0

    def get_model_input_shape(self) -> list[tuple[int, int, int]]:
        dynamic = self.settings.get("dynamic", False)  # a second input for the positions: pictures of any size
        if self.part == "text":
            text = (1, -1, self.settings["hidden"])
            return [text, text] if dynamic else [text]
        if dynamic:
            return [(-1, 1, 2 * 3 * PATCH * PATCH), (-1, 1, ROPE_WIDTH)]
        side = self.settings["grid"] // MERGE
        return [(side * side * PATCH, MERGE * MERGE * PATCH, 6)]

    def get_model_output_shape(self) -> list[tuple[int, int, int]]:
        if self.part == "text":
            return [(1, 1, self.settings["vocabulary"])]
        return [(1, (self.settings["grid"] // MERGE) ** 2, self.settings["hidden"])]

    def get_input_buffer_info(self) -> list[Any]:
        info = c.BufferInfo()
        info.max_cache_size = self.settings["max_cache"]
        return [info]

    get_output_buffer_info = get_input_buffer_info

    def get_cache_infos(self) -> list[Any]:
        return []

    def infer(self, inputs: list[np.ndarray], cache_size: int = 0, *_: Any) -> list[np.ndarray]:
        import torch

        if self.accelerator is None:
            raise _error("Model_NotLaunched")
        self.board.pass_or_fail("infer", self.part)
        with torch.inference_mode(False), torch.no_grad():
            data = torch.from_numpy(inputs[0])
            return [self._encode(data) if self.part == "vision" else self._run(data, int(cache_size))]

    infer_chw = infer

    # what the device computes

    def _encode(self, data: Any) -> np.ndarray:
        import torch

        self.board.calls.append(("vision",))
        time.sleep(self.board.vision_s)
        grid = self.settings["grid"]
        half = grid // MERGE
        patches = data.view(1, half, half, PATCH, MERGE, MERGE, PATCH, 2, 3).permute(0, 1, 2, 4, 5, 8, 7, 3, 6)
        encode = plain(self.settings["plain"]).model.visual
        output = encode(patches.reshape(grid * grid, -1), grid_thw=torch.tensor([[1, grid, grid]]))
        tokens = getattr(output, "pooler_output", None)
        encoded: np.ndarray = (output if tokens is None else tokens)[None].numpy()
        return encoded

    def _run(self, data: Any, cached: int) -> np.ndarray:
        from transformers import DynamicCache

        embeddings = data.reshape(1, -1, data.shape[-1])
        count = embeddings.shape[1]
        self.board.calls.append(("text", cached, count))
        if cached + count > self.settings["max_cache"]:
            raise _error("Model_CacheOverflow")
        time.sleep(self.board.call_s + self.board.token_s * count)
        if cached == 0 or self._cache is None:
            self._cache = DynamicCache()
        else:
            self._cache.crop(cached)
        model = plain(self.settings["plain"])
        output = model.model.language_model(
            inputs_embeds=embeddings,
            position_ids=self._positions(cached, count),
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: np.ndarray = model.lm_head(output.last_hidden_state[:, -1:])[None].numpy()
        self.board.after_text(logits)
        return logits

    def _positions(self, begin: int, count: int) -> Any:
        """Those of a sample prompt: the picture is always at the same place, as in the compiled model."""
        import torch

        side = self.settings["grid"] // MERGE
        first, tokens = self.settings["picture_at"], side * side
        index = torch.arange(begin, begin + count)
        inside = (index >= first) & (index < first + tokens)
        after = index >= first + tokens
        linear = torch.where(after, index - tokens + side, index)
        rows = torch.where(inside, first + (index - first) // side, linear)
        columns = torch.where(inside, first + (index - first) % side, linear)
        return torch.stack([torch.where(inside, first, linear), rows, columns])[:, None]


@functools.cache
def plain(folder: str) -> Any:
    """The uncompiled model, shared by all parts that were made from it: it keeps no state."""
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    return Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def install(board: Board) -> None:
    """Make this the board of this process."""
    Model.board = Accelerator.board = board
    c.Model, c.Accelerator = Model, Accelerator


@contextmanager
def installed(**settings: Any) -> Iterator[Board]:
    before = c.Model, c.Accelerator
    board = Board(**settings)
    install(board)
    try:
        yield board
    finally:
        c.Model, c.Accelerator = before


def from_text(text: str) -> Board:
    """A board from the JSON in an environment variable."""
    options = json.loads(text)
    faults = [Fault(**fault) for fault in options.pop("faults", [])]
    return Board(devices=frozenset(options.pop("devices", [0])), faults=faults, **options)


def _error(code: str) -> Exception:
    error: Exception = c.QbRuntimeError(f"{code} occurred.\nPlease visit https://docs.mobilint.com/ for more details.")
    return error
