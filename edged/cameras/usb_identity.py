"""Refuses a camera that is not the one last seen under its name: numbers and links change owner after replugging."""

from __future__ import annotations

from edged.config.usb_devices import Identity
from edged.core.errors import CameraError


class IdentityGuard:
    """The camera that was first seen with one source. `known` is the one of an earlier run, if it was kept."""

    def __init__(self, known: Identity | None = None) -> None:
        self.known = known
        self._port_tells = False  # another camera like it was seen, and only the port tells them apart

    def check(self, path: str, found: Identity | None, has_twin: bool) -> None:
        """Remember the camera at `path`, or raise CameraError if it is another one than before.

        None: it cannot be identified, which is no reason to refuse it.
        """
        self._port_tells = self._port_tells or has_twin
        if found is None:
            return
        if self.known and not self._same(self.known, found):
            raise CameraError(
                f"{path} is now another camera: {found}; so far it was {self.known}. "
                "Connect that one again, or restart edged to use this one"
            )
        self.known = found

    def _same(self, known: Identity, found: Identity) -> bool:
        return known.unit == found.unit and (known.port == found.port or not self._port_tells)
