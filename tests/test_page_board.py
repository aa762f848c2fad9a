"""The board in a real browser: what it shows of cameras and answers, and how it follows them."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, ViewportSize, expect
from support import config
from support.axe import violations
from support.broker import HOST, Mosquitto, free_port
from support.browser import DESK, PHONE, keep_picture, opened, overflow_px
from support.making import frame, picture
from support.paging import FakeBox
from support.running import Edged

from edged.config.load import load
from edged.core.specs import Config
from edged.core.types import AlertState, Event, Frame
from edged.page.feed import MOST_LISTENERS

MARKUP = "<img src=x onerror=alert(1)>"
CAMERAS = """
node: box
timezone: UTC
model: {path: m}
mqtt: {url: "mqtt://broker.lan:1883"}
cameras:
  dock:
    title: Loading dock
    source: pics
    every: 30s
    ask:
      people: {title: People, prompt: How many?, answer: integer, min_confidence: 0.6}
      gate:
        {title: Gate open, prompt: Open?, answer: yes_no, alert: {when: true},
         then: {vehicle: {title: Vehicle in the gate, when: true, prompt: A vehicle?, answer: yes_no}}}
      weather: {title: Weather, prompt: Weather?, answer: {choices: {clear sky: 0, heavy rain: 1}}}
      scene: {title: Scene, prompt: Describe it., every: 10m}
      report: {title: Report, prompt: Report., answer: {json: {type: object, properties: {people: {type: integer}}}}}
  yard: {title: Yard behind the building, source: pics, every: 30s, ask: {people: {prompt: How many?, answer: integer}}}
"""
SCENE = "A man in a blue jacket stands beside a red van in front of an open gate. Two pallets lie on the ground. " * 3
STATIC = Path(__file__).parents[1] / "edged" / "page" / "static"


def boxed(folder: Path, text: str) -> Iterator[FakeBox]:
    with FakeBox(configured(folder, text)) as box:
        box.camera("dock")
        box.camera("yard")
        yield box


def configured(folder: Path, text: str) -> Config:
    return load(config.write(folder, text))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[FakeBox]:
    yield from boxed(tmp_path, CAMERAS)


@pytest.fixture
def page(browser: Browser, box: FakeBox) -> Iterator[Page]:
    with opened(browser, box.url) as page:
        card(page, "dock").wait_for()
        yield page


def card(page: Page, camera: str) -> Locator:
    return page.locator(f"#camera-{camera}")


def row(page: Page, title: str, camera: str = "dock") -> Locator:
    return card(page, camera).locator(".answer").filter(has=page.get_by_role("heading", name=title, exact=True))


def value(page: Page, title: str, camera: str = "dock") -> Locator:
    return row(page, title, camera).locator(".value")


def notice(page: Page, text: str) -> Locator:
    return page.locator("#notices > .notice, #warnings > .notice").filter(has_text=text)


def attention(page: Page) -> Locator:
    return page.locator("#attention .item")


def shown_picture(page: Page, camera: str = "dock") -> Locator:
    return card(page, camera).locator(".picture")


def old(frame: Frame, age_s: float) -> Frame:
    return replace(frame, captured_at=datetime.now(UTC) - timedelta(seconds=age_s))


def is_grey(page: Page, camera: str = "dock") -> bool:
    image = shown_picture(page, camera).locator("img")
    return "grayscale(1)" in str(image.evaluate("image => getComputedStyle(image).filter"))


def a_busy_box(box: FakeBox) -> None:
    """Every kind of answer, an alert, a camera that is down, and a broker that is away."""
    now, seen = datetime.now(UTC), frame(1, 640, 360)
    since = now - timedelta(minutes=4)
    box.answered("dock", "people", 3, seen, event=Event("e", "dock", "people", "changed", 2, 3, None, since, 3))
    box.answered("dock", "gate", True, seen, alert=AlertState(True, since))
    box.refused("dock", "vehicle", "unsure", "confidence 0.41 is below min_confidence 0.6", frame=seen)
    box.answered("dock", "weather", 1, seen, confidence=0.52)
    box.answered("dock", "scene", SCENE, seen, confidence=None, truncated=True)
    box.answered("dock", "report", {"people": 3}, seen)
    box.answered("yard", "people", 1, frame(2, 640, 480))
    box.camera("yard", online=False, reason="no packet for 5.0 s; reconnecting in 2 s")
    box.refused("yard", "people", "camera_down", "no packet for 5.0 s")
    box.broker |= {"connected": False, "waiting": 12}


def test_an_answer_is_on_the_board_within_a_second_without_a_reload(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, frame(1))
    expect(value(page, "People")).to_have_text("3")
    page.evaluate(
        """() => {
             window.seen = new Promise((resolve) => new MutationObserver(() => {
               if ([...document.querySelectorAll('.value')].some((each) => each.textContent === '7'))
                 resolve(Date.now() / 1000);
             }).observe(document.body, { subtree: true, childList: true }));
           }"""
    )
    begun = time.time()
    box.answered("dock", "people", 7, frame(2))
    seen: float = page.evaluate("window.seen")  # would be gone after a reload
    assert seen - begun < 1.0


def test_every_type_of_answer_is_shown_in_words(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, frame(1), confidence=0.87)
    box.answered("dock", "gate", False)
    box.answered("dock", "weather", 1)
    box.answered("dock", "scene", "A yard.", confidence=None, truncated=True)
    box.answered("dock", "report", {"people": 3})
    expect(value(page, "Report")).to_have_text('{"people":3}')
    shown = [value(page, title).inner_text() for title in ("People", "Gate open", "Weather", "Scene")]
    assert shown == ["3", "No", "heavy rain", "A yard."]
    meter = row(page, "People").get_by_role("meter", name="Confidence")
    assert meter.get_attribute("aria-valuenow") == "0.87"
    expect(row(page, "Scene").get_by_text("Cut off")).to_be_visible()
    assert row(page, "Scene").get_by_role("meter").count() == 0
    expect(page.locator("#summary")).to_have_text("2 cameras, all well")


def test_the_last_change_is_shown_with_its_age(box: FakeBox, page: Page):
    at = datetime.now(UTC) - timedelta(minutes=4, seconds=10)
    box.answered("dock", "people", 3, event=Event("e", "dock", "people", "changed", 2, 3, None, at, 3))
    expect(row(page, "People").locator(".detail")).to_have_text("2 → 3, 4 min ago")


def test_ages_count_up(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, frame(1))
    age, picture_age = row(page, "People").locator(".age"), shown_picture(page).locator(".picture-age")
    for element in (age, picture_age):
        expect(element).to_have_text(re.compile(r"^[2-9] s (ago|old)$"))
        assert element.get_attribute("aria-hidden") == "true"  # nobody wants to hear that every second


@pytest.mark.parametrize(
    ("status", "shown"),
    [("unsure", "Unsure"), ("unreadable", "Unreadable"), ("timeout", "Timed out"), ("stale_frame", "No new picture"),
     ("camera_down", "Camera down"), ("model_down", "Model not available"), ("not_asked", "Not asked")],
)  # fmt: skip
def test_a_refusal_shows_its_status_and_reason_and_never_the_value_before(
    box: FakeBox, page: Page, status: Any, shown: str
):
    box.answered("dock", "people", 4711, frame(1))
    expect(value(page, "People")).to_have_text("4711")
    box.refused("dock", "people", status, "because of this")
    expect(value(page, "People")).to_have_text(shown)
    expect(row(page, "People").locator(".detail")).to_have_text("because of this")
    assert "4711" not in page.locator("body").inner_text()


def test_an_expired_answer_says_so_and_is_no_value(box: FakeBox, page: Page):
    box.answered("dock", "people", 4711, age_s=120, expires_s=90)
    expect(value(page, "People")).to_have_text("Expired")
    expect(row(page, "People").locator(".detail")).to_have_text("The last answer is 2 min old")
    assert "4711" not in page.locator("body").inner_text()


def test_an_answer_expires_while_the_page_is_open(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, expires_s=2)
    expect(value(page, "People")).to_have_text("3")
    expect(value(page, "People")).to_have_text("Expired")


def test_a_camera_that_is_down_is_grey_and_says_why(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, frame(1))
    expect(shown_picture(page).locator("img")).to_be_visible()
    assert not is_grey(page)
    box.camera("dock", online=False, reason="no packet for 5.0 s")
    veil = shown_picture(page).locator(".veil")
    expect(veil).to_have_text("Camera downno packet for 5.0 s")
    assert is_grey(page)
    expect(shown_picture(page).locator(".picture-age")).to_be_visible()
    expect(attention(page)).to_have_text(["Loading dock Camera down no packet for 5.0 s"])
    expect(page.locator("#summary")).to_have_text("1 problem")
    box.camera("dock")
    box.answered("dock", "people", 3, frame(2))
    expect(veil).to_be_hidden()
    assert not is_grey(page)


def test_a_camera_that_gives_nothing_new_is_grey(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, frame(1))
    box.refused("dock", "people", "stale_frame", "the picture has not changed for 30 s")
    expect(shown_picture(page).locator(".veil")).to_have_text("No new picturethe picture has not changed for 30 s")
    assert is_grey(page)


def test_a_picture_older_than_the_schedule_explains_is_grey(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, old(frame(1), 601))
    box.answered("yard", "people", 3, old(frame(2), 1))
    expect(shown_picture(page).locator(".veil")).to_have_text("No new pictureNo look for 10 min; one is due every 30 s")
    assert is_grey(page)
    expect(shown_picture(page, "yard").locator(".picture-age")).to_have_text(re.compile("^[0-9]+ s old$"))
    assert not is_grey(page, "yard")


def test_a_picture_becomes_grey_while_the_page_is_open(browser: Browser, tmp_path: Path):
    for box in boxed(tmp_path, CAMERAS.replace("every: 30s", "every: 5s")):
        with opened(browser, box.url) as page:
            box.answered("dock", "people", 3, frame(1))  # two intervals and 10 s from now it is too old
            expect(shown_picture(page).locator("img")).to_be_visible()
            assert not is_grey(page)
            expect(shown_picture(page)).to_have_class("picture not-current", timeout=40_000)
            assert is_grey(page)


def test_a_picture_of_the_future_has_no_age(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, old(frame(1), -3600))
    expect(shown_picture(page).locator(".veil")).to_contain_text("The clock of the box was changed")
    expect(shown_picture(page).locator(".picture-age")).to_be_hidden()


def test_an_answer_of_the_future_is_not_in_force_and_has_no_age(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, frame(1), age_s=-3600.0)
    expect(value(page, "People")).to_have_text("Age not known")
    expect(row(page, "People")).to_contain_text("The clock of the box was changed after the last answer")
    expect(row(page, "People").locator(".age")).to_have_text("")
    box.answered("dock", "people", 4, frame(2))
    expect(value(page, "People")).to_have_text("4")


def test_a_refusal_of_the_future_says_nothing_about_a_picture_of_now(box: FakeBox, page: Page):
    box.refused("dock", "gate", "camera_down", "no route to host", age_s=-3600.0)
    box.answered("dock", "people", 3, frame(1))
    expect(value(page, "People")).to_have_text("3")
    expect(shown_picture(page).locator("img")).to_be_visible()
    expect(shown_picture(page).locator(".veil")).to_be_hidden()


def test_outside_of_its_hours_a_camera_is_no_problem(browser: Browser, tmp_path: Path):
    later = datetime.now(UTC) + timedelta(hours=3)
    hours = f"hours: mon-sun {later:%H}:00-{later:%H}:59"
    for box in boxed(tmp_path, CAMERAS.replace("every: 30s\n", f"every: 30s\n    {hours}\n")):
        box.answered("dock", "people", 3, old(frame(1), 7200))
        box.answered("yard", "people", 3, frame(2))
        with opened(browser, box.url) as page:
            expect(shown_picture(page).locator(".veil")).to_have_text("Outside its hours")
            assert is_grey(page)
            expect(page.locator("#summary")).to_have_text("2 cameras, all well")


def test_what_is_paused_says_so(box: FakeBox, page: Page):
    box.snapshots.active("yard", False)
    box.snapshots.active("dock", True, ["gate"])
    box.answered("dock", "people", 3, frame(1))
    box.answered("dock", "gate", True)
    expect(value(page, "Gate open")).to_have_text("Paused")
    expect(value(page, "Vehicle in the gate")).to_have_text("Paused")  # a follow-up of it
    expect(value(page, "people", "yard")).to_have_text("Paused")
    expect(shown_picture(page, "yard").locator(".veil")).to_have_text("Paused")
    expect(value(page, "People")).to_have_text("3")
    expect(attention(page)).to_have_count(0)


def test_an_alert_stands_out(box: FakeBox, page: Page):
    since = datetime.now(UTC) - timedelta(minutes=3, seconds=5)
    box.answered("dock", "gate", True, frame(1), alert=AlertState(True, since))
    expect(row(page, "Gate open")).to_contain_text("Alert for 3 min")
    expect(attention(page)).to_have_text(["Loading dock Gate open: Yes Alert for 3 min"])
    expect(page.locator("#announced")).to_have_text("Loading dock: Gate open: Yes")
    expect(page.locator("#summary")).to_have_text("1 alert")
    assert page.title() == "(1) box - edged"
    box.answered("dock", "gate", False, frame(2), alert=AlertState(False, since))
    expect(attention(page)).to_have_count(0)
    expect(page).to_have_title("box - edged")


def test_the_age_is_that_of_the_picture_that_is_shown(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, old(frame(1), 400))
    image = shown_picture(page).locator("img")
    expect(image).to_have_attribute("src", re.compile("sha-1$"))
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/frame/**", hold)
    box.answered("dock", "people", 4, frame(2))
    expect(value(page, "People")).to_have_text("4")
    expect(shown_picture(page).locator(".picture-age")).to_have_text("6 min old")
    expect(image).to_have_attribute("src", re.compile("sha-1$"))
    held[0].continue_()
    expect(image).to_have_attribute("src", re.compile("sha-2$"))
    expect(shown_picture(page).locator(".picture-age")).to_have_text(re.compile(r"^\d+ s old$"))


def test_nothing_moves_or_is_rebuilt_when_values_change(box: FakeBox, page: Page):
    a_busy_box(box)
    expect(shown_picture(page, "yard").locator("img")).to_be_visible()
    expect(attention(page)).to_have_count(2)
    expect(notice(page, "Broker not connected")).to_be_visible()
    page.evaluate(
        """() => {
             window.shifts = [];
             const shift = (each) => each.sources.map(({ node }) => (node.outerHTML ?? node.textContent).slice(0, 200));
             window.rows = [...document.querySelectorAll('.answer')];
             new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map(shift)))
               .observe({ type: 'layout-shift' });
           }"""
    )
    since = datetime.now(UTC) - timedelta(seconds=1)
    box.answered("dock", "people", 4711, frame(7, 640, 360), confidence=0.3, event=Event(
        "e", "dock", "people", "changed", 3, 4711, None, since, 4711))  # fmt: skip
    box.answered("dock", "vehicle", True)
    box.answered("dock", "weather", 0)
    box.answered("dock", "report", {"people": 4711})
    box.answered("dock", "scene", SCENE * 5, confidence=None)
    expect(value(page, "People")).to_have_text("4711")
    expect(value(page, "Scene")).to_have_text((SCENE * 5).strip())
    expect(shown_picture(page).locator("img")).to_have_attribute("src", re.compile("sha-7$"))
    expect(row(page, "People").locator(".age")).to_have_text(re.compile("^[2-9] s ago$"))
    assert page.evaluate("window.shifts") == []
    assert page.evaluate("[...document.querySelectorAll('.answer')].every((each, i) => each === window.rows[i])")


def test_what_comes_from_a_config_or_a_model_is_shown_as_text(browser: Browser, tmp_path: Path):
    text = CAMERAS.replace("title: Loading dock", f'title: "{MARKUP}"').replace("title: People", f'title: "{MARKUP}"')
    for box in boxed(tmp_path, text):
        box.problems = [f"edged.yaml:3: {MARKUP}"]
        box.answered("dock", "scene", f"{MARKUP}{{{{1+1}}}}", frame(1))
        box.refused("dock", "people", "unreadable", MARKUP)
        box.camera("dock", online=False, reason=MARKUP)
        with opened(browser, box.url) as page:
            expect(page.get_by_text(MARKUP).first).to_be_visible()
            expect(value(page, "Scene")).to_have_text(f"{MARKUP}{{{{1+1}}}}")
            assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"broker": {"connected": False, "waiting": 12}}, "Broker not connected"),
        ({"broker": {"waiting": 12, "connected": False}}, "12 messages are waiting."),
        ({"broker": {"dropped": 3}}, "3 messages were dropped"),
        ({"broker": {"refused": 1}}, "The broker refused 1 message"),
        ({"health": {"store": {"working": False, "bytes": 0, "lost": 0}}}, "Answers cannot be stored"),
        ({"health": {"store": {"working": True, "bytes": 0, "lost": 2}}}, "2 messages were lost"),
        ({"health": {"clock_synced": False}}, "The clock of the box is not set"),
        ({"health": {"lateness_s": 42.0}}, "Looks begin 42 s late"),
        ({"model": None}, "Model not available"),
        ({"model": None, "phase": "starting"}, "edged is starting"),
        ({"phase": "stopping"}, "edged is stopping"),
        ({"problems": ["/etc/edged.yaml:41: what is wrong"]}, "/etc/edged.yaml:41: what is wrong"),
    ],
)
def test_what_is_wrong_with_the_box_is_shown_and_goes_when_it_is_over(
    box: FakeBox, page: Page, changes: dict[str, Any], text: str
):
    expect(page.locator("#box")).to_have_text("LiveModel readyBroker connected")
    before = {name: getattr(box, name) for name in changes}
    for name, change in changes.items():
        setattr(box, name, before[name] | change if isinstance(change, dict) else change)
    expect(notice(page, text)).to_be_visible()
    for name, good in before.items():
        setattr(box, name, good)
    expect(page.locator("#notices > .notice, #warnings > .notice")).to_have_count(0)


def test_a_warning_is_no_problem(box: FakeBox, page: Page):
    box.health = {"clock_synced": False}
    expect(page.locator("#summary")).to_have_text("1 warning")
    expect(page.locator("#summary")).to_have_class("warn")
    box.broker["connected"] = False
    expect(page.locator("#summary")).to_have_text("1 problem, 1 warning")
    expect(page.locator("#summary")).to_have_class("bad")
    expect(page).to_have_title("(1) box - edged")


def test_what_is_wrong_with_a_camera_is_above_warnings(box: FakeBox, page: Page):
    box.health = {"clock_synced": False}
    expect(notice(page, "The clock of the box is not set")).to_be_visible()
    box.camera("dock", online=False, reason="no packet for 5.0 s")
    expect(attention(page)).to_have_count(1)
    expect(page.locator(".notice")).to_have_text([re.compile("^Loading dock Camera down"), re.compile("^The clock")])


def test_warnings_about_the_config_are_folded(browser: Browser, tmp_path: Path):
    for box in boxed(tmp_path, CAMERAS.replace("source: pics", "source: nothing-here")):
        assert box.config.warnings
        with opened(browser, box.url) as page:
            folded = notice(page, f"{len(box.config.warnings)} warnings about the config")
            expect(folded.get_by_text("nothing-here").first).to_be_hidden()
            folded.locator("summary").click()
            expect(folded.get_by_text("edged.yaml:").first).to_be_visible()


def test_without_edged_the_page_says_so_and_comes_back_by_itself(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, frame(1))
    expect(shown_picture(page).locator("img")).to_be_visible()
    page.evaluate("window.here = true")
    box.server.stop()
    expect(notice(page, "No connection to edged")).to_be_visible()
    expect(page.locator("#box")).to_have_text("No connection to edged")
    assert is_grey(page)
    box.answered("dock", "people", 4, frame(2))
    box.server.follow(box.spec)
    expect(value(page, "People")).to_have_text("4")
    expect(page.locator("#notices > .notice, #warnings > .notice")).to_have_count(0)
    assert page.evaluate("window.here")


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_hidden_page_leaves_its_connection_to_others(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, frame(1))
    expect(value(page, "People")).to_have_text("3")
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/api/events")):
        hide(page, True)
    box.answered("dock", "people", 4, frame(2))
    hide(page, False)
    expect(value(page, "People")).to_have_text("4")
    expect(page.locator("#notices > .notice")).to_have_count(0)


def test_the_title_of_a_hidden_page_has_no_count(box: FakeBox, page: Page):
    box.answered("dock", "gate", True, frame(1), alert=AlertState(True, datetime.now(UTC)))
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    hide(page, True)
    expect(page).to_have_title(re.compile(r"^[^(]"))
    hide(page, False)
    expect(page).to_have_title(re.compile(r"^\(1\) "))


def test_a_page_that_is_shown_again_is_not_connected_until_it_hears_of_edged(box: FakeBox, page: Page):
    box.answered("dock", "people", 3, frame(1))
    expect(shown_picture(page).locator("img")).to_be_visible()
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/api/events")):
        hide(page, True)
    held: list[Route] = []
    page.route("**/api/events", lambda route: held.append(route))  # noqa: PLW0108  # Playwright sets an attribute of it
    hide(page, False)
    expect(notice(page, "No connection to edged")).to_be_visible(timeout=3_000)
    assert is_grey(page)
    held[0].continue_()
    expect(page.locator("#notices > .notice")).to_have_count(0)
    assert not is_grey(page)


def test_a_page_too_many_says_so_and_connects_when_another_is_closed(browser: Browser, box: FakeBox):
    with ExitStack() as others:
        for _ in range(MOST_LISTENERS):
            others.enter_context(httpx.stream("GET", f"{box.url}/api/events", timeout=60))
        with opened(browser, box.url) as page:
            expect(notice(page, "Too many pages of edged are open")).to_be_visible()
            expect(page.locator("#box")).to_have_text("Too many pages of edged are open")
            others.close()
            expect(page.locator("#notices > .notice")).to_have_count(0)
            card(page, "dock").wait_for()


def test_the_page_loads_again_when_edged_speaks_another_language(box: FakeBox, page: Page):
    box.answered("dock", "gate", True, frame(1))
    box.config = replace(box.config, language="ko")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("#box")).to_contain_text("브로커 연결됨")


def test_the_page_loads_again_when_the_node_is_renamed(box: FakeBox, page: Page):
    expect(page).to_have_title(re.compile(box.config.node))
    box.config = replace(box.config, node="gate-box", rev="renamed")
    expect(page).to_have_title(re.compile("gate-box"))
    expect(page.locator("header .home")).to_have_text("gate-box")


def test_a_camera_comes_and_goes_with_the_config(box: FakeBox, page: Page):
    box.config = replace(box.config, cameras=box.config.cameras[:1], rev="next")
    expect(card(page, "yard")).to_have_count(0)
    box.config = replace(box.config, cameras=(), rev="none")
    expect(page.locator("#summary")).to_contain_text("No camera is configured.")


def test_the_board_can_be_used_with_the_keyboard(box: FakeBox, page: Page):
    box.answered("dock", "scene", SCENE, frame(1), confidence=None)
    expect(value(page, "Scene")).to_have_text(SCENE.strip())
    focused = []
    for _ in range(5):
        page.keyboard.press("Tab")
        focused.append(page.evaluate("document.activeElement.textContent").strip()[:12])
    assert focused == ["box", "Loading dock", SCENE[:12], "No answer ye", "Yard behind "]
    page.keyboard.press("Enter")
    page.wait_for_url("**/camera/yard")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_board_fits_is_accessible_and_is_kept_as_a_picture(
    browser: Browser, tmp_path: Path, size: ViewportSize, language: str
):
    for box in boxed(tmp_path, f"language: {language}\n{CAMERAS}"):
        a_busy_box(box)
        with opened(browser, box.url, size, touch=size is PHONE) as page:
            expect(shown_picture(page, "yard").locator("img")).to_be_visible()
            expect(attention(page)).to_have_count(2)
            expect(page.locator("#notices .notice")).to_have_count(1)
            assert overflow_px(page) == 0
            assert violations(page) == []
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                keep_picture(page, f"board-{language}-{size['width']}-{scheme}")


def test_what_a_finger_must_hit_is_large_enough(browser: Browser, box: FakeBox):
    a_busy_box(box)
    with opened(browser, box.url, PHONE, touch=True) as page:
        expect(attention(page)).to_have_count(2)
        heights = page.locator("a, button, summary").evaluate_all("all => all.map((each) => each.offsetHeight)")
        assert min(heights) >= 40


def test_both_languages_have_every_word_that_the_scripts_use(page: Page):
    english, korean = [
        page.evaluate(
            """async (language) => {
                 const shape = (word) => typeof word === 'function' ? word.length : typeof word === 'string' ? 'text' :
                   Object.fromEntries(Object.entries(word).map(([key, each]) => [key, shape(each)]));
                 return shape((await import(`/static/words-${language}.js`)).default);
               }""",
            language,
        )
        for language in ("en", "ko")
    ]
    assert english == korean
    assert [missing for path in STATIC.glob("*.js") for missing in missing_words(path.read_text(), english)] == []


def missing_words(script: str, words: dict[str, Any]) -> list[str]:
    """A script has all words, or those of one group as `const words = all.GROUP`."""
    group = re.search(r"\bwords = all\.(\w+)", script)
    known = words[group[1]] if group else words
    return sorted(set(re.findall(r"\bwords\.(\w+)(?!\w|\")", script)) - set(known))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_board_of_a_running_edged_follows_broker_config_and_restart(
    browser: Browser, tmp_path: Path, tiny_folder: Path
):
    (tmp_path / "pics").mkdir()
    for number in range(3):
        Image.fromarray(picture(number)).save(tmp_path / "pics" / f"{number}.png")
    port = free_port()
    with Mosquitto(tmp_path) as broker:
        path = tmp_path / "edged.yaml"
        good = (
            f"node: box\nmodel: {{path: {tiny_folder}}}\nmqtt: {{url: 'mqtt://{HOST}:{broker.port}'}}\n"
            f"page: {{listen: '{HOST}:{port}'}}\ncameras:\n  dock:\n    source: pics\n    every: 1s\n"
            "    ask: {people: {prompt: How many?, answer: integer, range: [0, 40]}}\n"
        )
        path.write_text(good)
        path.chmod(0o600)
        with Edged("run", "--config", path) as edged:
            edged.wait_for("INFO ready: ", 120)
            with opened(browser, f"http://{HOST}:{port}/") as page:
                expect(value(page, "people")).to_have_text(re.compile(r"^\d+$"))
                page.evaluate("window.here = true")
                assert _shown_within_s(page, port) < 1.0

                broker.kill()
                expect(notice(page, "Broker not connected")).to_be_visible()
                expect(notice(page, "waiting")).to_be_visible()
                broker.start()
                expect(page.locator("#box")).to_contain_text("Broker connected", timeout=40_000)

                path.write_text(good.replace("every: 1s", "every: soon"))
                edged.send(signal.SIGHUP)
                expect(notice(page, "The config file has a problem")).to_contain_text("edged.yaml:8:")
                expect(value(page, "people")).to_have_text(re.compile(r"^\d+$"))
                path.write_text(good)
                edged.send(signal.SIGHUP)
                expect(page.locator("#notices .notice.bad")).to_have_count(0)

                edged.stop(signal.SIGKILL)
                expect(notice(page, "No connection to edged")).to_be_visible()
                with Edged("run", "--config", path) as again:
                    again.wait_for("INFO ready: ", 120)
                    expect(page.locator("#box")).to_contain_text("Model ready")
                    expect(value(page, "people")).to_have_text(re.compile(r"^\d+$"))
                    assert page.evaluate("window.here")
                    assert again.stop()[0] == 0


def _shown_within_s(page: Page, port: int) -> float:
    """Seconds from an answer to its picture on the board: the shortest of three, as other tests run beside."""
    waits = []
    for _ in range(3):
        before = _newest(port)
        while (newest := _newest(port)) == before:
            page.wait_for_timeout(20)
        page.wait_for_function("sha => document.querySelector('.picture img').src.endsWith(sha)", arg=newest[0])
        waits.append(time.time() - newest[1])
    return min(waits)


def _newest(port: int) -> tuple[str, float]:
    """Digest of the newest frame, and when its answer was given."""
    camera = json.loads(httpx.get(f"http://{HOST}:{port}/api/state").content)["cameras"][0]
    answer = camera["questions"][0]["answer"]
    return answer["frame_sha256"], answer["answered_ts"]
