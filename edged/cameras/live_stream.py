"""One open stream: its packets go in, its newest undamaged picture comes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edged.cameras.decode import GroupDecoder, NotRefreshed
from edged.cameras.gop_buffer import GopBuffer
from edged.cameras.health import Health
from edged.cameras.live_edge import LiveEdge
from edged.cameras.packets import OpenStream, Packet, codec_name
from edged.cameras.picture import Pixels
from edged.core.errors import CameraError, StaleFrame

NO_KEYFRAME_S = 30.0  # without a keyframe, or after damage without another: the stream is opened again
LEAST_DAMAGED_S = 5.0
BAD_KEYFRAMES = 3  # in a row: the stream is opened again
NEXT_KEYFRAME_S = 1.0  # how long a look waits for another keyframe instead of a damaged one
CAUGHT_UP_S = 0.15  # a picture this much behind the newest is new enough
PASSES = 5
WORTH_A_WAIT = 20  # pictures to decode, for which a look waits for the next keyframe instead
KEYFRAME_WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Newest:
    """A picture (BGR), and when it was captured (monotonic).

    `after_damage`: newer ones were dropped because of damage. `clock_stands`: the stream's time stamps do not advance.
    """

    bgr: Pixels
    captured: float
    after_damage: bool
    clock_stands: bool


class LiveStream:
    """One thread adds packets, any thread may take the newest picture.

    `proven` says that the newest keyframe tried could be decoded; `about` describes the stream once one was.
    """

    def __init__(self, stream: OpenStream, health: Health) -> None:
        self.about = codec_name(stream.codec)
        self.proven = False
        self._health = health
        self._opened = time.monotonic()
        self._gop = GopBuffer(stream.codec, stream.extradata)
        self._edge = LiveEdge(stream.stamped, stream.began)
        self._decoding = threading.Lock()  # for the decoder, and `proven` and the two counters
        self._decoder = GroupDecoder(stream.codec, stream.extradata)
        self._tried = 0  # the number of the last keyframe that was decoded or failed
        self._bad_keyframes = 0
        self._damaged_groups = 0

    def add(self, packet: Packet) -> None:
        """Raises CameraError if the stream must be opened again to be of use."""
        self._gop.add(packet, self._edge.captured(packet))
        self._require_keyframe()
        self._count_damage()
        if self._decoder.position and self._gop.keyframe > self._decoder.position and self._decoding.acquire(False):
            self._decoder.close()
            self._decoding.release()

    def prove(self) -> bool:
        """Decode a keyframe that was not tried yet. True if there is a picture.

        Raises CameraError after three keyframes in a row that cannot be decoded.
        """
        if not self._edge.reached or self._gop.keyframe <= self._tried or not self._decoding.acquire(False):
            return False
        try:
            self._decode(lambda: None)
            height, width = self._decoder.pixels().shape[:2]
        except CameraError:
            if self._bad_keyframes >= BAD_KEYFRAMES:
                raise
            return False
        finally:
            self._decoding.release()
        self.about = f"{self.about.partition(',')[0]}, {width}x{height}"
        return True

    def newest(self, check: Callable[[], None]) -> Newest:
        """The newest undamaged picture. Decodes at most the current group; `check` is called meanwhile and may raise.

        Raises StaleFrame if the keyframe is damaged, and no other comes within a second.
        """
        with self._decoding:
            self._wait_for_near_keyframe(check)
            reason = ""
            for _ in range(BAD_KEYFRAMES):
                try:
                    captured = self._catch_up(check)
                except CameraError as error:
                    reason = reason or str(error)
                    self._gop.wait_for_keyframe(self._tried, NEXT_KEYFRAME_S, check)
                else:
                    damaged = self._gop.damaged_for_s(time.monotonic()) > 0
                    return Newest(self._decoder.pixels(), captured, damaged, self._edge.stands)
        raise StaleFrame(f"the newest keyframe of the stream is damaged: {reason}")

    def _catch_up(self, check: Callable[[], None]) -> float:
        """Decode until the newest picture; when it was captured. Decoding is faster than the camera."""
        for _ in range(PASSES):
            captured = self._decode(check)
            if self._gop.newest_captured - captured < CAUGHT_UP_S:
                break
        return captured

    def _decode(self, check: Callable[[], None]) -> float:
        group = self._gop.pictures()
        if not group:
            raise CameraError("no keyframe")
        self._tried = group[0].number
        try:
            decoded = self._decoder.decode(group, check)
        except NotRefreshed:
            raise
        except CameraError:
            self._bad_keyframes += 1
            self.proven = False
            self._gop.drop_from(group[0].number)
            self._count_damage()
            raise
        self.proven, self._bad_keyframes = True, 0
        if decoded.damaged is not None:
            self._gop.drop_from(decoded.damaged)
            self._count_damage()
        return decoded.captured

    def _wait_for_near_keyframe(self, check: Callable[[], None]) -> None:
        """With the next keyframe, one picture has to be decoded instead of a whole group."""
        interval_s, group = self._gop.keyframe_interval_s, self._gop.pictures()
        if not interval_s or not group or len(group) - WORTH_A_WAIT < max(0, self._decoder.position - group[0].number):
            return
        expected_in_s = group[0].captured + interval_s - time.monotonic()
        if expected_in_s < KEYFRAME_WAIT_S:
            self._gop.wait_for_keyframe(group[0].number, KEYFRAME_WAIT_S, check)

    def _require_keyframe(self) -> None:
        now = time.monotonic()
        none_yet = not self._gop.keyframe and now - self._opened > NO_KEYFRAME_S
        damaged_s = self._gop.damaged_for_s(now)
        if none_yet and not damaged_s:
            raise CameraError(f"no keyframe in {NO_KEYFRAME_S:.0f} s: set the camera to send one every second or two")
        limit_s = 2 * self._gop.keyframe_interval_s or NO_KEYFRAME_S
        if self._gop.full_for_s(now) > NO_KEYFRAME_S:
            raise CameraError("the stream has too few keyframes: set the camera to send one every second or two")
        if none_yet or damaged_s > min(NO_KEYFRAME_S, max(LEAST_DAMAGED_S, limit_s)):
            raise CameraError(f"the stream has been damaged for {damaged_s:.0f} s, without a new keyframe")

    def _count_damage(self) -> None:
        while self._damaged_groups < self._gop.damaged_groups:
            self._damaged_groups += 1
            self._health.count_damaged()
