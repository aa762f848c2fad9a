"""The main loop in this process, on fakes: commands, reload, watchdog, shutdown."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.asked import Asked, Gate
from support.broker import HOST, free_port, until
from support.fakes import FakeModel
from support.scraping import fetch, listens, values
from support.world import CONFIG, GATE, World, camera, fake_publisher

from edged.config.load import ConfigError
from edged.config.load import load as load_file
from edged.core.errors import ModelError, ModelLost, Stopped
from edged.core.memory_store import MemoryStore
from edged.core.requests import ActiveRequest, AskRequest, InfoRequest, ReloadRequest
from edged.core.specs import BrokerSpec, Config, Every, ListenAddress, ModelSpec, PageSpec
from edged.core.types import Fact
from edged.service import daemon, look, watchdog, worker
from edged.service.daemon import Daemon, start
from edged.service.observed import NoPage, Observed
from edged.service.watchdog import Watchdog
from edged.service.watched_file import WatchedFile

QUICK = replace(CONFIG, cameras=tuple(replace(camera, schedule=Every(0.1)) for camera in CONFIG.cameras))


class Notified:
    """The receiving end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.fields: list[str] = []

    def all(self) -> list[str]:
        while True:
            try:
                self.fields += self.socket.recv(65536).decode().split("\n")
            except BlockingIOError:
                return self.fields


class Box:
    """A daemon on fakes. `config` is what loading the config returns, or raises."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.file = folder / "edged.yaml"
        self.file.write_text("one")
        self.world = World()
        self.config: Config | Exception = replace(config, path=self.file)
        self.loads = 0
        watched = WatchedFile(self.file)
        watched.remember()
        factories = replace(self.world.factories, load_config=self._load)
        self.daemon = Daemon(factories, self.config, watched)
        self.commands = self.daemon.commands
        self.errors: list[BaseException] = []

    def _load(self) -> Config:
        self.loads += 1
        if isinstance(self.config, Exception):
            raise self.config
        return replace(self.config, path=self.file)

    def run(self, story: Callable[[], None]) -> int:
        """Run until `story`, in another thread, has ended; the exit code."""

        def act() -> None:
            try:
                story()
            except BaseException as error:
                self.errors.append(error)
            self.commands.put("stop")

        thread = threading.Thread(target=act)
        thread.start()
        try:
            return self.daemon.run()
        finally:
            thread.join(30)
            if self.errors:
                raise self.errors[0]

    def answers(self) -> list[Any]:
        return self.world.broker().answers

    def retained(self) -> dict[Any, Any]:
        return self.world.broker().retained


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path, QUICK)
    yield box
    assert all(model.disposed == 1 for model in box.world.models)
    publisher = fake_publisher(box.daemon.service)
    assert not publisher.started or publisher.closed


@pytest.fixture
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notified]:
    notified = Notified(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    yield notified
    notified.socket.close()


def test_a_daemon_opens_nothing_until_it_runs(tmp_path: Path):
    world = World()
    Daemon(world.factories, CONFIG, WatchedFile(tmp_path / "edged.yaml"))
    assert (world.brokers, world.cameras, world.models) == ({}, [], [])


def test_it_looks_until_told_to_stop_and_leaves_every_camera_offline(box: Box):
    code = box.run(lambda: until(lambda: len(box.answers()) > 10))
    assert code == 0
    for spec in QUICK.cameras:
        state = box.retained()[("box", spec.name, "availability")]
        assert (state.online, state.reason) == (False, "edged is stopped")


def test_online_is_published_only_when_the_model_is_loaded(box: Box):
    states: list[tuple[bool, bool]] = []

    def load() -> None:
        publisher = fake_publisher(box.daemon.service)
        states.append((publisher.started, publisher.is_online))

    box.world.loading = load
    box.run(lambda: until(lambda: states and fake_publisher(box.daemon.service).is_online))
    assert states == [(True, False)]


def scraped(port: int, name: str) -> float:
    """The value of a metric without labels."""
    until(lambda: listens(port))
    return values(fetch(port).text, name)[""]


def test_the_metrics_are_served_while_the_model_loads_and_until_the_stop(tmp_path: Path):
    port, up = free_port(), []
    box = Box(tmp_path, replace(QUICK, metrics=ListenAddress(HOST, port)))
    box.world.loading = lambda: up.append(scraped(port, "edged_model_up"))

    def story() -> None:
        until(box.answers)
        up.append(scraped(port, "edged_model_up"))

    box.run(story)
    assert up == [0.0, 1.0]
    assert not listens(port)


def test_a_config_that_cannot_be_taken_leaves_the_metrics_where_they_are(tmp_path: Path):
    port, other = free_port(), free_port()
    box = Box(tmp_path, replace(QUICK, metrics=ListenAddress(HOST, port)))

    def story() -> None:
        until(box.answers)
        box.world.broken["check m2"] = ModelError("model: there is none")
        model, metrics = ModelSpec(Path("m2")), ListenAddress(HOST, other)
        box.config = replace(QUICK, model=model, metrics=metrics, rev="r2")
        box.commands.put("reload")
        until(lambda: box.daemon.problems)
        assert scraped(port, "edged_config_problems") == 1
        assert not listens(other)
        box.config = replace(QUICK, metrics=metrics, rev="r3")
        box.commands.put("reload")
        until(lambda: scraped(other, "edged_config_problems") == 0)  # it listens a moment before the reload is over
        assert not listens(port)

    assert box.run(story) == 0


def test_a_start_that_fails_never_publishes_online(box: Box):
    box.world.broken["load m1"] = ModelError("model: there is no NPU")
    with pytest.raises(ModelError, match="there is no NPU"):
        box.daemon.run()
    publisher = fake_publisher(box.daemon.service)
    assert (publisher.is_online, publisher.closed) == (False, True)


def blocked_load(box: Box) -> tuple[threading.Event, threading.Event]:
    """Events: the model's load has begun, and the load may end."""
    loading, go_on = threading.Event(), threading.Event()

    def load() -> None:
        loading.set()
        assert go_on.wait(20)

    box.world.loading = load
    return loading, go_on


def test_a_stop_while_the_model_loads_ends_edged(notified: Notified, box: Box):
    loading, go_on = blocked_load(box)

    def story() -> None:
        assert loading.wait(10)
        box.commands.put("stop")
        until(box.daemon.stop.is_set)
        go_on.set()

    assert box.run(story) == 0
    assert "STOPPING=1" in notified.all()
    assert box.answers() == []


def test_the_status_is_stopping_until_a_loading_model_has_left(notified: Notified, box: Box):
    loading, go_on = blocked_load(box)

    def story() -> None:
        assert loading.wait(10)
        box.commands.put("stop")
        until(lambda: "STOPPING=1" in notified.all())
        stopping = len(notified.all())
        until(lambda: "WATCHDOG=1" in notified.all()[stopping:])  # edged waits for the model to leave
        go_on.set()

    assert box.run(story) == 0
    statuses = [field for field in notified.all() if field.startswith("STATUS=")]
    assert statuses[-2:] == ["STATUS=loading the model", "STATUS=stopping"]


@pytest.mark.slow
def test_many_signals_are_few_reloads(box: Box):
    def story() -> None:
        until(box.answers)
        for _ in range(500):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.001)  # so that each is delivered; signals that are pending at once are one
        count = box.loads
        until(lambda: box.loads > count)  # the last signal is not forgotten

    box.run(story)
    assert box.loads < 10


def test_a_reload_requested_during_a_reload_is_made_after_it(box: Box):
    def story() -> None:
        until(box.answers)
        entered, go_on = threading.Event(), threading.Event()

        def load() -> None:
            entered.set()
            assert go_on.wait(20)

        box.world.loading = load
        box.config = replace(QUICK, model=ModelSpec(Path("m2")))
        box.commands.put("reload")
        assert entered.wait(10)
        box.world.loading = lambda: None
        box.config = replace(QUICK, rev="r3", model=ModelSpec(Path("m2")))
        box.commands.put("reload")
        go_on.set()
        until(lambda: box.daemon.service.config.rev == "r3")

    assert box.run(story) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "problem"),
    [
        (ConfigError(["edged.yaml:3: unknown key"]), "edged.yaml:3: unknown key"),
        (OverflowError("Python int too large"), "unexpected error: OverflowError('Python int too large')"),
        (RecursionError("too deep"), "unexpected error: RecursionError('too deep')"),
        (OSError(2, "gone"), "unexpected error: FileNotFoundError(2, 'gone')"),
    ],
)
def test_a_config_that_cannot_be_loaded_leaves_the_old_one_and_is_reported(box: Box, failure: Exception, problem: str):
    def story() -> None:
        until(box.answers)
        box.config = failure
        box.file.write_text("two")
        until(lambda: box.daemon.problems == [problem])
        count = len(box.answers())
        until(lambda: len(box.answers()) > count + 5)
        assert box.answers()[-1].config_rev == "r1"
        box.config = replace(QUICK, rev="r2")
        box.file.write_text("three")
        until(lambda: box.answers()[-1].config_rev == "r2")
        assert box.daemon.problems == []

    assert box.run(story) == 0


@pytest.mark.slow
@pytest.mark.parametrize("step", ["open publisher second", "open new", "check m2", "load m2", "publisher.start"])
def test_a_reload_without_free_descriptors_is_refused_in_one_sentence(
    box: Box, step: str, caplog: pytest.LogCaptureFixture
):
    new = replace(QUICK, cameras=(*QUICK.cameras, camera("new", GATE)), mqtt=BrokerSpec("second"))
    new = replace(new, model=ModelSpec(Path("m2")), rev="r2")

    def errors() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]

    def story() -> None:
        until(box.answers)
        box.world.broken[step] = OSError(errno.EMFILE, "Too many open files")
        box.config = new
        box.commands.put("reload")
        until(errors)
        until(lambda: box.daemon.problems)
        count = len(box.answers())
        until(lambda: len(box.answers()) > count + 5)
        assert box.answers()[-1].config_rev == "r1"
        box.commands.put("reload")
        until(lambda: (answers := box.world.broker("second").answers) and answers[-1].config_rev == "r2")
        assert box.daemon.problems == []

    assert box.run(story) == 0
    assert not [record for record in caplog.records if record.exc_info]
    restored = "; the previous config is active again" if step == "publisher.start" else ""
    assert errors() == [f"config not reloaded: too many open files{restored}"]


def test_a_file_that_was_missing_at_a_reload_and_is_back_is_no_problem(box: Box):
    def story() -> None:
        until(box.answers)
        good, box.config = box.config, ConfigError(["edged.yaml: there is no such file"])
        away = box.file.rename(box.file.with_name("away"))
        box.commands.put("reload")
        until(lambda: box.daemon.problems)
        box.config = good
        away.rename(box.file)  # the same content as ever
        until(lambda: not box.daemon.problems)

    assert box.run(story) == 0


def test_health_is_published_to_a_new_broker_at_once(box: Box):
    def story() -> None:
        until(box.answers)
        box.config = replace(QUICK, mqtt=BrokerSpec("second"))
        box.commands.put("reload")
        until(lambda: box.world.broker("second").health)

    assert box.run(story) == 0
    assert box.world.broker("second").health[0] == [camera.name for camera in QUICK.cameras]


def test_a_lost_device_ends_edged_with_75(box: Box):
    def lose() -> None:
        until(box.answers)
        box.world.models[0].replies["gate"] = lambda: ModelLost("model: the NPU is gone")

    thread = threading.Thread(target=lose)
    thread.start()
    assert box.daemon.run() == 75
    thread.join(10)


def test_a_device_lost_by_a_replaced_model_does_not_end_edged(box: Box):
    def story() -> None:
        until(box.answers)
        old = box.daemon.service.queue.serving()
        box.config = replace(QUICK, model=ModelSpec(Path("m2")))
        box.commands.put("reload")
        until(lambda: box.daemon.service.config.model.path == Path("m2"))
        box.daemon.service.looks.lost(ModelLost("model: the old NPU is gone"), old)
        count = len(box.answers())
        until(lambda: len(box.answers()) > count + 3)

    assert box.run(story) == 0


@pytest.mark.slow
def test_systemd_is_notified_of_start_work_and_stop(notified: Notified, box: Box):
    box.world.loading = lambda: until(lambda: "STATUS=loading the model" in notified.all())

    def story() -> None:
        until(lambda: "READY=1" in notified.all())
        ready = len(notified.all())
        until(lambda: notified.all()[ready:].count("WATCHDOG=1") >= 3)

    box.run(story)
    fields = notified.all()
    assert fields.index("STATUS=loading the model") < fields.index("READY=1") < fields.index("STOPPING=1")
    assert "STATUS=3 cameras; broker connected" in fields


def test_systemd_is_not_notified_of_the_start_before_the_broker_was_tried(notified: Notified, box: Box):
    def story() -> None:
        until(lambda: "STATUS=connecting to the broker" in notified.all())
        assert "READY=1" not in notified.all()
        fake_publisher(box.daemon.service).tried = True
        until(lambda: "READY=1" in notified.all())

    box.world.loading = lambda: setattr(fake_publisher(box.daemon.service), "tried", False)
    box.run(story)


def test_a_broker_that_does_not_answer_delays_the_start_for_a_limited_time(
    notified: Notified, box: Box, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(daemon, "FIRST_CONNECTION_S", 0.2)
    box.world.loading = lambda: setattr(fake_publisher(box.daemon.service), "tried", False)
    box.run(lambda: until(lambda: "READY=1" in notified.all()))
    assert "STATUS=connecting to the broker" in notified.all()


def test_a_reload_is_announced_to_systemd_and_its_end_before_the_response(notified: Notified, box: Box):
    def story() -> None:
        until(box.answers)
        for config in (replace(QUICK, rev="r2"), ConfigError(["line 3"])):
            box.config = config
            before = len(notified.all())
            assert Asked(box.daemon.requests, ReloadRequest()).response
            fields = notified.all()[before:]
            (moment,) = [field.removeprefix("MONOTONIC_USEC=") for field in fields if "MONOTONIC" in field]
            assert 0 <= time.monotonic() - int(moment) / 1e6 < 20
            assert fields.index("RELOADING=1") < fields.index("READY=1")

    box.run(story)


def test_a_reload_that_loads_a_model_asks_systemd_for_more_time(
    notified: Notified, box: Box, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watchdog, "EXTEND_EVERY_S", 0.1)

    def extensions() -> int:
        fields = notified.all()
        return fields[fields.index("RELOADING=1") :].count(f"EXTEND_TIMEOUT_USEC={watchdog.EXTEND_US}")

    def story() -> None:
        until(box.answers)
        box.world.loading = lambda: until(lambda: extensions() > 3)
        box.config = replace(QUICK, model=ModelSpec(Path("m2")))
        assert Asked(box.daemon.requests, ReloadRequest()).data

    box.run(story)


def no_progress(box: Box, part: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let a part hang; returns how to release it."""
    service, gate = box.daemon.service, Gate()
    publisher = fake_publisher(service)
    match part:
        case "a model call":
            box.world.models[0].replies["gate"] = gate
        case "the schedule":
            service.schedule.timer_lateness_s = lambda: 99.0  # type: ignore[method-assign]
        case "the publisher":
            publisher.moved_at = time.monotonic() - 99
        case "the store":
            monkeypatch.setattr(MemoryStore, "moved_at", time.monotonic() - 199)
        case "the worker of the model":
            service.queue.stalled_s = lambda: 99.0  # type: ignore[method-assign]
        case "camera dock: taking a picture":
            service.cameras["dock"].camera.grab = lambda _: gate()  # type: ignore[method-assign,assignment,return-value]
        case "camera dock: publishing":
            publisher.answers = lambda *_: gate()  # type: ignore[method-assign,assignment]
    return gate.open.set


PARTS = [
    "a model call",
    "the worker of the model",
    "the schedule",
    "the publisher",
    "the store",
    "camera dock: taking a picture",
    "camera dock: publishing",
]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_hangs_is_named_and_the_watchdog_is_no_longer_fed(
    notified: Notified, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(look, "STEP_S", 0.2)
    monkeypatch.setattr(worker, "LEAST_ENCODE_S", 0.2)
    monkeypatch.setattr(worker, "FIRST_ENCODE_S", 0.2)
    quick = replace(GATE, generation=replace(GATE.generation, deadline_s=0.2))
    box = Box(tmp_path, replace(QUICK, cameras=(replace(QUICK.cameras[0], questions=(quick,)),)))

    def story() -> None:
        until(box.answers)
        release = no_progress(box, part, monkeypatch)
        until(lambda: any(part in field for field in notified.all() if field.startswith("STATUS=no progress: ")))
        fed = notified.all().count("WATCHDOG=1")
        time.sleep(0.4)  # four times the interval of the watchdog
        assert notified.all().count("WATCHDOG=1") == fed
        release()

    box.run(story)
    assert f"no progress: {part}; systemd will restart edged if this lasts" in caplog.text


def test_the_watchdog_is_fed_while_a_dismissed_model_is_in_its_last_call(notified: Notified, box: Box):
    inside, go_on = threading.Event(), threading.Event()

    def generate() -> str:
        inside.set()
        assert go_on.wait(30)
        return "Yes"

    def story() -> None:
        until(box.answers)
        box.world.models[0].replies["gate"] = generate
        assert inside.wait(10)
        box.config = replace(QUICK, model=ModelSpec(Path("m2")))
        box.commands.put("reload")
        until(lambda: box.daemon.service.queue.serving() is None)
        before = notified.all().count("WATCHDOG=1")
        until(lambda: notified.all().count("WATCHDOG=1") >= before + 4)
        go_on.set()
        until(lambda: box.daemon.service.config.model.path == Path("m2"))

    assert box.run(story) == 0
    assert [model.name for model in box.world.models] == ["m1", "m2"]


def test_a_missing_notify_socket_does_not_end_edged(box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    assert box.run(lambda: until(lambda: len(box.answers()) > 3)) == 0


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_look_that_hangs(box: Box):
    hanging, go_on = threading.Event(), threading.Event()

    def hang() -> Stopped:
        hanging.set()
        go_on.wait(60)
        return Stopped()

    def story() -> None:
        until(box.answers)
        next(camera for camera in box.world.cameras if camera.spec.name == "yard").grabs = [hang]
        assert hanging.wait(10)

    begun = time.monotonic()
    assert box.run(story) == 0
    assert time.monotonic() - begun < 20
    go_on.set()


def test_the_model_is_told_to_leave_before_the_cameras_are_closed(box: Box):
    assert box.run(lambda: until(box.answers)) == 0
    assert isinstance(box.world.models[0], FakeModel)
    assert box.world.models[0].disposed == 1


def test_a_clock_change_is_noticed_while_a_model_loads(
    box: Box, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    clock = time.time

    def load() -> None:
        monkeypatch.setattr(time, "time", lambda: clock() + 3600.0)
        until(lambda: any("clock was changed" in message for message in caplog.messages))

    def story() -> None:
        until(box.answers)
        box.world.loading = load
        box.config = replace(QUICK, model=ModelSpec(Path("m2")))
        box.commands.put("reload")
        until(lambda: box.daemon.service.config.model.path == Path("m2"), 30)

    assert box.run(story) == 0


def test_a_status_that_is_not_unicode_is_sent_with_replacements(notified: Notified):
    pulse = Watchdog()
    pulse.tell("config not reloaded: caf\udce9.yaml: there is no such file")
    assert "STATUS=config not reloaded: caf?.yaml: there is no such file" in notified.all()


def test_looks_that_a_clock_change_makes_overdue_are_not_taken_for_a_hang(
    box: Box, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    clock = time.time

    def set_by_a_day() -> float:
        monkeypatch.setattr(time, "time", lambda: clock() + 86400.0)
        monkeypatch.setattr(box.daemon.service.schedule, "timer_lateness_s", lambda: 0.0)
        return 86400.0

    def story() -> None:
        until(box.answers)
        monkeypatch.setattr(box.daemon.service.schedule, "timer_lateness_s", set_by_a_day)
        until(lambda: any("clock was changed" in message for message in caplog.messages))

    assert box.run(story) == 0
    assert "no progress" not in caplog.text


def test_a_clock_that_is_set_back_for_a_moment_does_not_stop_the_looks(box: Box, monkeypatch: pytest.MonkeyPatch):
    """APScheduler's thread sleeps for an hour then. The main loop sees no change of the clock: it was too short."""
    read = threading.Event()

    class HourBack(datetime):
        @classmethod
        def now(cls, tz=None):
            read.set()
            return datetime.now(tz) - timedelta(hours=1)

    def story() -> None:
        until(box.answers)
        with monkeypatch.context() as clock:
            clock.setattr("apscheduler.schedulers.base.datetime", HourBack)
            assert read.wait(10)
        schedule, name = box.daemon.service.schedule, QUICK.cameras[0].name
        due = schedule.ticks(name).due
        until(lambda: schedule.ticks(name).due > due + 2, 10)

    assert box.run(story) == 0


def test_a_config_that_is_saved_while_edged_starts_is_taken(tmp_path: Path):
    file, world = tmp_path / "edged.yaml", World()
    file.write_text("one")

    def load() -> Config:
        config = replace(QUICK, path=file, rev=file.read_text())
        file.write_text("two")
        return config

    def story() -> None:
        try:
            until(lambda: any(answer.config_rev == "two" for answer in world.broker().answers), 5)
            taken.set()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    taken = threading.Event()
    thread = threading.Thread(target=story)
    thread.start()
    assert start(replace(world.factories, load_config=load), file) == 0
    thread.join(10)
    assert taken.is_set()


@pytest.mark.parametrize(("host", "state"), [("first", "connected"), ("away", "not connected")])
def test_that_edged_is_ready_says_whether_the_broker_is_connected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str, state: str
):
    box = Box(tmp_path, replace(QUICK, mqtt=BrokerSpec(host)))
    with caplog.at_level(logging.INFO, "edged"):
        box.run(lambda: until(lambda: any(line.startswith("ready: ") for line in caplog.messages), 5))
    assert f"ready: 3 cameras; broker mqtt://{host}:1883 {state}" in caplog.messages


def test_a_start_without_cameras_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file, world = tmp_path / "edged.yaml", World()
    file.write_text("model: {path: m}\n")
    ready = threading.Event()

    def story() -> None:
        try:
            until(lambda: any("ready: 0 cameras" in line for line in caplog.messages), 5)
            ready.set()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=story)
    thread.start()
    factories = replace(world.factories, load_config=lambda: replace(load_file(file), mqtt=BrokerSpec("first")))
    with caplog.at_level(logging.INFO, "edged"):
        assert start(factories, file) == 0
    thread.join(10)
    assert ready.is_set()
    assert [line for line in caplog.messages if "no cameras" in line] == [f"{file}:1: no cameras are configured"]


def test_a_reload_request_is_answered_with_the_revision_that_is_in_force_then(box: Box):
    def story() -> None:
        until(box.answers)
        box.config = replace(QUICK, rev="r2")
        assert Asked(box.daemon.requests, ReloadRequest()).data == {"config_rev": "r2"}
        assert box.daemon.service.config.rev == "r2"

    box.run(story)


def test_a_reload_request_is_answered_with_every_problem_of_a_bad_config(box: Box):
    def story() -> None:
        until(box.answers)
        box.config = ConfigError(["edged.yaml:3: one", "edged.yaml:9: two"])
        error = Asked(box.daemon.requests, ReloadRequest()).error
        assert error == "config not reloaded: edged.yaml:3: one; edged.yaml:9: two"
        assert Asked(box.daemon.requests, InfoRequest()).data["config_problems"] == box.config.problems

    box.run(story)


def test_an_expired_reload_request_reloads_nothing(box: Box):
    def story() -> None:
        until(box.answers)
        assert Asked(box.daemon.requests, ReloadRequest(), time.monotonic()).error.startswith("the request expired")

    box.run(story)
    assert box.loads == 0


def test_a_request_that_arrives_during_a_reload_is_carried_out_after_it(box: Box):
    """Until then cameras may be half-way to the new config."""
    asked: list[Asked] = []

    def load() -> None:
        if len(box.world.models) == 1:
            asked.append(Asked(box.daemon.requests, ActiveRequest("dock", False)))

    def story() -> None:
        until(box.answers)
        box.world.loading = load
        box.config = replace(QUICK, model=ModelSpec(Path("m2")), rev="r2")
        assert Asked(box.daemon.requests, ReloadRequest()).data == {"config_rev": "r2"}
        assert asked[0].data["active"] is False
        assert box.retained()[("box", "dock", "availability")].reason == "paused"

    box.run(story)


def test_a_stop_during_a_reload_answers_the_request_for_it(box: Box):
    asked: list[Asked] = []
    go = threading.Event()

    def load() -> None:
        if box.world.models:
            box.commands.put("stop")
            assert go.wait(20)

    def story() -> None:
        until(box.answers)
        box.world.loading = load
        box.config = replace(QUICK, model=ModelSpec(Path("m2")), rev="r2")
        asked.append(Asked(box.daemon.requests, ReloadRequest()))
        assert asked[0].error == "edged is stopping"
        go.set()

    box.world.fit = True
    box.run(story)


def test_a_stop_answers_a_request_that_the_model_works_on(box: Box):
    def story() -> None:
        until(box.answers)
        gate = box.world.models[0].replies["people"] = Gate("3")
        gate.wait()
        asked = Asked(box.daemon.requests, AskRequest("dock", "people"))
        box.commands.put("stop")
        assert asked.error == "edged is stopping"
        gate.open.set()

    assert box.run(story) == 0


def test_a_paused_camera_stays_paused_over_a_restart(box: Box, tmp_path: Path):
    def story() -> None:
        until(box.answers)
        assert Asked(box.daemon.requests, ActiveRequest("dock", False)).data["active"] is False

    box.run(story)
    after = Box(tmp_path, QUICK)
    after.world.store = box.world.store
    after.run(lambda: until(lambda: {answer.camera for answer in after.answers()} == {"yard", "shop"}))
    assert [camera.started for camera in after.world.cameras if camera.spec.name == "dock"] == []


def test_a_pause_that_the_store_can_read_only_later_is_carried_out(box: Box):
    class LateStore(MemoryStore):
        def read(self) -> None:
            self.remember([Fact("active", "dock", {"since": 1.0})])

        def found_facts(self) -> list[Fact]:
            return [Fact("active", name, value) for name, value in self.facts("active").items()]

    box.world.store = store = LateStore()

    def story() -> None:
        until(box.answers)
        store.read()
        until(lambda: not box.retained()[("box", "dock", "active")]["active"])

    box.run(story)


def with_page(folder: Path) -> tuple[Box, Observed]:
    """A daemon with a page, and what the page may see of it."""
    box = Box(folder, replace(QUICK, page=PageSpec()))
    observed: list[Observed] = []

    def open_page(seen: Observed) -> NoPage:
        observed.append(seen)
        return NoPage()

    watched = WatchedFile(box.file)
    watched.remember()
    factories = replace(box.world.factories, load_config=box._load, open_page=open_page)
    assert isinstance(box.config, Config)
    box.daemon = Daemon(factories, box.config, watched)
    box.commands = box.daemon.commands
    return box, observed[0]


def test_the_page_reads_the_figures_while_a_look_holds_its_locks(tmp_path: Path):
    box, observed = with_page(tmp_path)

    def story() -> None:
        until(box.answers)
        read: list[Any] = []
        with box.daemon.service.looks.lateness._lock, box.daemon.service.queue._changed:
            reader = threading.Thread(target=lambda: read.extend([observed.info(), observed.health()]))
            reader.start()
            reader.join(5)
            assert len(read) == 2
        assert read[0]["config_rev"] == QUICK.rev
        until(lambda: observed.health()["cameras"].get("dock", {}).get("looks"))

    assert box.run(story) == 0


def test_the_figures_for_the_page_are_read_once_a_second_however_many_requests_there_are(tmp_path: Path):
    box, observed = with_page(tmp_path)

    def story() -> None:
        until(box.answers)
        begun = time.monotonic()
        seen: list[Any] = []
        for _ in range(50):
            assert Asked(box.daemon.requests, InfoRequest()).data
            seen.append(observed.health())
        assert len({id(health) for health in seen}) <= 2 + time.monotonic() - begun

    assert box.run(story) == 0
