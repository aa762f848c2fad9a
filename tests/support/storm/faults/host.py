"""What the host of edged does to it: clock, disk, descriptors."""

from __future__ import annotations

import resource
import signal
import sqlite3
from contextlib import suppress
from pathlib import Path
from random import Random

from support.broker import until
from support.storm.faults.kinds import Running, kind
from support.storm.faults.planting import planted
from support.storm.parts import Parts
from support.storm.schedule import Fault

HOUR_S, DAY_S = 3600.0, 86_400.0
LOCK_S = 20.0
SYNC_MS = 1500
STORE_OPENED_S = 30.0


@kind("clock an hour off", (("clock",),), 0.5, 8)
def clock_hour(parts: Parts, fault: Fault) -> Running:
    return planted(parts, "clock_s", Random(fault.seed).choice((HOUR_S, -HOUR_S)))


@kind("clock a day off", (("clock",),), 0.5, 8)
def clock_day(parts: Parts, fault: Fault) -> Running:
    return planted(parts, "clock_s", Random(fault.seed).choice((DAY_S, -DAY_S)))


@kind("clock jumps during looks", (("clock", "model"),), 2, 6)
def clock_during_looks(parts: Parts, fault: Fault) -> Running:
    return planted(parts, "clock_in_looks_s", Random(fault.seed).choice((HOUR_S, -HOUR_S, 30.0, -30.0)))


@kind("disk slow to sync", (("disk",),), 2, 8)
def disk_slow(parts: Parts, fault: Fault) -> Running:
    """A commit needs one sync, and a checkpoint of the journal more."""
    disk = parts.slow_fsync
    before = disk.calls
    disk.begin(SYNC_MS)
    yield
    disk.end()
    return disk.calls - before


@kind("store locked by another program", (("disk",),), 1, 8)
def store_locked(parts: Parts, fault: Fault) -> Running:
    """As by somebody who opens it with sqlite3 and begins a transaction."""
    other = sqlite3.connect(parts.database, timeout=LOCK_S, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()
    return 1


@kind("disk full (ENOSPC)", (("disk", "edged"),), 1, 8)
def disk_full(parts: Parts, fault: Fault) -> Running:
    """Together with `edged`: answers that only its memory has are lost if it is killed now, which is no defect."""
    if parts.disk is None:
        yield
        return 0
    mark = parts.mark()
    parts.disk.fill()
    yield
    parts.disk.free()
    return parts.logged_since(mark, "disk full")


@kind("disk read-only (EROFS)", (("disk", "edged"),), 1, 8)
def disk_read_only(parts: Parts, fault: Fault) -> Running:
    """edged is killed and started meanwhile: files that are open would stay writable."""
    if parts.disk is None:
        yield
        return 0
    mark = parts.mark()
    parts.disk.make_read_only()
    parts.end_edged(signal.SIGKILL)
    parts.await_end()
    parts.start_edged()
    life = parts.life
    yield
    with suppress(AssertionError):  # it may have ended, because of another fault
        until(lambda: life.log or not life.edged.running, STORE_OPENED_S)
    parts.disk.make_writable()
    return parts.logged_since(mark, "read-only")


@kind("descriptors used up", (("descriptors", "edged"),), 1, 8)
def no_descriptors(parts: Parts, fault: Fault) -> Running:
    """The limit is what edged has open."""
    if not parts.life.ready:
        yield
        return 0
    mark, pid = parts.mark(), parts.life.edged.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    opened = max(int(each.name) for each in (Path("/proc") / str(pid) / "fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened + 1, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    return parts.logged_since(mark, "Too many open files")
