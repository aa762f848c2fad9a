"""Faults of cameras, broker, edged, config and model, drawn from a seed, during each other and during recovery.

storm.py --seeds FIRST [LAST]   storms with these seeds; with a table by kind of fault at the end
storm.py --replay FILE          the storm in FILE, which a run that failed has written

--seconds is the length of a schedule (default 120); starting, recovery and the quiet time after it come on top.
--quiet is how long edged is watched after it has recovered (default: three looks of each camera).
--keep FOLDER has schedules, logs and results; seeds that have a result there are not run again. A storm that breaks a
promise is run again with fewer faults, which finds the shortest prefix that still fails (--no-shrink: not).
Exits 1 if a promise was broken. See support/storm/oracle.py for the promises, support/storm/faults.py for the faults.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.storm import schedule, table
from support.storm.faults import KINDS, ranges
from support.storm.run import Outcome, run
from support.storm.schedule import Fault
from support.storm.shrink import shortest_prefix
from support.storm.table import Result


def one_storm(seed: int, faults: Sequence[Fault], keep: Path, shrink: bool) -> Result:
    """Run it, print what was broken, and leave schedule, log and result in `keep`."""
    outcome = storm(faults)
    schedule.save(keep / f"{seed}.json", seed, faults)
    (keep / f"{seed}.log").write_text("\n".join(outcome.log) + "\n")
    print(
        f"seed {seed}: {len(faults)} faults, {outcome.answers} answers, {len(outcome.violations)} violations",
        flush=True,
    )
    for violation in outcome.violations:
        print(f"  {violation}", flush=True)
    if outcome.violations and shrink:
        prefix = shortest_prefix(faults, lambda shorter: bool(storm(shorter).violations))
        schedule.save(keep / f"{seed}.shortest.json", seed, prefix)
        print(f"  the first {len(prefix)} faults are enough: storm.py --replay {keep / f'{seed}.shortest.json'}")
    result = _result(outcome, faults)
    result.save(keep)
    return result


def _run(seed: int, faults: Sequence[Fault]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return run(seed, faults, Path(folder))


def _result(outcome: Outcome, faults: Sequence[Fault]) -> Result:
    done = [(each.fault.kind, each.effect, schedule.overlaps(each.fault, faults)) for each in outcome.done]
    return Result(outcome.seed, done, outcome.violations, outcome.answers)


def main(options: argparse.Namespace) -> int:
    keep = options.keep or Path(tempfile.mkdtemp(prefix="storm-"))
    keep.mkdir(exist_ok=True)
    results = table.read(keep)
    if options.replay:
        seed, faults = schedule.read(options.replay)
        results = {seed: one_storm(seed, faults, keep, shrink=False)}
    else:
        first, last = options.seeds[0], options.seeds[-1]
        for seed in (seed for seed in range(first, last + 1) if seed not in results):
            faults = schedule.draw(seed, options.seconds, ranges(options.seconds, schedule.has_tls(seed)))
            results[seed] = one_storm(seed, faults, keep, options.shrink)
    print(table.table(results.values(), KINDS))
    broken = [result.seed for result in results.values() if result.violations]
    print(f"{len(results)} storms, {len(broken)} with violations {broken or ''}; see {keep}")
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", type=int, nargs="+")
    which.add_argument("--replay", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    sys.exit(main(parser.parse_args()))
