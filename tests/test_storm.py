"""Three storms, and the parts of a storm that would hide a failure. tests/soak/storm.py runs more of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from soak import storm as soak
from support.broker import until
from support.cameras import Watched, spec
from support.results.storms import Storm, counted, saved
from support.rtsp import Server
from support.running import Edged
from support.storm import oracle, schedule
from support.storm.faults import KINDS, ranges
from support.storm.oracle import Faults, Row, Seen
from support.storm.parts import Lateness, Life, Parts, Sample
from support.storm.record import Message
from support.storm.run import Done, Outcome
from support.storm.run import Storm as RunningStorm
from support.storm.schedule import Fault
from support.storm.shrink import shortest_prefix

LONG_S = 120.0
WHOLE = {"id": "a", "camera": "dock", "question": "seen", "status": "ok", "value": "150 at 12.000", "frame_age_s": 0.1}


def answer(**other: object) -> Row:
    content = {**WHOLE, **other}
    return Row(1, "edged/box/dock/seen", "look", False, b"{}", content)


def seen(*rows: Row, log: list[str] | None = None) -> Seen:
    return Seen([], rows, [log or []], {}, {})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_storms_of_two_minutes_break_no_promise(tmp_path: Path) -> None:
    """Side by side: they mostly wait, and use less than half a core together."""
    script = Path(__file__).parent / "soak" / "storm.py"
    command = [sys.executable, str(script), "--seeds", "1", "3", "--jobs", "3", "--keep", str(tmp_path), "--no-shrink"]
    storms = subprocess.run(command, capture_output=True, text=True)
    logs = [path.read_text() for path in tmp_path.glob("*.log")]
    assert storms.returncode == 0, "\n".join([storms.stdout, storms.stderr, *logs])
    for seed, storm in saved(tmp_path).items():
        assert sum(injected for injected, _, _ in storm.faults.values()) == len(drawn(seed, LONG_S))
        assert storm.answers > 2 * LONG_S  # nine a second, of which an outage takes some


def test_a_storm_that_cannot_be_run_does_not_end_the_others_and_is_not_passed_over(tmp_path: Path) -> None:
    script = Path(__file__).parent / "soak" / "storm.py"
    without_broker = {**os.environ, "PATH": "/nowhere"}
    command = [sys.executable, str(script), "--seeds", "1", "2", "--keep", str(tmp_path)]
    storms = subprocess.run(command, capture_output=True, text=True, timeout=120, env=without_broker)
    assert storms.returncode == 1
    for seed in (1, 2):
        assert f"seed {seed}: could not be run" in storms.stdout
    assert storms.stdout.endswith("not run or not judged: [1, 2]\n")
    assert not storms.stderr


@pytest.mark.slow
@pytest.mark.parametrize("path", ["h264", "h265"])
def test_the_camera_tells_how_late_it_sends_each_picture(path: str, tmp_path: Path) -> None:
    server = Server(lags=tmp_path / "lags")
    try:
        with Watched(spec(server.url(path))) as watched:
            watched.grab()
            until((tmp_path / "lags").exists)
    finally:
        server.kill()
    lags = [float(line.split()[1]) for line in (tmp_path / "lags").read_text().splitlines()]
    assert 0 <= min(lags) <= max(lags) < 10


def drawn(seed: int, seconds: float) -> list[Fault]:
    return schedule.draw(seed, seconds, ranges(LONG_S, schedule.has_tls(seed)))


# The schedule


def test_a_seed_draws_the_same_storm_again_and_a_file_keeps_it(tmp_path: Path) -> None:
    faults = drawn(7, LONG_S)
    schedule.save(tmp_path / "storm.json", 7, faults)
    assert faults == drawn(7, LONG_S)
    assert faults != drawn(9, LONG_S)
    assert schedule.read(tmp_path / "storm.json") == (7, faults)


@pytest.mark.parametrize("seed", range(20))
def test_faults_overlap_but_never_those_of_one_part(seed: int) -> None:
    faults = drawn(seed, LONG_S)
    for fault in faults:
        others = [other for other in faults if other != fault and set(other.parts) & set(fault.parts)]
        assert not schedule.overlaps(fault, [fault, *others])
    assert sum(schedule.overlaps(fault, faults) for fault in faults) > len(faults) // 2


@pytest.mark.parametrize("seed", [1, 2])
def test_every_kind_comes_equally_often(seed: int) -> None:
    kinds = [fault.kind for fault in drawn(seed, 1000.0)]
    counts = Counter(dict.fromkeys(ranges(LONG_S, schedule.has_tls(seed)), 0))
    counts.update(kinds)
    assert max(counts.values()) - min(counts.values()) <= 2


def test_certificates_are_disturbed_only_where_there_are_some() -> None:
    tls, plain = set(ranges(LONG_S, True)), set(ranges(LONG_S, False))
    assert {kind for kind in tls - plain if "certificate" in kind}
    assert tls | plain < set(KINDS)  # 90 s are too long for two minutes


def test_the_shortest_prefix_that_fails_is_found() -> None:
    faults = [Fault(at, 1.0, f"kind {at}", ("dock",), 0) for at in range(13)]
    for culprit in faults:
        assert shortest_prefix(faults, lambda prefix: culprit in prefix)[-1] == culprit  # noqa: B023


def test_faults_are_counted_by_kind_and_a_result_is_read_again(tmp_path: Path) -> None:
    faults = counted([("cut", 3, 1), ("cut", 0, 0), ("kill", 1, 2)])
    assert faults == {"cut": (2, 1, 1), "kill": (1, 1, 2)}
    storm = Storm(7, 120.0, 10, faults, ["lost"], 300.0)
    storm.save(tmp_path)
    (read,) = saved(tmp_path).values()
    assert asdict(read) == asdict(storm) | {"faults": {kind: list(counts) for kind, counts in faults.items()}}


# The oracle


def test_the_oracle_finds_an_old_picture() -> None:
    assert not list(oracle.too_old(seen(answer()), 0.0, Faults()))  # number 150 is second 10: 2 s
    assert "3.0 s old" in next(oracle.too_old(seen(answer(value="150 at 13.000")), 0.0, Faults()))


def test_a_picture_may_be_older_if_its_camera_sends_all_of_them_late() -> None:
    old = answer(value="150 at 13.000")
    camera = str(old.content["camera"])
    late = [(10.5 + number / 15, 1.2 + number / 15) for number in range(10)]

    def found(lags: dict[str, list[tuple[float, float]]]) -> list[str]:
        return list(oracle.too_old(seen(old), 0.0, Faults(lags=lags)))

    assert not found({camera: [(9.0, 0.0), *late]})
    assert found({camera: [*late, (12.0, 0.1), (14.0, 2.0)]})
    assert found({camera: late[:4]})
    assert found({"another": late})


def test_a_snapshot_that_the_network_held_back_may_be_as_much_older() -> None:
    old = answer(value="150 at 14.000")  # taken at 10.0
    camera = str(old.content["camera"])

    def found(camera: str, *held: tuple[float, float]) -> list[str]:
        return list(oracle.too_old(seen(old), 0.0, Faults(held={camera: held})))

    assert not found(camera, (1.0, 3.0), (9.0, 12.5))
    assert found(camera, (9.0, 11.0))  # it waited for 3 s after that
    assert found(camera, (11.0, 13.9))  # it was there before that
    assert found(camera, (1.0, 9.5))
    assert found(camera, (9.0, 14.1))
    assert found("another", (9.0, 12.5))


def test_the_oracle_knows_when_snapshots_were_held_back() -> None:
    parts = SimpleNamespace(http={}, denied=set(), lives=[], camera_lags=list)
    done = [Done(Fault(0.0, 1.0, kind, (part,), 0), 1.0, 2.0, 1) for kind in KINDS for part in ("dock", "yard")]
    faults = RunningStorm(cast(Parts, parts), done).faults()
    assert [round(until - since, 3) for since, until in faults.held["yard"]] == [1.0]
    assert list(faults.held) == ["yard"]


@pytest.mark.parametrize("change_s", [18.0, -18.0])
def test_a_pause_of_the_machine_is_noticed(change_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    lateness, clock = Lateness(), time.time
    try:
        assert not lateness.paused_s
        monkeypatch.setattr(time, "time", lambda: clock() + change_s)
        until(lambda: lateness.paused_s)
    finally:
        lateness.close()
    assert lateness.paused_s == pytest.approx(18.0, abs=1.0)


@pytest.mark.parametrize("violations", [[], ["lost"]])
def test_a_storm_in_a_pause_has_a_result_only_if_it_broke_a_promise(violations: list[str], tmp_path: Path) -> None:
    outcome = Outcome(7, violations=violations, paused_s=18.0)
    storm = soak.finish(outcome, [], soak.Settings(tmp_path, "abc", 120.0, 0.0, shrink=False))
    assert list(saved(tmp_path)) == ([7] if violations else [])
    assert (storm is None) == (not violations)
    assert (tmp_path / "7.log").exists()


def test_a_picture_of_a_frozen_camera_may_be_older_but_not_for_long() -> None:
    frozen = Faults(frozen={150})
    assert not list(oracle.too_old(seen(*LOOKS, answer(value="150 at 15.500")), 0.0, frozen))
    assert list(oracle.too_old(seen(*LOOKS, answer(value="150 at 16.500")), 0.0, frozen))
    stopped = [answer(id="late", value="150 at 14.000")]  # edged was stopped before it could see the picture
    assert not list(oracle.too_old(seen(*LOOKS[:5], *stopped, answer(value="150 at 18.500")), 0.0, frozen))
    assert list(oracle.too_old(seen(*LOOKS, answer(value="149 at 15.000")), 0.0, frozen))


LOOKS = [answer(id=str(n), value=f"{75 + 15 * n} at {5.5 + n:.3f}") for n in range(6)]  # the last one at 10.5 s


def test_a_picture_at_which_a_camera_froze_is_as_old_as_its_first_look_since_edged_began() -> None:
    def found(*later: str, begun: float) -> bool:
        looks = [answer(id=value, value=f"150 at {value}") for value in later]
        return bool(list(oracle.too_old(seen(*LOOKS, *looks), 0.0, Faults(frozen={150}, begun=[begun]))))

    assert found("18.000", begun=5.0)
    assert not found("18.000", "23.000", begun=17.0)
    assert found("18.000", "23.500", begun=17.0)
    assert found("18.000", begun=19.0)


def test_a_camera_that_froze_while_its_noise_is_not_known_is_like_a_test_card() -> None:
    late = answer(value="150 at 18.000")
    for forgotten, found in ((11.0, False), (8.0, False), (5.0, True), (19.0, True)):
        assert bool(list(oracle.too_old(seen(*LOOKS, late), 0.0, Faults(frozen={150}, forgotten=[forgotten])))) == found


def test_the_oracle_finds_a_value_of_another_type() -> None:
    assert not list(oracle.untyped(seen(answer(question="clock", value=65535))))
    for wrong in (65536, -1, True, "3", None):
        assert list(oracle.untyped(seen(answer(question="clock", value=wrong))))
    assert list(oracle.untyped(seen(answer(status="timeout", reason="late"))))
    assert list(oracle.untyped(seen(answer(status="timeout", value=None, reason=None))))


def test_the_oracle_finds_answers_about_different_pictures() -> None:
    clock, even = answer(question="clock", value=150), answer(question="even", value=True)
    assert not list(oracle.mixed_up(seen(answer(), clock, even)))
    assert list(oracle.mixed_up(seen(answer(), answer(question="clock", value=151))))
    assert list(oracle.mixed_up(seen(answer(), answer(question="even", value=False))))
    assert list(oracle.mixed_up(seen(answer(value="None at 12.000"))))


def test_the_oracle_finds_what_arrives_out_of_order() -> None:
    """Not what comes again, on the same topic or on /late, because its acknowledgement could not be stored."""
    rows = [replace(answer(id=str(number)), number=number) for number in range(3)]

    def found(*received: tuple[str, int]) -> bool:
        messages = [
            Message(float(at), f"edged/box/dock/seen{where}", json.dumps(rows[number].content).encode(), True, None)
            for at, (where, number) in enumerate(received)
        ]
        return bool(list(oracle.disordered(Seen(messages, rows, [[]], {}, {}))))

    assert found(("", 1), ("", 0))
    assert found(("/late", 2), ("/late", 0))
    assert not found(("", 0), ("", 2), ("/late", 1))
    assert not found(("", 0), ("", 1), ("", 0), ("", 1), ("", 2))
    assert not found(("", 0), ("/late", 1), ("/late", 0), ("/late", 1), ("", 2))


def test_the_oracle_finds_what_was_not_received() -> None:
    refused = "WARNING broker mqtt://b:1: topic edged/box/dock/seen refused: not authorised to publish; dropped"
    assert list(oracle.lost(seen(answer())))
    assert not list(oracle.lost(seen(answer(), log=[refused])))


def test_only_with_mqtt_311_may_a_denied_answer_be_lost_without_a_word() -> None:
    old, topic = (
        "INFO broker mqtt://b:1: connected (MQTT 3.1.1: the broker does not remove expired answers)",
        answer().topic,
    )
    assert not list(oracle.lost(seen(answer(), log=[old]), {topic}))
    assert list(oracle.lost(seen(answer(), log=[old]), {"edged/box/dock/even"}))
    assert list(oracle.lost(seen(answer(), log=["INFO broker mqtt://b:1: connected"]), {topic}))


FULL = "WARNING store: /state/edged.db: disk full; answers are kept in memory until it can be written"
WRITING = "INFO store: writing again after 5.1 s (1 try)"


@pytest.mark.parametrize(("log", "found"), [([], True), ([FULL], False), ([FULL, WRITING], True)])
def test_only_an_edged_that_ended_with_a_full_disk_may_have_sent_what_is_not_in_its_store(
    log: list[str], found: bool
) -> None:
    message = Message(105.0, "edged/box/dock/seen", json.dumps({**WHOLE, "id": "b"}).encode(), True, None)
    all_ = Seen([message], [answer()], [log], {}, {})
    ended = Life(cast(Edged, SimpleNamespace(lines=log)), 100.0, signal.SIGKILL, stop_sent=110.0, ended=110.0)
    assert bool(list(oracle.not_on_disk(all_, [ended]))) == found
    before = Message(99.0, "edged/box/dock/seen", message.payload, True, None)
    assert list(oracle.not_on_disk(Seen([before], [answer()], [log], {}, {}), [ended]))


def test_an_edged_that_loses_its_device_may_have_been_started_with_a_config_that_has_warnings() -> None:
    warned = ["2026-11-30 15:04:12 WARNING /tmp/edged.yaml:18: camera yard: has no questions", "INFO ready"]
    refused = ["2026-11-30 15:04:12 ERROR /tmp/edged.yaml:18: unknown key"]
    for log, code in ((warned, 75), (refused, 78)):
        life = Life(cast(Edged, SimpleNamespace(lines=log)), 100.0, exit_code=code, loses_device=True)
        assert not list(oracle.badly_ended([life], 10.0))
    stopped = replace(life, stopped_by=signal.SIGTERM, stop_sent=101.0, ended=101.0)
    assert not list(oracle.badly_ended([stopped], 10.0))


@pytest.mark.parametrize(("by", "code", "found"), [(signal.SIGTERM, 0, True), (signal.SIGKILL, -signal.SIGKILL, False)])
def test_an_edged_that_ends_too_late_is_found_unless_it_was_killed(by: signal.Signals, code: int, found: bool) -> None:
    late = Life(cast(Edged, SimpleNamespace(lines=[])), 100.0, by, stop_sent=110.0, ended=140.0, exit_code=code)
    assert bool(list(oracle.badly_ended([late], 10.0))) == found


@pytest.mark.parametrize("subject", ["camera dock", "broker mqtts://localhost:8883", "model", "store", "page"])
def test_the_oracle_finds_an_outage_that_is_logged_twice_or_never_ends(subject: str) -> None:
    begin, end = f"WARNING {subject}: no packet for 4 s", f"INFO {subject}: back after 3 s (2 tries)"
    assert not list(oracle.repeated_lines(seen(log=[begin, end, begin, end])))
    assert list(oracle.repeated_lines(seen(log=[begin, begin])))
    assert not list(oracle.unended(seen(log=[begin, end])))
    assert list(oracle.unended(seen(log=[begin, end, begin])))


@pytest.mark.parametrize(
    ("what", "end"), [("topic edged/box1/dock/seen", "accepted again"), ("subscription to edged/box1/#", "granted")]
)
def test_what_the_broker_refuses_again_may_be_logged_again_after_its_end(what: str, end: str) -> None:
    begin, end = f"WARNING broker mqtts://b: {what} refused: not authorised", f"INFO broker mqtts://b: {what} {end}"
    assert not list(oracle.repeated_lines(seen(log=[begin, end, begin])))
    assert list(oracle.repeated_lines(seen(log=[begin, end.replace("box1", "box2"), begin, begin])))
    assert list(oracle.repeated_lines(seen(log=[begin, begin])))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("broker mqtts://b: connection refused; retrying", True),
        ("broker mqtts://b: not authorised (wrong user or password); retrying", False),
        (
            "broker mqtts://b: topic edged/box/dock/seen refused: not authorised to publish; its messages are dropped",
            False,
        ),
        ("camera dock: connection refused; reconnecting", False),
    ],
)
def test_the_oracle_finds_an_outage_of_the_broker_that_a_reload_logs_again(line: str, found: bool) -> None:
    line, reload = f"WARNING {line}", "INFO config reloaded: 1 camera untouched, broker CA changed"
    assert bool(list(oracle.repeated_lines(seen(log=[line, reload, line])))) == found


@pytest.mark.parametrize(("unreachable", "found"), [((), True), (((90.0, 95.0),), False)])
def test_the_oracle_finds_an_edged_that_is_down_and_not_offline(
    unreachable: tuple[tuple[float, float], ...], found: bool
) -> None:
    killed = Life(cast(Edged, None), 0.0, signal.SIGKILL, stop_sent=100.0, ended=100.0)
    lives = [killed, Life(cast(Edged, None), 120.0)]
    log = ["INFO broker mqtt://b: connected"]
    assert bool(list(oracle.silently_down(seen(log=log), lives, unreachable, 0.0))) == found
    will = Message(105.0, "edged/box/bridge/state", b'{"state":"offline"}', True, None)
    assert not list(oracle.silently_down(Seen([will], [], [log], {}, {}), lives, unreachable, 0.0))


def test_the_oracle_finds_a_process_or_a_store_that_grows() -> None:
    before = Sample(100_000, 20, 40, 1_000_000)
    assert not list(oracle.grown(before, before))
    threads = 24 + oracle.POOL_THREADS
    for after in (Sample(150_000, 20, 40, 0), Sample(100_000, threads, 40, 0), Sample(100_000, 20, 47, 0)):
        assert list(oracle.grown(before, after))
    assert not list(oracle.bloated(Sample(0, 0, 0, 9_000_000), 1_000_000))
    assert list(oracle.bloated(Sample(0, 0, 0, 12_000_000), 1_000_000))


def test_the_oracle_finds_a_traceback() -> None:
    assert not list(oracle.unexpected(seen(log=["ERROR config not reloaded: it is still that of 12:00"])))
    assert not list(oracle.unexpected(seen(log=["ERROR store: still writing after 5 s; what is not written is lost"])))
    for line in ("Traceback (most recent call last):", "ERROR store: unexpected error"):
        assert list(oracle.unexpected(seen(log=[line])))
