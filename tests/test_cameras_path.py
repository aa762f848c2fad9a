"""Picture files, folders and clips as cameras, and reads that hang."""

from __future__ import annotations

import gc
import logging
import os
import socket
import struct
import threading
import time
import wave
import weakref
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support.broker import until
from support.cameras import Watched, spec
from support.http import jpeg

from edged.cameras.clip import picture_at
from edged.cameras.health import UNEXPECTED
from edged.cameras.path_camera import PathCamera
from edged.cameras.source import close_all
from edged.config.load import load
from edged.core.errors import CameraError, Stopped


def write(path: Path, shade: int) -> Path:
    path.write_bytes(jpeg(shade))
    return path


def clip(path: Path) -> Path:
    """One second, 20 pictures that get brighter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), number * 10, np.uint8))
    writer.release()
    return path


def shade(watched: Watched) -> int:
    return int(watched.grab().rgb.mean().round())


def at(path: Path) -> Watched:
    return Watched(spec(str(path), "path"))


# --- files ---


def test_picture_file_is_captured_when_it_is_read(tmp_path: Path) -> None:
    with at(write(tmp_path / "a.jpg", 50)) as watched:
        assert shade(watched) == 50
        write(tmp_path / "a.jpg", 90)
        frame = watched.grab()
        assert round(frame.rgb.mean()) == 90
        assert frame.age_s() < 1
        assert [state.online for state in watched.states] == [True]


@pytest.mark.parametrize("name", ["latest.jpg", "latest"])
def test_link_that_leads_to_another_picture_is_followed_at_each_look(tmp_path: Path, name: str) -> None:
    link = tmp_path / name
    link.symlink_to(write(tmp_path / "a.jpg", 50))
    source = load(config_with(tmp_path, name)).cameras[0].source
    with at(Path(source.address.reveal())) as watched:
        assert shade(watched) == 50
        link.unlink()
        link.symlink_to(write(tmp_path / "b.jpg", 90))
        assert shade(watched) == 90


def config_with(folder: Path, source: str) -> Path:
    path = folder / "edged.yaml"
    path.write_text(f"version: 1\nmodel: {{path: m}}\nmqtt: {{}}\ncameras: {{dock: {{source: {source}}}}}\n")
    return path


def test_folder_is_read_by_name_and_listed_again_after_its_last_picture(tmp_path: Path) -> None:
    write(tmp_path / "b.jpg", 20)
    write(tmp_path / "a.JPG", 10)
    (tmp_path / "notes.txt").write_text("no picture")
    with at(tmp_path) as watched:
        assert [shade(watched)] == [10]
        write(tmp_path / "aa.jpg", 15)
        assert [shade(watched) for _ in range(4)] == [20, 10, 15, 20]


def test_pictures_of_a_folder_that_vanished_are_passed_over(tmp_path: Path) -> None:
    """As in a folder whose oldest pictures are deleted all the time."""
    for number in range(5):
        write(tmp_path / f"a{number}.jpg", 10 * number + 10)
    with at(tmp_path) as watched:
        assert shade(watched) == 10
        for number in range(1, 4):
            (tmp_path / f"a{number}.jpg").unlink()
        write(tmp_path / "b0.jpg", 90)
        assert [shade(watched) for _ in range(4)] == [50, 10, 50, 90]
        for path in tmp_path.iterdir():
            path.unlink()
        write(tmp_path / "c.jpg", 120)
        assert shade(watched) == 120, "listed again when none of the known ones is left"
        assert [state.online for state in watched.states] == [True]


def test_hidden_files_of_a_folder_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7")  # as macOS leaves beside a file on a share
    write(tmp_path / "a.jpg", 10)
    with at(tmp_path) as watched:
        assert [shade(watched) for _ in range(2)] == [10, 10]


def test_unreadable_picture_of_a_folder_is_named_and_skipped_at_the_next_look(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(10)[:100])
    write(tmp_path / "b.jpg", 20)
    with at(tmp_path) as watched:
        with pytest.raises(CameraError, match=r"a\.jpg: the JPEG is truncated"):
            watched.grab()
        assert shade(watched) == 20
        assert [state.online for state in watched.states] == [False, True]


def test_missing_file_is_logged_once_and_read_when_it_appears(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edged.camera")
    path = tmp_path / "a.jpg"
    with at(path) as watched:
        for _ in range(3):
            with pytest.raises(CameraError, match="cannot be read: No such file"):
                watched.grab()
        write(path, 70)
        assert shade(watched) == 70
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"camera dock: {path} cannot be read: No such file or directory"),
        ("INFO", "camera dock: connected (picture file, 64x48) after 0 s (3 tries)"),
    ]


@pytest.mark.parametrize(("name", "reason"), [("empty", "contains no picture"), ("none.mp4", "does not exist")])
def test_source_without_pictures_is_an_error_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    with at(tmp_path / name) as watched, pytest.raises(CameraError, match=reason):
        watched.grab()


@pytest.mark.slow
def test_clip_advances_with_the_time_and_repeats(tmp_path: Path) -> None:
    with at(clip(tmp_path / "clip.avi")) as watched:
        began, seen = time.monotonic(), []
        while time.monotonic() - began < 1.3:
            seen.append((time.monotonic() - began, shade(watched) / 10))
            threading.Event().wait(0.1)
    for moment, number in seen:
        behind = (moment * 20 - number + 1) % 20
        assert behind < 9, f"picture {number} at {moment:.2f} s"
    assert len({round(number) for _, number in seen}) > 3


def filmed(path: Path, times: list[float]) -> Path:
    """A clip whose pictures are shown from these times on (s): the first is black, each is brighter by 20."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 3
        stream.codec_context.max_b_frames = 0
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, at_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 20, np.uint8), format="bgr24")
            frame.pts, frame.time_base = round(at_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_clip_is_paced_by_its_time_stamps_and_repeats(tmp_path: Path, suffix: str) -> None:
    """As from a motion recorder, whose pictures are not equally far apart."""
    path = filmed(tmp_path / f"a.{suffix}", [0, 0.1, 0.2, 3.0, 3.1, 3.2, 3.3, 8.0, 8.04])
    moments = {0.0: 0, 0.15: 1, 1.5: 2, 2.9: 2, 3.05: 3, 3.25: 5, 7.9: 6}
    shown = {moment: round(picture_at(path, moment).mean() / 20) for moment in moments}
    assert shown == moments
    with av.open(str(path)) as container:
        duration_s = (container.duration or 0) / av.time_base
    assert round(picture_at(path, duration_s + 1.5).mean() / 20) == 2, "from the beginning"


def test_clip_filmed_on_the_side_is_upright(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.mp4", [0, 1])
    data = path.read_bytes()
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    at = data.index(upright, data.index(b"tkhd"))  # the movie's own matrix comes first
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])
    assert picture_at(path, 0).shape == (64, 48, 3)


def test_file_that_is_neither_picture_nor_clip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no clip")
    with at(tmp_path / "a.mp4") as watched, pytest.raises(CameraError, match="neither a picture nor a video clip"):
        watched.grab()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("name", ["a.jpg", "a.mp4"])
@pytest.mark.parametrize("make", [fifo, unix_socket, device])
def test_anything_but_a_regular_file_is_refused_at_once(tmp_path: Path, make, name: str) -> None:
    make(tmp_path / name)
    with at(tmp_path / name) as watched:
        assert watched.outcome() == f"{tmp_path / name} is not a regular file" == watched.states[0].reason


def test_fifo_in_a_folder_is_named_and_skipped_at_the_next_look(tmp_path: Path) -> None:
    fifo(tmp_path / "a.jpg")
    write(tmp_path / "b.jpg", 20)
    with at(tmp_path) as watched:
        assert watched.outcome() == f"{tmp_path / 'a.jpg'} is not a regular file"
        assert watched.outcome() == "a picture of 64 columns"


def test_picture_file_beyond_64_mib_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.write(jpeg(10))
        file.truncate(64 * 1024 * 1024 + 1)
    with at(tmp_path / "a.jpg") as watched:
        assert watched.outcome() == f"{tmp_path / 'a.jpg'} is larger than 64 MiB"


def test_first_picture_of_a_file_is_logged_at_debug(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "edged.camera")
    with at(write(tmp_path / "a.jpg", 50)) as watched:
        watched.grab()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "camera dock: connected (picture file, 64x48)")
    ]


def test_a_camera_whose_look_fails_unexpectedly_is_offline(tmp_path: Path) -> None:
    def read(path: Path) -> np.ndarray:
        raise ZeroDivisionError

    with Watched(spec(str(tmp_path / "a.jpg"), "path"), PathCamera, read=read) as watched:
        with pytest.raises(ZeroDivisionError):
            watched.grab()
        assert [(state.online, state.reason) for state in watched.states] == [(False, UNEXPECTED)]


@pytest.mark.parametrize("kind", ["clip", "folder"])
def test_no_frame_is_held_after_its_look(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a.jpg", 10)
    gc.disable()
    try:
        with at(clip(tmp_path / "clip.avi") if kind == "clip" else tmp_path) as watched:
            for _ in range(2):
                frame = weakref.ref(watched.grab().rgb)
                assert frame() is None
    finally:
        gc.enable()


# --- reads that hang ---


class FakeRead:
    """A network share: reads block until `works` is set. Refers weakly to the pictures it returned."""

    def __init__(self) -> None:
        self.works, self.started = threading.Event(), threading.Event()
        self.works.set()
        self.reads = 0
        self.pictures: list[weakref.ref[np.ndarray]] = []
        self.error: Exception | None = None
        self.done = 0

    def __call__(self, path: Path) -> np.ndarray:
        self.reads += 1
        picture = np.full((48, 64, 3), self.reads, np.uint8)
        self.pictures.append(weakref.ref(picture))
        self.started.set()
        self.works.wait(20)
        self.done += 1
        if self.error:
            raise self.error
        return picture

    def held(self) -> int:
        return sum(picture() is not None for picture in self.pictures)


def sharing(read: FakeRead, tmp_path: Path, limit_s: float = 0.3) -> Watched:
    return Watched(spec(str(tmp_path / "a.jpg"), "path"), PathCamera, read=read, limit_s=limit_s)


def test_read_that_hangs_is_a_lost_camera_until_it_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edged.camera")
    read = FakeRead()
    with sharing(read, tmp_path) as watched:
        assert shade(watched) == 1
        read.works.clear()
        reason = f"{tmp_path / 'a.jpg'} did not answer within 0.3 s"
        for longest_s in (2.0, 0.2, 0.2):
            began = time.monotonic()
            with pytest.raises(CameraError) as caught:
                watched.grab()
            assert str(caught.value) == reason
            assert time.monotonic() - began < longest_s
        assert read.reads == 2, "nothing piles up behind it"
        assert [thread.name for thread in threading.enumerate()].count("camera-dock") == 1
        read.works.set()
        until(lambda: read.done == 2)
        until(lambda: "camera-dock" not in {thread.name for thread in threading.enumerate()})
        assert shade(watched) == 3, "what came too late is not passed as fresh"
    assert [(state.online, state.reason) for state in watched.states] == [(True, None), (False, reason), (True, None)]
    assert [record.getMessage().partition(" after")[0] for record in caplog.records] == [
        f"camera dock: {reason}",
        "camera dock: back",
    ]


def test_look_at_a_share_that_hangs_ends_when_edged_stops(tmp_path: Path) -> None:
    read = FakeRead()
    read.works.clear()
    with sharing(read, tmp_path, 20) as watched:
        threading.Timer(0.2, watched.stop.set).start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            watched.grab()
        assert time.monotonic() - began < 1
        read.works.set()


@pytest.mark.slow
def test_close_takes_a_second_at_most_and_ends_the_look(tmp_path: Path) -> None:
    read = FakeRead()
    read.works.clear()
    with sharing(read, tmp_path, 20) as watched:
        threading.Timer(0.2, watched.camera.close).start()
        began = time.monotonic()
        with pytest.raises(CameraError, match="closed"):
            watched.grab()
        assert time.monotonic() - began < 1
        began = time.monotonic()
        assert not close_all([watched.camera])
        assert time.monotonic() - began < 1.5
    read.works.set()
    until(lambda: close_all([]))
    assert watched.states == []


def test_two_looks_at_once_read_one_after_the_other(tmp_path: Path) -> None:
    read = FakeRead()
    read.works.clear()
    seen: list[int] = []
    with sharing(read, tmp_path, 10) as watched:
        looks = [threading.Thread(target=lambda: seen.append(shade(watched)), daemon=True) for _ in range(2)]
        for look in looks:
            look.start()
        assert read.started.wait(10)
        looks[0].join(0.2)
        assert read.reads == 1
        read.works.set()
        for look in looks:
            look.join(10)
    assert sorted(seen) == [1, 2]


def test_unexpected_error_of_a_read_reaches_the_look_and_the_camera_goes_on(tmp_path: Path) -> None:
    read = FakeRead()
    with sharing(read, tmp_path) as watched:
        read.error = ZeroDivisionError("in the reader")
        with pytest.raises(ZeroDivisionError, match="in the reader"):
            watched.grab()
        read.error = None
        assert shade(watched) == 2


@pytest.mark.parametrize("error", [None, CameraError("damaged"), ZeroDivisionError("in the reader")])
def test_no_pixels_are_held_after_a_look(tmp_path: Path, error: Exception | None) -> None:
    read = FakeRead()
    gc.disable()
    try:
        with sharing(read, tmp_path) as watched:
            frame = weakref.ref(watched.grab().rgb)
            read.error = error
            for _ in range(3):
                with suppress(CameraError, ZeroDivisionError):
                    watched.grab()
            read.error = None
            if error:
                error.__traceback__ = None  # this test refers to the error, and the error to the frames of its stack
                error.__context__ = None
            until(lambda: not read.held() and frame() is None, timeout_s=2)
    finally:
        gc.enable()


def test_no_pixels_of_a_read_that_came_too_late_are_held(tmp_path: Path) -> None:
    read = FakeRead()
    with sharing(read, tmp_path) as watched:
        read.works.clear()
        with pytest.raises(CameraError):
            watched.grab()
        read.works.set()
        until(lambda: read.done == 1 and not read.held(), timeout_s=2)


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with pytest.raises(CameraError) as caught:
        picture_at(tmp_path / "sound.wav", 0.0)
    assert str(caught.value) == f"{tmp_path}/sound.wav is neither a picture nor a video clip of known length"
