"""The demo's model on an H.264 video of a yard with held-out people and cars: `bench_demo_h264.py [--frames N]`.

5 frames a second are drawn and encoded (x264, constant quantizer), and every tenth is asked about, as in
`python -m edged.demo.training.evaluate`.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import torch

from edged.core.specs import ModelSpec
from edged.demo.sequence import Sequence
from edged.demo.training.evaluate import MODEL_FOLDER, WIDE, measured_clip
from edged.vlm.model import load

PYTHON = "/usr/bin/python3"  # the one that has GStreamer's bindings
FPS = 5


def encode(file: Path, seed: int, frames: int, quantizer: int) -> None:
    sequence = Sequence(seed, sprites="held_out", size=(WIDE, WIDE))
    command = [PYTHON, str(Path(__file__).parent / "encode_h264.py"), str(file), str(FPS), str(quantizer)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for number in range(frames):
            encoder.stdin.write(sequence.frame(number / FPS)[0].tobytes())
        encoder.stdin.close()
        if encoder.wait(90):
            raise SystemExit("the encoder failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--quantizer", type=int, default=28)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        encode(file, given.seed, given.frames, given.quantizer)
        for line in measured_clip(load(ModelSpec(given.model)), file, given.seed, FPS):
            print(line, flush=True)


if __name__ == "__main__":
    main()
