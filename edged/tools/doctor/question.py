"""Loads the model and asks it one question, in a child process: a driver may hang, or memory may run out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from edged.core.errors import EdgedError
from edged.core.specs import Config
from edged.core.text import spoken
from edged.tools.doctor.check import Check
from edged.tools.doctor.child import probe_command, run_probe
from edged.tools.doctor.machine import Machine, holders
from edged.tools.invocation import command_line


def question(path: Path, config: Config | None, compiled: bool | None, folder_ok: bool, machine: Machine) -> Check:
    if config is None:
        return Check("question", None, "not asked: there is no valid config")
    if not folder_ok:
        return Check("question", None, "not asked: correct the model's folder first")
    if compiled and (users := holders(machine.dev.glob("aries*"), machine.proc)):
        return Check(
            "question", None, f"not asked: the NPU is in use by {', '.join(users)}", "stop it to run this check"
        )
    return ask(probe_command("question", str(path.absolute())), path, machine.question_s)


def ask(command: list[str], path: Path, limit_s: float) -> Check:
    begun = time.monotonic()
    try:
        result = run_probe(command, limit_s)
    except EdgedError as error:
        by_hand = command_line("ask", "--config", str(path.absolute()), "--image", "PICTURE", "What is this?")
        return _failed(error, by_hand)
    return _answered(result, time.monotonic() - begun)


def _failed(error: EdgedError, by_hand: str) -> Check:
    match error.kind:
        case "npu_in_use":
            return Check("question", None, f"not asked: {error}", "stop edged to run this check")
        case "signal":
            return Check("question", False, str(error), "check dmesg: did the machine run out of memory?")
        case "package" | "system_library":
            return Check("question", False, str(error), "see the rows of the packages")
        case _:
            return Check("question", False, str(error), f"try: {by_hand}")


def _answered(result: dict[str, Any], took_s: float) -> Check:
    colour = result["colour"]
    times = f"encode {result['encode_ms']} ms, answer {result['answer_ms']} ms ({result['device']})"
    detail = f'a red picture was recognised as "{colour}": {times}; {spoken(took_s)} with loading'
    if colour == "red":
        return Check("question", True, detail)
    return Check(
        "question", None, detail, "a working Qwen2-VL answers red: check how this model was compiled or copied"
    )
