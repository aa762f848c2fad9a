"""Trying a prompt over the page: what is asked of edged, what is answered, and how it ends early."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from support.broker import an_answer, until
from support.making import frame
from support.paging import FakeBox
from support.world import CONFIG

from edged.core.payloads import answer_payload
from edged.core.requests import FULL, STOPPING, AdHoc, AskRequest, Received, Response
from edged.core.types import TokenChoice, TokenOption
from edged.page import trying
from edged.service.requests import STARTING, UNEXPECTED

ALLOWING = replace(CONFIG, mqtt=replace(CONFIG.mqtt, allow_prompts=True))
ASKED = {"camera": "dock", "prompt": "Is it open?", "answer": "yes_no"}
TOKENS = (TokenChoice(TokenOption("Yes", 0.9), (TokenOption(None, 0.06, allowed=False), TokenOption("No", 0.04))),)
ANSWER = replace(an_answer("a", question="ad-hoc prompt"), tokens=TOKENS)


@pytest.fixture
def box() -> Iterator[FakeBox]:
    with FakeBox(ALLOWING) as box:
        box.responses = [Response(ANSWER)]
        yield box


def tried(box: FakeBox, body: Any, **more: Any) -> httpx.Response:
    """`body` as JSON, unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    return httpx.post(f"{box.url}/api/try", content=data, headers=headers, timeout=30, **more)


def test_the_answer_is_that_of_a_request_with_tokens_and_the_lines_of_the_config(box: FakeBox):
    answer = tried(box, ASKED)
    assert answer.status_code == 200
    payload = answer.json()
    assert payload.pop("tokens") == [
        {
            "chosen": {"text": "Yes", "probability": 0.9, "allowed": True},
            "others": [
                {"text": None, "probability": 0.06, "allowed": False},
                {"text": "No", "probability": 0.04, "allowed": True},
            ],
        }
    ]
    assert payload.pop("yaml") == '      is_it_open:\n        prompt: "Is it open?"\n        answer: yes_no\n'
    assert payload == answer_payload(ANSWER, "box", late=False) | {"question": None}


def test_it_is_asked_like_a_request_over_mqtt(box: FakeBox):
    tried(box, {**ASKED, "answer": "integer", "range": [0, 9], "max_new_tokens": 5})
    asked = AdHoc("Is it open?", "integer", range=[0, 9], max_new_tokens=5)
    wanted = AskRequest("dock", ad_hoc=asked, deadline_s=trying.LIMIT_S, keep_tokens=True)
    assert [each.request for each in box.received] == [wanted]


def test_tokens_are_not_in_the_payload_of_the_broker():
    assert "tokens" not in answer_payload(ANSWER, "box", late=False)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"{", 400, "the payload is not valid JSON (line 1, column 2)"),
        (b"[]", 400, "the payload is a list; a request is a JSON object"),
        (
            b'{"camera": "dock", "prompt": "x", "range": [NaN, 1]}',
            400,
            'the payload has "NaN", which is not a finite number',
        ),
        ({"camera": "dock"}, 400, "ask needs a question (the name of one) or a prompt (its text), and not both"),
        ({"camera": "dock", "question": "gate"}, 400, "prompt is missing; it must be text"),
        ({**ASKED, "answer": "yesno"}, 400, 'answer "yesno" is not a type'),
        ({**ASKED, "region": "gate"}, 400, 'region "gate" is not a region of camera "dock", which has none'),
        ({**ASKED, "colour": 1}, 400, 'unknown key "colour"'),
        ({**ASKED, "camera": "dok"}, 404, "there is no such camera"),
        ({**ASKED, "prompt": "x" * 70_000}, 413, "The request is larger than 65536 bytes."),
    ],
)
def test_what_is_not_a_prompt_is_refused_with_a_sentence(box: FakeBox, body: Any, status: int, sentence: str):
    answer = tried(box, body)
    assert answer.status_code == status
    assert answer.text.startswith(sentence)
    assert box.received == []


def test_another_content_type_is_refused_as_a_form_of_another_site_can_send_it(box: FakeBox):
    assert tried(box, ASKED, headers={"Content-Type": "text/plain"}).status_code == 415
    assert httpx.get(f"{box.url}/api/try").status_code == 405
    assert box.received == []


def test_without_allow_prompts_nothing_is_asked():
    with FakeBox(CONFIG) as box:
        answer = tried(box, ASKED)
        assert (answer.status_code, answer.text) == (403, trying.NOT_ALLOWED)
        assert box.received == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(FULL, 503), (STOPPING, 503), (STARTING, 503), (UNEXPECTED, 500), ('the tokenizer cannot encode "x"', 400)],
)
def test_what_edged_refuses_is_a_sentence(box: FakeBox, error: str, status: int):
    box.responses = [Response(error=error)]
    answer = tried(box, ASKED)
    assert (answer.status_code, answer.text) == (status, f"{error}\n")


def test_the_frame_is_the_one_that_was_asked_about_or_none(box: FakeBox):
    box.looked("dock", frame=frame(1))
    box.snapshots.tried("dock", frame(2))
    newest = httpx.get(f"{box.url}/api/frame/dock.jpg", params={"sha256": "sha-1"})
    answer = httpx.get(f"{box.url}/api/frame/dock.jpg", params={"tried": "sha-2"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content != newest.content
    box.snapshots.tried("dock", frame(3))
    assert httpx.get(f"{box.url}/api/frame/dock.jpg", params={"tried": "sha-2"}).status_code == 404
    box.snapshots.forget_frame("dock")  # a mask was added
    assert httpx.get(f"{box.url}/api/frame/dock.jpg", params={"tried": "sha-3"}).status_code == 404


# the end of a request without an answer


class SilentBox(FakeBox):
    """Responds to nothing by itself."""

    def _receive(self, received: Received) -> None:
        self.received.append(received)


@pytest.fixture
def silent() -> Iterator[SilentBox]:
    box = SilentBox(ALLOWING)
    with box:
        yield box


def test_a_browser_that_leaves_takes_its_request_back(silent: SilentBox):
    body = json.dumps(ASKED)
    head = f"POST /api/try HTTP/1.1\r\nHost: {silent.spec.listen.shown}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((silent.spec.listen.host, silent.spec.listen.port), timeout=10) as browser:
        browser.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        until(lambda: silent.received)
        assert not silent.received[0].abandoned()
    until(silent.received[0].abandoned)
    silent.received[0].respond(Response(ANSWER))  # to nobody
    assert silent.is_serving()


def test_a_request_that_gets_no_response_ends(silent: SilentBox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trying, "MARGIN_S", 0.2)
    monkeypatch.setattr(trying, "LIMIT_S", 0.2)
    answer = tried(silent, ASKED)
    assert (answer.status_code, answer.text) == (504, trying.TOO_SLOW)
    assert silent.received[0].abandoned()


def test_a_response_after_the_page_was_closed_is_dropped(silent: SilentBox):
    failed: list[httpx.HTTPError] = []

    def ask() -> None:
        try:
            tried(silent, ASKED)
        except httpx.HTTPError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: silent.received)
    silent.server.stop()
    silent.received[0].respond(Response(ANSWER))
    asking.join(10)
    assert not asking.is_alive()
