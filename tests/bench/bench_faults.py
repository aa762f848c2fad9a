"""What looks at a stream camera give while it is broken, and how soon they are fresh again: a table of faults.

bench_faults.py [PART OF A TITLE...]: against GStreamer's RTSP server, VLC's, and a scripted one. A look every 0.25 s,
`max_age` 2 s. Exits 1 if a look gave a damaged picture, or one whose stated age is wrong by more than 0.3 s.

Ages are read from the pixels. VLC delays pictures by a second or two, which no client can know: of its pictures, the
difference between the stated and the true age must stay the same within a session. Once it was stopped, VLC plays on
where it was, late by as much: the ages of those pictures are not judged.
"""

from __future__ import annotations

import math
import os
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))

from edged.cameras.environment import OPENCV

os.environ.update(OPENCV)

import numpy as np
from support.broker import free_port, until
from support.cameras import Watched, spec
from support.clips import clip, number_in, psnr
from support.http import answering
from support.looking import CLAIM_S, WHOLE_DB
from support.rtsp import FPS, Server
from support.rtsp_script import Ending, Script
from support.scripted_rtsp import ScriptedServer
from support.vlc import Vlc

from edged.core.errors import CameraError, StaleFrame
from edged.core.types import Frame

EVERY_S = 0.25
FIRST_S = 20.0
BEFORE_S = AFTER_S = 4.0
AWAY_S = 10.0
BACK_S = 100.0
AT_ONCE = 6
LIVE, DEAD_S = 14, 20.0
USER, PASSWORD = "viewer", "s3cr/t p@ss"
GARBAGE = bytes(range(1, 255)) * 20


class Stand(Protocol):
    """A server, and the truth about its pictures."""

    @property
    def url(self) -> str: ...
    def generated(self, number: int) -> float:
        """When the picture of this number was generated (monotonic)."""

    def is_damaged(self, frame: Frame, number: int) -> bool: ...


class GStreamer:
    """The live server of tests/support/rtsp.py. Started again on the same port."""

    def __init__(self, password: str = "") -> None:
        self._password = password
        self._server = self._start(0, password)
        self._instead = ExitStack()
        self.url = self._server.url("h264")

    def generated(self, number: int) -> float:
        return time.monotonic() - (time.time() * FPS - number) % 65536 / FPS

    def is_damaged(self, frame: Frame, number: int) -> bool:
        """Below the bars the server draws one grey left of an edge that moves, and another right of it."""
        below = frame.rgb[frame.rgb.shape[0] // 4 + 8 :, :, 1].astype(float)
        drawn = np.where(np.arange(below.shape[1]) < number % below.shape[1], 96.0, 160.0)
        error = float(np.mean((below - (drawn - 16) * 255 / 219) ** 2))
        return 10 * math.log10(255**2 / max(error, 1e-3)) < WHOLE_DB

    @property
    def port(self) -> int:
        return self._server.port

    def kill(self) -> None:
        self._server.kill()
        self._instead.close()

    def start(self, password: str | None = None, without: str = "") -> None:
        self._server = self._start(self.port, self._password if password is None else password, without)

    def restart(self, password: str | None = None, without: str = "") -> None:
        self.kill()
        self.start(password, without)

    def become_garbage(self) -> None:
        """Something else answers at the port."""
        self.kill()
        self._instead.enter_context(answering(lambda _request: GARBAGE, port=self.port))

    def pause(self) -> None:
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()

    @staticmethod
    def _start(port: int, password: str, without: str = "") -> Server:
        return Server("digest" if password else "", USER if password else "", password, port, without)


class OfVlc:
    """VLC's server."""

    def __init__(self) -> None:
        self.vlc = Vlc(clip(), free_port())
        self.url = self.vlc.url
        self.stopped = False  # it was once: afterwards it plays on where it was, late by the time it was stopped
        self.vlc.start()

    def generated(self, number: int) -> float:
        return self.vlc.written[number]

    def is_damaged(self, frame: Frame, number: int) -> bool:
        return psnr(frame.rgb, number) < WHOLE_DB

    def kill(self) -> None:
        self.vlc.kill()

    def start(self) -> None:
        self.vlc.start()

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        self.stopped = True
        self.vlc.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.vlc.send(signal.SIGCONT)

    def rename(self, path: str) -> None:
        """Serve another path instead."""
        self.vlc.kill()
        self.vlc.url = self.url.replace("/stream", path)
        self.vlc.start()


class Scripted:
    """The scripted server."""

    def __init__(self, script: Script | None = None) -> None:
        self.server = ScriptedServer(script or Script())
        self.server.start()
        self.url = self.server.url()

    def generated(self, number: int) -> float:
        return self.server.newest(number).sent

    def is_damaged(self, frame: Frame, number: int) -> bool:
        return psnr(frame.rgb, number) < WHOLE_DB

    def kill(self) -> None:
        self.server.kill()

    def wait_for_end(self) -> float:
        """Wait until the first session has ended; when it sent its last picture."""
        until(lambda: self.server.sent and time.monotonic() - self.server.sent[-1].sent > 0.4)
        return self.server.sent[-1].sent

    def become(self, script: Script) -> None:
        self.server.script = script
        self.server.end_sessions()


@dataclass(frozen=True, slots=True)
class Look:
    """`error_s` is how much older the picture was than stated. Ages are None for a refusal."""

    at: float
    took_s: float
    outcome: str
    reason: str = ""
    age_s: float | None = None
    error_s: float = 0.0
    damaged: bool = False


def look(stand: Stand, watched: Watched) -> Look:
    began = time.monotonic()
    try:
        frame = watched.grab()
    except CameraError as error:
        outcome = "stale" if isinstance(error, StaleFrame) else "down"
        return Look(time.monotonic(), time.monotonic() - began, outcome, str(error))
    now, number = time.monotonic(), number_in(frame.rgb)
    if number is None:
        return Look(now, now - began, "ok", damaged=True)
    generated = stand.generated(number)
    return Look(
        now, now - began, "ok", "", now - generated, frame.captured_mono - generated, stand.is_damaged(frame, number)
    )


class Looking:
    """Looks again and again in a thread of its own, by `with`."""

    def __init__(self, stand: Stand, watched: Watched) -> None:
        self.looks: list[Look] = []
        self.began = time.monotonic()
        self._stand = stand
        self._watched = watched
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Looking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(20)

    def since(self, at: float) -> list[Look]:
        return [each for each in list(self.looks) if each.at - each.took_s >= at]

    def fresh_after(self, at: float, within_s: float) -> float | None:
        """Seconds until there was a picture that was generated after `at`; None if there is none."""
        deadline = at + within_s
        while time.monotonic() < deadline:
            for each in self.since(at):
                if each.age_s is not None and each.at - each.age_s > at:
                    return each.at - at
            threading.Event().wait(0.05)
        return None

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.looks.append(look(self._stand, self._watched))


@dataclass(frozen=True, slots=True)
class Fault:
    """`fault` breaks the server and returns when; `cure` repairs it after `away_s`."""

    make: str
    title: str
    stand: Callable[[], GStreamer | OfVlc | Scripted]
    fault: Callable[..., float | None]
    cure: Callable[..., object] = lambda _stand: None
    away_s: float = AWAY_S


def described(fault: Fault) -> tuple[str, bool]:
    """A row of the table, and whether every picture was right."""
    stand = fault.stand()
    try:
        with Watched(spec(stand.url, max_age_s=2.0)) as watched, Looking(stand, watched) as looking:
            return _row(fault, stand, watched, looking)
    finally:
        stand.kill()


def _row(fault: Fault, stand: GStreamer | OfVlc | Scripted, watched: Watched, looking: Looking) -> tuple[str, bool]:
    assert looking.fresh_after(looking.began, FIRST_S) is not None, f"{fault.title}: no picture: {looking.looks[-1:]}"
    threading.Event().wait(BEFORE_S)
    states, began = len(watched.states), time.monotonic()
    broken = fault.fault(stand) or began
    threading.Event().wait(max(0.0, broken + fault.away_s - time.monotonic()))
    fault.cure(stand)
    cured = time.monotonic() if fault.away_s else broken
    fresh_s = looking.fresh_after(cured, BACK_S)
    threading.Event().wait(AFTER_S)
    broken_at = time.time() - (time.monotonic() - broken)
    offline = next((each.since.timestamp() - broken_at for each in watched.states[states:] if not each.online), None)
    meanwhile = [each for each in looking.since(broken) if each.at < cured + (BACK_S if fresh_s is None else fresh_s)]
    wrong, damaged = _wrong_around(looking.looks, cured, stand), sum(each.damaged for each in looking.looks)
    refused = next((each.at - broken for each in meanwhile if each.outcome != "ok"), None)
    cells = [seconds(refused), seconds(offline), seconds(fresh_s), str(len(looking.looks)), str(wrong), str(damaged)]
    line = f"{fault.make:10}{fault.title:34}" + "".join(f"{each:>9}" for each in cells)
    return f"{line}\n{reasons(meanwhile)}", not wrong and not damaged and fresh_s is not None


def _wrong_around(looks: Sequence[Look], cured: float, stand: Stand) -> int:
    if not isinstance(stand, OfVlc):
        return _wrong(looks)
    sessions = [[each for each in looks if each.at < cured], [each for each in looks if each.at >= cured]]
    return sum(_wrong(session, delayed=True) for session in sessions[: 1 if stand.stopped else 2])


def _wrong(looks: Sequence[Look], delayed: bool = False) -> int:
    """How many pictures were older or younger than stated."""
    given = [each.error_s for each in looks if each.age_s is not None]
    usual = statistics.median(given) if delayed and given else 0.0
    return sum(abs(each - usual) > CLAIM_S for each in given)


def reasons(looks: Sequence[Look]) -> str:
    """How many looks gave pictures, and each refusal with its reasons; numbers in them are left out."""
    counted = Counter((each.outcome, _without_numbers(each.reason)) for each in looks)
    parts = [f"{count} {outcome}" + (f" ({reason})" if reason else "") for (outcome, reason), count in counted.items()]
    return "".join(f"             {part}\n" for part in parts)


def _without_numbers(text: str) -> str:
    return " ".join("N" if word.replace(".", "").isdigit() else word for word in text.split())


def seconds(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f} s"


def ended_by(ending: Ending) -> Callable[[], Scripted]:
    return lambda: Scripted(Script(ending=(8.0, ending)))


def ended(stand: Scripted) -> float:
    at = stand.wait_for_end()
    stand.server.script = Script()
    return at


def guarded() -> GStreamer:
    return GStreamer(PASSWORD)


FAULTS = [
    Fault("GStreamer", "password changed", guarded, lambda of: of.restart(password="another"), GStreamer.restart),
    Fault("GStreamer", "killed, started after 10 s", GStreamer, GStreamer.kill, GStreamer.start),
    Fault("GStreamer", "killed, started at once", GStreamer, GStreamer.restart, away_s=0.0),
    Fault("GStreamer", "stopped for 2.5 s, continued", GStreamer, GStreamer.pause, GStreamer.resume, 2.5),
    Fault("GStreamer", "stopped for 10 s, continued", GStreamer, GStreamer.pause, GStreamer.resume),
    Fault("GStreamer", "mount gone", GStreamer, lambda of: of.restart(without="/h264"), GStreamer.restart),
    Fault("GStreamer", "garbage from the port", GStreamer, GStreamer.become_garbage, GStreamer.restart),
    Fault("VLC", "killed, started after 10 s", OfVlc, OfVlc.kill, OfVlc.start),
    Fault("VLC", "killed, started at once", OfVlc, OfVlc.restart, away_s=0.0),
    Fault("VLC", "stopped for 2.5 s, continued", OfVlc, OfVlc.pause, OfVlc.resume, 2.5),
    Fault("VLC", "stopped for 10 s, continued", OfVlc, OfVlc.pause, OfVlc.resume),
    Fault("VLC", "mount gone", OfVlc, lambda of: of.rename("/another"), lambda of: of.rename("/stream")),
    Fault("scripted", "garbage in the session", ended_by("garbage"), ended, away_s=0.0),
    Fault("scripted", "half a packet, then closed", ended_by("half"), ended, away_s=0.0),
    Fault("scripted", "connection reset", ended_by("reset"), ended, away_s=0.0),
    Fault(
        "scripted", "reconnection at 2 s an answer", Scripted, lambda of: of.become(Script(answer_s=2.0)), away_s=0.0
    ),
]


def beside_dead_ones() -> tuple[str, bool]:
    """Looks at 14 live cameras, while one of two others refuses connections, and one never answers."""
    stand = GStreamer()
    with ExitStack() as held:
        held.callback(stand.kill)
        silent = held.enter_context(answering(lambda _request: None))
        dead = [f"rtsp://127.0.0.1:{port}/h264" for port in (free_port(), silent)]
        watched = [held.enter_context(Watched(spec(url, max_age_s=2.0))) for url in [*dead, *[stand.url] * LIVE]]
        looking = [held.enter_context(Looking(stand, each)) for each in watched]
        threading.Event().wait(DEAD_S)
        taken = [list(each.looks) for each in looking]
    live = [each for looks in taken[2:] for each in looks]
    firsts = [next((each.at for each in looks if each.age_s is not None), float("inf")) for looks in taken[2:]]
    wrong, damaged = sum(_wrong(looks) for looks in taken[2:]), sum(each.damaged for each in live)
    refused = sum(each.outcome != "ok" for each in live)
    ages = sorted(each.age_s for each in live if each.age_s is not None)
    line = (
        f"GStreamer two dead cameras beside {LIVE} live ones, {DEAD_S:.0f} s: {len(live)} looks at live ones, "
        f"{refused} refused, {wrong} wrong, {damaged} damaged; first picture of the slowest after "
        f"{max(firsts) - looking[0].began:.1f} s; true age {statistics.median(ages):.2f} s, 95th percentile "
        f"{ages[int(0.95 * len(ages))]:.2f} s; longest look {max(each.took_s for each in live[LIVE:]):.2f} s\n"
    )
    return line + "".join(reasons(looks) for looks in taken[:2]), not (refused or wrong or damaged)


def main(titles: Sequence[str]) -> int:
    began = time.monotonic()
    print(f"{'':44}{'refused':>9}{'offline':>9}{'fresh':>9}{'looks':>9}{'wrong':>9}{'damaged':>9}")
    print(f"{'':44}{'after':>9}{'after':>9}{'again':>9}{'':>9}{'ages':>9}{'':>9}", flush=True)
    chosen = [each for each in FAULTS if not titles or any(part in f"{each.make} {each.title}" for part in titles)]
    right = True
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for text, was_right in pool.map(described, chosen):
            print(text, end="", flush=True)
            right &= was_right
    if not titles or "dead" in titles:
        text, was_right = beside_dead_ones()
        print(text, end="")
        right &= was_right
    print(f"{time.monotonic() - began:.0f} s, load average {os.getloadavg()[0]:.1f}")
    return 0 if right else 1


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # a thread may still be inside FFmpeg
