"""Right or wrong beside an answer, as the demo tells the page through a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.broker import an_answer
from support.paging import FakeBox
from support.world import CONFIG
from test_page import events

from edged.core.types import Answer
from edged.demo.truth import Truth
from edged.demo.verdict_file import VerdictFile
from edged.page import verdicts as module
from edged.page.readings import Readings
from edged.page.verdicts import Verdicts

DOCK = CONFIG.cameras[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "verdicts"


@pytest.fixture
def box(file: Path) -> Iterator[FakeBox]:
    with FakeBox(CONFIG, readings=Readings(verdicts=file)) as box:
        yield box


def answer(name: str) -> Answer:
    question = DOCK.questions[0]
    return replace(an_answer(name, DOCK.name, question.name), prompt_rev=question.prompt_rev)


def add(file: Path, *lines: Any) -> None:
    with file.open("a") as opened:
        opened.writelines(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)


def shown(box: FakeBox) -> Any:
    return httpx.get(f"{box.url}/api/state").json()["cameras"][0]["questions"][0]["verdict"]


def verdict(verdicts: Verdicts, name: str) -> Any:
    return verdicts.add_to({"questions": [{"answer": {"id": name}}]})["questions"][0]["verdict"]


def test_the_verdict_is_beside_its_answer_and_an_event_of_its_own(box: FakeBox, file: Path):
    box.looked(DOCK.name, answer("a"))
    assert shown(box) is None
    with closing(events(box)) as stream:
        first = [next(stream) for _ in range(1 + len(CONFIG.cameras))]
        assert first[1][1]["questions"][0]["verdict"] is None
        add(file, {"id": "another", "right": True, "truth": 1}, {"id": "a", "right": False, "truth": 2})
        kind, data = next(stream)
        assert (kind, data["name"]) == ("camera", DOCK.name)
        assert data["questions"][0]["verdict"] == {"right": False, "truth": 2}
        assert data["questions"][0]["answer"]["id"] == "a"
    assert shown(box) == {"right": False, "truth": 2}
    box.looked(DOCK.name, answer("b"))
    assert shown(box) is None


DAMAGED = ["", "{", "[1]", "null", "\x00\ud7ff", {"id": 1, "right": True}, {"id": "a", "right": "yes"}, {"right": True}]


def test_what_is_damaged_is_ignored(file: Path):
    verdicts = Verdicts(file)
    verdicts.update()  # the file is missing
    add(file, *DAMAGED, {"id": "a", "right": True, "truth": 3})
    verdicts.update()
    assert verdict(verdicts, "a") == {"right": True, "truth": 3}


def test_a_line_may_arrive_in_parts(file: Path):
    verdicts = Verdicts(file)
    file.write_text('{"id": "a", "rig')
    verdicts.update()
    assert verdict(verdicts, "a") is None
    with file.open("a") as opened:
        opened.write('ht": true}\n')
    verdicts.update()
    assert verdict(verdicts, "a") == {"right": True, "truth": None}


def test_a_file_that_was_begun_anew_is_read_from_its_beginning(file: Path):
    verdicts = Verdicts(file)
    add(file, *({"id": f"old-{number}", "right": True} for number in range(10)))
    verdicts.update()
    file.write_text("")
    add(file, {"id": "new", "right": True})
    verdicts.update()
    assert verdict(verdicts, "new")


def test_memory_and_reading_are_bounded(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST", 3)
    monkeypatch.setattr(module, "AT_ONCE", 300)
    verdicts = Verdicts(file)
    add(file, *({"id": f"a{number}", "right": True} for number in range(1000)))
    verdicts.update()
    assert [bool(verdict(verdicts, f"a{number}")) for number in (0, 996, 997, 998, 999)] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_a_fifo_or_a_folder_is_no_file_of_verdicts(tmp_path: Path):
    for path in (tmp_path, Path("/dev/zero")):
        Verdicts(path).update()


# the demo's side


PAYLOAD = {
    "id": "a", "type": "integer", "prompt": "How many people are in this image? Answer with one number.", "value": 2,
}  # fmt: skip
TRUTH = Truth(people=2, cars=1, door_open=True, night=False)


def test_the_demo_writes_what_is_right_and_what_is_true(file: Path):
    demo, page = VerdictFile(file), Verdicts(file)
    assert demo.judge(PAYLOAD, TRUTH) == "right"
    assert demo.judge({**PAYLOAD, "id": "b", "value": 3}, TRUTH) == "wrong"
    assert demo.judge({**PAYLOAD, "id": "c", "prompt": "Who?"}, TRUTH) is None
    page.update()
    wanted = [{"right": True, "truth": 2}, {"right": False, "truth": 2}, None]
    assert [verdict(page, name) for name in "abc"] == wanted


def test_the_demos_file_does_not_grow_without_end(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edged.demo.verdict_file.MOST_BYTES", 500)
    demo, page = VerdictFile(file), Verdicts(file)
    for number in range(100):
        demo.judge({**PAYLOAD, "id": str(number)}, TRUTH)
        page.update()
        assert verdict(page, str(number)), number
    assert file.stat().st_size < 600


def test_a_disk_that_is_full_does_not_end_the_demo(tmp_path: Path):
    assert VerdictFile(tmp_path / "gone" / "verdicts").judge(PAYLOAD, TRUTH) == "right"
