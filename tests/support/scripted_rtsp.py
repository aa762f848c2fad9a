"""An RTSP server in pure Python that misbehaves as its script says, and knows when it sent which picture."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from support.rtsp_login import challenges, is_admitted
from support.rtsp_player import Player, Sent, Transport
from support.rtsp_script import Script
from support.rtsp_sdp import description

JOIN_S = 10.0
SILENCE_S = 120.0  # a client that asks nothing for so long is gone
UDP_PORTS = re.compile(r"client_port=(\d+)-(\d+)")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived (monotonic). `connection` counts the connections of the server from 0."""

    at: float
    connection: int
    method: str
    url: str
    headers: dict[str, str]


class ScriptedServer:
    """Serves `script` at any path of 127.0.0.1, started by `with`. A new `script` counts from the next request on."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.sent: list[Sent] = []
        self.port = 0
        self._tls = tls
        self._listening: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._connections: list[_Connection] = []
        self._count = 0
        self.next_unit = 0  # of the clip: sessions follow each other without repeating a number too early

    def __enter__(self) -> ScriptedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Again on the same port after `kill`."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, args=(self._listening,), daemon=True)
        self._accepting.start()

    def kill(self) -> None:
        """Close the port and every connection at once, as the kernel does for a killed process."""
        if self._listening and self._accepting:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._accepting.join(JOIN_S)
            self._listening.close()
        self._listening = None
        self.end_sessions()

    def end_sessions(self) -> None:
        """Close every connection, and go on serving."""
        ended, self._connections = self._connections, []
        for connection in ended:
            connection.close()

    def stop(self) -> None:
        """As SIGSTOP: connections stay, nothing is sent or answered. Pictures come late, in a burst, after `go_on`."""
        for connection in self._connections:
            connection.running.clear()

    def go_on(self) -> None:
        for connection in self._connections:
            connection.running.set()

    def url(self, path: str = "stream", user: str = "", password: str = "") -> str:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        return f"{'rtsps' if self._tls else 'rtsp'}://{login}127.0.0.1:{self.port}/{path}"

    def newest(self, number: int) -> Sent:
        """The last picture with this number that was sent."""
        newest = next((each for each in reversed(list(self.sent)) if each.number == number), None)
        assert newest, f"picture {number} was never sent"
        return newest

    def begin_at(self) -> int:
        """The unit of the clip that a new session begins with."""
        units = self.script.clip.units
        start = next(at for at in range(self.next_unit, self.next_unit + len(units)) if units[at % len(units)].key)
        return start % len(units) + self.script.join

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listening.accept()
                connection = _Connection(self, accepted, self._count, self._tls)
                self._connections.append(connection)
                self._count += 1
                connection.start()


class _Connection:
    """One client's connection, with a thread that answers and, after PLAY, one that sends."""

    def __init__(
        self, server: ScriptedServer, accepted: socket.socket, number: int, tls: ssl.SSLContext | None
    ) -> None:
        self.running = threading.Event()
        self.running.set()
        self._server = server
        self._socket = accepted
        self._tls = tls
        self._number = number
        self._sending = threading.Lock()
        self._ended = threading.Event()
        self._transport: Transport | None = None
        self._udp: list[socket.socket] = []
        self._player: Player | None = None
        self._threads = [threading.Thread(target=self._talk, daemon=True)]

    def start(self) -> None:
        self._threads[0].start()

    def close(self) -> None:
        self._hang_up()
        for thread in self._threads:
            thread.join(JOIN_S)
        for each in (self._socket, *self._udp):
            each.close()

    def _hang_up(self) -> None:
        self._ended.set()
        self.running.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        """The socket is closed when the reading thread has noticed; without lingering that sends RST, not FIN."""
        self._ended.set()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.shutdown(socket.SHUT_RD)
        self._socket.close()

    def _talk(self) -> None:
        with suppress(OSError):
            self._socket.settimeout(SILENCE_S)
            if self._tls:
                self._socket = self._tls.wrap_socket(self._socket, server_side=True)
            with self._socket.makefile("rb") as incoming:
                while request := self._read(incoming):
                    self._server.requests.append(request)
                    self._ended.wait(self._server.script.answer_s)
                    self.running.wait()
                    self._answer(request)
        self._hang_up()

    def _read(self, incoming: BinaryIO) -> Request | None:
        """The next request; None at the end. RTCP of the client is skipped."""
        lines = [b""]
        while b" RTSP/" not in lines[0]:
            first = incoming.read(1)
            if not first:
                return None
            if first == b"$":
                incoming.read(int.from_bytes(incoming.read(3)[1:]))
            else:
                lines = [first + incoming.readline()]
        while lines[-1].strip():
            lines.append(incoming.readline())
        method, url = lines[0].decode().split()[:2]
        headers = {
            name.lower(): value for name, value in (line.decode().strip().split(": ", 1) for line in lines[1:-1])
        }
        incoming.read(int(headers.get("content-length", "0")))
        return Request(time.monotonic(), self._number, method, url, headers)

    def _answer(self, request: Request) -> None:
        if self._refuse(request):
            return
        match request.method:
            case "OPTIONS":
                self._send(request, 200, ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"])
            case "DESCRIBE":
                self._describe(request)
            case "SETUP":
                self._set_up(request)
            case "PLAY":
                self._play(request)
            case "TEARDOWN":
                self._send(request, 200)
                self._hang_up()
            case _:
                self._send(request, 200)

    def _refuse(self, request: Request) -> bool:
        """True if the script refuses the request, which is then answered."""
        login, status = self._server.script.login, self._server.script.statuses.get(request.method, 200)
        sent = request.headers.get("authorization", "")
        if login and request.method != "OPTIONS" and not is_admitted(login, request.method, sent):
            self._send(request, 401, [f"WWW-Authenticate: {each}" for each in challenges(login)])
            return True
        if status != 200:
            self._send(request, status)
        return status != 200

    def _describe(self, request: Request) -> None:
        script = self._server.script
        if script.redirect:
            target = script.redirect if "://" in script.redirect else self._server.url(script.redirect.strip("/"))
            return self._send(request, 302, [f"Location: {target}"])
        headers = [f"Content-Base: {request.url}/", "Content-Type: application/sdp"]
        return self._send(request, 200, headers, description(script).encode())

    def _send(self, request: Request, status: int, headers: list[str] | None = None, body: bytes = b"") -> None:
        lines = [
            f"RTSP/1.0 {status} {'OK' if status == 200 else 'Scripted'}",
            f"CSeq: {request.headers.get('cseq', '0')}",
        ]
        lines += [*(headers or []), *([f"Content-Length: {len(body)}"] if body else []), "", ""]
        self.write("\r\n".join(lines).encode() + body)

    def write(self, data: bytes) -> None:
        with self._sending:
            self._socket.sendall(data)

    def _set_up(self, request: Request) -> None:
        wanted, script = request.headers.get("transport", ""), self._server.script
        status, ports = script.tcp if "TCP" in wanted else script.udp, UDP_PORTS.search(wanted)
        if status != 200:
            return self._send(request, status)
        if ports:
            chosen = self._over_udp(int(ports[1]), int(ports[2]))
        else:
            self._transport, chosen = _Interleaved(self), "RTP/AVP/TCP;unicast;interleaved=0-1"
        return self._send(request, 200, [f"Transport: {chosen}", "Session: 1;timeout=60"])

    def _over_udp(self, *ports: int) -> str:
        """The Transport header."""
        self._udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ports]
        for own, port in zip(self._udp, ports, strict=True):
            own.bind(("127.0.0.1", 0))
            own.connect(("127.0.0.1", port))
        self._transport = _Datagrams(*self._udp)
        bound = "-".join(str(own.getsockname()[1]) for own in self._udp)
        return f"RTP/AVP;unicast;client_port={ports[0]}-{ports[1]};server_port={bound}"

    def _play(self, request: Request) -> None:
        server = self._server
        if self._transport is None or self._player is not None:
            return self._send(request, 455)
        first = server.begin_at()
        self._player = Player(server.script, self._transport, first, server.sent, self._ended, self.running)
        sequence, ticks = self._player.first_stamp
        info = f"RTP-Info: url={request.url.rstrip('/')}/track1;seq={sequence};rtptime={ticks}"
        self._send(request, 200, ["Session: 1;timeout=60", "Range: npt=0.000-", info])
        self._threads.append(threading.Thread(target=self._run, args=(self._player,), daemon=True))
        return self._threads[-1].start()

    def _run(self, player: Player) -> None:
        with suppress(OSError):
            player.run()
            if not self._ended.is_set():
                self._end(player)
        self._server.next_unit = player.next_unit

    def _end(self, player: Player) -> None:
        assert self._server.script.ending
        match self._server.script.ending[1]:
            case "bye":
                player.say_bye()
            case "garbage":
                self.write(bytes(range(1, 32)) * 100)
            case "half":
                self.write(b"$\0" + (1000).to_bytes(2) + b"\x80\x60half a packet")
                self._hang_up()
            case "close":
                self._hang_up()
            case "reset":
                self._reset()


class _Interleaved:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def send_rtp(self, packet: bytes) -> None:
        self._connection.write(b"$\0" + len(packet).to_bytes(2) + packet)

    def send_rtcp(self, packet: bytes) -> None:
        self._connection.write(b"$\1" + len(packet).to_bytes(2) + packet)


class _Datagrams:
    def __init__(self, rtp: socket.socket, rtcp: socket.socket) -> None:
        self._rtp = rtp
        self._rtcp = rtcp

    def send_rtp(self, packet: bytes) -> None:
        self._rtp.send(packet)

    def send_rtcp(self, packet: bytes) -> None:
        self._rtcp.send(packet)
