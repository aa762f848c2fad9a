"""`edged look` writes exactly what the model would see, and opens the camera by itself."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.making import picture
from support.npu import simulator
from support.rtsp import serving

from edged.cameras.source import open_camera
from edged.cli import main
from edged.config.load import load
from edged.core.errors import CameraError
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, CameraSpec, Config, ModelSpec, SourceSpec
from edged.service.region import cut
from edged.tools.doctor.machine import Machine
from edged.tools.look import LookOptions, look
from edged.vlm.model import load as load_model
from edged.vlm.qwen2vl import Qwen2VL

DEMO = Path(__file__).parent.parent / "edged/demo/model"
CAMERA = (
    "cameras:\n  dock:\n    source: dock.png\n    rotate: 90\n    mask: [{box: [0.5, 0.5, 1, 1]}]\n"
    "    regions:\n      gate: {box: [0.25, 0.5, 0.75, 1]}\n      door: {polygon: [[0, 0], [0.5, 0], [0, 0.5]]}\n"
    "    ask: {open: {prompt: Open?, region: gate}}\n"
)
GO_ON = threading.Event()  # never set
UPRIGHT = np.ascontiguousarray(np.rot90(picture(5), 3))
UPRIGHT[160:, 120:] = 0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config and the picture of its camera. There is no model."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture(5)).save("dock.png")
    configure("none")
    return tmp_path


def configure(model: Path | str, **settings: str) -> None:
    more = "".join(f", {key}: {value}" for key, value in settings.items())
    Path("edged.yaml").write_text(f"model: {{path: {model}{more}}}\n{CAMERA}")


def saved(name: str) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image)


def run(*arguments: str) -> int:
    return main(["look", *arguments, "--config", "edged.yaml"])


def test_without_a_model_folder_the_region_is_saved_at_full_size_and_that_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    assert run("dock", "--region", "gate", "--save", "gate.png") == 0
    assert np.array_equal(saved("gate.png"), UPRIGHT[160:, 60:180])
    camera, digest, region, model, file = capsys.readouterr().out.splitlines()
    assert camera.startswith("camera: dock, 240x320, 0")
    assert digest == f"frame_sha256: {sha256()}"
    assert region == "region: gate, 120x160"
    unknown = f"unknown (model: there is no folder {here}/none)"
    assert model == f"the model sees: {unknown}; the picture is shown at full size"
    assert file == "saved: gate.png, 120x160"


def sha256() -> str:
    """The digest that an answer about this picture has."""
    spec = load(Path("edged.yaml")).cameras[0]
    return open_camera(spec, lambda _: None).grab(GO_ON).sha256


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
@pytest.mark.parametrize("kind", ["compiled", "demo", "plain"])
@pytest.mark.parametrize("region", [None, "gate", "door"])
def test_the_saved_picture_is_what_the_processor_is_given(
    here: Path, kind: str, fit: Any, region: str | None, tiny_folder: Path, compiled_folder: Path
):
    folder = {"compiled": compiled_folder, "demo": DEMO, "plain": tiny_folder}[kind]
    configure(folder, fit=fit)
    assert run("dock", *(["--region", region] if region else []), "--save", "seen.png") == 0
    given = pictures_given(ModelSpec(folder, fit=fit), load(Path("edged.yaml")).cameras[0], region)
    assert np.array_equal(saved("seen.png"), given)


def pictures_given(model_spec: ModelSpec, camera: CameraSpec, region: str | None) -> np.ndarray:
    """The picture that the model's processor gets when the service encodes this region."""
    given: list[Any] = []
    with simulator.installed():
        model: Qwen2VL = load_model(model_spec)
        processor = model._processor

        def process(images: list[Any], **more: Any) -> Any:
            given.extend(images)
            return processor(images=images, **more)

        model._processor = process
        frame = open_camera(camera, lambda _: None).grab(GO_ON)
        model.encode(cut(frame, camera.region(region)))
        model.dispose()
    (image,) = given
    return np.asarray(image)


def test_a_jpeg_is_nearly_the_same_and_that_is_said(here: Path, capsys: pytest.CaptureFixture[str]):
    assert run("dock", "--save", "dock.JPG") == 0
    assert np.abs(saved("dock.JPG").astype(int) - UPRIGHT).mean() < 3
    assert capsys.readouterr().out.splitlines()[-1] == "saved: dock.JPG, 240x320 (compressed; a .png is exact)"


def test_outline_draws_every_mask_and_region_onto_the_whole_picture(here: Path, capsys: pytest.CaptureFixture[str]):
    assert run("dock", "--outline", "--save", "all.png") == 0
    drawn = saved("all.png")
    changed = (drawn != UPRIGHT).any(axis=2)
    assert drawn.shape == UPRIGHT.shape
    for x, y in [(120, 240), (180, 300), (60, 220), (60, 80), (100, 0)]:  # on the outlines of mask, gate and door
        assert changed[y, x], (x, y)
    assert not changed[100:150, 130:].any(), "away from them it is the picture"
    assert capsys.readouterr().out.splitlines()[2:] == ["drawn: 1 mask; regions: gate, door", "saved: all.png, 240x320"]


def test_a_name_is_drawn_inside_of_the_picture(here: Path):
    Path("edged.yaml").write_text(
        "model: {path: none}\ncameras:\n  dock:\n    source: dock.png\n"
        "    regions: {a-long-name-in-the-corner: {box: [0.97, 0.97, 1, 1]}}\n"
    )
    assert run("dock", "--outline", "--save", "all.png") == 0
    black_box = (saved("all.png")[-20:, -200:] == 0).all(axis=2)
    assert black_box.sum() > 500


def test_without_save_nothing_is_written_and_the_command_for_it_is_printed(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    before = sorted(here.iterdir())
    assert run("dock", "--region", "gate") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("edged look dock --region gate --config edged.yaml --save dock-gate.png")
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["dok"], 2, 'edged.yaml has no camera "dok". Did you mean "dock"?'),
        (["roof"], 2, 'edged.yaml has no camera "roof"; it has: dock'),
        (["dock", "--region", "gat"], 2, 'camera "dock" has no region "gat". Did you mean "gate"?'),
        (["dock", "--region", "x"], 2, 'camera "dock" has no region "x"; it has: gate, door'),
        (["dock", "--region", ""], 2, 'camera "dock" has no region ""; it has: gate, door'),
        (["dock", "--save", "a.gif"], 2, "--save a.gif: the name must end in .png (exact) or .jpg (compressed)"),
        (["dock", "--save", "a"], 2, "--save a: the name must end in .png (exact) or .jpg (compressed)"),
        (["dock", "--outline"], 2, "--outline needs --save FILE"),
        (["dock", "--save", "none/a.png"], 1, "none/a.png cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    here: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
):
    assert run(*arguments) == code
    assert capsys.readouterr().err == f"edged: {message}\n"


def test_a_region_and_an_outline_exclude_each_other(here: Path, capsys: pytest.CaptureFixture[str]):
    assert run("dock", "--outline", "--region", "gate", "--save", "a.png") == 2
    assert "not allowed with argument" in capsys.readouterr().err


def test_a_camera_that_gives_no_picture_exits_with_1_and_its_reason(here: Path, capsys: pytest.CaptureFixture[str]):
    Path("dock.png").unlink()
    assert run("dock", "--save", "a.png") == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (
        "",
        f"edged: camera dock: {here}/dock.png cannot be read: No such file or directory\n",
    )
    assert not Path("a.png").exists()


def test_a_usb_camera_that_another_program_uses_is_named_with_it(tmp_path: Path):
    node = tmp_path / "video9"
    node.touch()
    fd = tmp_path / "proc" / "812" / "fd"
    fd.mkdir(parents=True)
    (fd / "5").symlink_to(node)
    (fd.parent / "comm").write_text("edged\n")
    spec = CameraSpec("dock", SourceSpec("usb", Secret(str(node)), str(node)))
    config = Config("box", ModelSpec(tmp_path), BrokerSpec(), (spec,), None, "r1", tmp_path / "edged.yaml")
    with pytest.raises(CameraError) as raised:
        look(config, LookOptions("dock"), GO_ON, Machine(proc=tmp_path / "proc"))
    assert str(raised.value) == "camera dock: in use by edged (pid 812); stop it to look here"


@pytest.mark.slow
def test_a_stream_is_opened_without_torch_and_without_a_word_on_standard_error(here: Path):
    barred = "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'paho']))"
    program = f"{barred}; from edged.cli import main; sys.exit(main(['look', 'dock', '--save', 'a.png']))"
    with serving() as server:
        Path("edged.yaml").write_text(
            f"model: {{path: {DEMO}}}\ncameras: {{dock: {{source: '{server.url('h264')}', rotate: 180}}}}\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "edged: using ./edged.yaml\n")
    assert saved("a.png").shape == (224, 224, 3)
