"""The real page of a box that is a fake: tests say what its looks have found, and what its broker and model do."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import replace
from typing import Any

import httpx

from edged.core.interfaces import FrameStore
from edged.core.memory_store import MemoryStore
from edged.core.requests import Received, Response
from edged.core.specs import CameraSpec, Config, ListenAddress, PageSpec
from edged.core.types import Answer, CameraState, Event, Frame, Status, utc_now
from edged.page.app import PageApp
from edged.page.readings import Readings
from edged.page.server import PageServer
from edged.service.observed import Observed, Phase
from edged.service.snapshots import Snapshots
from support.broker import HOST, an_answer, free_port, until


class FakeBox:
    """`received` has the requests of the page; `responses` are given to them in order, the last one repeatedly."""

    def __init__(self, config: Config, spec: PageSpec | None = None, readings: Readings | None = None) -> None:
        self.spec = spec or PageSpec(ListenAddress(HOST, free_port()))
        self.config = replace(config, page=self.spec)
        self.snapshots = Snapshots()
        self.snapshots.keep_frames(True)
        self.problems: list[str] = []
        self.phase: Phase = "running"
        self.model: str | None = "a model"
        self.broker: dict[str, Any] = {
            "connected": True, "reconnects": 0, "waiting": 0, "dropped": 0, "published": 0, "refused": 0,
        }  # fmt: skip
        self.frames: FrameStore = MemoryStore().frames
        self.health: dict[str, Any] = {}  # what differs from a box that is well
        self.received: list[Received] = []
        self.responses: list[Response] = [Response(error="not expected")]
        self.server = PageServer(lambda spec: PageApp(self.observed(), spec, readings))

    def __enter__(self) -> FakeBox:
        self.server.follow(self.spec)
        until(self.is_serving, 20)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    @property
    def url(self) -> str:
        return f"http://{self.spec.listen.shown}"

    def is_serving(self) -> bool:
        try:
            return httpx.get(f"{self.url}/static/icon.svg", timeout=5).status_code in (200, 401)
        except httpx.TransportError:
            return False

    def observed(self) -> Observed:
        return Observed(
            config=lambda: self.config,
            cameras=lambda: self.snapshots.cameras,
            info=self._info,
            health=self._health,
            problems=lambda: self.problems,
            phase=lambda: self.phase,
            receive=self._receive,
            frames=lambda: self.frames,
        )

    def looked(self, camera: str, *answers: Answer, frame: Frame | None = None, events: tuple[Event, ...] = ()) -> None:
        self.snapshots.looked(camera, answers, events, frame)

    def answered(
        self, camera: str, question: str, value: Any = None, frame: Frame | None = None, **changes: Any
    ) -> None:
        """A look with one answer of now; `changes` are fields of Answer, `age_s` its age, `event` an event."""
        age_s, event = changes.pop("age_s", 0.0), changes.pop("event", None)
        spec = next(each for each in self._spec(camera).all_questions() if each.name == question)
        answer = replace(
            an_answer(uuid.uuid4().hex, camera, question),
            type=spec.answer.kind,
            value=value,
            prompt=spec.prompt,
            prompt_rev=spec.prompt_rev,
            answered_ts=time.time() - age_s,
            frame_sha256=frame.sha256 if frame else None,
            **changes,
        )
        self.looked(camera, answer, frame=frame, events=(event,) if event else ())

    def refused(self, camera: str, question: str, status: Status, reason: str, **changes: Any) -> None:
        self.answered(camera, question, status=status, reason=reason, confidence=None, **changes)

    def camera(self, name: str, online: bool = True, reason: str | None = None) -> None:
        self.snapshots.state(name, CameraState(online, reason, utc_now()))

    def _spec(self, name: str) -> CameraSpec:
        spec = self.config.camera(name)
        assert spec, f"no camera {name}"
        return spec

    def _info(self) -> dict[str, Any]:
        return {"version": "0", "model": self.model, "model_rev": self.model and "r1", "config_rev": self.config.rev}

    def _health(self) -> dict[str, Any]:
        return {
            "ts": time.time(),
            "uptime_s": 1,
            "cameras": {spec.name: {"looks": 0, "skipped": 0, "online": True} for spec in self.config.cameras},
            "lateness_s": 0.0,
            "lateness_longest_s": 0.0,
            "waiting_looks": 0,
            "broker": self.broker,
            "store": {"working": True, "bytes": 1000, "lost": 0},
            "clock_synced": True,
        } | self.health

    def _receive(self, received: Received) -> None:
        self.received.append(received)
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        threading.Thread(target=received.respond, args=(response,)).start()
