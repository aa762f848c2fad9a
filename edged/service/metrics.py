"""The metrics in Prometheus' text format. Each figure has one source: most are those of `bridge/health`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edged.core.intervals import interval_s
from edged.service import bridge
from edged.service.camera_runtime import CameraRuntime
from edged.service.look_meter import BUCKETS_S, Durations
from edged.service.npu_reading import NpuReading
from edged.service.scheduler import Ticks
from edged.service.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Collector):
    """Reads the running parts when it is asked. For one thread at a time; waits for the NPU's driver, but not long.

    The labels `camera` and `question` have the names of the config in force.
    """

    def __init__(self, service: Service, problems: Callable[[], Sequence[str]], uptime_s: Callable[[], float]) -> None:
        self._service = service
        self._problems = problems
        self._uptime_s = uptime_s
        self._npus = NpuReading()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        health = bridge.health(self._service, self._uptime_s())
        yield from self._about_edged()
        yield from self._about_model(health["model"])
        yield from _about_process(health)
        yield from _about_looks(health)
        yield from _about_broker(health["broker"])
        yield from _about_store(health["store"])
        yield from self._about_cameras(health["cameras"])
        yield from self._about_answers()
        yield from self._about_npus()

    def _about_edged(self) -> Iterator[Metric]:
        service = self._service
        yield _info("edged_build_info", "This edged.", version=service.factories.version, node=service.config.node)
        yield _info("edged_config_info", "Revision of the config in force.", revision=service.config.rev)
        problems = "Problems of a changed config that was not loaded; 0 if the file is in force."
        yield GaugeMetricFamily("edged_config_problems", problems, len(self._problems()))

    def _about_model(self, model: dict[str, Any]) -> Iterator[Metric]:
        up = "1 if the model is loaded and its last calls succeeded."
        yield GaugeMetricFamily("edged_model_up", up, model["up"])
        if models := self._service.queue.models():
            about = {"model": models[0].name, "revision": models[0].revision}
            yield _info("edged_model_info", "The model that answers.", **about)

    def _about_cameras(self, health: dict[str, dict[str, Any]]) -> Iterator[Metric]:
        up = GaugeMetricFamily("edged_camera_up", "1 if the camera delivers pictures.", labels=["camera"])
        looks = CounterMetricFamily("edged_looks", "Looks that have ended.", labels=["camera"])
        reconnects = CounterMetricFamily(
            "edged_camera_reconnects", "How often the camera came back.", labels=["camera"]
        )
        damaged = CounterMetricFamily(
            "edged_camera_damaged_pictures", "Pictures that were not used because they are damaged.", labels=["camera"]
        )
        for name, figures in health.items():
            up.add_metric([name], figures["online"])
            looks.add_metric([name], figures["looks"])
            reconnects.add_metric([name], figures["reconnects"])
            damaged.add_metric([name], figures["damaged"])
        yield from (up, looks, reconnects, damaged)
        yield self._about_pauses()
        yield from _about_schedule(self._scheduled())

    def _about_pauses(self) -> Metric:
        active = GaugeMetricFamily("edged_camera_active", "0 if the camera is paused.", labels=["camera"])
        for runtime in self._runtimes():
            active.add_metric([runtime.spec.name], runtime.is_open)
        return active

    def _scheduled(self) -> list[tuple[CameraRuntime, Ticks, float]]:
        """The cameras that are looked at, and when each was last done (monotonic)."""
        ticks = [(runtime, self._service.schedule.ticks(runtime.spec.name)) for runtime in self._runtimes()]
        return [(runtime, each, each.done_at) for runtime, each in ticks if each.done_at is not None]

    def _about_answers(self) -> Iterator[Metric]:
        labels = ["camera", "question", "status"]
        answers = CounterMetricFamily("edged_answers", "Answers and refusals by status.", labels=labels)
        stages = HistogramMetricFamily(
            "edged_stage_seconds",
            "Duration of a stage: grab of a frame, encode of a frame or region, generation of an answer.",
            labels=["camera", "stage"],
        )
        for runtime in self._runtimes():
            name = runtime.spec.name
            for (question, status), count in sorted(runtime.meter.answers().items()):
                answers.add_metric([name, question, status], count)
            for stage, durations in runtime.meter.durations().items():
                stages.add_metric([name, stage], _buckets(durations), durations.total_s)
        yield from (answers, stages)

    def _about_npus(self) -> Iterator[Metric]:
        temperature = GaugeMetricFamily("edged_npu_temperature_celsius", "Temperature of the NPU.", labels=["device"])
        utilization = GaugeMetricFamily("edged_npu_utilization_ratio", "Load of the NPU, 0 to 1.", labels=["device"])
        for npu in self._npus.figures(self._service.factories.npu_figures):
            if npu.temperature_c is not None:
                temperature.add_metric([str(npu.device)], npu.temperature_c)
            if npu.utilization is not None:
                utilization.add_metric([str(npu.device)], npu.utilization)
        yield from (temperature, utilization)

    def _runtimes(self) -> list[CameraRuntime]:
        return list(self._service.cameras.copy().values())


def _about_process(health: dict[str, Any]) -> Iterator[Metric]:
    process = health["process"]
    yield GaugeMetricFamily("edged_uptime_seconds", "Time since edged was started.", health["uptime_s"])
    yield CounterMetricFamily("edged_cpu_seconds", "CPU time that edged has used.", process["cpu_s"])
    if process["resident_bytes"] is not None:
        yield GaugeMetricFamily("edged_resident_memory_bytes", "Memory of edged (RSS).", process["resident_bytes"])
    synced = "1 if the system clock is synchronised."
    yield GaugeMetricFamily("edged_clock_synced", synced, health["clock_synced"])


def _about_looks(health: dict[str, Any]) -> Iterator[Metric]:
    lateness = "Time from when a look was due until its frame was taken, mean of the last minute."
    yield GaugeMetricFamily("edged_lateness_seconds", lateness, health["lateness_s"])
    longest = "Time from when a look was due until its frame was taken, maximum of the last minute."
    yield GaugeMetricFamily("edged_lateness_longest_seconds", longest, health["lateness_longest_s"])
    yield GaugeMetricFamily("edged_waiting_looks", "Looks that wait for the model.", health["waiting_looks"])


def _about_schedule(scheduled: Sequence[tuple[CameraRuntime, Ticks, float]]) -> Iterator[Metric]:
    skipped = CounterMetricFamily(
        "edged_looks_skipped",
        "Looks that were due and not made: busy (the previous one was still running), outside_hours.",
        labels=["camera", "reason"],
    )
    age = GaugeMetricFamily(
        "edged_look_age_seconds",
        "Time since the last look ended, or was left out because it was outside of the camera's hours.",
        labels=["camera"],
    )
    interval = GaugeMetricFamily(
        "edged_look_interval_seconds",
        "Time from one look to the next by the config; with cron, the longest in a week.",
        labels=["camera"],
    )
    now = time.monotonic()
    for runtime, ticks, done_at in scheduled:
        name = runtime.spec.name
        skipped.add_metric([name, "busy"], ticks.skipped)
        skipped.add_metric([name, "outside_hours"], ticks.outside_hours)
        age.add_metric([name], max(0.0, now - done_at))
        interval.add_metric([name], interval_s(runtime.spec))
    yield from (skipped, age, interval)


def _about_broker(broker: dict[str, Any]) -> Iterator[Metric]:
    yield GaugeMetricFamily("edged_broker_up", "1 if the broker is connected.", broker["connected"])
    yield CounterMetricFamily("edged_broker_reconnects", "Connections after the first.", broker["reconnects"])
    yield CounterMetricFamily(
        "edged_messages_published", "Messages that the broker has acknowledged.", broker["published"]
    )
    yield CounterMetricFamily("edged_messages_refused", "Messages that the broker has refused.", broker["refused"])
    yield GaugeMetricFamily("edged_outbox_messages", "Answers and events that wait for the broker.", broker["waiting"])
    dropped = "Answers and events that were dropped: too many waited, too old, or not readable."
    yield CounterMetricFamily("edged_outbox_dropped", dropped, broker["dropped"])


def _about_store(store: dict[str, Any]) -> Iterator[Metric]:
    yield GaugeMetricFamily("edged_store_up", "1 if edged.db can be written.", store["working"])
    yield GaugeMetricFamily("edged_store_bytes", "Size of edged.db.", store["bytes"])
    yield CounterMetricFamily(
        "edged_store_lost", "Writes that were given up because the disk failed for too long.", store["lost"]
    )


def _info(name: str, meaning: str, **labels: str) -> Metric:
    info = GaugeMetricFamily(name, meaning, labels=list(labels))
    info.add_metric(list(labels.values()), 1)
    return info


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Upper bounds with the number of durations up to each, as the format wants them."""
    bounds = [*(str(bound) for bound in BUCKETS_S), "+Inf"]
    return list(zip(bounds, accumulate(durations.counts), strict=True))
