"""SIGTERM at random moments of every state: the time until the exit, and whether edged ended as it should.

bench_stop.py [MOMENTS [FIRST_SEED]]: so many moments (default 100) over all states in turn. What must hold: exit code
0, `offline` retained, no process left, a sound store, nothing unexpected in the log.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.results.figures import Figure, Spread
from support.results.record import Recording
from support.scale.stopping import STATES, TIMES, Stopped, stop

WAITS_S = {"broker frozen": 10.0, "loading": TIMES.load_s}  # for the acknowledgement of `offline`, and for the model


def main(moments: int, first_seed: int) -> list[Figure]:
    stopped = [moment(seed) for seed in range(first_seed, first_seed + moments)]
    wrong = sum(bool(each.problems) for each in stopped)
    figures = [Figure("wrong", "moments after which something was wrong", wrong, f"of {moments}", at_most=0)]
    for state in STATES:
        if seconds := [each.seconds for each in stopped if each.state == state]:
            bound = 1.0 + WAITS_S.get(state, 0.0)
            name = state.replace(" ", "-")
            figures.append(Figure(name, f"from SIGTERM to the exit: {state}", Spread.of(seconds), "s", at_most=bound))
    return figures


def moment(seed: int) -> Stopped:
    state = list(STATES)[seed % len(STATES)]
    with tempfile.TemporaryDirectory() as folder:
        stopped = stop(state, seed, Path(folder))
    print(f"{seed:4} {stopped.state:14} {stopped.seconds:6.2f} s  {'; '.join(stopped.problems) or 'ok'}", flush=True)
    return stopped


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    count, first = map(int, [*recording.words, *["100", "0"][len(recording.words) :]])
    sys.exit(recording.finish(main(count, first)))
