"""The truth of the demo's pictures, and its model on people and cars that do not occur in training."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest

from edged.core.specs import ModelSpec
from edged.demo.drawing import draw
from edged.demo.figures import random_appearance, random_paint
from edged.demo.moment import Car, Moment, Person
from edged.demo.sequence import Sequence
from edged.demo.show import MODEL
from edged.demo.stills import still, still_moment
from edged.demo.training import evaluate
from edged.demo.training.unseen import ABSENT_UNSEEN, UNSEEN, UNSEEN_BY_ANOTHER
from edged.demo.training.wordings import ABSENT, ABSENT_KO, could_make, plural, spin, subject_ko, trained_patterns
from edged.demo.truth import truth_of
from edged.demo.visits import LOOP_S
from edged.demo.yard import Light
from edged.vlm.model import load


def somebody(x: float, y: float, seed: int = 0, **more) -> Person:
    return Person(random_appearance(np.random.default_rng(seed)), x, y, **more)


def a_car(x: float, y: float) -> Car:
    return Car(random_paint(np.random.default_rng(1)), x, y)


@pytest.mark.parametrize("sprites", ["train", "held_out"])
def test_same_seed_draws_the_same_picture(sprites):
    (first, truth), (second, again) = still(5, sprites=sprites), still(5, sprites=sprites)
    assert np.array_equal(first, second)
    assert truth == again
    assert not np.array_equal(first, still(6, sprites=sprites)[0])


def test_held_out_people_are_not_those_of_training():
    assert not np.array_equal(still(5)[0], still(5, sprites="held_out")[0])


@pytest.mark.parametrize("seed", range(12))
def test_everyone_drawn_counts(seed):
    moment = still_moment(np.random.default_rng(seed), "train", clear=True)
    picture, truth = draw(moment), truth_of(moment)
    assert (truth.people, truth.cars) == (len(moment.people), len(moment.cars))
    for number in range(len(moment.people)):
        fewer = dataclasses.replace(moment, people=(*moment.people[:number], *moment.people[number + 1 :]))
        assert truth_of(fewer).people == truth.people - 1
        assert np.abs(draw(fewer).astype(int) - picture).max() > 20


def test_in_clear_frames_nobody_is_hidden_by_more_than_a_third():
    assert all(still(seed)[1].most_hidden <= 1 / 3 for seed in range(20))


def test_a_person_counts_while_the_heads_centre_is_inside():
    assert truth_of(Moment((somebody(0.02, 0.8),))).people == 1
    outside = truth_of(Moment((somebody(-0.02, 0.8),)))
    assert (outside.people, outside.most_hidden) == (0, 1.0)


def test_a_covered_head_does_not_count():
    far, near = somebody(0.5, 0.80), somebody(0.5, 0.81, seed=3)
    same_height = dataclasses.replace(
        near, appearance=dataclasses.replace(near.appearance, stature=far.appearance.stature * 1.03)
    )
    assert truth_of(Moment((far, same_height))).people == 1


def test_a_person_behind_the_wall_does_not_count():
    assert truth_of(Moment((somebody(0.82, 0.41, indoors=True),), door_open=True)).people == 0
    assert truth_of(Moment((somebody(0.675, 0.41, indoors=True),), door_open=True)).people == 1


def test_a_car_counts_while_its_middle_is_inside():
    assert truth_of(Moment(cars=(a_car(0.03, 0.7),))).cars == 1
    assert truth_of(Moment(cars=(a_car(-0.03, 0.7),))).cars == 0


def test_door_and_night_can_be_seen():
    day = draw(Moment()).astype(int)
    assert np.abs(draw(Moment(door_open=True)) - day).max() > 40
    assert draw(Moment(light=Light(dark=1.0))).mean() < 0.75 * day.mean()


def test_a_moment_of_a_sequence_is_the_same_in_another_process():
    picture, truth = Sequence(7).frame(123.4)
    program = "from edged.demo.sequence import Sequence; p, t = Sequence(7).frame(123.4); print(int(p.sum()), t)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout.strip() == f"{int(picture.sum())} {truth}"


def test_a_sequences_truth_does_not_depend_on_the_pictures_size():
    small, large = Sequence(7), Sequence(7, size=(640, 640))
    for t_s in (60.0, 200.0, 431.0):
        picture, truth = large.frame(t_s)
        assert picture.shape == (640, 640, 3)
        assert truth == small.frame(t_s)[1]


@pytest.mark.slow
def test_a_sequence_has_people_cars_door_and_night_and_starts_over_empty():
    sequence = Sequence(2)
    truths = [truth_of(sequence.moment(t_s)) for t_s in np.arange(0, LOOP_S, 4)]
    assert {truth.people for truth in truths} >= {0, 1, 2, 3, 4}
    assert {truth.cars for truth in truths} == {0, 1, 2}
    assert {truth.door_open for truth in truths} == {truth.night for truth in truths} == {True, False}
    assert any(not truth.clear for truth in truths)
    assert sequence.moment(0.0).people == sequence.moment(LOOP_S - 0.5).people == ()
    assert truth_of(sequence.moment(LOOP_S + 50)) == truth_of(sequence.moment(50.0))


def test_unseen_wordings_could_not_have_been_made_in_training():
    patterns = [pattern for of_kind in trained_patterns().values() for pattern in of_kind]
    lists = (*UNSEEN.values(), *UNSEEN_BY_ANOTHER.values())
    assert all(len(set(texts)) == 20 for texts in lists)
    assert [text for texts in lists for text in texts if any(could_make(pattern, text) for pattern in patterns)] == []


def test_unseen_things_were_not_named_in_training():
    named = {form for noun in ABSENT for form in (noun, plural(noun))} | {subject_ko(noun) for noun in ABSENT_KO}
    assert len({text for text, _ in ABSENT_UNSEEN}) == 20
    assert [text for text, _ in ABSENT_UNSEEN if named & set(text.rstrip("?").split())] == []


def test_a_pattern_could_make_what_it_makes():
    rng = random.Random(0)
    for pattern in trained_patterns()["people"]:
        assert could_make(pattern, spin(pattern, rng))


def test_the_model_is_small():
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 5_000_000


@pytest.fixture(scope="module")
def model():
    model = load(ModelSpec(MODEL))
    yield model
    model.dispose()


@pytest.mark.slow
def test_the_model_is_right_about_clear_frames(model):
    probes = [probe for probe in evaluate.PROBES if probe.name in ("people", "JSON")]
    results = evaluate.results(model, evaluate.clear_stills(100, seed=910_000), probes)
    right = {
        probe.name: evaluate.share([result for result in results if result.name == probe.name]) for probe in probes
    }
    assert min(right.values()) >= 0.97, right


@pytest.mark.slow
def test_the_model_is_right_about_moving_frames(model):
    probes = [probe for probe in evaluate.PROBES if probe.name in ("people", "anyone")]
    results = evaluate.results(model, islice(evaluate.moving(60, seed=920_000), 60), probes)
    assert evaluate.share([result for result in results if result.name == "people"]) >= 0.92
    assert evaluate.share([result for result in results if result.name == "anyone"]) >= 0.98
