"""USB cameras in a config: size, rate, warm-up, and sources that can become another camera."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.config import MODEL, problems, write

from edged.config.credentials import Credentials
from edged.config.document import Document
from edged.config.load import load
from edged.config.problems import Report
from edged.config.sources import Surroundings
from edged.config.usb_devices import UsbDevices
from edged.core.interfaces import Publisher
from edged.core.specs import CameraSpec
from edged.service.camera_runtime import CameraRuntime
from edged.service.outcomes import LastAnswer, Outcome


def camera(folder: Path, keys: str = "", source: str = "usb:/dev/null") -> CameraSpec:
    text = f"{MODEL}cameras: {{dock: {{source: {source}, {keys}ask: {{a: {{prompt: x}}}}}}}}\n"
    return load(write(folder, text)).cameras[0]


def test_size_rate_and_warm_up_belong_to_the_connection(tmp_path: Path):
    plain, full = camera(tmp_path), camera(tmp_path, "size: 640x480, fps: 10, warm_up: 2s, ")
    assert (plain.size, plain.fps, plain.warm_up_s) == (None, None, 1.0)
    assert (full.size, full.fps, full.warm_up_s) == ((640, 480), 10, 2.0)
    assert camera(tmp_path, "warm_up: 0s, ").warm_up_s == 0
    for key in ("size: 640x480, ", "fps: 10, ", "warm_up: 2s, "):
        assert camera(tmp_path, key).connection != plain.connection


def no_publisher() -> Publisher:
    raise AssertionError("nothing is published")


def test_another_size_is_another_picture_so_everything_is_asked_again(tmp_path: Path):
    before, after = (
        CameraRuntime(spec, "1", no_publisher) for spec in (camera(tmp_path), camera(tmp_path, "size: 1920x1080, "))
    )
    (question,) = before.spec.questions
    last = LastAnswer(question.answer_rev, None, (), None, 0.0, 0.0)
    before.publish([Outcome(question, (), last)], None, 0.0)
    after.inherit(before)
    assert before.last_answer(question) is last
    assert after.last_answer(question) is None


@pytest.mark.parametrize(
    ("source", "key", "sentence"),
    [
        (
            "usb:/dev/null",
            "size: [640, 480]",
            "size must be a width and a height in pixels such as 1280x720, not a list",
        ),
        ("usb:/dev/null", "size: 0x480", "size must be a width and a height in pixels such as 1280x720, not 1152"),
        ("usb:/dev/null", "warm_up: 2", "warm_up needs a unit: 2s, 2m or 2h"),
        ("usb:/dev/null", "warm_up: 5m", 'warm_up must be at most 60s, not "5m"'),
        ("usb:/dev/null", "fps: 0", "fps must be at least 1, not 0"),
        ("pics", "size: 640x480", "size applies to USB cameras only (source: usb:…)"),
        ("http://cam/a.jpg", "warm_up: 1s", "warm_up applies to USB cameras only (source: usb:…)"),
    ],
)
def test_wrong_settings_of_a_usb_camera(tmp_path: Path, source: str, key: str, sentence: str):
    text = f"{MODEL}cameras:\n  dock:\n    source: {source}\n    {key}\n"
    assert problems(tmp_path, text) == [f'edged.yaml:5: camera "dock": {sentence}']


def warnings(folder: Path, source: str, usb: UsbDevices) -> list[str]:
    report = Report(folder / "edged.yaml", Document())
    Surroundings(report, Credentials(report.path), usb).source(source, ("cameras", "dock", "source"))
    return [str(warning) for warning in report.warnings() if warning.kind == "unstable_device"]


def plug(root: Path, name: str, port: str) -> None:
    """One of several cameras with the same serial number, in a stand-in for sysfs and /dev."""
    interface = root / "devices" / port / f"{port}:1.0"
    interface.mkdir(parents=True)
    (interface.parent / "idVendor").write_text("046d\n")
    (root / "sysfs" / name).mkdir(parents=True)
    (root / "sysfs" / name / "device").symlink_to(interface)
    for folder, link in (("by-id", "usb-Cam-video-index0"), ("by-path", f"usb-{port}-video-index0")):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / link).unlink(missing_ok=True)
        (root / folder / link).symlink_to(root / "dev" / name)


def test_a_number_that_can_become_another_camera_is_a_warning_with_the_stable_link(tmp_path: Path):
    usb = UsbDevices(tmp_path / "sysfs", tmp_path / "by-id", tmp_path / "by-path")
    begin = (
        f'{tmp_path}/edged.yaml: camera "dock": usb:0 can become another camera when cameras are plugged in; use usb:'
    )
    assert warnings(tmp_path, "usb:0", usb) == [f"{begin}/dev/v4l/by-id/…"]
    plug(tmp_path, "video0", "1-1")
    assert warnings(tmp_path, "usb:0", usb) == [f"{begin}{tmp_path}/by-id/usb-Cam-video-index0"]
    plug(tmp_path, "video2", "1-2")
    assert warnings(tmp_path, "usb:0", usb) == [f"{begin}{tmp_path}/by-path/usb-1-1-video-index0"]


def test_the_node_of_a_number_is_as_unstable_as_the_number(tmp_path: Path):
    usb = UsbDevices(tmp_path / "sysfs", tmp_path / "by-id", tmp_path / "by-path")
    plug(tmp_path, "video0", "1-1")
    assert warnings(tmp_path, "usb:/dev/video0", usb) == [
        f'{tmp_path}/edged.yaml: camera "dock": usb:/dev/video0 can become another camera when cameras are plugged in; '
        f"use usb:{tmp_path}/by-id/usb-Cam-video-index0"
    ]


def test_a_link_that_two_cameras_share_is_a_warning(tmp_path: Path):
    usb = UsbDevices(tmp_path / "sysfs", tmp_path / "by-id", tmp_path / "by-path")
    link = f"usb:{tmp_path}/by-id/usb-Cam-video-index0"
    plug(tmp_path, "video0", "1-1")
    assert warnings(tmp_path, link, usb) == []
    plug(tmp_path, "video2", "1-2")
    assert warnings(tmp_path, link, usb) == [
        f'{tmp_path}/edged.yaml: camera "dock": several cameras share the link {link.removeprefix("usb:")}: '
        f"only their ports tell them apart; use usb:{tmp_path}/by-path/usb-1-2-video-index0"
    ]
    assert warnings(tmp_path, f"usb:{tmp_path}/by-path/usb-1-1-video-index0", usb) == []
