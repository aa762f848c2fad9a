"""edged with failures planted: a part hangs, or the process ends, once /etc/edged-planted names it.

Limits are short, so that a hang is noticed within seconds.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = Path("/etc/edged-planted")
LIMIT_S = 4.0


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


def main() -> int:
    if planted().startswith("exit "):
        return int(planted().removeprefix("exit "))
    if sys.argv[1:2] == ["run"]:
        plant_all()
    from edged.cli import main as edged

    return edged()


def plant_all() -> None:
    from edged.mqtt.publisher import MqttPublisher
    from edged.service import daemon, look, worker
    from edged.service.camera_runtime import CameraRuntime
    from edged.service.encoded_picture import EncodedPicture
    from edged.service.look_pool import LookPool
    from edged.store.writer import Writer

    daemon.PROGRESS_LIMIT_S = daemon.STORE_LIMIT_S = look.STEP_S = worker.LEAST_ENCODE_S = LIMIT_S
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
