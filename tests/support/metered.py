"""A service on fakes with its metrics, and the list of all metrics."""

from __future__ import annotations

from dataclasses import replace

from edged.core.specs import Config
from edged.core.types import NpuFigures
from edged.service.metrics import Metrics
from support.scraping import samples, values
from support.world import CONFIG, World


class Box:
    """A service on fakes, and its metrics."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.world = World(config)
        self.problems: list[str] = []
        self.metrics = Metrics(self.world.service, lambda: self.problems, lambda: 12.0)

    def __enter__(self) -> Box:
        self.world.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.world.service.queue.halt()

    def values(self, name: str) -> dict[str, float]:
        return values(self.metrics.text().decode(), name)

    def value(self, name: str) -> float:
        (value,) = self.values(name).values()
        return value

    def reload(self, config: Config) -> None:
        self.world.config = config
        self.world.reload.take(config)


def complete_text() -> str:
    """Every metric that there is."""
    with Box() as box:
        box.world.service.factories = replace(box.world.factories, npu_figures=lambda: [NpuFigures(0, 40.0, 0.5)])
        for runtime in box.world.service.cameras.values():
            box.world.service.schedule.add(runtime.spec, "UTC")
        box.world.look()
        return box.metrics.text().decode()


def complete() -> dict[str, set[str]]:
    """The names of all metrics, each with its labels."""
    return {name: set(labels) for name, labels, _ in samples(complete_text())}
