"""Brokers for tests (mosquitto, and ports with scripted replies), a proxy that loses connections, a subscriber."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from edged.core.types import Answer

MOSQUITTO = "/usr/sbin/mosquitto"
HOST = "127.0.0.1"
MUTUAL_TLS = "require_certificate true"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
FIRST_PORT, PORTS, BLOCKS = 10_200, 200, 110  # browsers refuse 10080; the kernel gives those from 32768 on to others
WITHIN_S = 180.0  # a start of edged takes 5 s on an idle machine, and was seen to take over 60 s on a busy one
CONNACK_V5 = b"\x20\x03\x00\x00\x00"
CONNACK_V311 = b"\x20\x02\x00\x00"


def free_port() -> int:
    """A port on which nothing listens, and that nobody else is given: each process has a block of 200, used in turn.

    Raises StopIteration if all blocks are taken.
    """
    return next(filter(_is_free, _block(os.getpid())[1]))


@cache
def _block(process: int) -> tuple[socket.socket, Iterator[int]]:
    """What keeps the block of this process, until it ends, and the ports in turn."""
    numbers = (number % BLOCKS for number in range(process, process + BLOCKS))
    kept, number = next((kept, number) for number in numbers if (kept := _claim(number)))
    begin = FIRST_PORT + number * PORTS
    return kept, itertools.cycle(range(begin, begin + PORTS))


def _claim(number: int) -> socket.socket | None:
    """A name that one process at a time can have, in the same network namespace as the ports; None if it is taken."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0edged-tests-ports-{number}")
    except OSError:
        name.close()
        return None
    return name


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


def an_answer(name: str, camera: str = "dock", question: str = "people", expires_s: float = 60.0) -> Answer:
    """An answer with the value 3 and the id `name`."""
    return Answer(
        id=name,
        camera=camera,
        region=None,
        question=question,
        type="integer",
        value=3,
        status="ok",
        reason=None,
        confidence=0.87,
        text="3",
        truncated=False,
        prompt="How many people? Answer with one number.",
        prompt_rev="9c1e",
        frame_ts=1785312000.412,
        frame_age_s=0.31,
        frame_sha256="ab12",
        answered_ts=1785312001.23,
        clock_synced=True,
        reuse_of=None,
        trigger="schedule",
        timing_ms={"grab": 38.0, "encode": 310.0, "answer": 212.0},
        model="qwen",
        model_rev="r1",
        config_rev="c1",
        expires_s=expires_s,
    )


def until(condition: Callable[[], Any], timeout_s: float = WITHIN_S) -> None:
    """Wait until the condition is true; fail after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"condition not met within {timeout_s} s"
        time.sleep(0.01)


class Mosquitto:
    """mosquitto on a free loopback port, the same one after each restart, without persistence.

    `users` maps names to passwords, `acl` is the text of an ACL file, `tls` a folder written by `certificates`, `more`
    further lines of its config, such as MUTUAL_TLS.
    """

    def __init__(
        self,
        folder: Path,
        users: dict[str, str] | None = None,
        acl: str = "",
        tls: Path | None = None,
        more: str = "",
    ) -> None:
        self.port = free_port()
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} {HOST}", f"allow_anonymous {'false' if users else 'true'}", "log_type all"]
        lines.append("max_queued_messages 100000")  # on a busy machine the subscriber of a test is slow
        lines.append("user root")  # otherwise, started by root, it drops to a user who cannot read these files
        if users:
            passwords = folder / "passwords"
            passwords.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
            subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, timeout=20)
            lines.append(f"password_file {passwords}")
        if acl:
            (folder / "acl").write_text(acl)
            (folder / "acl").chmod(0o600)
            lines.append(f"acl_file {folder / 'acl'}")
        if tls:
            lines += [f"certfile {tls / 'server.crt'}", f"keyfile {tls / 'server.key'}"]
        if tls and MUTUAL_TLS in more:
            lines.append(f"cafile {tls / 'ca.crt'}")
        lines.append(more)
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", self._config], stdout=log, stderr=log)
        until(self._listens)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def freeze(self, number: signal.Signals = signal.SIGSTOP) -> None:
        """Keep its connections open and answer on none of them until `thaw`."""
        assert self._process
        self._process.send_signal(number)

    def reload(self) -> None:
        """Let it read its passwords and its ACL again."""
        self.freeze(signal.SIGHUP)

    def thaw(self) -> None:
        self.freeze(signal.SIGCONT)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with suppress(OSError), socket.create_connection((HOST, self.port), 1):
            return True
        return False


class Wire:
    """A TCP proxy to the broker that can cut connections without DISCONNECT, or (`deaf`) lose what the broker sends."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = free_port()
        self._lock = threading.Lock()
        self._listening: socket.socket | None = None
        self._open: list[socket.socket] = []
        self.deaf = threading.Event()
        self.mend()

    def mend(self) -> None:
        self.deaf.clear()
        self._listening = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def cut(self) -> None:
        """Close everything; nobody can connect until `mend`."""
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        with self._lock:
            both, self._open = self._open, []
        for end in both:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                try:
                    far = socket.create_connection((HOST, self._target), 5)
                except OSError:
                    near.close()
                    continue
                with self._lock:
                    self._open += [near, far]
                threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far, suppress(OSError):
            while True:
                for end in select.select([near, far], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    if end is near:
                        far.sendall(data)
                    elif not self.deaf.is_set():
                        near.sendall(data)


class Censor:
    """A TCP proxy to the broker that answers PUBLISH packets itself, where `verdict` gives a reason code for the topic.

    `seen` are the topics of all PUBLISH packets. MQTT 5, QoS 1.
    """

    def __init__(self, target: int, verdict: Callable[[str], int | None]) -> None:
        self._target = target
        self._verdict = verdict
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self.seen: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection((HOST, self._target), 5)
                threading.Thread(target=self._carry_back, args=(far, near), daemon=True).start()
                threading.Thread(target=self._judge, args=(near, far), daemon=True).start()

    def _carry_back(self, far: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                near.sendall(data)
            near.shutdown(socket.SHUT_RDWR)

    def _judge(self, near: socket.socket, far: socket.socket) -> None:
        with near, far, suppress(OSError), near.makefile("rb") as stream:
            while head := stream.read(1):
                length, size = b"", 0
                while not length or length[-1] & 128:
                    length += stream.read(1)
                    size |= (length[-1] & 127) << 7 * (len(length) - 1)
                body = stream.read(size)
                reason = self._reason(body) if head[0] >> 4 == 3 else None
                if reason is None:
                    far.sendall(head + length + body)
                else:
                    topic_end = 2 + int.from_bytes(body[:2], "big")
                    near.sendall(b"\x40\x03" + body[topic_end : topic_end + 2] + bytes([reason]))
            far.shutdown(socket.SHUT_RDWR)

    def _reason(self, publish: bytes) -> int | None:
        topic = publish[2 : 2 + int.from_bytes(publish[:2], "big")].decode()
        self.seen.append(topic)
        return self._verdict(topic)


@dataclass(frozen=True)
class Received:
    topic: str
    payload: bytes
    retain: bool
    expires_s: int | None
    content_type: str | None
    look: str | None = None  # the user property

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Subscriber:
    """All retained messages of a broker, received before the constructor returns, and all that follow.

    `retain` of a message is as it was published, with MQTT 5 also for live messages.
    """

    def __init__(self, port: int, username: str | None = None, password: str | None = None, version: int = 5) -> None:
        self.messages: list[Received] = []
        self._changed = threading.Condition()
        protocol = mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        if username:
            self._client.username_pw_set(username, password)
        self._client.on_message = self._on_message
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        connected = threading.Event()
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect(HOST, port)
        self._client.loop_start()
        assert connected.wait(10)
        if version == 5:
            self._client.subscribe("#", options=SubscribeOptions(qos=1, retainAsPublished=True))
        else:
            self._client.subscribe("#", qos=1)
        assert subscribed.wait(10)
        self.catch_up()

    def catch_up(self) -> None:
        """Wait until everything has been received that the broker had when this was called."""
        self._client.publish("marker", b"", 1)
        self.wait_for_topic("marker")
        with self._changed:
            self.messages = [message for message in self.messages if message.topic != "marker"]

    def wait_for(self, predicate: Callable[[list[Received]], Any], timeout_s: float = WITHIN_S) -> list[Received]:
        """All messages so far, as soon as the predicate is true for them."""
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self.messages), timeout_s), self.messages
            return list(self.messages)

    def wait_for_topic(self, topic: str, count: int = 1) -> list[Received]:
        """The first `count` messages of a topic."""
        self.wait_for(lambda messages: sum(message.topic == topic for message in messages) >= count)
        return self.of(topic)

    def of(self, topic: str) -> list[Received]:
        with self._changed:
            return [message for message in self.messages if message.topic == topic]

    def forget(self) -> None:
        with self._changed:
            self.messages.clear()

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Any, _: Any, message: mqtt.MQTTMessage) -> None:
        properties = message.properties
        received = Received(
            message.topic,
            bytes(message.payload),
            message.retain,
            getattr(properties, "MessageExpiryInterval", None),
            getattr(properties, "ContentType", None),
            dict(getattr(properties, "UserProperty", ())).get("look"),
        )
        with self._changed:
            self.messages.append(received)
            self._changed.notify_all()


@contextmanager
def accepting(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port whose connections are given to `serve`, one after the other. An OSError ends only its own connection."""
    with socket.create_server((HOST, 0)) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with suppress(OSError):  # the client has closed it already
                        serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@contextmanager
def scripted_broker(answers: Callable[[int, bytes], bytes | None]) -> Iterator[int]:
    """A port where each connection gets the reply `answers(number, CONNECT)`; None closes it."""
    kept: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        kept.append(connection)
        reply = answers(len(kept) - 1, connection.recv(65536))
        if reply is None:
            connection.close()
        else:
            connection.sendall(reply)

    with accepting(serve) as port:
        yield port
    for connection in kept:
        connection.close()


def protocol_level(connect: bytes) -> int:
    """Of a CONNECT packet: 5 for MQTT 5, 4 for MQTT 3.1.1."""
    return connect[connect.index(b"MQTT") + 4]


def certificates(folder: Path) -> Path:
    """Write ca.crt, and certificates that this CA signed: server.crt for localhost, client.crt; each with its .key."""
    _openssl(
        folder, "req", "-x509", *NEW_KEY, "-days", "2", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test CA"
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    sign(folder, "server", "localhost")
    sign(folder, "client", "box")
    return folder


def sign(folder: Path, name: str, subject: str, days: int = 2) -> None:
    """Write `name`.crt with a new `name`.key, signed by the CA in the folder. It has expired if `days` is -1."""
    _openssl(folder, "req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
    by_ca = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", str(days), "-extfile", "names"]
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *by_ca, "-out", f"{name}.crt")


def _openssl(folder: Path, *command: str) -> None:
    subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def other_tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of another CA."""
    return certificates(tmp_path_factory.mktemp("other-certificates"))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    listening = Subscriber(mosquitto.port)
    yield listening
    listening.close()


@pytest.fixture
def wire(mosquitto: Mosquitto) -> Iterator[Wire]:
    between = Wire(mosquitto.port)
    yield between
    between.cut()


@pytest.fixture
def other_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "other-broker").mkdir()
    with Mosquitto(tmp_path / "other-broker") as broker:
        yield broker
