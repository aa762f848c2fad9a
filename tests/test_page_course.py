"""The course of the answers in a real browser: what is drawn where, what can be read of it, how it stays current."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect
from support.axe import violations
from support.broker import Mosquitto, an_answer, free_port, until
from support.browser import DESK, PHONE, keep_picture, opened, overflow_px
from support.history import add, answered, database, refused
from support.making import picture, question
from support.paging import FakeBox
from support.running import Edged
from support.world import CONFIG

from edged.core.answer_types import Choices, Number, Text, YesNo
from edged.core.errors import EdgedError
from edged.core.specs import Config
from edged.core.types import PastAnswer
from edged.page.readings import Readings

HOUR_S, DAY_S, WEEK_S = 3600, 86_400, 7 * 86_400
WEATHER = Choices((("clear", "clear"), ("rain", "rain"), ("snow", "snow")))
QUESTIONS = (
    question("How many?", Number(True, 0, 40), "people"),
    question("Open?", YesNo(), "gate"),
    question("Weather?", WEATHER, "weather"),
    question("Describe it.", Text(), "scene"),
)
YARD = replace(CONFIG.cameras[0], questions=QUESTIONS)
BOX = replace(CONFIG, cameras=(YARD,))
DOWN = "connection refused"
Given = tuple[float, Any]  # seconds ago, and the value, or the reason of a refusal as `(reason,)`


class Past:
    """The answers of the store, by question; and what was asked of it."""

    def __init__(self, **given: list[Given]) -> None:
        self.now = time.time()
        self.given = given
        self.periods: list[int] = []
        self.failing = False

    def read(self, camera: str, question: str, since: float) -> Iterator[PastAnswer]:
        self.periods.append(round(time.time() - since))
        if self.failing:
            raise EdgedError("edged.db is damaged")
        kind = next(each.answer.kind for each in QUESTIONS if each.name == question)
        for ago, value in self.given.get(question, []):
            if ago <= self.periods[-1] + 600:
                yield _past(self.now - ago, kind, value)


def _past(ts: float, kind: str, value: Any) -> PastAnswer:
    if isinstance(value, tuple):
        return PastAnswer(ts, kind, None, "camera_down", value[0])
    return PastAnswer(ts, kind, value, "ok", None)


def every_minute(*values: tuple[Any, int]) -> list[Given]:
    """Each value for so many minutes, the last one until now."""
    answers = [value for value, minutes in values for _ in range(minutes)]
    return [((len(answers) - number) * 60.0, value) for number, value in enumerate(answers)]


PEOPLE = every_minute((3, 20), ((DOWN,), 10), (7, 20), (0, 10))


@contextmanager
def course(
    browser: Browser, past: Past, period: str = "hour", config: Config = BOX, **how: Any
) -> Iterator[tuple[Page, FakeBox]]:
    with FakeBox(config, readings=Readings(past.read)) as box:
        box.camera("dock")
        box.looked("dock")
        with opened(browser, f"{box.url}/camera/dock#period={period}", **how) as page:
            for each in QUESTIONS:
                card(page, each.name).locator("svg").wait_for()
            yield page, box


def card(page: Page, question: str) -> Locator:
    return page.locator(f"[data-question={question}]")


def wait_for_drawing(page: Page, question: str, selector: str = ".course-line") -> None:
    expect(card(page, question).locator(selector)).to_have_attribute("d", re.compile("M"))


class Drawing:
    """A drawing read from what a person sees of it: its frame, and the labels of its axes."""

    def __init__(self, page: Page, question: str, now: float, period_s: float) -> None:
        frame = card(page, question).locator(".course-frame")
        self.left = _number(frame, "x")
        self.width = _number(frame, "width")
        self.now, self.period_s = now, period_s
        labels = card(page, question).locator("text[text-anchor=end]")
        self.levels = {each.text_content() or "": _number(each, "y") - 4 for each in labels.all()}
        self.card = card(page, question)

    def ago(self, x: float) -> float:
        """Seconds before now."""
        return self.period_s * (1 - (x - self.left) / self.width)

    def level(self, y: float) -> float:
        (low, bottom), (high, top) = [
            min((float(name), y) for name, y in self.levels.items()),
            max((float(name), y) for name, y in self.levels.items()),
        ]
        return low + (high - low) * (bottom - y) / (bottom - top)

    def steps(self) -> list[tuple[float, float, float]]:
        """Value, begin and end, in minutes before now, of each level part of the line."""
        parts = []
        x = y = 0.0
        for command, numbers in re.findall(r"([MHV])([\d. -]+)", self.path(".course-line")):
            values = [float(number) for number in numbers.split()]
            if command == "M":
                x, y = values
            elif command == "V":
                y = values[0]
            else:
                parts.append((round(self.level(y), 1), self.minutes(x), self.minutes(values[0])))
                x = values[0]
        return parts

    def boxes(self, selector: str) -> list[tuple[float, float]]:
        """Begin and end of each rectangle, in minutes before now."""
        rectangles = re.findall(r"M([\d.-]+) [\d.-]+H([\d.-]+)V[\d.-]+H[\d.-]+Z", self.path(selector))
        return [(self.minutes(float(left)), self.minutes(float(right))) for left, right in rectangles]

    def minutes(self, x: float) -> float:
        return round(self.ago(x) / 60)

    def path(self, selector: str) -> str:
        return self.card.locator(selector).get_attribute("d") or ""


def _number(element: Locator, attribute: str) -> float:
    return float(element.get_attribute(attribute) or "nan")


def point(page: Page, question: str, minutes_ago: float, period_s: float = HOUR_S) -> None:
    """Put the mouse on this moment."""
    touch = card(page, question).get_by_role("slider")
    touch.scroll_into_view_if_needed()
    place = touch.bounding_box()
    frame = Drawing(page, question, time.time(), period_s)
    assert place
    page.mouse.move(
        place["x"] + frame.left + frame.width * (1 - minutes_ago * 60 / period_s), place["y"] + place["height"] / 2
    )


def test_a_line_has_each_value_at_its_time_and_a_refusal_is_a_gap(browser: Browser):
    with course(browser, Past(people=PEOPLE)) as (page, _):
        drawing = Drawing(page, "people", time.time(), HOUR_S)
        assert drawing.steps() == [(3, 60, 40), (7, 30, 10), (0, 10, 0)]
        assert drawing.boxes(".course-refused") == [(40, 30)]
        keep_picture(page, "course-hour")


def test_the_reason_of_a_refusal_can_be_read_with_the_mouse(browser: Browser):
    with course(browser, Past(people=PEOPLE)) as (page, _):
        readout = card(page, "people").locator(".course-readout")
        point(page, "people", 35)
        expect(readout).to_contain_text(f"Camera down: {DOWN} · 10 answers")
        point(page, "people", 20)
        expect(readout).to_contain_text(" · 7 · 20 answers")


def test_each_answer_can_be_read_with_the_keyboard_alone(browser: Browser):
    with course(browser, Past(people=PEOPLE)) as (page, _):
        slider = card(page, "people").get_by_role("slider", name="Answers to people")
        page.get_by_role("radio", name="Hour").focus()
        page.keyboard.press("Tab")
        expect(slider).to_be_focused()
        read = []
        for _ in range(4):
            read.append((slider.get_attribute("aria-valuetext") or "").split(" · ")[1])
            page.keyboard.press("ArrowLeft")
        assert read == ["0", "7", f"Camera down: {DOWN}", "3"]
        page.keyboard.press("End")
        expect(slider).to_have_attribute("aria-valuenow", "3")
        expect(card(page, "people").locator(".course-readout")).to_contain_text(" · 0 · ")


def test_a_finger_reads_an_answer(browser: Browser):
    with course(browser, Past(people=PEOPLE), size=PHONE, touch=True) as (page, _):
        slider = card(page, "people").get_by_role("slider")
        frame = Drawing(page, "people", time.time(), HOUR_S)
        slider.tap(position={"x": frame.left + frame.width * 25 / 60, "y": 50})
        expect(card(page, "people").locator(".course-readout")).to_contain_text(DOWN)


def test_choices_have_lanes_and_texts_have_marks_where_they_change(browser: Browser):
    past = Past(
        gate=every_minute((True, 20), ((DOWN,), 10), (False, 30)),
        weather=every_minute(("rain", 30), ("clear", 30)),
        scene=every_minute(("A yard.", 40), ("A truck.", 20)),
    )
    with course(browser, past) as (page, _):
        gate = Drawing(page, "gate", time.time(), HOUR_S)
        assert list(gate.levels) == ["Yes", "No"]
        assert gate.boxes("[data-lane=true]") == [(60, 40)]
        assert gate.boxes("[data-lane=false]") == [(30, 0)]
        assert gate.boxes(".course-refused") == [(40, 30)]
        weather = Drawing(page, "weather", time.time(), HOUR_S)
        assert list(weather.levels) == ["clear", "rain", "snow"]
        assert [weather.boxes(f"[data-lane={name}]") for name in ("clear", "rain", "snow")] == [
            [(30, 0)],
            [(60, 30)],
            [],
        ]
        assert [begin for begin, _ in Drawing(page, "scene", time.time(), HOUR_S).boxes(".course-mark")] == [60, 20]


def test_the_period_can_be_chosen_and_stays_in_the_address(browser: Browser):
    past = Past(people=[(3 * DAY_S, 5), (3 * DAY_S - 60, 5), *every_minute((1, 60))])
    with course(browser, past) as (page, _):
        page.get_by_role("radio", name="Week").check()
        summary = card(page, "people").locator(".course-summary")
        expect(summary).to_contain_text("62 answers")
        assert WEEK_S in past.periods
        drawing = Drawing(page, "people", time.time(), WEEK_S)
        assert [(value, round(begin / 1440)) for value, begin, _ in drawing.steps()] == [(5, 3), (1, 0)]
        assert page.url.endswith("#period=week")
        page.reload()
        expect(page.get_by_role("radio", name="Week")).to_be_checked()
        expect(summary).to_contain_text("62 answers")
        assert set(past.periods[-4:]) == {WEEK_S}


def test_a_new_answer_joins_without_loading_all_again(browser: Browser):
    past = Past(people=PEOPLE)
    with course(browser, past) as (page, box):
        loaded, asked = len(past.periods), QUESTIONS[0]
        summary = card(page, "people").locator(".course-summary")
        count = _count(summary)
        for number, value in enumerate((0, 5)):
            answer = an_answer(f"a{number}", question=asked.name)
            box.looked(
                "dock", replace(answer, value=value, prompt_rev=asked.prompt_rev, answered_ts=time.time() + number)
            )
            expect(summary).to_contain_text(f"{count + 1 + number} answers")
        card(page, "people").get_by_role("slider").focus()
        page.keyboard.press("End")
        expect(card(page, "people").locator(".course-readout")).to_contain_text(" · 5 · 1 answer")
        assert Drawing(page, "people", time.time(), HOUR_S).steps()[-1][0] == 5
        assert len(past.periods) == loaded


def test_after_a_lost_connection_the_answers_are_loaded_again(browser: Browser):
    past = Past(people=PEOPLE)
    with course(browser, past) as (page, box):
        box.server.stop()
        past.given["people"] = every_minute((9, 60))
        loaded = len(past.periods)
        box.server.follow(box.spec)
        until(lambda: len(past.periods) == loaded + len(QUESTIONS), 30)
        expect(card(page, "people").locator(".course-summary")).to_contain_text("(9)")


def test_a_request_that_hangs_does_not_keep_them_from_being_loaded_again(browser: Browser):
    past = Past(people=PEOPLE)
    with course(browser, past) as (page, box):
        hanging: list[Route] = []

        def take(route: Route) -> None:
            if hanging:
                route.continue_()
            hanging.append(route)

        page.route("**/api/history?*", take)
        page.get_by_role("radio", name="Day").check()
        until_page(page, lambda: len(hanging) > 0)
        box.server.stop()
        past.given["people"] = every_minute((9, 60))
        box.server.follow(box.spec)
        expect(card(page, "people").locator(".course-summary")).to_contain_text("(9)")


def test_an_answer_that_cannot_be_loaded_says_why_and_can_be_tried_again(browser: Browser):
    past = Past(people=PEOPLE)
    past.failing = True
    with FakeBox(BOX, readings=Readings(past.read)) as box, opened(browser, f"{box.url}/camera/dock") as page:
        message = card(page, "people").locator(".course-message")
        expect(message).to_contain_text("The answers could not be loaded.")
        expect(message).to_contain_text("edged.db is damaged")
        assert violations(page) == []
        past.failing = False
        message.get_by_role("button", name="Try again").click()
        wait_for_drawing(page, "people")
        expect(message).to_be_hidden()


def test_nothing_moves_when_the_answers_come(browser: Browser):
    past, go_on = Past(people=PEOPLE, gate=every_minute((True, 60))), threading.Event()

    def slow(camera: str, question: str, since: float) -> Iterator[PastAnswer]:
        assert go_on.wait(30)
        yield from past.read(camera, question, since)

    with FakeBox(BOX, readings=Readings(slow)) as box:
        box.camera("dock")
        with opened(browser, f"{box.url}/camera/dock#period=hour", DESK) as page:
            expect(card(page, "people")).to_contain_text("Loading")
            before = [card(page, each.name).bounding_box() for each in QUESTIONS]
            go_on.set()
            wait_for_drawing(page, "people")
            card(page, "scene").locator("svg").wait_for()
            assert [card(page, each.name).bounding_box() for each in QUESTIONS] == before


def test_a_box_that_keeps_no_answers_says_so(browser: Browser):
    box = FakeBox(replace(BOX, history=None))
    with box, opened(browser, f"{box.url}/camera/dock") as page:
        expect(page.get_by_text("No answers are kept, because the config has history: false.")).to_be_visible()
        expect(page.locator(".course-card")).to_have_count(0)


def test_a_course_shorter_than_the_period_says_since_when(browser: Browser):
    with course(browser, Past(people=PEOPLE), "day") as (page, _):
        expect(card(page, "people").locator(".course-summary")).to_contain_text(re.compile(r"first answer \d\d:\d\d"))


def test_the_same_is_there_as_a_table(browser: Browser):
    with course(browser, Past(people=PEOPLE)) as (page, _):
        card(page, "people").get_by_text("As a table").click()
        rows = card(page, "people").locator("tbody tr")
        expect(rows).to_have_count(4)
        assert [row.locator("td").nth(1).text_content() for row in rows.all()] == [
            "0", "7", f"Camera down: {DOWN}", "3",
        ]  # fmt: skip


def test_times_are_those_of_the_config_s_time_zone(browser: Browser):
    with course(browser, Past(people=PEOPLE), "day", replace(BOX, timezone="Asia/Kathmandu")) as (page, _):
        expect(page.get_by_text("Times in Asia/Kathmandu")).to_be_visible()
        labels = card(page, "people").locator("text[text-anchor=middle]").all_text_contents()
        assert {name[-2:] for name in labels} == {"00"}, "marks are at full hours there, though it is 5:45 from UTC"
        drawing = Drawing(page, "people", time.time(), DAY_S)
        mark = card(page, "people").locator("text[text-anchor=middle]").first
        stamp = time.time() - drawing.ago(_number(mark, "x"))
        shown = time.gmtime(stamp + 5.75 * 3600 + 450)  # the middle of a quarter of an hour
        assert (f"{shown.tm_hour:02}:00", shown.tm_min < 15) == (mark.text_content(), True)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_course_fits_on_a_phone_and_is_accessible(browser: Browser, language: Any):
    past = Past(
        people=PEOPLE,
        gate=every_minute((True, 20), ((DOWN,), 40)),
        weather=every_minute(("rain", 60)),
        scene=every_minute(("A yard.", 60)),
    )
    with course(browser, past, "week", replace(BOX, language=language), size=PHONE, touch=True) as (page, _):
        card(page, "people").locator("summary").click()
        assert overflow_px(page) == 0
        for each in page.locator(".course-period, .course-card summary, .course-touch").all():
            place = each.bounding_box()
            assert place
            assert place["height"] >= 44
        assert violations(page) == []
        assert not _overlap(card(page, "people").locator("text[text-anchor=middle]"))
        if language == "ko":
            expect(card(page, "people").locator(".course-summary")).to_contain_text("답 60개")
        keep_picture(page, f"course-phone-{language}")


@pytest.mark.slow
def test_a_real_edged_shows_what_is_in_its_store(
    browser: Browser, tmp_path: Path, tiny_folder: Path, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    _fill(tmp_path / "state/edged.db")
    Image.fromarray(picture(1)).save(tmp_path / "yard.png")
    port = free_port()
    config = tmp_path / "edged.yaml"
    config.write_text(
        f"node: box\nmodel: {{path: {tiny_folder}, max_new_tokens: 16}}\npage: {{listen: '127.0.0.1:{port}'}}\n"
        f"mqtt: {{url: 'mqtt://127.0.0.1:{mosquitto.port}'}}\n"
        f"cameras:\n  dock:\n    source: {tmp_path}/yard.png\n    every: 1s\n    max_age: 10s\n    ask:\n"
        "      people: {prompt: How many?, answer: integer}\n"
    )
    with Edged("run", "--config", config) as edged:
        edged.wait_for(r"INFO ready: ")
        with opened(browser, f"http://127.0.0.1:{port}/camera/dock#period=day") as page:
            summary = card(page, "people").locator(".course-summary")
            wait_for_drawing(page, "people")
            drawing = Drawing(page, "people", time.time(), DAY_S)
            assert [round(begin / 60) for begin, _ in drawing.boxes(".course-refused")][:1] == [3]
            first = _count(summary)
            assert first >= 4
            until_page(page, lambda: _count(summary) > first)
        edged.stop()


def _overlap(labels: Locator) -> bool:
    places = [place for each in labels.all() if (place := each.bounding_box())]
    assert len(places) >= 2
    return any(one["x"] + one["width"] > other["x"] for one, other in pairwise(places))


def _fill(path: Path) -> None:
    connection = database(path)
    now = time.time()
    add(connection, [answered(now - 4 * HOUR_S, 5), answered(now - 4 * HOUR_S + 1, 5)])
    add(connection, [refused(now - 3 * HOUR_S, "timeout"), refused(now - 3 * HOUR_S + 1, "timeout")])
    connection.close()


def _count(summary: Locator) -> int:
    number = re.match(r"(\d+) answers", summary.text_content() or "")
    return int(number[1]) if number else 0


def until_page(page: Page, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """As `until`, but the browser goes on."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(100)
