"""`edged ask --camera`: a request to the running edged, through the broker of the config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Event as StopSignal
from typing import Any

from edged.core.errors import EXIT_OK, EXIT_WRONG, EdgedError
from edged.core.specs import Config
from edged.core.text import printable
from edged.mqtt.caller import Caller
from edged.tools.streams import report, write_line
from edged.tools.yaml_option import yaml_option

SLACK_S = 60.0  # for the camera, and for the question that is being answered, beyond the deadline of the question


@dataclass(frozen=True, slots=True)
class CameraQuestion:
    """A question of the config by its name, or a prompt; `keys` are of the prompt, with `answer` and `range` in YAML.

    Keys that are None are left out.
    """

    camera: str
    question: str | None
    prompt: str | None
    keys: Mapping[str, str | int | None]
    as_json: bool

    def request(self) -> dict[str, Any]:
        """The keys of the request. Raises UsageError."""
        given = {"camera": self.camera, "question": self.question, "prompt": self.prompt, **self.keys}
        request = {key: value for key, value in given.items() if value is not None}
        yaml = {key: yaml_option(f"--{key}", str(request[key])) for key in ("answer", "range") if key in request}
        return request | yaml


def ask(config: Config, asked: CameraQuestion, stop: StopSignal) -> int:
    """Ask, and print the answer; the exit code, 1 if there is no value."""
    limit_s = _deadline_s(config, asked) + SLACK_S
    answer = call(config, "ask", asked.request(), limit_s, stop)
    status, value = answer.get("status"), answer.get("value")
    if asked.as_json:
        write_line(json.dumps(answer, ensure_ascii=False))
    elif status == "ok":
        write_line(value if isinstance(value, str) and answer.get("type") == "text" else _as_json(value))
    if status == "ok":
        return EXIT_OK
    report(f"edged: {printable(str(status))}: {printable(str(answer.get('reason')))}")
    return EXIT_WRONG


def call(config: Config, what: str, keys: Mapping[str, Any], limit_s: float, stop: StopSignal) -> dict[str, Any]:
    """The data of the response. Raises EdgedError, Stopped."""
    data = Caller(config.mqtt, config.node, what, keys, limit_s).call(stop)
    if not isinstance(data, dict):
        raise EdgedError(f"the response to {what} is not a valid edged response")
    return data


def _deadline_s(config: Config, asked: CameraQuestion) -> float:
    camera = config.camera(asked.camera)
    named = [question for question in camera.all_questions() if question.name == asked.question] if camera else []
    return (named[0].generation if named else config.generation).deadline_s


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
