"""Whatever a config file contains, loading it gives a config, or problems with their lines, in little time."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from support.config import MODEL, outcome, write
from support.mutations import VALID, hostile_files, spoilt_passwords
from support.properties import examples

from edged.core.specs import Config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]  # with --long
LIMIT_S = 0.1  # of CPU time; a valid file of this size takes about 0.01 s
AT_MOST = 10  # times what a valid file takes at the same time: a slow or busy machine is slow with both
TRIES = 5
OF_THE_WHOLE_FILE = re.compile(r"is not UTF-8 text|is UTF-16;|is empty;|it must be a mapping|further problems are not")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("config"), "")


@pytest.mark.parametrize("text", VALID.values(), ids=VALID.keys())
def test_the_files_are_valid_before_they_are_changed(path: Path, text: str) -> None:
    path.write_text(text)
    assert isinstance(outcome(path), Config)


def test_a_file_gives_a_config_or_problems_with_lines_in_little_time(path: Path) -> None:
    outcomes: Counter[bool] = Counter()
    slow = []  # measured again below: hypothesis traces what runs after a failure, which makes every file slow

    @examples(2000)
    @example(f"{MODEL}timezone: {'x' * 700}\n".encode())
    @example(f"{MODEL}timezone: \u202ex\n".encode())
    @example("model: {path: \u202ex}\n".encode())
    @example(MODEL.encode() + b"a: " + b"[" * 1000)
    @given(hostile_files())
    def check(content: bytes) -> None:
        took_s, result = _measured(path, content)
        if took_s > LIMIT_S:
            slow.append(content)
        outcomes[isinstance(result, Config)] += 1
        if isinstance(result, Config):
            _have_lines([str(warning) for warning in result.warnings], path, content)
        else:
            assert result
            _have_lines(result, path, content)

    check()
    assert min(outcomes[True], outcomes[False]) > 0.05 * outcomes.total()
    assert [content for content in slow if _times_a_valid_file(path, content) > AT_MOST] == []


def test_a_slow_file_is_noticed(path: Path) -> None:
    assert _times_a_valid_file(path, VALID["cameras"].encode()) < 3
    assert _times_a_valid_file(path, VALID["cameras"].encode() + b"long: [" + b"1, " * 10_000 + b"1]") > AT_MOST


def _times_a_valid_file(path: Path, content: bytes) -> float:
    """How many times as long it takes, each as the shortest of several tries in turn."""
    valid = VALID["cameras"].encode()
    pairs = [(_measured(path, content)[0], _measured(path, valid)[0]) for _ in range(TRIES)]
    return min(took_s for took_s, _ in pairs) / min(valid_s for _, valid_s in pairs)


def _measured(path: Path, content: bytes) -> tuple[float, Config | list[str]]:
    """The CPU time that this file takes, in seconds, and what loading it gives."""
    path.write_bytes(content)
    begun = time.thread_time()
    result = outcome(path)
    return time.thread_time() - begun, result


def _have_lines(sentences: list[str], path: Path, content: bytes) -> None:
    lines = len(content.decode("utf-8", "replace").splitlines()) + 1
    for sentence in sentences:
        match = re.match(rf"{re.escape(str(path))}(?::(\d+))?: (.+)$", sentence)
        assert match, sentence
        assert sentence.isprintable(), ascii(sentence)
        assert len(match[2]) < 500, sentence
        if match[1] is None:
            assert OF_THE_WHOLE_FILE.search(match[2]), sentence
        else:
            assert 1 <= int(match[1]) <= lines, sentence


def test_no_message_about_yaml_shows_a_value(path: Path) -> None:
    messages = []

    @examples(400)
    @given(spoilt_passwords("hunter2"))
    def check(text: str) -> None:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        result = outcome(path)
        not_yaml = [] if isinstance(result, Config) else [line for line in result if "is not YAML" in line]
        assert not [line for line in not_yaml if "unter" in line]
        messages.extend(not_yaml)

    check()
    assert len(messages) > 100
