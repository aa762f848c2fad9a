"""The parts of a storm: cameras, broker, edged, config, and a proxy in front of each server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edged.core.errors import EXIT_CONFIG, EXIT_UNAVAILABLE
from support.broker import Mosquitto, free_port, until
from support.own_model import SEARCH_PATH
from support.rtsp import Server
from support.running import Edged
from support.sampling import Sampling
from support.small_disk import SmallDisk, mounted
from support.storm.broker_tls import BrokerTls
from support.storm.cameras import HttpCamera
from support.storm.config_file import NODE, ConfigFile
from support.storm.proxy import Proxy
from support.storm.record import Record
from support.storm.slow_fsync import SlowFsync

ACL = "user {node}\n{deny}topic readwrite #\nuser {listener}\ntopic readwrite #\n"
STATE_SIZE = "64m"
STOP_S = 60.0  # after which edged is killed; the oracle has the bound that it promises
DAEMON = Path(__file__).with_name("daemon.py")
SECRETS = {"dock": "do/ck-S3cret", "yard": "ya%rd-S3cret", "back": "ba:ck-S3cret", "mqtt": "mq#tt-S3cret"}
LISTENER = ("listener", "l1stener")
LAGS = "dock.lags"


@dataclass(slots=True)
class Life:
    """One process of edged. Times are monotonic. `exit_code` is None while it runs."""

    edged: Edged
    began: float
    stopped_by: signal.Signals | None = None
    stop_sent: float = 0.0
    ended: float = 0.0
    exit_code: int | None = None
    loses_device: bool = False

    @property
    def log(self) -> list[str]:
        return self.edged.lines

    @property
    def ready(self) -> bool:
        """edged has started all of its parts. Before that, a signal or a missing descriptor ends it."""
        return any("INFO ready" in line for line in list(self.log))

    @property
    def unread(self) -> bool:
        """edged could not read its store when it began."""
        return any("answers are kept in memory" in line for line in self.log[:1])

    @property
    def ended_s(self) -> float:
        """The seconds from the signal to the end."""
        return self.ended - self.stop_sent

    def expected_exits(self) -> set[int]:
        """A process that a signal reaches before edged has begun to work dies of it."""
        refused = any(" ERROR " in line and "edged.yaml" in line for line in self.log)
        if refused and not self.ready:  # it was started while the config was wrong, and a signal may have met its end
            return {EXIT_CONFIG, -self.stopped_by} if self.stopped_by else {EXIT_CONFIG}
        if self.stopped_by is None and self.loses_device:
            return {EXIT_UNAVAILABLE}
        if self.stopped_by == signal.SIGTERM:
            return {0} if self.log else {0, -signal.SIGTERM}
        return {-self.stopped_by} if self.stopped_by else set()


@dataclass(frozen=True, slots=True)
class Sample:
    """edged's process at a quiet moment. `store_bytes` is what edged.db and its journal have."""

    resident_kb: int
    threads: int
    descriptors: int
    store_bytes: int


class Lateness:
    """Measures how late a thread wakes up that asks to sleep: what a busy machine adds to every bound.

    `paused_s` is how much the wall clock was changed: a virtual machine's monotonic clock stands still while its host
    pauses it, so nothing in it can tell how old a picture is.
    """

    STEP_S = 0.05
    PAUSED_S = 0.3
    AT_ONCE_S = 0.05  # clocks that were not read within this say nothing about each other

    def __init__(self) -> None:
        self.worst_s = 0.0
        self.paused_s = 0.0
        self._before = time.monotonic()
        self._wall = time.time() - self._before
        self._sampling = Sampling(self._measure, self.STEP_S)

    def close(self) -> None:
        self._sampling.close()

    def _measure(self) -> None:
        now = time.monotonic()
        self.worst_s, self._before = max(self.worst_s, now - self._before - self.STEP_S), now
        wall = time.time() - now
        if time.monotonic() - now < self.AT_ONCE_S and abs(wall - self._wall) > self.PAUSED_S:
            self.paused_s += abs(wall - self._wall)
            self._wall = wall


@dataclass(slots=True)
class Parts:
    """Everything that a fault can disturb."""

    folder: Path
    rtsp: Server
    http: dict[str, HttpCamera]
    broker: Mosquitto
    proxies: dict[str, Proxy]  # by camera, and "broker"
    config: ConfigFile
    record: Record
    lateness: Lateness
    slow_fsync: SlowFsync
    disk: SmallDisk | None = None  # what edged's state is on; None without the right to mount one
    page: int = 0  # port
    tls: BrokerTls | None = None  # None: edged connects without TLS
    device_lost: bool = False
    denied: set[str] = field(default_factory=set)  # topics that the broker ever refused to edged
    lives: list[Life] = field(default_factory=list)

    def camera_lags(self) -> list[tuple[float, float]]:
        """When the camera `dock` has sent each picture (seconds since 1970), and how long after it was taken."""
        lines = (self.folder / LAGS).read_text().splitlines()
        return [(float(when), float(lag_s)) for when, lag_s in map(str.split, lines)]

    @property
    def life(self) -> Life:
        return self.lives[-1]

    @property
    def failures(self) -> Path:
        return self.folder / "failures.json"

    @property
    def database(self) -> Path:
        return self.folder / "state" / "edged.db"

    def start_edged(self) -> None:
        arguments = (self.failures, "run", "--config", self.config.path)
        environment = {"STATE_DIRECTORY": str(self.database.parent), "PYTHONPATH": SEARCH_PATH}
        environment |= self.slow_fsync.environment
        edged = Edged(*arguments, verbose=False, env=environment, program=(str(DAEMON),))
        self.lives.append(Life(edged, time.monotonic(), loses_device=self.device_lost))

    def revive_edged(self) -> None:
        """Start edged again if it has ended by itself, as systemd does. The oracle tells if it was allowed to."""
        if self.life.stopped_by is None and not self.life.edged.running:
            self.await_end()
            self.start_edged()

    def lose_device(self, lost: bool) -> None:
        """edged ends with EXIT_UNAVAILABLE from now on, or no longer."""
        self.device_lost = lost
        self.life.loses_device = self.life.loses_device or lost

    def end_edged(self, number: signal.Signals) -> None:
        """Send the signal; do not wait."""
        self.life.stopped_by, self.life.stop_sent = number, time.monotonic()
        self.life.edged.send(number)

    def await_end(self) -> None:
        """Wait until edged has ended, and note how. After STOP_S it is killed."""
        life = self.life
        try:
            until(lambda: not life.edged.running, STOP_S)
        except AssertionError:
            life.edged.send(signal.SIGKILL)
        life.exit_code, life.ended = life.edged.exit_code(), time.monotonic()

    def restart_rtsp(self, mount: str) -> None:
        """The camera `dock` sends what is at this mount of the server."""
        self.rtsp.kill()
        self.rtsp = Server("digest", "viewer", SECRETS["dock"], self.rtsp.port, h264=mount, lags=self.folder / LAGS)

    def restart_broker(self, forget: bool = False) -> None:
        """After `broker.kill`. edged can connect once the subscriber is there. `forget`: without its store."""
        if forget:
            (self.folder / "broker" / "mosquitto.db").unlink(missing_ok=True)
        self.broker.start()
        self.record.connect()
        self.proxies["broker"].mend()

    def set_acl(self, denied: str = "") -> None:
        """What the broker lets edged do: everything but publish on `denied`."""
        deny = f"topic deny {denied}\n" if denied else ""
        self.denied |= {denied} if denied else set()
        (self.folder / "broker" / "acl").write_text(ACL.format(node=NODE, deny=deny, listener=LISTENER[0]))
        self.broker.reload()

    def set_packet_limit(self, limit: int | None) -> None:
        """For the next start of the broker. In bytes."""
        path = self.folder / "broker" / "mosquitto.conf"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("max_packet_size")]
        path.write_text("\n".join([*lines, *([f"max_packet_size {limit}"] if limit else [])]) + "\n")

    def kill_broker(self) -> None:
        """SIGKILL. What it had acknowledged has reached the subscriber: an acknowledgement is no promise of more."""
        proxy = self.proxies["broker"]
        proxy.fail("deaf")
        self.record.catch_up()
        self.broker.kill()
        proxy.cut()

    def mark(self) -> int:
        """How many lines all lives of edged have logged."""
        return sum(len(life.log) for life in self.lives)

    def logged_since(self, mark: int, text: str) -> int:
        """How many lines since then have this text."""
        lines = [line for life in self.lives for line in life.log]
        return sum(text in line for line in lines[mark:])

    def sample(self) -> Sample:
        process = Path("/proc") / str(self.life.edged.pid)
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        store = sum(each.stat().st_size for each in self.database.parent.glob("edged.db*"))
        descriptors = len(list((process / "fd").iterdir()))
        return Sample(int(status["VmRSS"].split()[0]), int(status["Threads"]), descriptors, store)


@contextmanager
def all_parts(folder: Path, with_tls: bool) -> Iterator[Parts]:
    """Everything but edged is started. On leaving, everything is ended. `with_tls`: between edged and the broker."""
    with ExitStack() as stack:
        rtsp = Server("digest", "viewer", SECRETS["dock"], lags=folder / LAGS)
        stack.callback(rtsp.kill)
        http = {name: HttpCamera(SECRETS[name]) for name in ("yard", "back")}
        for camera in http.values():
            stack.callback(camera.close)
        tls = BrokerTls(folder / "tls", folder / "ca.crt", free_port()) if with_tls else None
        broker = stack.enter_context(_broker(folder, tls))
        targets = {"dock": rtsp.port, "yard": http["yard"].port, "back": http["back"].port}
        targets["broker"] = tls.port if tls else broker.port
        proxies = {name: Proxy(port) for name, port in targets.items()}
        for proxy in proxies.values():
            stack.callback(proxy.cut)
        record = Record(broker.port, *LISTENER)
        stack.callback(record.close)
        lateness = Lateness()
        stack.callback(lateness.close)
        page = free_port()
        more = f"page: {{listen: '127.0.0.1:{page}'}}\n"
        config = ConfigFile(folder, proxies["broker"].port, _sources(proxies), dict(SECRETS), more=more)
        config.ca = folder / "ca.crt" if tls else None
        config.save()
        disk = stack.enter_context(mounted(folder / "state", STATE_SIZE)) if os.geteuid() == 0 else None
        parts = Parts(folder, rtsp, http, broker, proxies, config, record, lateness, SlowFsync(folder), disk, page, tls)
        try:
            yield parts
        finally:
            parts.rtsp.kill()
            for life in parts.lives:
                life.edged.__exit__()


@contextmanager
def _broker(folder: Path, tls: BrokerTls | None) -> Iterator[Mosquitto]:
    (folder / "broker").mkdir()
    more = f"persistence true\npersistence_location {folder / 'broker'}/\nautosave_interval 2\nmax_queued_messages 0"
    if tls:
        more += f"\n{tls.listener}"
    users = {NODE: SECRETS["mqtt"], LISTENER[0]: LISTENER[1]}
    acl = ACL.format(node=NODE, deny="", listener=LISTENER[0])
    with Mosquitto(folder / "broker", users, acl, more=more) as broker:
        yield broker


def _sources(proxies: dict[str, Proxy]) -> dict[str, str]:
    return {
        "dock": f"'rtsp://viewer:{{secret:dock}}@127.0.0.1:{proxies['dock'].port}/h264'",
        "yard": f"'http://viewer:{{secret:yard}}@127.0.0.1:{proxies['yard'].port}/snap'",
        "back": f"'http://viewer:{{secret:back}}@127.0.0.1:{proxies['back'].port}/stream'",
    }
