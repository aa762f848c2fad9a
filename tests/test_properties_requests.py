"""Whatever arrives as a request is answered once: it is carried out, or refused with a short reason."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from support.broker import an_answer
from support.drawn import KINDS, TEXTS, mostly
from support.paging import FakeBox
from support.properties import examples
from test_requested import WITH_PROMPTS, Asking

from edged.config.document import MAX_TEXT
from edged.config.requests import DEADLINE_S, LARGEST_REQUEST, READERS
from edged.core.requests import AskRequest, Received, ReloadRequest, Request, Response
from edged.mqtt.client import Incoming
from edged.mqtt.request_queue import RequestQueue
from edged.mqtt.responses import why_refused
from edged.mqtt.topics import Message, Topics
from edged.page import trying
from edged.service.requests import UNEXPECTED

TOPICS = Topics("edged", "box")
LONGEST_ERROR = 2_000  # characters; everything that is wrong with a prompt is listed
LARGEST_ECHO = 6 * LARGEST_REQUEST  # bytes: an escape in place of a character, a number without its exponent
WITHIN_S = 20.0

# what arrives

SHORT = st.text(st.characters(), max_size=12)
LONG = "x" * 9000  # too long to be repeated in an error
# halves of surrogate pairs, which JSON can escape; what a terminal obeys
HOSTILE = st.sampled_from(["\ud800", "a\udfff", "\0", "\x1b[2J", "\u202e", "\n", LONG, "예" * 5000, "a://b:c@d"])
STRINGS = SHORT | HOSTILE
NUMBERS = st.one_of(
    st.floats(), st.integers(), st.sampled_from([10**400, -(10**18), 1e308, 5e-324, math.nan, math.inf, -math.inf])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=8,
)
DEEP = st.integers(1, 70).map(lambda levels: json.loads("[" * levels + "]" * levels))
CAMERAS = mostly(st.sampled_from(["dock", "yard"] * 4 + ["dok", "", "dock\n", "bridge"]), STRINGS)
QUESTIONS = mostly(st.sampled_from(["people", "gate", "car"] * 3 + ["peple", ""]), STRINGS)
DEADLINES = st.floats(*DEADLINE_S) | st.floats() | st.integers(-1, 10**6) | st.booleans()
PROMPTS = mostly(TEXTS.map(lambda text: f"Is it {text}?"), STRINGS)


def likely(needed: dict[str, Any], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Keys with a value that they may have; one of them, rarely, with any other."""
    wrong = st.dictionaries(st.sampled_from([*needed, *optional, "x"]) | STRINGS, VALUES, max_size=1)
    keys = st.fixed_dictionaries(needed, optional={**optional, "transaction": VALUES | DEEP})
    return st.builds(lambda keys, other, is_wrong: {**keys, **(other if is_wrong else {})}, keys, wrong, RARELY)


RARELY = st.integers(0, 9).map(lambda number: number == 9)
ANSWER_TYPES = st.one_of(list(KINDS.values())).map(
    lambda keys: {key: value for key, value in keys.items() if key in ("answer", "range")}
)
PROMPT_REQUESTS = st.builds(
    lambda keys, answer: {**answer, **keys},
    likely(
        {"camera": CAMERAS, "prompt": PROMPTS},
        region=mostly(st.none(), STRINGS),
        max_new_tokens=st.integers(1, 4096) | st.integers(),
        deadline=DEADLINES,
    ),
    ANSWER_TYPES,
)
KEYS = {
    "ask": PROMPT_REQUESTS | likely({"camera": CAMERAS, "question": QUESTIONS}, deadline=DEADLINES),
    "look": likely({"camera": CAMERAS}),
    "active": likely({"camera": CAMERAS, "active": st.booleans()}, question=QUESTIONS),
    "reload": likely({}),
    "info": likely({}),
    "aks": likely({}),
}
BYTES = st.one_of(
    st.binary(max_size=60),
    VALUES.map(lambda value: json.dumps(value).encode()),
    # at the border of what is read at all
    st.integers(LARGEST_REQUEST - 2, LARGEST_REQUEST + 2).map(
        lambda size: b'{"transaction":"' + b"x" * (size - 18) + b'"}'
    ),
)


def damaged(data: bytes, at: int, byte: int) -> bytes:
    return bytes([*data[: at % len(data)], byte, *data[at % len(data) + 1 :]])


def payloads(keys: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    """Requests with these keys, those with a wrong byte, and others."""
    whole = keys.map(lambda values: json.dumps(values).encode())
    return mostly(whole, st.builds(damaged, whole, st.integers(0, 200), st.integers(0, 255)) | BYTES)


REQUESTS = mostly(
    st.one_of([st.tuples(st.just(what), payloads(keys)) for what, keys in KEYS.items()]), st.tuples(TEXTS, BYTES)
)
RESPONSE_TOPICS = mostly(
    st.sampled_from([None, None, "my/answers", "edged/box/dock/people", "edged/box/bridge/response/x"]), TEXTS
)


def transaction_of(payload: bytes) -> Any:
    """What has to come back; None if nothing has to."""
    try:
        return json.loads(payload)["transaction"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


# over MQTT


class Box(Asking):
    """A service on fakes behind the queue of requests that the broker delivers."""

    def __init__(self) -> None:
        super().__init__(WITH_PROMPTS)
        self.answered = threading.Event()
        self.accepted: list[Received] = []
        self.queue = RequestQueue(TOPICS, "broker", self._accept, self.answered.set)

    def responses(self, what: str, payload: bytes, **properties: Any) -> list[Message]:
        """All responses to one request, once there is one."""
        self.answered.clear()
        self.accepted.clear()
        self.queue.receive(Incoming(TOPICS.request(what), payload, False, time.monotonic(), **properties))
        assert self.answered.wait(WITHIN_S), "no response"
        return list(iter(self.queue.next, None))

    def _accept(self, received: Received) -> None:
        self.accepted.append(received)
        self.requests.receive(received)

    def _in_this_thread(self, received: Received) -> None:
        if isinstance(received.request, ReloadRequest):  # the daemon's own
            self.requests.finish(received, Response({"config_rev": "r1"}))
        else:
            super()._in_this_thread(received)


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    box = Box()
    yield box
    box.end()


def check_error(error: Any) -> None:
    assert isinstance(error, str)
    assert error != UNEXPECTED
    assert 0 < len(error) <= LONGEST_ERROR, len(error)
    assert error.isprintable(), "an error may be shown in a terminal"


@examples(120)
@example(("look", json.dumps({"camera": LONG}).encode()), None, None)
@example(("look", json.dumps({"camera": "dock", LONG: 1}).encode()), None, None)
@example((LONG[:900], b"{}"), None, None)
@example(("info", json.dumps({"transaction": "\ud800"}).encode()), None, None)
@given(REQUESTS, RESPONSE_TOPICS, st.none() | st.binary(max_size=8))
def test_a_request_over_mqtt_gets_exactly_one_response(
    box: Box, request: tuple[str, bytes], response_topic: str | None, correlation: bytes | None
):
    what, payload = request
    responses = box.responses(what, payload, response_topic=response_topic, correlation=correlation)
    assert len(responses) == 1
    response = responses[0]
    assert (response.retain, response.correlation) == (False, correlation)
    own = TOPICS.response(what.rpartition("/")[2])
    refused = response_topic is None or why_refused(response_topic, TOPICS)
    assert response.topic == (own if refused else response_topic)
    assert len(response.payload) <= LARGEST_ECHO
    for received in box.accepted:
        check_deadline(received.request)
    body = json.loads(response.payload)
    event(f"{body['status']} {what if what in READERS else ''}")
    if body["transaction"] is not None:
        assert body["transaction"] == transaction_of(payload)
    if body["status"] == "error":
        check_error(body["error"])
    else:
        assert "data" in body
        assert body["transaction"] == transaction_of(payload)


def check_deadline(request: Request) -> None:
    """A request cannot ask for more time than the contract gives, nor for none."""
    if isinstance(request, AskRequest) and request.deadline_s is not None:
        assert DEADLINE_S[0] <= request.deadline_s <= DEADLINE_S[1]


# over the page


@pytest.fixture(scope="module")
def page() -> Iterator[FakeBox]:
    with FakeBox(WITH_PROMPTS) as page:
        page.responses = [Response(an_answer("a"))]
        yield page


@pytest.fixture(scope="module")
def browser_client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=WITHIN_S) as client:
        yield client


REFUSALS = {400, 404, 413}


@examples(70)
@given(mostly(payloads(KEYS["ask"]), payloads(KEYS["look"])))
def test_a_prompt_of_the_page_is_asked_within_the_limits_or_refused_with_a_sentence(
    page: FakeBox, browser_client: httpx.Client, payload: bytes
):
    page.received.clear()
    headers = {"Content-Type": "application/json"}
    response = browser_client.post(f"{page.url}/api/try", content=payload, headers=headers)
    event(str(response.status_code))
    if response.status_code != 200:
        assert response.status_code in REFUSALS
        assert page.received == []
        sentence, end = response.text[:-1], response.text[-1:]
        assert end == "\n"
        check_error(sentence)
        return
    answer, asked = response.json(), [each.request for each in page.received]
    assert answer["status"] == "ok"
    assert answer["yaml"] is None or isinstance(answer["yaml"], str)
    assert len(asked) == 1
    assert isinstance(asked[0], AskRequest)
    assert asked[0].ad_hoc is not None
    assert asked[0].ad_hoc.prompt.strip()
    assert len(asked[0].ad_hoc.prompt) <= MAX_TEXT
    assert asked[0].deadline_s is not None
    assert asked[0].deadline_s <= trying.LIMIT_S
    check_deadline(asked[0])
