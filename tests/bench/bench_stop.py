"""SIGTERM at random moments of every state: the time until the exit, and whether edged ended as it should.

bench_stop.py [--moments N] [--jobs N] [--keep FOLDER]

--moments is how many there are in each state (default 100, which takes half an hour).
--jobs is how many run at the same time (default 4). One uses an eighth of a core.
--keep FOLDER has the result of each moment, with the log of edged; moments that have a result there are not run again.
What must hold: exit code 0, `offline` retained, no process left, a sound store, nothing unexpected in the log.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.results.figures import Figure, Spread
from support.results.record import Recording
from support.scale.moments import JOBS, stop_at
from support.scale.stopping import STATES, TIMES, Stopped

WAITS_S = {"broker frozen": 10.0, "loading": TIMES.load_s}  # for the acknowledgement of `offline`, and for the model


def main(moments: int, jobs: int, keep: Path) -> list[Figure]:
    stopped = stop_at([(state, seed) for seed in range(moments) for state in STATES], keep, jobs)
    wrong = [each for each in stopped if each.problems]
    for each in wrong:
        print(f"{each.state} {each.seed}: {'; '.join(each.problems)}")
    count = Figure("wrong", "moments after which something was wrong", len(wrong), f"of {len(stopped)}", at_most=0)
    return [count, *(until_exit(state, stopped) for state in STATES)]


def until_exit(state: str, stopped: Sequence[Stopped]) -> Figure:
    spread = Spread.of(each.seconds for each in stopped if each.state == state)
    bound = 1.0 + WAITS_S.get(state, 0.0)
    return Figure(state.replace(" ", "-"), f"from SIGTERM to the exit: {state}", spread, "s", at_most=bound)


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args(recording.words)
    keep = options.keep or Path(tempfile.mkdtemp(prefix="stop-"))
    sys.exit(recording.finish(main(options.moments, options.jobs, keep)))
