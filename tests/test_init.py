"""`edged init` writes a config that `edged check` accepts, and overwrites nothing."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from edged.cli import main
from edged.config.load import ConfigError, load
from edged.core.errors import EdgedError
from edged.tools.init import starter, usb_cameras, write

MODEL = Path("m")


def test_what_init_wrote_is_right(tmp_path: Path):
    path = tmp_path / "edged.yaml"
    write(starter(["rtsp://viewer:p%20w%2F1@10.0.0.9:554/s?x=1", "http://cam/a.jpg"], ["usb:0"], MODEL), path)
    config = load(path)
    assert [camera.name for camera in config.cameras] == ["camera-1", "camera-2", "camera-3"]
    assert config.cameras[0].source.address.reveal() == "rtsp://viewer:p%20w%2F1@10.0.0.9:554/s?x=1"
    assert "p w" not in path.read_text()
    assert "p%20w" not in path.read_text()
    secret = tmp_path / "credentials" / "camera-1"
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("p w/1\n", 0o600)


def test_without_a_camera_it_says_how_to_write_one(tmp_path: Path):
    path = tmp_path / "edged.yaml"
    write(starter([], [], MODEL), path)
    assert load(path).cameras == ()
    assert "# No camera was found." in path.read_text()


@pytest.mark.parametrize("there", ["edged.yaml", "credentials/camera-1"])
def test_nothing_is_overwritten(tmp_path: Path, there: str):
    (tmp_path / "credentials").mkdir()
    (tmp_path / there).write_text("mine")
    with pytest.raises(EdgedError, match="already exists; edged init overwrites nothing"):
        write(starter(["rtsp://a:b@c/"], [], MODEL), tmp_path / "edged.yaml")
    assert (tmp_path / there).read_text() == "mine"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("cam", "is not a valid address (such as rtsp://10.0.0.9/stream1)"),
        ("ftp://cam/", "must begin with rtsp://, rtsps://, http:// or https://"),
        ("rtsp://", "is not a valid address (such as rtsp://10.0.0.9/stream1)"),
        ("rtsp://cam:x/", "is not a valid address (such as rtsp://10.0.0.9/stream1)"),
        ("rtsp://a..b/", "is not a valid address (such as rtsp://10.0.0.9/stream1)"),
        ("rtsp://u:hunter2@cam/s 1", "has a character that must be percent-encoded"),
        ("rtsp://u:hunter/2@cam/", "has a character that must be percent-encoded"),
        ("rtsp://u:hunter2#@cam/", "has a character that must be percent-encoded"),
        ("rtsp://u:hunter%0A2@cam/", "has a control character in its user or password"),
    ],
)
def test_init_refuses_the_addresses_that_check_refuses(tmp_path: Path, address: str, why: str):
    with pytest.raises(EdgedError) as refused:
        starter(["http://cam/a.jpg", address], [], MODEL)
    assert str(refused.value).startswith(f"ADDRESS 2 {why}")
    assert "hunter" not in str(refused.value)
    path = tmp_path / "edged.yaml"
    path.write_text(f"model: {{path: .}}\ncameras: {{dock: {{source: '{address}', ask: {{q: {{prompt: p}}}}}}}}\n")
    if "://" in address and not address.startswith("ftp"):
        with pytest.raises(ConfigError, match=re.escape(why)):
            load(path)


def test_a_secret_in_an_address_stays_the_secret_it_names(tmp_path: Path):
    made = starter(["rtsp://viewer:{secret:dock}@cam/s", "RTSP://cam/s", "http://viewer@cam/s"], [], MODEL)
    assert made.secrets == {}
    write(made, tmp_path / "edged.yaml")
    assert [camera.source.problem is None for camera in load(tmp_path / "edged.yaml").cameras] == [False, True, True]


def test_a_failed_init_leaves_nothing_behind(tmp_path: Path):
    with pytest.raises(EdgedError, match="cannot be written: File name too long"):
        write(starter(["rtsp://a:b@c/"], [], MODEL), tmp_path / ("e" * 300))
    with pytest.raises(EdgedError, match="cannot be written: No such file or directory"):
        write(starter(["rtsp://a:b@c/"], [], MODEL), tmp_path / "none" / "edged.yaml")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_usb_cameras_are_found_by_id_without_their_second_node(tmp_path: Path):
    for name in ("usb-Cam-video-index0", "usb-Cam-video-index1"):
        (tmp_path / name).touch()
    assert usb_cameras(tmp_path) == [f"usb:{tmp_path}/usb-Cam-video-index0"]
    assert usb_cameras(tmp_path / "none") == []


def test_the_commands_as_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "rtsp://viewer:hunter2@10.0.0.9/s"]) == 0
    assert main(["check", "edged.yaml"]) == 0
    assert main(["init"]) == 1
    said = capsys.readouterr()
    assert "edged.yaml: written, with 1 camera" in said.out
    assert "edged.yaml: valid (1 camera, 4 questions)" in said.out
    assert "edged: edged.yaml already exists; edged init overwrites nothing" in said.err
    assert "hunter2" not in said.out + said.err
