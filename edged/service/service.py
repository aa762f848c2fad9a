"""The running parts: cameras, the schedule of their looks, the model's workers, the publisher. For the main thread.

`converge` makes cameras and schedule match a config, from any previous state. Starting, reloading and going back after
a failed reload use this one method.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event as StopSignal

from edged.cameras.source import close_all
from edged.core.errors import ModelError
from edged.core.interfaces import Camera, Noise, Publisher, Store, VisionModel
from edged.core.requests import Received
from edged.core.specs import BrokerSpec, CameraSpec, Config, ModelSpec, QuestionSpec
from edged.core.text import counted, spoken
from edged.core.types import CameraReport, Fact, NpuFigures, utc_now
from edged.service.camera_runtime import ALERT, CameraRuntime, alert_offs, fact_names
from edged.service.frame_keeper import FrameKeeper
from edged.service.look import Looks
from edged.service.observed import NoPage, Observed, Page
from edged.service.paused_camera import PausedCamera
from edged.service.pauses import Pauses
from edged.service.remembered_noise import RememberedNoise, forget_others
from edged.service.scheduler import Schedule
from edged.service.snapshots import Snapshots
from edged.service.time_zone import zone
from edged.service.waiting import Wait
from edged.service.worker import WorkerGroup
from edged.service.worker_queue import WorkerQueue

log = logging.getLogger("edged")

LOOK_THREADS = 32
LOAD_LIMIT_S = 900.0
LEAVE_LIMIT_S = 30.0  # for a worker to reach its next token and dispose of its model
CLOSE_LIMIT_S = 15.0


@dataclass(frozen=True, slots=True)
class Factories:
    """How to create the parts of edged.

    `check_model` checks a model's folder and the questions before it is loaded. `fit_together` is True if the device
    has room for both models at once. `version` is edged's. `npu_figures` may wait for the NPU's driver.
    """

    load_config: Callable[[], Config]
    open_camera: Callable[[CameraSpec, CameraReport, Noise], Camera]
    check_model: Callable[[ModelSpec, Sequence[QuestionSpec]], None]
    load_model: Callable[[ModelSpec], VisionModel]
    fit_together: Callable[[ModelSpec, ModelSpec], bool]
    open_publisher: Callable[[BrokerSpec, str, Store, Callable[[Received], None]], Publisher]
    open_store: Callable[[str], Store]
    clock_synced: Callable[[], bool]
    version: str
    npu_figures: Callable[[], Sequence[NpuFigures]] = tuple
    open_page: Callable[[Observed], Page] = lambda _: NoPage()


class Service:
    """The running parts, and the config that they follow.

    `lost` is called when a worker's device is lost, `requested` with each request; both return at once.
    """

    def __init__(
        self,
        factories: Factories,
        config: Config,
        stop: StopSignal,
        lost: Callable[[ModelError, WorkerGroup | None], None],
        requested: Callable[[Received], None],
    ) -> None:
        self.factories = factories
        self.config = config
        self.queue = WorkerQueue(stop)
        self.looks = Looks(self.queue, stop, factories.clock_synced, lost)
        self.schedule = Schedule(self._look, LOOK_THREADS, self.looks.lateness)
        self.cameras: dict[str, CameraRuntime] = {}
        self.snapshots = Snapshots()
        self._requested = requested
        self._store: Store | None = None
        self._pauses: Pauses | None = None
        self._frame_keeper: FrameKeeper | None = None
        self._publisher: Publisher | None = None
        self._scheduled: dict[str, object] = {}  # the settings that each camera's job depends on

    @property
    def store(self) -> Store:
        assert self._store, "open_store() was not called"
        return self._store

    def open_store(self) -> None:
        """Raises EdgedError if another edged uses the store, or a newer one has written it."""
        self._store = self.factories.open_store(self.config.node)
        self._frame_keeper = FrameKeeper(self._store.frames)

    @property
    def pauses(self) -> Pauses:
        """Read from the store when they are first needed: a slow disk was read while the model was loaded."""
        self._pauses = self._pauses or Pauses(self.store)
        return self._pauses

    @property
    def frame_keeper(self) -> FrameKeeper:
        assert self._frame_keeper, "open_store() was not called"
        return self._frame_keeper

    @property
    def publisher(self) -> Publisher:
        assert self._publisher, "open_publisher() was not called"
        return self._publisher

    def open_publisher(self) -> None:
        """Create the publisher of the config. It is not started."""
        self._publisher = self.new_publisher(self.config)

    def new_publisher(self, config: Config) -> Publisher:
        return self.factories.open_publisher(config.mqtt, config.node, self.store, self._requested)

    # cameras

    def open_camera(self, spec: CameraSpec, config: Config) -> CameraRuntime:
        """Create a camera's runtime, not started. It does not replace the camera's current runtime: see `converge`."""
        is_open, remembered = self.pauses.is_active(spec.name), self.store.facts(ALERT)
        runtime = CameraRuntime(
            spec,
            config.rev,
            lambda: self.publisher,
            remembered,
            zone(config.timezone),
            paused=self.pauses.paused,
            is_open=is_open,
            snapshots=self.snapshots,
            keep_frame=self.frame_keeper.offer,
        )
        runtime.use(self._camera(spec, runtime.report) if is_open else PausedCamera(runtime.report))
        return runtime

    def _camera(self, spec: CameraSpec, report: CameraReport) -> Camera:
        return self.factories.open_camera(spec, report, RememberedNoise(self.store, spec))

    def set_active(self, name: str, question: str | None, active: bool) -> None:
        """Pause or resume a camera, or one of its questions.

        What is resumed is asked within a second, or as soon as the look that still runs has ended.

        If that fails, raises the error, and what was paused before is paused.
        """
        if self.pauses.is_active(name, question) == active:
            self.pauses.confirm(name, question)
            return
        before = self.pauses.facts
        try:
            self._set_active(name, question, active)
        except Exception:
            self.pauses.restore(before)
            self.converge(self.config)
            raise
        what = f"camera {name}" if question is None else f"camera {name}: question {question}"
        log.info("%s: %s", what, "resumed" if active else "paused")

    def _set_active(self, name: str, question: str | None, active: bool) -> None:
        runtime = self.cameras[name]
        change = partial(self.pauses.set, name, question, active)
        runtime.change_pauses(change, self.factories.clock_synced())
        changed = self._is_open(runtime) != runtime.is_open
        opened = {name: self.open_camera(runtime.spec, self.config)} if changed else {}
        if active:
            self._scheduled.pop(name, None)
        self.converge(self.config, opened)

    def recall(self) -> None:
        """Act on the pauses and alerts of an earlier process, if the store could read them only after the start."""
        if not (found := self.store.found_facts()):
            return
        alerts = {fact.name: fact.value for fact in found if fact.kind == ALERT}
        for runtime in self.cameras.values():
            runtime.recall(alerts)
        self.pauses.keep(self.config)
        for camera, question in self.pauses.found_late():
            self.set_active(camera, question, False)
        self._end_alerts(self.config)
        forget_others(self.store, self.config)

    def converge(self, config: Config, opened: dict[str, CameraRuntime] | None = None) -> None:
        """Make cameras and schedule match this config.

        A camera whose spec is unchanged keeps its connection and the phase of its looks. `opened` has runtimes that
        were created for this config; others are created when needed. If this raises, cameras of both configs run:
        converge to the previous config then.
        """
        opened = opened or {}
        before = dict(self.cameras)
        self._stop_cameras(config)
        for spec in config.cameras:
            if spec.name not in self.cameras:
                runtime = opened.get(spec.name) or self.open_camera(spec, config)
                self._start(runtime, before.get(spec.name))
            else:
                self.cameras[spec.name].adopt(spec, config.rev, zone(config.timezone))
            self.cameras[spec.name].report_active(self.pauses.state(spec))
            self.looks.model_outage.keep(spec.name, self.cameras[spec.name].asked(spec))
            self._schedule_looks(spec, config.timezone)
        self._end_alerts(config)
        forget_others(self.store, config)
        self.publisher.follow(config)
        self.frame_keeper.spec = config.frames
        self.store.keep(config.history, config.frames)
        self.snapshots.keep({spec.name: [each.name for each in spec.all_questions()] for spec in config.cameras})
        self.snapshots.keep_frames(config.page is not None)

    def _end_alerts(self, config: Config) -> None:
        """Those of questions that the config does not have go off, and are forgotten."""
        kept = {name for spec in config.cameras for name in fact_names(spec).values()}
        gone = {name: stored for name, stored in sorted(self.store.facts(ALERT).items()) if name not in kept}
        if gone:
            forgotten = [Fact(ALERT, name, None) for name in gone]
            self.publisher.answers([], alert_offs(gone, utc_now()), None, forgotten)

    def close_cameras(self, reason: str) -> None:
        """Publish every camera as offline for this reason, and close it. Bounded."""
        for runtime in self.cameras.values():
            runtime.retire(reason)
        close_all([runtime.camera for runtime in self.cameras.values()])

    def _is_open(self, runtime: CameraRuntime) -> bool:
        """True if this camera should be open."""
        return self.pauses.is_active(runtime.spec.name)

    def _must_stop(self, runtime: CameraRuntime, spec: CameraSpec | None) -> bool:
        if spec is None or runtime.spec.connection != spec.connection or not runtime.in_service:
            return True
        return runtime.is_open != self._is_open(runtime)

    def _stop_cameras(self, config: Config) -> None:
        """Stop the cameras that are not in the config, and those whose source has to be closed or opened again."""
        runtimes = self.cameras.items()
        stopping = {name: runtime for name, runtime in runtimes if self._must_stop(runtime, config.camera(name))}
        for runtime in stopping.values():
            runtime.retire()
        close_all([runtime.camera for runtime in stopping.values()])
        for name in stopping:
            del self.cameras[name]
            if config.camera(name) is None:
                self.schedule.remove(name)
                self._scheduled.pop(name, None)
                self.looks.model_outage.camera_removed(name)
                log.info("camera %s: removed", name)

    def _start(self, runtime: CameraRuntime, before: CameraRuntime | None) -> None:
        if before:
            runtime.inherit(before)
        self.cameras[runtime.spec.name] = runtime
        runtime.start()

    # looks

    def _schedule_looks(self, spec: CameraSpec, timezone: str | None) -> None:
        looks = spec.questions and self.cameras[spec.name].is_open
        wanted = (spec.schedule, spec.hours, timezone) if looks else None
        if self._scheduled.get(spec.name) == wanted:
            return
        if wanted:
            self.schedule.add(spec, timezone)
        else:
            self.schedule.remove(spec.name)
        self._scheduled[spec.name] = wanted

    def _look(self, name: str) -> None:
        if runtime := self.cameras.get(name):
            self.looks.look(runtime)

    # the model

    def load(self, config: Config, wait: Wait) -> WorkerGroup:
        """Load this config's model, each worker in its own thread. The group does not serve yet: see `serve`.

        Raises ModelError, or Stopped if edged has to end.
        """
        begun = time.monotonic()
        log.info("model: loading %s", config.model.path)
        group = self.queue.load([partial(self.factories.load_model, worker) for worker in config.model.each_worker()])
        try:
            if not wait(group.ready, LOAD_LIMIT_S):
                raise ModelError(f"model: not loaded after {spoken(LOAD_LIMIT_S)}")
            for model in group.models():
                model.check(config.all_questions())
        except BaseException:
            self.queue.dismiss(group)
            raise
        first, *others = group.models()
        workers = f", {counted(1 + len(others), 'worker')}" if others else ""
        took = spoken(time.monotonic() - begun)
        log.info("model: %s is ready after %s (%s%s)", first.name, took, first.device, workers)
        return group

    def serve(self, group: WorkerGroup) -> None:
        """Let this group answer. The one before is dismissed."""
        self.queue.serve(group)
        self.looks.model_outage.model_replaced(group)  # after that: a dismissed group reports no failures
        for runtime in self.cameras.values():
            runtime.forget_answers()

    def wait_for_dismissed(self, wait: Wait, limit_s: float = LEAVE_LIMIT_S, replaced: bool = False) -> bool:
        """Wait until every dismissed group has disposed of its models. Bounded; False if one has not.

        An encode cannot be interrupted, and may take minutes on a CPU. If a model was `replaced`, that is no error
        while the call is within its own limit.
        """
        if wait(self.queue.gone, limit_s):
            return True
        if replaced and (due_s := self.queue.due_in_s()):
            log.info("model: the previous one is unloaded when its last call has returned, within %s", spoken(due_s))
        else:
            log.error("model: a call has not returned within %s, so the model is not unloaded", spoken(limit_s))
        return False

    # the broker

    def change_broker(self, publisher: Publisher, old: Config, new: Config, wait: Wait) -> None:
        """Replace the publisher. The new one gets the camera states and the undelivered messages of the old one."""
        before, self._publisher = self.publisher, publisher
        try:
            self._leave_broker(before, old, new)
        finally:  # even after an error: two clients with the same id would disconnect each other for ever
            closing = threading.Thread(target=before.close, name="edged-broker-close", daemon=True)
            closing.start()
            wait(lambda: not closing.is_alive(), CLOSE_LIMIT_S)
        publisher.adopt(before.release())
        publisher.follow(new)
        publisher.start()
        publisher.online()

    def _leave_broker(self, before: Publisher, old: Config, new: Config) -> None:
        for runtime in self.cameras.values():
            runtime.report_again()  # takes its lock, so no look publishes through the old publisher after this
        if _topics(old) != _topics(new):
            before.withdraw(new)


def _topics(config: Config) -> tuple[object, ...]:
    """The broker and the topics that have this config's retained messages."""
    return (config.mqtt.host, config.mqtt.port, config.mqtt.prefix, config.node)
