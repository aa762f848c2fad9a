"""What the page sees of the looks: the newest of everything."""

from __future__ import annotations

from dataclasses import replace

from support.broker import an_answer
from support.making import frame

from edged.core.types import Event, utc_now
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


def test_the_last_change_is_of_the_type_that_the_question_has_now():
    seen = snapshots()
    change = Event("e", "dock", "people", "changed", False, True, None, utc_now(), True)
    seen.looked("dock", [replace(an_answer("a"), type="yes_no", value=True)], [change], None)
    seen.looked("dock", [replace(an_answer("b"), type="yes_no", value=True)], [], None)
    assert seen.cameras["dock"].changes == {"people": change}
    seen.looked("dock", [an_answer("c")], [], None)  # a reload has made it a number
    assert seen.cameras["dock"].changes == {}
