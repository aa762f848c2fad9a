"""`edged prepare`: a complete folder or none, and errors that name the file."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support import tiny_model
from support.account import unprivileged
from support.making import frame, question
from support.npu import compiled, simulator
from support.running import Edged

from edged.core.errors import ModelFolderError
from edged.core.specs import ModelSpec
from edged.tools.prepare import prepare, swap
from edged.vlm import folder as files
from edged.vlm.model import load


@pytest.fixture
def output(tiny_folder: Path, tmp_path: Path) -> Path:
    """The compiler's four files."""
    return compiled.compile_folder(tiny_folder, tmp_path / "mxq")


def test_the_prepared_folder_is_complete_and_has_a_manifest(output: Path, tiny_folder: Path, tmp_path: Path):
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    prepared = prepare(output, str(tiny_folder), tmp_path / "out", {"text": "0:1", "vision": "global4:1"})
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    out = prepared.folder
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [compiled.TEXT, compiled.VISION, *compiled.PROCESSOR, "config.json", "manifest.json", "model.safetensors"]
    )
    config = json.loads((out / "config.json").read_text())
    assert (config["core_mode"], config["target_cores"]) == ("single", ["0:0:1"])
    vision = config["vision_config"]
    assert (vision["core_mode"], vision["target_clusters"]) == ("global4", ["0:1"])
    assert "target_cores" not in vision
    assert (config["mxq_path"], vision["mxq_path"]) == (compiled.TEXT, compiled.VISION)

    from safetensors.torch import load_file

    old, new = load_file(output / "model.safetensors"), load_file(out / "model.safetensors")
    assert list(new) == [files.EMBEDDINGS]
    assert new[files.EMBEDDINGS].equal(old["model.embed_tokens.weight"])

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["model"] == "mobilint/Tiny-VL"
    assert manifest["files"].keys() == {path.name for path in out.iterdir()} - {"manifest.json"}
    for name, entry in manifest["files"].items():
        data = (out / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    with simulator.installed() as board:
        model = load(ModelSpec(out))
        assert model.revision == prepared.revision == files.revision(out)
        assert {part.part: part.mode for part in board.launched} == {"text": "single", "vision": "global4"}
        model.encode(frame(1))
        assert model.ask([], question("How many?"), threading.Event()).text
        model.dispose()


def test_the_revision_changes_with_the_files_only(output: Path, tiny_folder: Path, tmp_path: Path):
    first, again = (prepare(output, str(tiny_folder), tmp_path / name, {}) for name in ("a", "b"))
    other = prepare(output, str(tiny_folder), tmp_path / "c", {"text": "1:0"})
    assert first.revision == again.revision != other.revision
    assert {part: str(cores) for part, cores in first.cores.items()} == {"text": "core 0:0:0", "vision": "core 0:0:0"}


def test_a_prepared_folder_is_replaced_and_any_other_left_alone(output: Path, tiny_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    prepare(output, str(tiny_folder), out, {})
    (out / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(ModelFolderError, match=r"model\.safetensors does not have the size recorded in manifest\.json"):
        load(ModelSpec(out))
    prepare(output, str(tiny_folder), out, {})
    files.read_config(out)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("mine")
    for place in (foreign, output):
        with pytest.raises(ModelFolderError, match=r"choose another --out|must be different folders"):
            prepare(output, str(tiny_folder), place, {})
    assert [path.name for path in foreign.iterdir()] == ["letter.txt"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_with_the_name_of_a_temporary_one_is_left_alone(output: Path, tiny_folder: Path, tmp_path: Path):
    for name in ("out.new", ".out.new", "out.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "letter.txt").write_text("mine")
    for _ in range(2):
        prepare(output, str(tiny_folder), tmp_path / "out", {})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".out.new", "mxq", "out", "out.new", "out.old"]
    assert all((tmp_path / name / "letter.txt").read_text() == "mine" for name in ("out.new", ".out.new", "out.old"))


def test_a_prepare_that_fails_while_it_copies_leaves_the_old_folder(output: Path, tiny_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    prepare(output, str(tiny_folder), out, {})
    before = contents(out)
    (output / compiled.VISION).unlink()
    (output / compiled.VISION).symlink_to("/proc/self/mem")  # a file that exists and cannot be read
    for place in (out, tmp_path / "other"):
        with pytest.raises(ModelFolderError, match=r"^prepare: .* cannot be written: "):
            prepare(output, str(tiny_folder), place, {})
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mxq", "out"]


SLOW_COPY = """
import shutil, signal, sys, time
from edged.cli import main
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
shutil.copyfile = lambda *_: (print("copying", flush=True), time.sleep(100))
sys.exit(main(["prepare", "--compiled", sys.argv[1], "--processor", sys.argv[2], "--out", "new/out"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_prepare_that_is_ended_by_a_signal_leaves_nothing(
    output: Path, tiny_folder: Path, tmp_path: Path, number: signal.Signals
):
    arguments = [sys.executable, "-c", SLOW_COPY, str(output), str(tiny_folder)]
    with subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as done:
        assert done.stdout
        assert done.stdout.readline() == "copying\n"
        assert list((tmp_path / "new").iterdir()) != []
        done.send_signal(number)
        _, errors = done.communicate(timeout=60)
    assert (done.returncode, errors) == (130, "")
    assert list((tmp_path / "new").iterdir()) == []


SIGNAL_DURING = """
import os, pathlib, shutil, signal, sys
from edged.cli import main

def then_signal(function):
    def both(*args, **options):
        function(*args, **options)
        os.kill(os.getpid(), signal.SIGTERM)
    return both

def signal_then(function):
    def both(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        function(*args, **options)
    return both

if sys.argv[3] == "swap":
    pathlib.Path.rename = then_signal(pathlib.Path.rename)
else:
    shutil.rmtree = signal_then(shutil.rmtree)
sys.exit(main(["prepare", "--compiled", sys.argv[1], "--processor", sys.argv[2], "--out", "new/out"]))
"""


@pytest.mark.parametrize("moment", ["swap", "clean-up"])
def test_a_signal_during_the_swap_or_the_clean_up_does_not_interrupt_it(
    output: Path, tiny_folder: Path, tmp_path: Path, moment: str
):
    out = tmp_path / "new/out"
    prepare(output, str(tiny_folder), out, {})
    before = contents(out)
    arguments = [sys.executable, "-c", SIGNAL_DURING, str(output), str(tiny_folder), moment]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path / "new") == {f"out/{name}": data for name, data in before.items()}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_swap_that_fails_half_way_puts_the_old_folder_back(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("old")
    with pytest.raises(OSError, match="missing"):
        swap(out, tmp_path / "missing", tmp_path / "aside")
    assert contents(tmp_path) == {"out/a": b"old"}


def test_a_swap_that_is_interrupted_after_its_first_rename_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, new = tmp_path / "out", tmp_path / "new"
    for folder in (out, new):
        folder.mkdir()
        (folder / "a").write_text(folder.name)
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> None:
        monkeypatch.undo()
        rename(path, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        swap(out, new, tmp_path / "aside")
    assert contents(tmp_path) == {"out/a": b"out", "new/a": b"new"}


@pytest.mark.parametrize("name", ["notes.txt", "notes/today.txt"])
def test_a_file_that_somebody_put_into_the_prepared_folder_is_not_deleted(
    output: Path, tiny_folder: Path, tmp_path: Path, name: str
):
    out = tmp_path / "out"
    prepare(output, str(tiny_folder), out, {})
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    before = contents(out)
    with pytest.raises(ModelFolderError, match=r"contains notes(\.txt)?, which would be deleted"):
        prepare(output, str(tiny_folder), out, {})
    assert contents(out) == before


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"files": 1}'])
def test_a_folder_whose_manifest_is_not_ours_is_left_alone(output: Path, tiny_folder: Path, tmp_path: Path, text: str):
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(text)
    with pytest.raises(ModelFolderError, match="was not written by edged prepare; choose another --out"):
        prepare(output, str(tiny_folder), out, {})
    assert (out / "manifest.json").read_text() == text


def test_a_prepared_folder_can_be_read_by_other_users(output: Path, tiny_folder: Path, tmp_path: Path):
    (tmp_path / "plain").mkdir()
    prepared = prepare(output, str(tiny_folder), tmp_path / "out", {})
    assert prepared.folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("closed", ["compiled", "processor", "out"])
def test_a_folder_that_this_user_may_not_search_is_named(
    output: Path, tiny_folder: Path, open_folder: Path, closed: str
):
    compiled_folder = shutil.copytree(output, open_folder / "compiled" / "folder")
    processor = shutil.copytree(tiny_folder, open_folder / "processor" / "folder")
    (compiled_folder / "model.safetensors").chmod(0o644)
    (open_folder / "out").mkdir()
    (open_folder / closed).chmod(0o700)
    denied = rf"^(prepare|model): {open_folder}/{closed}/folder\S* cannot be read: permission denied$"
    with unprivileged(), pytest.raises(ModelFolderError, match=denied):
        prepare(compiled_folder, str(processor), open_folder / "out" / "folder", {})


def test_a_compiled_folder_that_is_not_there_is_named(tiny_folder: Path, tmp_path: Path):
    with pytest.raises(ModelFolderError, match=rf"^prepare: --compiled: there is no folder {tmp_path}/absent$"):
        prepare(tmp_path / "absent", str(tiny_folder), tmp_path / "out", {})


def drop(name: str) -> Callable[[Path, Path], None]:
    return lambda output, processor: ((output if (output / name).exists() else processor) / name).unlink()


def edit(name: str, **change: object) -> Callable[[Path, Path], None]:
    def apply(output: Path, processor: Path) -> None:
        path = output / name if (output / name).exists() else processor / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return apply


def whole_weights(output: Path, processor: Path) -> None:
    (output / "model.safetensors").write_bytes((processor / "model.safetensors").read_bytes())


def second_model(output: Path, _processor: Path) -> None:
    (output / "Other-VL_text_model.mxq").write_bytes(b"")


def other_vision(output: Path, _processor: Path) -> None:
    (output / compiled.VISION).rename(output / "Other-VL_vision_transformer.mxq")
    config = json.loads((output / "config.json").read_text())
    config["vision_config"]["mxq_path"] = "Other-VL_vision_transformer.mxq"
    (output / "config.json").write_text(json.dumps(config))


def wide_vision(output: Path, _processor: Path) -> None:
    config = json.loads((output / "config.json").read_text())
    config["vision_config"]["hidden_size"] += 1
    (output / "config.json").write_text(json.dumps(config))


def no_weights(output: Path, _processor: Path) -> None:
    header = b"{}"
    (output / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def other_tokenizer(_output: Path, processor: Path) -> None:
    tiny_model.tokenizer(tiny_model.MERGES[:3]).save_pretrained(processor)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (drop("config.json"), "config.json is missing"),
        (drop(compiled.TEXT), f"{compiled.TEXT} is missing (the text model in config.json)"),
        (drop(compiled.VISION), f"{compiled.VISION} is missing (the vision model in config.json)"),
        (drop("preprocessor_config.json"), "preprocessor_config.json is missing"),
        (drop("tokenizer.json"), "tokenizer.json is missing"),
        (drop("chat_template.jinja"), "chat_template.jinja (or chat_template.json) is missing"),
        (
            edit("config.json", model_type="qwen2_vl"),
            'is not a compiled Qwen2-VL: model_type in config.json is "qwen2_vl"',
        ),
        (edit("config.json", mxq_path=compiled.VISION), f"config.json names {compiled.VISION} for both"),
        (edit("config.json", mxq_path=None), "does not name the MXQ of text"),
        (edit("config.json", target_cores=["5:0"]), 'the cores of text: "5:0" names cluster 5'),
        (edit("config.json", vocab_size=151936), "model.safetensors has embeddings of"),
        (edit("config.json", image_token_id=151655), "do not belong to the same model: in the tokenizer of"),
        (edit("preprocessor_config.json", patch_size=16), "has patch_size 16, config.json has 14"),
        (whole_weights, "instead of the embeddings only"),
        (no_weights, "model.safetensors contains nothing instead of the embeddings only"),
        (lambda output, _: (output / "model.safetensors").unlink(), "model.safetensors is missing"),
        (wide_vision, "in config.json, vision and text differ in hidden_size"),
        (second_model, "config.json does not name Other-VL_text_model.mxq"),
        (other_vision, f"{compiled.TEXT} and Other-VL_vision_transformer.mxq"),
        (other_tokenizer, "do not belong to the same model: in the tokenizer of"),
        (lambda output, _: (output / "model.safetensors").write_bytes(b"x" * 99), "is not a safetensors file"),
    ],
)
def test_a_missing_file_or_one_of_another_model_is_named(
    output: Path, tiny_folder: Path, tmp_path: Path, change: Callable[[Path, Path], None], sentence: str
):
    processor = tmp_path / "processor"
    processor.mkdir()
    for path in tiny_folder.iterdir():
        if path.name != "config.json":
            (processor / path.name).write_bytes(path.read_bytes())
    if change is not whole_weights:
        (processor / "model.safetensors").unlink()
    change(output, processor)
    with pytest.raises(ModelFolderError) as raised:
        prepare(output, str(processor), tmp_path / "out", {})
    assert sentence in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mxq", "processor"]


REFUSALS = [("broken/", 503, "Unavailable"), ("none/", 401, "RepoNotFound"), ("gated/.*/resolve/", 403, "GatedRepo")]


class Hub:
    """A simulated Hub with one small model."""

    def __init__(self, folder: Path) -> None:
        commit = "0123456789abcdef0123456789abcdef01234567"
        names = [path.name for path in folder.iterdir()]

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                for part, status, code in REFUSALS:
                    if re.search(part, self.path):
                        return self.reply(status, b"{}", {"X-Error-Code": code})
                if "/resolve/" in self.path:
                    data = (folder / self.path.rpartition("/")[2]).read_bytes()
                    etag = hashlib.sha256(data).hexdigest()
                    return self.reply(200, data, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})
                if "/tree/" in self.path:
                    tree = [{"type": "file", "path": name, "size": 1, "oid": name} for name in names]
                    return self.reply(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
                about = {"id": "owner/name", "sha": commit, "siblings": [{"rfilename": name} for name in names]}
                return self.reply(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

            do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

            def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def hub(folder: Path) -> Iterator[str]:
    serving = Hub(folder)
    thread = threading.Thread(target=serving.server.serve_forever)
    thread.start()
    try:
        yield serving.url
    finally:
        serving.server.shutdown()
        serving.server.server_close()
        thread.join(10)


UNREACHABLE = "http://127.0.0.1:9"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("owner/name", None),
        ("none/name", "the processor none/name could not be downloaded: the Hub has no model of this name"),
        ("gated/name", "could not be downloaded: access is restricted; accept the model's terms on the Hub"),
        ("broken/name", "could not be downloaded: the Hub answered with status 503; try again later"),
        ("not a/name!", "could not be downloaded: this is not a valid name; a model on the Hub is OWNER/NAME"),
        ("unreachable/name", "could not be downloaded: the Hub cannot be reached; download it on another machine"),
        ("unwritable/name", "cache/hub/models--unwritable--name: Not a directory"),
        ("/no/folder", "there is no folder /no/folder (a model on the Hub is OWNER/NAME)"),
    ],
)
def test_a_processor_is_downloaded_from_the_hub_or_the_reason_given(
    output: Path, tiny_folder: Path, tmp_path: Path, name: str, sentence: str | None
):
    cache = tmp_path / "cache"
    if name.startswith("unwritable/"):
        cache.mkdir()
        (cache / "hub").write_text("a file in the place of the folder")
    with hub(tiny_folder) as url:
        endpoint = UNREACHABLE if name.startswith("unreachable/") else url
        env = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
        arguments = ("--compiled", output, "--processor", name, "--out", tmp_path / "out")
        with Edged("prepare", *arguments, env=env) as edged:
            assert edged.exit_code() == (78 if sentence else 0), edged.lines
            assert sentence is None or edged.said(re.escape(sentence)), edged.lines
            assert not edged.said("Traceback")
    if sentence is None:
        files.read_config(tmp_path / "out")
