"""Server-sent events: what has changed on the box, for any number of browsers at the cost of one.

A part is the box (`box`) or one camera (`camera`). One task reads the snapshots while somebody listens, and encodes
each change once. Each connection sends what it has not sent yet: a slow browser misses versions in between, and holds
up nobody.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.types import Receive, Scope, Send

from edged.core.specs import CameraSpec, Config
from edged.page import state
from edged.page.verdicts import Verdicts
from edged.service.observed import Observed
from edged.service.snapshots import CameraSnapshot

MOST_LISTENERS = 16
POLL_S = 0.5  # each time wakes the thread, which costs more than what it then does
BOX_S = 1.0  # between two looks at the figures of the box
PING_S = 10.0  # a browser that hears nothing for three of them connects again
BOX = ""  # the part; others have the names of cameras
NOTHING_SEEN = CameraSnapshot()  # always the same object, so that it is no change


class Feed:
    """For the event loop's thread. `parts` has by name the number and the bytes of its newest event."""

    def __init__(self, observed: Observed, verdicts: Verdicts) -> None:
        self._observed = observed
        self._verdicts = verdicts
        self._parts: dict[str, tuple[int, bytes]] = {}
        self._number = 0
        self._listeners = 0
        self._closed = False
        self._changed = asyncio.Event()  # each change has its own
        self._watching: asyncio.Task[None] | None = None
        self._seen: dict[str, tuple[CameraSpec, CameraSnapshot, list[str]]] = {}
        self._box_due = 0.0
        self._box: Mapping[str, Any] = {}

    @property
    def full(self) -> bool:
        return self._listeners >= MOST_LISTENERS

    def subscribe(self) -> Subscription:
        """The caller closes it."""
        self._listeners += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch())
        return Subscription(self)

    def close(self) -> None:
        """End every stream, because the server stops."""
        self._closed = True
        self._wake()

    @property
    def closed(self) -> bool:
        return self._closed

    def unsubscribe(self) -> None:
        self._listeners -= 1

    async def newer(self, sent: Mapping[str, int], limit_s: float) -> list[tuple[str, int, bytes]]:
        """The events that are not in `sent`, numbers by part, the box first; none if there is none within `limit_s`.

        Raises what has ended the watching: without it, a browser would show what does not change any more as current.
        """
        if not (self._closed or self._failed() or self._not_in(sent)):
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._changed.wait()
        if self._watching and self._failed():
            self._watching.result()
        return self._not_in(sent)

    def _failed(self) -> bool:
        watching = self._watching
        return bool(watching and watching.done() and (watching.cancelled() or watching.exception()))

    def box(self) -> bytes:
        """The box now. Its newest event may be old, and a browser sets its clock by it."""
        return event("box", state.box(self._observed))

    def _not_in(self, sent: Mapping[str, int]) -> list[tuple[str, int, bytes]]:
        return [(name, number, data) for name, (number, data) in self._parts.items() if sent.get(name) != number]

    async def _watch(self) -> None:
        try:
            while self._listeners:
                if self._update():
                    self._wake()
                await asyncio.sleep(POLL_S)
        except BaseException:
            self._wake()
            raise
        finally:
            self._parts, self._seen, self._box = {}, {}, {}

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _update(self) -> bool:
        before = self._number
        config, cameras = self._observed.config(), self._observed.cameras()
        self._update_box(config)
        self._verdicts.update()
        for spec in config.cameras:
            snapshot = cameras.get(spec.name) or NOTHING_SEEN
            now = spec, snapshot, self._verdicts.about(snapshot)
            last = self._seen.get(spec.name)
            if last is None or last[0] is not spec or last[1] is not snapshot or last[2] != now[2]:
                self._seen[spec.name] = now
                self._put(spec.name, "camera", self._verdicts.add_to(state.camera(config, spec, snapshot)))
        for gone in self._seen.keys() - {spec.name for spec in config.cameras}:
            del self._seen[gone], self._parts[gone]
        return self._number != before

    def _update_box(self, config: Config) -> None:
        if time.monotonic() < self._box_due and self._box and self._box["config"]["rev"] == config.rev:
            return
        self._box_due = time.monotonic() + BOX_S
        box = state.box(self._observed)
        if _lasting(box) != _lasting(self._box):
            self._box = box
            self._put(BOX, "box", box)

    def _put(self, part: str, kind: str, data: Mapping[str, Any]) -> None:
        self._number += 1
        self._parts[part] = self._number, event(kind, data)


class Subscription:
    """One browser's place in the feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._sent: dict[str, int] = {}

    def close(self) -> None:
        self._feed.unsubscribe()

    async def next(self) -> bytes | None:
        """The next events; a ping if there are none for a while; None at the end."""
        events = await self._feed.newer(self._sent, PING_S)
        if self._feed.closed:
            return None
        texts = {name: data for name, _, data in events}
        if BOX in texts and BOX not in self._sent:
            texts[BOX] = self._feed.box()
        self._sent |= {name: number for name, number, _ in events}
        return b"".join(texts.values()) or event("ping", {"now_ts": round(time.time(), 3)})


class EventStream:
    """An answer that ends when the browser leaves, with the server, or with an unexpected error, which is raised."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = self._feed.subscribe()
        sending = asyncio.ensure_future(self._send(listener, send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            leaving.cancel()
            listener.close()

    async def _send(self, listener: Subscription, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while body := await listener.next():
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def left(receive: Receive) -> None:
    """Returns when the browser has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def event(kind: str, data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {text}\n\n".encode(errors="replace")


def _lasting(box: Mapping[str, Any]) -> dict[str, Any]:
    """Without what changes all the time."""
    return {key: value for key, value in box.items() if key not in ("now_ts", "uptime_s")}
