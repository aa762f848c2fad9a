"""Cameras leak nothing: a short run of tests/soak/camera_leaks.py, and sessions that end in the middle."""

from __future__ import annotations

import pytest
from soak.camera_leaks import allocated, growth, servers, soak

from edged.cameras.rtsp import RtspSource

LEFT = 100
QUICK_GROWTH = 0.1  # the warm-up is not over after so few


def open_and_leave(source: RtspSource, url: str, times: int) -> None:
    for _ in range(times):
        with source.open(url, lambda: False) as stream:
            assert next(stream.packets)


@pytest.mark.slow
def test_session_that_is_left_in_the_middle_leaks_no_memory() -> None:
    """As after a time-out, damage or a changed codec. It leaked a packet of 150 bytes."""
    with servers() as addresses:
        source, url = RtspSource(), f"rtsp://{addresses['rtsp']}/close"
        open_and_leave(source, url, 30)
        before = allocated()
        open_and_leave(source, url, LEFT)
        assert (allocated() - before) / LEFT < 50


@pytest.mark.slow
def test_looks_and_reconnections_leak_nothing() -> None:
    samples = soak(count=300, rounds=4, scale=0.3)
    assert samples[-1].count >= 300
    assert samples[-1].reconnects > 10
    assert samples[-1].pictures > 50
    assert not growth(samples, warm_up=1, resident=QUICK_GROWTH, allocated=QUICK_GROWTH)
