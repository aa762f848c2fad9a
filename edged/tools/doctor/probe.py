"""The program of the child processes of `edged doctor`; child.py describes what it prints.

Usage: python -m edged.tools.doctor.probe opencv | question CONFIG
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Event as StopSignal
from typing import Any

from edged.config.load import load as load_config
from edged.config.load import one_question
from edged.core.errors import EdgedError, ErrorKind, ModelError
from edged.core.types import Frame, utc_now
from edged.tools import streams
from edged.tools.doctor.check import import_failure, location

PROMPT = "What colour is this image?"
COLOURS = ["red", "green", "blue"]
RED = (208, 16, 24)
SIDE = 224  # pixels


def main(arguments: list[str]) -> int:
    name, *rest = arguments
    with _report_stream() as stream:
        print(json.dumps(report(lambda: PROBES[name](*rest))), file=stream)
    return 0


def report(probe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"result": probe()}
    except EdgedError as error:
        return {"error": str(error).removeprefix("model: "), "kind": error.kind}
    except ImportError as error:
        return {"error": import_failure(error), "kind": _kind_of(error)}
    except Exception as error:
        return {"error": f"unexpected error: {location(error)}", "kind": "other"}


def opencv() -> dict[str, Any]:
    return {"version": import_module("cv2").__version__}  # only `cameras` uses it; this is only whether it loads


def question(config_path: str) -> dict[str, Any]:
    """Load the model of this config, and ask it for the colour of a red picture."""
    import numpy as np

    from edged.vlm.model import load as load_model

    config = load_config(Path(config_path))
    asked = one_question({"prompt": PROMPT, "answer": COLOURS}, config.language, config.generation)
    picture = np.full((SIDE, SIDE, 3), RED, dtype=np.uint8)
    model = load_model(config.model.each_worker()[0])
    try:
        model.check([asked])
        encode_ms = model.encode(Frame(picture, "", utc_now(), time.monotonic()))
        reply = model.ask([], asked, StopSignal())
    finally:
        model.dispose()
    if reply.ended != "done":
        raise ModelError(f"model: no complete answer ({reply.ended})")
    return {
        "colour": reply.text,
        "encode_ms": round(encode_ms),
        "answer_ms": round(reply.answer_ms),
        "device": model.device,
    }


PROBES: dict[str, Callable[..., dict[str, Any]]] = {"opencv": opencv, "question": question}


def _kind_of(error: ImportError) -> ErrorKind:
    """`system_library` if a package's compiled module was found, but the dynamic linker could not load it."""
    return "system_library" if str(error.path or "").endswith(".so") else "package"


def _report_stream() -> Any:
    """The original standard output. Redirects everything that libraries print to standard error."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return stream


if __name__ == "__main__":
    sys.exit(streams.leave(main(sys.argv[1:])))
