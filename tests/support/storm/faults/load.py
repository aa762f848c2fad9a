"""Other programs that ask edged too much: on the broker and on its page."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from random import Random

from support.storm.config_file import NODE
from support.storm.faults.kinds import Running, kind
from support.storm.parts import Parts
from support.storm.schedule import Fault

PAGES = ("/", "/api/state", "/camera/dock", "/api/history?camera=dock", "/api/frame/dock.jpg", "/nothing", "/label")
REQUESTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("ask", {"camera": "dock", "question": "clock", "transaction": "t"}),
    ("look", {"camera": "yard"}),
    ("info", {}),
    ("ask", {"camera": "nothing", "question": "clock"}),
    ("ask", {"camera": "dock", "prompt": "not allowed"}),
)
TIMEOUT_S = 10.0


@kind("requests hammered", (("requests",),), 1, 6)
def requests_hammered(parts: Parts, fault: Fault) -> Running:
    chance, ended, sent = Random(fault.seed), threading.Event(), list[str]()

    def hammer() -> None:
        while not ended.wait(0.05):
            what, request = chance.choice(REQUESTS)
            payload = chance.randbytes(40) if chance.random() < 0.2 else json.dumps(request).encode()
            parts.record.publish(f"edged/{NODE}/bridge/request/{what}", payload)
            sent.append(what)

    thread = threading.Thread(target=hammer, daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join(TIMEOUT_S)
    return len(sent)


@kind("page hammered", (("page",),), 1, 6)
def page_hammered(parts: Parts, fault: Fault) -> Running:
    ended, answered = threading.Event(), list[int]()

    def hammer(chance: Random) -> None:
        while not ended.wait(0.02):
            with suppress(OSError, http.client.HTTPException):
                url = f"http://127.0.0.1:{parts.page}{chance.choice(PAGES)}"
                try:
                    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                        response.read()
                        answered.append(response.status)
                except urllib.error.HTTPError as error:
                    answered.append(error.code)

    threads = [threading.Thread(target=hammer, args=(Random(fault.seed + n),), daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    yield
    ended.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    return len(answered)
