"""The page's guard around an app that fails: what the browser gets, and what the log says."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from support.config import MODEL, write

from edged.config.load import load
from edged.core.specs import ListenAddress, PageSpec
from edged.page.guard import UNEXPECTED, Guard

SPEC = PageSpec(ListenAddress("127.0.0.1", 8311), hosts=("box",))


class App:
    """Answers, or fails, before or after the beginning of its response."""

    def __init__(self) -> None:
        self.fails = True
        self.begins = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if self.fails:
            raise ValueError("a defect")
        await PlainTextResponse("fine")(scope, receive, send)


def asked(app: ASGIApp, kind: str = "http", host: str = "box") -> list[Message]:
    """What the app sends for a GET of /."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": kind, "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", host.encode())]
    }  # fmt: skip

    async def ask() -> None:
        await app(scope, receive, send)

    asyncio.run(ask())
    return sent


def test_an_unexpected_error_is_a_short_answer_and_one_line_until_the_page_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    app = App()
    guard = Guard(app, SPEC)
    for _ in range(2):
        start, body = asked(guard)
        assert (start["status"], body["body"]) == (500, UNEXPECTED.encode())
        assert (b"cache-control", b"no-store") in start["headers"]
    app.fails = False
    assert [message.get("body") for message in asked(guard)] == [None, b"fine"]
    assert asked(guard)[0]["status"] == 200
    error, end = [record for record in caplog.records if record.name.startswith("edged")]
    assert error.getMessage().startswith("page: unexpected error: ValueError('a defect')")
    assert error.exc_info is not None
    assert "works again" in end.getMessage()


@pytest.mark.parametrize("written", ["2001:db8::5", "'[2001:db8::5]'", "'[2001:DB8:0::0005]'"])
def test_an_ipv6_address_of_the_config_is_served_however_it_is_written(tmp_path: Path, written: str) -> None:
    config = load(write(tmp_path, f"{MODEL}page: {{hosts: [{written}, 10.0.0.9, Box.LAN]}}\n"))
    assert config.page
    assert config.page.hosts == ("2001:db8::5", "10.0.0.9", "box.lan")
    app = App()
    app.fails = False
    guard = Guard(app, config.page)
    for host in ("[2001:db8::5]", "[2001:db8::5]:8311", "[2001:0DB8::0:5]", "10.0.0.9:80", "box.lan", "BOX.lan:80"):
        assert asked(guard, host=host)[0]["status"] == 200, host
    for host in ("[2001:db8::6]", "2001:db8::5", "[10.0.0.9]", "[box.lan]", "10.0.0.8", ""):
        assert asked(guard, host=host)[0]["status"] == 421, host


def test_a_response_that_has_begun_gets_no_second_beginning() -> None:
    app = App()
    app.begins = True
    assert [message["type"] for message in asked(Guard(app, SPEC))] == ["http.response.start"]


def test_a_websocket_reaches_no_app() -> None:
    assert asked(Guard(App(), SPEC), "websocket") == []
