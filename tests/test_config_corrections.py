"""A common mistake is reported with its correction."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.config import ASK, CAMERA, MODEL, TYPES, problems

CORRECTIONS = {
    "a comma in a prompt": (
        CAMERA + "    ask:\n      vehicles: {prompt: Is there a car, a truck or a bus?, answer: yes_no}\n",
        [
            'edged.yaml:6: camera "dock": question "vehicles": unknown key "a truck or a bus?"; '
            'put the prompt in quotes ("…"): a comma ends a text inside {}'
        ],
    ),
    "a comma in a title": (
        CAMERA.replace("source: pics", "{source: pics, title: Dock, north}").replace("dock:\n    ", "dock: "),
        [
            'edged.yaml:3: camera "dock": unknown key "north"; '
            'put the text in quotes ("…"): a comma ends a text inside {}'
        ],
    ),
    "a reversed range": (
        ASK + "        answer: integer\n        range: [40, 0]\n",
        ['edged.yaml:9: camera "dock": question "gate": range [40, 0] is reversed; write [0, 40]'],
    ),
    "a range as text": (
        ASK + "        answer: integer\n        range: 0-40\n",
        ['edged.yaml:9: camera "dock": question "gate": range must be a list such as [0, 40], not "0-40"'],
    ),
    "a polygon in pixels": (
        CAMERA + "    mask: [{polygon: [[0, 0], [640, 0], [640, 360]]}]\n",
        [
            'edged.yaml:5: camera "dock": mask[0].polygon contains 640; '
            "use fractions of the picture's width and height, from 0 to 1, not pixels"
        ],
    ),
    "a polygon without its key": (
        CAMERA + "    mask:\n      - [[0, 0], [1, 0], [1, 1]]\n",
        [
            'edged.yaml:6: camera "dock": mask[0] must be {polygon: [[x, y], …]} or {box: [left, top, right, bottom]}',
        ],
    ),
    "a flat polygon": (
        CAMERA + "    mask: [{polygon: [0, 0, 1, 0, 1, 1]}]\n",
        [
            'edged.yaml:5: camera "dock": mask[0].polygon must be a list of corners '
            "such as [[0, 0.6], [0.3, 0.6], [0.3, 1]]"
        ],
    ),
    "a check for frozen pictures that is off": (
        CAMERA + "    frozen_after: off\n",
        ['edged.yaml:5: camera "dock": frozen_after must be a duration such as 30s, or false for never, not "off"'],
    ),
    "a check for frozen pictures that is on": (
        CAMERA + "    frozen_after: true\n",
        ['edged.yaml:5: camera "dock": frozen_after must be a duration such as 30s, or false for never, not true'],
    ),
    "hours without minutes": (
        CAMERA + "    hours: mo-fr 6-22\n",
        [
            'edged.yaml:5: camera "dock": hours "mo-fr 6-22": "mo" is not a day (mon, tue, wed, thu, fri, sat, sun); '
            '"6-22" is not a time range such as 06:00-22:00'
        ],
    ),
    "hours after midnight": (
        CAMERA + "    hours: 06:00-25:00\n",
        [
            'edged.yaml:5: camera "dock": hours "06:00-25:00": '
            '"06:00-25:00" has a time that is not between 00:00 and 24:00'
        ],
    ),
    "hours with a dash": (
        CAMERA + "    hours: mon–fri 06:00–22:00\n",
        ['edged.yaml:5: camera "dock": hours "mon–fri 06:00–22:00" contains a dash (–); write a hyphen (-)'],
    ),
    "hours of days with spaces": (
        CAMERA + "    hours: mon - fri 06:00-22:00\n",
        [
            'edged.yaml:5: camera "dock": hours "mon - fri 06:00-22:00": '
            '"mon - fri" contains a space; write days as mon,tue or mon-fri'
        ],
    ),
    "hours without a time": (
        CAMERA + "    hours: mon-fri\n",
        ['edged.yaml:5: camera "dock": hours "mon-fri": the time is missing, such as 06:00-22:00'],
    ),
    "an answer without a value": (
        ASK + "        answer:\n",
        ['edged.yaml:8: camera "dock": question "gate": answer has no value; it must be a type, or a list of choices'],
    ),
    "a number over a large bound": (
        ASK + "        top_k: 99999999\n",
        ['edged.yaml:8: camera "dock": question "gate": top_k must be at most 1000000, not 99999999'],
    ),
    "hours of two windows": (
        CAMERA + "    hours: mon 06:00-12:00, 13:00-22:00\n",
        [
            'edged.yaml:5: camera "dock": hours "mon 06:00-12:00, 13:00-22:00": "06:00-12:00, 13:00-22:00" '
            "is not a time range such as 06:00-22:00; write several windows as a list"
        ],
    ),
    "words for yes and no": (
        ASK + "        answer: yes_no\n        words: {yes: Open, no: Shut}\n",
        [
            'edged.yaml:9: camera "dock": question "gate": '
            "words must have the keys true and false, such as {true: Open, false: Shut}"
        ],
    ),
    "a duration of two units": (
        CAMERA + "    every: 1m30s\n",
        ['edged.yaml:5: camera "dock": every must be a duration such as 30s, 10m or 1h, not "1m30s"; write 90s'],
    ),
    "a duration with a space": (
        CAMERA + "    every: 5 m\n",
        ['edged.yaml:5: camera "dock": every must be a duration such as 30s, 10m or 1h, not "5 m"; write 5m'],
    ),
    "a duration in words": (
        CAMERA + "    every: 2 Hours\n",
        ['edged.yaml:5: camera "dock": every must be a duration such as 30s, 10m or 1h, not "2 Hours"; write 2h'],
    ),
    "a duration of a millisecond": (
        CAMERA + "    every: 1ms\n",
        ['edged.yaml:5: camera "dock": every "1ms" is out of range (100ms to 31d)'],
    ),
    "a very long prompt": (
        ASK.replace("Is it open?", "x" * 100_000),
        ['edged.yaml:7: camera "dock": question "gate": prompt has 100000 characters; the limit is 8000'],
    ),
    "a question without its keys": (
        CAMERA + "    ask:\n      people: How many people?\n",
        [
            'edged.yaml:6: camera "dock": question "people" must be a mapping such as '
            '{prompt: How many people?, answer: integer}, not "How many people?"'
        ],
    ),
    "cameras as a list": (
        MODEL + "cameras:\n  - source: pics\n",
        ['edged.yaml:2: cameras must be a mapping such as {dock: {source: "usb:0"}}, not a list'],
    ),
    "a camera's keys beside it": (
        MODEL + "cameras:\n  dock:\n  source: pics\n",
        [
            'edged.yaml:3: camera "dock" has no value; it must be a mapping such as {source: "usb:0"}',
            'edged.yaml:4: camera "source" must be a mapping such as {source: "usb:0"}; '
            "if source is a key of the camera above, indent it further",
        ],
    ),
    "cameras below model": (
        "model:\n  path: m\n  cameras: {}\n",
        ['edged.yaml:3: model: unknown key "cameras"; it belongs at the top level; check the indentation'],
    ),
    "a name with capitals and a space": (
        MODEL + "cameras:\n  Loading dock: {source: pics}\n",
        [
            'edged.yaml:3: camera "Loading dock": a name consists of a-z, 0-9, _ and -, '
            'because it becomes part of a topic. Did you mean "loading-dock"?'
        ],
    ),
    "another word for a key": (
        MODEL + "mqtt: {host: broker}\n",
        ['edged.yaml:2: mqtt: unknown key "host". Did you mean "url"?'],
    ),
    "another word for a type": (
        ASK + "        answer: boolean\n",
        [
            f'edged.yaml:8: camera "dock": question "gate": answer "boolean" is not a type ({TYPES}). '
            'Did you mean "yes_no"?'
        ],
    ),
    "a time zone in small letters": (
        "timezone: asia/seoul\n" + MODEL,
        [
            'edged.yaml:1: timezone "asia/seoul" is not a time zone (such as Asia/Seoul or UTC). '
            'Did you mean "Asia/Seoul"?'
        ],
    ),
}


@pytest.mark.parametrize("case", CORRECTIONS)
def test_a_common_mistake_is_named_with_its_line_and_its_correction(tmp_path: Path, case: str):
    text, sentences = CORRECTIONS[case]
    assert problems(tmp_path, text) == sentences
