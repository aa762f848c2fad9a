"""`edged run` from start to exit, in the main thread: lifetimes, signals, the main loop.

Signals put a command into a queue and nothing else. Leaving one ExitStack stops everything in the opposite order of its
start.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event as StopSignal
from types import FrameType
from typing import Literal, TypeAlias

from edged.config.load import ConfigError
from edged.core.errors import EXIT_OK, CannotGoOn, EdgedError, ModelError, Stopped
from edged.core.specs import Config
from edged.core.text import counted
from edged.service.reload import Reload
from edged.service.service import Factories, Service
from edged.service.watchdog import Watchdog
from edged.service.watched_file import WatchedFile
from edged.service.worker_queue import WorkerGroup

log = logging.getLogger("edged")

POLL_S = 0.4  # of the config file; a change counts when two polls have seen the same
WAIT_S = 0.1  # between two looks at what the main thread waits for
RELOAD_SPACING_S = 0.5  # signals that come faster are one reload
HEALTH_EVERY_S = 60.0
MOVE_LIMIT_S = 60.0  # how late schedule or publisher may be before the watchdog is no longer fed
STOPPED = "edged is stopped"


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """A device failed for good under this group."""

    error: ModelError
    group: WorkerGroup | None


Command: TypeAlias = Literal["stop", "reload"] | Lost


class Daemon:
    """One running edged. `file` is the config's, watched since before the config was read from it."""

    def __init__(
        self, factories: Factories, config: Config, file: WatchedFile, commands: SimpleQueue[Command] | None = None
    ) -> None:
        self.commands: SimpleQueue[Command] = SimpleQueue() if commands is None else commands
        self.stop = StopSignal()
        self.service = Service(factories, config, self.stop, self._model_lost)
        self.problems: list[str] = []
        self.failure: EdgedError | None = None  # what edged ends for
        self._factories = factories
        self._watchdog = Watchdog()
        self._file = file
        self._reload = Reload(self.service, self._wait, self._wait_on)
        self._started = time.monotonic()
        self._health_due = self._started
        self._ready = False
        self._stopping = False
        self._reload_wanted = False
        self._reloaded_at = float("-inf")

    def run(self) -> int:
        """Work until told to stop; the exit code. Raises EdgedError if edged cannot start."""
        service = self.service
        with ExitStack() as stack:
            stack.enter_context(_signals(self.commands))
            stack.callback(log.info, "stopped")
            stack.callback(self._close_publisher)
            service.publisher.start()
            stack.callback(service.dismissed, self._wait_on)
            stack.callback(service.queue.halt)
            try:
                service.serve(service.load(service.config, self._wait))
            except Stopped:
                self._begin_to_stop()
                return EXIT_OK
            stack.callback(service.close_cameras, STOPPED)
            service.converge(service.config)
            stack.callback(service.schedule.stop)
            stack.callback(self._begin_to_stop)
            service.schedule.start()
            self._say_ready()
            self._work()
        return self.failure.code if self.failure else EXIT_OK

    def _say_ready(self) -> None:
        config = self.service.config
        log.info("ready: %s, broker %s", counted(len(config.cameras), "camera"), config.mqtt.shown)
        if not config.cameras:
            log.warning("there are no cameras in %s, so there is nothing to look at", config.path)
        self._publish_info()
        self._publish_health()
        self.service.publisher.online()
        self._ready = True
        self._watchdog.ready(self._status())

    # the work

    def _work(self) -> None:
        while not self._ending():
            self._hear(POLL_S)
            if self._file.changed():
                self._reload_wanted = True
            if self._reload_wanted and time.monotonic() >= self._reloaded_at + RELOAD_SPACING_S:
                self._take_config()
            self._beat()

    def _beat(self) -> None:
        """What goes on all the time, also while the main thread waits for a model or a broker."""
        if self._watchdog.clock_jumped():
            log.warning("the system's clock was set; the intervals of all cameras begin anew")
            self.service.schedule.shift()
        if time.monotonic() >= self._health_due:
            self._publish_health()
        self._watchdog.tell(self._status(), self._moving())

    def _ending(self) -> bool:
        return self._stopping or self.failure is not None

    def _hear(self, wait_s: float) -> None:
        """Wait for commands, and note all that have come: many reloads are one."""
        try:
            command = self.commands.get(timeout=wait_s)
            while True:
                self._note(command)
                command = self.commands.get_nowait()
        except Empty:
            return

    def _note(self, command: Command) -> None:
        match command:
            case "stop":
                if not self._stopping:
                    log.info("stopping")
                self._stopping = True
            case "reload":
                self._reload_wanted = True
            case Lost(error, group) if group is self.service.queue.serving():
                self.failure = error
            case Lost(error, _):
                log.debug("a model that was replaced has lost its device: %s", error)

    def _wait(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Wait until something holds, feeding the watchdog; whether it came to hold in time. Raises Stopped."""
        return self._waited(until, limit_s, heed_stop=True)

    def _wait_on(self, until: Callable[[], bool], limit_s: float) -> bool:
        """The same, to the end, even if edged is told to stop."""
        return self._waited(until, limit_s, heed_stop=False)

    def _waited(self, until: Callable[[], bool], limit_s: float, heed_stop: bool) -> bool:
        end = time.monotonic() + limit_s
        while not until():
            if time.monotonic() > end:
                return False
            if self._ready:
                self._beat()
            else:
                self._watchdog.starting("loading the model")
            self._hear(WAIT_S)
            if heed_stop and self._ending():
                raise Stopped
        return True

    def _model_lost(self, error: ModelError, group: WorkerGroup | None) -> None:
        self.commands.put(Lost(error, group))

    def _moving(self) -> bool:
        """Whether model, schedule and publisher are within their time: else systemd is to start edged anew."""
        published_s = time.monotonic() - self.service.publisher.moved_at
        late_s = max(self.service.schedule.timer_lateness_s(), published_s)
        return self.service.queue.overdue_s() == 0 and late_s < MOVE_LIMIT_S

    def _status(self) -> str:
        if self._stopping:
            return "stopping"
        cameras = self.service.cameras.values()
        down = sum(1 for runtime in cameras if not runtime.online)
        parts = [counted(len(cameras), "camera") + (f", {down} not online" if down else "")]
        parts.append("broker connected" if self.service.publisher.figures().connected else "broker not connected")
        if self.problems:
            parts.append(f"config not reloaded: {self.problems[0]}")
        return "; ".join(parts)

    # reload

    def _take_config(self) -> None:
        """Take the config file's new content, or say why not; whatever stands in it, edged goes on."""
        self._reload_wanted = False
        self._file.settle()
        try:
            new = self._factories.load_config()
            for warning in new.warnings:
                if warning not in self.service.config.warnings:
                    log.warning("%s", warning)
            change = self._reload.take(new)
        except Stopped:
            return
        except CannotGoOn as error:
            log.error("%s", error)
            self.failure = error
            return
        except EdgedError as error:
            self._refused(error.problems if isinstance(error, ConfigError) else [str(error)])
        except Exception as error:
            log.exception("config not reloaded: unexpected error")
            self._refused([f"unexpected error: {error!r}"])
        else:
            self.problems = []
            log.info("config reloaded: %s", change)
        self._reloaded_at = time.monotonic()
        self._publish_info()
        self._publish_health()  # a new broker or node has none yet

    def _refused(self, problems: list[str]) -> None:
        self.problems = problems
        for problem in problems:
            log.error("config not reloaded: %s", problem)

    # what is published about edged itself

    def _publish_info(self) -> None:
        model = next(iter(self.service.queue.models()), None)
        config = self.service.config
        self.service.publisher.info(
            {
                "version": self._factories.version,
                "model": model.name if model else None,
                "model_rev": model.revision if model else None,
                "config_rev": config.rev,
                "config_problems": self.problems,
                "cameras": {
                    camera.name: {
                        "title": camera.title,
                        "source": camera.source.shown,
                        "questions": [question.name for question in camera.all_questions()],
                    }
                    for camera in config.cameras
                },
            }
        )

    def _publish_health(self) -> None:
        self._health_due = time.monotonic() + HEALTH_EVERY_S
        service, usage = self.service, resource.getrusage(resource.RUSAGE_SELF)
        mean_s, longest_s = service.looks.lateness.figures()
        service.publisher.health(
            {
                "uptime_s": round(time.monotonic() - self._started),
                "cameras": {
                    name: {
                        "looks": runtime.looks,
                        "skipped": service.schedule.ticks(name).skipped,
                        "online": runtime.online,
                    }
                    for name, runtime in service.cameras.items()
                },
                "lateness_s": round(mean_s, 2),
                "lateness_longest_s": round(longest_s, 2),
                "waiting_looks": service.queue.waiting(),
                "broker": dataclasses.asdict(service.publisher.figures()),
                "process": {
                    "resident_bytes": _resident_bytes(),
                    "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
                },
                "clock_synced": self._factories.clock_synced(),
            }
        )

    # the end

    def _begin_to_stop(self) -> None:
        self._stopping = True
        self._watchdog.stopping()
        self.service.queue.halt()

    def _close_publisher(self) -> None:
        if not self.service.publisher.close():
            log.info("the broker was not told that edged is offline; its last will says so")


@contextmanager
def _signals(commands: SimpleQueue[Command]) -> Iterator[None]:
    """SIGTERM and SIGINT say stop, the second of them kills; SIGHUP says reload."""
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if received:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        received.append(number)
        commands.put("stop")

    def reload(_number: int, _frame: FrameType | None) -> None:
        commands.put("reload")

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


def start(factories: Factories, path: Path) -> int:
    """Read the config, of this path, and run; the exit code. What keeps edged from starting is said in the log."""
    try:
        file = WatchedFile(path)  # before the reading: what is saved meanwhile is noticed
        config = factories.load_config()
        for warning in config.warnings:
            log.warning("%s", warning)
        return Daemon(factories, config, file).run()
    except EdgedError as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        Watchdog().failed(str(error).splitlines()[0])
        return error.code
