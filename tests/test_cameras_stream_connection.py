"""Faults of streams that cannot be seen in single pictures."""

from __future__ import annotations

import threading
import time

import pytest
from support.broker import until
from support.cameras import Watched, spec
from support.clips import clip
from support.looking import first, looks, wrong
from support.rtsp_script import Script
from support.scripted_rtsp import ScriptedServer

from edged.cameras.health import Health
from edged.cameras.live_edge import LiveEdge
from edged.cameras.live_stream import LiveStream
from edged.cameras.packets import OpenStream, Packet
from edged.cameras.waiting import raise_if_ended
from edged.core.errors import CameraError, Stopped


def watching(server: ScriptedServer, max_age_s: float = 5.0) -> Watched:
    return Watched(spec(server.url(), max_age_s=max_age_s))


@pytest.mark.slow
def test_first_picture_of_a_connection_is_as_old_as_it_says() -> None:
    """FFmpeg delivers a picture when the next one begins: at one per second, the first has waited for 1 s already."""
    with ScriptedServer(Script(clip=clip(fps=1, gop=15))) as server, watching(server) as watched:
        taken = [first(server, watched, within_s=5), *looks(server, watched, for_s=1.0)]
        assert not wrong(taken)


@pytest.mark.slow
def test_redirect_loop_that_begins_later_is_noticed() -> None:
    """FFmpeg follows a thousand redirects a second, until its open times out."""
    with ScriptedServer(Script()) as server, watching(server) as watched:
        first(server, watched, within_s=5)
        server.script = Script(redirect="/loop", answer_s=0.02)  # without: all ports of this machine
        server.end_sessions()
        until(lambda: "redirects in a loop" in (watched.states[-1].reason or ""), 45)
        asked = len(server.requests)
        threading.Event().wait(10)
        assert len(server.requests) - asked < 50
        server.script = Script()
        server.requests.clear()
        first(server, watched, within_s=25)
        transports = [each.headers["transport"] for each in server.requests if each.method == "SETUP"]
        assert "TCP" in transports[0]


def test_stop_ends_a_look_that_waits_for_another_keyframe() -> None:
    live = LiveStream(OpenStream("h264", b"", iter(())), Health("dock", lambda _state: None))
    live.add(Packet(b"\0\0\0\1\x65\x80not a picture", True, 0.0, 0.0, None))
    live.add(Packet(b"\0\0\0\1\x41\x80not a picture", False, 0.1, 0.1, None))
    stop = threading.Event()
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        live.newest(lambda: raise_if_ended(stop, threading.Event()))
    assert time.monotonic() - began < 0.5
    timer.join()


def test_stream_whose_keyframes_all_arrive_damaged_is_not_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.cameras.live_stream.NO_KEYFRAME_S", 0.05)
    live = LiveStream(OpenStream("h264", b"", iter(())), Health("dock", lambda _state: None))
    now = time.monotonic()
    for number in range(3):
        live.add(Packet(b"\0\0\0\1\x65\x80x", True, now, now, None, lost=True))
        threading.Event().wait(0.03 * number)
    with pytest.raises(CameraError, match="damaged for"):
        live.add(Packet(b"\0\0\0\1\x65\x80x", True, now, now, None, lost=True))


def test_pictures_that_stay_behind_after_slow_congestion_are_known_to_be_old() -> None:
    """A connection with 80 % of the throughput, until 4 s of pictures wait in the camera; then it drops what it has."""
    edge, lag_s, stated_s = LiveEdge(), 0.0, 0.0
    for number in range(1500):
        lag_s = min(4.0, lag_s + 0.02) if number > 600 else 0.0
        at = number / 10 + lag_s
        stated_s = at - edge.captured(Packet(b"", False, at, at, number / 10, sent_s=time.time() - 1000 + number / 10))
    assert stated_s > 3.5
