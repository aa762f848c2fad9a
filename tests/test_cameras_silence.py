"""FFmpeg and OpenCV print nothing, above all no address with its password, whatever a camera does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.broker import free_port
from support.clips import clip
from support.rtsp_script import Login, Script, lossy
from support.scripted_rtsp import ScriptedServer

PASSWORD = "s3cr3t-word"
CHILD = """
import logging, os, sys, threading
from edged.cameras.environment import OPENCV
os.environ.update(OPENCV)
logging.basicConfig(level=logging.DEBUG)
from edged.cameras.source import open_camera
from edged.core.errors import CameraError
from edged.core.secret import Secret
from edged.core.specs import CameraSpec, SourceSpec

kind, url, seconds = sys.argv[1], sys.stdin.readline().strip(), float(sys.argv[2])
camera = open_camera(CameraSpec("dock", SourceSpec(kind, Secret(url), "shown")), lambda _: None)
camera.start()
for _ in range(int(seconds / 0.25)):
    try:
        camera.grab(threading.Event())
    except CameraError as error:
        print(error)
    threading.Event().wait(0.25)
print(repr(camera), vars(camera))
os._exit(0)
"""
LOGIN = Login("viewer", PASSWORD, ("Basic",))
SCRIPTS = {
    "another password": Script(login=Login("viewer", "other", ("Basic",))),
    "garbage": Script(login=LOGIN, ending=(1.0, "garbage")),
    "loss": Script(login=LOGIN, clip=clip("h265", gop=45, pictures=315), drop=lossy(0.05, seed=1), tcp=461, mtu=300),
    "another codec": Script(login=LOGIN, switch=(10, clip("h265"))),
    "refused": Script(login=LOGIN, statuses={"SETUP": 453}),
}


def printed(kind: str, url: str, seconds: float = 4.0) -> tuple[str, list[str]]:
    """What a process with this camera prints, and the lines of it that are on stderr, where its log is."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, kind, str(seconds)],
        input=url,
        capture_output=True,
        text=True,
        timeout=180,
        cwd=Path(__file__).parent.parent,
    )
    return child.stdout + child.stderr, child.stderr.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_but_edged_prints(name: str) -> None:
    with ScriptedServer(SCRIPTS[name]) as server:
        output, log = printed("rtsp", server.url("stream", "viewer", PASSWORD))
    assert PASSWORD not in output
    assert [line for line in log if not re.match(r"(DEBUG|INFO|WARNING):edged\.", line)] == []
    assert any("camera dock: " in line for line in log)


def png_with(chunk: bytes) -> bytes:
    """A PNG with this chunk, whose checksum is wrong, after its header."""
    whole = encoded(".png")
    return whole[:33] + len(chunk[4:]).to_bytes(4, "big") + chunk + bytes(4) + whole[33:]


def encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))[1].tobytes()


def test_nothing_but_edged_prints_about_damaged_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(".png")[:500])
    (tmp_path / "b.png").write_bytes(png_with(b"iCCPprofile"))
    for suffix in (".bmp", ".ppm", ".tif", ".webp"):
        (tmp_path / f"c{suffix}").write_bytes(encoded(suffix)[:500])
    output, log = printed("path", str(tmp_path), 1.5)
    for path in sorted(tmp_path.iterdir()):
        assert (str(path) in output) == (path.name != "b.png"), output
    assert [line for line in log if not re.match(r"(DEBUG|INFO|WARNING):edged\.", line)] == []


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_password_of_an_unreachable_camera_is_not_printed(scheme: str) -> None:
    output, _ = printed(scheme, f"{scheme}://viewer:{PASSWORD}@127.0.0.1:{free_port()}/a", 0.5)
    assert "connection refused" in output
    assert PASSWORD not in output
