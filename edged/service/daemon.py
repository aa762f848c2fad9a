"""`edged run` from start to exit, in the main thread: startup, main loop, shutdown."""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Event as StopSignal
from typing import Any

from edged.config.load import ConfigError
from edged.core.errors import EXIT_OK, CannotGoOn, EdgedError, ModelError, Stopped
from edged.core.requests import Received, ReloadRequest, Response
from edged.core.specs import Config
from edged.core.text import counted
from edged.service import bridge
from edged.service.commands import Command, Commands, DeviceLost, signals_to
from edged.service.control import ControlSocket, socket_path
from edged.service.metrics import CONTENT_TYPE, Metrics
from edged.service.metrics_server import MetricsServer
from edged.service.observed import Observed
from edged.service.plan import Plan
from edged.service.reload import Reload, reason_of
from edged.service.requests import Requests, is_expired
from edged.service.service import Factories, Service
from edged.service.waiting import Waiting
from edged.service.watchdog import Watchdog
from edged.service.watched_file import WatchedFile
from edged.service.worker import WorkerGroup

log = logging.getLogger("edged")

POLL_S = 0.4  # of the config file, which has changed when two polls read the same
WAIT_S = 0.1  # between two checks of the condition that the main thread waits for
FIRST_CONNECTION_S = 10.0  # how long the start waits for the first attempt to connect to the broker
RELOAD_SPACING_S = 0.5  # requests that come faster are one reload
HEALTH_EVERY_S = 60.0
FIGURES_EVERY_S = 1.0  # for the page, which asks for them as often
# systemd restarts edged if a part makes no progress for so long
PROGRESS_LIMIT_S = 60.0  # looks, schedule, publisher
STORE_LIMIT_S = 180.0  # a worn memory card may take a minute for one transaction
STOPPED = "edged is stopped"


class Daemon:
    """One running edged. `file` is the config file, in the state from before `config` was read from it."""

    def __init__(self, factories: Factories, config: Config, file: WatchedFile) -> None:
        self.commands = Commands()
        self.stop = StopSignal()
        self.service = Service(factories, config, self.stop, self._device_lost, self._request)
        self.requests = Requests(self.service, self.commands.put)
        self.problems: list[str] = []  # of a changed config that could not be loaded
        self.failure: EdgedError | None = None  # why edged has to end
        self._waiting = Waiting(self._while_waiting, self._ending)
        self._reload = Reload(self.service, self._waiting.wait, self._waiting.wait_uninterrupted)
        self._watchdog = Watchdog()
        path = config.path
        self._control = ControlSocket(socket_path(path, os.environ), path, partial(self.requests.receive, local=True))
        self._file = file
        self._started = time.monotonic()
        metrics = Metrics(self.service, lambda: self.problems, self._uptime_s)
        self._metrics = MetricsServer(metrics.text, CONTENT_TYPE)
        self._page = factories.open_page(self._observed())
        self._info: dict[str, Any] = {}  # for the page, which must hold no lock that a look needs
        self._health: dict[str, Any] = {}
        self._figures_due = self._started
        self._health_due = self._started
        self._ready = False
        self._stopping = False
        self._received: list[Received] = []  # not while a reload waits: cameras may be half-way to the new config
        self._reload_wanted = False
        self._reload_requests: list[Received] = []
        self._reloaded_at = float("-inf")

    def run(self) -> int:
        """Run until a stop signal; the exit code. Raises EdgedError if edged cannot start."""
        with ExitStack() as stack:
            stack.enter_context(signals_to(self.commands))
            stack.callback(log.info, "stopped")
            try:
                self._startup(stack)
                self._main_loop()
            except Stopped:
                pass
            finally:
                self._begin_shutdown()
        return self.failure.code if self.failure else EXIT_OK

    def _startup(self, stack: ExitStack) -> None:
        """Start each part. Leaving `stack` stops them in reverse order. Raises EdgedError, Stopped."""
        service = self.service
        service.open_store()
        stack.callback(self._close_store)
        service.open_publisher()
        stack.callback(self._close_publisher)
        service.publisher.start()
        self._control.start()
        stack.callback(self._control.stop)
        stack.callback(self._metrics.stop)
        self._metrics.follow(service.config.metrics)
        stack.callback(self._page.stop)
        self._show_figures()
        self._page.follow(service.config.page)
        stack.callback(service.wait_for_dismissed, self._waiting.wait_uninterrupted)
        service.serve(service.load(service.config, self._waiting.wait))
        stack.callback(service.close_cameras, STOPPED)
        service.converge(service.config)
        service.pauses.keep(service.config)
        stack.callback(service.schedule.stop)
        stack.callback(self.requests.close)
        self.requests.start()
        service.schedule.start()
        self._announce()

    def _main_loop(self) -> None:
        while not self._ending():
            self._receive_commands(POLL_S)
            self.service.recall()
            self._carry_out_requests()
            if self._file.changed():
                self._reload_wanted = True
            if self._reload_wanted and time.monotonic() >= self._reloaded_at + RELOAD_SPACING_S:
                self._reload_config()
            self._tick()

    def _begin_shutdown(self) -> None:
        """Call before the stack is closed. Ends running generations at the next token, and waiting looks at once."""
        self._stopping = True
        self._watchdog.stopping()
        self.service.queue.halt()

    def _announce(self) -> None:
        config, publisher = self.service.config, self.service.publisher
        self._publish_info()
        self._publish_health()
        publisher.online()
        self._waiting.wait(lambda: publisher.tried, FIRST_CONNECTION_S)
        cameras, connected = counted(len(config.cameras), "camera"), bridge.connected(self.service)
        log.info("ready: %s; broker %s %s", cameras, config.mqtt.shown, connected)
        self._ready = True
        self._watchdog.ready(self._status())

    def _close_publisher(self) -> None:
        self.service.publisher.close()  # it logs an `offline` that the broker has not acknowledged

    def _close_store(self) -> None:
        if not self.service.store.close():
            log.error("store: still writing after 5 s; what is not written is lost")

    # commands

    def _receive_commands(self, timeout_s: float) -> None:
        for command in self.commands.receive(timeout_s):
            self._act_on(command)

    def _act_on(self, command: Command) -> None:
        match command:
            case "stop":
                if not self._stopping:
                    log.info("stopping")
                self._stopping = True
            case "reload":
                self._reload_wanted = True
            case Received():
                self._received.append(command)
            case DeviceLost(error, group) if group is self.service.queue.serving():
                self.failure = error
            case DeviceLost(error, _):
                log.debug("a replaced model lost its device: %s", error)

    def _device_lost(self, error: ModelError, group: WorkerGroup | None) -> None:
        self.commands.put(DeviceLost(error, group))

    def _request(self, received: Received) -> None:
        self.requests.receive(received)

    def _ending(self) -> bool:
        return self._stopping or self.failure is not None

    def _carry_out_requests(self) -> None:
        received, self._received = self._received, []
        for each in received:
            if isinstance(each.request, ReloadRequest) and not is_expired(each):
                self._reload_requests.append(each)
                self._reload_wanted = True
            else:
                self.requests.carry_out(each, self.problems)

    # housekeeping

    def _while_waiting(self) -> None:
        self._tick()
        self._receive_commands(WAIT_S)

    def _tick(self) -> None:
        """Housekeeping that continues while the main thread waits for a model or a broker."""
        if time.monotonic() >= self._figures_due:
            self._show_figures()
        if not self._ready:
            self._watchdog.starting(self._status())
            return
        hanging = self._hanging()  # before the look at the clock: what a change of it makes overdue does not hang
        if self._watchdog.clock_jumped() or self.service.schedule.waits_too_long():
            log.warning("the system clock was changed; the intervals of all cameras restart now")
            self.service.schedule.shift()
            hanging = []
        self.service.schedule.wake_if_overdue()
        if time.monotonic() >= self._health_due:
            self._publish_health()
        self._watchdog.tell(self._status(), hanging)

    def _hanging(self) -> list[str]:
        """The parts that have made no progress within their limits."""
        service, now = self.service, time.monotonic()
        parts = {
            "a model call": service.queue.overdue_s() > 0,
            "the worker of the model": service.queue.stalled_s() > PROGRESS_LIMIT_S,
            "the schedule": service.schedule.timer_lateness_s() > PROGRESS_LIMIT_S,
            "the publisher": now - service.publisher.moved_at > PROGRESS_LIMIT_S,
            "the store": now - service.store.moved_at > STORE_LIMIT_S,
        }
        return [*(name for name, hangs in parts.items() if hangs), *service.looks.steps.overdue()]

    def _status(self) -> str:
        if self._stopping:
            return "stopping"
        if self._ready:
            return bridge.status(self.service, self.problems)
        return "connecting to the broker" if self.service.queue.serving() else "loading the model"

    def _observed(self) -> Observed:
        service = self.service
        return Observed(
            config=lambda: service.config,
            cameras=lambda: service.snapshots.cameras,
            info=lambda: self._info,
            health=lambda: self._health,
            problems=lambda: self.problems,
            phase=lambda: "stopping" if self._stopping else "running" if self._ready else "starting",
            receive=partial(self.requests.receive, local=False),
            frames=lambda: service.store.frames,
        )

    def _show_figures(self) -> None:
        """Read them for the page, if there is one."""
        self._figures_due = time.monotonic() + FIGURES_EVERY_S
        if self.service.config.page:
            self._info = bridge.info(self.service, self.problems)
            self._health = bridge.health(self.service, self._uptime_s())

    def _publish_info(self) -> None:
        self.service.publisher.info(bridge.info(self.service, self.problems))

    def _publish_health(self) -> None:
        self._health_due = time.monotonic() + HEALTH_EVERY_S
        self.service.publisher.health(bridge.health(self.service, self._uptime_s()))

    def _uptime_s(self) -> float:
        return time.monotonic() - self._started

    # reload

    def _reload_config(self) -> None:
        """Load the config file and apply it. If that fails, report why and keep the current config."""
        self._reload_wanted = False
        requests, self._reload_requests = self._reload_requests, []
        self._watchdog.reloading()
        self._file.remember()
        try:
            change = self._load_and_follow()
        except Stopped:
            return
        except CannotGoOn as error:
            log.error("%s", error)
            self.failure = error
            return
        except EdgedError as error:
            self._not_reloaded(error.problems if isinstance(error, ConfigError) else [str(error)])
        except Exception as error:
            self._not_reloaded([reason_of(error)])
        else:
            self.problems = []
            log.info("config reloaded: %s", change)
        self._reloaded_at = time.monotonic()
        self._watchdog.ready(self._status())  # before the response: systemd may wait for both
        for received in requests:
            self.requests.finish(received, self._reload_response())
        self._publish_info()
        self._publish_health()  # a new broker or node has none yet

    def _load_and_follow(self) -> Plan:
        new = self.service.factories.load_config()
        for warning in new.warnings:
            if warning not in self.service.config.warnings:
                log.warning("%s", warning)
        change = self._reload.take(new)
        self._metrics.follow(new.metrics)
        self._show_figures()
        self._page.follow(new.page)
        return change

    def _reload_response(self) -> Response:
        if self.problems:
            return Response(error="config not reloaded: " + "; ".join(self.problems))
        return Response({"config_rev": self.service.config.rev})

    def _not_reloaded(self, problems: list[str]) -> None:
        self.problems = problems
        for problem in problems:
            log.error("config not reloaded: %s", problem)


def start(factories: Factories, path: Path) -> int:
    """Run with the config file at `path`; the exit code. Errors that prevent the start are logged."""
    try:
        file = WatchedFile(path)
        file.remember()  # before the config is read, so that a change in between is noticed
        config = factories.load_config()
        for warning in config.warnings:
            log.warning("%s", warning)
        return Daemon(factories, config, file).run()
    except EdgedError as error:
        lines = str(error).splitlines()
        for line in lines:
            log.error("%s", line)
        Watchdog().failed(lines[0])
        return error.code
