"""The page of a real edged: nothing that is sent to it changes a file, and it follows the config."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from support.broker import HOST, free_port, until
from support.making import picture
from support.raw_http import exchange, get, status
from support.running import Edged

from edged.core.pip import pip_install

TOKEN = "t0k3n"
LIMIT_S = 60.0


class RealBox:
    """The files of an edged, and its page. `state` is its state directory."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.state, self.port = folder / "config", folder / "state", free_port()
        self.path = self.folder / "edged.yaml"
        self._model, self._broker = model, free_port()  # nothing listens there
        (self.folder / "credentials").mkdir(parents=True)
        self.secret = self.folder / "credentials" / "page-token"
        self.secret.write_text(TOKEN)
        self.secret.chmod(0o600)
        Image.fromarray(picture()).save(self.folder / "yard.png")
        self.write(self.page())

    @property
    def token(self) -> str:
        return self.secret.read_text()

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def page(self) -> str:
        return f"page: {{listen: '{HOST}:{self.port}', token: {{secret: page-token}}}}"

    def write(self, page: str) -> None:
        self.path.write_text(
            f"node: box\nmodel: {{path: {self._model}, max_new_tokens: 8}}\n"
            f"mqtt: {{url: 'mqtt://{HOST}:{self._broker}', allow_prompts: true}}\n{page}\n"
            "frames: {changed: true, sample: 1.0}\n"
            "cameras:\n  yard:\n    source: yard.png\n    every: 1s\n"
            "    ask: {people: {prompt: How many?, answer: integer, range: [0, 9]}}\n"
        )
        self.path.chmod(0o600)

    def run(self, **env: str) -> Edged:
        return Edged("run", "--config", self.path, env={"STATE_DIRECTORY": str(self.state)} | env)

    def state_of_page(self) -> dict[str, Any] | None:
        """None if it is not served, or with another token."""
        try:
            answer = httpx.get(f"{self.url}/api/state", headers=self.bearer, timeout=10)
        except httpx.TransportError:
            return None
        state: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
        return state

    def events(self) -> AbstractContextManager[httpx.Response]:
        return httpx.stream("GET", f"{self.url}/api/events", headers=self.bearer, timeout=LIMIT_S)

    def is_looking(self) -> bool:
        state = self.state_of_page()
        return bool(state and state["cameras"][0]["questions"][0]["answer"] and state["cameras"][0]["frame"])


@pytest.fixture
def box(tmp_path: Path, tiny_folder: Path) -> RealBox:
    return RealBox(tmp_path, tiny_folder)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[tuple[RealBox, Edged]]:
    """Starting takes long, so that the tests that leave it running share one edged."""
    box = RealBox(tmp_path_factory.mktemp("running"), tiny_folder)
    with box.run() as edged:
        edged.wait_for("INFO ready: ")
        yield box, edged


@pytest.fixture
def shared(running: tuple[RealBox, Edged]) -> tuple[RealBox, Edged]:
    box, edged = running
    until(box.is_looking, LIMIT_S)
    return box, edged


def contents(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time of change and digest of every file and folder, by path."""
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, _digest(path)) for path in sorted(folder.rglob("*"))
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def threads(edged: Edged) -> int:
    return len(list(Path(f"/proc/{edged.pid}/task").iterdir()))


def descriptors(edged: Edged) -> list[str]:
    """What is open, without its numbers."""
    found = []
    for link in Path(f"/proc/{edged.pid}/fd").iterdir():
        with suppress(OSError):
            found.append(str(link.readlink()).split("[")[0])
    return sorted(found)


VALUES = [
    "../../config/edged.yaml", "..%2f..%2fconfig%2fedged.yaml", "/etc/passwd", "%00", "yard%00", "yard/../yard",
    "yard;id>x", "$(touch%20x)", "`touch%20x`", "%7B%7B7*7%7D%7D", "{{config}}", "%0a%0dversion:%202", "%F0%9F%92%A3",
    "'--", "\"';DROP", "x" * 4000,
]  # fmt: skip
TARGETS = ["/", "/camera/{}", "/label", "/static/{}", "/api/state?{}", "/api/events/{}", "/api/frame/{}.jpg",
    "/api/history?camera={}&question=people", "/api/history?camera=yard&question={}", "/api/label/{}",
    "/api/history?camera=yard&question=people&since={}", "/api/{}", "/{}"]  # fmt: skip
TEXTS = [
    "../../config/edged.yaml", "/etc/passwd", "$(touch x)", "__import__('os').system('touch x')", "{{7*7}}",
    "{0.__class__}", "'; DROP TABLE answers; --", "a\nversion: 2\n", "\x00", "\ud800", "%s%s%n",
    "!!python/object/apply:os.system ['touch x']", "x" * 20_000,
]  # fmt: skip


def bodies() -> Iterator[dict[str, Any]]:
    for text in TEXTS:
        yield {"camera": text, "prompt": "x"}
        yield {"camera": "yard", "prompt": text, "deadline": 5}
        yield {"camera": "yard", "prompt": "x", "answer": text}
        yield {"camera": "yard", "prompt": "x", "answer": [text[:100], "b"], "deadline": 5}
        yield {"camera": "yard", "prompt": "x", "region": text}
        yield {"camera": "yard", "prompt": "x", text[:100]: 1}
        yield {"frame": text, "question": "people", "verdict": "right"}
        yield {"frame": text, "question": text, "truth": text}
        yield {"undo": text}
    values: list[Any] = [None, True, -1, 1e308, [], {}, [[]], {"a": {}}]
    for value in values:
        yield {"camera": value, "prompt": value}
        yield {"camera": "yard", "prompt": "x", "answer": value, "range": value, "max_new_tokens": value, "deadline": 5}
        yield {"frame": value, "question": value, "verdict": value, "truth": value}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_that_is_sent_changes_the_config_or_a_file_outside_the_state_directory(
    shared: tuple[RealBox, Edged],
):
    box, edged = shared
    before = contents(box.folder)
    for target in TARGETS:
        for value in VALUES:
            for method in ("GET", "POST", "PUT", "DELETE"):
                request = get(target.format(value), "Authorization: Bearer " + box.token, method=method)
                assert status(exchange(box.port, request)) in (200, 400, 403, 404, 405, 415), (method, target, value)
    with httpx.Client(base_url=box.url, headers=box.bearer, timeout=60) as client:
        for body in bodies():
            for path in ("/api/try", "/api/label"):
                headers = {"Content-Type": "application/json"}
                answer = client.post(path, content=json.dumps(body), headers=headers)
                assert answer.status_code in (200, 400, 404, 413, 422, 429, 503), (path, body, answer.text)
    assert contents(box.folder) == before
    assert {path.name for path in box.folder.parent.iterdir()} == {"config", "state"}
    assert {path.name.split(".")[0] for path in box.state.iterdir()} <= {"edged", "frames", "labels"}
    assert not Path("x").exists()
    assert edged.said(r"unexpected|Traceback|ERROR") == []
    assert box.is_looking()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_reloads_of_the_page_leave_nothing_behind(shared: tuple[RealBox, Edged]):
    box, edged = shared
    figures: list[tuple[int, list[str]]] = []
    for number in range(20):
        with ExitStack() as stack:
            for _ in range(3):
                stream = stack.enter_context(
                    httpx.stream("GET", f"{box.url}/api/events", headers=box.bearer, timeout=LIMIT_S)
                )
                assert stream.status_code == 200
            since = len(edged.lines)
            if number % 2:
                box.write("")
            else:
                box.port = free_port()
                box.write(box.page())
            edged.send(signal.SIGHUP)
            edged.wait_for("INFO config reloaded", after=since)
        if number % 2:
            until(lambda: box.state_of_page() is None, LIMIT_S)
            figures.append((threads(edged), descriptors(edged)))
            since = len(edged.lines)
            box.write(box.page())
            edged.send(signal.SIGHUP)
            edged.wait_for("INFO config reloaded", after=since)
        until(box.is_looking, LIMIT_S)
    assert figures[-1][0] <= figures[1][0]
    assert len(figures[-1][1]) <= len(figures[1][1])
    assert edged.said(r"did not stop|unexpected|ERROR") == []


@pytest.mark.slow
def test_a_token_that_changes_ends_the_sessions_of_the_old_one(shared: tuple[RealBox, Edged]):
    box, edged = shared
    old = box.bearer
    with box.events() as stream:
        since = len(edged.lines)
        box.secret.write_text("an0ther")
        edged.send(signal.SIGHUP)
        edged.wait_for("INFO config reloaded", after=since)
        with suppress(httpx.RemoteProtocolError):
            stream.read()  # to its end
    until(box.is_looking, LIMIT_S)
    assert httpx.get(f"{box.url}/api/state", headers=old, timeout=LIMIT_S).status_code == 401
    assert edged.said(f"{TOKEN}|an0ther") == []


@pytest.mark.slow
def test_a_mask_that_is_added_takes_the_frame_from_before_off_the_page(shared: tuple[RealBox, Edged]):
    box, edged = shared
    address = f"{box.url}/api/frame/yard.jpg"
    first = httpx.get(address, headers=box.bearer).headers["etag"]
    since = len(edged.lines)
    text = box.path.read_text().replace("every: 1s", "every: 1h\n    mask: [{box: [0, 0, 1, 0.5]}]")
    box.path.write_text(text)
    edged.send(signal.SIGHUP)
    edged.wait_for("INFO config reloaded", after=since)
    answers = []

    def has_new_frame() -> bool:
        answers.append(httpx.get(address, headers=box.bearer, timeout=LIMIT_S))
        return answers[-1].status_code == 200

    until(has_new_frame, LIMIT_S)
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert answers[-1].headers["etag"] != first


@pytest.mark.slow
def test_a_stop_does_not_wait_for_two_browsers(box: RealBox):
    with box.run() as edged, ExitStack() as stack:
        edged.wait_for("INFO ready: ")
        until(box.is_looking, LIMIT_S)
        for _ in range(2):
            stack.enter_context(box.events())
        code, took_s = edged.stop()
    assert code == 0
    assert took_s < 2.5  # under 1 s on an idle machine
    assert edged.said("did not stop") == []


@pytest.mark.slow
def test_a_missing_token_is_said_once_and_the_rest_runs(box: RealBox):
    box.secret.unlink()
    with box.run() as edged:
        edged.wait_for("INFO ready: ")
        edged.wait_for("DEBUG camera yard: people")
        with pytest.raises(httpx.ConnectError):
            httpx.get(box.url, timeout=10)
        assert len(edged.said("page: not served: ")) == 1
        box.secret.write_text(TOKEN)
        edged.send(signal.SIGHUP)
        until(box.is_looking, LIMIT_S)
        assert edged.stop()[0] == 0


@pytest.mark.slow
def test_without_the_extra_it_is_said_once_and_the_rest_runs(box: RealBox, tmp_path: Path):
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\", name='uvicorn')\n")
    with box.run(PYTHONPATH=f"{absent}:{os.environ.get('PYTHONPATH', '')}") as edged:
        edged.wait_for("INFO ready: ")
        edged.wait_for("DEBUG camera yard: people")
        assert [line.partition(" page: ")[2] for line in edged.said("page: ")] == [
            f"not served: it needs the package uvicorn: {pip_install('edged[page]')}, then restart edged"
        ]
        begun = time.monotonic()
        assert edged.stop()[0] == 0
        assert time.monotonic() - begun < 10
