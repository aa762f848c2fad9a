"""What a valid config means once it is loaded, and its warnings."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.account import unprivileged
from support.config import ASK, CAMERA, MODEL, write

from edged.config.load import ConfigError, load, one_question
from edged.core.answer_types import YesNo
from edged.core.specs import ClientCertificate, Cron, FramesSpec, Generation, HistorySpec, HomeAssistantSpec
from edged.service.plan import plan


def test_each_warning_has_a_kind(tmp_path: Path, open_folder: Path):
    kinds = [warning.kind for warning in load(write(tmp_path, "model: {path: gone}\n")).warnings]
    assert sorted(kinds) == ["missing_model", "no_cameras"]
    text = CAMERA + "mqtt: {url: mqtts://b, username: me, password: hunter2, ca: gone.pem}\n"
    path = write(open_folder, text)
    path.chmod(0o644)
    assert sorted(warning.kind for warning in load(path).warnings) == ["clear_password", "missing_file", "no_questions"]


def test_insecure_is_a_warning_at_every_start(tmp_path: Path):
    path = write(tmp_path, ASK + "mqtt: {url: mqtts://b, insecure: true}\n")
    assert [(warning.kind, str(warning)) for warning in load(path).warnings] == [
        (
            "insecure",
            f"{path}:8: mqtt: insecure: true: the broker's certificate is not verified; "
            "whoever can intercept the connection can read the password and the answers",
        )
    ]
    assert load(write(tmp_path, ASK + "mqtt: {url: mqtts://b}\n")).mqtt.insecure is False


def test_the_key_of_a_client_certificate_is_a_path_or_the_file_of_a_secret(tmp_path: Path):
    (tmp_path / "credentials").mkdir()
    for name in ("box.pem", "box.key", "credentials/box-key"):
        (tmp_path / name).write_text(name)
    text = ASK + "mqtt: {url: mqtts://b, client_certificate: {certificate: box.pem, key: KEY}}\n"
    of_a_path = load(write(tmp_path, text.replace("KEY", "box.key"))).mqtt
    assert of_a_path.client_certificate == ClientCertificate(tmp_path / "box.pem", tmp_path / "box.key")
    of_a_secret = load(write(tmp_path, text.replace("KEY", "{secret: box-key}")))
    assert of_a_secret.mqtt.client_certificate is not None
    assert of_a_secret.mqtt.client_certificate.key == tmp_path / "credentials" / "box-key"
    assert of_a_secret.warnings == ()
    (tmp_path / "credentials" / "box-key").write_text("rotated")
    changed = load(tmp_path / "edged.yaml")
    assert str(plan(of_a_secret, changed)).endswith("content of the broker's certificate files changed")


def test_files_of_a_client_certificate_that_are_not_there_are_warnings(tmp_path: Path):
    text = ASK + "mqtt: {url: mqtts://b, client_certificate: {certificate: gone.pem, key: {secret: gone-key}}}\n"
    config = load(write(tmp_path, text))
    missing = f'the secret "gone-key" is missing (no file {tmp_path}/credentials/gone-key)'
    assert [warning.kind for warning in config.warnings] == ["missing_file", "missing_secret"]
    assert str(config.warnings[1]).endswith(missing)
    assert config.mqtt.problem == missing


def test_a_source_that_looks_like_an_address_is_not_only_called_missing(tmp_path: Path):
    text = CAMERA.replace("pics", "10.0.0.9:554/stream1") + "    ask: {q: {prompt: x}}\n"
    path = write(tmp_path, text)
    assert [str(warning) for warning in load(path).warnings] == [
        f'{path}:4: camera "dock": source {tmp_path}/10.0.0.9:554/stream1 does not exist '
        "(an address begins with rtsp:// or http://)"
    ]


def test_new_only_with_a_source_that_no_file_system_could_have_is_checked_too(tmp_path: Path):
    path = write(tmp_path, CAMERA.replace("pics", "x" * 300) + "    new_only: true\n")
    assert load(path).cameras[0].new_only


def test_new_only_is_for_folders_also_for_one_that_does_not_exist_yet(tmp_path: Path):
    path = write(tmp_path, CAMERA + "    new_only: true\n")
    assert load(path).cameras[0].new_only
    (tmp_path / "pics").rmdir()
    assert load(path).cameras[0].new_only
    (tmp_path / "pics").write_text("a file")
    with pytest.raises(ConfigError, match=r"new_only is for folders only, but the source is .*pics"):
        load(path)


def test_yes_and_no_follow_the_language(tmp_path: Path):
    config = load(write(tmp_path, "language: ko\n" + ASK + "        answer: yes_no\n"))
    question = config.cameras[0].questions[0]
    assert question.answer == YesNo("예", "아니요")
    assert question.prompt == "Is it open? 예 또는 아니요로 답하세요."


def test_an_instruction_may_be_changed_or_left_out(tmp_path: Path):
    text = ASK + '        answer: yes_no\n        instruction: ""\n'
    text += "      b: {prompt: Sure?, answer: integer, instruction: Count.}\n"
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


def test_a_file_that_this_machine_does_not_have_is_a_warning(tmp_path: Path):
    text = "model: {path: gone}\nmqtt: {username: me, password: {secret: none}}\n"
    text += "cameras: {dock: {source: usb:/dev/gone, ask: {a: {prompt: x}}}, "
    text += "b: {source: lost.jpg, ask: {a: {prompt: x}}}}\n"
    path = write(tmp_path, text)
    assert [(warning.kind, str(warning)) for warning in load(path).warnings] == [
        ("missing_model", f"{path}:1: model: folder {tmp_path}/gone does not exist"),
        ("missing_secret", f'{path}:2: mqtt: the secret "none" is missing (no file {tmp_path}/credentials/none)'),
        ("missing_file", f'{path}:3: camera "b": source {tmp_path}/lost.jpg does not exist'),
        ("missing_file", f'{path}:3: camera "dock": device /dev/gone does not exist'),
    ]


def test_a_file_that_this_user_may_not_see_is_not_called_missing(open_folder: Path):
    (open_folder / "closed" / "model").mkdir(parents=True)
    text = "model: {path: closed/model}\nmqtt: {url: mqtts://b, ca: closed/ca.pem}\n"
    path = write(open_folder, text + "cameras: {b: {source: closed/b.jpg, ask: {a: {prompt: x}}}}\n")
    path.chmod(0o644)
    load(path)  # imports what the other user may not be able to import
    (open_folder / "closed").chmod(0o700)
    with unprivileged():
        assert [str(warning) for warning in load(path).warnings] == [
            f"{path}:1: model: folder {open_folder}/closed/model cannot be read: permission denied",
            f"{path}:2: mqtt: file {open_folder}/closed/ca.pem cannot be read: permission denied",
            f'{path}:3: camera "b": source {open_folder}/closed/b.jpg cannot be read: permission denied',
        ]


def test_a_folder_in_place_of_a_file_is_named_as_such(tmp_path: Path):
    path = write(tmp_path, MODEL.replace("m}", "edged.yaml}") + "mqtt: {url: mqtts://b, ca: pics}\n")
    assert [str(warning) for warning in load(path).warnings if warning.kind.startswith("missing")] == [
        f"{path}:1: model: {path} is not a folder",
        f"{path}:2: mqtt: {tmp_path}/pics is not a regular file",
    ]


def test_a_ca_without_tls_is_a_warning(tmp_path: Path):
    path = write(tmp_path, MODEL + "mqtt: {url: mqtt://b, ca: edged.yaml}\n")
    assert [str(warning) for warning in load(path).warnings if warning.kind == "unused_ca"] == [
        f"{path}:2: mqtt: ca is not used without TLS; for TLS write mqtts:// in url"
    ]
    path = write(tmp_path, MODEL + "mqtt: {url: mqtts://b, ca: edged.yaml}\n")
    assert "unused_ca" not in [warning.kind for warning in load(path).warnings]


@pytest.mark.parametrize(
    "times",
    [
        'cron: "0 0 29 2 *"',
        'cron: "0 0 31 1,2 *"',
        'cron: "0 0 last 2 mon"',
        'cron: "59 5 * * 0", hours: "sun 05:00-06:00"',
    ],
)
def test_a_schedule_that_occurs_in_some_year_is_valid(tmp_path: Path, times: str):
    load(write(tmp_path, MODEL + f"cameras: {{dock: {{source: pics, {times}, ask: {{q: {{prompt: p}}}}}}}}\n"))


def test_a_cron_schedule_is_kept(tmp_path: Path):
    config = load(write(tmp_path, CAMERA + '    cron: "*/5 6-22 * * mon-fri"\n'))
    assert config.cameras[0].schedule == Cron("*/5 6-22 * * mon-fri")


def test_the_config_has_the_generation_settings_and_the_language(tmp_path: Path):
    config = load(write(tmp_path, "language: ko\nmodel: {path: m, max_new_tokens: 64, top_k: 5}\n"))
    assert (config.language, config.generation) == ("ko", Generation(max_new_tokens=64, top_k=5))
    question = one_question({"prompt": "Open?", "answer": "yes_no", "top_k": 9}, config.language, config.generation)
    assert question.prompt == "Open? 예 또는 아니요로 답하세요."
    assert question.generation == Generation(max_new_tokens=64, top_k=9)


@pytest.mark.parametrize(
    ("schedule", "warned"), [("", False), ("every: 30m", False), ("every: 31m", True), ("cron: 0 12 * * *", False)]
)
def test_hours_in_which_there_may_be_no_look_are_a_warning(tmp_path: Path, schedule: str, warned: bool):
    text = CAMERA + f'    hours: ["12:00-12:30", "18:00-22:00"]\n    {schedule}\n'
    warnings = {warning.kind: str(warning) for warning in load(write(tmp_path, text)).warnings}
    assert ("short_hours" in warnings) == warned
    if warned:
        assert "hours has a window shorter than every" in warnings["short_hours"]


def test_a_source_that_leads_to_itself_or_has_no_possible_name_is_a_warning(tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    text = CAMERA.replace("pics", "loop/x") + "  b:\n    source: " + "x" * 300 + "\n"
    kinds = [warning.kind for warning in load(write(tmp_path, text)).warnings]
    assert sorted(kinds) == ["missing_file", "missing_file", "no_questions", "no_questions"]


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("never", None),
        ("false", None),
        ("on_event", "on_event"),
        ("each", "each"),
        ("true", "each"),
    ],
)
def test_image_is_a_mode_or_true_or_false(tmp_path: Path, written: str, mode: str | None):
    (camera,) = load(write(tmp_path, CAMERA + f"    image: {written}\n")).cameras
    assert camera.image == mode


def test_a_mask_is_a_polygon_or_a_box(tmp_path: Path):
    masks = "[{polygon: [[0, 0], [1, 0], [0, 1]]}, {box: [0.1, 0.2, 0.6, 0.9]}]"
    config = load(write(tmp_path, CAMERA + f"    mask: {masks}\n"))
    assert config.cameras[0].mask == (
        ((0, 0), (1, 0), (0, 1)),
        ((0.1, 0.2), (0.6, 0.2), (0.6, 0.9), (0.1, 0.9)),
    )


def test_frozen_after_is_a_duration_or_false(tmp_path: Path):
    def frozen_after(text: str) -> float | None:
        camera = f"{{source: rtsp://10.0.0.9/a, {text}ask: {{a: {{prompt: x}}}}}}"
        return load(write(tmp_path, f"{MODEL}cameras: {{dock: {camera}}}\n")).cameras[0].frozen_after_s

    assert [frozen_after(text) for text in ("", "frozen_after: 2m, ", "frozen_after: false, ")] == [30.0, 120.0, None]


def test_frames_are_kept_only_if_the_config_says_so(tmp_path: Path):
    def frames(text: str) -> FramesSpec | None:
        return load(write(tmp_path, f"{MODEL}{text}\n")).frames

    assert frames("") is None
    assert frames("frames: false") is None
    assert frames("frames: {}") == FramesSpec(unsure=True, changed=True, sample=0.02, max_bytes=2_000_000_000)
    assert frames("frames: {unsure: false, max: 500MB}") == FramesSpec(unsure=False, max_bytes=500_000_000)
    assert frames("frames: {changed: false, sample: 1}") == FramesSpec(changed=False, sample=1.0)


def test_the_history_is_bounded_by_time_and_size_or_switched_off(tmp_path: Path):
    def history(text: str) -> HistorySpec | None:
        return load(write(tmp_path, f"{MODEL}{text}\n")).history

    assert history("") == HistorySpec(7 * 86400.0, 200_000_000)
    assert history("history: {}") == HistorySpec()
    assert history("history: {keep: 90d}") == HistorySpec(keep_s=90 * 86400.0)
    assert history("history: {keep: 30m, max: 1.5GB}") == HistorySpec(1800.0, 1_500_000_000)
    assert history("history: false") is None


def test_home_assistant_is_on_unless_it_is_switched_off(tmp_path: Path):
    def homeassistant(text: str) -> HomeAssistantSpec | None:
        return load(write(tmp_path, f"{MODEL}{text}\n")).homeassistant

    assert homeassistant("") == HomeAssistantSpec("homeassistant")
    assert homeassistant("homeassistant: true") == homeassistant("homeassistant: {}") == HomeAssistantSpec()
    assert homeassistant("homeassistant: {prefix: home/discovery}") == HomeAssistantSpec("home/discovery")
    assert homeassistant("homeassistant: false") is None
