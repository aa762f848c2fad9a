"""Frames that are kept to be labelled: files in the folder `frames` beside edged.db, rows in it. See `FrameStore`.

A thread of its own encodes and writes the files, because answers wait for the thread that writes to edged.db. A file is
written before its row, and a row is deleted before its file: what a killed process leaves behind is a file without a
row, and is deleted at the next start.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import Empty, Full, Queue
from typing import TypeAlias

from edged.core.kept_frames import (
    FramesUnavailable,
    KeptFrame,
    Label,
    LabelProgress,
    LabelRefused,
    LabelTask,
    LabelVerdict,
)
from edged.core.outage import Outage
from edged.core.specs import FramesSpec
from edged.core.text import counted, printable, shorten, system_text
from edged.core.truths import decided
from edged.core.types import Value
from edged.store import frame_rows as rows
from edged.store.file import read_only
from edged.store.frame_files import FrameFiles
from edged.store.frame_rows import Room
from edged.store.writer import Operation, Write

log = logging.getLogger(__name__)

FOLDER = "frames"
WAITING = 4  # frames in memory: 25 MB at 1920 x 1080
RETRY_S = 5.0  # from one attempt to write a frame to the next while the folder is unusable
WRITTEN_S = 5.0  # how long the writing of a row is waited for
CLOSE_S = 3.0

Job: TypeAlias = tuple[KeptFrame, Callable[[], bytes]]


class DiskFrames:
    """The frames beside the store's file at `path`.

    `submit` hands an operation to the thread that writes to that file; `usable` is false while it cannot.
    """

    def __init__(self, path: Path, submit: Callable[[Operation], None], usable: Callable[[], bool]) -> None:
        self._path = path
        self._files = FrameFiles(path.with_name(FOLDER))
        self._submit = submit
        self._usable = usable
        self._spec: FramesSpec | None = None
        self._queue: Queue[Job | None] = Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._tidy_due = threading.Event()  # cleared before `_spec` is read, set after it is replaced
        self._retry_at = 0.0
        self._too_large: set[str] = set()  # cameras
        self._labelled_went = False
        self._outage = Outage("frames", log, "writing again")
        self._busy = Outage("frames", log, "all are kept again", "lost", "lost")
        self._reader: sqlite3.Connection | None = None
        self._reader_lock = threading.Lock()

    def bound(self, spec: FramesSpec | None) -> None:
        """Keep no more than this. The first call also deletes what a process that died has left behind."""
        if self._thread and spec == self._spec:
            return
        self._spec = spec
        self._tidy_due.set()
        self._too_large.clear()
        if self._thread is None and spec is None and not self._files.may_exist():
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="edged-frames", daemon=True)
            self._thread.start()
        with suppress(Full):
            self._queue.put_nowait(None)

    def keep(self, frame: KeptFrame, encode: Callable[[], bytes]) -> None:
        if self._spec is None or self._closing.is_set():
            return
        try:
            self._queue.put_nowait((frame, encode))
        except Full:
            self._busy.begin("arriving faster than they can be written; some are not kept")

    def reopen(self) -> None:
        """The file may have been replaced by another one."""
        with self._reader_lock:
            self._close_reader()

    def close(self) -> None:
        """Frames that wait are not kept. Bounded."""
        self._closing.set()
        with suppress(Full):
            self._queue.put_nowait(None)
        if self._thread:
            self._thread.join(CLOSE_S)
        self.reopen()

    # labels

    def next_unlabelled(self) -> LabelTask | None:
        with self._reading() as connection:
            return rows.next_unlabelled(connection)

    def task(self, frame: str) -> LabelTask | None:
        with self._reading() as connection:
            return rows.task(connection, frame)

    def progress(self) -> LabelProgress:
        with self._reading() as connection:
            return rows.progress(connection)

    def read(self, frame: str) -> bytes | None:
        task = self.task(frame)
        try:
            return self._files.read(task.frame.name) if task else None
        except OSError:
            return None

    def label(self, frame: str, question: str, verdict: LabelVerdict | None, truth: Value = None) -> Label:
        label = new_label(self.task(frame), frame, question, verdict, truth)
        self._write_rows(lambda connection: rows.put_label(connection, label), "the label")
        return label

    def undo(self) -> Label | None:
        labels: list[Label | None] = []
        self._write_rows(lambda connection: labels.append(rows.take_back_label(connection)), "this")
        return labels[-1]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._reader_lock:
            try:
                self._reader = self._reader or read_only(self._path)
                yield self._reader
            except sqlite3.Error as error:
                self._close_reader()
                raise FramesUnavailable(f"{self._path} cannot be read: {error}") from None

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader:
            with suppress(sqlite3.Error):
                reader.close()

    def _write_rows(self, write: Write, what: str) -> None:
        if not self._committed(write):
            raise FramesUnavailable(
                f"{self._path} cannot be written now; {what} is kept in memory and will be written later"
            )

    def _committed(self, write: Write) -> bool:
        """True if it is on disk; False if it may be later."""
        outcome: list[bool] = []
        done = threading.Event()

        def then(written: bool) -> None:
            outcome.append(written)
            done.set()

        self._submit(Operation(write, then))
        return done.wait(WRITTEN_S) and outcome[0]

    # the thread of the frames

    def _run(self) -> None:
        while not self._closing.is_set():
            job = self._next_job()
            try:
                self._tidy_if_due()
                spec = self._spec
                if job and spec and not self._closing.is_set():
                    self._keep(*job, spec)
            except OSError as error:
                self._fail(f"{self._files.folder}: {system_text(error)}")
            except FramesUnavailable as error:
                self._fail(str(error))
            except Exception as error:  # of an encoder, too
                self._outage.begin(f"unexpected error: {error!r}", level=logging.ERROR, exc_info=error)
            job = None  # do not hold the picture until the next one comes

    def _next_job(self) -> Job | None:
        if self._queue.empty():
            self._busy.end()
        try:
            return self._queue.get(timeout=RETRY_S if self._tidy_due.is_set() else None)
        except Empty:
            return None

    def _fail(self, reason: str) -> None:
        self._outage.begin(f"{reason}; no frames are kept until that works")
        self._retry_at = time.monotonic() + RETRY_S

    def _keep(self, frame: KeptFrame, encode: Callable[[], bytes], spec: FramesSpec) -> None:
        if self._outage.on and time.monotonic() < self._retry_at:
            return
        try:
            data = encode()
        except OSError as error:  # Pillow's, of a codec that it does not have
            self._fail(f"camera {frame.camera}: a frame cannot be encoded: {error}")
            return
        if len(data) > spec.max_bytes:
            self._report_too_large(frame.camera, len(data))
        elif self._make_room(spec.max_bytes - len(data)):
            self._files.write(frame.name, data)
            self._submit(Operation(lambda connection: rows.insert(connection, frame, len(data))))
            self._outage.end()

    def _report_too_large(self, camera: str, size: int) -> None:
        if camera not in self._too_large:
            self._too_large.add(camera)
            log.warning("frames: camera %s: a frame has %.1f MB, more than frames.max; not kept", camera, size / 1e6)

    def _make_room(self, limit: int) -> bool:
        """Delete the oldest frames, so that the files have `limit` bytes at most. False if rows cannot be written."""
        if self._deleted(lambda connection: rows.make_room(connection, limit)) is not None:
            return True
        self._tidy_due.set()  # the store has reported why; it may delete the rows later
        return False

    def _tidy_if_due(self) -> None:
        if not self._tidy_due.is_set():
            return
        self._tidy_due.clear()
        done = False
        try:
            done = self._tidy()
        finally:
            if not done:
                self._tidy_due.set()

    def _tidy(self) -> bool:
        """Delete what is not to be kept, files without rows, and rows without files unless they have a label.

        False if rows cannot be written now.
        """
        spec = self._spec
        gone = self._deleted(
            lambda connection: rows.make_room(connection, spec.max_bytes) if spec else rows.drop_unlabelled(connection)
        )
        if gone is None:
            return False
        with self._reading() as connection:  # has every frame so far: the store writes in order
            kept = rows.names(connection)
        present = self._files.names()
        for name in present - kept:
            self._files.delete(name)
        self._submit(Operation(lambda connection: rows.delete_unlabelled(connection, kept - present)))
        _report_deleted(gone, "frame", "frames.max is exceeded" if spec else "`frames:` is not configured")
        _report_deleted(len(present - kept), "file", "not in the store")
        if spec is None:  # else the next frame that is kept ends it
            self._outage.end()
        return True

    def _deleted(self, delete: Callable[[sqlite3.Connection], Room]) -> int | None:
        """Delete rows and files, batch by batch; how many. None if that cannot be written now."""
        count = 0
        while True:
            rooms: list[Room] = []
            if not self._usable() or not self._committed(partial(_append, rooms, delete)):
                return None
            for name in rooms[-1].gone:
                self._files.delete(name)
            count += len(rooms[-1].gone)
            if rooms[-1].had_label and not self._labelled_went:
                self._labelled_went = True
                log.warning("frames: frames.max is reached, so labelled frames are deleted too; their labels stay")
            if not rooms[-1].may_go_on:
                return count


def _append(rooms: list[Room], delete: Callable[[sqlite3.Connection], Room], connection: sqlite3.Connection) -> None:
    rooms.append(delete(connection))


def _report_deleted(count: int, what: str, why: str) -> None:
    if count:
        log.info("frames: %s deleted: %s", counted(count, what), why)


def new_label(task: LabelTask | None, frame: str, question: str, verdict: LabelVerdict | None, truth: Value) -> Label:
    """A label about the frame of `task`, given now. Raises LabelRefused."""
    if task is None:
        raise LabelRefused(f'no frame "{printable(shorten(frame))}" is kept')
    answer = task.frame.answer(question)
    if answer is None:
        raise LabelRefused(f'frame {task.frame.name}: no answer to a question "{printable(shorten(question))}"')
    verdict, truth = decided(answer, verdict, truth)
    return Label(task.frame.name, task.frame.camera, question, truth, verdict, time.time())
