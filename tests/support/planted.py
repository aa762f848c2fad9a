"""edged with failures planted: a part hangs, or is slow, once /etc/edged-planted names it.

Limits are short, so that a hang is noticed within seconds.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = Path("/etc/edged-planted")
LIMIT_S = 4.0
SLOW_S = 40.0
SLOW_LOAD, SILENT_LOAD = "a slow load", "a slow load that systemd is not told of"


def planted() -> str:
    return FILE.read_text().strip() if FILE.exists() else ""


def planted_hang() -> None:
    threading.Event().wait()


def plant(owner: type, method: str, failure: str) -> None:
    """Let this method hang once the failure is planted."""
    before: Callable[..., Any] = getattr(owner, method)

    def hanging(*arguments: Any, **keywords: Any) -> Any:
        if planted() == failure:
            planted_hang()
        return before(*arguments, **keywords)

    setattr(owner, method, hanging)


def slow_load(load: Callable[..., Any]) -> Callable[..., Any]:
    def loading(*arguments: Any) -> Any:
        if planted() in (SLOW_LOAD, SILENT_LOAD):
            time.sleep(SLOW_S)
        return load(*arguments)

    return loading


def main() -> int:
    if sys.argv[1:2] == ["run"]:
        plant_all()
    from edged.cli import main as edged

    return edged()


def plant_all() -> None:
    from edged.mqtt.publisher import MqttPublisher
    from edged.service import daemon, look, watchdog, worker
    from edged.service.camera_runtime import CameraRuntime
    from edged.service.encoded_picture import EncodedPicture
    from edged.service.look_pool import LookPool
    from edged.store.writer import Writer
    from edged.tools import load_model

    daemon.PROGRESS_LIMIT_S = daemon.STORE_LIMIT_S = look.STEP_S = worker.LEAST_ENCODE_S = LIMIT_S
    watchdog.EXTEND_EVERY_S, watchdog.EXTEND_US = 1.0, 8_000_000
    if planted() == SILENT_LOAD:
        watchdog.EXTEND_EVERY_S = math.inf
    load_model.load_model = slow_load(load_model.load_model)
    plant(daemon.Daemon, "_tick", "the main loop")
    plant(daemon.Daemon, "_begin_shutdown", "the stop")
    plant(CameraRuntime, "publish", "camera dock: publishing")
    plant(LookPool, "_do_submit_job", "the schedule")
    plant(MqttPublisher, "_each_second", "the publisher")
    plant(Writer, "_write", "the store")
    ask = EncodedPicture.ask

    def hang_in_the_model(self: EncodedPicture, *arguments: Any) -> Any:
        if planted() == "a model call":
            self.ticket.expect(0.0)
            planted_hang()
        return ask(self, *arguments)

    setattr(EncodedPicture, "ask", hang_in_the_model)  # noqa: B010  # mypy knows its arguments


if __name__ == "__main__":
    sys.exit(main())
