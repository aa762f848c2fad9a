"""edged's reports about itself: the payloads of `bridge/info` and `bridge/health`, and the status for systemd."""

from __future__ import annotations

import dataclasses
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edged.core.specs import CameraSpec
from edged.core.text import counted
from edged.service.camera_runtime import CameraRuntime
from edged.service.look_meter import Durations
from edged.service.service import Service


def info(service: Service, problems: Sequence[str]) -> dict[str, Any]:
    """The payload of `bridge/info`. `problems` are those of a config that could not be loaded."""
    config, model = service.config, next(iter(service.queue.models()), None)
    return {
        "version": service.factories.version,
        "model": model.name if model else None,
        "model_rev": model.revision if model else None,
        "config_rev": config.rev,
        "config_problems": problems,
        "cameras": {camera.name: _camera_info(camera) for camera in config.cameras},
    }


def health(service: Service, uptime_s: float) -> dict[str, Any]:
    """The payload of `bridge/health`. For any thread."""
    mean_s, longest_s = service.looks.lateness.figures()
    return {
        "ts": round(time.time(), 3),
        "uptime_s": round(uptime_s),
        "cameras": {name: _camera_health(service, runtime) for name, runtime in service.cameras.copy().items()},
        "lateness_s": round(mean_s, 2),
        "lateness_longest_s": round(longest_s, 2),
        "waiting_looks": service.queue.waiting(),
        "model": _model_health(service),
        "broker": dataclasses.asdict(service.publisher.figures()),
        "store": dataclasses.asdict(service.store.figures()),
        "process": {"resident_bytes": _resident_bytes(), "cpu_s": round(_cpu_s(), 1)},
        "clock_synced": service.factories.clock_synced(),
    }


def status(service: Service, problems: Sequence[str]) -> str:
    """One line for `systemctl status`: `4 cameras, 1 paused, 1 not online; broker connected`."""
    runtimes = service.cameras.values()
    paused = sum(1 for runtime in runtimes if not runtime.is_open)
    offline = sum(1 for runtime in runtimes if runtime.is_open and not runtime.online)
    groups = [(paused, "paused"), (offline, "not online")]
    cameras = ", ".join([counted(len(runtimes), "camera"), *(f"{count} {state}" for count, state in groups if count)])
    broker = f"broker {connected(service)}"
    return "; ".join([cameras, broker, *(f"config not reloaded: {problem}" for problem in problems[:1])])


def connected(service: Service) -> str:
    """Whether the broker is, in words."""
    return "connected" if service.publisher.figures().connected else "not connected"


def _camera_info(camera: CameraSpec) -> dict[str, Any]:
    return {
        "title": camera.title,
        "source": camera.source.shown,
        "questions": [question.name for question in camera.all_questions()],
    }


def _model_health(service: Service) -> dict[str, Any]:
    """`encode_s` and `answer_s` are means since the start of edged, null before the first of each."""
    models = service.queue.models()
    durations = [runtime.meter.durations() for runtime in service.cameras.copy().values()]
    return {
        "up": bool(models) and not service.looks.model_outage.on,
        "workers": len(models),
        "encode_s": _mean_s([stages["encode"] for stages in durations]),
        "answer_s": _mean_s([stages["answer"] for stages in durations]),
    }


def _mean_s(durations: Sequence[Durations]) -> float | None:
    count = sum(sum(each.counts) for each in durations)
    return round(sum(each.total_s for each in durations) / count, 3) if count else None


def _camera_health(service: Service, runtime: CameraRuntime) -> dict[str, Any]:
    return {
        "looks": runtime.looks,
        "skipped": service.schedule.ticks(runtime.spec.name).skipped,
        "online": runtime.online,
        **dataclasses.asdict(runtime.camera.figures()),
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident_bytes() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
