"""A real Home Assistant, in an environment of its own. `tests/run --long` installs it into .homeassistant."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from support.broker import HOST, free_port

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".homeassistant/bin/python"
PROCESS = Path(__file__).with_name("home_assistant_process.py")
BLUEPRINTS = [ROOT / "config/examples/homeassistant/alert_with_picture.yaml"]
MISSING = ROOT / ".homeassistant/missing"  # why it could not be installed
START_S, ANSWER_S, CHANGE_S = 90.0, 30.0, 20.0
MARK = "\x01"  # begins an answer

CONFIGURATION = """
homeassistant: {name: test, unit_system: metric, time_zone: UTC}
http: {server_host: 127.0.0.1, server_port: PORT}
automation: !include automations.yaml
"""


def check_installed() -> None:
    """Fail unless Home Assistant is installed."""
    reason = MISSING.read_text().strip() if MISSING.exists() else "run tests/support/install_home_assistant.sh"
    assert PYTHON.exists(), f"Home Assistant is not installed: {reason}"
    assert not MISSING.exists(), f"Home Assistant is not installed: {reason}"


class HomeAssistant:
    """Home Assistant in this folder, which has its storage over restarts, with this broker."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        (folder / ".storage").mkdir(parents=True)
        (folder / "blueprints/automation/edged").mkdir(parents=True)
        for blueprint in BLUEPRINTS:
            shutil.copy(blueprint, folder / "blueprints/automation/edged")
        text = CONFIGURATION.replace("PORT", str(free_port()))
        (folder / "configuration.yaml").write_text(text)
        (folder / "automations.yaml").write_text("[]\n")
        (folder / ".storage/core.config_entries").write_text(json.dumps(_entries(broker_port)))

    def __enter__(self) -> HomeAssistant:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
            self._ended(10)

    def start(self) -> None:
        with (self._folder / "stderr.log").open("a") as errors:
            self._process = subprocess.Popen(
                [PYTHON, "-I", PROCESS, self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        assert "mqtt" in self._next(START_S)["ready"]

    def automate(self, automations: str) -> None:
        """From the next start on."""
        (self._folder / "automations.yaml").write_text(automations)

    def stop(self) -> None:
        """As a user would restart it: it stores the states that it restores after the start."""
        assert self._process
        self._send({"do": "stop"})
        self._ended(60)

    def _ended(self, timeout_s: float) -> None:
        process, self._process = self._process, None
        assert process
        process.wait(timeout_s)
        self._reader.join(10)
        for stream in (process.stdin, process.stdout):
            assert stream
            stream.close()

    def states(self) -> dict[str, str]:
        return {entity: state for entity, (state, _) in self.ask("states").items()}

    def attributes(self, entity: str) -> dict[str, Any]:
        attributes: dict[str, Any] = self.ask("states")[entity][1]
        return attributes

    def call(self, service: str, **data: Any) -> None:
        domain, _, name = service.partition(".")
        self.ask("call", domain=domain, service=name, data=data)

    def ask(self, what: str, **more: Any) -> Any:
        self._send({"do": what, **more})
        return self._next(ANSWER_S)

    def wait_for(self, timeout_s: float = CHANGE_S, /, **wanted: str | None) -> None:
        """Wait until the entities have these states; None: there is no such entity. Names with `__` for the dot."""
        expected = {name.replace("__", "."): state for name, state in wanted.items()}
        deadline = time.monotonic() + timeout_s
        while True:
            states = self.states()
            found = {entity: states.get(entity) for entity in expected}
            if found == expected:
                return
            assert time.monotonic() < deadline, (found, self.log()[-3000:])
            time.sleep(0.1)

    def log(self) -> str:
        """Its warnings and errors."""
        return (self._folder / "home-assistant.log").read_text()

    def _send(self, command: dict[str, Any]) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _next(self, timeout_s: float) -> Any:
        try:
            return self._answers.get(timeout=timeout_s)
        except Empty:
            raise AssertionError((self._folder / "stderr.log").read_text()[-3000:]) from None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(MARK):
                self._answers.put(json.loads(line.removeprefix(MARK)))


def _entries(port: int) -> dict[str, Any]:
    stamp = "2026-01-01T00:00:00+00:00"
    entry = {
        "entry_id": "mqtt", "version": 1, "minor_version": 2, "domain": "mqtt", "title": "broker",
        "data": {"broker": HOST, "port": port}, "options": {}, "pref_disable_new_entities": False,
        "pref_disable_polling": False, "source": "user", "unique_id": None, "disabled_by": None,
        "created_at": stamp, "modified_at": stamp, "discovery_keys": {}, "subentries": [],
    }  # fmt: skip
    return {"version": 1, "minor_version": 5, "key": "core.config_entries", "data": {"entries": [entry]}}
