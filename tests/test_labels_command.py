"""`edged labels`: what it writes, what it reads, and what it refuses; also beside a running edged."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.broker import until
from support.config import MODEL, write
from support.history import database
from support.kept import kept_answer, kept_frame, yes_no

from edged.cli import main
from edged.core.kept_frames import KeptFrame
from edged.core.specs import FramesSpec
from edged.store.store import DiskStore

WITHIN_S = 20.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DiskStore]:
    """That of a running edged with the node `box`, and a config in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    Path("edged.yaml").write_text("node: box\nmodel: {path: m}\n")
    store = DiskStore(tmp_path / "state/edged.db", lambda: True)
    store.open()
    store.keep(None, FramesSpec())
    yield store
    store.close()


def kept(store: DiskStore) -> KeptFrame:
    frame = kept_frame(kept_answer(), yes_no())
    store.frames.keep(frame, lambda: b"picture")
    until(lambda: store.frames.task(frame.name), WITHIN_S)
    return frame


def labels(*arguments: str) -> int:
    return main(["labels", *arguments, "--config", "edged.yaml"])


def line(frame: str, question: str = "people", truth: Any = 3, camera: str = "dock", **more: Any) -> str:
    return json.dumps({"frame": frame, "camera": camera, "question": question, "truth": truth, **more})


def test_an_export_has_each_label_whose_truth_is_known(store: DiskStore, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = kept(store), kept(store)
    store.frames.label(first.name, "people", "right")
    store.frames.label(first.name, "gate", "wrong")
    store.frames.label(second.name, "people", "wrong")
    store.frames.label(second.name, "gate", "skip")
    assert labels("export") == 0
    output, errors = capsys.readouterr()
    assert output.splitlines() == [line(first.name), line(first.name, "gate", False)]
    assert errors == "edged: 2 labels written; 2 labels without a true value left out\n"


def test_a_lone_surrogate_is_exported_as_json_and_can_be_imported(
    store: DiskStore, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = {"plate": "부산 \ud800"}
    frame = kept_frame(kept_answer(value=plate, type="json", form={"schema": {}}))
    store.frames.keep(frame, lambda: b"picture")
    until(lambda: store.frames.task(frame.name), WITHIN_S)
    store.frames.label(frame.name, "people", "right")
    assert labels("export", "labels.jsonl") == 0
    assert "부산 \\ud800" in Path("labels.jsonl").read_text("utf-8")
    store.frames.undo()
    assert labels("import", "labels.jsonl") == 0
    task = store.frames.task(frame.name)
    assert task
    assert task.labels[0].truth == plate


def test_what_was_exported_can_be_imported_beside_a_running_edged(
    store: DiskStore, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = kept(store)
    store.frames.label(frame.name, "people", None, 7)
    store.frames.label(frame.name, "gate", "right")
    assert labels("export", "labels.jsonl") == 0
    store.frames.undo()
    store.frames.undo()
    stop = threading.Event()
    looks = threading.Thread(target=_write_until, args=(store, stop))
    looks.start()
    try:
        assert labels("import", "labels.jsonl") == 0
    finally:
        stop.set()
        looks.join(WITHIN_S)
    task = store.frames.task(frame.name)
    assert task is not None
    assert [(label.question, label.truth, label.verdict) for label in task.labels] == [
        ("people", 7, "wrong"),
        ("gate", True, "right"),
    ]
    assert capsys.readouterr().err == "edged: 2 labels written\nedged: 2 labels imported\n"


def _write_until(store: DiskStore, stop: threading.Event) -> None:
    while not stop.is_set():
        written = threading.Event()
        store.write([], (), partial(_set, written))
        written.wait(WITHIN_S)


def _set(written: threading.Event, _on_disk: bool) -> None:
    written.set()


def test_an_import_replaces_labels_that_differ_and_leaves_the_others(
    store: DiskStore, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = kept(store)
    people = store.frames.label(frame.name, "people", "right")
    store.frames.label(frame.name, "gate", "right")
    Path("new.jsonl").write_text(f"{line(frame.name, truth=3.0)}\n\n{line(frame.name, 'gate', False)}\n")
    assert labels("import", "new.jsonl") == 0
    task = store.frames.task(frame.name)
    assert task is not None
    assert task.labels[0] == people
    assert (task.labels[1].truth, task.labels[1].verdict) == (False, "wrong")
    assert capsys.readouterr().err == "edged: 1 label imported, 1 known already\n"


def test_labels_of_frames_that_are_gone_are_counted_and_left_out(
    store: DiskStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = kept(store)
    data = f"{line(frame.name)}\n{line(kept_frame().name)}\n{line('../x')}\n".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert labels("import") == 0
    assert capsys.readouterr().err == ("edged: 1 label imported; 2 labels of frames that are not kept left out\n")


def test_every_wrong_line_is_named_and_nothing_is_imported(
    store: DiskStore, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = kept(store).name
    wrong = [
        line(frame),
        "people: 3",
        '{"frame": "x", "camera": "dock"}',
        line(frame, verdict="right"),
        line(frame, camera="yard"),
        line(frame, "cars"),
        line(frame, truth=41),
        line(frame, "gate", "yes"),
        line(frame, truth=None),
        line(frame, question=7),  # type: ignore[arg-type]
    ]
    Path("labels.jsonl").write_text("\n".join(wrong))
    assert labels("import", "labels.jsonl") == 1
    label = 'a label is {"frame": "….webp", "camera": "dock", "question": "people", "truth": 3}'
    assert capsys.readouterr().err.splitlines() == [
        "labels.jsonl:2: not a JSON object",
        f"labels.jsonl:3: question, truth missing; {label}",
        f'labels.jsonl:4: unknown key "verdict"; {label}',
        f"labels.jsonl:5: frame {frame} is of camera dock",
        f'labels.jsonl:6: frame {frame}: no answer to a question "cars"',
        "labels.jsonl:7: the truth must be a whole number from 0 to 40, not 41",
        'labels.jsonl:8: the truth must be true or false, not "yes"',
        "labels.jsonl:9: truth must be the true value, not null",
        "labels.jsonl:10: question must be a text",
    ]
    assert store.frames.progress().labels == 0


def test_a_file_that_is_not_there_or_cannot_be_written_is_named(
    store: DiskStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert labels("import", "none.jsonl") == 1
    assert labels("export", "none/labels.jsonl") == 1
    assert capsys.readouterr().err == (
        "edged: none.jsonl cannot be read: no such file or directory\n"
        "edged: none/labels.jsonl cannot be written: no such file or directory\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "edged.yaml", "export", "labels.jsonl"],
        ["export", "--config", "edged.yaml", "labels.jsonl"],
        ["export", "labels.jsonl", "--config", "edged.yaml"],
        ["export", "--db", "state/edged.db", "labels.jsonl", "-v"],
    ],
    ids=" ".join,
)
def test_the_file_may_stand_before_and_after_the_options(store: DiskStore, arguments: list[str]) -> None:
    store.frames.label(kept(store).name, "people", "right")
    assert main(["labels", *arguments]) == 0
    assert len(Path("labels.jsonl").read_text().splitlines()) == 1


def test_without_a_store_the_option_for_another_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "none"))
    config = write(tmp_path, MODEL)
    assert main(["labels", "export", "--config", str(config)]) == 1
    assert capsys.readouterr().err == (
        f"edged: no stored answers: {tmp_path}/none/edged.db does not exist; --db names another file\n"
    )


def test_another_file_of_the_store_needs_no_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database(tmp_path / "copy.db").close()
    assert main(["labels", "export", "--db", str(tmp_path / "copy.db")]) == 0
    assert main(["labels", "export", "--db", str(tmp_path / "none.db")]) == 1
    assert capsys.readouterr().err == (
        f"edged: 0 labels written\nedged: {tmp_path}/none.db cannot be read: no such file or directory\n"
    )
