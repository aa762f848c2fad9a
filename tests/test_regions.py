"""What the model sees of a camera's picture: turned upright, masked, cut to the region of the question."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event as StopSignal
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.broker import until
from support.config import write
from support.fakes import FakeModel
from support.making import frame, picture
from support.world import World

from edged.cameras.polygon import inside
from edged.cameras.source import open_camera
from edged.config.load import load
from edged.core.errors import ModelError
from edged.core.interfaces import Camera, Noise
from edged.core.specs import CameraSpec, ModelSpec, QuestionSpec, RegionSpec
from edged.core.types import Answer, CameraReport, Exchange, Frame, Reply
from edged.service.region import cut
from edged.service.worker import FIRST_ENCODE_S, LEAST_ENCODE_S

GATE = "gate: {box: [0.25, 0.5, 0.75, 1.0]}"
DOOR = "door: {polygon: [[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]]}"


class SeeingModel(FakeModel):
    """Keeps the pixels that it encodes, and lists its calls: `240x160` for an encode, the name of a question."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[np.ndarray] = []
        self.calls: list[str] = []
        self.broken: str | None = None  # the size at which an encode fails
        self.encoding: Callable[[], object] = lambda: None

    def encode(self, picture: Frame) -> float:
        self.encoding()
        height, width = picture.rgb.shape[:2]
        self.calls.append(f"{width}x{height}")
        if self.calls[-1] == self.broken:
            raise ModelError("model: out of memory")
        self.pictures.append(picture.rgb.copy())
        return super().encode(picture) + len(self.pictures)

    def ask(self, history: Sequence[Exchange], question: QuestionSpec, stop: StopSignal, on_text: Any = None) -> Reply:
        self.calls.append(question.name)
        return super().ask(history, question, stop, on_text)


class Yard(World):
    """A service with a real camera, a picture file, whose config is loaded from a file. One model sees it all."""

    def __init__(self, folder: Path, camera: str) -> None:
        self.folder = folder
        self.model = SeeingModel()
        self.shoot(0)
        super().__init__(self.load(camera))
        self.start()

    def shoot(self, seed: int, width: int = 320, height: int = 240) -> np.ndarray:
        """Replace the camera's picture; its pixels."""
        rgb = picture(seed, width, height)
        self.shoot_rgb(rgb)
        return rgb

    def shoot_rgb(self, rgb: np.ndarray) -> None:
        Image.fromarray(rgb).save(self.folder / "yard.png")

    def load(self, camera: str) -> Any:
        text = f"model: {{path: m}}\nmqtt: {{url: mqtt://first}}\ncameras: {{yard: {{source: yard.png, {camera}}}}}\n"
        return load(write(self.folder, text))

    def change(self, camera: str) -> None:
        self.reload.take(self.load(camera))

    def answers(self) -> list[Answer]:
        """The answers since the last call."""
        given, self.broker().answers[:] = list(self.broker().answers), []
        return given

    def calls(self) -> list[str]:
        """The model's calls since the last call of this."""
        given, self.model.calls[:] = list(self.model.calls), []
        return given

    def _open_camera(self, spec: CameraSpec, report: CameraReport, noise: Noise) -> Camera:  # type: ignore[override]  # a real one
        return open_camera(spec, report, noise)

    def _load_model(self, spec: ModelSpec) -> FakeModel:
        return self.model


@pytest.fixture
def yards(tmp_path: Path) -> Iterator[Any]:
    made: list[Yard] = []

    def make(camera: str) -> Yard:
        made.append(Yard(tmp_path, camera))
        return made[-1]

    yield make
    for yard in made:
        yard.service.queue.halt()
        until(yard.service.queue.gone)
        yard.service.close_cameras("the test is over")


def whole(rgb: np.ndarray) -> Frame:
    return replace(frame(), rgb=rgb)


def ask(name: str, region: str = "") -> str:
    return f"{name}: {{prompt: {name.upper()}?, answer: yes_no{region and f', region: {region}'}}}"


# the pixels


def test_the_model_sees_exactly_the_box_of_the_region(yards):
    yard = yards(f"regions: {{{GATE}}}, ask: {{{ask('open', 'gate')}}}")
    rgb = yard.shoot(5)
    yard.look()
    (seen,) = yard.model.pictures
    assert np.array_equal(seen, rgb[120:240, 80:240])


def test_the_model_sees_the_bounding_box_of_a_polygon_and_black_outside_of_the_polygon(yards):
    yard = yards(f"regions: {{{DOOR}}}, ask: {{{ask('shut', 'door')}}}")
    rgb = yard.shoot(5)
    yard.look()
    rows, columns = np.mgrid[0:120, 0:160] + 0.5
    triangle = rows / 120 + columns / 160 < 1
    (seen,) = yard.model.pictures
    assert np.array_equal(seen, rgb[:120, :160] * triangle[..., np.newaxis])
    assert rgb[:120, :160].any(axis=2).all(), "black in the picture itself would prove nothing"


@pytest.mark.parametrize(("degrees", "turns"), [(90, 3), (180, 2), (270, 1)])
def test_the_picture_is_turned_clockwise_and_masks_and_regions_refer_to_the_turned_one(yards, degrees: int, turns: int):
    yard = yards(
        f"rotate: {degrees}, mask: [{{box: [0.5, 0.5, 1, 1]}}], regions: {{{GATE}}}, "
        f"ask: {{{ask('all')}, {ask('open', 'gate')}}}"
    )
    upright = np.ascontiguousarray(np.rot90(yard.shoot(5), turns))
    height, width = upright.shape[:2]
    upright[height // 2 :, width // 2 :] = 0
    yard.look()
    seen, region = yard.model.pictures
    assert np.array_equal(seen, upright)
    assert np.array_equal(region, upright[height // 2 :, width // 4 : width * 3 // 4])
    assert not region[:, region.shape[1] // 2 :].any()
    assert {answer.frame_sha256 for answer in yard.answers()} == {hashlib.sha256(upright.tobytes()).hexdigest()}


def test_regions_side_by_side_share_no_pixel_and_leave_none_out():
    rgb = picture(1, 320, 240)[:237, :311]
    left = cut(whole(rgb), RegionSpec("left", (0, 0, 0.37, 1))).rgb
    right = cut(whole(rgb), RegionSpec("right", (0.37, 0, 1, 1))).rgb
    assert np.array_equal(np.concatenate([left, right], axis=1), rgb)
    corners = [(0.0, 0.0), (311.0, 0.0), (311.0, 237.0), (0.0, 237.0)]
    lower, upper = ([corners[0], *corners[n : n + 2]] for n in (1, 2))
    assert (inside(lower, 311, 237) + inside(upper, 311, 237) == 1).all()


@pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
def test_a_region_of_a_tiny_picture_has_a_pixel(place: float):
    region = RegionSpec("dot", (place, place, place + 0.01, place + 0.01))
    assert cut(whole(picture(1, 16, 8)), region).rgb.shape == (1, 1, 3)


def test_cutting_leaves_the_frame_as_it_was():
    taken = frame(1)
    before = taken.rgb.copy()
    part = cut(taken, RegionSpec("door", (0, 0, 1, 1), ((0, 0), (1, 0), (0, 1))))
    assert np.array_equal(taken.rgb, before)
    assert (part.sha256, part.captured_at, part.captured_mono) == (taken.sha256, taken.captured_at, taken.captured_mono)
    assert cut(taken, None) is taken


# the questions

ASKED = f"{ask('all')}, {ask('open', 'gate')}, {ask('people')}, {ask('shut', 'door')}, {ask('car', 'gate')}"


def test_each_region_is_encoded_once_and_its_questions_are_asked_in_the_order_of_the_config(yards):
    yard = yards(f"regions: {{{GATE}, {DOOR}}}, ask: {{{ASKED}}}")
    yard.look()
    assert yard.calls() == ["320x240", "all", "people", "160x120", "open", "car", "160x120", "shut"]


def test_an_answer_names_its_region_and_has_its_own_encode_time_and_age_and_the_whole_frames_digest(yards):
    follow_up = "then: {van: {prompt: A van?, answer: yes_no}, lorry: {prompt: A lorry?, when: false}}"
    question = f"car: {{prompt: A car?, answer: yes_no, region: gate, {follow_up}}}"
    yard = yards(f"regions: {{{GATE}}}, ask: {{{ask('all')}, {question}}}")
    yard.model.see_s = 0.05
    rgb = yard.shoot(5)
    yard.look()
    answers = {answer.question: answer for answer in yard.answers()}
    regions = {name: (answer.region, answer.status) for name, answer in answers.items()}
    gate = ("gate", "ok")
    assert regions == {"all": (None, "ok"), "car": gate, "van": gate, "lorry": ("gate", "not_asked")}
    assert [answers[name].timing_ms["encode"] for name in ("all", "car", "van")] == [2, 3, 3]
    # ages are rounded
    assert answers["car"].frame_age_s == answers["van"].frame_age_s >= answers["all"].frame_age_s + 0.049
    assert {answer.frame_sha256 for answer in answers.values()} == {hashlib.sha256(rgb.tobytes()).hexdigest()}


def test_the_next_look_takes_its_frame_at_the_last_question_of_the_last_region(yards):
    yard = yards(f"regions: {{{GATE}, {DOOR}}}, ask: {{{ASKED}}}")
    (worker,) = yard.service.queue.serving().workers
    finishing: dict[str, bool] = {}

    def reply(name: str) -> str:
        finishing[name] = worker.finishing
        return "Yes"

    yard.model.replies = {name: partial(reply, name) for name in ("all", "open", "people", "shut", "car")}
    yard.look()
    assert finishing == {"all": False, "people": False, "open": False, "car": False, "shut": True}


def test_each_encode_has_a_time_limit_of_its_own(yards):
    yard = yards(f"regions: {{{GATE}}}, ask: {{{ask('all')}, {ask('open', 'gate')}}}")
    (worker,) = yard.service.queue.serving().workers
    limits_s: list[float] = []
    yard.model.encoding = lambda: limits_s.append(worker.expected_by - time.monotonic())
    for _ in range(2):
        yard.look()
    sizes = 2
    expected = [FIRST_ENCODE_S] * sizes + [LEAST_ENCODE_S] * sizes
    assert [round(limit_s, -1) for limit_s in limits_s] == expected, "and not the question's"


def test_a_refusal_names_its_region_too(yards):
    yard = yards(f"regions: {{{GATE}}}, ask: {{{ask('all')}, {ask('open', 'gate')}}}")
    (yard.folder / "yard.png").unlink()
    yard.look()
    assert [(answer.region, answer.status) for answer in yard.answers()] == [
        (None, "camera_down"),
        ("gate", "camera_down"),
    ]


def test_a_region_that_cannot_be_encoded_refuses_its_own_questions_and_keeps_the_answers_before_it(yards, caplog):
    yard = yards(f"image: true, regions: {{{GATE}}}, ask: {{{ask('all')}, {ask('open', 'gate')}}}")
    yard.model.broken = "160x120"
    for _ in range(3):
        yard.look()
        answers = yard.answers()
        assert [(answer.question, answer.status) for answer in answers] == [("all", "ok"), ("open", "model_down")]
        assert [answer.timing_ms["encode"] is None for answer in answers] == [False, True]
    assert any(topic == "image" for _, _, topic in yard.broker().retained)
    failures = [message for message in caplog.messages if message.startswith("model: ")]
    assert failures == ["model: out of memory"], "the whole picture, which works, does not end the outage"


def test_an_outage_of_a_region_ends_when_a_reload_removes_the_region(yards):
    yard = yards(f"regions: {{{GATE}}}, ask: {{{ask('all')}, {ask('open', 'gate')}}}")
    yard.model.broken = "160x120"
    yard.look()
    assert yard.service.looks.model_outage.on
    yard.change(f"ask: {{{ask('all')}, {ask('open')}}}")
    assert not yard.service.looks.model_outage.on


def test_an_outage_ends_with_the_last_question_of_its_camera(yards):
    yard = yards(f"ask: {{{ask('all')}}}")
    yard.model.broken = "320x240"
    yard.look()
    yard.change("every: 30s")
    assert not yard.service.looks.model_outage.on


def test_the_picture_is_published_whole_if_only_a_region_was_asked_about(yards):
    yard = yards(f"image: true, regions: {{{GATE}}}, ask: {{{ask('open', 'gate')}}}")
    yard.look()
    (image,) = [value for key, value in yard.broker().retained.items() if key[2] == "image"]
    assert image.startswith(b"\xff\xd8")
    with Image.open(yard.folder / "yard.png") as original:
        (yard.folder / "published.jpg").write_bytes(image)
        with Image.open(yard.folder / "published.jpg") as published:
            assert published.size == original.size


# a reload


@pytest.mark.parametrize(
    "region", ["gate: {box: [0.25, 0.5, 0.75, 0.9]}", "gate: {polygon: [[0.25, 0.5], [0.75, 0.5], [0.5, 1]]}"]
)
def test_a_moved_region_is_asked_about_at_the_next_look_and_the_other_questions_wait(yards, region: str):
    asked = "all: {prompt: All?, every: 1h}, open: {prompt: Open?, every: 1h, region: gate}"
    yard = yards(f"regions: {{{GATE}}}, ask: {{{asked}}}")
    yard.look()
    yard.look()
    assert yard.calls() == ["320x240", "all", "160x120", "open"]
    camera = yard.service.cameras["yard"].camera
    yard.change(f"regions: {{{region}}}, ask: {{{asked}}}")
    yard.look()
    assert [call for call in yard.calls() if not call[0].isdigit()] == ["open"]
    assert yard.service.cameras["yard"].camera is camera, "a region needs no other connection"


def test_a_turned_camera_is_opened_again_and_asked_everything(yards):
    yard = yards(f"when_changed: {{at_least_every: 1h}}, ask: {{{ask('all')}}}")
    yard.look()
    yard.look()
    assert yard.calls() == ["320x240", "all"]
    yard.change(f"rotate: 90, when_changed: {{at_least_every: 1h}}, ask: {{{ask('all')}}}")
    yard.look()
    assert yard.calls() == ["240x320", "all"]


# when_changed


def test_while_a_region_is_unchanged_its_answers_are_repeated_whatever_happens_elsewhere(yards):
    yard = yards(
        f"when_changed: {{at_least_every: 1h}}, regions: {{{GATE}, top: {{box: [0, 0, 1, 0.5]}}}}, "
        f"ask: {{{ask('open', 'gate')}, {ask('sky', 'top')}, {ask('all')}}}"
    )
    before = yard.shoot(5)
    yard.look()
    yard.calls()
    yard.answers()
    after = before.copy()
    after[:120] = picture(6)[:120]  # only the upper half
    yard.shoot_rgb(after)
    yard.look()
    assert yard.calls() == ["320x120", "sky", "320x240", "all"]
    answers = {answer.question: answer for answer in yard.answers()}
    assert {name: bool(answer.reuse_of) for name, answer in answers.items()} == {
        "open": True,
        "sky": False,
        "all": False,
    }
    assert answers["open"].region == "gate"
    assert answers["open"].frame_sha256 == answers["sky"].frame_sha256


def test_a_question_that_moves_to_another_region_is_not_answered_by_its_last_answer(yards):
    regions = f"when_changed: {{at_least_every: 1h}}, regions: {{{GATE}, {DOOR}}}"
    yard = yards(f"{regions}, ask: {{{ask('open', 'gate')}}}")
    yard.look()
    yard.change(f"{regions}, ask: {{{ask('open', 'door')}}}")
    yard.look()
    assert yard.calls() == ["160x120", "open"] * 2
