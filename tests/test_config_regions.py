"""`rotate:`, `regions:` and a question's `region:` in the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.config import CAMERA, MODEL, problems, write

from edged.config.load import load
from edged.core.specs import RegionSpec

LEAST = "a region has at least 1 % of the picture's width and of its height"
REGION = CAMERA + "    regions: {gate: %s}\n"
BAD = {
    "a turn by half of a right angle": (
        CAMERA + "    rotate: 45\n",
        ['5: camera "dock": rotate must be 0, 90, 180 or 270, not 45'],
    ),
    "pixels": (
        REGION % "{box: [100, 0, 900, 700]}",
        [
            '5: camera "dock": region "gate": box contains 100; '
            "use fractions of the picture's width and height, from 0 to 1, not pixels"
        ],
    ),
    "a box without a key": (
        REGION % "[0, 0, 1, 1]",
        ['5: camera "dock": region "gate" must be {polygon: [[x, y], …]} or {box: [left, top, right, bottom]}'],
    ),
    "a box and a polygon": (
        REGION % "{box: [0, 0, 1, 1], polygon: [[0, 0], [1, 0], [1, 1]]}",
        ['5: camera "dock": region "gate" must be either {polygon: [[x, y], …]} or {box: [left, top, right, bottom]}'],
    ),
    "an empty box": (
        REGION % "{box: [0.5, 0, 0.5, 1]}",
        ['5: camera "dock": region "gate": a box is [left, top, right, bottom], with left < right and top < bottom'],
    ),
    "a thin box": (
        REGION % "{box: [0.5, 0, 0.505, 1]}",
        [f'5: camera "dock": region "gate": the box is too small; {LEAST}'],
    ),
    "a thin polygon": (
        REGION % "{polygon: [[0, 0], [1, 0], [0.5, 0.005]]}",
        [f'5: camera "dock": region "gate": the polygon is too small; {LEAST}'],
    ),
    "corners in a line": (
        REGION % "{polygon: [[0, 0], [1, 1], [0.5, 0.5]]}",
        [
            '5: camera "dock": region "gate": the polygon has no area, or its sides cross into halves that cancel; '
            "write its corners in their order around the region"
        ],
    ),
    "a name with capitals": (
        CAMERA + "    regions: {Main Gate: {box: [0, 0, 1, 1]}}\n",
        ['5: region "Main Gate": a name consists of a-z, 0-9, _ and -. Did you mean "main-gate"?'],
    ),
    "an unknown region": (
        REGION % "{box: [0, 0, 1, 1]}" + "    ask: {open: {prompt: Open?, region: gaet}}\n",
        ['6: camera "dock": question "open": region "gaet" is not a region of camera "dock". Did you mean "gate"?'],
    ),
    "a region of a camera without regions": (
        CAMERA + "    ask: {open: {prompt: Open?, region: gate}}\n",
        ['5: camera "dock": question "open": region "gate" is not a region of camera "dock", which has none'],
    ),
    "a shared question that one of its cameras cannot ask": (
        MODEL
        + "questions: {open: {prompt: Open?, region: gate}}\ncameras:\n"
        + "  dock: {source: pics, ask: {open: {}}, regions: {gate: {box: [0, 0, 1, 1]}}}\n"
        + "  yard: {source: pics, ask: {open: {}}, regions: {door: {box: [0, 0, 1, 1]}}}\n",
        ['2: question "open": region "gate" is not a region of camera "yard"'],
    ),
    "a region of a follow-up": (
        REGION % "{box: [0, 0, 1, 1]}" + "    ask: {open: {prompt: Open?, then: {car: {prompt: A?, region: gate}}}}\n",
        [
            '6: camera "dock": question "open": follow-up "car": '
            "a follow-up is asked about the region of its question; remove region here"
        ],
    ),
    "a region that is no name": (
        REGION % "{box: [0, 0, 1, 1]}" + "    ask: {open: {prompt: Open?, region: {box: [0, 0, 1, 1]}}}\n",
        ['6: camera "dock": question "open": region must be text, not a mapping'],
    ),
    "a question about a region with a mistake has none itself": (
        REGION % "{box: [0.5, 0, 0.505, 1]}" + "    ask: {open: {prompt: Open?, region: gate}}\n",
        [f'5: camera "dock": region "gate": the box is too small; {LEAST}'],
    ),
    "regions that are a list": (
        CAMERA + "    regions: [gate]\n    ask: {open: {prompt: Open?, region: gate}}\n",
        ['5: camera "dock": regions must be a mapping such as {gate: {box: [0.1, 0.2, 0.6, 0.9]}}, not a list'],
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_each_mistake_has_one_message(tmp_path: Path, text: str, expected: list[str]):
    assert problems(tmp_path, text) == [f"edged.yaml:{problem}" for problem in expected]


def test_a_camera_has_its_regions_and_a_question_and_its_follow_ups_have_theirs(tmp_path: Path):
    text = MODEL + (
        "questions: {people: {prompt: How many?, region: gate}}\n"
        "cameras:\n"
        "  dock:\n"
        "    source: pics\n"
        "    rotate: 270\n"
        "    regions:\n"
        "      gate: {box: [0.1, 0.2, 0.6, 0.9]}\n"
        "      door: {polygon: [[0.5, 0.1], [0.9, 0.3], [0.6, 0.6]]}\n"
        "    ask:\n"
        "      people: {}\n"
        "      open: {prompt: Open?, region: door, then: {car: {prompt: A?, then: {van: {prompt: B?}}}}}\n"
        "      scene: {prompt: Describe.}\n"
        "  yard: {source: pics, ask: {people: {region: null}}}\n"
    )
    dock, yard = load(write(tmp_path, text)).cameras
    gate = RegionSpec("gate", (0.1, 0.2, 0.6, 0.9))
    door = RegionSpec("door", (0.5, 0.1, 0.9, 0.6), ((0.5, 0.1), (0.9, 0.3), (0.6, 0.6)))
    assert (dock.rotate, dock.regions) == (270, (gate, door))
    regions: dict[str, Any] = {question.name: question.region for question in dock.all_questions()}
    assert regions == {"people": gate, "open": door, "car": door, "van": door, "scene": None}
    assert (yard.rotate, yard.questions[0].region) == (0, None)


def test_a_region_may_be_exactly_as_small_as_the_limit(tmp_path: Path):
    load(write(tmp_path, REGION % "{box: [0.1, 0.28, 0.11, 0.29]}"))


def test_a_moved_region_changes_the_answer_and_not_the_prompt(tmp_path: Path):
    asked = "    ask: {open: {prompt: Open?, region: gate}, scene: {prompt: Describe.}}\n"
    before, after = (
        load(write(tmp_path, REGION % f"{{box: [{left}, 0, 1, 1]}}" + asked)).cameras[0] for left in (0.1, 0.2)
    )
    assert before.questions[0].prompt_rev == after.questions[0].prompt_rev
    assert before.questions[0].answer_rev != after.questions[0].answer_rev
    assert before.questions[1].answer_rev == after.questions[1].answer_rev
    assert (before != after, before.connection == after.connection) == (True, True)
