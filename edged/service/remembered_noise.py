"""Which cameras have shown noise. Remembered over a restart, so that a frozen one is not taken for a test card."""

from __future__ import annotations

from edged.core.interfaces import Store
from edged.core.specs import CameraSpec, Config
from edged.core.types import Fact

NOISE = "noise"  # the kind of facts: by camera, the digest of the settings with which its pictures have shown noise


class RememberedNoise:
    """Whether one camera has shown noise. See `core.interfaces.Noise`."""

    def __init__(self, store: Store, spec: CameraSpec) -> None:
        self._store = store
        self._name = spec.name
        self._pictures = spec.pictures_digest

    @property
    def shown(self) -> bool:
        known: bool = self._store.facts(NOISE).get(self._name) == self._pictures
        return known

    def learn(self, shown: bool) -> None:
        self._store.remember([Fact(NOISE, self._name, self._pictures if shown else None)])


def forget_others(store: Store, config: Config) -> None:
    """Forget the cameras that this config does not have."""
    gone = sorted(set(store.facts(NOISE)) - {spec.name for spec in config.cameras})
    store.remember([Fact(NOISE, name, None) for name in gone])
