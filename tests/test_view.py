"""The board that `edged watch` and `edged demo` draw, and the lines of `--plain`."""

from __future__ import annotations

import dataclasses
import io
import threading
import time
from typing import Any

import pytest
from rich.console import Console
from support.broker import Mosquitto, Subscriber, an_answer, until

from edged.core.specs import BrokerSpec
from edged.core.types import CameraState, utc_now
from edged.mqtt.follower import Follower
from edged.mqtt.publisher import MqttPublisher
from edged.mqtt.topics import answer_payload
from edged.tools.view import Board, plain_line
from edged.tools.watch import watch


def payload(name: str, **changed: Any) -> dict[str, Any]:
    return answer_payload(an_answer(name), "box", False) | changed


def drawn(board: Board, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(board.picture(width, "connected"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_answers_are_counted_once_and_judged():
    board = Board("t", judge=lambda found: "right" if found["value"] == 3 else "wrong")
    for name, changed in (("a", {}), ("a", {}), ("b", {"value": 4}), ("c", {"status": "unsure", "value": None})):
        board.hear("box", ("dock", "people"), payload(name, **changed))
    assert board.summary() == "3 answers: 1 right, 1 wrong, 1 refused (50.0 % right)"


def test_a_board_that_heard_100000_answers_is_no_larger_than_after_the_first_thousands():
    board = Board("t")
    old = payload("old", question="rare")
    board.hear("box", ("gate", "rare"), old)
    sizes = []
    message = payload("a")
    for number in range(100_000):
        board.hear("box", ("dock", "people"), message | {"id": f"id-{number}", "frame_sha256": f"sha-{number}"})
        if number in (20_000, 99_999):
            sizes.append(size(board))
    assert sizes[1] == sizes[0]
    assert board.counts["answers"] == 100_001
    # copies are still known: of the newest answer of a question, however old, and of recent ones
    for name, question in (("old", "rare"), ("id-99999", "people"), ("id-99500", "people")):
        camera = "gate" if question == "rare" else "dock"
        assert board.hear("box", (camera, question), message | {"id": name}) is None
    assert board.counts["answers"] == 100_001
    assert board.looks_per_s() > 0


def size(board: Board) -> int:
    """How many things it holds."""
    held = (getattr(board, each.name) for each in dataclasses.fields(board))
    return sum(len(each) for each in held if hasattr(each, "__len__"))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_board_fits_its_terminal(width: int):
    board = Board("edged watch")
    board.hear("box", ("dock", "availability"), {"state": "offline", "reason": "connection refused by 10.0.0.9:554"})
    board.hear("box", ("dock", "people"), payload("a"))
    board.hear("box", ("dock", "scene"), payload("b", question="scene", value="A very long story. " * 20))
    board.hear("box", ("dock", "gate"), payload("c", status="stale_frame", value=None, reason="it is old"))
    text = drawn(board, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "people" in text
    assert "stale_frame: it" in text
    assert ("0.87" in text) == (width >= 64)


def test_a_cleared_topic_leaves_the_board():
    board = Board("t")
    board.hear("box", ("dock", "availability"), {"state": "online", "reason": None})
    board.hear("box", ("dock", "people"), payload("a"))
    board.hear("box", ("dock", "people"), None)
    assert board.cameras["box/dock"].answers == {}
    board.hear("box", ("dock", "availability"), None)
    assert board.cameras == {}


def test_a_plain_line_ends_with_its_verdict_or_status():
    board = Board("t", judge=lambda _: "right")
    right = board.hear("box", ("dock", "people"), payload("a"))
    refused = board.hear("box", ("dock", "people"), payload("b", status="camera_down", value=None, confidence=None))
    stamp = time.strftime("%H:%M:%S", time.localtime(1785312001.23))
    assert right is not None
    assert refused is not None
    assert plain_line(right) == f"{stamp} dock people 3 0.870 0.31s right"
    assert plain_line(refused) == f"{stamp} dock people camera_down - 0.31s camera_down"


def test_what_others_publish_there_is_passed_over(mosquitto: Mosquitto, subscriber: Subscriber):
    follower = Follower(BrokerSpec(port=mosquitto.port), "box")
    follower.start()
    until(lambda: follower.connected)
    for text in (b"not json", b"[1]", b"\xff", b"[" * 100_000, b'{"status": "ok"}'):
        subscriber._client.publish("edged/box/dock/people", text, 1)
    found = follower.next(15.0)
    assert found
    assert (found.node, found.topic, found.payload) == ("box", ("dock", "people"), {"status": "ok"})
    follower.close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", []),
        ("status", None),
        ("confidence", "high"),
        ("confidence", float("nan")),
        ("confidence", 1e9),
        ("confidence", True),
        ("frame_age_s", "old"),
        ("answered_ts", "now"),
        ("answered_ts", 1e300),
        ("camera", ["dock"]),
        ("question", 3),
        ("reason", {"why": 1}),
    ],
)
def test_what_is_no_answer_is_passed_over(key: str, value: Any):
    board = Board("t")
    assert board.hear("box", ("dock", "people"), payload("a", **{key: value})) is None
    answer = board.hear("box", ("dock", "people"), payload("b"))
    assert answer
    assert "3" in plain_line(answer)
    assert "1 answer," in drawn(board, 80)


def test_control_characters_of_a_message_do_not_reach_the_terminal():
    evil = "\x1b]0;title\x07\x9b31m\r"
    board = Board("t")
    board.hear("box", (f"dock{evil}", "availability"), {"state": "offline", "reason": evil})
    lines = []
    for number, changed in enumerate(({"value": evil}, {"status": "camera_down", "reason": evil})):
        names = {"camera": evil, "question": evil}
        answer = board.hear("box", (f"dock{evil}", f"q{number}{evil}"), payload(f"{number}", **names, **changed))
        assert answer
        lines.append(plain_line(answer))
    for text in [drawn(board, 80), drawn(board, 40), *lines]:
        assert not [char for char in text if not char.isprintable() and char != "\n"]


def test_watch_comes_back_after_the_broker_was_away(mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]):
    stop = threading.Event()
    spec = BrokerSpec(port=mosquitto.port)
    watching = threading.Thread(target=watch, args=(spec, "box", True, stop))
    watching.start()
    publisher = MqttPublisher(BrokerSpec(port=mosquitto.port, client_id="edged-box"), "box")
    publisher.start()
    publisher.online()
    heard = ""

    def lines(wanted: str) -> bool:
        nonlocal heard
        heard += capsys.readouterr().out
        return wanted in heard

    publisher.camera("dock", CameraState(True, None, utc_now()))
    publisher.answers([an_answer("a")], [], None)
    until(lambda: lines("dock people 3 0.870 0.31s ok"))
    mosquitto.kill()
    heard = ""
    mosquitto.start()
    publisher.answers([an_answer("b", question="gate")], [], None)
    until(lambda: lines("dock gate 3"), 40)
    stop.set()
    watching.join(10)
    assert not watching.is_alive()
    publisher.close()
