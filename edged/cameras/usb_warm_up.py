"""Pictures that show no scene yet: of a camera whose exposure has not settled, and black ones."""

from __future__ import annotations

from collections import deque

from edged.cameras.picture import BLACK, STEP, Pixels, is_blank

STEADY_S, STEADY_PICTURES = 0.3, 5  # settled: the brightness of at least so many pictures, over at least this time,
STEADY_LEVELS = 2.0  # differs by less than this, of 255
BLANK_S = 10.0


class WarmUp:
    """Whether the exposure has settled since a camera was opened at `began`, or `limit_s` have passed."""

    def __init__(self, limit_s: float, began: float) -> None:
        self._end = began + limit_s
        self._brightness: deque[tuple[float, float]] = deque()  # when, and the mean of a picture
        self._over = limit_s <= 0

    def is_over(self, picture: Pixels, now: float) -> bool:
        """True from the first picture on that is to be used. `now` is when it was captured, as `began` (monotonic)."""
        self._over = self._over or now >= self._end or self._has_settled(picture, now)
        return self._over

    def _has_settled(self, picture: Pixels, now: float) -> bool:
        if is_blank(picture):  # it is steady, but shows no scene
            self._brightness.clear()
            return False
        self._brightness.append((now, float(picture[::STEP, ::STEP].mean())))
        while len(self._brightness) > 1 and now - self._brightness[1][0] >= STEADY_S:
            self._brightness.popleft()
        means = [mean for _, mean in self._brightness]
        spans = now - self._brightness[0][0] >= STEADY_S and len(means) >= STEADY_PICTURES
        return spans and max(means) - min(means) < STEADY_LEVELS


class BlankPictures:
    """Refuses pictures that are all one value, unless they last for 10 s: a covered lens is a true picture."""

    def __init__(self) -> None:
        self._since: float | None = None

    def problem(self, picture: Pixels, now: float) -> str | None:
        """Why this picture is not to be used; None if it is. `now` is when it was captured."""
        if not is_blank(picture):
            self._since = None
            return None
        self._since = now if self._since is None else self._since
        if now - self._since >= BLANK_S:
            return None
        name = "black" if int(picture[0, 0].max()) < BLACK else "blank"
        return f"{name} picture: all of it has the same value"
