"""The line that ends an outage."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from edged.core.outage import Outage


@pytest.mark.parametrize("how", ["end", "forget"])
def test_the_end_of_an_outage_has_its_own_failures_although_another_one_begins_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.INFO)
    outage, monotonic = Outage("model", logging.getLogger("edged.test")), time.monotonic
    for _ in range(3):
        outage.begin("oops", "dock")
    another = threading.Thread(target=outage.begin, args=("oops", "yard"))

    def while_another_begins() -> float:
        monkeypatch.setattr(time, "monotonic", monotonic)
        another.start()
        another.join(0.2)  # it has to wait for the end of this one
        return monotonic()

    monkeypatch.setattr(time, "monotonic", while_another_begins)
    if how == "end":
        outage.end("dock")
    else:
        outage.forget(lambda place: place == "dock", "removed")
    another.join(10)
    [over] = [record.getMessage() for record in caplog.records if "after" in record.getMessage()]
    assert "(3 tries)" in over
    assert outage.on
