"""A service on fakes: brokers with their retained messages, cameras that report, models that count their disposals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edged.core.answer_types import Number, YesNo
from edged.core.errors import FileUnusable
from edged.core.interfaces import Noise
from edged.core.memory_store import MemoryStore
from edged.core.requests import Received
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, CameraSpec, Config, ModelSpec, QuestionSpec, SourceSpec
from edged.core.types import Answer, CameraReport, CameraState, Event, Fact, utc_now
from edged.mqtt.send_queue import PublisherFigures
from edged.service.reload import Reload
from edged.service.service import Factories, Service
from support.broker import until
from support.fakes import FakeCamera, FakeModel
from support.making import frame, question

GATE = question("Open?", YesNo(), "gate", then=(question("A car?", YesNo(), "car"),))
PEOPLE = question("How many?", Number(True, 0, 40), "people")


class Broker:
    """What is retained on one broker, by node, camera and question; and all answers that were published there."""

    def __init__(self) -> None:
        self.retained: dict[tuple[str, str, str], Any] = {}
        self.answers: list[Answer] = []
        self.events: list[Event] = []
        self.withdrawn: list[str] = []  # nodes that have left
        self.health: list[list[str]] = []  # the cameras of each message


class Publisher:
    """Publishes at once if it is started, and else keeps the answers for the next publisher. Host "away" is down."""

    def __init__(self, world: World, spec: BrokerSpec, node: str) -> None:
        self.world, self.spec, self.node = world, spec, node
        self.broker = world.brokers.setdefault(spec.host, Broker())
        self.moved_at = time.monotonic()
        self.tried = True
        self.waiting: list[Answer] = []
        self.states: dict[str, CameraState] = {}
        self.active_states: dict[str, dict[str, Any]] = {}
        self.started = self.closed = self.is_online = False

    def prepare(self) -> None:
        if self.spec.ca:
            raise FileUnusable("mqtt: ca: there is no such file")

    def start(self) -> None:
        self.world.may_fail("publisher.start")
        self.started = True
        for name, state in self.states.items():
            self.camera(name, state)
        for name, active in self.active_states.items():
            self.active(name, active)
        self.answers(self.waiting, [], None)
        self.waiting = []

    def online(self) -> None:
        self.is_online = True

    def release(self) -> Sequence[Answer]:
        assert self.closed
        return self.waiting

    def adopt(self, released: Sequence[Answer]) -> None:
        assert not self.started
        self.world.may_fail("publisher.adopt")
        self.waiting = [*released, *self.waiting]

    def answers(
        self,
        answers: Sequence[Answer],
        events: Sequence[Event],
        image: bytes | None,
        facts: Sequence[Fact] = (),
        settings: str | None = None,
    ) -> None:
        self.world.store.remember(facts)
        if not self.started or self.spec.host == "away":
            self.waiting += answers
            return
        if image:
            self.broker.retained[(self.node, answers[0].camera, "image")] = image
        self.broker.answers += answers
        self.broker.events += events
        self.broker.retained |= {(self.node, a.camera, a.question): a for a in answers}

    def camera(self, name: str, state: CameraState) -> None:
        if not self.started:
            self.states[name] = state
            return
        self.broker.retained[(self.node, name, "availability")] = state

    def active(self, camera: str, state: dict[str, Any]) -> None:
        if not self.started:
            self.active_states[camera] = state
            return
        self.broker.retained[(self.node, camera, "active")] = state

    def info(self, info: dict[str, Any]) -> None: ...

    def withdraw(self, following: Config) -> None:
        self._clear_all_but(set())
        self.broker.withdrawn.append(self.node)

    def health(self, health: dict[str, Any]) -> None:
        self.broker.health.append(list(health["cameras"]))

    def figures(self) -> PublisherFigures:
        return PublisherFigures(self.started and self.spec.host != "away", 0, len(self.waiting), 0, 0, 0)

    def follow(self, config: Config) -> None:
        self.world.may_fail("publisher.follow")
        own = {(spec.name, state) for spec in config.cameras for state in ("availability", "active")}
        own |= {(spec.name, question.name) for spec in config.cameras for question in spec.all_questions()}
        own |= {(spec.name, "image") for spec in config.cameras if spec.image and spec.questions}
        self._clear_all_but(own)

    def _clear_all_but(self, own: Collection[tuple[str, str]]) -> None:
        for node, camera, name in list(self.broker.retained):
            if node == self.node and (camera, name) not in own:
                del self.broker.retained[(node, camera, name)]

    def close(self) -> bool:
        self.closed = True
        return True


def fake_publisher(service: Service) -> Publisher:
    """The publisher of a service on fakes."""
    publisher = service.publisher
    assert isinstance(publisher, Publisher)
    return publisher


class ReportingCamera(FakeCamera):
    """Reports online when it is started, unless it is among `silent` of the world.

    A test may call `report` later, as the thread of a slow camera does.
    """

    def __init__(self, spec: CameraSpec, report: CameraReport, world: World) -> None:
        super().__init__(frame())
        self.spec, self.report, self.world = spec, report, world
        self.started = False

    def start(self) -> None:
        self.world.may_fail(f"camera.start {self.spec.name}")
        self.started = True
        if self.spec.name not in self.world.silent:
            self.report(CameraState(True, None, utc_now()))


class World:
    """A service on fakes, with its brokers and cameras. `broken` has the errors of steps that fail when next tried."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or CONFIG
        self.brokers: dict[str, Broker] = {}
        self.cameras: list[ReportingCamera] = []
        self.noise: dict[str, Noise] = {}  # what the newest camera of each name was given
        self.models: list[FakeModel] = []
        self.broken: dict[str, BaseException] = {}
        self.silent: set[str] = set()  # cameras that report nothing when they are started
        self.fit = False
        self.stop = threading.Event()
        self.lost: list[Any] = []
        self.requested: list[Received] = []
        self.store = MemoryStore()
        self.loading: Callable[[], Any] = lambda: None
        self.factories = Factories(
            load_config=lambda: self.config,
            open_camera=self._open_camera,
            check_model=lambda spec, questions: self.may_fail(f"check {spec.path}"),
            load_model=self._load_model,
            fit_together=lambda old, new: self.fit,
            open_publisher=lambda spec, node, store, requested: self._open_publisher(spec, node),
            open_store=lambda node: self.store,
            clock_synced=lambda: True,
            version="0",
        )
        self.service = Service(
            self.factories, self.config, self.stop, lambda *lost: self.lost.append(lost), self.requested.append
        )
        self.reload = Reload(self.service, self.wait, self.wait)

    def start(self) -> None:
        self.service.open_store()
        self.service.open_publisher()
        self.service.publisher.start()
        self.service.serve(self.service.load(self.config, self.wait))
        self.service.converge(self.config)
        self.service.publisher.online()

    def wait(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """As the daemon's, but no wait of a test takes longer than 10 s."""
        with suppress(AssertionError):
            until(condition, min(limit_s, 10.0))
        return condition()

    def broker(self, host: str = "first") -> Broker:
        """The broker as it is now; an empty one if nothing was published there."""
        return self.brokers.get(host, Broker())

    def may_fail(self, step: str) -> None:
        if error := self.broken.pop(step, None):
            raise error

    def look(self) -> None:
        """Look at every camera once, in this thread."""
        for runtime in list(self.service.cameras.values()):
            self.service.looks.look(runtime)

    def _open_camera(self, spec: CameraSpec, report: CameraReport, noise: Noise) -> ReportingCamera:
        self.may_fail(f"open {spec.name}")
        self.cameras.append(ReportingCamera(spec, report, self))
        self.noise[spec.name] = noise
        return self.cameras[-1]

    def _open_publisher(self, spec: BrokerSpec, node: str) -> Publisher:
        self.may_fail(f"open publisher {spec.host}")
        return Publisher(self, spec, node)

    def _load_model(self, spec: ModelSpec) -> FakeModel:
        self.loading()
        self.may_fail(f"load {spec.path}")
        model = FakeModel({"people": "3"})
        model.name = str(spec.path)
        self.models.append(model)
        return model


def camera(name: str, *questions: QuestionSpec, address: str = "a", **more: Any) -> CameraSpec:
    return CameraSpec(name, SourceSpec("path", Secret(address), address), questions=questions, **more)


CONFIG = Config(
    "box",
    ModelSpec(Path("m1")),
    BrokerSpec("first"),
    (camera("dock", GATE, PEOPLE), camera("yard", PEOPLE, image="each"), camera("shop", GATE)),
    "UTC",
    "r1",
    Path("edged.yaml"),
)
