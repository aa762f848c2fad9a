"""What the page may see of edged, and what it may ask of it. It can change nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from edged.core.interfaces import FrameStore
from edged.core.requests import Received
from edged.core.specs import Config, PageSpec
from edged.service.snapshots import CameraSnapshot

Phase = Literal["starting", "running", "stopping"]


@dataclass(frozen=True, slots=True)
class Observed:
    """Functions for any thread, each returning at once.

    `cameras` has a snapshot by camera, `info` and `health` are the payloads of `bridge/info` and `bridge/health`.
    `receive` takes a request, as one that came over MQTT. `frames` are those kept to be labelled; its methods wait for
    the disk.
    """

    config: Callable[[], Config]
    cameras: Callable[[], Mapping[str, CameraSnapshot]]
    info: Callable[[], Mapping[str, Any]]
    health: Callable[[], Mapping[str, Any]]
    problems: Callable[[], Sequence[str]]
    phase: Callable[[], Phase]
    receive: Callable[[Received], None]
    frames: Callable[[], FrameStore]


class Page(Protocol):
    """The server of the page. For the main thread."""

    def follow(self, spec: PageSpec | None) -> None:
        """Serve as this says, and no longer as another; None: no page. Bounded."""

    def stop(self) -> None:
        """Close every connection, and end the server's thread. Bounded."""


class NoPage:
    """Of an edged that is built without a page."""

    def follow(self, spec: PageSpec | None) -> None: ...

    def stop(self) -> None: ...
