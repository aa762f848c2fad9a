"""The commands from the demo to one's own camera, as they can be typed in this shell."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

COLUMNS = 80
NEAR = 3  # path parts, as in .venv/bin/edged
MODEL = "qwen2-vl-2b"


def own_camera() -> str:
    """The next steps with the paths of this installation."""
    scripts = Path(sys.executable).parent
    edged = scripts / "edged"
    command = as_typed(edged) if edged.exists() else f"{shlex.quote(sys.executable)} -m edged"
    return next_steps(command, as_typed(scripts / "hf"))


def as_typed(program: Path) -> str:
    """The program's name if it is the one on the PATH, else its path, relative if it is near."""
    on_path = shutil.which(program.name)
    if on_path and Path(on_path).resolve() == program.resolve():
        return program.name
    folder = Path.cwd()
    if program.is_relative_to(folder) and len(program.relative_to(folder).parts) <= NEAR:
        program = program.relative_to(folder)
    return shlex.quote(str(program))


def next_steps(edged: str, hf: str) -> str:
    """The steps with these two commands, in lines of 80 columns where the commands allow it."""
    download = f"download Qwen/Qwen2-VL-2B-Instruct --local-dir {MODEL}"
    prepare = f"prepare --compiled DIR --processor mobilint/Qwen2-VL-2B-Instruct --out {MODEL}"
    lines = [
        "Your own camera:",
        "  1. a model: 4.4 GB, for a CPU or GPU",
        *_typed(hf, download),
        "     or, for the NPU, from the compiler's output",
        *_typed(edged, prepare),
        "  2. a config: for a camera's address, or for a folder of pictures",
        *_typed(edged, f"init --model {MODEL} 'rtsp://USER:PASSWORD@HOST/PATH'"),
        *_typed(edged, "check edged.yaml"),
        "  3. run it: answers go to the MQTT broker at localhost unless edged.yaml says",
        "     otherwise",
        *_typed(edged, "run --config edged.yaml"),
    ]
    return "\n".join(lines)


def _typed(command: str, arguments: str) -> list[str]:
    """The command line, continued on further lines where it does not fit one."""
    lines = [f"       {command}"]
    for word in arguments.split():
        if len(f"{lines[-1]} {word} \\") <= COLUMNS:
            lines[-1] += f" {word}"
        else:
            lines[-1] += " \\"
            lines.append(f"         {word}")
    return lines
