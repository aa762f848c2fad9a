"""Trying a prompt in a real browser: over a fake box what the form does, over a real edged what the model answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from support.axe import violations
from support.broker import HOST, Mosquitto, an_answer, free_port, until
from support.browser import DESK, PHONE, keep_picture, opened, overflow_px
from support.making import frame, question
from support.paging import FakeBox
from support.running import Edged
from support.world import CONFIG, camera
from test_page_try import SilentBox

from edged.cli import main
from edged.config.load import load
from edged.core.answer_types import Choices, Json, Number, YesNo
from edged.core.requests import FULL, AdHoc, Response
from edged.core.specs import Config, RegionSpec
from edged.core.types import TokenChoice, TokenOption
from edged.demo.show import MODEL, running_demo
from edged.demo.stills import still

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
DOCK = camera(
    "dock",
    question("Is the gate open?", YesNo(), "gate", region=RegionSpec("gate", (0, 0, 0.5, 0.5))),
    question("How many people?", Number(True, 0, 40), "people"),
    question("What is the weather like?", Choices((("clear", 1), ("rain", 2))), "weather"),
    question("Report.", Json(json.dumps(SCHEMA)), "report"),
    regions=(RegionSpec("gate", (0, 0, 0.5, 0.5)),),
)
ALLOWING = replace(CONFIG, mqtt=replace(CONFIG.mqtt, allow_prompts=True), cameras=(DOCK,))
TOKENS = (
    TokenChoice(TokenOption("Yes", 0.62), (TokenOption("No", 0.31), TokenOption(" Maybe", 0.04, allowed=False))),
    TokenChoice(TokenOption(None, 0.99), (TokenOption("\n", 0.01, allowed=False),)),
)  # fmt: skip
ANSWER = replace(
    an_answer("a", question="ad-hoc prompt"), type="yes_no", value=True, text="Yes", confidence=0.61, tokens=TOKENS,
    prompt="Is it open? Answer Yes or No.", frame_sha256="sha-2", timing_ms={"grab": 12, "encode": 310, "answer": 45},
)  # fmt: skip


def fake(config: Config = ALLOWING, **more: Any) -> FakeBox:
    box = FakeBox(config, **more)
    box.responses = [Response(ANSWER)]
    box.looked("dock", frame=frame(1))
    box.snapshots.tried("dock", frame(2))
    return box


@pytest.fixture
def box() -> Iterator[FakeBox]:
    with fake() as box:
        yield box


def ask(page: Page, prompt: str, answer: str = "yes_no") -> None:
    page.fill("#try-prompt", prompt)
    page.select_option("#try-type", answer)
    page.click(".try button.primary")


def asked(box: FakeBox) -> AdHoc | None:
    """What the newest request asks."""
    return getattr(box.received[-1].request, "ad_hoc", None)


@pytest.mark.parametrize("touch", [False, True], ids=["desk", "phone"])
def test_an_answer_has_value_confidence_timing_picture_tokens_and_lines(browser: Browser, box: FakeBox, touch: bool):
    with opened(browser, f"{box.url}/camera/dock", PHONE if touch else DESK, touch=touch) as page:
        ask(page, "Is it open?")
        expect(page.locator("#try-value")).to_have_text("Yes")
        shown = page.locator(".try-answer")
        for text in ("Confidence 61.0 %", "Asked: Is it open? Answer Yes or No.", "Picture 12 ms, encoding 310 ms"):
            expect(shown).to_contain_text(text)
        page.wait_for_function("() => document.querySelector('.try-picture img').naturalWidth > 0")
        assert page.locator(".token-chip").all_text_contents() == ["Yes", "end of the reply"]
        options = page.locator(".token-options li")
        assert options.all_text_contents() == ["Yes62.0 %", "No31.0 %", "␣Maybe4.0 %not allowed by the type"]
        page.locator(".token-chip").nth(1).click()
        assert options.all_text_contents() == ["end of the reply99.0 %", "⏎1.0 %not allowed by the type"]
        assert page.locator(".try pre.yaml").text_content() == (
            '      is_it_open:\n        prompt: "Is it open?"\n        answer: yes_no\n'
        )
        assert overflow_px(page) == 0
        assert violations(page) == []
        keep_picture(page, f"try-{'360' if touch else '1440'}")


def test_ctrl_enter_asks(browser: Browser, box: FakeBox):
    with opened(browser, f"{box.url}/camera/dock") as page:
        page.fill("#try-prompt", "Who?")
        page.press("#try-prompt", "Control+Enter")
        expect(page.locator("#try-value")).to_be_visible()
        assert asked(box) == AdHoc("Who?", "text")


PREFILLED = {
    "gate": AdHoc("Is the gate open?", "yes_no", region="gate"),
    "people": AdHoc("How many people?", "integer", range=[0, 40]),
    "weather": AdHoc("What is the weather like?", {"choices": {"clear": 1, "rain": 2}}),
    "report": AdHoc("Report.", {"json": SCHEMA}),
}


@pytest.mark.parametrize("name", PREFILLED)
def test_a_question_of_the_camera_can_be_the_beginning(browser: Browser, box: FakeBox, name: str):
    with opened(browser, f"{box.url}/camera/dock") as page:
        page.select_option("#try-begin", name)
        page.click(".try button.primary")
        expect(page.locator("#try-value")).to_be_visible()
        assert asked(box) == PREFILLED[name]


def test_choices_and_a_range_are_asked_as_they_are_typed(browser: Browser, box: FakeBox):
    with opened(browser, f"{box.url}/camera/dock") as page:
        page.select_option("#try-type", "choices")
        page.fill("#try-choices", "red\n\n green ")
        ask(page, "Which?", "choices")
        until(lambda: len(box.received) == 1)
        assert asked(box) == AdHoc("Which?", ["red", "green"])
        page.select_option("#try-type", "number")
        page.fill("#try-low", "-1.5")
        page.fill("#try-high", "2")
        page.select_option("#try-region", "gate")
        expect(page.locator(".try button.primary")).to_be_enabled()
        ask(page, "How far?", "number")
        until(lambda: len(box.received) == 2)
        assert asked(box) == AdHoc("How far?", "number", range=[-1.5, 2], region="gate")


def test_what_is_wrong_is_a_sentence_and_takes_the_answer_before_away(browser: Browser, box: FakeBox):
    with opened(browser, f"{box.url}/camera/dock") as page:
        problem = page.locator(".try [role=alert]")
        ask(page, " ")
        expect(problem).to_have_text("Write a prompt first.")
        page.select_option("#try-type", "integer")
        page.fill("#try-low", "1")
        ask(page, "How many?", "integer")
        expect(problem).to_have_text("A range needs both its lowest and its highest value.")
        page.select_option("#try-type", "json")
        page.fill("#try-schema", "{")
        ask(page, "What?", "json")
        expect(problem).to_contain_text("The schema is not valid JSON: ")
        ask(page, "Is it <|im_end|>?")
        expect(problem).to_have_text('prompt contains "<|im_end|>", which is a special token of the model')
        assert box.received == []
        ask(page, "Is it open?")
        expect(page.locator("#try-value")).to_be_visible()
        expect(problem).to_be_hidden()
        box.responses = [Response(error=FULL)]
        ask(page, "Is it open?")
        expect(problem).to_have_text(FULL)
        expect(page.locator("#try-value")).to_have_count(0)
        box.server.stop()
        ask(page, "Is it open?")
        expect(problem).to_have_text("No connection to edged. Nothing was answered; try again.")


def test_a_refusal_says_why_and_a_picture_that_is_gone_is_not_replaced(browser: Browser, box: FakeBox):
    refusal = replace(ANSWER, status="unreadable", value=None, confidence=None, reason='"Ye" is none of: Yes, No')
    box.responses = [Response(replace(refusal, frame_sha256="sha-9"))]
    with opened(browser, f"{box.url}/camera/dock") as page:
        ask(page, "Is it open?")
        expect(page.locator(".try-value")).to_have_text('Unreadable"Ye" is none of: Yes, No')
        expect(page.locator(".try-picture img")).to_have_count(0)
        expect(page.locator(".try-picture")).to_have_text("The picture that was asked about is no longer there.")
        expect(page.locator(".try-picture p")).to_be_visible()


def test_asking_can_be_cancelled(browser: Browser):
    box = SilentBox(ALLOWING)
    with box, opened(browser, f"{box.url}/camera/dock") as page:
        ask(page, "Is it open?")
        until(lambda: box.received)
        expect(page.locator(".try button.primary")).to_be_disabled()
        page.click(".try button:has-text('Cancel')")
        until(box.received[0].abandoned)
        expect(page.locator(".try [role=alert]")).to_have_text("Cancelled.")
        expect(page.locator(".try button.primary")).to_be_enabled()


def test_without_allow_prompts_the_form_is_disabled_and_says_what_to_do(browser: Browser):
    with fake(replace(ALLOWING, mqtt=CONFIG.mqtt)) as box, opened(browser, f"{box.url}/camera/dock") as page:
        expect(page.locator(".try .notice:not([role])")).to_have_text(
            "Prompts are not allowed. mqtt: {allow_prompts: true} in edged.yaml allows them, here and over MQTT."
        )
        expect(page.locator("#try-prompt")).to_be_disabled()
        expect(page.locator(".try button.primary")).to_be_disabled()
        box.config = replace(box.config, mqtt=ALLOWING.mqtt, rev="r2")  # it is changed
        expect(page.locator(".try button.primary")).to_be_enabled()


def test_the_form_is_korean_where_the_config_is(browser: Browser):
    with fake(replace(ALLOWING, language="ko")) as box, opened(browser, f"{box.url}/camera/dock", PHONE) as page:
        ask(page, "열려 있나요?")
        expect(page.locator(".try-answer")).to_contain_text("신뢰도 61.0 %")
        assert page.locator(".try pre.yaml").text_content() == (
            '      question:\n        prompt: "열려 있나요?"\n        answer: yes_no\n'
        )
        assert overflow_px(page) == 0
        keep_picture(page, "try-ko-360")


def test_what_is_typed_stays_while_looks_go_on(browser: Browser, box: FakeBox):
    with opened(browser, f"{box.url}/camera/dock") as page:
        page.fill("#try-prompt", "Is it")
        page.select_option("#try-region", "gate")
        box.looked("dock", frame=frame(5))
        page.wait_for_selector("img[src*='sha-5']")
        page.keyboard.type(" open")
        assert page.input_value("#try-region") == "gate"
        assert page.input_value("#try-prompt") == "Is it open"


# a real edged with the demo's model


REAL = """\
node: box
model: {{path: {model}, max_new_tokens: 48}}
mqtt: {{url: "mqtt://{host}:{broker}", allow_prompts: true}}
page: {{listen: "{host}:{page}"}}
cameras:
  yard:
    source: {picture}
    every: 1h
    regions:
      door: {{box: [0.5, 0.05, 0.85, 0.5]}}
    ask:
      people: {{prompt: How many people are in this image?, answer: integer, range: [0, 9]}}
"""


@dataclass(frozen=True)
class Real:
    path: Path
    url: str
    door_open: bool


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    folder = tmp_path_factory.mktemp("real")
    pixels, truth = still(9_100, sprites="held_out")
    Image.fromarray(pixels).save(folder / "yard.png")
    path, port = folder / "edged.yaml", free_port()
    with Mosquitto(folder) as broker:
        path.write_text(REAL.format(model=MODEL, host=HOST, broker=broker.port, page=port, picture=folder / "yard.png"))
        with Edged("run", "--config", path, env={"STATE_DIRECTORY": str(folder / "state")}) as edged:
            edged.wait_for("INFO ready: ")
            yield Real(path, f"http://{HOST}:{port}", truth.door_open)
            assert edged.stop()[0] == 0
            assert not edged.said("ERROR|Traceback")


@pytest.mark.slow
def test_a_prompt_that_was_tried_becomes_a_question_of_the_config(browser: Browser, real: Real, tmp_path: Path):
    with opened(browser, f"{real.url}/camera/yard") as page:
        ask(page, "Is the door open?")
        expect(page.locator("#try-value")).to_have_text("Yes" if real.door_open else "No", timeout=60_000)
        assert {"Yes", "No"} <= set(page.locator(".token-options .token-text").all_text_contents())
        page.wait_for_function("() => document.querySelector('.try-picture img').naturalWidth > 0")
        lines = page.locator(".try pre.yaml").text_content() or ""
        keep_picture(page, "try-real")
    path = tmp_path / "edged.yaml"
    path.write_text(real.path.read_text() + lines)
    path.chmod(0o600)
    assert main(["check", str(path)]) == 0
    added = load(path).cameras[0].questions[-1]
    assert (added.name, added.prompt) == ("is_the_door_open", "Is the door open? Answer Yes or No.")


PEOPLE = {"type": "object", "properties": {"people": {"type": "integer", "minimum": 0, "maximum": 9}}}
BODIES: dict[str, dict[str, Any]] = {
    "yes_no": {"prompt": "Is the door open?", "answer": "yes_no"},
    "integer": {"prompt": "How many people are in this image?", "answer": "integer", "range": [0, 9]},
    "json": {"prompt": "Report what you see.", "answer": {"json": PEOPLE}},
    "text": {"prompt": "Describe the scene.", "region": "door"},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BODIES)
def test_the_tokens_of_a_real_model_agree_with_its_confidence(real: Real, kind: str):
    answer = httpx.post(f"{real.url}/api/try", json={"camera": "yard", **BODIES[kind]}, timeout=100)
    assert answer.status_code == 200, answer.text
    payload = answer.json()
    assert (payload["status"], payload["type"], payload["trigger"]) == ("ok", kind, "request")
    chosen = [token["chosen"] for token in payload["tokens"]]
    assert chosen
    assert all(len(token["others"]) <= 5 for token in payload["tokens"])
    if kind == "text":
        assert "".join(token["text"] or "" for token in chosen) == payload["text"]
        assert payload["confidence"] is None
    else:
        product = math.prod(token["probability"] for token in chosen)
        assert payload["confidence"] == pytest.approx(product, abs=1e-4)
    picture = httpx.get(f"{real.url}/api/frame/yard.jpg", params={"tried": payload["frame_sha256"]})
    assert picture.headers["content-type"] == "image/jpeg"


@pytest.mark.slow
def test_the_page_of_the_demo_shows_what_is_right(browser: Browser):
    with running_demo() as demo:

        def hear() -> bool:
            """What the demo prints; the verdict about it is in the file then. True once there is an answer."""
            while message := demo.follower.next(0.05):
                demo.board.hear(message)
            return demo.board.counts["answers"] > 0

        until(hear, 120)
        with opened(browser, f"http://{HOST}:{demo.page}/") as page:
            until(lambda: hear() and page.locator(".mark.good").count() > 0, 60)
            assert page.locator(".mark.good").first.text_content() == "✓ Right"
            keep_picture(page, "demo-verdicts")
