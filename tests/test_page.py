"""The page's server: what it serves, what follows the box, and how it starts and ends."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
import time
import weakref
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image
from support.broker import HOST, an_answer, until
from support.making import frame
from support.paging import FakeBox
from support.world import CONFIG

from edged.core.specs import ListenAddress, PageSpec
from edged.core.types import Frame
from edged.page import feed, frame_jpegs, state
from edged.page import server as page_server
from edged.service import picture


@pytest.fixture
def box() -> Iterator[FakeBox]:
    with FakeBox(CONFIG) as box:
        yield box


def events(box: FakeBox) -> Generator[tuple[str, dict[str, Any]], None, None]:
    """Kind and data of each event, until the generator is closed."""
    kind = ""
    with httpx.stream("GET", f"{box.url}/api/events", timeout=30) as answer:
        for line in answer.iter_lines():
            name, _, text = line.partition(": ")
            if name == "event":
                kind = text
            elif name == "data":
                yield kind, json.loads(text)


def test_the_state_has_the_box_its_cameras_and_their_answers(box: FakeBox):
    camera = CONFIG.cameras[0]
    question = camera.questions[0]
    box.looked(
        camera.name, replace(an_answer("a", question=question.name), prompt_rev=question.prompt_rev), frame=frame(1)
    )
    told = httpx.get(f"{box.url}/api/state").json()
    assert told["node"] == CONFIG.node
    assert [each["name"] for each in told["cameras"]] == [each.name for each in CONFIG.cameras]
    shown = told["cameras"][0]
    assert shown["frame"]["sha256"] == "sha-1"
    assert shown["questions"][0]["answer"]["id"] == "a"


def test_a_lone_surrogate_in_an_answer_does_not_hide_the_state(box: FakeBox):
    camera = CONFIG.cameras[0]
    question = camera.questions[0]
    answer = replace(an_answer("a", question=question.name), prompt_rev=question.prompt_rev, text='{"plate": "\ud800"}')
    box.looked(camera.name, answer)
    shown = httpx.get(f"{box.url}/api/state").json()["cameras"][0]["questions"][0]["answer"]
    assert shown["text"] == '{"plate": "?"}'  # as the broker gets it


def test_an_answer_to_a_question_that_was_changed_is_not_shown(box: FakeBox):
    camera = CONFIG.cameras[0]
    box.looked(camera.name, an_answer("a", question=camera.questions[0].name))
    shown = httpx.get(f"{box.url}/api/state").json()["cameras"][0]
    assert shown["questions"][0]["answer"] is None


def test_a_look_is_an_event_within_a_second(box: FakeBox):
    camera = CONFIG.cameras[0].name
    stream = events(box)
    first = [next(stream)[0] for _ in range(1 + len(CONFIG.cameras))]
    assert first == ["box", *["camera" for _ in CONFIG.cameras]]
    begun = time.monotonic()
    box.looked(camera, frame=frame(2))
    kind, data = next(stream)
    assert (kind, data["name"], data["frame"]["sha256"]) == ("camera", camera, "sha-2")
    assert time.monotonic() - begun < 1
    stream.close()


def test_while_nothing_changes_a_stream_has_nothing_but_pings(box: FakeBox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "PING_S", 0.6)  # longer than it takes to see a change
    stream = events(box)
    kinds = [next(stream)[0] for _ in range(4 + len(CONFIG.cameras))]
    assert kinds[1 + len(CONFIG.cameras) :] == ["ping"] * 3
    stream.close()


def test_the_clock_of_a_new_stream_is_right_however_long_nothing_has_changed(
    box: FakeBox, monkeypatch: pytest.MonkeyPatch
):
    first, later = events(box), time.time() + 600
    next(first)
    monkeypatch.setattr(state, "time", SimpleNamespace(time=lambda: later))
    second = events(box)
    kind, data = next(second)
    assert (kind, data["now_ts"]) == ("box", round(later, 3))
    first.close()
    second.close()


def test_the_frame_is_a_jpeg_that_no_browser_keeps(box: FakeBox):
    camera = CONFIG.cameras[0].name
    address = f"{box.url}/api/frame/{camera}.jpg"
    assert httpx.get(address).status_code == 404
    box.looked(camera, frame=frame(3))
    answer = httpx.get(address, params={"sha256": "sha-3"})
    assert (answer.headers["cache-control"], answer.headers["etag"]) == ("no-store", '"sha-3"')
    assert Image.open(io.BytesIO(answer.content)).size == (320, 240)
    box.looked(camera, frame=frame(4))
    newer = httpx.get(address, params={"sha256": "sha-3"})
    assert newer.headers["etag"] == '"sha-4"'
    assert newer.content != answer.content


def test_a_large_frame_is_reduced(box: FakeBox):
    camera = CONFIG.cameras[0].name
    box.looked(camera, frame=frame(5, 1920, 1080))
    answer = httpx.get(f"{box.url}/api/frame/{camera}.jpg")
    assert Image.open(io.BytesIO(answer.content)).size == (960, 540)


def test_a_frame_from_before_a_mask_is_not_served_even_to_a_request_that_has_begun(
    box: FakeBox, monkeypatch: pytest.MonkeyPatch
):
    camera = CONFIG.cameras[0].name
    encoding, masked = threading.Event(), threading.Event()

    def slowly(frame: Frame) -> bytes:
        encoding.set()
        assert masked.wait(10)
        return picture.preview(frame)

    monkeypatch.setattr(frame_jpegs, "picture", SimpleNamespace(preview=slowly))
    box.looked(camera, frame=frame(1))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(httpx.get, f"{box.url}/api/frame/{camera}.jpg", timeout=20)
        assert encoding.wait(10)
        box.snapshots.forget_frame(camera)  # as a reload does
        masked.set()
        assert answer.result().status_code == 404


def test_the_pixels_of_a_frame_do_not_stay_in_memory_once_it_is_not_the_newest(box: FakeBox):
    camera = CONFIG.cameras[0].name
    first = frame(1)
    pixels = weakref.ref(first.rgb)
    box.looked(camera, frame=first)
    del first
    assert httpx.get(f"{box.url}/api/frame/{camera}.jpg").status_code == 200
    box.snapshots.forget_frame(camera)
    until(lambda: pixels() is None, 5)


def test_a_camera_that_is_not_in_the_config_has_no_page(box: FakeBox):
    assert [httpx.get(f"{box.url}{path}").status_code for path in ("/camera/nope", "/api/frame/nope.jpg")] == [404, 404]


def test_a_stop_with_an_open_stream_takes_no_second(box: FakeBox):
    stream = events(box)
    next(stream)
    begun = time.monotonic()
    box.server.stop()
    assert time.monotonic() - begun < 1
    stream.close()


def test_an_address_in_use_is_reported_once_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(page_server, "RETRY_S", 0.05)
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        box = FakeBox(CONFIG, PageSpec(ListenAddress(HOST, port)))
        box.server.follow(box.spec)
        until(lambda: caplog.messages, 10)
        time.sleep(0.3)  # several tries
    try:
        until(box.is_serving, 10)
    finally:
        box.server.stop()
    assert caplog.messages[0] == f"page {HOST}:{port}: cannot listen: address already in use; trying again"
    assert caplog.messages[1].startswith(f"page {HOST}:{port}: back after ")
    assert len([text for text in caplog.messages if text.startswith("page")]) == 2


def test_without_its_secret_the_page_is_not_served(caplog: pytest.LogCaptureFixture, tmp_path: Path):
    problem = 'the secret "page-token" is missing'
    box = FakeBox(CONFIG, PageSpec(ListenAddress(HOST, 1), problem=problem))
    box.server.follow(box.spec)
    until(lambda: caplog.messages, 10)
    box.server.stop()
    assert caplog.messages == [f"page: not served: {problem}"]


def test_a_stream_ends_if_edged_cannot_be_read_and_another_one_is_up_to_date(
    box: FakeBox, caplog: pytest.LogCaptureFixture
):
    stream = events(box)
    for _ in range(1 + len(CONFIG.cameras)):
        next(stream)
    box.health = {"broker": None}
    with pytest.raises(httpx.RemoteProtocolError):
        next(stream)
    box.health = {}
    box.looked(CONFIG.cameras[0].name, frame=frame(2))
    again = events(box)
    kinds = [next(again) for _ in range(1 + len(CONFIG.cameras))]
    assert kinds[1][1]["frame"]["sha256"] == "sha-2"
    again.close()
    assert len([record for record in caplog.records if "unexpected error" in record.getMessage()]) == 1


def test_a_route_that_fails_is_logged_once_while_others_work_and_once_more_when_it_works(
    box: FakeBox, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "edged")
    box.health = {"broker": None}
    for _ in range(3):
        answer = httpx.get(f"{box.url}/api/state")
        assert (answer.status_code, answer.text) == (500, "Unexpected error; see edged's log.\n")
        assert httpx.get(f"{box.url}/label").status_code == 200
    box.health = {}
    assert httpx.get(f"{box.url}/api/state").status_code == 200
    until(lambda: "works again" in caplog.text)  # logged after the answer was sent
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("page: ")]
    failed, again = [line for line in lines if "http://" not in line]
    assert failed.startswith("page: unexpected error: TypeError")
    assert again.startswith("page: works again after")
