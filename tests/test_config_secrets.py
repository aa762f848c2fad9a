"""Secrets and logins: where they are read from, and that no message and no repr shows one."""

from __future__ import annotations

import json
import os
import pwd
import random
import re
import resource
from collections.abc import Callable
from pathlib import Path
from string import ascii_letters, digits
from urllib.parse import quote, unquote, urlsplit

import pytest
from support.config import ASK, CAMERA, MODEL, MUST_BE_ENCODED, problems, two_secrets, write

from edged.config.addresses import UNENCODED, address_problem
from edged.config.exposure import commands_to_protect, others_can_read
from edged.config.load import ConfigError, load
from edged.core.answer_types import Grammar
from edged.core.secret import Secret
from edged.core.specs import ConfigWarning


def test_no_message_shows_a_credential(tmp_path: Path):
    text = MODEL + "mqtt: {username: me, password: [hunter2], url: 5}\n"
    text += 'cameras: {dock: {source: "rtsp://me:hunter2@/x"}, b: {source: [hunter2]}}\n'
    assert "hunter2" not in "\n".join(problems(tmp_path, text))


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


def test_a_password_in_the_clear_is_a_warning_where_others_can_read_the_file(open_folder: Path):
    path = write(open_folder, ASK + "mqtt: {username: me, password: hunter2}\n")
    assert load(path).warnings == ()
    path.chmod(0o644)
    sentence = "a clear-text password, in a file that other users can read"
    advice = "write {secret: NAME} instead, or chmod 600 the file"
    assert load(path).warnings == (ConfigWarning("clear_password", f"{path}:8: mqtt: {sentence}; {advice}"),)
    write(open_folder, CAMERA.replace("pics", "rtsp://me:hunter2@cam/s") + "    ask: {q: {prompt: x}}\n").chmod(0o644)
    advice = "write {secret:NAME} instead, or chmod 600 the file"
    assert load(path).warnings == (ConfigWarning("clear_password", f'{path}:4: camera "dock": {sentence}; {advice}'),)


def test_a_secret_that_other_users_can_read_is_a_warning(open_folder: Path):
    path = two_secrets(open_folder)
    (open_folder / "credentials").mkdir(mode=0o755)
    files = [open_folder / "credentials" / name for name in ("broker", "dock")]
    for file in files:
        file.write_text("p")
        file.chmod(0o600)
    assert load(path).warnings == ()
    for file in files:
        file.chmod(0o644)
    assert load(path).warnings == (
        ConfigWarning("readable_secret", f"{path}:2: mqtt: other users can read {files[0]}; chmod 600 {files[0]}"),
        ConfigWarning(
            "readable_secret", f'{path}:3: camera "dock": other users can read {files[1]}; chmod 600 {files[1]}'
        ),
    )
    (open_folder / "credentials").chmod(0o700)
    assert load(path).warnings == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user; needs root")
def test_a_readable_secret_of_root_in_a_folder_of_the_service_is_to_be_given_to_it(open_folder: Path):
    """After a mere chmod 600 the service could not read it."""
    path, file = two_secrets(open_folder), open_folder / "credentials" / "broker"
    file.parent.mkdir(mode=0o755)
    os.chown(file.parent, 65534, 65534)
    file.write_text("p")
    file.chmod(0o644)
    name = pwd.getpwuid(65534).pw_name
    warning = next(warning for warning in load(path).warnings if warning.kind == "readable_secret")
    assert str(warning).endswith(f"other users can read {file}; sudo chown {name} {file}; sudo chmod 600 {file}")
    file.chmod(0o600)
    assert not [warning for warning in load(path).warnings if warning.kind == "readable_secret"]


def test_what_root_checks_in_a_folder_of_root_is_to_be_given_to_the_service(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """As a key in /etc/ssl. Without a service on this machine, root is taken for the user that runs edged."""
    key, service = write(open_folder, "key"), pwd.getpwnam("nobody")
    assert commands_to_protect(key) == f"chmod 600 {key}"
    monkeypatch.setattr("edged.config.exposure.SERVICE", service.pw_name)
    assert commands_to_protect(key) == f"sudo chown {service.pw_name} {key}; sudo chmod 600 {key}"


def test_the_token_of_the_page_is_a_secret_like_the_others(open_folder: Path):
    text = ASK + 'page: {listen: "0.0.0.0:8311", token: {secret: page-token}}\n'
    path, file = write(open_folder, text), open_folder / "credentials" / "page-token"
    config = load(path)
    assert config.page
    assert [warning.kind for warning in config.warnings] == ["missing_secret"]
    assert config.page.token is None
    assert config.page.problem
    assert str(file) in config.page.problem
    file.parent.mkdir(mode=0o755)
    file.write_text("t0ken\n")
    file.chmod(0o644)
    sentence = f"{path}:8: page: other users can read {file}; chmod 600 {file}"
    assert load(path).warnings == (ConfigWarning("readable_secret", sentence),)
    file.chmod(0o600)
    config = load(path)
    assert config.warnings == ()
    assert config.page
    assert config.page.token == Secret("t0ken")
    assert "t0ken" not in repr(config)


def test_a_token_in_the_clear_is_a_warning_where_others_can_read_the_file(open_folder: Path):
    path = write(open_folder, ASK + "page: {token: t0ken}\n")
    assert load(path).warnings == ()
    path.chmod(0o644)
    assert [warning.kind for warning in load(path).warnings] == ["clear_password"]
    assert "t0ken" not in str(load(path).warnings)


@pytest.mark.parametrize(
    ("group", "folder", "mode", "readable"),
    [
        (0, 0o755, 0o640, False),  # the group of root
        (4242, 0o755, 0o640, True),
        (4242, 0o750, 0o640, True),  # the group may enter
        (4242, 0o700, 0o640, False),
        (4242, 0o750, 0o604, False),  # the others may not
        (4242, 0o751, 0o604, True),
        (4242, 0o755, 0o200, False),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another group; needs root")
def test_who_can_read_a_file_depends_on_its_group_and_its_folders(
    open_folder: Path, group: int, folder: int, mode: int, readable: bool
):
    file = open_folder / "in" / "secret"
    file.parent.mkdir()
    file.write_text("p")
    for path, bits in ((file.parent, folder), (file, mode)):
        os.chown(path, 0, group)
        path.chmod(bits)
    assert others_can_read(file) is readable
    assert not others_can_read(file / "missing")


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://me:pw@cam:8554/a/b", "rtsp://cam:8554/a/b"),
        ("http://cam/snap.jpg?user=me&password=pw", "http://cam/snap.jpg?…"),
        ("rtsp://cam/user=me_password=pw_channel=1", "rtsp://cam/user=***"),
        ("rtsp://cam/live;Password=p_w/1", "rtsp://cam/live;Password=***"),
        ("rtsp://[fe80::1]:554/s", "rtsp://[fe80::1]:554/s"),
        ("RTSP://{secret:a}:{secret:a}@Cam/{secret:a}", "rtsp://Cam/***"),
        ("http://{secret: a}:{secret: a}@cam/{secret: a}/snap?pwd={secret: a}", "http://cam/***/snap?…"),
        ("usb:/dev/v4l/by-id/x", "usb:/dev/v4l/by-id/x"),
    ],
)
def test_a_shown_source_holds_no_credential(tmp_path: Path, source: str, shown: str):
    config = load(write(tmp_path, MODEL + f'cameras: {{dock: {{source: "{source}"}}}}\n'))
    assert config.cameras[0].source.shown == shown


def no_file(place: Path) -> str:
    return f"is missing (no file {place})"


def empty_file(place: Path) -> str:
    place.write_text("\n")
    return f"cannot be used ({place} is empty)"


def not_text(place: Path) -> str:
    place.write_bytes(b"\xff\xfe")
    return f"cannot be used ({place} is not UTF-8 text)"


def folder(place: Path) -> str:
    place.mkdir()
    return f"cannot be used ({place} is not a regular file)"


def fifo(place: Path) -> str:
    os.mkfifo(place)
    return f"cannot be used ({place} is not a regular file)"


def loop(place: Path) -> str:
    place.symlink_to(place)
    return f"cannot be used ({place} cannot be read: Too many levels of symbolic links)"


def two_lines(place: Path) -> str:
    place.write_text("hunter2\nswordfish\n")
    return f"cannot be used ({place} has a line break or a control character)"


@pytest.mark.parametrize("lay", [no_file, empty_file, not_text, folder, fifo, loop, two_lines])
def test_without_its_secret_there_is_no_login_and_the_file_is_named(tmp_path: Path, lay: Callable[[Path], str]):
    path = two_secrets(tmp_path)
    (tmp_path / "credentials").mkdir()
    sentences = {name: f'the secret "{name}" {lay(tmp_path / "credentials" / name)}' for name in ("dock", "broker")}
    config = load(path)
    source = config.cameras[0].source
    assert (source.problem, config.mqtt.problem) == (sentences["dock"], sentences["broker"])
    assert (source.address, source.shown) == (Secret("rtsp://10.0.0.9:554"), "rtsp://10.0.0.9:554/s?…")
    assert (config.mqtt.username, config.mqtt.password) == ("me", None)
    assert config.warnings == (
        ConfigWarning("missing_secret", f"{path}:2: mqtt: {sentences['broker']}"),
        ConfigWarning("missing_secret", f'{path}:3: camera "dock": {sentences["dock"]}'),
    )


def test_a_secret_that_comes_later_ends_the_problem(tmp_path: Path):
    path = two_secrets(tmp_path)
    before = load(path)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "dock").write_text("p")
    (tmp_path / "credentials" / "broker").write_text("p")
    after = load(path)
    assert (after.cameras[0].source.problem, after.mqtt.problem) == (None, None)
    assert after.cameras[0].connection != before.cameras[0].connection
    assert after.mqtt != before.mqtt


def test_a_secret_that_cannot_be_read_without_free_descriptors_is_a_problem_of_the_config(tmp_path: Path):
    """Else a reload would leave the broker for good, because of a shortage that lasts for a second."""
    ask = ASK + "        answer: {json: {type: boolean}}\n"
    path = write(tmp_path, "mqtt: {username: me, password: {secret: broker}}\n" + ask)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "broker").write_text("p")
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)

    def exhaust(_grammar: Grammar) -> None:
        """Called after the file was read, before the broker's secret is."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))  # those that are open stay open

    try:
        with pytest.raises(ConfigError) as caught:
            load(path, exhaust)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    broker = f"{tmp_path / 'credentials' / 'broker'} cannot be read: Too many open files"
    assert caught.value.problems == [f'{path}:1: mqtt: the secret "broker" cannot be used ({broker})']
    assert load(path).mqtt.problem is None


def test_a_missing_secret_names_both_of_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/edged.service")
    assert load(two_secrets(tmp_path)).mqtt.problem == (
        'the secret "broker" is missing (no file /run/credentials/edged.service/broker '
        f"and no file {tmp_path}/credentials/broker)"
    )


IN_A_FILE = " (or put the password into a file: {secret:NAME})"
HASH = "has a #, which must be percent-encoded: write %23 for it"
AT = (
    "has an @ after a / or ?: in the path and the query write %40 for @, in the user and the password %2F for / and "
    "%3F for ?"
)
SCHEME = "must begin with rtsp://, rtsps://, http:// or https://"
NO_HOST = "has no host (write it like rtsp://10.0.0.9/stream1)"
HOST = "has an invalid host: it is a name or an IP address, IPv6 in [], without a space"
PORT = "has an invalid port: it is a number from 1 to 65535"
SPACE = "has a space in its path or query: write %20 for it"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("rtsp://admin:2024/Summer@10.0.0.9:554/s", AT + IN_A_FILE),
        ("rtsp://admin:Sum?mer@10.0.0.9/s", AT + IN_A_FILE),
        ("rtsp://admin:Sum#mer@10.0.0.9/s", HASH + IN_A_FILE),
        ("rtsp://admin:Sum@mer@10.0.0.9/s", MUST_BE_ENCODED),
        ("rtsp://admin:Sum[mer@10.0.0.9/s", MUST_BE_ENCODED),
        ("rtsp://admin:50%mer@10.0.0.9/s", MUST_BE_ENCODED),
        ("rtsp://admin:Sum mer@10.0.0.9/s", MUST_BE_ENCODED),
        ("http://10.0.0.9/Summer@x.jpg", AT),
        ("https://admin:Summer@10.0.0.9/a.jpg?mail=me@here", AT + IN_A_FILE),
        ("http://admin@10.0.0.9:Summer@10.0.0.9/a.jpg", MUST_BE_ENCODED),
        ("rtsp:/admin:Summer@10.0.0.9/s", SCHEME),
        ("rtsp:admin:Summer@10.0.0.9/s", SCHEME),
        ("http://10.0.0.9/a.jpg#Summer", HASH),
        ("https://admin:Summer@10.0.0.9/a.jpg#top", HASH),
        *((f"rtsp://admin:Sum{letter}mer@10.0.0.9/s", MUST_BE_ENCODED) for letter in '^"\\<>|{}`é가'),
        ("rtsp://admin:Summer@10.0.0.9:99999/s", PORT),
        ("rtsp://admin:Summer@10.0.0.9:5o4/s", PORT),
        ("rtsp://admin:{secret:two}@10.0.0.9:0/s", PORT),
        ("rtsp://admin:Summer@10.0.0.9:", PORT),
        ("rtsp://admin:Summer", PORT),
        ("rtsp://admin:Summer@/s", NO_HOST),
        ("rtsp://admin:Summer@10.0.0.9 /s", HOST),
        ("rtsp://admin:Summer@fe80::1/s", HOST),
        ("rtsp://admin:Summer@[fe80::1/s", HOST),
        ("rtsp://admin:Summer@10.0.0.9/s 1", SPACE),
        ("rtsp://admin:Summer@10.0.0.9?s 1", SPACE),
    ],
)
def test_an_invalid_address_is_not_shown_and_its_first_wrong_part_is_named(tmp_path: Path, source: str, why: str):
    text = json.dumps({"model": {"path": "m"}, "cameras": {"dock": {"source": source}}})
    assert problems(tmp_path, text) == [f'edged.yaml:1: camera "dock": source {why}']


def test_every_character_that_is_said_to_need_no_encoding_needs_none():
    assert UNENCODED.startswith("A-Z, a-z, 0-9 and ")
    marks = UNENCODED.removeprefix("A-Z, a-z, 0-9 and ").replace(" ", "")
    free = ascii_letters + digits + marks
    assert address_problem(f"rtsp://admin:{free}@10.0.0.9/s") is None
    others = (chr(code) for code in range(0x250) if chr(code) not in free + "/?#")
    accepted = [each for each in others if address_problem(f"rtsp://admin:Sum{each}mer@10.0.0.9/s") != MUST_BE_ENCODED]
    assert accepted == []


@pytest.mark.slow
def test_no_piece_of_any_login_is_shown(tmp_path: Path):
    chance = random.Random(18)
    letters = "/?#@[]%:;=&+$,!'()*{}<>|\\^`\"~-_. XYZ7é가"
    path = write(tmp_path, MODEL)
    accepted = 0
    for _ in range(1500):
        words = [f"qQ{''.join(chance.choices(letters, k=chance.randint(1, 8)))}Qq" for _ in range(2)]
        encoded = chance.random() < 0.4
        user, password = (quote(word, safe="") if encoded else word for word in words)
        if not encoded and ":" in user:
            continue  # its second half belongs to the password for every reader
        scheme, rest = chance.choice(["rtsp", "rtsps", "http", "https"]), chance.choice(["", ":81", ":81/a/b?c=d", "/"])
        source = f"{scheme}://{user}:{password}@10.0.0.9{rest}"
        path.write_text(json.dumps({"model": {"path": "m"}, "cameras": {"dock": {"source": source}}}))
        pieces = {piece for word in (*words, user, password) for piece in re.findall(r"qQ[^/?#@:]*|[^/?#@:]*Qq", word)}
        try:
            spec = load(path).cameras[0].source
        except ConfigError as error:
            assert not encoded, source
            shown = "\n".join(error.problems)
        else:
            accepted += 1
            parts = urlsplit(spec.address.reveal())
            assert [unquote(parts.username or ""), unquote(parts.password or "")] == words
            assert parts.hostname == "10.0.0.9"
            shown = f"{spec.shown} {spec!r}"
        assert not [piece for piece in pieces if piece in shown], (source, shown)
    assert accepted > 500


@pytest.mark.parametrize(
    "text",
    [
        "mqtt: 'mqtt://me:hunter2@host'",
        "mqtt: {url: 'mqtt://me:hunter2/@host'}",
        "cameras: {dock: 'rtsp://me:hunter2@host/'}",
        "cameras: {dock: {source: pics, image: 'rtsp://me:hunter2@host/'}}",
        "cameras: {dock: {source: pics, every: 'rtsp://me:hunter2@host/'}}",
        "cameras: {'rtsp://me:hunter2@host/': {source: pics}}",
        "cameras: {dock: {'rtsp://me:hunter2@host/': pics}}",
        "cameras: {dock: {source: pics, ask: {'hunter2@host': {prompt: 5}}}}",
        "cameras: {dock: {source: '//me:hunter2@host/'}}",
        "cameras: {dock: {source: 'usb:me:hunter2@host/'}}",
        "cameras: {dock: {source: 'hunter2://me@host/'}}",
        "mqtt: {username: me, password: *hunter2}",
        "mqtt: {username: me, password: !hunter2 }",
        "mqtt: {username: me, password: !hunter2!x }",
        "mqtt: {username: me, password: swordfish,hunter2}",
        "mqtt: {username: me, password: swordfish, hunter2}",
        "mqtt: {username: me, password:hunter2}",
        "mqtt:\n  username: me\n  password:hunter2\n  prefix: x",
        "mqtt:\n  username: me\n  password: a: hunter2",
        "mqtt:\n  username: me\n  password: 'a'hunter2'",
        "mqtt:\n  username: me\n  password: [hunter2",
    ],
)
def test_no_message_shows_a_password_in_the_wrong_place(tmp_path: Path, text: str):
    assert "hunter2" not in "\n".join(problems(tmp_path, MODEL + text + "\n"))
