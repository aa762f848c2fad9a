"""`/api/history`: the answers that are stored, as few runs, at their time; and what it says when there are none."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.broker import until
from support.history import Row, add, answered, database, refused
from support.making import question
from support.paging import FakeBox
from support.world import CONFIG

from edged.core.answer_types import Choices, Json, Number, Text
from edged.core.specs import Config, HistorySpec
from edged.core.types import PastAnswer
from edged.page import history as page_history
from edged.page.readings import Readings
from edged.page.reduction import BUCKETS, MOST_RUNS, MOST_TEXT, MOST_VALUES, Reduction
from edged.store.history import past_answers
from edged.store.schema import VERSION

NOW = float(int(time.time()))
HOUR_S, DAY_S = 3600.0, 86_400.0
EVERY_S = 60.0  # of the cameras of CONFIG
EXPIRES_S = 180.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edged.db"


@pytest.fixture
def stored(path: Path) -> Iterator[sqlite3.Connection]:
    """As a running edged has it: in use, with a write-ahead log."""
    connection = database(path)
    yield connection
    connection.close()


@pytest.fixture
def box(path: Path) -> Iterator[FakeBox]:
    with FakeBox(CONFIG, readings=Readings(partial(past_answers, path))) as box:
        yield box


def asked(box: FakeBox, question: str = "people", camera: str = "dock", **more: Any) -> httpx.Response:
    return httpx.get(f"{box.url}/api/history", params={"camera": camera, "question": question, **more}, timeout=60)


def runs(box: FakeBox, question: str = "people", **more: Any) -> list[tuple[Any, ...]]:
    """Value or reason, begin and end in seconds before NOW, and number of each run."""
    answer = asked(box, question, **more)
    assert answer.status_code == 200, answer.text
    return [
        (run["reason"] or run["value"], NOW - run["from_ts"], NOW - run["to_ts"], run["n"])
        for run in answer.json()["runs"]
    ]


def since_s(ago: float) -> float:
    """The period that begins so many seconds before NOW, which may be minutes past."""
    return ago + time.time() - NOW


def every_minute(*values: Any) -> list[Row]:
    """Answers up to a minute ago; a text is the status of a refusal."""
    begin = NOW - len(values) * EVERY_S
    return [
        refused(begin + number * EVERY_S, value)
        if isinstance(value, str)
        else answered(begin + number * EVERY_S, value)
        for number, value in enumerate(values)
    ]


def past(ts: float, value: Any, kind: str = "integer", reason: str | None = None) -> PastAnswer:
    return PastAnswer(ts, kind, value, "unsure" if reason else "ok", reason)


def reduced(kind: str, answers: list[PastAnswer], period_s: float = HOUR_S, now: float = NOW) -> dict[str, Any]:
    reduction = Reduction(kind, now - period_s, now, EXPIRES_S)
    for answer in answers:
        reduction.add(answer)
    return reduction.result()


def test_equal_answers_in_a_row_are_a_run_and_a_refusal_ends_it(box: FakeBox, stored: sqlite3.Connection):
    add(stored, every_minute(3, 3, "camera_down", "camera_down", 3, 4))
    assert runs(box) == [
        (3, 360, 300, 2), ("because of camera_down", 240, 180, 2), (3, 120, 120, 1), (4, 60, 60, 1),
    ]  # fmt: skip
    answer = asked(box).json()
    assert answer["totals"] == {"ok": 4, "camera_down": 2}
    assert (answer["type"], answer["timezone"], answer["expires_s"]) == ("integer", "UTC", EXPIRES_S)
    assert answer["begun_ts"] == NOW - 360
    assert answer["now_ts"] - answer["since_ts"] == pytest.approx(DAY_S)
    assert answer["bucket_s"] is None


def test_a_time_without_answers_ends_a_run(box: FakeBox, stored: sqlite3.Connection):
    add(stored, [answered(NOW - ago, 3) for ago in (600, 420, 120, 60)])
    assert runs(box) == [(3, 600, 420, 2), (3, 120, 60, 2)]


def test_the_answer_before_the_period_is_the_begin_of_its_first_run(box: FakeBox, stored: sqlite3.Connection):
    add(stored, [answered(NOW - ago, value) for ago, value in ((900, 1), (650, 2), (550, 2), (400, 3))])
    assert runs(box, since=since_s(600)) == [(2, 650, 550, 2), (3, 400, 400, 1)]
    answer = asked(box, since=since_s(600)).json()
    assert (answer["begun_ts"], answer["totals"]) == (None, {"ok": 2})


def test_an_answer_that_had_expired_at_the_begin_of_the_period_is_left_out(box: FakeBox, stored: sqlite3.Connection):
    add(stored, [answered(NOW - 900, 1), answered(NOW - 550, 1)])
    assert runs(box, since=since_s(600)) == [(1, 550, 550, 1)]


def test_a_late_answer_belongs_to_the_time_when_it_was_given(box: FakeBox, stored: sqlite3.Connection):
    late = answered(NOW - 300, 1)
    add(stored, [replace(late, payload=late.payload.replace(b'"late":false', b'"late":true')), answered(NOW - 60, 2)])
    assert runs(box) == [(1, 300, 300, 1), (2, 60, 60, 1)]


def test_an_answer_of_a_clock_that_was_not_set_belongs_after_the_one_before_it(
    box: FakeBox, stored: sqlite3.Connection
):
    add(stored, [answered(NOW - 300, 1), replace(answered(1000.0, 2), synced=False), answered(NOW - 60, 3)])
    assert runs(box) == [(1, 300, 300, 1), (2, 300, 300, 1), (3, 60, 60, 1)]


def test_a_clock_that_was_not_set_does_not_hide_what_was_stored_before_it(box: FakeBox, stored: sqlite3.Connection):
    unset = [replace(answered(1000.0 + number, 2), synced=False) for number in range(600)]  # more than a group
    add(stored, [answered(NOW - 300, 1), *unset, answered(NOW - 60, 3)])
    assert runs(box) == [(1, 300, 300, 1), (2, 300, 300, 600), (3, 60, 60, 1)]


def test_a_clock_that_was_set_back_gives_runs_in_the_order_of_time():
    answers = [past(NOW - 60, 1), past(NOW - 600, 2), past(NOW - 540, 2)]
    assert [(run["value"], run["n"]) for run in reduced("integer", answers)["runs"]] == [(2, 2), (1, 1)]


def test_answers_before_a_rename_of_the_node_count(box: FakeBox, stored: sqlite3.Connection):
    add(stored, [replace(answered(NOW - 120, 1), node="old"), answered(NOW - 60, 2)])
    add(stored, [replace(answered(NOW - 30, 3), node="old")])
    assert [value for value, *_ in runs(box)] == [1, 2, 3]


def test_answers_of_a_former_type_are_left_out(box: FakeBox, stored: sqlite3.Connection):
    add(stored, [answered(NOW - 120, True, "yes_no"), answered(NOW - 60, 2)])
    assert runs(box) == [(2, 60, 60, 1)]
    assert asked(box).json()["begun_ts"] == NOW - 60


def test_only_the_answers_of_the_period_are_read(path: Path, stored: sqlite3.Connection):
    add(stored, [answered(NOW - ago, 1) for ago in range(20_000, 0, -2)])
    assert 300 <= len(list(past_answers(path, "dock", "people", NOW - 600))) <= 300 + 500
    assert len(list(past_answers(path, "dock", "people", 0))) == 10_000


def test_nothing_is_open_between_two_groups(path: Path, stored: sqlite3.Connection):
    add(stored, [answered(NOW - ago, 1) for ago in range(1200, 0, -1)])
    reading = past_answers(path, "dock", "people", 0)
    next(reading)
    busy, _, _ = stored.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    reading.close()
    assert busy == 0


def test_what_edged_cannot_have_written_is_left_out(box: FakeBox, stored: sqlite3.Connection):
    damaged = [replace(answered(NOW - 90, 1), payload=payload) for payload in (b"{", b"[]", b'{"answered_ts":"x"}')]
    text = answered(NOW - 80, "three")  # of an integer
    add(stored, [answered(NOW - 100, 1), *damaged, text, answered(NOW - 60, 1)])
    assert runs(box) == [(1, 100, 60, 2)]


def test_many_numbers_become_buckets_with_the_lowest_and_the_highest():
    answers = [past(NOW - ago, ago % 7) for ago in range(3600, 0, -1)]
    result = reduced("integer", answers)
    assert result["bucket_s"] == HOUR_S / BUCKETS
    assert len(result["runs"]) == BUCKETS
    assert all((run["low"], run["high"]) in ((0, 6), (0, 5), (1, 6)) for run in result["runs"])
    assert sum(run["n"] for run in result["runs"]) == 3600
    assert result["runs"][-1]["value"] == 1


def test_a_refusal_among_many_answers_is_not_lost():
    answers = [past(NOW - ago, ago % 7) for ago in range(3600, 0, -1)]
    answers[1800] = past(NOW - 1800, None, reason="confidence 0.40")
    refusals = [run for run in reduced("integer", answers)["runs"] if run["status"] != "ok"]
    assert [(run["reason"], run["n"], run["from_ts"]) for run in refusals] == [("confidence 0.40", 1, NOW - 1800)]


def test_buckets_without_a_change_are_one_run():
    restless = [past(NOW - 7200 + second, second % 2) for second in range(3600)]
    quiet = [past(NOW - 3600 + second, 5) for second in range(3600)]
    last = reduced("integer", restless + quiet, 7200)["runs"][-1]
    assert (last["value"], last["n"], "low" in last) == (5, 3600, False)


def test_many_choices_become_buckets_with_the_values_that_occurred():
    answers = [past(NOW - ago, bool(ago % 3), "yes_no") for ago in range(3600, 0, -1)]
    run = reduced("yes_no", answers)["runs"][100]
    assert {value for value, _ in run["values"]} == {True, False}
    assert sum(n for _, n in run["values"]) == run["n"]


@pytest.mark.parametrize("kind", ["integer", "number", "yes_no", "choices", "text", "json"])
def test_a_week_of_the_worst_answers_stays_small(kind: str):
    long, period_s = "a" * 3000, 7 * DAY_S
    values = {"integer": 10**9, "number": 0.123456, "yes_no": True, "choices": "b" * 60, "text": long, "json": [long]}
    answers = []
    for number in range(20_000):
        ts = NOW - period_s + number * 30
        value = {"yes_no": number % 2 > 0, "choices": f"{values['choices']}{number % 256}"}.get(kind, values[kind])
        answers.append(past(ts, value, kind) if number % 2 else past(ts, None, kind, f"{number} {long}"))
    result = reduced(kind, answers, period_s)
    assert len(result["runs"]) <= 2 * BUCKETS + 2 <= 1500
    assert all(len(run["reason"] or "") <= MOST_TEXT for run in result["runs"])
    assert all(len(run.get("values", [])) <= MOST_VALUES for run in result["runs"])
    assert sum(result["totals"].values()) == 20_000


def test_few_runs_are_complete():
    answers = [past(NOW - HOUR_S + number, number) for number in range(MOST_RUNS)]
    result = reduced("integer", answers)
    assert (result["bucket_s"], len(result["runs"])) == (None, MOST_RUNS)


def test_a_long_text_is_cut_and_json_is_text():
    assert reduced("text", [past(NOW - 60, "x" * 500, "text")])["runs"][0]["value"] == "x" * (MOST_TEXT - 1) + "…"
    assert reduced("json", [past(NOW - 60, {"a": [1, "개"]}, "json")])["runs"][0]["value"] == '{"a":[1,"개"]}'


# requests


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("", 400, page_history.NO_NAMES),
        ("camera=dock", 400, page_history.NO_NAMES),
        ("camera=dock&question=", 400, page_history.NO_NAMES),
        ("camera=nope&question=people", 404, "there is no such camera\n"),
        ("camera=dock&question=nope", 404, "this camera has no such question\n"),
        *[
            (f"camera=dock&question=people&since={since}", 400, page_history.NO_PERIOD)
            for since in ("", "x", "1h", "0", "-1", "nan", "inf", "1e999")
        ],
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_sentence(box: FakeBox, query: str, status: int, text: str):
    answer = httpx.get(f"{box.url}/api/history?{query}")
    assert (answer.status_code, answer.text) == (status, text)


@pytest.mark.parametrize(
    ("keep_s", "since", "period_s"),
    [(7 * DAY_S, 1e12, 7 * DAY_S), (DAY_S, 7 * DAY_S, DAY_S), (30 * DAY_S, 30 * DAY_S, 7 * DAY_S), (0, 3600, 1)],
)
def test_the_period_is_at_most_what_is_kept_and_a_week(
    box: FakeBox, stored: sqlite3.Connection, keep_s: float, since: float, period_s: float
):
    box.config = replace(box.config, history=HistorySpec(keep_s))
    answer = asked(box, since=since).json()
    assert answer["now_ts"] - answer["since_ts"] == pytest.approx(period_s)
    assert answer["kept_s"] == keep_s


def test_a_config_that_keeps_no_history_says_so(box: FakeBox):
    box.config = replace(box.config, history=None)
    answer = asked(box)
    assert (answer.status_code, answer.text) == (404, page_history.NOT_KEPT)


def test_a_follow_up_has_a_history_too(box: FakeBox, stored: sqlite3.Connection):
    add(stored, [answered(NOW - 60, True, "yes_no", question="car")])
    assert runs(box, "car") == [(True, 60, 60, 1)]


@pytest.mark.parametrize("state", ["missing", "damaged", "too new"])
def test_a_store_that_cannot_be_read_is_a_sentence(box: FakeBox, path: Path, state: str):
    if state != "missing":
        connection = database(path)
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.close()
    if state == "damaged":
        path.write_bytes(b"x" * 4096)
    answer = asked(box)
    assert answer.status_code == 503
    said = {"missing": "no such file", "damaged": "is damaged", "too new": "was written by a newer edged"}
    assert said[state] in answer.text.lower()
    assert answer.text.count("\n") == 1


def served(readings: Readings, config: Config = CONFIG) -> FakeBox:
    return FakeBox(config, readings=readings)


class SlowStore:
    """Has answers as long as nobody ends the reading."""

    def __init__(self) -> None:
        self.reading = 0
        self.most = 0
        self.readings = 0
        self.go_on = threading.Event()

    def past_answers(self, camera: str, question: str, since: float) -> Iterator[PastAnswer]:
        self.reading += 1
        self.readings += 1
        self.most = max(self.most, self.reading)
        try:
            while not self.go_on.wait(0.001):
                yield from [past(NOW - 60, 1)] * page_history.CHECK
        finally:
            self.reading -= 1


def test_a_reading_has_a_time_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(page_history, "READ_S", 0.2)
    with served(Readings(SlowStore().past_answers)) as box:
        answer = asked(box)
    assert (answer.status_code, answer.text) == (503, page_history.TOO_LONG)


def test_one_request_is_read_at_a_time_and_other_pages_do_not_wait():
    store = SlowStore()
    with served(Readings(store.past_answers)) as box:

        async def requests() -> list[int]:
            async with httpx.AsyncClient(timeout=60) as client:
                params = {"camera": "dock", "question": "people"}
                waiting = [asyncio.create_task(client.get(f"{box.url}/api/history", params=params)) for _ in range(3)]
                await asyncio.to_thread(until, lambda: store.reading)
                assert (await client.get(f"{box.url}/api/state")).status_code == 200
                store.go_on.set()
                return [(await each).status_code for each in waiting]

        assert asyncio.run(requests()) == [200, 200, 200]
    assert (store.most, store.readings) == (1, 3)


def test_a_request_that_nobody_waits_for_any_more_is_not_read():
    store = SlowStore()
    with served(Readings(store.past_answers)) as box:
        first = threading.Thread(target=asked, args=(box,))
        first.start()
        until(lambda: store.reading)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{box.url}/api/history", params={"camera": "dock", "question": "people"}, timeout=0.5)
        store.go_on.set()
        first.join()
        asked(box)
    assert store.readings == 2


def test_a_stop_ends_a_reading():
    store = SlowStore()
    with served(Readings(store.past_answers)) as box:
        waiting = threading.Thread(target=lambda: asked(box))
        waiting.start()
        until(lambda: store.reading)
        begun = time.monotonic()
        box.server.stop()
        assert time.monotonic() - begun < 3
        assert store.reading == 0
        waiting.join()


# every type that a question can have


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Number(False, None, None), 0.5),
        (Choices((("clear", "clear"),)), "clear"),
        (Text(), "a yard"),
        (Json("{}"), {"a": 1}),
    ],
)
def test_every_type_has_a_history(stored: sqlite3.Connection, path: Path, kind: Any, value: Any):
    camera = replace(CONFIG.cameras[0], questions=(question("What?", kind, "q"),))
    add(stored, [answered(NOW - 60, value, kind.kind, question="q")])
    with served(Readings(partial(past_answers, path)), replace(CONFIG, cameras=(camera,))) as box:
        answer = asked(box, "q").json()
    assert answer["type"] == kind.kind
    assert len(answer["runs"]) == 1
