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


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edged.db"
        connection = database(path)
        connection.execute("PRAGMA synchronous = FULL")
        count = fill(connection)
        print(f"{count} answers, {used_bytes(connection) / 1e6:.0f} MB used")
        results = [batches(connection, path), nothing_to_delete(connection), growth(connection, path, count)]
        connection.close()
        results += [reading(path, form) for form in ("", "json", "csv")]
    return 0 if all(results) else 1


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


def batches(connection: sqlite3.Connection, path: Path) -> bool:
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
    return median <= BATCH_S


def nothing_to_delete(connection: sqlite3.Connection) -> bool:
    median = statistics.median(timed(partial(clean, connection, keep_s=2 * YEAR_S)) for _ in range(30))
    print(f"a call with nothing to delete: median {median * 1e3:.1f} ms (target: {NOTHING_S * 1e3:.0f} ms)")
    return median <= NOTHING_S


def clean(connection: sqlite3.Connection, keep_s: float, budget_s: float = BUDGET_S) -> None:
    """By age only, a year after the first answer."""
    Cleaner().clean(connection, keep_s, 10 * LIMIT, NOW + YEAR_S, True, budget_s)


def growth(connection: sqlite3.Connection, path: Path, count: int) -> bool:
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
    return max(seconds) <= BUDGET_S + BATCH_S and largest <= LIMIT


def reading(path: Path, form: str) -> bool:
    command = [sys.executable, "-c", MEASURED, str(path), form]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    seconds, memory = map(float, done.stderr.split())
    name = f"--{form}" if form else "the table"
    print(f"edged history, {name}: {seconds:.1f} s of CPU, {memory / 1e6:.0f} MB (target: {MEMORY / 1e6:.0f} MB)")
    return memory <= MEMORY


def timed(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
