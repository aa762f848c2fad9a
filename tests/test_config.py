"""What a config file means, and the very sentence that its owner reads when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged import form
from edged.answers import Choices, Json, Number, Text, YesNo
from edged.config import ConfigError, load
from edged.specs import Cron, Every

SHIPPED = Path(__file__).parent.parent / "config"
MODEL = "model: {path: m}\n"
CAMERA = MODEL + "cameras:\n  dock:\n    source: pics\n"
ASK = CAMERA + "    ask:\n      gate:\n        prompt: Is it open?\n"


def write(folder: Path, text: str) -> Path:
    (folder / "m").mkdir(exist_ok=True)
    (folder / "pics").mkdir(exist_ok=True)
    path = folder / "edged.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    return caught.value.problems


TYPES = "yes_no, integer, number, text, json, or a list of choices"
BAD = {
    "empty": ("", ["edged.yaml: is empty; it needs at least model: and cameras:"]),
    "a list": ("- a\n", ["edged.yaml: is a list; it must be a mapping with at least model: and cameras:"]),
    "not YAML": ("a: [1, 2\n", ["edged.yaml:2: is not YAML: expected ',' or ']', but got '<stream end>'"]),
    "tab": ("model:\n\tpath: m\n", ["edged.yaml:2: is not YAML: found character '\\t' that cannot start any token"]),
    "no model": ("node: box\n", ["edged.yaml:1: model is missing"]),
    "unknown key": (MODEL + "camera: {}\n", ['edged.yaml:2: unknown key "camera". Did you mean "cameras"?']),
    "unknown key below": (
        CAMERA + "    evry: 5s\n",
        ['edged.yaml:5: camera "dock": unknown key "evry". Did you mean "every"?'],
    ),
    "unknown key of a question": (
        ASK + "        awnser: yes_no\n",
        ['edged.yaml:8: camera "dock": question "gate": unknown key "awnser". Did you mean "answer"?'],
    ),
    "doubled key": (
        MODEL + "mqtt:\n  password: hunter2\n  username: me\n  password: swordfish\n",
        ['edged.yaml:5: duplicate key "password" (first in line 3)'],
    ),
    "wrong type": (
        CAMERA + "    image: yes\n",
        ['edged.yaml:5: camera "dock": image must be true or false, not "yes"'],
    ),
    "a number is no duration": (
        CAMERA + "    every: 30\n",
        ['edged.yaml:5: camera "dock": every needs a unit: 30s, 30m or 30h'],
    ),
    "no duration": (
        CAMERA + "    max_age: soon\n",
        ['edged.yaml:5: camera "dock": max_age "soon" is not a duration (such as 30s, 10m or 1h)'],
    ),
    "two schedules": (
        CAMERA + '    every: 5s\n    cron: "* * * * *"\n',
        ['edged.yaml:6: camera "dock": every and cron both say when to look; keep one of them'],
    ),
    "cron of four fields": (
        CAMERA + '    cron: "* * * *"\n',
        ['edged.yaml:5: camera "dock": cron "* * * *" has 4 fields; cron has five: minute hour day month weekday'],
    ),
    "hours": (
        CAMERA + "    hours: mon-fry 06:00-22:00\n",
        [
            'edged.yaml:5: camera "dock": hours "mon-fry 06:00-22:00" is not a time window '
            "(such as 06:00-22:00 or mon-fri 06:00-22:00)"
        ],
    ),
    "timezone": (
        "timezone: Asia/Soul\n" + MODEL,
        ['edged.yaml:1: timezone "Asia/Soul" is not a time zone (such as Asia/Seoul or UTC)'],
    ),
    "node": (
        "node: Dock Box\n" + MODEL,
        ['edged.yaml:1: node "Dock Box" is not a name (a-z, 0-9, _ and -), and it becomes part of every topic'],
    ),
    "prefix": (
        MODEL + "mqtt: {prefix: edged/#}\n",
        ['edged.yaml:2: mqtt: prefix "edged/#" is not a topic prefix (names joined by /, without + and #)'],
    ),
    "url": (
        MODEL + "mqtt: {url: broker.lan}\n",
        ["edged.yaml:2: mqtt: url is not the address of a broker (mqtt://host:1883, or mqtts://host:8883 for TLS)"],
    ),
    "password in the url": (
        MODEL + 'mqtt: {url: "mqtt://me:hunter2@broker"}\n',
        [
            "edged.yaml:2: mqtt: url must not hold a user or password: "
            "write them as username: and password: {secret: NAME}"
        ],
    ),
    "secret in a folder": (
        MODEL + "mqtt: {username: me, password: {secret: ../x}}\n",
        ["edged.yaml:2: mqtt: password must be {secret: NAME}, where NAME is a file's name without a folder"],
    ),
    "not a type": (
        ASK + "        answer: colour\n",
        [
            f'edged.yaml:8: camera "dock": question "gate": answer "colour" is not a type ({TYPES}). Did you mean a list?'
        ],
    ),
    "misspelt type": (
        ASK + "        answer: yesno\n",
        [
            f'edged.yaml:8: camera "dock": question "gate": answer "yesno" is not a type ({TYPES}). Did you mean "yes_no"?'
        ],
    ),
    "one choice": (
        ASK + "        answer: [open]\n",
        ['edged.yaml:8: camera "dock": question "gate": answer needs at least two choices'],
    ),
    "json without schema": (
        ASK + "        answer: json\n",
        ['edged.yaml:8: camera "dock": question "gate": answer json needs its schema: {json: SCHEMA}'],
    ),
    "range of a text": (
        ASK + "        range: [0, 5]\n",
        ['edged.yaml:8: camera "dock": question "gate": range is for answer: integer or number only'],
    ),
    "range upside down": (
        ASK + "        answer: integer\n        range: [5, 0]\n",
        ['edged.yaml:9: camera "dock": question "gate": range is [lowest, highest], each of at most 9 digits'],
    ),
    "confidence": (
        ASK + "        answer: yes_no\n        min_confidence: 70\n",
        ['edged.yaml:9: camera "dock": question "gate": min_confidence must be at most 1'],
    ),
    "confidence of a text": (
        ASK + "        min_confidence: 0.7\n",
        ['edged.yaml:8: camera "dock": question "gate": a text answer has no confidence; give the question a type'],
    ),
    "yes is a word": (
        ASK + "        answer: yes_no\n        alert: {when: yes}\n",
        ['edged.yaml:9: camera "dock": question "gate": when "yes" is not a possible answer (true, false)'],
    ),
    "when out of range": (
        ASK + "        answer: integer\n        range: [0, 5]\n        alert: {when: 6}\n",
        ['edged.yaml:10: camera "dock": question "gate": when 6 is not a possible answer (whole numbers from 0 to 5)'],
    ),
    "special token": (
        CAMERA + '    ask: {gate: {prompt: "Open?<|im_end|>"}}\n',
        [
            'edged.yaml:5: camera "dock": question "gate": prompt holds "<|im_end|>", '
            "which is a special token of the model"
        ],
    ),
    "no prompt": (
        "questions: {people: {prompt: How many?}}\n" + CAMERA + "    ask: {peple: {}}\n",
        [
            'edged.yaml:6: camera "dock": question "peple": has no prompt, '
            'and there is no shared question of that name. Did you mean "people"?'
        ],
    ),
    "two of one name": (
        ASK + "        then: {gate: {prompt: Sure?}}\n",
        ['edged.yaml:8: camera "dock": question "gate": duplicate question name "gate" (first in line 6)'],
    ),
    "wildcards": (
        MODEL + 'cameras: {"a+b": {source: pics, ask: {"c#": {prompt: x}, "d/e": {prompt: x}}}}\n',
        [
            f'edged.yaml:2: {what} "{name}": a name is made of a-z, 0-9, _ and - only, '
            "because it becomes part of a topic"
            for what, name in (("camera", "a+b"), ("question", "c#"), ("question", "d/e"))
        ],
    ),
    "reserved names": (
        MODEL
        + "cameras: {bridge: {source: pics, ask: {"
        + ", ".join(f"{name}: {{prompt: x}}" for name in ("late", "image", "active", "availability", "event"))
        + "}}}\n",
        ['edged.yaml:2: camera "bridge": this name is reserved']
        + [
            f'edged.yaml:2: question "{name}": this name is reserved'
            for name in ("active", "availability", "event", "image", "late")
        ],
    ),
    "long name": (
        MODEL + f"cameras: {{{'c' * 65}: {{source: pics}}}}\n",
        [f'edged.yaml:2: camera "{"c" * 59}…": a name has at most 64 characters'],
    ),
    "title of two lines": (
        CAMERA + '    title: "Dock\\n2"\n',
        ['edged.yaml:5: camera "dock": title must be a single line'],
    ),
    "control character": (
        CAMERA + '    ask: {gate: {prompt: "Open\\0?"}}\n',
        ["edged.yaml:5: prompt holds a control character (U+0000)"],
    ),
    "long prompt": (
        CAMERA + f"    ask: {{gate: {{prompt: {'x' * 8001}}}}}\n",
        ["edged.yaml:5: prompt is longer than 8000 characters"],
    ),
    "too often": (
        CAMERA + "    every: 99ms\n",
        ['edged.yaml:5: camera "dock": every "99ms" is out of bounds (from 100ms to 31d)'],
    ),
    "too seldom": (
        CAMERA + "    every: 99999999999h\n",
        ['edged.yaml:5: camera "dock": every "99999999999h" is out of bounds (from 100ms to 31d)'],
    ),
    "many digits": (
        ASK + f"        max_new_tokens: {'9' * 5000}\n",
        ["edged.yaml:8: max_new_tokens is not a number that can be read (at most 32 characters, finite)"],
    ),
    "not finite": (
        ASK + "        answer: number\n        range: [0, .inf]\n",
        ["edged.yaml:9: range is not a number that can be read (at most 32 characters, finite)"],
    ),
    "one bound": (
        ASK + "        answer: number\n        range: [0]\n",
        ['edged.yaml:9: camera "dock": question "gate": range has too few entries'],
    ),
    "a tag": (
        MODEL + "mqtt: {username: me, password: !hunter2 }\n",
        ["edged.yaml:2: password has a tag; a text that begins with ! needs quotes"],
    ),
    "an alias": (
        MODEL + "mqtt: {username: me, password: *hunter2}\n",
        ["edged.yaml:2: is not YAML: an alias without its anchor (a text that begins with * needs quotes)"],
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
    "schema without properties": (
        ASK + "        answer: {json: {type: object, properties: 5}}\n",
        ['edged.yaml:8: camera "dock": question "gate": answer has a JSON schema whose properties are not a mapping'],
    ),
    "empty password": (
        MODEL + 'mqtt: {username: me, password: ""}\n',
        ["edged.yaml:2: mqtt: password is empty"],
    ),
    "source": (
        MODEL + 'cameras: {dock: {source: "ftp://me:hunter2@host/x"}}\n',
        [f'edged.yaml:2: camera "dock": source must be {form.SOURCES}'],
    ),
    "no scheme": (
        MODEL + 'cameras: {dock: {source: "me:hunter2@host/x"}}\n',
        [f'edged.yaml:2: camera "dock": source must be {form.SOURCES}'],
    ),
    "not a USB camera": (
        MODEL + "cameras: {dock: {source: usb:front}}\n",
        [
            'edged.yaml:2: camera "dock": source is not a USB camera: '
            "write usb: and a number, or usb: and a path in /dev"
        ],
    ),
    "no host": (
        MODEL + 'cameras: {dock: {source: "rtsp:///stream1"}}\n',
        ['edged.yaml:2: camera "dock": source is not an address such as rtsp://10.0.0.9/stream1'],
    ),
    "secret elsewhere": (
        MODEL + 'cameras: {dock: {source: "rtsp://me:{secret:../x}@cam/s"}}\n',
        [
            'edged.yaml:2: camera "dock": source has a secret that is not {secret:NAME}, '
            "where NAME is a file's name without a folder"
        ],
    ),
    "no source": (MODEL + "cameras: {dock: {}}\n", ['edged.yaml:2: camera "dock": source is missing']),
    "mask": (
        CAMERA + "    mask: [{polygon: [[0, 0], [1, 1.5], [0, 1]]}]\n",
        ['edged.yaml:5: camera "dock": mask[0].polygon[1][1] must be at most 1'],
    ),
    "language": (
        "language: de\n" + MODEL,
        ["edged.yaml:1: language must be en or ko"],
    ),
    "version": ("version: 2\n" + MODEL, ["edged.yaml:1: version must be 1"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_config_says_what_where_and_what_would_be_right(tmp_path: Path, case: str):
    text, sentences = BAD[case]
    assert problems(tmp_path, text) == sentences


def test_all_problems_are_said_at_once(tmp_path: Path):
    text = (
        "".join(BAD[case][0].removeprefix(MODEL) for case in ("unknown key", "url")) + ASK + "        answer: colour\n"
    )
    assert [line.split(": ")[0] for line in problems(tmp_path, text)] == [
        "edged.yaml:1",
        "edged.yaml:2",
        "edged.yaml:10",
    ]


def test_a_problem_of_a_shared_question_is_said_once_and_where_it_stands(tmp_path: Path):
    text = "questions: {people: {prompt: How many?, answer: nummer}}\n" + MODEL
    text += "cameras: {a: {source: pics, ask: {people: {}}}, b: {source: pics, ask: {people: {}}}}\n"
    assert problems(tmp_path, text) == [
        f'edged.yaml:1: question "people": answer "nummer" is not a type ({TYPES}). Did you mean "number"?'
    ]


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^none.yaml: there is no such file$"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"^bytes.yaml: is not UTF-8 text \(byte 0\)$"):
        load(tmp_path / "bytes.yaml")


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path):
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert "has more than 20000 values" in problems(tmp_path, "l0: &l0 [1]\n" + levels + MODEL)[0]


def test_no_message_shows_a_credential(tmp_path: Path):
    text = MODEL + "mqtt: {username: me, password: [hunter2], url: 5}\n"
    text += 'cameras: {dock: {source: "rtsp://me:hunter2@/x"}, b: {source: [hunter2]}}\n'
    assert "hunter2" not in "\n".join(problems(tmp_path, text))


def test_the_design_example_says_what_it_says(tmp_path: Path):
    config = load(write(tmp_path, (SHIPPED / "edged.yaml").read_text()))
    dock, counter = config.cameras
    people, gate, weather, placement, safety, scene = dock.questions
    assert dock.schedule == Every(30.0)
    assert (people.prompt, people.answer) == (
        "How many people are in this image? Answer with one number.",
        Number(True, 0, 40),
    )
    assert (gate.prompt, gate.answer, gate.min_confidence) == ("Is the gate open? Answer Yes or No.", YesNo(), 0.7)
    assert gate.then[0].when is True
    assert weather.prompt == "What is the weather like? Answer with one of: clear, rain, snow, fog."
    assert isinstance(placement.answer, Choices)
    assert placement.answer.value("no vehicle") == "none"
    assert isinstance(safety.answer, Json)
    assert (scene.prompt, scene.answer, scene.every_s) == (
        "Describe the environment and context surrounding the main subject.",
        Text(),
        600.0,
    )
    assert counter.at_least_every_s == 300.0
    assert config.mqtt.client_id == f"edged-{config.node}"


def test_the_editors_schema_is_in_step():
    assert json.loads((SHIPPED / "edged.schema.json").read_text()) == json.loads(json.dumps(form.json_schema()))


def test_words_follow_the_language(tmp_path: Path):
    config = load(write(tmp_path, "language: ko\n" + ASK + "        answer: yes_no\n"))
    question = config.cameras[0].questions[0]
    assert question.answer == YesNo("예", "아니요")
    assert question.prompt == "Is it open? 예 또는 아니요로 답하세요."


def test_an_instruction_may_be_changed_or_left_out(tmp_path: Path):
    text = (
        ASK
        + '        answer: yes_no\n        instruction: ""\n      b: {prompt: Sure?, answer: integer, instruction: Count.}\n'
    )
    first, second = load(write(tmp_path, text)).cameras[0].questions
    assert (first.prompt, second.prompt) == ("Is it open?", "Sure? Count.")


def test_a_camera_may_change_a_shared_question(tmp_path: Path):
    text = "questions: {gate: {prompt: Open?, answer: yes_no, min_confidence: 0.5}}\n"
    text += CAMERA + "    ask: {gate: {min_confidence: 0.9}}\n"
    question = load(write(tmp_path, text)).cameras[0].questions[0]
    assert (question.prompt, question.min_confidence) == ("Open? Answer Yes or No.", 0.9)


def test_generation_settings_come_from_the_question_then_the_model(tmp_path: Path):
    text = ASK.replace("{path: m}", "{path: m, max_new_tokens: 64, temperature: 0.7, deadline: 9s}")
    config = load(write(tmp_path, text + "        max_new_tokens: 8\n        top_k: 5\n"))
    generation = config.cameras[0].questions[0].generation
    assert (generation.max_new_tokens, generation.temperature, generation.top_k) == (8, 0.7, 5)
    assert generation.deadline_s == 9.0


def test_secrets_come_from_systemd_first_then_from_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = MODEL + "mqtt: {username: me, password: {secret: broker}}\n"
    text += "cameras: {dock: {source: 'rtsp://viewer:{secret:dock}@10.0.0.9/s'}}\n"
    path = write(tmp_path, text)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "dock").write_text("p w/1\n")
    (tmp_path / "credentials" / "broker").write_text("beside\n")
    given = tmp_path / "given"
    given.mkdir()
    (given / "broker").write_text("from systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    config = load(path)
    assert config.mqtt.password is not None
    assert config.mqtt.password.reveal() == "from systemd"
    source = config.cameras[0].source
    assert source.address.reveal() == "rtsp://viewer:p%20w%2F1@10.0.0.9/s"
    assert source.shown == "rtsp://10.0.0.9/s"
    assert "p w" not in repr(config)
    assert "from systemd" not in repr(config)
    (tmp_path / "credentials" / "dock").write_text("rotated")
    assert load(path).cameras[0].connection != config.cameras[0].connection


def test_what_this_machine_lacks_is_a_warning(tmp_path: Path):
    text = "model: {path: gone}\nmqtt: {username: me, password: {secret: none}}\n"
    text += "cameras: {dock: {source: usb:/dev/gone, ask: {a: {prompt: x}}}, b: {source: lost.jpg, ask: {a: {prompt: x}}}}\n"
    warnings = load(write(tmp_path, text)).warnings
    assert list(warnings) == [
        f"edged.yaml:1: model: there is no folder {tmp_path}/gone on this machine",
        f'edged.yaml:2: mqtt: the secret "none" is missing (no file {tmp_path}/credentials/none)',
        'edged.yaml:3: camera "b": there is no ' + f"{tmp_path}/lost.jpg on this machine",
        'edged.yaml:3: camera "dock": there is no /dev/gone on this machine',
    ]


def test_a_password_in_the_clear_is_a_warning_where_others_can_read_the_file(tmp_path: Path):
    path = write(tmp_path, ASK + "mqtt: {username: me, password: hunter2}\n")
    assert load(path).warnings == ()
    path.chmod(0o644)
    assert load(path).warnings == (
        "edged.yaml:8: mqtt: a password in plain text in a file that others can read; "
        "write {secret: NAME} or {secret:NAME}, or chmod 600 the file",
    )


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://me:pw@cam:8554/a/b", "rtsp://cam:8554/a/b"),
        ("http://cam/snap.jpg?user=me&password=pw", "http://cam/snap.jpg?…"),
        ("rtsp://cam/user=me_password=pw_channel=1", "rtsp://cam/user=***"),
        ("rtsp://cam/live;Password=p_w/1", "rtsp://cam/live;Password=***"),
        ("rtsp://[fe80::1]:554/s", "rtsp://[fe80::1]:554/s"),
        ("RTSP://{secret:a}:{secret:a}@Cam/{secret:a}", "rtsp://Cam/***"),
        ("usb:/dev/v4l/by-id/x", "usb:/dev/v4l/by-id/x"),
    ],
)
def test_a_shown_source_holds_no_credential(tmp_path: Path, source: str, shown: str):
    config = load(write(tmp_path, MODEL + f'cameras: {{dock: {{source: "{source}"}}}}\n'))
    assert config.cameras[0].source.shown == shown


def test_a_cron_schedule_is_kept(tmp_path: Path):
    config = load(write(tmp_path, CAMERA + '    cron: "*/5 6-22 * * mon-fri"\n'))
    assert config.cameras[0].schedule == Cron("*/5 6-22 * * mon-fri")
