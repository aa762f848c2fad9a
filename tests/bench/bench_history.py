"""A history of 200 MB: deleting a batch, a call that finds nothing to delete, the growth of the file, and reading it.

Exits 1 above a target. Writes to a temporary folder; figures depend on its disk.

Usage: python tests/bench/bench_history.py
"""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from support.history import NOW, Row, add, answered, database
from support.results.figures import Figure, Spread
from support.results.record import Recording

from edged.store.keeping import BATCH, BUDGET_S, Cleaner, used_bytes

LIMIT = 200_000_000
QUESTIONS = 8
PER_S = 10  # answers
MINUTES = 200
YEAR_S = 365 * 86400.0
BATCH_S = 0.05
NOTHING_S = 0.02
MEMORY = 80_000_000  # of the interpreter with its modules: resident, not of the answers
MEASURED = (
    "import resource, sys, time; from pathlib import Path; from edged.tools.history.command import *; "
    "history(None, Path(sys.argv[1]), HistoryOptions(since_s=3e9, form=sys.argv[2] or None)); "
    "print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)"
)


def main() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edged.db"
        connection = database(path)
        connection.execute("PRAGMA synchronous = FULL")
        count = fill(connection)
        print(f"{count} answers, {used_bytes(connection) / 1e6:.0f} MB used")
        figures = [batches(connection, path), nothing_to_delete(connection), *growth(connection, path, count)]
        connection.close()
        figures += [reading(path, form) for form in ("", "json", "csv")]
    return figures


def rows(first: int, count: int) -> Iterator[Row]:
    numbers = range(first, first + count)
    return (answered(stamp(number), number % 40, question=f"q{number % QUESTIONS}") for number in numbers)


def stamp(number: int) -> float:
    return NOW + number / PER_S


def fill(connection: sqlite3.Connection) -> int:
    count = 0
    while used_bytes(connection) < LIMIT:
        add(connection, rows(count, 10_000))
        count += 10_000
    return count


def batches(connection: sqlite3.Connection, path: Path) -> Figure:
    """Delete one batch after the other by age."""
    seconds, written = [], []
    for number in range(1, 31):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        seconds.append(timed(partial(clean, connection, keep_s=YEAR_S - number * BATCH / PER_S, budget_s=0)))
        written.append(path.with_name("edged.db-wal").stat().st_size)
    median, most = statistics.median(seconds), max(seconds)
    print(
        f"deleting {BATCH} answers: median {median * 1e3:.1f} ms, maximum {most * 1e3:.1f} ms, "
        f"{statistics.median(written) / 1e3:.0f} kB written (target: median {BATCH_S * 1e3:.0f} ms)"
    )
    return Figure("batch", f"deleting {BATCH} answers", Spread.of(ms(seconds)), "ms", at_most=BATCH_S * 1e3)


def nothing_to_delete(connection: sqlite3.Connection) -> Figure:
    seconds = [timed(partial(clean, connection, keep_s=2 * YEAR_S)) for _ in range(30)]
    median = statistics.median(seconds)
    print(f"a call with nothing to delete: median {median * 1e3:.1f} ms (target: {NOTHING_S * 1e3:.0f} ms)")
    return Figure("nothing", "finding nothing to delete", Spread.of(ms(seconds)), "ms", at_most=NOTHING_S * 1e3)


def clean(connection: sqlite3.Connection, keep_s: float, budget_s: float = BUDGET_S) -> None:
    """By age only, a year after the first answer."""
    Cleaner().clean(connection, keep_s, 10 * LIMIT, NOW + YEAR_S, True, budget_s)


def growth(connection: sqlite3.Connection, path: Path, count: int) -> list[Figure]:
    """Ten answers a second, and a call each minute."""
    cleaner, seconds, largest = Cleaner(), [], 0
    cleaner.clean(connection, YEAR_S, LIMIT, stamp(count), True, budget_s=60)
    connection.execute("VACUUM")
    for minute in range(MINUTES):
        first = count + minute * 60 * PER_S
        add(connection, rows(first, 60 * PER_S))
        now = stamp(first + 60 * PER_S)
        seconds.append(timed(partial(cleaner.clean, connection, YEAR_S, LIMIT, now, True)))
        largest = max(largest, path.stat().st_size)
    print(
        f"at the limit, a call each minute: median {statistics.median(seconds) * 1e3:.1f} ms, "
        f"maximum {max(seconds) * 1e3:.0f} ms; largest file in {MINUTES} minutes {largest / 1e6:.1f} MB "
        f"(target: {BUDGET_S * 1e3:.0f} ms, {LIMIT / 1e6:.0f} MB)"
    )
    longest, bound = max(seconds) * 1e3, (BUDGET_S + BATCH_S) * 1e3
    return [
        Figure("longest", "longest deletion at the limit of the size", longest, "ms", at_most=bound),
        Figure(
            "largest",
            f"largest file in {MINUTES} minutes at the limit",
            largest / 1e6,
            "MB",
            at_most=LIMIT / 1e6,
        ),
    ]


def ms(seconds: list[float]) -> list[float]:
    return [each * 1e3 for each in seconds]


def reading(path: Path, form: str) -> Figure:
    command = [sys.executable, "-c", MEASURED, str(path), form]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    seconds, memory = map(float, done.stderr.split())
    name = f"--{form}" if form else "the table"
    print(f"edged history, {name}: {seconds:.1f} s of CPU, {memory / 1e6:.0f} MB (target: {MEMORY / 1e6:.0f} MB)")
    what = f"memory of edged history, {name}, for {LIMIT / 1e6:.0f} MB of answers"
    return Figure(f"memory-{form or 'table'}", what, memory / 1e6, "MB", at_most=MEMORY / 1e6)


def timed(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main()))
