"""What runs: cameras, the schedule of their looks, the model's workers, the publisher. For the main thread.

`converge` makes cameras and schedule what a config says, whatever ran before; starting, reloading and going back after
a reload that failed are that one function.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event as StopSignal
from typing import TypeAlias

from edged.cameras.source import close_all
from edged.core.errors import ModelError
from edged.core.interfaces import Camera, Publisher, VisionModel
from edged.core.specs import BrokerSpec, CameraSpec, Config, ModelSpec, QuestionSpec
from edged.core.text import counted, spoken
from edged.core.types import CameraReport
from edged.service.camera_runtime import CameraRuntime
from edged.service.look import Looks
from edged.service.plan import questions_gone
from edged.service.scheduler import Schedule
from edged.service.worker_queue import WorkerGroup, WorkerQueue

log = logging.getLogger("edged")

LOOK_THREADS = 32
LOAD_LIMIT_S = 900.0
LEAVE_LIMIT_S = 30.0  # for a worker to come to its next token and dispose its model
CLOSE_LIMIT_S = 15.0

# Wait until something holds, at most so many seconds, while signals are heard and the watchdog is fed; whether it came
# to hold. Raises Stopped.
Wait: TypeAlias = Callable[[Callable[[], bool], float], bool]


@dataclass(frozen=True, slots=True)
class Factories:
    """How to make what edged consists of, and how to judge a model's folder before it is loaded."""

    load_config: Callable[[], Config]
    open_camera: Callable[[CameraSpec, CameraReport], Camera]
    check_model: Callable[[ModelSpec, Sequence[QuestionSpec]], None]
    load_model: Callable[[ModelSpec], VisionModel]
    fit_together: Callable[[ModelSpec, ModelSpec], bool]
    open_publisher: Callable[[BrokerSpec, str], Publisher]
    clock_synced: Callable[[], bool]
    version: str


class Service:
    """The running parts, and the config that they follow."""

    def __init__(
        self,
        factories: Factories,
        config: Config,
        stop: StopSignal,
        lost: Callable[[ModelError, WorkerGroup | None], None],
    ) -> None:
        self.factories = factories
        self.config = config
        self.queue = WorkerQueue(stop)
        self.looks = Looks(self.queue, stop, factories.clock_synced, lost)
        self.schedule = Schedule(self._look, LOOK_THREADS, self.looks.lateness)
        self.cameras: dict[str, CameraRuntime] = {}
        self.publisher: Publisher = factories.open_publisher(config.mqtt, config.node)
        self._planned: dict[str, object] = {}  # what each camera's job was made of

    # cameras

    def open_camera(self, spec: CameraSpec, config_rev: str) -> CameraRuntime:
        """Make a camera's runtime. Nothing is started, opened or replaced yet."""
        runtime = CameraRuntime(spec, config_rev, lambda: self.publisher)
        runtime.use(self.factories.open_camera(spec, runtime.report))
        return runtime

    def converge(self, config: Config, opened: dict[str, CameraRuntime] | None = None) -> None:
        """Make cameras and schedule what this config says. Disturbs nothing that is so already.

        `opened` are runtimes made for it. What fails leaves a mixture: converge to the former config then.
        """
        fresh = opened or {}
        before = dict(self.cameras)
        self._stop_changed(config)
        for spec in config.cameras:
            if spec.name not in self.cameras:
                runtime = fresh.get(spec.name) or self.open_camera(spec, config.rev)
                self._start(runtime, before.get(spec.name))
            else:
                self._adopt(spec, config.rev)
            self.looks.forget(spec.name, ["", *(question.name for question in spec.questions)])
            self._plan_looks(spec, config.timezone)

    def _adopt(self, spec: CameraSpec, config_rev: str) -> None:
        runtime = self.cameras[spec.name]
        before = runtime.spec
        runtime.adopt(spec, config_rev)
        self._clear_gone(before, spec)

    def close_cameras(self, reason: str) -> None:
        """Publish them as offline for this reason, and let go of every source. Bounded."""
        for runtime in self.cameras.values():
            runtime.retire(reason)
        close_all([runtime.camera for runtime in self.cameras.values()])

    def _stop_changed(self, config: Config) -> None:
        """Stop cameras that left the config, or whose source has to be opened anew."""
        stopping = {name: one for name, one in self.cameras.items() if _source_changed(one, config.camera(name))}
        for runtime in stopping.values():
            runtime.retire()
        close_all([runtime.camera for runtime in stopping.values()])
        for name, runtime in stopping.items():
            del self.cameras[name]
            if config.camera(name) is None:
                self.schedule.remove(name)
                self._planned.pop(name, None)
                self.looks.forget(name)
                names = [question.name for question in runtime.spec.all_questions()]
                self.publisher.retire(name, names, gone=True)

    def _start(self, runtime: CameraRuntime, before: CameraRuntime | None) -> None:
        name = runtime.spec.name
        if before:
            runtime.inherit(before)
            self._clear_gone(before.spec, runtime.spec)
        self.cameras[name] = runtime
        runtime.camera.start()

    def _clear_gone(self, before: CameraSpec, after: CameraSpec) -> None:
        """Clear what a camera that stays no longer publishes."""
        no_picture = before.image and not (after.image and after.questions)
        self.publisher.retire(after.name, questions_gone(before, after), picture=no_picture)

    # looks

    def _plan_looks(self, spec: CameraSpec, timezone: str | None) -> None:
        wanted = (spec.schedule, spec.hours, timezone) if spec.questions else None
        if self._planned.get(spec.name) == wanted:
            return
        if wanted:
            self.schedule.add(spec, timezone)
        else:
            self.schedule.remove(spec.name)
        self._planned[spec.name] = wanted

    def _look(self, name: str) -> None:
        if runtime := self.cameras.get(name):
            self.looks.look(runtime)

    # the model

    def load(self, config: Config, wait: Wait) -> WorkerGroup:
        """Load this config's model, each worker in a thread of its own; none serves yet. Raises ModelError, Stopped."""
        begun = time.monotonic()
        log.info("model: loading %s", config.model.path)
        group = self.queue.load([partial(self.factories.load_model, worker) for worker in config.model.each_worker()])
        try:
            if not wait(group.ready, LOAD_LIMIT_S):
                raise ModelError(f"model: not loaded after {spoken(LOAD_LIMIT_S)}")
            for model in group.models():
                model.check(all_questions(config))
        except BaseException:
            self.queue.dismiss(group)
            raise
        first, *others = group.models()
        workers = f" ({counted(1 + len(others), 'worker')})" if others else ""
        log.info("model: %s is ready after %s%s", first.name, spoken(time.monotonic() - begun), workers)
        return group

    def serve(self, group: WorkerGroup) -> None:
        """From now on this group answers; the one before leaves."""
        self.queue.serve(group)
        self.looks.model_outage.forget(lambda _: True)  # last: the one before fails no more once it was told to leave
        for runtime in self.cameras.values():
            runtime.forget_answers()

    def dismissed(self, wait: Wait) -> bool:
        """Wait until every group that was dismissed has left. Bounded; whether they have."""
        if wait(self.queue.gone, LEAVE_LIMIT_S):
            return True
        log.error("model: a call has not ended for %s; its model cannot be disposed", spoken(LEAVE_LIMIT_S))
        return False

    # the broker

    def change_broker(self, publisher: Publisher, old: Config, new: Config, wait: Wait) -> None:
        """Publish through this one from now on. What the one before could not deliver is handed over."""
        before, self.publisher = self.publisher, publisher
        try:
            self._leave_broker(before, old, new)
        finally:  # whatever failed: two of one client id would push each other off the broker for ever
            closing = threading.Thread(target=before.close, name="edged-broker-close", daemon=True)
            closing.start()
            wait(lambda: not closing.is_alive(), CLOSE_LIMIT_S)
        publisher.adopt(before.release())
        publisher.start()
        publisher.online()

    def _leave_broker(self, before: Publisher, old: Config, new: Config) -> None:
        for runtime in self.cameras.values():
            runtime.report_again()  # under its lock: whoever still published through the old one has done so now
        if _place(old) != _place(new):
            names: dict[str, set[str]] = {}
            for spec in (*old.cameras, *(runtime.spec for runtime in self.cameras.values())):
                names.setdefault(spec.name, set()).update(question.name for question in spec.all_questions())
            before.withdraw({camera: sorted(questions) for camera, questions in names.items()})


def all_questions(config: Config) -> list[QuestionSpec]:
    return [question for camera in config.cameras for question in camera.all_questions()]


def _source_changed(runtime: CameraRuntime, spec: CameraSpec | None) -> bool:
    return spec is None or runtime.spec.connection != spec.connection


def _place(config: Config) -> tuple[object, ...]:
    """Where on which broker this config's retained messages stand."""
    return (config.mqtt.host, config.mqtt.port, config.mqtt.prefix, config.node)
