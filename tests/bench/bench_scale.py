"""64 cameras and a model of known times: lost looks, fair shares, and whether what edged says about them is true.

bench_scale.py [ROUNDS]: first a model that has time for all looks, then one with twice as much to do as it can, with
48 cameras that look every second and 16 that look every 20 s. Until each camera has had ROUNDS looks (default 4).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.broker import Mosquitto
from support.results.figures import Figure, Spread
from support.results.record import Recording
from support.scale.box import ModelTimes
from support.scale.run import Result, run

CAMERAS, SELDOM = 64, 16
ENOUGH_S, OFTEN_S, SELDOM_S = 2.0, 1.0, 20.0
ENOUGH, TOO_SLOW = ModelTimes(0.01, 0.01), ModelTimes(0.02, 0.02)
BUSY = 0.9
TRUE_S, LATE_SHARE = 0.05, 0.1


def main(rounds: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        return [*enough(Path(first), rounds), *too_much(Path(second), rounds)]


def enough(folder: Path, rounds: int) -> list[Figure]:
    every_s = {f"c{number}": ENOUGH_S for number in range(CAMERAS)}
    with Mosquitto(folder) as broker:
        result = run(folder, broker, every_s, ENOUGH, rounds * 10)
    told_s, _ = result.lateness_s()
    looks = sum(result.counts(ENOUGH_S))
    demand = CAMERAS / ENOUGH_S * ENOUGH.look_s
    what = f"{CAMERAS} cameras, {demand:.0%} of the model's time"
    print(f"{what}: {looks} looks, {result.lost(ENOUGH_S)} lost, lateness {told_s:.3f} s")
    return [
        Figure("lost", f"{what}: looks lost", result.lost(ENOUGH_S), f"of {looks + result.lost(ENOUGH_S)}", at_most=0),
        Figure("lateness", f"{what}: mean lateness", told_s, "s", at_most=ENOUGH_S / 4),
        Figure("age-error", f"{what}: error of `frame_age_s`", Spread.of(result.wrong_ages_s()), "s", at_most=TRUE_S),
        Figure("answering", f"{what}: from the model's answer to `answered_ts`", Spread.of(result.answering_s()), "s"),
    ]


def too_much(folder: Path, rounds: int) -> list[Figure]:
    every_s = {f"c{number}": OFTEN_S for number in range(CAMERAS - SELDOM)}
    every_s |= {f"s{number}": SELDOM_S for number in range(SELDOM)}
    with Mosquitto(folder) as broker:
        result = run(folder, broker, every_s, TOO_SLOW, rounds)
    demand = ((CAMERAS - SELDOM) / OFTEN_S + SELDOM / SELDOM_S) * TOO_SLOW.look_s
    return [*shares(result, f"{CAMERAS} cameras, {demand:.0%} of the model's time"), *truth(result)]


def shares(result: Result, what: str) -> list[Figure]:
    counts, seldom = Spread.of(result.counts(OFTEN_S)), result.counts(SELDOM_S)
    print(f"{what}: busy {result.busy_share:.3f}, looks of each {counts}, of those that look seldom {seldom}")
    lost = f"{what}: looks lost by cameras that look every {SELDOM_S:g} s"
    return [
        Figure("busy", f"{what}: share of the time that the model is busy", result.busy_share, at_least=BUSY),
        Figure("looks", f"{what}: looks of each camera that looks every {OFTEN_S:g} s", counts),
        Figure("unfair", f"{what}: difference between two of them", counts.max - counts.min, at_most=2),
        Figure("seldom-lost", lost, result.lost(SELDOM_S), f"of {sum(seldom) + result.lost(SELDOM_S)}", at_most=0),
    ]


def truth(result: Result) -> list[Figure]:
    told_s, true_s = result.lateness_s()
    told, true = result.skipped()
    wrong = sum(abs(told[name] - true[name]) > 1 for name in told)  # one may be counted while it is scraped
    told_count, true_count = sum(told.values()), sum(true.values())
    print(f"lateness {told_s:.2f} s, in truth {true_s:.2f} s; skipped {told_count}, in truth {true_count}")
    against, what = "the truth by the answers", "cameras whose skipped looks are wrong by more than one"
    return [
        Figure("lateness-told", "lateness on /metrics", told_s, "s"),
        Figure("lateness-error", "its error", abs(told_s / true_s - 1), at_most=LATE_SHARE, against=against),
        Figure("skipped-told", "skipped looks on /metrics", told_count),
        Figure("skipped-true", "skipped looks by the answers", true_count),
        Figure("skipped-wrong", what, wrong, at_most=0, against=against),
    ]


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main(int(recording.words[0]) if recording.words else 4)))
