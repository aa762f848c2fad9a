"""Lifetimes, signals, reload and watchdog: `edged run` from start to exit, in the main thread.

Signals put a word into a queue and nothing else. Leaving one ExitStack stops everything in the opposite order of its
start. Whatever is replaced by a reload (a camera, the model, the broker) is made by the functions in `Parts`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event as StopSignal
from types import FrameType
from typing import Literal, TypeAlias

from edged import systemd
from edged.cameras.source import close_all
from edged.config import ConfigError
from edged.core import (
    EXIT_OK,
    EXIT_UNAVAILABLE,
    Camera,
    CameraReport,
    CameraState,
    EdgedError,
    ModelError,
    Publisher,
    VisionModel,
)
from edged.lateness import Lateness
from edged.look import Looks, Post
from edged.outage import Outage, counted, spoken
from edged.plan import Plan, plan
from edged.schedule import Schedule, interval_s
from edged.specs import BrokerSpec, CameraSpec, Config, ModelSpec
from edged.turns import Turns

log = logging.getLogger("edged")

Word: TypeAlias = Literal["stop", "reload", "lost"]

POLL_S = 0.4  # of the config file; a change counts when two polls have seen the same
HEALTH_EVERY_S = 60.0
LOAD_LIMIT_S = 900.0
MOVE_LIMIT_S = 60.0  # how late the schedule may be before the watchdog is no longer fed
CLOCK_JUMP_S = 5.0
LOOK_THREADS = 32


@dataclass(frozen=True, slots=True)
class Parts:
    """How to make what edged consists of."""

    load_config: Callable[[], Config]
    open_camera: Callable[[CameraSpec, CameraReport], Camera]
    load_model: Callable[[ModelSpec], VisionModel]
    open_publisher: Callable[[BrokerSpec, str], Publisher]
    clock_synced: Callable[[], bool]
    version: str


@dataclass(slots=True)
class Daemon:
    """One running edged."""

    parts: Parts
    config: Config
    stop: StopSignal = field(default_factory=StopSignal)
    words: SimpleQueue[Word] = field(default_factory=SimpleQueue)
    posts: dict[str, Post] = field(default_factory=dict)
    states: dict[str, CameraState] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    lost: ModelError | None = None
    started: float = field(default_factory=time.monotonic)
    turns: Turns = field(init=False)
    looks: Looks = field(init=False)
    schedule: Schedule = field(init=False)
    publisher: Publisher = field(init=False)
    pulse: Pulse = field(init=False)
    file: WatchedFile = field(init=False)

    def __post_init__(self) -> None:
        self.turns = Turns(self.stop)
        self.looks = Looks(self.turns, self.stop, lambda: self.publisher, self.parts.clock_synced, self._model_lost)
        self.schedule = Schedule(self._look, LOOK_THREADS, Lateness())
        self.pulse = Pulse()
        self.file = WatchedFile(self.config.path)

    def run(self) -> int:
        """Work until told to stop; the exit code. Raises ModelError if the model cannot be loaded."""
        with ExitStack() as stack:
            stack.enter_context(_signals(self.words))
            stack.callback(self._say_stopping)
            self.publisher = self.parts.open_publisher(self.config.mqtt, self.config.node)
            stack.callback(self._close_publisher)
            self.publisher.start()
            stack.callback(self.turns.close)
            if not self._load_model(self.config.model):
                return EXIT_OK
            stack.callback(self._close_cameras)
            for spec in self.config.cameras:
                self._open(spec)
            self.schedule.start()
            stack.callback(self.schedule.stop)
            stack.callback(self._begin_to_stop)
            for spec in self.config.cameras:
                self._plan_looks(spec)
            self._say_ready()
            self._work()
        return EXIT_UNAVAILABLE if self.lost else EXIT_OK

    # the start

    def _load_model(self, spec: ModelSpec) -> bool:
        """Load the model in its own thread, so that signals and systemd are heard; False if told to stop meanwhile."""
        begun, later = time.monotonic(), False
        log.info("model: loading %s", spec.path)
        self.turns.open([partial(self.parts.load_model, worker) for worker in spec.each_worker()])
        while not self.turns.ready():
            if time.monotonic() - begun > LOAD_LIMIT_S:
                raise ModelError(f"model: not loaded after {spoken(LOAD_LIMIT_S)}")
            systemd.notify("EXTEND_TIMEOUT_USEC=30000000", "WATCHDOG=1", "STATUS=loading the model")
            word = self._heard(0.2)
            if word == "stop":
                self._begin_to_stop()
                return False
            later |= word == "reload"
        if later:
            self.words.put("reload")
        model, *others = self.turns.models()
        model.check([question for camera in self.config.cameras for question in camera.all_questions()])
        workers = f" ({1 + len(others)} workers)" if others else ""
        log.info("model: %s is ready after %s%s", model.name, spoken(time.monotonic() - begun), workers)
        return True

    def _say_ready(self) -> None:
        log.info("ready: %s, broker %s", counted(len(self.config.cameras), "camera"), self.config.mqtt.shown)
        if not self.config.cameras:
            log.warning("there are no cameras in %s, so there is nothing to look at", self.config.path)
        self._publish_info()
        self._publish_health()
        self.publisher.online()
        systemd.notify("READY=1", f"STATUS={self._status()}", "WATCHDOG=1")

    # the work

    def _work(self) -> None:
        health_due = time.monotonic() + HEALTH_EVERY_S
        while True:
            word = self._heard(POLL_S)
            if word in ("stop", "lost"):
                return
            if word == "reload" or self.file.changed():
                self._reload()
            if self.pulse.clock_jumped():
                log.warning("the system's clock was set; looks begin anew")
                self.schedule.shift()
            if time.monotonic() >= health_due:
                health_due = time.monotonic() + HEALTH_EVERY_S
                self._publish_health()
            self.pulse.tell(self._status(), self._moving())

    def _heard(self, wait_s: float) -> Word | None:
        try:
            return self.words.get(timeout=wait_s)
        except Empty:
            return None

    def _look(self, name: str) -> None:
        if post := self.posts.get(name):
            self.looks.look(post)

    def _model_lost(self, error: ModelError) -> None:
        self.lost = error
        self.words.put("lost")

    def _moving(self) -> bool:
        """Whether model, schedule and publisher are within their time: else systemd is to start edged anew."""
        published_s = time.monotonic() - self.publisher.moved_at
        return self.turns.overdue_s() == 0 and max(self.schedule.timer_lateness_s(), published_s) < MOVE_LIMIT_S

    def _status(self) -> str:
        down = sum(1 for state in self.states.values() if not state.online)
        parts = [counted(len(self.posts), "camera") + (f", {down} down" if down else "")]
        parts.append("broker connected" if self.publisher.figures().connected else "broker not connected")
        if self.problems:
            parts.append(f"config not reloaded: {self.problems[0]}")
        return "; ".join(parts)

    # cameras

    def _open(self, spec: CameraSpec, before: Post | None = None) -> None:
        """Start a camera, with what is remembered of it if it was open before."""
        camera = self.parts.open_camera(spec, self._reporter(spec.name))
        post = Post(spec, camera, interval_s(spec), self.config.rev)
        if before:
            post.asked_at, post.answered, post.histories = before.asked_at, before.answered, before.histories
        self.posts[spec.name] = post
        camera.start()

    def _plan_looks(self, spec: CameraSpec, soon: bool = True) -> None:
        if spec.questions:
            self.schedule.add(spec, self.config.timezone, soon)

    def _reporter(self, name: str) -> CameraReport:
        def report(state: CameraState) -> None:
            self.states[name] = state
            self.publisher.camera(name, state)

        return report

    def _retire(self, name: str) -> None:
        """Stop looking through this camera; an answer of its that is still being made is not published."""
        post = self.posts.pop(name)
        with post.lock:
            post.retired = True
        post.camera.close()
        self.states.pop(name, None)

    def _close_cameras(self) -> None:
        close_all([post.camera for post in self.posts.values()])

    # reload

    def _reload(self) -> None:
        """Take the config file's new content, or say why not and change nothing."""
        self.file.settle()
        try:
            new = self.parts.load_config()
            self._check_questions(new)
        except (ConfigError, ModelError) as error:
            self.problems = error.problems if isinstance(error, ConfigError) else [str(error)]
            for problem in self.problems:
                log.error("config not reloaded: %s", problem)
            self._publish_info()
            return
        self.problems = []
        for warning in new.warnings:
            log.warning("%s", warning)
        self._apply(plan(self.config, new), new)
        self._publish_info()

    def _check_questions(self, new: Config) -> None:
        for model in self.turns.models():
            model.check([question for camera in new.cameras for question in camera.all_questions()])

    def _apply(self, change: Plan, new: Config) -> None:
        old, self.config = self.config, new
        if change.mqtt:
            self._change_broker(old)
        if change.model:
            self._change_model(old)
        for name in change.stop:
            self._forget(old, name)
        for name, questions in change.retired:
            self.publisher.retire(name, questions)
        for spec in self.config.cameras:
            if spec.name in change.start:
                self._open(spec)
                self._plan_looks(spec)
            else:
                self._adopt(spec, change)
        log.info("config reloaded: %s", change)

    def _forget(self, old: Config, name: str) -> None:
        spec = old.camera(name)
        self.schedule.remove(name)
        self._retire(name)
        self.publisher.retire(name, [question.name for question in spec.all_questions()] if spec else [], gone=True)

    def _adopt(self, spec: CameraSpec, change: Plan) -> None:
        """Give a camera that stays its new spec; its connection and phase stay too unless they have to change."""
        post = self.posts[spec.name]
        if spec.name in change.reopen:
            self._retire(spec.name)
            self._open(spec, before=post)
        else:
            post.spec, post.config_rev = spec, self.config.rev
            post.interval_s = interval_s(spec)
        if not spec.questions:
            self.schedule.remove(spec.name)
        elif spec.name in change.reschedule or not self.schedule.has(spec.name):
            self._plan_looks(spec)

    def _change_broker(self, old: Config) -> None:
        """Leave the old broker, then go to the new one; back to the old one if the new cannot even be tried."""
        self._close_publisher()
        try:
            self.publisher = self.parts.open_publisher(self.config.mqtt, self.config.node)
            self.publisher.start()
        except EdgedError as error:
            log.error("broker not changed: %s", error)
            self.problems = [str(error)]
            self.config = dataclasses.replace(self.config, mqtt=old.mqtt, node=old.node)
            self.publisher = self.parts.open_publisher(old.mqtt, old.node)
            self.publisher.start()
        self.publisher.online()
        for name, state in list(self.states.items()):
            self.publisher.camera(name, state)

    def _change_model(self, old: Config) -> None:
        """Load another model. Looks wait meanwhile; if it fails, the old one is loaded again."""
        self.turns.close()
        try:
            stopped = not self._load_model(self.config.model)
        except ModelError as error:
            log.error("model not changed: %s", error)
            self.problems = [str(error)]
            self.config = dataclasses.replace(self.config, model=old.model)
            self.turns.close()
            stopped = not self._load_model(old.model)
        if stopped:
            self.words.put("stop")

    # what is said of edged itself

    def _publish_info(self) -> None:
        model = next(iter(self.turns.models()), None)
        self.publisher.info(
            {
                "version": self.parts.version,
                "model": model.name if model else None,
                "model_rev": model.revision if model else None,
                "config_rev": self.config.rev,
                "config_problems": self.problems,
                "cameras": {
                    camera.name: {
                        "title": camera.title,
                        "source": camera.source.shown,
                        "questions": [question.name for question in camera.all_questions()],
                    }
                    for camera in self.config.cameras
                },
            }
        )

    def _publish_health(self) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.publisher.health(
            {
                "uptime_s": round(time.monotonic() - self.started),
                "cameras": {
                    name: {
                        "looks": post.looks,
                        "skipped": self.schedule.ticks(name).skipped,
                        "online": bool((state := self.states.get(name)) and state.online),
                    }
                    for name, post in self.posts.items()
                },
                "lateness_s": round(self.schedule.timer_lateness_s(), 1),
                "waiting_looks": self.turns.waiting(),
                "broker": dataclasses.asdict(self.publisher.figures()),
                "process": {
                    "resident_bytes": _resident_bytes(),
                    "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
                },
                "clock_synced": self.parts.clock_synced(),
            }
        )

    # the end

    def _begin_to_stop(self) -> None:
        self.stop.set()
        self.turns.wake()

    def _say_stopping(self) -> None:
        log.info("stopped")

    def _close_publisher(self) -> None:
        if not self.publisher.close():
            log.info("the broker was not told that edged is offline; its last will says so")


class Pulse:
    """Feeds systemd's watchdog while work moves, tells its status when that changes, and sees jumps of the clock."""

    def __init__(self) -> None:
        limit = systemd.watchdog_s()
        self._every = limit / 3 if limit else None
        self._fed = 0.0
        self._status = ""
        self._stuck = Outage("work", log, "moves again")
        self._offset = time.time() - time.monotonic()

    def tell(self, status: str, moving: bool) -> None:
        if status != self._status:
            self._status = status
            systemd.notify(f"STATUS={status}")
        if not moving:
            self._stuck.begin(
                "a model call or the schedule does not move; the watchdog is no longer fed", level=logging.ERROR
            )
            return
        self._stuck.end()
        if self._every and time.monotonic() - self._fed >= self._every:
            self._fed = time.monotonic()
            systemd.notify("WATCHDOG=1")

    def clock_jumped(self) -> bool:
        """Whether the wall clock was set since the last call, by more than it drifts."""
        before, self._offset = self._offset, time.time() - time.monotonic()
        return abs(self._offset - before) > CLOCK_JUMP_S


class WatchedFile:
    """Whether a file's content has changed, and has then stayed the same for two polls."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._digest()
        self._candidate: bytes | None = None

    def changed(self) -> bool:
        now = self._digest()
        if now is None or now == self._known:
            self._candidate = None
            return False
        if now != self._candidate:
            self._candidate = now
            return False
        self._known = now
        return True

    def settle(self) -> None:
        """What stands in the file now is known."""
        self._known = self._digest() or self._known

    def _digest(self) -> bytes | None:
        try:
            return hashlib.sha256(self._path.read_bytes()).digest()
        except OSError:  # an editor that is just replacing it
            return None


@contextmanager
def _signals(words: SimpleQueue[Word]) -> Iterator[None]:
    """SIGTERM and SIGINT say stop, the second of them kills; SIGHUP says reload."""
    heard: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if heard:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        heard.append(number)
        words.put("stop")

    def reload(_number: int, _frame: FrameType | None) -> None:
        words.put("reload")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, reload)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resident_bytes() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def start(parts: Parts) -> int:
    """Read the config and run; the exit code. What keeps edged from starting is said in the log."""
    try:
        config = parts.load_config()
        for warning in config.warnings:
            log.warning("%s", warning)
        return Daemon(parts, config).run()
    except (ConfigError, ModelError) as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        systemd.notify(f"STATUS={str(error).splitlines()[0]}")
        return error.code
