"""The payload of a request becomes a request, or a sentence that says what is wrong with it."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from edged.config.requests import LARGEST_REQUEST, READERS, Parsed, parse
from edged.core.json_object import MOST_LEVELS
from edged.core.requests import ActiveRequest, AdHoc, AskRequest, InfoRequest, LookRequest, ReloadRequest, Request


@pytest.mark.parametrize(
    ("what", "values", "request_"),
    [
        ("ask", {"camera": "dock", "question": "people"}, AskRequest("dock", "people")),
        ("ask", {"camera": "dock", "question": "people", "deadline": 9}, AskRequest("dock", "people", deadline_s=9.0)),
        ("ask", {"camera": "dock", "prompt": "Open?"}, AskRequest("dock", ad_hoc=AdHoc("Open?"))),
        (
            "ask",
            {"camera": "d", "prompt": "n?", "answer": "integer", "region": "g", "range": [0, 4], "max_new_tokens": 5},
            AskRequest("d", ad_hoc=AdHoc("n?", "integer", "g", [0, 4], 5)),
        ),
        ("ask", {"camera": "dock", "question": "people", "prompt": None, "range": None}, AskRequest("dock", "people")),
        ("look", {"camera": "dock"}, LookRequest("dock")),
        ("active", {"camera": "dock", "active": False}, ActiveRequest("dock", False)),
        ("active", {"camera": "d", "active": True, "question": "q"}, ActiveRequest("d", True, "q")),
        ("reload", {}, ReloadRequest()),
        ("info", {}, InfoRequest()),
    ],
)
def test_each_request_is_read(what: str, values: dict[str, Any], request_: Request):
    assert parse(what, json.dumps(values).encode()) == Parsed(request_, None)


@pytest.mark.parametrize(
    ("what", "payload", "error"),
    [
        ("ask", b"", "the payload is empty; a request is a JSON object, {} if it has no keys"),
        ("ask", b"PRESS", "the payload is not valid JSON (line 1, column 1)"),
        ("ask", b"{'camera': 'dock'}", "the payload is not valid JSON (line 1, column 2)"),
        ("ask", b"[1]", "the payload is a list; a request is a JSON object"),
        ("ask", b'"dock"', 'the payload is "dock"; a request is a JSON object'),
        ("ask", b"null", "the payload is null; a request is a JSON object"),
        ("ask", b"\xff\xfe{}", "the payload is not valid UTF-8"),
        ("ask", b'{"camera": NaN}', 'the payload has "NaN", which is not a finite number'),
        ("ask", b'{"camera": -1e999}', 'the payload has "-1e999", which is not a finite number'),
        ("ask", b'{"camera": 1' + b"0" * 5000 + b"}", "the payload has a number with too many digits"),
        ("ask", b" " * LARGEST_REQUEST + b"{}", "the payload has more than 64 kB"),
        ("ask", b"[" * LARGEST_REQUEST, f"the payload is nested more than {MOST_LEVELS} levels deep"),
        (
            "ask",
            b'{"a":' * MOST_LEVELS + b"1" + b"}" * MOST_LEVELS,
            f"the payload is nested more than {MOST_LEVELS} levels deep",
        ),
        ("ask", b"{}", "camera is missing; it must be the name of a camera"),
        ("ask", b'{"camera": null}', "camera has no value; it must be the name of a camera"),
        ("ask", b'{"camera": 5}', "camera must be the name of a camera, not 5"),
        (
            "ask",
            b'{"camera": "dock"}',
            "ask needs a question (the name of one) or a prompt (its text), and not both",
        ),
        (
            "ask",
            b'{"camera": "dock", "question": "q", "prompt": "x"}',
            "ask needs a question (the name of one) or a prompt (its text), and not both",
        ),
        (
            "ask",
            b'{"camera": "dock", "question": "q", "range": [0, 1]}',
            "range is allowed with a prompt only; a question of the config has its own",
        ),
        ("ask", b'{"camera": "dock", "prompt": ["x"]}', "prompt must be text, not a list"),
        (
            "ask",
            b'{"camera": "dock", "prompt": "x", "max_new_tokens": 1.5}',
            "max_new_tokens must be a whole number, not 1.5",
        ),
        (
            "ask",
            b'{"camera": "dock", "prompt": "x", "max_new_tokens": true}',
            "max_new_tokens must be a whole number, not true",
        ),
        (
            "ask",
            b'{"camera": "dock", "question": "q", "deadline": "30s"}',
            'deadline must be a number of seconds from 0.1 to 3600, not "30s"',
        ),
        (
            "ask",
            b'{"camera": "dock", "question": "q", "deadline": 0}',
            "deadline must be a number of seconds from 0.1 to 3600, not 0",
        ),
        (
            "ask",
            b'{"camera": "dock", "question": "q", "deadline": true}',
            "deadline must be a number of seconds from 0.1 to 3600, not true",
        ),
        ("ask", b'{"camra": "dock"}', 'unknown key "camra". Did you mean "camera"?'),
        ("look", b'{"camera": "dock", "x": 1}', 'unknown key "x"; look has camera, transaction'),
        ("look", b'{"": 1}', 'unknown key ""; look has camera, transaction'),
        ("reload", b'{"x": 1}', 'unknown key "x"; reload has no keys except transaction'),
        ("active", b'{"camera": "dock"}', "active is missing; it must be true or false"),
        ("active", b'{"camera": "dock", "active": "on"}', 'active must be true or false, not "on"'),
        ("active", b'{"camera": "dock", "active": 1}', "active must be true or false, not 1"),
        ("aks", b"{}", 'unknown request "aks". Did you mean "ask"?'),
        ("", b"not JSON", 'unknown request ""; there are ask, look, active, reload, info'),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(what: str, payload: bytes, error: str):
    assert parse(what, payload) == Parsed(None, error)


@pytest.mark.parametrize("transaction", [7, 1.5, "x", None, True, [1, [2]], {"a": {"b": None}}, "\ud800", 10**400])
def test_a_transaction_comes_back_as_it_came_also_with_an_error(transaction: Any):
    for what, values, is_request in (("info", {}, True), ("info", {"x": 1}, False), ("no such", {}, False)):
        parsed = parse(what, json.dumps({**values, "transaction": transaction}).encode())
        assert parsed.transaction == transaction
        assert (parsed.request is not None) == is_request


def test_an_error_repeats_little_of_what_arrived():
    for payload in (
        {"camera": 10**4000},
        {"camera": "x" * 9999},
        {"x" * 9999: 1},
        {"camera": "dock", "question": "q", "deadline": 10**4000},
    ):
        error = parse("ask", json.dumps(payload).encode()).error
        assert error is not None
        assert len(error) < 200


PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"camera",
    b"question",
    b"1e9",
    b"NaN",
    b"\\u",
    b"\\",
    b"null",
    b"\xff",
]


def random_payload(chance: random.Random) -> bytes:
    """Bytes, or pieces of JSON, or a valid request with one place changed."""
    kind = chance.randrange(3)
    if kind == 0:
        return chance.randbytes(chance.randrange(80))
    if kind == 1:
        return b"".join(chance.choices(PIECES, k=chance.randrange(30)))
    whole = bytearray(b'{"camera":"dock","question":"people","deadline":5,"active":true,"transaction":[1]}')
    whole[chance.randrange(len(whole))] = chance.randrange(256)
    return bytes(whole)


def test_ten_thousand_random_payloads_are_read_or_refused():
    chance = random.Random(19)
    begun = time.monotonic()
    for _ in range(10_000):
        parsed = parse(chance.choice([*READERS, "x", "\u0000", "a" * 99]), random_payload(chance))
        assert (parsed.request is None) != (parsed.error is None)
        json.dumps(parsed.transaction, allow_nan=False)
    assert time.monotonic() - begun < 20


def test_the_largest_request_is_read_in_no_time():
    payloads = [
        b"[" + b"1," * 32000 + b"1]",
        json.dumps({f"{number:05}": 1 for number in range(5000)}).encode(),
        json.dumps({"camera": "dock", "prompt": "x", "answer": [str(number) for number in range(7000)]}).encode(),
    ]
    for payload in payloads:
        assert len(payload) <= LARGEST_REQUEST
        begun = time.process_time()
        parse("ask", payload)
        assert time.process_time() - begun < 0.5
