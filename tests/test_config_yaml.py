"""The exact message for each mistake in the YAML of a config, and for a file that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.config import ASK, CAMERA, MODEL, problems, write

from edged.config.load import ConfigError, load
from edged.core.answer_types import Number

BAD = {
    "empty": ("", ["edged.yaml: is empty; it needs at least model:"]),
    "a list": ("- a\n", ["edged.yaml: is a list; it must be a mapping with at least model:"]),
    "not YAML": ("a: [1, 2\n", ['edged.yaml:1: is not YAML: "[" is not closed']),
    "doubled key": (
        MODEL + "mqtt:\n  password: hunter2\n  username: me\n  password: swordfish\n",
        ['edged.yaml:5: duplicate key "password" (first in line 3)'],
    ),
    "a tag": (
        MODEL + "mqtt: {username: me, password: !hunter2 }\n",
        ["edged.yaml:2: mqtt: password has a tag; a text that begins with ! needs quotes"],
    ),
    "an alias": (
        MODEL + "mqtt: {username: me, password: *hunter2}\n",
        ["edged.yaml:2: is not YAML: an unknown alias; a text that begins with * needs quotes"],
    ),
    "deep": (
        MODEL + "cameras:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 500)),
        ["edged.yaml:42: is nested more than 40 levels deep"],
    ),
    "deep flow": (
        MODEL + "cameras: " + "[" * 100_000,
        ["edged.yaml:2: is nested more than 40 levels deep"],
    ),
    "deep schema": (
        ASK + "        answer: {json: " + "{properties: {a: " * 300 + "{}" + "}}" * 300 + "}\n",
        ["edged.yaml:8: is nested more than 40 levels deep"],
    ),
    "holds itself": (
        MODEL + "cameras: &all\n  a: *all\n",
        ["edged.yaml:2: is nested more than 40 levels deep"],
    ),
    "a colon in a prompt": (
        CAMERA + "    ask:\n      gate:\n        prompt: Note: how many people?\n",
        ['edged.yaml:7: is not YAML: put the prompt in quotes ("…")'],
    ),
    "a colon in a prompt between braces": (
        CAMERA + "    ask: {gate: {prompt: Note: how many?, answer: integer}}\n",
        ['edged.yaml:5: is not YAML: put the prompt in quotes ("…")'],
    ),
    "a colon in a title": (
        CAMERA + "    title: Dock: north\n",
        ['edged.yaml:5: is not YAML: put the text in quotes ("…")'],
    ),
    "an apostrophe between apostrophes": (
        CAMERA + "    ask:\n      gate:\n        prompt: 'What's the weather?'\n",
        ['edged.yaml:7: is not YAML: text after the closing \'; put the whole text in "…"'],
    ),
    "a quote that is not closed": (
        ASK.replace("Is it open?", '"Is it open?') + "        answer: yes_no\n",
        ["edged.yaml:7: is not YAML: a quote is not closed"],
    ),
    "a prompt that begins with a bracket": (
        ASK.replace("Is it open?", "[red] gate open?"),
        ['edged.yaml:7: is not YAML: put the prompt in quotes ("…")'],
    ),
    "a prompt that begins with a special character": (
        ASK.replace("Is it open?", "@gate open?"),
        ["edged.yaml:7: is not YAML: a text that begins with @ needs quotes"],
    ),
    "a cron without quotes": (
        CAMERA + "    cron: * * * * *\n",
        ["edged.yaml:5: is not YAML: a text that begins with * needs quotes"],
    ),
    "a tab": (
        "model:\n\tpath: m\n",
        ["edged.yaml:2: is not YAML: YAML does not allow tabs for indentation; use spaces"],
    ),
    "a tab in the middle": (
        CAMERA + "\t\tevery: 5s\n",
        ["edged.yaml:5: is not YAML: YAML does not allow tabs for indentation; use spaces"],
    ),
    "a merge key": (
        MODEL + "cameras:\n  a: &a\n    source: pics\n  b:\n    <<: *a\n    evry: 5s\n",
        [
            "edged.yaml:6: merge keys (<<) are not supported; share questions under questions:",
            'edged.yaml:7: camera "b": unknown key "evry". Did you mean "every"?',
        ],
    ),
    "a NUL byte": (
        MODEL + "node: a\0b\n",
        ["edged.yaml:2: is not YAML: a NUL byte (U+0000); the file is damaged or is not UTF-8 text"],
    ),
    "no space after a colon": (
        CAMERA + "    every:5s\n    title: Dock\n",
        ["edged.yaml:5: is not YAML: put a space after the colon"],
    ),
    "no space after the first colon": (
        "model:\n  path:m\n  fit: stretch\n",
        ["edged.yaml:2: is not YAML: put a space after the colon"],
    ),
    "no space after a colon between braces": (
        CAMERA + "    when_changed: {at_least_every:5m}\n",
        [
            'edged.yaml:5: camera "dock": put a space after the colon of "at_least_every"',
            'edged.yaml:5: camera "dock": when_changed.at_least_every is missing',
        ],
    ),
    "an equals sign": (
        CAMERA + "    every = 5s\n",
        ['edged.yaml:5: is not YAML: expected "key: value"'],
    ),
    "a tab after a colon": (
        MODEL + "node:\tbox\n",
        ["edged.yaml:2: is not YAML: a tab character; use a space"],
    ),
    "a text that begins with a bar": (
        ASK.replace("Is it open?", "| Is it open?"),
        ["edged.yaml:7: is not YAML: a text that begins with | or > needs quotes"],
    ),
    "a backslash between quotes": (
        ASK + '        answer: {json: {type: string, pattern: "\\d+"}}\n',
        ["edged.yaml:8: is not YAML: a backslash inside \"…\" begins an escape; put the text in '…'"],
    ),
    "a comma too many": (
        ASK + "        answer: [open, , shut]\n",
        ["edged.yaml:8: is not YAML: a value is missing before the comma"],
    ),
    "a line indented too far": (
        CAMERA + "     every: 5s\n",
        ["edged.yaml:5: is not YAML: wrong indentation: all keys of a mapping must begin in the same column"],
    ),
    "a question without its colon": (
        CAMERA + "    ask:\n      people\n      gate: {prompt: Open?}\n",
        ['edged.yaml:6: is not YAML: expected "key: value"'],
    ),
    "a question without its colon, a comment below it": (
        CAMERA + "    ask:\n      people\n      # the gate\n      gate: {prompt: Open?}\n",
        ['edged.yaml:6: is not YAML: expected "key: value"'],
    ),
    "a text that goes on in the next line": (
        CAMERA + "    title: The\n      gate: north\n",
        ["edged.yaml:6: is not YAML: wrong indentation: all keys of a mapping must begin in the same column"],
    ),
    "a missing comma between two keys": (
        CAMERA + "    ask: {gate: {prompt: Open? answer: yes_no}}\n",
        ['edged.yaml:5: is not YAML: put the prompt in quotes ("…"), or add the comma that is missing before the key'],
    ),
    "a missing comma at the end of a line": (
        CAMERA + "    ask: {gate: {prompt: Open?,\n      answer: yes_no\n      min_confidence: 0.5}}\n",
        [
            'edged.yaml:7: is not YAML: put the text in quotes ("…"), or add the comma that is missing before the key, '
            'or close "{" of line 5'
        ],
    ),
    "a missing comma after a brace": (
        CAMERA + "    ask: {gate: {prompt: Open?} door: {prompt: Shut?}}\n",
        ['edged.yaml:5: is not YAML: a comma is missing after "}"'],
    ),
    "a missing comma after a brace at the end of a line": (
        CAMERA + "    ask: {gate: {prompt: Open?}  # the big one\n\n      door: {prompt: Shut?}}\n",
        ['edged.yaml:5: is not YAML: a comma is missing after "}", or "{" of line 5 is not closed'],
    ),
    "a missing comma after a bracket": (
        CAMERA + "    ask: {gate: {prompt: Open?, answer: [a, b] min_confidence: 0.5}}\n",
        ['edged.yaml:5: is not YAML: a comma is missing after "]"'],
    ),
    "a text that begins with a bracket, within braces": (
        CAMERA + "    ask: {gate: {prompt: [A] gate open?, answer: yes_no}}\n",
        ['edged.yaml:5: is not YAML: a comma is missing after "]", or put the whole text in quotes ("…")'],
    ),
    "a missing comma after a quote": (
        CAMERA + "    ask: {gate: {prompt: 'Open?' answer: yes_no}}\n",
        ['edged.yaml:5: is not YAML: a comma is missing after the closing \', or put the whole text in "…"'],
    ),
    "a brace that is not closed": (
        CAMERA + "    ask: {gate: {prompt: Open?, answer: yes_no}\n",
        ['edged.yaml:5: is not YAML: "{" is not closed'],
    ),
    "a brace too many": (
        CAMERA + "    ask: {gate: {prompt: Open?}}}\n",
        ['edged.yaml:5: is not YAML: "}" without an opening bracket'],
    ),
    "two documents": (
        MODEL + "---\ncameras: {}\n",
        ["edged.yaml:2: is not YAML: a second document (---); the config must be a single document"],
    ),
    "a version of YAML that does not exist": (
        "%YAML 1.3\n---\n" + MODEL,
        ["edged.yaml:1: is not YAML: the version after %YAML must be 1.2 or 1.1"],
    ),
    "a version of YAML that is not supported": (
        "# by hand\n%YAML 2.0\n---\n" + MODEL,
        ["edged.yaml:2: is not YAML: the version after %YAML must be 1.2 or 1.1"],
    ),
    "another format": (
        "[model]\npath = m\n",
        ['edged.yaml:2: is not YAML: expected "key: value"'],
    ),
    "a no-break space": (
        MODEL + "cameras:\n\u00a0 dock: {source: pics}\n",
        [
            'edged.yaml:2: cameras has no value; it must be a mapping such as {dock: {source: "usb:0"}}',
            "edged.yaml:3: a key begins or ends with a no-break space or another special space; use plain spaces",
        ],
    ),
    "a secret without a space": (
        MODEL + "mqtt: {username: me, password: {secret:broker}}\n",
        ["edged.yaml:2: mqtt: password must be {secret: NAME}, with a space after the colon"],
    ),
}


@pytest.mark.parametrize("text", ["1_000", "0b11", "1:30", "-0x1f", "+0o7", "_1"])
def test_what_is_no_number_in_yaml_1_2_is_text(tmp_path: Path, text: str):
    assert load(write(tmp_path, CAMERA + f"    title: {text}\n")).cameras[0].title == text
    assert load(write(tmp_path, f"%YAML 1.1\n---\n{CAMERA}    title: {text}\n")).cameras[0].title == text


@pytest.mark.parametrize(("text", "number"), [("010", 10), ("0o14", 12), ("0x1F", 31), ("+1", 1), ("1e1", 10)])
def test_a_number_is_one_of_yaml_1_2(tmp_path: Path, text: str, number: int):
    config = load(write(tmp_path, ASK + f"        answer: number\n        range: [{text}, 100]\n"))
    answer = config.cameras[0].questions[0].answer
    assert isinstance(answer, Number)
    assert answer.low == number


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_in_the_yaml_is_named_with_its_line_and_its_correction(tmp_path: Path, case: str):
    text, sentences = BAD[case]
    assert problems(tmp_path, text) == sentences


def test_a_file_that_does_not_exist_or_is_not_text(tmp_path: Path):
    place = tmp_path / "bytes.yaml"
    with pytest.raises(ConfigError, match=rf"^{place}: file not found$"):
        load(place)
    place.write_bytes(b"a\xff")
    with pytest.raises(ConfigError, match=rf"^{place}: is not UTF-8 text \(byte 1\)$"):
        load(place)
    place.write_bytes(MODEL.encode("utf-16"))
    with pytest.raises(ConfigError, match=rf"^{place}: is UTF-16; save it as UTF-8$"):
        load(place)


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path):
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert "has more than 10000 values" in problems(tmp_path, "l0: &l0 [1]\n" + levels + MODEL)[0]


def test_a_value_that_cannot_be_read_is_one_problem(tmp_path: Path):
    text = "questions: {people: {prompt: How many?, title: !x t}}\n" + MODEL
    text += "cameras: {a: {source: !x rtsp://cam/, title: !x t, ask: {people: {}}}}\n"
    assert problems(tmp_path, text) == [
        'edged.yaml:1: question "people": title has a tag; a text that begins with ! needs quotes',
        'edged.yaml:3: camera "a": source has a tag; a text that begins with ! needs quotes',
        'edged.yaml:3: camera "a": title has a tag; a text that begins with ! needs quotes',
    ]
