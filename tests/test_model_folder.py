"""What is checked of a model's folder without its weights and its device, and which models can be loaded at once."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.account import unprivileged
from support.making import frame, question
from support.npu import compiled, simulator

from edged.core.answer_types import Choices, Number, YesNo
from edged.core.errors import ModelError, ModelFolderError
from edged.core.specs import ModelSpec, QuestionSpec
from edged.vlm.folder import read_config, read_json
from edged.vlm.model import check_folder, fit_together, load

Change = Callable[[Path], object]
TYPED = [question("Is it open?", YesNo()), question("How many?", Number(True, 0, 40))]
GO_ON = threading.Event()
KIB = 1024


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def junk(name: str) -> Change:
    return lambda folder: (folder / name).write_bytes(b"junk")


def holding(name: str, text: str) -> Change:
    return lambda folder: (folder / name).write_text(text)


def fifo(name: str) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return apply


def cut_off(folder: Path) -> None:
    """As after an interrupted copy."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def edit(name: str, **change: object) -> Change:
    def apply(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return apply


def edit_text(**change: object) -> Change:
    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        edit("config.json", text_config=config["text_config"] | change)(folder)

    return apply


def edit_vision(**change: object) -> Change:
    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        edit("config.json", vision_config=config["vision_config"] | change)(folder)

    return apply


def template(old: str, new: str) -> Change:
    def apply(folder: Path) -> None:
        path = folder / "chat_template.jinja"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return apply


def renamed_weights(folder: Path) -> None:
    weights = {f"other.{key}": value for key, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")


def in_shards(folder: Path) -> None:
    """The weights in two files and an index, as large models have them."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"first.safetensors": names[::2], "second.safetensors": names[1::2]}
    for shard, keys in shards.items():
        save_file({key: weights[key] for key in keys}, folder / shard)
    index = {key: shard for shard, keys in shards.items() for key in keys}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def in_shards_and(change: Change) -> Change:
    def apply(folder: Path) -> None:
        in_shards(folder)
        change(folder)

    return apply


def manifest(folder: Path) -> None:
    sizes = {"model.safetensors": {"bytes": 7, "sha256": ""}}
    (folder / "manifest.json").write_text(json.dumps({"files": sizes}))


def manifest_without_digest(folder: Path) -> None:
    sizes = {"model.safetensors": {"bytes": (folder / "model.safetensors").stat().st_size}}
    (folder / "manifest.json").write_text(json.dumps({"files": sizes}))


BOTH: list[tuple[Change, str]] = [
    (shutil.rmtree, "there is no folder"),
    (without("config.json"), "config.json is missing"),
    (junk("config.json"), "config.json is not valid JSON"),
    (edit("config.json", model_type="llama"), 'is not a Qwen2-VL: config.json has model_type "llama"'),
    (without("model.safetensors"), "model.safetensors is missing"),
    (junk("model.safetensors"), "model.safetensors cannot be loaded"),
    (cut_off, "model.safetensors cannot be loaded"),
    (renamed_weights, "do not contain model.language_model.embed_tokens.weight.*they belong to another model"),
    (manifest, "model.safetensors does not have the size recorded in manifest.json; run edged prepare again"),
    (manifest_without_digest, "manifest.json was not written by edged prepare; run it again"),
    (holding("config.json", "[" * 100_000), "config.json is not valid JSON: nested too deeply"),
    (fifo("config.json"), "config.json is not a regular file"),
    (holding("config.json", "[]"), "config.json is not a JSON object"),
    (holding("preprocessor_config.json", "[]"), "preprocessor_config.json is not a JSON object"),
    (holding("tokenizer_config.json", "1"), "tokenizer_config.json is not a JSON object"),
    (holding("generation_config.json", "null"), "generation_config.json is not a JSON object"),
    (holding("generation_config.json", "{"), "generation_config.json is not valid JSON"),
    (holding("tokenizer.json", "[]"), "the processor in .* cannot be loaded"),
    (holding("tokenizer.json", "null"), "the processor in .* cannot be loaded"),
    (holding("tokenizer.json", "[" * 100_000), "the processor in .* cannot be loaded"),
    (edit("config.json", architectures="x"), "the processor in .* cannot be loaded"),
    (without("tokenizer.json"), "tokenizer.json is missing"),
    (junk("tokenizer.json"), "the processor in .* cannot be loaded"),
    (without("preprocessor_config.json"), "preprocessor_config.json is missing"),
    (junk("preprocessor_config.json"), "preprocessor_config.json is not valid JSON"),
    (without("chat_template.jinja"), "chat_template.jinja is missing"),
    (template("{% if loop", "{% iff loop"), "the chat template cannot be rendered"),
    (template("<|vision_end|>", ""), "the chat template inserts no picture"),
]
PLAIN: list[tuple[Change, str]] = [
    *BOTH,
    (
        edit_text(num_hidden_layers=3, layer_types=["full_attention"] * 3),
        r"do not contain layers\.2\.mlp.* another model",
    ),
    (edit_vision(depth=4), r"do not contain blocks\.2\.mlp.* and 1 more; they belong to another model"),
    (edit_text(hidden_size=128), r"have embeddings of shape \[\d+, 64\], config.json has \[\d+, 128\]"),
    (edit_text(vocab_size=100), r"have embeddings of shape \[\d+, 64\], config.json has \[100, 64\]"),
    (edit_text(vocab_size=None), "vocab_size in config.json must be a positive integer, not null"),
    (in_shards_and(without("second.safetensors")), "second.safetensors is missing"),
    (in_shards_and(junk("second.safetensors")), "second.safetensors cannot be loaded"),
    (in_shards_and(edit("model.safetensors.index.json", weight_map={})), "names no weight files"),
]
COMPILED: list[tuple[Change, str]] = [
    *BOTH,
    (without(compiled.TEXT), rf"{compiled.TEXT} is missing \(the text model\)"),
    (without(compiled.VISION), rf"{compiled.VISION} is missing \(the vision model\)"),
    (edit("config.json", mxq_path=None), "config.json does not name the text model"),
    (edit("config.json", core_mode="turbo"), "cores of text: core_mode 'turbo' is not one of"),
    (edit("config.json", target_cores=["0:7"]), 'cores of text: "0:7" names core 7'),
    (edit("config.json", hidden_size=128), r"have embeddings of shape \[\d+, 64\], config.json has \[\d+, 128\]"),
    (
        template("a helpful assistant", "a guard"),
        "does not begin with Qwen2-VL's default system turn and the picture",
    ),
]


@pytest.fixture
def plain(tiny_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_folder, tmp_path / "plain")


@pytest.fixture
def npu_folder(compiled_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(compiled_folder, tmp_path / "npu")


def sentences(spec: ModelSpec, sentence: str) -> list[str]:
    """The messages of `check_folder` and `load`."""
    texts = []
    for act in (lambda: check_folder(spec, TYPED), lambda: load(spec)):
        with pytest.raises(ModelFolderError, match=sentence) as raised:
            act()
        texts.append(str(raised.value))
    return texts


@pytest.mark.parametrize(
    ("change", "sentence"), PLAIN, ids=lambda value: value[:50] if isinstance(value, str) else None
)
def test_a_broken_folder_is_reported_as_by_load(plain: Path, change: Change, sentence: str):
    change(plain)
    checked, loaded = sentences(ModelSpec(plain), sentence)
    assert checked == loaded


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"), COMPILED, ids=lambda value: value[:50] if isinstance(value, str) else None
)
def test_a_broken_compiled_folder_is_reported_as_by_load(npu_folder: Path, change: Change, sentence: str):
    change(npu_folder)
    with simulator.installed() as board:
        checked, loaded = sentences(ModelSpec(npu_folder), sentence)
    assert checked == loaded
    assert (board.calls, board.launches) == ([], 0)


def test_the_cores_of_every_worker_are_checked(npu_folder: Path):
    workers = ((("text", "0:0"), ("vision", "1:0")), (("text", "0:1"), ("vision", "1:9")))
    with pytest.raises(ModelFolderError, match='cores of vision: "1:9" names core 9'):
        check_folder(ModelSpec(npu_folder, workers=workers), [])


def test_a_sound_folder_passes_and_no_device_is_touched(npu_folder: Path, plain: Path):
    with simulator.installed(devices=frozenset()) as board:
        check_folder(ModelSpec(npu_folder, cores=(("text", "0:1"), ("vision", "global4:1"))), TYPED)
        check_folder(ModelSpec(plain), TYPED)
        in_shards(plain)
        check_folder(ModelSpec(plain), TYPED)
        assert (board.calls, board.launches, board.opened) == ([], 0, 0)
    load(ModelSpec(plain)).dispose()


@pytest.mark.parametrize("kind", ["plain", "compiled"])
def test_questions_are_checked_with_the_new_folders_own_tokenizer(plain: Path, npu_folder: Path, kind: str):
    folder = plain if kind == "plain" else npu_folder
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["model"]["vocab"].pop("Z")
    (folder / "tokenizer.json").write_text(json.dumps(stored))
    asked: list[QuestionSpec] = [*TYPED, question("Where?", Choices((("Zoo", 1), ("Home", 2))), name="place")]
    check_folder(ModelSpec(folder), TYPED)
    with pytest.raises(ModelFolderError, match='question "place": this model\'s tokenizer cannot encode "Zoo"'):
        check_folder(ModelSpec(folder), asked)


def test_a_vocabulary_smaller_than_the_tokenizers_is_named(npu_folder: Path):
    size = json.loads((npu_folder / "config.json").read_text())["vocab_size"]
    embeddings = load_file(npu_folder / "model.safetensors")
    save_file({key: value[: size - 60].clone() for key, value in embeddings.items()}, npu_folder / "model.safetensors")
    edit("config.json", vocab_size=size - 60)(npu_folder)
    for asked in (TYPED, []):
        with pytest.raises(ModelFolderError, match=r"the tokenizer does not match vocab_size in config\.json"):
            check_folder(ModelSpec(npu_folder), asked)


def test_a_chat_template_in_the_tokenizers_config_is_accepted(plain: Path):
    template = (plain / "chat_template.jinja").read_text()
    (plain / "chat_template.jinja").unlink()
    edit("tokenizer_config.json", chat_template=template)(plain)
    check_folder(ModelSpec(plain), TYPED)
    load(ModelSpec(plain)).dispose()


def test_a_path_that_cannot_be_read_is_reported_with_the_reason(tmp_path: Path):
    sentences(ModelSpec(tmp_path / ("m" * 300)), "m cannot be read: file name too long")


def test_a_folder_that_this_user_may_not_search_is_reported_with_the_reason(tiny_folder: Path, open_folder: Path):
    folder = shutil.copytree(tiny_folder, open_folder / "closed" / "model")
    folder.parent.chmod(0o700)
    with unprivileged():
        with pytest.raises(ModelFolderError, match=r"^model: .*/model cannot be read: permission denied$"):
            read_config(folder)
        with pytest.raises(ModelFolderError, match=r"^model: .*/config\.json cannot be read: permission denied$"):
            read_json(folder / "config.json")


def test_a_file_that_cannot_be_hashed_is_named(plain: Path):
    (plain / "notes.txt").symlink_to("/proc/self/mem")
    with pytest.raises(ModelFolderError, match=r"notes\.txt cannot be read: input/output error"):
        load(ModelSpec(plain))


@pytest.mark.slow
def test_checking_a_folder_does_not_disturb_a_model_in_another_thread(npu_folder: Path, plain: Path, tmp_path: Path):
    before = (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled())
    broken = shutil.copytree(plain, tmp_path / "broken")
    cut_off(broken)
    with simulator.installed():
        model = load(ModelSpec(npu_folder))
        replies: list[str] = []
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                model.encode(frame(1))
                replies.append(model.ask([], question("Tell all."), GO_ON).text)

        serving = threading.Thread(target=serve)
        serving.start()
        while len(replies) < 20 and serving.is_alive():
            check_folder(ModelSpec(plain), TYPED)
            check_folder(ModelSpec(npu_folder), TYPED)
            with pytest.raises(ModelError):
                check_folder(ModelSpec(broken), TYPED)
        ended.set()
        serving.join(30)
        assert not serving.is_alive()
        model.dispose()
    assert len(set(replies)) == 1
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) == before


# which models can be loaded at once


def memory(folder: Path, kib: int) -> Path:
    path = folder / "meminfo"
    path.write_text(
        f"MemTotal:       99999999 kB\nMemFree:          1 kB\nMemAvailable:   {kib} kB\nHugePages_Total:  0\n"
    )
    return path


def on(folder: Path, *pairs: tuple[str, str]) -> ModelSpec:
    """Workers on these cores for text and vision; one pair: no workers."""
    cores = tuple((("text", text), ("vision", vision)) for text, vision in pairs)
    return ModelSpec(folder, cores=cores[0]) if len(cores) == 1 else ModelSpec(folder, workers=cores)


@pytest.mark.parametrize(
    ("old", "new", "fit"),
    [
        ([("0:0", "1:0")], [("0:1", "1:1")], True),
        ([("0:0", "1:0")], [("0:1", "1:0")], False),
        ([("0:0", "1:0")], [("1:0", "0:0")], False),
        ([("0:0", "1:0")], [("global4:0", "1:1")], False),
        ([("0:0", "0:1")], [("global4:1", "global4:1")], True),
        ([("0:0", "1:0")], [("1:0:0", "1:1:0")], True),
        ([("global8", "global8")], [("global8:1", "global8:1")], True),
        ([("global8", "global8")], [("0:3", "0:3")], False),
        ([("0:0", "1:0"), ("0:1", "1:1")], [("0:2", "1:2"), ("0:3", "1:3")], True),
        ([("0:0", "1:0"), ("0:1", "1:1")], [("0:2", "1:2"), ("0:3", "1:1")], False),
        ([], [("0:1", "0:1")], True),  # config.json: both parts on core 0:0
        ([], [("0:1", "0:0")], False),
        ([], [], False),
    ],
)
def test_compiled_models_fit_together_on_cores_of_their_own(compiled_folder: Path, tmp_path: Path, old, new, fit: bool):
    assert fit_together(on(compiled_folder, *old), on(compiled_folder, *new), memory(tmp_path, 0)) is fit


@pytest.mark.parametrize("old_kind", ["plain", "compiled"])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_uncompiled_model_fits_if_its_weights_take_half_of_the_free_memory(
    tiny_folder: Path, compiled_folder: Path, tmp_path: Path, old_kind: str, workers: int
):
    old = ModelSpec(tiny_folder if old_kind == "plain" else compiled_folder)
    new = ModelSpec(tiny_folder, workers=((),) * workers if workers > 1 else ())
    floats = sum(value.numel() for value in load_file(tiny_folder / "model.safetensors").values())
    enough = -(-2 * workers * 4 * floats // KIB)
    assert fit_together(old, new, memory(tmp_path, enough))
    assert not fit_together(old, new, memory(tmp_path, enough - 1))


def test_weights_of_two_bytes_are_counted_as_float32(tiny_folder: Path, plain: Path, tmp_path: Path):
    weights = load_file(plain / "model.safetensors")
    save_file({key: value.to(torch.bfloat16) for key, value in weights.items()}, plain / "model.safetensors")
    enough = -(-2 * 4 * sum(value.numel() for value in weights.values()) // KIB)
    assert fit_together(ModelSpec(tiny_folder), ModelSpec(plain), memory(tmp_path, enough))
    assert not fit_together(ModelSpec(tiny_folder), ModelSpec(plain), memory(tmp_path, enough - 1))


def test_a_compiled_model_beside_an_uncompiled_one_needs_memory_for_its_embeddings(
    tiny_folder: Path, compiled_folder: Path, tmp_path: Path
):
    old, new = ModelSpec(tiny_folder), ModelSpec(compiled_folder)
    (embeddings,) = load_file(compiled_folder / "model.safetensors").values()
    enough = -(-2 * 4 * embeddings.numel() // KIB)
    assert fit_together(old, new, memory(tmp_path, enough))
    assert not fit_together(old, new, memory(tmp_path, enough - 1))


def test_on_a_gpu_they_do_not_fit(
    tiny_folder: Path, compiled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    plenty = memory(tmp_path, 1 << 40)
    assert not fit_together(ModelSpec(tiny_folder), ModelSpec(tiny_folder), plenty)
    assert fit_together(on(compiled_folder, ("0:0", "0:1")), on(compiled_folder, ("1:0", "1:1")), plenty)


def test_if_unsure_they_do_not_fit(tiny_folder: Path, compiled_folder: Path, tmp_path: Path):
    plenty, empty = memory(tmp_path, 1 << 40), tmp_path / "empty"
    empty.mkdir()
    good = ModelSpec(tiny_folder)
    assert fit_together(good, good, plenty)
    assert not fit_together(good, ModelSpec(empty), plenty)
    assert not fit_together(ModelSpec(empty), good, plenty)
    assert not fit_together(good, good, tmp_path / "no meminfo")
    assert not fit_together(on(compiled_folder, ("0:0", "0:1")), on(compiled_folder, ("1:0", "9:9")), plenty)
    no_figure = tmp_path / "other"
    no_figure.write_text("MemTotal: 99 kB\n")
    assert not fit_together(good, good, no_figure)
