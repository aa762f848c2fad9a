"""Labelling on the page: kept frames one at a time, judged by keyboard in a real browser; the limits of the routes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Dialog, Page, Route, expect
from support.broker import until
from support.browser import PHONE, chromium
from support.kept import kept_answer, kept_frame, unsure, yes_no
from support.making import picture
from support.paging import FakeBox
from support.world import CONFIG

from edged.core.kept_frames import KeptAnswer
from edged.core.specs import FramesSpec
from edged.store import frame_files
from edged.store.store import DiskStore

WITHIN_S = 20.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DiskStore]:
    monkeypatch.setattr(frame_files, "FREE_BYTES", 0)
    store = DiskStore(tmp_path / "state" / "edged.db", lambda: True)
    store.open()
    store.keep(None, FramesSpec())
    yield store
    store.close()


@pytest.fixture
def box(store: DiskStore) -> Iterator[FakeBox]:
    box = FakeBox(replace(CONFIG, frames=FramesSpec()))
    box.frames = store.frames
    with box:
        yield box


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(15_000)
    yield page
    context.close()


def webp() -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture(1)).save(data, "WEBP", lossless=True)
    return data.getvalue()


def keep(store: DiskStore, *frames: tuple[KeptAnswer, ...]) -> list[str]:
    """Keep frames with these answers; their names."""
    names = []
    for number, answers in enumerate(frames, store.frames.progress().kept + 1):
        frame = kept_frame(*answers)
        store.frames.keep(frame, webp)
        until(partial(_has_kept, store, number), WITHIN_S)
        names.append(frame.name)
    return names


def _has_kept(store: DiskStore, number: int) -> bool:
    return store.frames.progress().kept == number


def label(box: FakeBox, **said: Any) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return httpx.post(f"{box.url}/api/label", content=json.dumps(said), headers=headers)


def test_twenty_frames_are_labelled_by_keyboard(box: FakeBox, store: DiskStore, page: Page):
    numbers = [(kept_answer(value=number % 5),) for number in range(10)]
    gates = [(yes_no(value=number % 2 == 0),) for number in range(10)]
    names = keep(store, *numbers, *gates)
    page.goto(f"{box.url}/label")
    for done in range(20):
        expect(page.locator(".label-progress span")).to_have_text(f"{done} of 20 frames labelled")
        seen(page)
        page.keyboard.press("r" if done % 2 == 0 else "w")
    expect(page.get_by_text("All kept frames are labelled.")).to_be_visible()
    verdicts = [store.frames.task(name).labels[0].verdict for name in names]  # type: ignore[union-attr]
    assert verdicts == ["right", "wrong"] * 10


def seen(page: Page) -> None:
    """The picture is loaded: before that, nothing can be said about it."""
    expect(page.locator(".label-picture")).to_have_js_property("naturalWidth", 320)
    expect(page.locator(".label-picture")).to_have_js_property("complete", True)


def test_a_key_that_is_held_down_labels_one_frame(box: FakeBox, store: DiskStore, page: Page):
    names = keep(store, *[(kept_answer(),) for _ in range(3)])
    page.goto(f"{box.url}/label")
    for _ in range(3):
        seen(page)
        page.keyboard.down("r")
        expect(page.locator(".label-progress span")).to_have_text("1 of 3 frames labelled")
    page.keyboard.up("r")
    page.keyboard.press("w")
    expect(page.locator(".label-progress span")).to_have_text("2 of 3 frames labelled")
    labels = [store.frames.task(name).labels for name in names]  # type: ignore[union-attr]
    assert [[each.verdict for each in given] for given in labels] == [["right"], ["wrong"], []]


def test_the_focus_stays_on_the_same_control_and_the_next_question_is_read_out(
    box: FakeBox, store: DiskStore, page: Page
):
    names = keep(store, (kept_answer(),), (kept_answer(),), (yes_no(),))
    page.goto(f"{box.url}/label")
    seen(page)
    right = page.get_by_role("button", name="Right")
    right.focus()
    page.keyboard.down("Enter")
    expect(page.locator("#said")).to_have_text("people: Right. Next: people: people?")
    expect(right).to_be_focused()
    seen(page)
    page.keyboard.down("Enter")  # as a key that is held down
    page.keyboard.up("Enter")
    page.keyboard.type("12")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading")).to_have_text("gate")
    expect(page.get_by_role("heading")).to_be_focused()
    seen(page)
    page.keyboard.press("n")
    expect(page.get_by_text("All kept frames are labelled.")).to_be_focused()
    assert [store.frames.task(name).labels[0].truth for name in names] == [3, 12, False]  # type: ignore[union-attr]


def test_a_frame_that_is_not_shown_yet_cannot_be_labelled(box: FakeBox, store: DiskStore, page: Page):
    [name] = keep(store, (kept_answer(),))
    held: list[Route] = []
    page.route("**/api/label/*.webp", lambda route: held.append(route))  # noqa: PLW0108  # Playwright sets an attribute of it
    page.goto(f"{box.url}/label", wait_until="commit")
    expect(page.locator("#given")).to_have_text("3")
    page.keyboard.press("r")
    expect(page.locator("#said")).to_have_text("Wait for the picture, then judge the answer.")
    assert not store.frames.task(name).labels  # type: ignore[union-attr]
    held[0].continue_()
    seen(page)
    page.keyboard.press("r")
    expect(page.get_by_text("All kept frames are labelled.")).to_be_visible()


def test_a_frame_that_cannot_be_loaded_can_only_be_skipped(box: FakeBox, store: DiskStore, page: Page):
    [name] = keep(store, (yes_no(), kept_answer()))
    page.route("**/api/label/*.webp", lambda route: route.abort())
    page.goto(f"{box.url}/label")
    expect(page.locator(".label-picture")).to_have_js_property("complete", True)
    page.keyboard.press("r")
    expect(page.locator("#said")).to_have_text(
        "The picture could not be loaded. Skip the question, or load the page again."
    )
    assert not store.frames.task(name).labels  # type: ignore[union-attr]
    page.unroute("**/api/label/*.webp")
    page.keyboard.press("s")
    expect(page.get_by_role("heading")).to_have_text("people")
    seen(page)
    page.keyboard.press("r")
    expect(page.get_by_text("All kept frames are labelled.")).to_be_visible()
    verdicts = [label.verdict for label in store.frames.task(name).labels]  # type: ignore[union-attr]
    assert verdicts == ["skip", "right"]


def test_keys_that_move_the_focus_repeat_while_a_button_has_it(box: FakeBox, store: DiskStore, page: Page):
    keep(store, (yes_no(),))
    page.goto(f"{box.url}/label")
    page.get_by_role("button", name="Right").focus()
    for _ in range(2):
        page.keyboard.down("Tab")  # the second one as a key that is held down
    expect(page.get_by_role("button", name="Skip")).to_be_focused()


def test_the_true_value_is_typed(box: FakeBox, store: DiskStore, page: Page):
    [first, second] = keep(store, (kept_answer(),), (kept_answer(),))
    page.goto(f"{box.url}/label")
    expect(page.locator("#given")).to_have_text("3")
    seen(page)
    page.keyboard.type("12")
    page.keyboard.press("Enter")
    expect(page.locator(".label-progress span")).to_have_text("1 of 2 frames labelled")
    seen(page)
    page.keyboard.type("99")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("the truth must be a whole number from 0 to 40, not 99")
    assert [each.truth for each in store.frames.task(first).labels] == [12]  # type: ignore[union-attr]
    assert not store.frames.task(second).labels  # type: ignore[union-attr]


def test_each_question_of_a_frame_is_asked_and_undone(box: FakeBox, store: DiskStore, page: Page):
    choices = kept_answer("weather", "rain", type="choices", form={"choices": [["clear", "clear"], ["rain", "rain"]]})
    [name] = keep(store, (yes_no(), choices))
    page.goto(f"{box.url}/label")
    expect(page.get_by_role("heading")).to_have_text("gate")
    seen(page)
    page.keyboard.press("n")
    expect(page.get_by_role("heading")).to_have_text("weather")
    page.keyboard.press("1")
    expect(page.get_by_text("All kept frames are labelled.")).to_be_visible()
    assert [each.truth for each in store.frames.task(name).labels] == [False, "clear"]  # type: ignore[union-attr]
    page.keyboard.press("u")
    expect(page.get_by_role("heading")).to_have_text("weather")


def test_an_unsure_answer_shows_the_models_guess(box: FakeBox, store: DiskStore, page: Page):
    answer = kept_answer()
    keep(store, (replace(answer, **unsure(answer)),))
    page.goto(f"{box.url}/label")
    expect(page.locator("#given")).to_have_text("3")
    expect(page.locator(".label-status")).to_have_text("Unsure: confidence")


def test_an_answer_without_a_value_cannot_be_right(box: FakeBox, store: DiskStore, page: Page):
    answer = kept_answer(value=None, status="timeout", reason="no answer within 60 s", guess=None)
    keep(store, (answer,))
    page.goto(f"{box.url}/label")
    expect(page.get_by_role("button", name="Right")).to_be_disabled()
    expect(page.locator(".label-status")).to_have_text("Timed out: no answer within 60 s")
    seen(page)
    page.keyboard.press("r")
    page.keyboard.press("s")
    expect(page.get_by_text("All kept frames are labelled.")).to_be_visible()


def test_texts_of_prompts_and_answers_are_no_html(box: FakeBox, store: DiskStore, page: Page):
    script = "<img src=x onerror=alert(1)>"
    dialogs: list[str] = []

    def opened(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", opened)
    keep(store, (kept_answer(value=script, type="text", prompt=script, reason=script, form={}),))
    page.goto(f"{box.url}/label")
    expect(page.locator("#given")).to_have_text(script)
    expect(page.locator(".label-prompt")).to_have_text(script)
    assert not dialogs


def test_it_fits_a_phone(box: FakeBox, store: DiskStore, browser):
    keep(store, (kept_answer("a" * 60, prompt="long " * 60),))
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    page.goto(f"{box.url}/label")
    expect(page.locator("#given")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    context.close()


def test_the_header_leads_to_the_kept_frames_and_back(box: FakeBox, store: DiskStore, page: Page):
    keep(store, (kept_answer(),))
    page.goto(box.url)
    page.get_by_role("link", name="Label frames").click()
    expect(page.locator("#given")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["All cameras"])
    page.get_by_role("link", name="All cameras").click()
    expect(page.locator("#summary")).to_be_visible()


def test_a_box_that_keeps_no_frames_says_how_to(page: Page):
    with FakeBox(CONFIG) as box:
        page.goto(f"{box.url}/label")
        expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["All cameras"])
        expect(page.locator("#label")).to_have_text(
            "No frames are kept. Add frames: {} to the config to keep those that are worth a label."
        )


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"frame": 1, "question": "people", "verdict": "right"},
        {"frame": "../../etc/passwd", "question": "people", "verdict": "right"},
        {"frame": "x", "question": "people", "verdict": "maybe"},
        {"frame": "x", "question": "people", "verdict": "right", "path": "/etc"},
        {"undo": 1},
        {"undo": True, "frame": "x"},
    ],
)
def test_what_is_no_label_is_refused_with_a_sentence(box: FakeBox, said: dict[str, Any]):
    answer = label(box, **said)
    assert answer.status_code == 400
    assert answer.text.strip()


def test_only_names_in_the_store_are_pictures(box: FakeBox, store: DiskStore):
    [name] = keep(store, (kept_answer(),))
    assert httpx.get(f"{box.url}/api/label/{name}").headers["content-type"] == "image/webp"
    wrong = ["nope.webp", "..%2Fedged.db", "%2e%2e%2fedged.db", f"{name}%00", f"..%2Fframes%2F{name}", "edged.db"]
    assert {httpx.get(f"{box.url}/api/label/{each}").status_code for each in wrong} == {404}


def test_an_answer_with_a_lone_surrogate_can_be_labelled(box: FakeBox, store: DiskStore):
    plate = {"plate": "\ud800"}
    [name] = keep(store, (kept_answer(value=plate, type="json", form={"schema": {}}),))
    assert httpx.get(f"{box.url}/api/label").json()["task"]["answers"][0]["value"] == {"plate": "?"}
    given = label(box, frame=name, question="people", verdict="right")
    assert given.status_code == 200
    assert given.json()["task"] is None


def test_a_truth_that_cannot_be_shown_is_refused_with_a_sentence(box: FakeBox, store: DiskStore):
    [name] = keep(store, (kept_answer(),))
    answer = label(box, frame=name, question="people", truth="\ud800")
    assert answer.status_code == 400
    assert "a whole number" in answer.text
