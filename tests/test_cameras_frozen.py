"""A frozen camera is refused; a still scene, a test card and a slide show are not."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from support.making import frame

from edged.cameras.frozen import FrozenCheck
from edged.cameras.picture import Mask, frame_from_bgr
from edged.core.errors import StaleFrame

SCENE = replace(frame(), rgb=np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3))


def outcomes(check: FrozenCheck, *looks: tuple[float, str]) -> list[bool]:
    """For each look at (monotonic time, picture): whether it was refused."""
    refused = []
    for at, picture in looks:
        try:
            check.check(replace(SCENE, captured_mono=at, sha256=picture))
        except StaleFrame:
            refused.append(True)
        else:
            refused.append(False)
    return refused


LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


@pytest.mark.parametrize("mask", [(), (LEFT_HALF,)])
@pytest.mark.parametrize(
    ("bgr", "frozen"), [((0, 0, 0), False), ((31, 4, 9), False), ((0, 0, 32), True), ((0, 135, 0), True)]
)
def test_black_night_is_not_frozen_and_any_other_colour_is(bgr: tuple[int, int, int], frozen: bool, mask: Mask) -> None:
    check = FrozenCheck(30.0)
    assert not any(outcomes(check, *NOISE))
    picture = frame_from_bgr(np.full((48, 64, 3), bgr, np.uint8), mask, 0.0)
    check.check(replace(picture, captured_mono=10.0))
    with pytest.raises(StaleFrame) if frozen else nullcontext():
        check.check(replace(picture, captured_mono=60.0))


NOISE = [(float(at), f"noise {at}") for at in range(4)]


def test_camera_that_froze_is_refused_after_the_limit() -> None:
    check = FrozenCheck(30.0)
    assert not any(outcomes(check, *NOISE))
    assert outcomes(check, (32.9, "noise 3"), (33.1, "noise 3"), (90.0, "noise 3")) == [False, True, True]
    assert outcomes(check, (91.0, "alive")) == [False]


def test_camera_that_freezes_again_is_refused_again() -> None:
    check = FrozenCheck(30.0)
    outcomes(check, *NOISE, (50.0, "noise 3"), (51.0, "alive"))
    assert outcomes(check, (90.0, "alive")) == [True]


class Noise:
    def __init__(self, shown: bool) -> None:
        self.shown = shown
        self.learned: list[bool] = []

    def learn(self, shown: bool) -> None:
        self.shown = shown
        self.learned.append(shown)


def test_camera_whose_noise_is_known_from_before_is_refused_though_it_has_never_changed() -> None:
    check = FrozenCheck(30.0, Noise(shown=True))
    assert outcomes(check, (0.0, "still"), (29.9, "still"), (30.1, "still")) == [False, False, True]


def slides(start: float, count: int) -> list[tuple[float, str]]:
    """Each for 5 s."""
    return [(start + 10 * number + later, f"slide {number}") for number in range(count) for later in (0.0, 5.0)]


def test_noise_is_learned_once_it_is_known_and_unlearned_once_three_pictures_have_stood_still_by_themselves() -> None:
    noise = Noise(shown=False)
    check = FrozenCheck(30.0, noise)
    outcomes(check, *NOISE[:2])
    assert noise.learned == []
    outcomes(check, *NOISE[2:])
    assert noise.learned == [True]
    outcomes(check, *slides(20.0, 3))
    assert noise.learned == [True]
    outcomes(check, (50.0, "slide 3"))
    assert noise.learned == [True, False]
    outcomes(check, (51.0, "noise a"))
    assert noise.learned == [True, False]
    outcomes(check, (52.0, "noise b"))
    assert noise.learned == [True, False, True]


def test_a_camera_that_often_hangs_for_a_moment_is_refused_once_it_freezes() -> None:
    """So it is if a camera that keeps its snapshot for a second is asked twice in one."""
    noise = Noise(shown=True)
    check = FrozenCheck(30.0, noise)
    for number in range(10):
        at = number * 30.0
        outcomes(check, *slides(at, 2), (at + 20.0, f"noise {number}"), (at + 25.0, f"more noise {number}"))
    assert outcomes(check, (330.0, "more noise 9")) == [True]
    assert noise.learned == []


def test_what_is_known_of_a_source_already_is_not_learned_at_each_look() -> None:
    """Each time would be a write to the disk."""
    noise = Noise(shown=False)
    outcomes(FrozenCheck(30.0, noise), *((float(at), f"noise {at}") for at in range(100)))
    assert noise.learned == [True]


def test_a_camera_that_was_frozen_and_lives_again_has_still_shown_noise() -> None:
    noise = Noise(shown=True)
    outcomes(FrozenCheck(30.0, noise), (0.0, "still"), (31.0, "still"), (32.0, "alive"))
    assert noise.learned == []


def test_test_card_whose_stream_clock_stands_still_is_frozen() -> None:
    check = FrozenCheck(30.0)
    card = replace(SCENE, captured_mono=0.0)
    check.check(card, clock_stands=True)
    with pytest.raises(StaleFrame, match="frozen: the pictures have been bit-identical for 31 s"):
        check.check(replace(card, captured_mono=31.0), clock_stands=True)


def test_test_card_is_not_frozen() -> None:
    assert not any(outcomes(FrozenCheck(30.0), *((float(at), "card") for at in range(0, 600, 10))))


def test_slide_show_is_not_frozen() -> None:
    slides = [(float(at), f"slide {at // 25}") for at in range(0, 200, 5)]
    assert not any(outcomes(FrozenCheck(30.0), *slides, (260.0, "slide 7")))


@pytest.mark.parametrize("each_s", [60, 150, 300])
def test_slides_that_stand_longer_than_the_limit_are_no_noise(each_s: int) -> None:
    """Also what an HTTP camera does that answers with the same picture for minutes."""
    slides = [(float(at), f"slide {at // each_s}") for at in range(0, 10 * each_s, 20)]
    assert not any(outcomes(FrozenCheck(30.0), *slides))


def test_pictures_are_frozen_from_the_limit_on_and_the_reason_says_for_how_long() -> None:
    check = FrozenCheck(30.0)
    outcomes(check, *NOISE)
    assert outcomes(check, (32.99, "noise 3")) == [False]
    with pytest.raises(StaleFrame, match=r"^frozen: the pictures have been bit-identical for 30 s$"):
        check.check(replace(SCENE, captured_mono=33.0, sha256="noise 3"))


def test_three_looks_with_different_pictures_show_noise_and_two_do_not() -> None:
    assert outcomes(FrozenCheck(30.0), *NOISE[:2], (60.0, "noise 1")) == [False] * 3
    assert outcomes(FrozenCheck(30.0), *NOISE[:3], (60.0, "noise 2")) == [False] * 3 + [True]


def test_after_three_pictures_have_stood_still_noise_must_be_shown_again() -> None:
    stood = [*NOISE, *slides(13.0, 3), (43.0, "a"), (44.0, "b")]
    assert not any(outcomes(FrozenCheck(30.0), *stood, (80.0, "b")))
    assert outcomes(FrozenCheck(30.0), *stood, (45.0, "c"), (80.0, "c"))[-1]
    shortly = [*NOISE, *((at / 10, picture) for at, picture in slides(130.0, 3)), (43.0, "a"), (44.0, "b")]
    assert not any(outcomes(FrozenCheck(30.0), *shortly, (80.0, "b")))


def test_check_can_be_switched_off() -> None:
    assert not any(outcomes(FrozenCheck(None), *NOISE, (500.0, "noise 3")))
