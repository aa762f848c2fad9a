"""What `edged watch` and `edged demo` show: the board in a terminal, and the lines of `--plain`."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pty
import re
import threading
import time
from typing import Any

import pytest
from rich.console import Console
from support.broker import Mosquitto, Subscriber, an_answer, until
from support.clock import Clock

from edged.core.payloads import answer_payload
from edged.core.specs import BrokerSpec
from edged.core.types import CameraState, utc_now
from edged.mqtt.follower import FollowedMessage, Follower
from edged.mqtt.publisher import MqttPublisher
from edged.tools.board import Board, NewestAnswer
from edged.tools.view import looks_per_min, picture, plain_line, short_age
from edged.tools.watch import follow, watch


def payload(name: str, **changed: Any) -> dict[str, Any]:
    return answer_payload(an_answer(name), "box", False) | changed


def hear(
    board: Board, topic: tuple[str, ...], payload: dict[str, Any] | None, retained: bool = False
) -> NewestAnswer | None:
    return board.hear(FollowedMessage("box", topic, payload, retained))


def drawn(board: Board, width: int, height: int = 30) -> str:
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    console.print(picture(board, console, "connected"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_answers_are_counted_once_and_judged():
    board = Board("t", judge=lambda answer: "right" if answer["value"] == 3 else "wrong")
    for name, changed in (("a", {}), ("a", {}), ("b", {"value": 4}), ("c", {"status": "unsure", "value": None})):
        hear(board, ("dock", "people"), payload(name, **changed))
    assert board.summary() == "3 answers: 1 right, 1 wrong, 1 refused (50.0 % right)"


@pytest.mark.slow
def test_a_board_does_not_grow_with_the_number_of_answers():
    board = Board("t")
    old = payload("old", question="rare")
    hear(board, ("gate", "rare"), old)
    sizes = []
    message = payload("a")
    for number in range(100_000):
        hear(board, ("dock", "people"), message | {"id": f"id-{number}", "frame_ts": number})
        if number in (20_000, 99_999):
            sizes.append(size(board))
    assert sizes[1] == sizes[0]
    assert board.counts["answers"] == 100_001
    # copies are still known: of recent answers, and of the newest answer of a question, however old
    for name, question in (("old", "rare"), ("id-99999", "people"), ("id-99500", "people")):
        camera = "gate" if question == "rare" else "dock"
        assert hear(board, (camera, question), message | {"id": name}) is None
    assert board.counts["answers"] == 100_001
    assert board.looks_per_min() > 0


def size(board: Board) -> int:
    """The number of items in all its collections."""
    values = (getattr(board, field.name) for field in dataclasses.fields(board))
    return sum(len(value) for value in values if hasattr(value, "__len__"))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_board_fits_its_terminal(width: int):
    board = Board("edged watch")
    hear(board, ("dock", "availability"), {"state": "offline", "reason": "connection refused by 10.0.0.9:554"})
    hear(board, ("dock", "people"), payload("a"))
    hear(board, ("dock", "scene"), payload("b", question="scene", value="A very long story. " * 20))
    hear(board, ("dock", "gate"), payload("c", status="stale_frame", value=None, reason="it is old"))
    text = drawn(board, width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "people" in text
    assert "stale_frame: it" in text
    assert ("0.87" in text) == (width >= 64)


def test_a_cleared_topic_leaves_the_board():
    board = Board("t")
    hear(board, ("dock", "availability"), {"state": "online", "reason": None})
    hear(board, ("dock", "people"), payload("a"))
    hear(board, ("dock", "people"), None)
    assert board.cameras["box/dock"].answers == {}
    hear(board, ("dock", "availability"), None)
    assert board.cameras == {}


def test_a_plain_line_ends_with_its_verdict_or_status():
    board = Board("t", judge=lambda _: "right")
    right = hear(board, ("dock", "people"), payload("a"))
    refused = hear(board, ("dock", "people"), payload("b", status="camera_down", value=None, confidence=None))
    stamp = time.strftime("%H:%M:%S", time.localtime(1785312001.23))
    assert right is not None
    assert refused is not None
    assert plain_line(right) == f"{stamp} dock people 3 0.870 0.31s right"
    assert plain_line(refused) == f"{stamp} dock people camera_down - 0.31s camera_down"


def test_messages_that_are_not_json_objects_are_ignored(mosquitto: Mosquitto, subscriber: Subscriber):
    follower = Follower(BrokerSpec(port=mosquitto.port), "box")
    follower.start()
    until(lambda: follower.connected)
    for text in (b"not json", b"[1]", b"\xff", b"[" * 100_000, b'{"status": "ok"}'):
        subscriber._client.publish("edged/box/dock/people", text, 1)
    message = follower.next(15.0)
    assert message
    assert (message.node, message.topic, message.payload) == ("box", ("dock", "people"), {"status": "ok"})
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
def test_payloads_that_are_not_answers_are_ignored(key: str, value: Any):
    board = Board("t")
    assert hear(board, ("dock", "people"), payload("a", **{key: value})) is None
    answer = hear(board, ("dock", "people"), payload("b"))
    assert answer
    assert "3" in plain_line(answer)
    assert "1 answer," in drawn(board, 80)


def test_control_characters_of_a_message_do_not_reach_the_terminal():
    evil = "\x1b]0;title\x07\x9b31m\r"
    board = Board("t")
    hear(board, (f"dock{evil}", "availability"), {"state": "offline", "reason": evil})
    lines = []
    for number, changed in enumerate(({"value": evil}, {"status": "camera_down", "reason": evil})):
        names = {"camera": evil, "question": evil}
        answer = hear(board, (f"dock{evil}", f"q{number}{evil}"), payload(f"{number}", **names, **changed))
        assert answer
        lines.append(plain_line(answer))
    for text in [drawn(board, 80), drawn(board, 40), *lines]:
        assert not [char for char in text if not char.isprintable() and char != "\n"]


@pytest.mark.slow
def test_watch_reconnects_after_a_broker_restart(mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]):
    stop = threading.Event()
    spec = BrokerSpec(port=mosquitto.port)
    watching = threading.Thread(target=watch, args=(spec, "box", True, stop))
    watching.start()
    publisher = MqttPublisher(BrokerSpec(port=mosquitto.port, client_id="edged-box"), "box")
    publisher.start()
    publisher.online()
    printed = ""

    def lines(wanted: str) -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return wanted in printed

    publisher.camera("dock", CameraState(True, None, utc_now()))
    publisher.answers([an_answer("a")], [], None)
    until(lambda: lines("dock people 3 0.870 0.31s ok"))
    mosquitto.kill()
    printed = ""
    mosquitto.start()
    publisher.answers([an_answer("b", question="gate")], [], None)
    until(lambda: lines("dock gate 3"), 40)
    stop.set()
    watching.join(10)
    assert not watching.is_alive()
    publisher.close()


def row(board: Board, question: str, width: int = 80) -> str:
    return next(line for line in drawn(board, width).splitlines() if question in line)


@pytest.mark.parametrize(("answered_s_ago", "shown"), [(3, "3 s"), (125, "2 min"), (3700, "1 h"), (200_000, "2 d")])
def test_a_retained_answer_shows_how_old_it_is_now(answered_s_ago: float, shown: str):
    board = Board("t")
    hear(board, ("dock", "people"), payload("a", answered_ts=time.time() - answered_s_ago), retained=True)
    assert f" {shown} " in row(board, "people")


def test_the_age_of_an_answer_grows():
    clock = Clock()
    board = Board("t", clock=clock)
    hear(board, ("dock", "people"), payload("a", answered_ts=time.time()))
    assert " 0 s " in row(board, "people")
    clock.now += 130
    assert " 2 min " in row(board, "people")


@pytest.mark.parametrize("clock_ahead_s", [7200.0, -7200.0])
def test_a_box_with_another_clock_shows_true_ages_once_it_has_answered(clock_ahead_s: float):
    clock = Clock()
    board = Board("t", clock=clock)
    box_now = time.time() + clock_ahead_s
    scene = payload("a", question="scene", answered_ts=box_now - 630)
    hear(board, ("dock", "scene"), scene, retained=True)
    hear(board, ("dock", "people"), payload("b", answered_ts=box_now - 60), retained=True)
    assert "-" not in row(board, "scene")
    hear(board, ("dock", "people"), payload("c", answered_ts=box_now))
    assert " 0 s " in row(board, "people")
    assert " 10 min " in row(board, "scene")


def test_an_answer_that_waited_out_an_outage_is_as_old_as_its_stamp():
    board = Board("t")
    hear(board, ("dock", "people"), payload("a", late=True, answered_ts=time.time() - 300))
    assert " 5 min " in row(board, "people")


def test_a_stopped_edged_makes_no_looks_and_says_since_when():
    clock = Clock()
    board = Board("t", clock=clock)
    hear(board, ("bridge", "state"), {"state": "online"})
    for number in range(5):
        clock.now += 1
        hear(board, ("dock", "people"), payload(f"{number}", frame_ts=number))
    assert board.looks_per_min() > 0
    hear(board, ("bridge", "state"), {"state": "offline"})
    today = time.strftime("%H:%M")
    text = drawn(board, 80)
    assert "0 looks/min" in text
    assert f"box/dock: edged offline since {today}" in text


def info(*problems: str) -> dict[str, Any]:
    return {"version": "0.1.0", "config_problems": list(problems)}


@pytest.mark.parametrize("size", [(80, 30), (40, 8)])
def test_a_config_that_was_not_reloaded_is_shown_until_it_is(size: tuple[int, int]):
    board = Board("t")
    hear(board, ("bridge", "state"), {"state": "online"})
    hear(board, ("dock", "people"), payload("a"))
    hear(board, ("bridge", "info"), info("edged.yaml:9: unknown key", "another"))
    assert "box: config not reloaded: edged.yaml" in drawn(board, *size)
    if size == (80, 30):
        assert "box: config not reloaded: edged.yaml:9: unknown key (and 1 more)" in drawn(board, *size)
    assert len(drawn(board, *size).splitlines()) <= size[1]
    hear(board, ("bridge", "info"), info())
    assert "config not reloaded" not in drawn(board, *size)


def test_problems_of_a_stopped_edged_and_payloads_of_another_form_are_not_shown():
    board = Board("t")
    hear(board, ("dock", "people"), payload("a"))
    for wrong in (None, {}, {"config_problems": 3}, {"config_problems": [3]}, {"config_problems": "text"}):
        hear(board, ("bridge", "info"), wrong)
    assert "config" not in drawn(board, 80)
    hear(board, ("bridge", "info"), info("edged.yaml:9: \x1b[2J unknown key"))
    assert "edged.yaml:9: ·[2J unknown key" in drawn(board, 80)
    hear(board, ("bridge", "state"), {"state": "offline"})
    assert "config not reloaded" not in drawn(board, 80)


class Script:
    """The messages of a list, then none."""

    connected, reason = True, ""

    def __init__(self, messages: list[FollowedMessage]) -> None:
        self.messages = messages

    def next(self, timeout_s: float) -> FollowedMessage | None:
        return self.messages.pop(0) if self.messages else None


def test_lines_say_when_edged_goes_and_when_its_config_is_wrong(capsys: pytest.CaptureFixture[str]):
    state, about = ("bridge", "state"), ("bridge", "info")
    script = Script(
        [
            FollowedMessage("box", state, {"state": "online"}, False),
            FollowedMessage("box", about, info(), False),
            FollowedMessage("box", about, info("edged.yaml:9: unknown key"), False),
            FollowedMessage("box", about, info("edged.yaml:9: unknown key"), False),
            FollowedMessage("box", about, info(), False),
            FollowedMessage("box", state, {"state": "offline"}, False),
            FollowedMessage("barn", state, {"state": "offline"}, False),
        ]
    )
    follow(Board("t"), script, True, lambda: not script.messages)
    assert capsys.readouterr().err.splitlines() == [
        "connected",
        "box: edged online",
        "box: config not reloaded: edged.yaml:9: unknown key",
        "box: config reloaded",
        "box: edged offline",
        "barn: edged offline",
    ]


def test_retained_answers_of_a_connection_are_no_looks():
    board = Board("t")
    for _ in range(2):
        board.connection(True)
        for number in range(5):
            answer = payload(f"{number}", frame_ts=number, answered_ts=time.time() - 10)
            hear(board, (f"dock-{number}", "people"), answer, retained=True)
        board.connection(False)
    assert board.looks_per_min() == 0
    assert board.counts["answers"] == 5


def test_the_first_answer_on_a_topic_is_new_unless_the_broker_says_that_it_is_retained(
    mosquitto: Mosquitto, subscriber: Subscriber
):
    an_hour_ago = time.time() - 3600  # of the answer, or of a box with another clock
    board, follower = Board("t"), Follower(BrokerSpec(port=mosquitto.port), "box")

    def publish(camera: str) -> None:
        text = json.dumps(payload(camera, camera=camera, answered_ts=an_hour_ago))
        subscriber._client.publish(f"edged/box/{camera}/people", text, qos=1, retain=True)
        subscriber.catch_up()

    def age(camera: str) -> str:
        """Of its next answer, as the broker delivers it."""
        message = follower.next(15.0)
        assert message
        answer = board.hear(message)
        assert answer
        assert answer.payload["camera"] == camera
        return short_age(board.age_s("box", answer))

    publish("gate")
    follower.start()
    assert age("gate") == "1 h"
    assert board.looks_per_min() == 0
    publish("dock")
    assert age("dock") == "0 s"
    assert board.looks_per_min() > 0
    follower.close()


def test_ages_go_on_while_this_machine_is_suspended():
    assert Board("t").clock() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=1.0)


def looks(board: Board, clock: Clock, every_s: float, count: int, cameras: int = 1) -> None:
    """Let each camera answer two questions about a frame, `count` times."""
    for _ in range(count):
        clock.now += every_s
        for camera in range(cameras):
            for question in ("people", "gate"):
                name = f"{clock.now}{camera}{question}"
                hear(board, (f"camera-{camera}", question), payload(name, frame_ts=clock.now))


@pytest.mark.parametrize(
    ("every_s", "cameras", "shown"),
    [(0.5, 1, "120"), (2.0, 1, "30"), (10.0, 2, "12"), (60.2, 1, "1.0"), (60.2, 3, "3.0"), (300.0, 1, "0.2")],
)
@pytest.mark.parametrize("since_the_last", [0.0, 0.5, 0.99])
def test_the_rate_does_not_depend_on_when_one_looks(every_s: float, cameras: int, shown: str, since_the_last: float):
    clock = Clock()
    board = Board("t", clock=clock)
    board.connection(True)
    looks(board, clock, every_s, 30, cameras)
    clock.now += every_s * since_the_last
    per_minute = board.looks_per_min()
    assert per_minute == pytest.approx(float(shown), rel=0.12)
    assert looks_per_min(float(shown)) == f"{shown} looks/min"


def test_a_rate_counts_from_the_beginning_of_the_connection():
    clock = Clock()
    board = Board("t", clock=clock)
    board.connection(True)
    looks(board, clock, 2.0, 10)
    assert board.looks_per_min() == 30
    board.connection(False)
    board.connection(True)
    assert board.looks_per_min() == 0
    looks(board, clock, 0.1, 1)
    assert board.looks_per_min() == 6  # the first look alone does not make 600


def test_looks_of_an_unchanging_picture_count():
    clock = Clock()
    board = Board("t", clock=clock)
    board.connection(True)
    for number in range(30):
        clock.now += 2
        hear(board, ("dock", "people"), payload(f"{number}", frame_ts=number, frame_sha256="the same"))
    assert board.looks_per_min() == 30


def test_looks_that_have_stopped_fade_to_zero():
    clock = Clock()
    board = Board("t", clock=clock)
    board.connection(True)
    looks(board, clock, 2.0, 100)
    rates = []
    for _ in range(21):
        rates.append(board.looks_per_min())
        clock.now += 30
    assert rates == sorted(rates, reverse=True)
    assert rates[2] < 15  # a minute after the last look
    assert rates[-1] == 0.0
    assert looks_per_min(rates[-1]) == "0 looks/min"


def test_a_retained_offline_says_when_the_last_answer_came():
    board = Board("t")
    hear(board, ("bridge", "state"), {"state": "offline"}, retained=True)
    hear(board, ("dock", "people"), payload("a", answered_ts=time.time() - 7300), retained=True)
    assert "box/dock: edged offline, last answer 2 h ago" in drawn(board, 80)


def test_a_camera_that_is_offline_says_since_when_and_why():
    since = time.time() - 86_400 * 3
    board = Board("t")
    state = {"state": "offline", "reason": "no packet for 5.0 s", "since": since}
    hear(board, ("dock", "availability"), state)
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(since))
    assert f"box/dock: offline since {day}: no packet for 5.0 s" in drawn(board, 80)


@pytest.mark.parametrize("cut_off", ["edged", "broker"])
def test_rows_that_cannot_be_current_are_dimmed(cut_off: str):
    board = Board("t")
    hear(board, ("dock", "people"), payload("a"))
    assert not dimmed(board, "people")
    if cut_off == "edged":
        hear(board, ("bridge", "state"), {"state": "offline"})
    else:
        board.connection(False)
    assert dimmed(board, "people")


def dimmed(board: Board, text: str) -> bool:
    """True if the row of this text is drawn in the terminal's dim style (SGR 2)."""
    console = Console(width=80, height=25, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(picture(board, console, "connected"))
    assert isinstance(console.file, io.StringIO)
    line = next(line for line in console.file.getvalue().splitlines() if text in line)
    return "\x1b[2m" in line.split(text)[0] + text


@pytest.mark.parametrize("height", [5, 10, 15])
@pytest.mark.parametrize("width", [20, 40, 80])
def test_rows_that_do_not_fit_are_counted(width: int, height: int):
    board = Board("edged watch: edged/dock-box on mqtt://broker.lan:1883")
    for camera in ("dock", "gate"):
        hear(board, (camera, "availability"), {"state": "online", "reason": None, "since": 0})
        for number in range(8):
            answer = payload(f"{camera}{number}", question=f"q{number}", value="A very long story. " * 50)
            hear(board, (camera, f"q{number}"), answer)
    lines = drawn(board, width, height).splitlines()
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    more = re.search(r"… (\d+) more", "\n".join(lines))
    assert more
    assert int(more[1]) + sum(bool(re.match(r"\W*q\d ", line)) for line in lines) == 16
    assert sum("╭" in line for line in lines) == sum("╰" in line for line in lines)
    assert "looks/min" in "\n".join(lines).replace("\n", "")


def test_a_long_text_takes_three_lines_where_there_is_room():
    board = Board("t")
    hear(board, ("dock", "scene"), payload("a", question="scene", value="A very long story. " * 50))
    hear(board, ("dock", "people"), payload("b"))
    text = drawn(board, 80, 40)
    assert 2 <= text.count("story") <= 8
    assert "…" in text
    assert "people" in text


# a terminal: `follow` writes what a person sees


class NoMessages:
    """A follower that is connected and receives nothing."""

    connected = True
    reason = ""

    def next(self, timeout_s: float) -> None:
        return None


def on_terminal(monkeypatch: pytest.MonkeyPatch, board: Board, **variables: str) -> str:
    """What three rounds of `follow` write to a terminal with these environment variables."""
    for name in ("NO_COLOR", "COLORTERM", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm-256color"} | variables).items():
        monkeypatch.setenv(name, value)
    reader, writer = pty.openpty()
    os.set_blocking(reader, False)
    rounds = iter([False, False, False, True])
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        follow(board, NoMessages(), False, lambda: next(rounds))
        terminal.flush()
        monkeypatch.undo()
        try:
            return os.read(reader, 100_000).decode()
        except BlockingIOError:  # nothing was written
            return ""
        finally:
            os.close(reader)


def test_a_terminal_without_cursor_control_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    board = Board("edged watch")
    text = on_terminal(monkeypatch, board, TERM="dumb")
    assert text == ""
    assert "TERM=dumb has no cursor control; printing a line for each answer (--plain)" in capsys.readouterr().err


@pytest.mark.slow
def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch):
    board = Board("edged watch")
    hear(board, ("dock", "people"), payload("a", status="unsure", value=None))
    colour = re.compile(r"\x1b\[(\d+;)*(3[0-7]|9[0-7]|38;[\d;]+)m")
    assert colour.search(on_terminal(monkeypatch, board))
    assert not colour.search(on_terminal(monkeypatch, board, NO_COLOR="1"))


def test_a_board_without_answers_says_so():
    board = Board("t")
    assert drawn(board, 80).splitlines()[2] == "no answers yet"
    hear(board, ("dock", "availability"), {"state": "online"})
    assert "no answers yet" not in drawn(board, 80)


def test_a_row_shows_confidence_and_verdict_where_there_are_any():
    board = Board("t", judge=lambda answer: "right" if answer["value"] == 3 else None)
    hear(board, ("dock", "people"), payload("a", confidence=0.5))
    hear(board, ("dock", "notes"), payload("b", question="notes", value=4, confidence=None))
    assert "████░░░░ 0.50" in row(board, "people")
    assert "right" in row(board, "people")
    assert not {"█", "░"} & set(row(board, "notes"))
    assert "2 answers: 1 right, 0 wrong, 0 refused, 1 not judged (100.0 % right)" in drawn(board, 100)


def test_an_answer_without_an_id_is_new_each_time():
    board = Board("t")
    nameless = payload("a")
    del nameless["id"]
    for _ in range(2):
        hear(board, ("dock", "people"), nameless)
    assert board.counts["answers"] == 2
