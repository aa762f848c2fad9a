"""Tells a frozen camera from a still scene: the noise of a live sensor never gives the same pixels twice."""

from __future__ import annotations

from edged.cameras.picture import is_dark
from edged.core.errors import FrozenPicture
from edged.core.interfaces import Noise
from edged.core.text import spoken
from edged.core.types import Frame

NOISY_LOOKS = 3  # consecutive looks with different pictures, until a source is known to be noisy
STILLS = 3  # pictures that stood still, one after the other without noise between: then it is a slide show


class FrozenCheck:
    """Refuses pictures that have been bit-identical for `limit_s`; None: never.

    Only for a source that has shown noise, or whose stream clock stands: a test card or a slide show may well stand
    still. Not for dark pictures, in which no noise may be left. `noise` is what is known of the source from before, and
    learns what this finds. Not thread-safe.
    """

    def __init__(self, limit_s: float | None, noise: Noise | None = None) -> None:
        self._limit_s = limit_s
        self._noise = noise
        self._frozen = False
        self._sha256 = ""
        self._since = 0.0  # when the first of the identical pictures was captured (monotonic)
        self._identical_s = 0.0
        self._noisy = noise is not None and noise.shown
        self._changes = 0  # consecutive looks with different pictures
        self._stills = 0  # pictures that stood still since the last noise

    def check(self, frame: Frame, clock_stands: bool = False) -> Frame:
        """The frame. Raises FrozenPicture. `clock_stands`: the stream's time stamps say so too."""
        if frame.sha256 != self._sha256:
            self._changed(frame)
            return frame
        self._identical_s = frame.captured_mono - self._since
        can_freeze = clock_stands or self._noisy
        if self._limit_s is None or not can_freeze or self._identical_s < self._limit_s or is_dark(frame.rgb):
            return frame
        self._frozen = True
        raise FrozenPicture(f"frozen: the pictures have been bit-identical for {spoken(self._identical_s)}")

    def _changed(self, frame: Frame) -> None:
        stood_still = self._identical_s > 0 and not self._frozen  # of itself: it was not refused as frozen
        self._changes = 1 if stood_still else self._changes + 1
        self._stills += stood_still
        self._sha256, self._since, self._identical_s = frame.sha256, frame.captured_mono, 0.0
        self._frozen = False
        if self._changes >= NOISY_LOOKS:
            self._stills = 0
            self._learn(noisy=True)
        elif self._stills >= STILLS:
            self._learn(noisy=False)

    def _learn(self, noisy: bool) -> None:
        if self._noise and noisy != self._noisy:
            self._noise.learn(noisy)
        self._noisy = noisy
