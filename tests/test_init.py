"""`edged init` writes a config that `edged check` accepts, and overwrites nothing."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.making import picture
from support.running import Edged

from edged.config.load import ConfigError, load
from edged.config.usb_devices import UsbDevices
from edged.core.errors import EdgedError
from edged.tools.init import compose, usb_cameras, write

MODEL = Path("m")


def test_the_config_and_its_secrets_are_read_again(tmp_path: Path):
    path = tmp_path / "edged.yaml"
    write(compose(["rtsp://viewer:p%20w%2F1@10.0.0.9:554/s?x=1", "http://cam/a.jpg"], ["usb:0"], MODEL, tmp_path), path)
    config = load(path)
    assert [camera.name for camera in config.cameras] == ["camera-1", "camera-2", "camera-3"]
    assert config.cameras[0].source.address.reveal() == "rtsp://viewer:p%20w%2F1@10.0.0.9:554/s?x=1"
    assert "p w" not in path.read_text()
    assert "p%20w" not in path.read_text()
    secret = tmp_path / "credentials" / "camera-1"
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("p w/1\n", 0o600)


def test_without_a_camera_it_says_how_to_write_one(tmp_path: Path):
    path = tmp_path / "edged.yaml"
    write(compose([], [], MODEL, tmp_path), path)
    assert load(path).cameras == ()
    assert "# No camera was found." in path.read_text()


@pytest.mark.parametrize("present", ["edged.yaml", "credentials/camera-1"])
def test_nothing_is_overwritten(tmp_path: Path, present: str):
    (tmp_path / "credentials").mkdir()
    (tmp_path / present).write_text("mine")
    with pytest.raises(EdgedError, match="already exists; edged init does not overwrite files"):
        write(compose(["rtsp://a:b@c/"], [], MODEL, tmp_path), tmp_path / "edged.yaml")
    assert (tmp_path / present).read_text() == "mine"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("cam", "is neither an existing file or folder nor an address (such as rtsp://10.0.0.9/stream1)"),
        ("ftp://cam/", "must begin with rtsp://, rtsps://, http:// or https://"),
        ("rtsp://", "has no host (write it like rtsp://10.0.0.9/stream1)"),
        ("rtsp://cam:x/", "has an invalid port: it is a number from 1 to 65535"),
        ("rtsp://a..b/", "has an invalid host"),
        ("rtsp://u:hunter2@cam/s 1", "has a space in its path or query: write %20 for it"),
        ("rtsp://u:hunter/2@cam/", "has an @ after a / or ?"),
        ("rtsp://u:hunter2#@cam/", "has a #, which must be percent-encoded"),
        ("rtsp://u:hunter%0A2@cam/", "has a control character in its user or password"),
    ],
)
def test_init_refuses_the_addresses_that_check_refuses(tmp_path: Path, address: str, why: str):
    with pytest.raises(EdgedError) as refused:
        compose(["http://cam/a.jpg", address], [], MODEL, tmp_path)
    assert str(refused.value).startswith(f"SOURCE 2 {why}")
    assert "hunter" not in str(refused.value)
    path = tmp_path / "edged.yaml"
    path.write_text(f"model: {{path: .}}\ncameras: {{dock: {{source: '{address}', ask: {{q: {{prompt: p}}}}}}}}\n")
    if "://" in address and not address.startswith("ftp"):
        with pytest.raises(ConfigError, match=re.escape(why)):
            load(path)


def test_a_secret_in_an_address_stays_the_secret_it_names(tmp_path: Path):
    first = compose(["rtsp://viewer:{secret:dock}@cam/s", "RTSP://cam/s", "http://viewer@cam/s"], [], MODEL, tmp_path)
    assert first.secrets == {}
    write(first, tmp_path / "edged.yaml")
    assert [camera.source.problem is None for camera in load(tmp_path / "edged.yaml").cameras] == [False, True, True]


def test_a_failed_init_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(EdgedError, match="cannot be written: File name too long"):
        write(compose(["rtsp://a:b@c/"], [], MODEL, tmp_path), tmp_path / ("e" * 300))
    with pytest.raises(EdgedError, match="cannot be written: No such file or directory"):
        write(compose(["rtsp://a:b@c/"], [], MODEL, tmp_path), tmp_path / "none" / "edged.yaml")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_usb_cameras_are_found_by_id_without_their_second_node(tmp_path: Path):
    for name in ("usb-Cam-video-index0", "usb-Cam-video-index1"):
        (tmp_path / name).touch()
    assert usb_cameras(UsbDevices(by_id=tmp_path)) == [f"usb:{tmp_path}/usb-Cam-video-index0"]
    assert usb_cameras(UsbDevices(by_id=tmp_path / "none")) == []


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    Image.fromarray(picture()).save(tmp_path / "pictures" / "a.png")
    return tmp_path / "pictures"


def edged(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edged", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)


def sources(path: Path) -> list[str]:
    return [camera.source.address.reveal() for camera in load(path).cameras]


@pytest.mark.parametrize("source", ["pictures", "pictures/", "./pictures", "pictures/a.png"])
def test_a_folder_or_a_picture_is_a_camera(tmp_path: Path, pictures: Path, source: str):
    done = edged(tmp_path, "init", source)
    assert (done.returncode, done.stderr) == (0, "")
    assert sources(tmp_path / "edged.yaml") == [str(tmp_path / source)]
    assert f'source: "{os.path.normpath(source)}"' in (tmp_path / "edged.yaml").read_text(), "relative to the config"


def test_a_path_outside_of_the_folder_of_the_config_is_absolute(tmp_path: Path, pictures: Path):
    (tmp_path / "etc").mkdir()
    assert edged(tmp_path, "init", "pictures", "--out", "etc/edged.yaml").returncode == 0
    assert sources(tmp_path / "etc" / "edged.yaml") == [str(pictures)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["me@home", "naïve 門", "a:b@c", "usb:0x", "🙂"])
def test_odd_names_of_folders_are_written_so_that_they_are_read_again(tmp_path: Path, name: str):
    (tmp_path / name).mkdir()
    done = edged(tmp_path, "init", name)
    if done.returncode == 0:
        assert sources(tmp_path / "edged.yaml") == [str(tmp_path / name)]
    else:
        assert name == "a:b@c", "looks like a login"
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert not (tmp_path / "edged.yaml").exists()


def test_usb_devices_are_cameras(tmp_path: Path):
    by_id = "/dev/v4l/by-id/usb-Cam-video-index0"
    assert edged(tmp_path, "init", "usb:0", f"usb:{by_id}", "/dev/null", "/dev/video97").returncode == 0
    assert sources(tmp_path / "edged.yaml") == ["0", by_id, "/dev/null", "/dev/video97"]
    assert {camera.source.kind for camera in load(tmp_path / "edged.yaml").cameras} == {"usb"}


def test_what_check_would_refuse_is_not_written(tmp_path: Path):
    done = edged(tmp_path, "init", "usb:abc")
    assert done.returncode == 1
    assert done.stderr.startswith("edged: edged.yaml is not written, because it would be invalid: edged.yaml:")
    assert list(tmp_path.iterdir()) == []


def test_a_usb_camera_that_was_named_is_not_added_again(tmp_path: Path):
    device = tmp_path / "video0"
    device.touch()
    (tmp_path / "usb-Cam-video-index0").symlink_to(device)
    devices = usb_cameras(UsbDevices(by_id=tmp_path))
    assert compose([f"usb:{device}"], devices, MODEL, tmp_path).text.count("source:") == 1
    assert compose(["usb:7"], devices, MODEL, tmp_path).text.count("source:") == 2


@pytest.mark.parametrize("source", ["none", "none/", "viewer:hunter2@10.0.0.9/s"])
def test_what_is_neither_a_path_nor_an_address_is_refused_and_not_repeated(tmp_path: Path, source: str):
    done = edged(tmp_path, "init", source)
    sentence = "SOURCE 1 is neither an existing file or folder nor an address (such as rtsp://10.0.0.9/stream1)"
    assert (done.returncode, done.stderr) == (1, f"edged: {sentence}\n")


def test_sources_may_follow_an_option(tmp_path: Path):
    done = edged(tmp_path, "init", "rtsp://10.0.0.9/a", "--model", "m", "rtsp://10.0.0.9/b", "--out", "e.yaml", "usb:7")
    assert (done.returncode, done.stderr) == (0, "")
    shown = [camera.source.shown for camera in load(tmp_path / "e.yaml").cameras]
    assert shown[:3] == ["rtsp://10.0.0.9/a", "rtsp://10.0.0.9/b", "usb:7"]


@pytest.mark.parametrize("command", ["init --modle m", "run", "check --strict a.yaml"])
def test_an_address_that_is_not_recognized_is_not_repeated(tmp_path: Path, command: str):
    done = edged(tmp_path, *command.split(), "rtsp://viewer:hunter2@10.0.0.9/b", "viewer:hunter2@10.0.0.9")
    assert done.returncode == 2
    assert "unrecognized arguments: " in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("model", [None, "none", "x" * 300])
def test_a_model_folder_that_does_not_exist_is_named_with_the_way_to_get_one(tmp_path: Path, model: str | None):
    done = edged(tmp_path, "init", *(["--model", model] if model else []))
    expected = Path("/var/lib/edged/models/qwen2-vl-2b") if model is None else tmp_path / model
    assert load(tmp_path / "edged.yaml").model.path == expected
    assert f"model: there is no folder {expected} yet;\n  edged prepare makes it from a compiled model" in done.stdout
    assert "\n  without an NPU, download Qwen/Qwen2-VL-2B-Instruct as the README shows\n" in done.stdout
    assert [shlex.split(step)[-2:] for step in next_steps(done.stdout)] == [
        ["prepare", "--help"], ["check", "edged.yaml"], ["--config", "edged.yaml"],
    ]  # fmt: skip


def next_steps(output: str) -> list[str]:
    return [line.strip() for line in output.partition("next:\n")[2].splitlines()]


@pytest.mark.slow
def test_the_next_steps_work_as_typed(tmp_path: Path, pictures: Path, tiny_folder: Path):
    done = edged(tmp_path, "init", "pictures", "--model", tiny_folder, "--out", "my box.yaml")
    assert max(map(len, done.stdout.splitlines()[:2])) <= 80
    check, run = next_steps(done.stdout)
    checked = subprocess.run(["bash", "-c", check], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert (checked.returncode, checked.stdout) == (0, "my box.yaml: valid (1 camera, 4 questions)\n")
    config = tmp_path / "my box.yaml"
    config.write_text(config.read_text().replace("mqtt://localhost:1883", "mqtt://127.0.0.1:1"))
    *program, command, option, name = shlex.split(run)
    assert (program, command, option, name) == ([sys.executable, "-m", "edged"], "run", "--config", config.name)
    with Edged(command, option, config) as running:
        running.wait_for("INFO ready: 1 camera")
        assert running.stop()[0] == 0


@pytest.mark.slow
def test_what_was_written_is_listed_without_a_password(tmp_path: Path):
    done = edged(tmp_path, "init", "rtsp://viewer:hunter2@10.0.0.9/s", "usb:0")
    assert done.stdout.startswith(
        "edged.yaml: written (2 cameras)\n"
        "  camera-1: rtsp://10.0.0.9/s\n"
        "  camera-2: usb:0\n"
        "credentials/camera-1: written (the password of camera-1)\n"
    )
    assert "hunter2" not in done.stdout + done.stderr
    assert edged(tmp_path, "check", "edged.yaml").stdout == "edged.yaml: valid (2 cameras, 8 questions)\n"
    again = edged(tmp_path, "init")
    assert (again.returncode, again.stderr) == (
        1, "edged: edged.yaml already exists; edged init does not overwrite files (--out FILE writes another)\n",
    )  # fmt: skip
