"""The parts of USB cameras that need no device: time stamps, warm-up, sizes, identities, and reasons in words."""

from __future__ import annotations

import errno
import grp
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.usb import FakeCapture, black, scene

from edged.cameras.usb_device import LocalUsb, examine, video_node
from edged.cameras.usb_format import DEFAULT_SIZE, MJPG, Wanted, choose_size, describe, set_up
from edged.cameras.usb_identity import IdentityGuard
from edged.cameras.usb_reasons import HeldByEdged, is_open_here, open_reason, owner_hint, start_reason
from edged.cameras.usb_session import StartTime
from edged.cameras.usb_stamps import StampClock
from edged.cameras.usb_v4l2 import VideoNode
from edged.cameras.usb_warm_up import BlankPictures, WarmUp
from edged.config.usb_devices import Identity, UsbDevices
from edged.core.errors import CameraError

SIZES = {"MJPG": [(640, 480), (1920, 1080)], "YUYV": [(640, 480), (1280, 720)]}
WALL = 1_785_000_000.0


# time stamps


def ages(delays: list[float], clock_offset_s: float = 0.0) -> list[float]:
    """The ages of pictures that arrive this long after their capture, stamped by a clock with this offset."""
    clock = StampClock()
    nows = [1000.0 + number / 30 for number in range(len(delays))]
    return [
        round(now - clock.captured(now - delay + clock_offset_s, now), 6)
        for now, delay in zip(nows, delays, strict=True)
    ]


def test_a_stamp_of_the_monotonic_clock_is_the_capture() -> None:
    assert ages([0.03, 0.5, 0.03]) == [0.03, 0.5, 0.03]


def test_an_old_stamp_is_that_of_an_old_picture_at_any_age() -> None:
    assert ages([0.03] * 40 + [90.0] * 4 + [0.03]) == [0.03] * 40 + [90.0] * 4 + [0.03]
    assert ages([90.0] * 4 + [0.03] * 40) == [90.0] * 4 + [0.03] * 40, "stopped directly after it was opened"


def test_no_stamp_means_the_arrival() -> None:
    assert StampClock().captured(0.0, 1000.0) == 1000.0


def test_a_stamp_that_is_a_frame_ahead_counts_as_now() -> None:
    assert ages([-0.03, -0.03]) == [0.0, 0.0]


@pytest.mark.parametrize("offset_s", [WALL, 3600.0], ids=["wall clock", "time since boot"])
def test_stamps_of_a_clock_that_is_ahead_are_told_at_once(offset_s: float) -> None:
    assert ages([0.03] * 5 + [90.0, 0.03], offset_s) == [0.0] * 5 + [89.97, 0.0]


def test_stamps_of_a_clock_that_is_behind_are_told_from_old_pictures_after_some() -> None:
    assert ages([0.03] * 20 + [90.0, 0.03], -900.0) == [900.03] * 9 + [0.0] * 11 + [89.97, 0.0]


def test_a_wall_clock_that_was_set_back_is_learned_again() -> None:
    clock = StampClock()
    for number in range(40):
        clock.captured(WALL + number / 30, 1000 + number / 30)
    after = [
        1010.0 + number / 30 - clock.captured(WALL - 90 + number / 30, 1010.0 + number / 30) for number in range(40)
    ]
    assert after[0] > 90
    assert after[-1] == pytest.approx(0, abs=1e-6)


# warm-up and black pictures


def picture(level: float) -> np.ndarray:
    return np.clip(scene(0).astype(float) + level, 0, 255).astype(np.uint8)


def settles_after(levels: list[float], limit_s: float = 1.0) -> float | None:
    """The time of the first picture to be used, at 20 pictures a second."""
    warm_up = WarmUp(limit_s, 0.0)
    times = (number / 20 for number, level in enumerate(levels) if warm_up.is_over(picture(level), number / 20))
    return next(times, None)


def test_the_warm_up_ends_when_the_brightness_is_steady() -> None:
    assert settles_after([100.0] * 20) == 0.3
    assert settles_after([0.0, 20.0, 40.0, 60.0] + [80.0] * 20) == pytest.approx(0.5)


def test_the_warm_up_ends_after_its_time_whatever_the_brightness() -> None:
    assert settles_after([number * 4.0 for number in range(40)]) == 1.0


def test_no_warm_up_uses_the_first_picture() -> None:
    assert settles_after([0.0], limit_s=0.0) == 0.0


def test_a_black_picture_is_steady_and_no_end_of_the_warm_up() -> None:
    warm_up = WarmUp(1.0, 0.0)
    assert [warm_up.is_over(black(), number / 10) for number in range(11)] == [False] * 10 + [True]


def test_a_picture_of_one_value_is_refused_until_it_lasts() -> None:
    blank = BlankPictures()
    problem = "black picture: all of it has the same value"
    assert [blank.problem(black(), now) for now in (0.0, 9.9, 10.0, 60.0)] == [problem, problem, None, None]
    assert blank.problem(scene(1), 61.0) is None
    assert blank.problem(black(), 62.0) == problem


def test_one_bright_pixel_is_a_scene() -> None:
    dark = black()
    dark[7, 9] = 200
    assert BlankPictures().problem(dark, 0.0) is None


def test_green_is_what_an_empty_buffer_looks_like() -> None:
    green = np.full((48, 64, 3), (0, 135, 0), np.uint8)
    assert BlankPictures().problem(green, 0.0) == "blank picture: all of it has the same value"


# sizes and formats


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ((640, 480), (640, 480)),
        ((1280, 720), (1920, 1080)),
        ((1024, 768), (1600, 1200)),
        ((4000, 3000), (1920, 1080)),
        ((100, 100), (640, 480)),
    ],
)
def test_the_next_larger_size_is_taken_or_else_the_largest(wanted: tuple[int, int], taken: tuple[int, int]) -> None:
    sizes = [(1920, 1080), (640, 480), (1600, 1200), (1024, 576)]
    assert choose_size(sizes if wanted != (1280, 720) else sizes[:2], wanted) == taken


def test_a_driver_that_does_not_list_sizes_is_asked_for_the_wanted_one() -> None:
    assert choose_size([], DEFAULT_SIZE) == DEFAULT_SIZE


def test_mjpg_at_1080p_is_better_than_480p_where_720p_is_missing() -> None:
    capture = FakeCapture(sizes=SIZES["MJPG"])
    set_up(capture, Wanted(), SIZES)
    assert describe(capture) == "MJPG 1920x1080 at 30 fps"


def test_a_camera_without_mjpg_gets_a_size_of_its_own_format() -> None:
    capture = FakeCapture(has_mjpg=False, sizes=SIZES["YUYV"])
    set_up(capture, Wanted(), SIZES)
    assert describe(capture) == "YUYV 1280x720 at 30 fps"
    assert cv2.CAP_PROP_CONVERT_RGB not in capture.values


def test_size_and_rate_come_from_the_config_and_the_format_before_the_size() -> None:
    capture = FakeCapture(sizes=SIZES["MJPG"])
    set_up(capture, Wanted((640, 480), 10), SIZES)
    assert describe(capture) == "MJPG 640x480 at 10 fps"
    assert capture.values[cv2.CAP_PROP_FOURCC] == MJPG
    assert capture.order == [
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
        cv2.CAP_PROP_CONVERT_RGB,
    ]


def test_patience_for_the_first_picture_is_learned() -> None:
    start = StartTime()
    assert start.patience_s == 20
    start.succeeded(0.5)
    assert start.patience_s == 10
    start.succeeded(8)
    assert start.patience_s == 24
    start.failed()
    assert start.patience_s == 30


# the device, by a stand-in for its driver


class FakeDriver:
    """Answers ioctl as a V4L2 driver with these flags and sizes does; `errors` by the number of the request."""

    def __init__(self, flags: int = 0x1, sizes: dict[str, list[tuple[int, int]]] | None = None) -> None:
        self.flags, self.sizes = flags, sizes or SIZES
        self.errors: dict[int, int] = {}
        self.calls: list[int] = []
        self.ranges = False

    def __call__(self, _handle: int, request: int, data: bytearray) -> None:
        number = request & 0xFF
        self.calls.append(number)
        if number in self.errors:
            raise OSError(self.errors[number], os.strerror(self.errors[number]))
        assert request >> 16 & 0x3FFF == len(data), "the size of the argument is part of the request"
        match number:
            case 0:  # QUERYCAP
                struct.pack_into("II", data, 84, 0x80000001, self.flags)
            case 2:  # ENUM_FMT
                self._enumerate(data, [name.encode() for name in self.sizes], 44)
            case 74:  # ENUM_FRAMESIZES
                code = bytes(data[4:8]).decode()
                kind = 2 if self.ranges else 1
                self._enumerate(data, [struct.pack("III", kind, *size) for size in self.sizes[code]], 8)

    def _enumerate(self, data: bytearray, entries: list[bytes], offset: int) -> None:
        (index,) = struct.unpack_from("I", data)
        if index >= len(entries):
            raise OSError(errno.EINVAL, "")
        data[offset : offset + len(entries[index])] = entries[index]


def test_the_sizes_of_each_format_are_read_from_the_driver() -> None:
    driver = FakeDriver()
    assert examine("/dev/video0", VideoNode(3, driver)) == SIZES
    driver.ranges = True
    assert VideoNode(3, driver).sizes() == {"MJPG": [], "YUYV": []}
    driver.errors = {74: errno.ENOTTY}
    assert VideoNode(3, driver).sizes() == {"MJPG": [], "YUYV": []}


@pytest.mark.parametrize(
    ("flags", "errors", "reason"),
    [
        (0x1, {0: errno.ENOTTY}, "/dev/video1 is not a video device"),
        (0x1, {8: errno.EBUSY}, "/dev/video1 is in use by another program"),
        (0x1, {8: errno.ENODEV}, "/dev/video1 does not exist (unplugged?)"),
        (0x1, {8: errno.EIO}, "/dev/video1 does not respond: Input/output error"),
        (
            0x800000,
            {},
            "/dev/video1 is a metadata node of this camera, not its video node "
            "(which usually has the number before it)",
        ),
        (0x2, {}, "/dev/video1 is a video device, but not a camera: it delivers no pictures"),
    ],
)
def test_each_reason_why_a_device_cannot_be_used(flags: int, errors: dict[int, int], reason: str) -> None:
    driver = FakeDriver(flags)
    driver.errors = errors
    with pytest.raises(CameraError) as caught:
        examine("/dev/video1", VideoNode(3, driver))
    assert str(caught.value) == reason


def test_a_device_that_this_process_has_open_is_not_in_use_by_another_program() -> None:
    driver = FakeDriver()
    driver.errors = {8: errno.EBUSY}
    assert not is_open_here("/dev/full")
    with Path("/dev/full").open("wb"), video_node("/dev/full"):
        assert is_open_here("/dev/full")
        with pytest.raises(HeldByEdged, match="still in use by edged itself"):
            examine("/dev/full", VideoNode(3, driver))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the USB controller has not enough bandwidth left for this camera"),
        (errno.EIO, "the driver of /dev/video0 refused to start the stream: Input/output error"),
        (errno.EBUSY, "/dev/video0 is in use by another program"),
        (errno.ENODEV, "/dev/video0 does not exist (unplugged?)"),
    ],
)
def test_a_driver_that_refuses_to_start_says_why(code: int, reason: str) -> None:
    driver = FakeDriver()
    driver.errors = {18: code}
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        VideoNode(3, driver).try_start()
    assert start_reason("/dev/video0", caught.value).startswith(reason)
    assert driver.calls.count(15) == 4, "drivers start once there are buffers"


@pytest.mark.parametrize("path", ["/dev/video97", "/dev/v4l/by-id/usb-none-video-index0"])
def test_a_missing_device_is_named(path: str) -> None:
    with pytest.raises(CameraError) as caught:
        LocalUsb().open(path, Wanted())
    assert str(caught.value) == f"{path} does not exist (unplugged?)"
    assert LocalUsb().why_not_started(path) == f"{path} does not exist (unplugged?)"
    assert LocalUsb().node_state(path) is None


def test_other_devices_and_files_are_no_cameras(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    for path in ("/dev/null", str(tmp_path / "video0")):
        with pytest.raises(CameraError, match=f"^{path} is not a video device$"):
            LocalUsb().open(path, Wanted())
    assert LocalUsb().why_not_started("/dev/null") == (
        "the driver of /dev/null refused to start the stream: Inappropriate ioctl for device"
    )


def test_what_is_no_camera_has_no_identity_and_no_twin() -> None:
    usb = LocalUsb()
    assert (usb.identify("/dev/null"), usb.has_twin("/dev/null")) == (None, False)
    assert usb.guard("dock", "/dev/video0") is usb.guard("dock", "/dev/video0")
    assert usb.guard("dock", "/dev/video0") is not usb.guard("yard", "/dev/video0")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.EBUSY, "is in use by another program"),
        (errno.ENXIO, "does not exist (unplugged?)"),
        (errno.EMFILE, "cannot be opened: Too many open files"),
    ],
)
def test_a_device_that_cannot_be_opened_says_why(code: int, reason: str) -> None:
    assert open_reason("/dev/video0", OSError(code, os.strerror(code))) == reason


def test_a_device_without_permission_names_its_group(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.touch(mode=0)
    group = grp.getgrgid(path.stat().st_gid).gr_name
    assert open_reason(str(path), PermissionError(errno.EACCES, "")) == (
        f"cannot be opened by this user (it belongs to the group {group}, and has the mode 0000)"
    )
    assert owner_hint(0o020660, 4242, {1}) == ", who is not in the group 4242"
    assert owner_hint(0o020660, 4242, {4242}) == " (it belongs to the group 4242, and has the mode 0660)"
    assert open_reason("/none", PermissionError(errno.EACCES, "")) == "cannot be opened by this user"
    assert "DeviceAllow=" in open_reason("/none", PermissionError(errno.EPERM, ""))


def test_a_node_that_is_created_again_or_gets_other_permissions_has_another_state(tmp_path: Path) -> None:
    node = tmp_path / "video0"
    node.touch()
    states = [LocalUsb().node_state(str(node))]
    node.chmod(0o600)
    states.append(LocalUsb().node_state(str(node)))
    (tmp_path / "new").touch()
    (tmp_path / "new").rename(node)
    states.append(LocalUsb().node_state(str(node)))
    assert len(set(states)) == 3


# identity


def plug(root: Path, name: str, port: str, serial: str, index: int = 0) -> Path:
    """A camera in a stand-in for sysfs and /dev, as two nodes of one USB device have it; its node."""
    usb = root / "devices" / port
    interface = usb / f"{port}:1.0"
    interface.mkdir(parents=True, exist_ok=True)
    for file, text in (("idVendor", "046d"), ("idProduct", "0825"), ("serial", serial)):
        (usb / file).write_text(text + "\n")
    entry = root / "class" / name
    entry.mkdir(parents=True)
    (entry / "name").write_text("HD Webcam\x1b: HD Web\n")  # the kernel repeats it, and cuts it
    (entry / "device").symlink_to(interface)
    node = root / "dev" / name
    node.parent.mkdir(exist_ok=True)
    node.touch()
    link(root / "by-id", f"usb-046d_HD_Webcam_{serial}-video-index{index}", node)
    link(root / "by-path", f"pci-0000:00:14.0-usb-0:{port}:1.0-video-index{index}", node)
    return node


def link(folder: Path, name: str, node: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(node)


def devices(root: Path) -> UsbDevices:
    return UsbDevices(root / "class", root / "by-id", root / "by-path")


def test_a_camera_is_identified_by_port_product_serial_and_name(tmp_path: Path) -> None:
    plug(tmp_path, "video0", "1-1", "12AB")
    found = devices(tmp_path).identify(str(tmp_path / "by-id" / "usb-046d_HD_Webcam_12AB-video-index0"))
    assert found == Identity("1-1", "046d:0825", "12AB", "HD Webcam")
    assert devices(tmp_path).identify("/dev/video7") is None


def test_cameras_are_proposed_by_id_and_by_path_where_two_have_one_serial(tmp_path: Path) -> None:
    plug(tmp_path, "video0", "1-1", "12AB")
    plug(tmp_path, "video1", "1-1", "12AB", index=1)
    plug(tmp_path, "video2", "1-2", "SAME")
    plug(tmp_path, "video10", "1-3", "SAME")
    plug(tmp_path, "video11", "1-3", "SAME", index=1)
    usb = devices(tmp_path)
    assert usb.twins("/dev/video0") == []
    assert usb.twins("/dev/video2") == ["/dev/video10"]
    assert usb.cameras() == [
        f"{tmp_path}/by-id/usb-046d_HD_Webcam_12AB-video-index0",
        f"{tmp_path}/by-path/pci-0000:00:14.0-usb-0:1-2:1.0-video-index0",
        f"{tmp_path}/by-path/pci-0000:00:14.0-usb-0:1-3:1.0-video-index0",
    ]


FIRST = Identity("1-1", "046d:0825", "12AB", "HD Webcam")


@pytest.mark.parametrize(
    ("found", "has_twin", "accepted"),
    [
        (FIRST, False, True),
        (FIRST, True, True),
        (None, False, True),
        (Identity("1-2", "046d:0825", "12AB", "HD Webcam"), False, True),  # moved to another port
        (Identity("1-2", "046d:0825", "12AB", "HD Webcam"), True, False),  # or the other one of the two
        (Identity("1-1", "046d:0825", "99FF", "HD Webcam"), False, False),
        (Identity("1-1", "046d:0826", "12AB", "HD Webcam"), False, False),
    ],
)
def test_which_camera_counts_as_the_same(found: Identity | None, has_twin: bool, accepted: bool) -> None:
    guard = IdentityGuard()
    guard.check("/dev/video0", FIRST, has_twin=False)
    if accepted:
        guard.check("/dev/video0", found, has_twin)
    else:
        with pytest.raises(CameraError, match="is now another camera"):
            guard.check("/dev/video0", found, has_twin)
        assert guard.known == FIRST


def test_the_camera_of_an_earlier_run_can_be_given() -> None:
    guard = IdentityGuard(Identity("1-1", "046d:0825", "99FF", "HD Webcam"))
    with pytest.raises(CameraError, match="serial 99FF"):
        guard.check("/dev/video0", FIRST, has_twin=False)


def test_a_camera_that_is_not_on_usb_is_known_by_its_device_alone(tmp_path: Path) -> None:
    (tmp_path / "devices/soc-csi").mkdir(parents=True)
    entry = tmp_path / "class/video0"
    entry.mkdir(parents=True)
    (entry / "name").write_text("unicam\n")
    (entry / "device").symlink_to(tmp_path / "devices/soc-csi")
    assert devices(tmp_path).identify("/dev/video0") == Identity("soc-csi", "", "", "unicam")


def test_a_machine_without_video_devices_has_no_cameras(tmp_path: Path) -> None:
    usb = devices(tmp_path)
    assert (usb.cameras(), usb.identify("/dev/video0"), usb.stable_link("/dev/video0")) == ([], None, None)
