"""SIGTERM at many moments, several of them at the same time. What became of each is kept in a file of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from support.scale.stopping import Stopped, stop

JOBS = 4  # moments at the same time: one uses an eighth of a core


def stop_at(
    moments: Iterable[tuple[str, int]], keep: Path, jobs: int = JOBS, stop: Callable[[str, int, Path], Stopped] = stop
) -> list[Stopped]:
    """Stop edged at each moment, which is a state and a seed. The results, in the same order.

    A moment whose result is in the folder `keep` is not repeated.
    """
    keep.mkdir(exist_ok=True)
    files = {moment: keep / f"{moment[0].replace(' ', '-')}-{moment[1]}.json" for moment in moments}
    missing = [moment for moment, file in files.items() if not file.exists()]
    for stopped in _at_the_same_time(missing, jobs, stop):
        _save(stopped, files[stopped.state, stopped.seed])
    return [Stopped(**json.loads(file.read_text())) for file in files.values()]


def _at_the_same_time(
    moments: Iterable[tuple[str, int]], jobs: int, stop: Callable[[str, int, Path], Stopped]
) -> Iterator[Stopped]:
    """As they end. If one raises an exception, none is begun after it."""
    pool = ThreadPoolExecutor(jobs)
    try:
        for future in as_completed([pool.submit(_in_a_folder, stop, *moment) for moment in moments]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _in_a_folder(stop: Callable[[str, int, Path], Stopped], state: str, seed: int) -> Stopped:
    with tempfile.TemporaryDirectory() as folder:
        return stop(state, seed, Path(folder))


def _save(stopped: Stopped, file: Path) -> None:
    """Whole or not at all."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(asdict(stopped), indent=1))
    part.rename(file)
