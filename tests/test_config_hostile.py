"""Any file, however hostile, is read once and gives a config or its problems within bounds of time and size."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.config import ASK, CAMERA, MODEL, outcome, two_secrets, write

from edged.config.document import MAX_BYTES, FileRefused, read_bytes
from edged.config.load import ConfigError, load
from edged.core.secret import Secret
from edged.core.specs import Config, revision


class Opened:
    """Calls back before a file of that name is opened. Audit hooks cannot be removed, so this one is switched off."""

    def __init__(self, name: str, then: Callable[[], object]) -> None:
        self._name, self._then = name, then
        self._listening = True
        sys.addaudithook(self._on_event)

    def close(self) -> None:
        self._listening = False

    def _on_event(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and self._listening and str(arguments[0]).endswith(self._name):
            self._then()


def test_a_config_is_read_once(tmp_path: Path):
    path, times = write(tmp_path, ASK), []
    opened = Opened("/edged.yaml", lambda: times.append(1))
    config = load(path)
    opened.close()
    assert len(times) == 1
    assert config.rev == revision(ASK)


def test_a_config_that_is_replaced_while_it_is_judged_is_the_one_that_was_read(tmp_path: Path):
    path = two_secrets(tmp_path)
    path.write_text(path.read_text().replace("{secret: broker}", "hunter2"))
    opened = Opened("/credentials/dock", lambda: path.unlink(missing_ok=True))
    config = load(path)
    opened.close()
    assert not path.exists()
    assert config.mqtt.password == Secret("hunter2")


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path / "fifo", tmp_path, Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(FileRefused, match="is not a regular file"):
            read_bytes(place)
    (tmp_path / "full").write_bytes(b"x" * MAX_BYTES)
    assert len(read_bytes(tmp_path / "full")) == MAX_BYTES
    (tmp_path / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(FileRefused, match="is larger than 1024 KiB"):
        read_bytes(tmp_path / "large")
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none")


def test_a_fifo_is_refused_as_a_config(tmp_path: Path):
    os.mkfifo(tmp_path / "edged.yaml")
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/edged.yaml: is not a regular file$"):
        load(tmp_path / "edged.yaml")


HOSTILE = {
    "wide": MODEL + "cameras: [" + "1, " * 200_000 + "]",
    "many keys": MODEL + "".join(f"k{n}: v\n" for n in range(9_500)),
    "many cameras": MODEL + "cameras:\n" + "".join(f"  c{n}: {{source: x, ask: {{}}}}\n" for n in range(6000)),
    "many bad cameras": MODEL + "cameras:\n" + "".join(f"  C{n}: {{source: 1, evry: 1}}\n" for n in range(4000)),
    "shared and shared again": MODEL
    + "questions:\n"
    + "".join(f"  q{n}: {{prompt: x, answer: [a, b, c, d, e]}}\n" for n in range(300))
    + "cameras:\n"
    + "".join(f"  c{n}: {{source: x, ask: {{{', '.join(f'q{m}: {{}}' for m in range(300))}}}}}\n" for n in range(20)),
    "many misspelt questions": MODEL
    + "questions:\n"
    + "".join(f"  question_{n}: {{prompt: x}}\n" for n in range(1500))
    + "cameras:\n  dock:\n    source: x\n    ask:\n"
    + "".join(f"      questoin_{n}: {{}}\n" for n in range(2000)),
    "colons in a source": MODEL + "cameras:\n" + "".join(f"  c{n}: {{source: '{'x:' * 3900}'}}\n" for n in range(120)),
    "brackets": MODEL + "a: " + "[" * 500_000,
    "braces": MODEL + "a: " + "{a: " * 200_000,
    "dashes": "- " * 100_000,
    "question marks": "? " * 100_000,
    "shallow brackets": "a: [" + ("[" * 35 + "]" * 35 + ", ") * 600 + "]",
    "colons": ": " * 50_000,
    "long words": MODEL + "x: " + "a " * 500_000,
    "long key": MODEL + "k" * 100_000 + ": 1",
    "long number": MODEL + "node: " + "9" * 500_000,
    "long hexadecimal": MODEL + "node: 0x" + "f" * 500_000,
    "exponent": MODEL + "node: 1e999999999999",
    "schema of schemas": ASK + "        answer: {json: " + '{"anyOf": [' * 16 + "{}" + "]}" * 16 + "}\n",
    "comments": "# x\n" * 200_000 + MODEL,
    "blank lines": "\n" * 900_000 + MODEL,
    "merge": "a: &a {path: m}\nmodel: {<<: *a}\n",
    "merge of itself": "model: &a {<<: *a}\n",
    "anchors": "".join(f"- &a {n}\n" for n in range(5000)),
    "python": MODEL + "x: !!python/object/apply:os.system ['true']\n",
    "binary": MODEL + "x: !!binary aGk=\n",
    "directive": "%YAML 1.1\n%TAG ! tag:x,2000:\n---\nmodel: {path: yes}\nnode: 1:30\n",
    "two documents": "a: 1\n---\nb: 2\n...\n",
    "BOM": "\ufeff" + ASK,
    "half a pair": MODEL + 'node: "\\ud800"\n',
    "surrogate escapes": MODEL + 'cameras: {a: {source: "x\\uDCFF"}}\n',
    "NUL": MODEL + 'cameras: {a: {source: "x\\0"}}\n',
    "tabs": "\tmodel:\t{path:\tm}\n",
    "keys that are lists": "[1]: 2\n? {a: b}\n: c\n" + MODEL,
    "dates": MODEL + "node: 2024-01-01\ncameras: 2024-01-01T00:00:00Z\n",
    "stray numbers": MODEL.replace("m}", "m, top_k: 99999999999999999999, top_p: 1e400, temperature: -0.0}"),
    "cron": CAMERA + "    cron: '*/0 99 ٣ 0-0/0 mon/²'\n",
    "hours": CAMERA + "    hours: ['mon-,: 99:99-24:00', {}, 5]\n",
    "long durations": CAMERA + "    ask:\n" + "".join(f"      q{n}: {{every: '{'1' * 7000}'}}\n" for n in range(100)),
    "long word in a flow mapping": CAMERA + "    ask: {" + "a" * 100_000 + " ] x}\n",
    "long path": CAMERA.replace("pics", "p" * 5000),
    "null keys": "null: 1\n~: 2\n: 3\n" + MODEL,
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (len(text) > 40_000)) for case, text in HOSTILE.items()]
)
def test_a_hostile_file_is_refused_or_loaded_within_seconds(tmp_path: Path, case: str):
    begun = time.process_time()
    result = outcome(write(tmp_path, HOSTILE[case]))
    assert time.process_time() - begun < 10  # about 1 s; a slow machine that is busy takes several times as long
    sentences = [] if isinstance(result, Config) else result
    assert len(sentences) <= 201
    assert all(len(sentence) < 500 and "\n" not in sentence for sentence in sentences)
