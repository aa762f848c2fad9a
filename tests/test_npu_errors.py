"""Errors of the vendor's code become one clear sentence and the exit code that prevents a restart loop."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.making import frame, question
from support.npu import compiled, simulator
from support.npu.simulator import Board, Fault

from edged.core.answer_types import AnswerType, Number, Text, YesNo
from edged.core.errors import EXIT_CONFIG, EXIT_UNAVAILABLE, ModelError, ModelFolderError, ModelLost
from edged.core.pip import pip_install
from edged.core.specs import ModelSpec
from edged.vlm.model import load

GO_ON = threading.Event()


def no_devices(board: Board, _folder: Path) -> None:
    board.devices = frozenset()


def one_other_device(board: Board, _folder: Path) -> None:
    board.devices = frozenset({1})


def fault(call: str, code: str, part: str | None = None, after: int = 0) -> Callable[[Board, Path], None]:
    return lambda board, _folder: board.faults.append(Fault(call, code, part, after))


def no_mxq(_board: Board, folder: Path) -> None:
    (folder / compiled.VISION).write_bytes(b"PK\3\4 something else")


def for_global4(_board: Board, folder: Path) -> None:
    path = folder / compiled.TEXT
    settings = json.loads(path.read_bytes().removeprefix(simulator.MAGIC)) | {"modes": ["global4"]}
    path.write_bytes(simulator.MAGIC + json.dumps(settings).encode())


def other_grid(_board: Board, folder: Path) -> None:
    path = folder / compiled.VISION
    settings = json.loads(path.read_bytes().removeprefix(simulator.MAGIC)) | {"grid": 32}
    path.write_bytes(simulator.MAGIC + json.dumps(settings).encode())


def any_size(_board: Board, folder: Path) -> None:
    for name in (compiled.TEXT, compiled.VISION):
        path = folder / name
        settings = json.loads(path.read_bytes().removeprefix(simulator.MAGIC)) | {"dynamic": True}
        path.write_bytes(simulator.MAGIC + json.dumps(settings).encode())


def in_config(**change: object) -> Callable[[Board, Path], None]:
    def apply(_board: Board, folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return apply


def without(name: str) -> Callable[[Board, Path], None]:
    return lambda _board, folder: (folder / name).unlink()


def other_embeddings(_board: Board, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = {f"other.{key}": value for key, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")


LOADING = [
    (no_devices, EXIT_UNAVAILABLE, "NPU driver does not respond for /dev/aries0.*[Driver_NotInitialized]"),
    (one_other_device, EXIT_UNAVAILABLE, "no NPU /dev/aries0.*[Acc_DeviceNotFound]"),
    (
        fault("launch", "Acc_CoreAlreadyInUse", "text"),
        EXIT_UNAVAILABLE,
        "core 0:0:0 of /dev/aries0 is in use by another",
    ),
    (
        fault("launch", "Driver_FailedToClaimCores"),
        EXIT_UNAVAILABLE,
        "is in use by another.*[Driver_FailedToClaimCores]",
    ),
    (no_mxq, EXIT_CONFIG, f"{compiled.VISION} is not an MXQ file.*[Model_FailedToLoadMXQ]"),
    (for_global4, EXIT_CONFIG, f"{compiled.TEXT} was not compiled for core 0:0:0.*[Model_MXQAndModelConfigNotMatch]"),
    (fault("create", "BadAlloc", "text"), EXIT_UNAVAILABLE, f"not enough memory on /dev/aries0 for .*{compiled.TEXT}"),
    (fault("launch", "Driver_BadAlloc"), EXIT_UNAVAILABLE, f"not enough memory .*{compiled.VISION}.*[BadAlloc]"),
    (fault("launch", "Driver_FailedToAllocateModelMemory", "text"), EXIT_UNAVAILABLE, "not enough memory"),
    (fault("infer", "Acc_NPUTimeout", "vision"), EXIT_UNAVAILABLE, "/dev/aries0 did not respond.*[Acc_NPUTimeout]"),
    (fault("infer", "Driver_WaitDoneTimeout", "text"), EXIT_UNAVAILABLE, "did not respond.*[Driver_WaitDoneTimeout]"),
    (fault("launch", "Driver_WrongBaseAddress", "text"), EXIT_UNAVAILABLE, "cannot be used: Driver_WrongBaseAddress"),
    (fault("create", "Model_InvalidNPUDtype", "text"), EXIT_CONFIG, "cannot be used: Model_InvalidNPUDtype"),
    (other_grid, EXIT_CONFIG, "does not accept the processor's pictures (16x16 patches)"),
    (any_size, EXIT_CONFIG, f"{compiled.VISION} takes pictures of any size: not supported yet"),
    (in_config(core_mode="turbo"), EXIT_CONFIG, "cores of text: core_mode 'turbo' is not one of"),
    (in_config(target_cores=["0:7"]), EXIT_CONFIG, 'cores of text: "0:7" names core 7'),
    (in_config(mxq_path="gone.mxq"), EXIT_CONFIG, "gone.mxq is missing (the text model)"),
    (in_config(mxq_path=None), EXIT_CONFIG, "config.json does not name the text model (mxq_path)"),
    (in_config(hidden_size=128), EXIT_CONFIG, "model: "),
    (without(compiled.VISION), EXIT_CONFIG, f"{compiled.VISION} is missing (the vision model)"),
    (without("model.safetensors"), EXIT_CONFIG, "model.safetensors is missing"),
    (without("preprocessor_config.json"), EXIT_CONFIG, "preprocessor_config.json is missing"),
    (
        without("tokenizer.json"),
        EXIT_CONFIG,
        "tokenizer.json is missing (copy the processor's files into this folder)",
    ),
    (without("chat_template.jinja"), EXIT_CONFIG, "chat_template.jinja is missing"),
    (
        other_embeddings,
        EXIT_CONFIG,
        "do not contain model.language_model.embed_tokens.weight; they belong to another model",
    ),
]


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return compiled.with_processor(compiled.compile_folder(tiny_folder, tmp_path / "m"), tiny_folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "code", "sentence"), LOADING, ids=lambda value: value[:60] if isinstance(value, str) else None
)
def test_a_load_that_fails_gives_the_reason_and_leaves_nothing_launched(folder: Path, change, code: int, sentence: str):
    with simulator.installed() as board:
        change(board, folder)
        with pytest.raises(ModelError) as raised:
            load(ModelSpec(folder))
        assert raised.value.code == code
        assert (raised.value.kind == "npu_in_use") is ("is in use by another" in sentence)
        assert_in_order(str(raised.value), sentence)
        assert board.launched == []
        assert board.launches == board.disposals
        # and once the cause is gone, the next try works in the same process
        if code == EXIT_UNAVAILABLE:
            board.faults.clear()
            board.devices = frozenset({0})
            load(ModelSpec(folder)).dispose()
            assert board.launched == []


def assert_in_order(text: str, parts: str) -> None:
    assert text.startswith("model: ")
    assert "\n" not in text
    assert "occurred" not in text
    at = 0
    for part in parts.split(".*"):
        at = text.find(part, at)
        assert at >= 0, text


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        ("Acc_NPUTimeout", ModelLost, "/dev/aries0 did not respond"),
        ("Driver_WaitDoneTimeout", ModelLost, "/dev/aries0 did not respond"),
        ("Driver_FailedToPostInfer", ModelLost, "cannot be used: Driver_FailedToPostInfer"),
        ("Acc_DeviceNotFound", ModelLost, "there is no NPU /dev/aries0"),
        ("Model_NotAlive", ModelLost, "cannot be used: Model_NotAlive"),
        ("Model_PredictError", ModelError, "cannot be used: Model_PredictError"),
        ("Model_CacheOverflow", ModelError, "do not fit into the KV cache"),
        ("BadAlloc", ModelError, "not enough memory"),
    ],
)
@pytest.mark.parametrize("part", ["vision", "text"])
def test_an_error_during_a_look_says_whether_the_device_is_lost(
    compiled_folder: Path, code: str, kind: type[ModelError], sentence: str, part: str
):
    with simulator.installed() as board:
        model = load(ModelSpec(compiled_folder))
        board.faults.append(Fault("infer", code, part))
        with pytest.raises(ModelError) as raised:
            model.encode(frame(1))
        assert type(raised.value) is kind
        assert raised.value.code == EXIT_UNAVAILABLE
        assert_in_order(str(raised.value), f"{sentence}.*[{code}]")
        model.dispose()
        assert board.launched == []


def test_an_error_names_the_device_of_the_part_that_failed(compiled_folder: Path):
    with simulator.installed(devices=frozenset({0, 1})) as board:
        model = load(ModelSpec(compiled_folder, cores=(("text", "0:0"), ("vision", "1:0:3"))))
        board.faults.append(Fault("infer", "Driver_WaitDoneTimeout", "vision"))
        with pytest.raises(ModelLost, match=r"/dev/aries1 did not respond .* \(core 1:0:3\)"):
            model.encode(frame(1))
        model.dispose()


@pytest.mark.parametrize("after", range(4))
def test_after_an_error_at_any_step_the_next_look_is_right(compiled_folder: Path, after: int):
    with simulator.installed() as board:
        model = load(ModelSpec(compiled_folder))
        model.encode(frame(1))
        right = model.ask([], question("Tell all."), GO_ON).text
        board.faults.append(Fault("infer", "Model_PredictError", "text", after))
        with pytest.raises(ModelError, match="Model_PredictError"):
            model.ask([], question("Count the people. " * 20), GO_ON)
        with pytest.raises(ModelError, match="no frame"):
            model.ask([], question("Tell all."), GO_ON)
        board.faults.clear()
        model.encode(frame(1))
        assert model.ask([], question("Tell all."), GO_ON).text == right
        model.dispose()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("answer", [Text(), YesNo(), Number(True, 0, 40)], ids=lambda answer: answer.kind)
def test_logits_that_are_not_finite_are_an_error_and_the_cache_is_not_trusted(
    compiled_folder: Path, value: float, answer: AnswerType
):
    with simulator.installed() as board:
        model = load(ModelSpec(compiled_folder))
        model.encode(frame(1))
        right = model.ask([], question("Tell all.", answer), GO_ON)
        board.after_text = lambda logits: logits[..., -1:].fill(value)
        with pytest.raises(ModelError, match=r"^model: logits are not finite \(1 of \d+\)") as raised:
            model.ask([], question("Tell all.", answer), GO_ON)
        assert type(raised.value) is ModelError
        board.after_text = lambda logits: None
        with pytest.raises(ModelError, match="no frame"):
            model.ask([], question("Tell all.", answer), GO_ON)
        model.encode(frame(1))
        again = model.ask([], question("Tell all.", answer), GO_ON)
        assert (again.text, again.confidence) == (right.text, right.confidence)
        model.dispose()


PACKAGES = """
import sys
from importlib.abc import MetaPathFinder
from edged.core.errors import ModelFolderError
from edged.vlm.mobilint import import_vendor_classes

class Absent(MetaPathFinder):
    names = ()
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

absent = Absent()
sys.meta_path.insert(0, absent)
for names in (("mblt_model_zoo",), ("mblt_vision",), ("qbruntime",), ()):
    absent.names = ("transformers_mblt", *names)
    try:
        print(import_vendor_classes().model.__module__)
    except ModelFolderError as error:
        print(error.code, error.kind, error)

absent.names = ()
old = "mblt_model_zoo.hf_transformers"
for name in [name for name in sys.modules if name.startswith(old)]:
    sys.modules[name.replace(old, "transformers_mblt")] = sys.modules.pop(name)
absent.names = ("mblt_model_zoo",)
print(import_vendor_classes().model.__name__)
"""


@pytest.mark.slow
def test_the_installed_package_of_the_vendor_is_used_and_a_missing_one_is_named():
    done = subprocess.run([sys.executable, "-c", PACKAGES], capture_output=True, text=True, timeout=180)
    nothing, broken, no_runtime, older, newer = done.stdout.splitlines()
    install = pip_install("mblt-model-zoo>=2.10,<2.11")
    assert nothing.startswith("78 package model: Mobilint's Python package is not installed")
    for line, missing in ((broken, "mblt_vision"), (no_runtime, "qbruntime")):
        assert line.startswith("78 package model: mblt_model_zoo.hf_transformers cannot be imported: No module named")
        assert missing in line
    assert all(install in line for line in (nothing, broken, no_runtime))
    assert older == "mblt_model_zoo.hf_transformers.models.qwen2_vl.modeling_qwen2_vl"
    assert newer == "MobilintQwen2VLForConditionalGeneration"


def test_without_a_simulator_the_real_runtime_says_that_there_is_no_driver(compiled_folder: Path):
    with pytest.raises(ModelError, match=r"the NPU driver does not respond .* \[Driver_NotInitialized\]") as raised:
        load(ModelSpec(compiled_folder))
    assert not isinstance(raised.value, ModelFolderError)
