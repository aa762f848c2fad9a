"""Steps that have to end within a limit."""

from __future__ import annotations

import pytest
from support.broker import until

from edged.service.steps import Steps


def test_a_step_is_overdue_from_its_limit_to_its_end():
    steps = Steps()
    with steps.step("short", 0.05), steps.step("long", 60.0):
        assert steps.overdue() == []
        until(steps.overdue)
        assert steps.overdue() == ["short"]
    assert steps.overdue() == []


def test_a_step_that_fails_has_ended():
    steps = Steps()
    with pytest.raises(ZeroDivisionError), steps.step("failing", -1.0):
        raise ZeroDivisionError
    assert steps.overdue() == []
