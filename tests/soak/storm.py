"""Storms of faults: of cameras, broker, edged, config and model, drawn from a seed, during each other and recovery.

storm.py --seeds FIRST [LAST]   storms with these seeds; with a table by kind of fault at the end
storm.py --replay FILE          the storm in FILE, which a run that failed has written
storm.py --kept COMMAND         the table of those that this command (tests/run --long) has run at this commit

--seconds is the length of a schedule (default 120); starting, recovery and the quiet time after it come on top.
--quiet is how long edged is watched after it has recovered (default: three looks of each camera).
--jobs is how many storms run at the same time (default 1). One uses an eighth of a core.
--keep FOLDER has schedules, logs and results; seeds that have a result there are not run again. A storm that breaks a
promise is run again with fewer faults, which finds the shortest prefix that still fails (--no-shrink: not).
--record adds the result of each storm to tests/results/storm.json.
Exits 1 if a promise was broken, or a storm could not be run or judged. See support/storm/oracle.py for the promises,
support/storm/faults for the faults.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import pytest
from support.results.environment import commit
from support.results.record import Recording, now
from support.results.render import markdown
from support.results.storms import Run, Storm, all_runs, counted, kept_folder, kinds_table, left, saved
from support.storm import schedule, slow_fsync
from support.storm.faults import ranges
from support.storm.run import Outcome, run
from support.storm.schedule import Fault
from support.storm.shrink import shortest_prefix


@dataclass(frozen=True, slots=True)
class Settings:
    """`keep` is the folder for schedules, logs and results, `commit` that of edged."""

    keep: Path
    commit: str
    seconds: float
    quiet_s: float
    shrink: bool


def finish(outcome: Outcome, faults: Sequence[Fault], settings: Settings) -> Storm | None:
    """Print what was broken, and leave schedule, log, evidence and result of a storm in the folder.

    None, and no result, if all that was judged is well, but the age of pictures could not be.
    """
    keep, seed = settings.keep, outcome.seed
    schedule.save(keep / f"{seed}.json", seed, faults)
    (keep / f"{seed}.log").write_text("\n".join(outcome.log) + "\n")
    if outcome.evidence:
        (keep / f"{seed}.evidence").write_text("\n".join(outcome.evidence) + "\n")
    print(
        f"seed {seed}: {len(faults)} faults, {outcome.answers} answers, {len(outcome.violations)} violations",
        flush=True,
    )
    for violation in outcome.violations:
        print(f"  {violation}", flush=True)
    if outcome.paused_s:
        print(f"  the machine was paused for {outcome.paused_s:.1f} s, or its clock set: no picture's age is judged")
        if not outcome.violations:
            return None
    storm = _storm(outcome, faults, settings)
    storm.save(keep)
    if outcome.violations and settings.shrink:
        prefix = shortest_prefix(faults, lambda shorter: bool(_run(seed, shorter, settings).violations))
        schedule.save(keep / f"{seed}.shortest.json", seed, prefix)
        print(f"  the first {len(prefix)} faults are enough: storm.py --replay {keep / f'{seed}.shortest.json'}")
    return storm


def _run(seed: int, faults: Sequence[Fault], settings: Settings) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return run(seed, faults, Path(folder), settings.quiet_s)


def _storm(outcome: Outcome, faults: Sequence[Fault], settings: Settings) -> Storm:
    done = counted((each.fault.kind, each.effect, schedule.overlaps(each.fault, faults)) for each in outcome.done)
    return Storm(
        outcome.seed,
        settings.seconds,
        outcome.answers,
        done,
        outcome.violations,
        settings.quiet_s,
        date=now(),
        commit=settings.commit,
    )


def _seeds(seeds: Iterable[int], jobs: int, settings: Settings, recording: Recording) -> dict[int, Storm]:
    """Run the seeds that have no result yet. All results in the folder, by seed; a storm that ended with an error, or
    was not judged, has none."""
    results = saved(settings.keep)
    schedules = {
        seed: schedule.draw(seed, settings.seconds, ranges(settings.seconds, schedule.has_tls(seed)))
        for seed in seeds
        if seed not in results
    }
    with ProcessPoolExecutor(jobs, get_context("spawn")) as processes:
        running = {processes.submit(_run, seed, faults, settings): seed for seed, faults in schedules.items()}
        try:
            for ended in as_completed(running):
                seed = running[ended]
                if storm := _result(ended, seed, schedules[seed], settings):
                    results[seed] = storm
                    recording.add_storms([asdict(storm)])
        except BaseException:  # such as Ctrl-C, which ends the storms that run: no others are begun
            processes.shutdown(cancel_futures=True)
            raise
    return results


def _result(ended: Future[Outcome], seed: int, faults: Sequence[Fault], settings: Settings) -> Storm | None:
    """None if the storm ended with an error, which is printed, or was not judged."""
    try:
        return finish(ended.result(), faults, settings)
    except (Exception, pytest.fail.Exception):
        print(f"seed {seed}: could not be run\n{traceback.format_exc()}", flush=True)
        return None


def _kept(recording: Recording) -> int:
    runs = [asdict(storm) for storm in all_runs(kept_folder())]
    if not runs:
        print(f"no storms in {kept_folder()}")
        return 1
    recording.add_storms(runs)
    _print_table(runs)
    return 1 if left(runs) else 0


def _print_table(runs: Sequence[Run]) -> None:
    by_kind = kinds_table(runs)
    print(f"{by_kind.title}\n\n{markdown(by_kind)}\n")


def main(options: argparse.Namespace, recording: Recording) -> int:
    if not slow_fsync.can_be_built():
        print(f"without the compiler {slow_fsync.COMPILER} no disk is slow to sync")
    if options.kept:
        return _kept(Recording(__file__, __doc__, command=options.kept))
    keep = options.keep or Path(tempfile.mkdtemp(prefix="storm-"))
    keep.mkdir(parents=True, exist_ok=True)
    settings = Settings(keep, commit(), options.seconds, options.quiet, options.shrink and not options.replay)
    seeds: Sequence[int] = range(options.seeds[0], options.seeds[-1] + 1) if options.seeds else []
    if options.replay:
        seed, faults = schedule.read(options.replay)
        seeds = [seed]
        storm = finish(_run(seed, faults, settings), faults, settings)
        results = {seed: storm} if storm else {}
    else:
        results = _seeds(seeds, options.jobs, settings, recording)
    _print_table([asdict(storm) for storm in results.values()])
    broken = [storm.seed for storm in results.values() if storm.violations]
    not_run = [seed for seed in seeds if seed not in results]
    print(f"{len(results)} storms, {len(broken)} with violations {broken or ''}; see {keep}")
    if not_run:
        print(f"not run or not judged: {not_run}")
    return 1 if broken or not_run else 0


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", type=int, nargs="+")
    which.add_argument("--replay", type=Path)
    which.add_argument("--kept", metavar="COMMAND")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quiet", type=float, default=0.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    sys.exit(main(parser.parse_args(recording.words), recording))
