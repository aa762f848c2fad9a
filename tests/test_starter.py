"""`edged init` writes a config that `edged check` accepts, and overwrites nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edged.cli import main
from edged.config import load
from edged.core import EdgedError
from edged.starter import starter, usb_cameras, write

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
    with pytest.raises(EdgedError, match="is there already; edged init overwrites nothing"):
        write(starter(["rtsp://a:b@c/"], [], MODEL), tmp_path / "edged.yaml")
    assert (tmp_path / there).read_text() == "mine"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("address", ["cam", "ftp://cam/", "rtsp://", "rtsp://cam:x/"])
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(EdgedError, match="a camera's address is"):
        starter([address], [], MODEL)


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
    assert "edged.yaml: right (1 camera, 4 questions)" in said.out
    assert "edged: edged.yaml is there already; edged init overwrites nothing" in said.err
    assert "hunter2" not in said.out + said.err
