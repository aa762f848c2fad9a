"""What the page sees of the looks: the newest of everything."""

from __future__ import annotations

from support.broker import an_answer
from support.making import frame

from edged.service.snapshots import Snapshots


def snapshots() -> Snapshots:
    made = Snapshots()
    made.keep_frames(True)
    return made


def test_a_look_that_a_request_has_overtaken_does_not_bring_its_older_frame_back():
    seen = snapshots()
    seen.looked("dock", [an_answer("request", question="gate")], [], frame(2))
    seen.looked("dock", [an_answer("schedule", question="people")], [], frame(1, age_s=3.0))
    snapshot = seen.cameras["dock"]
    assert snapshot.frame
    assert snapshot.frame.sha256 == "sha-2"
    assert {answer.id for answer in snapshot.answers.values()} == {"request", "schedule"}
