"""Replies that wait until the test lets them go."""

from __future__ import annotations

import threading


class Gate:
    """A reply of the fake model that waits until the test opens the gate; `waiting` is set while it does."""

    def __init__(self, reply: str = "Yes") -> None:
        self.reply = reply
        self.waiting = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> str:
        self.waiting.set()
        assert self.open.wait(20), "the gate was not opened"
        return self.reply

    def wait(self) -> None:
        assert self.waiting.wait(20), "the question was not asked"
