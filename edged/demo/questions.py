"""The demo's questions as a config file, and the correct values for the prompts that it knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edged.config.written import quoted
from edged.demo.truth import Truth
from edged.tools.board import Judgement

CONFIG = """\
# Written by `edged demo`. Edit and save this file while the demo runs: a changed prompt is asked at the next look.
# The demo's model knows people, cars, the door and the time of day. Prompts that the demo knows are judged
# (`Is there a car?` and `Is it night?` too, as yes_no); the answers to any others are shown without a verdict.
version: 1
node: {node}
model: {{path: {model}, max_new_tokens: 48}}
mqtt: {{url: "mqtt://{host}:{broker}", allow_prompts: true}}
page: {{listen: "{host}:{page}"}}
questions:
  people: {{prompt: How many people are in this image?, answer: integer, range: [0, 9], min_confidence: 0.5}}
  cars: {{prompt: How many cars are there?, answer: integer, range: [0, 9], min_confidence: 0.5}}
  door_open: {{prompt: Is the door open?, answer: yes_no}}
cameras:
  yard: # a stream
    source: http://{host}:{cameras}/yard.mjpeg
    every: 2s
    ask:
      people: {{}}
      cars: {{}}
      door_open: {{}}
      anyone: {{prompt: Is there anyone in the picture?, answer: yes_no}}
      scene: {{prompt: Describe the scene., every: 10s}}
  back: # one picture for each look
    source: http://{host}:{cameras}/back.jpg
    every: 3s
    ask:
      people: {{}}
      door_open: {{}}
      night: {{prompt: 지금은 밤인가요?, answer: yes_no, language: ko}}
      report:
        prompt: Report what you see.
        answer:
          json:
            type: object
            properties:
              people: {{type: integer, minimum: 0, maximum: 9}}
              cars: {{type: integer, minimum: 0, maximum: 9}}
              door_open: {{type: boolean}}
              night: {{type: boolean}}
"""


def write_config(path: Path, node: str, model: Path, host: str, broker: int, cameras: int, page: int) -> None:
    """Write the config of the demo, with the ports of its broker, its cameras and its page."""
    values = {"node": node, "model": quoted(str(model)), "host": host}
    text = CONFIG.format(**values, broker=broker, cameras=cameras, page=page)
    path.write_text(text, encoding="utf-8")


RightValue = Callable[[Truth], Any]


def _report(truth: Truth) -> dict[str, Any]:
    return {"people": truth.people, "cars": truth.cars, "door_open": truth.door_open, "night": truth.night}


# by the answer's type and its whole prompt, instruction included, in lower case
RIGHT_VALUES: dict[tuple[str, str], RightValue] = {
    ("integer", "how many people are in this image? answer with one number."): lambda truth: truth.people,
    ("integer", "how many cars are there? answer with one number."): lambda truth: truth.cars,
    ("yes_no", "is the door open? answer yes or no."): lambda truth: truth.door_open,
    ("yes_no", "is there anyone in the picture? answer yes or no."): lambda truth: truth.people > 0,
    ("yes_no", "is there a car? answer yes or no."): lambda truth: truth.cars > 0,
    ("yes_no", "is it night? answer yes or no."): lambda truth: truth.night,
    ("yes_no", "지금은 밤인가요? 예 또는 아니요로 답하세요."): lambda truth: truth.night,
    ("text", "describe the scene."): lambda truth: truth.description,
    ("json", "report what you see. answer in json."): _report,
}


def right_value(payload: dict[str, Any], truth: Truth | None) -> Any:
    """What the answer should be. None if the frame or the prompt is not the demo's: no right value is null."""
    prompt = " ".join(str(payload.get("prompt")).split()).casefold()
    known = RIGHT_VALUES.get((str(payload.get("type")), prompt))
    if truth is None or known is None:
        return None
    expected, value = known(truth), payload.get("value")
    if isinstance(expected, dict) and isinstance(value, dict):  # the schema may ask for fewer keys, or for others
        return {key: expected[key] for key in value} if value.keys() <= expected.keys() else None
    return expected


def judged(payload: dict[str, Any], truth: Truth | None) -> Judgement | None:
    """Compare an answer with the truth of its frame. None if the frame or the prompt is not the demo's."""
    expected = right_value(payload, truth)
    if expected is None:
        return None
    return "right" if payload.get("value") == expected else "wrong"
