"""Stream cameras against VLC's RTSP server."""

from __future__ import annotations

import threading
import time

import pytest
from support.broker import free_port, until
from support.cameras import Watched, spec
from support.clips import clip, number_in, psnr
from support.looking import CLAIM_S, WHOLE_DB
from support.vlc import Vlc

from edged.core.errors import CameraError
from edged.core.types import Frame


def picture(watched: Watched, within_s: float) -> Frame:
    found: list[Frame] = []

    def look() -> bool:
        try:
            found.append(watched.grab())
        except CameraError:
            return False
        return True

    until(look, within_s)
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_pictures_of_vlc_are_whole_and_their_ages_true_but_for_its_own_delay(codec: str) -> None:
    with Vlc(clip(codec), free_port()) as vlc, Watched(spec(vlc.url)) as watched:
        picture(watched, within_s=15)
        delays = []
        for _ in range(12):
            frame = watched.grab()
            number = number_in(frame.rgb)
            assert number is not None
            assert psnr(frame.rgb, number) > WHOLE_DB
            delays.append(frame.captured_mono - vlc.written[number])
            threading.Event().wait(0.23)  # at another position in the group of pictures
        assert max(delays) - min(delays) < CLAIM_S
        assert 0.5 < min(delays) < 3.0
        assert [state.online for state in watched.states] == [True]


@pytest.mark.slow
def test_vlc_killed_and_started_again_is_found_within_seconds() -> None:
    with Vlc(clip(), free_port()) as vlc, Watched(spec(vlc.url)) as watched:
        picture(watched, within_s=15)
        vlc.kill()
        watched.wait_for(online=False, within_s=15)
        vlc.start()
        began = time.monotonic()
        watched.wait_for(online=True, count=2, within_s=10)
        picture(watched, within_s=2)
        assert time.monotonic() - began < 8
