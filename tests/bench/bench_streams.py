"""Memory and CPU of `edged run` with 1, 4 and 16 RTSP streams (1920 x 1080, 25 a second), and a look every 10 s.

bench_streams.py [SECONDS [CAMERAS...]]: measured for so long (default 60) once each camera was looked at, with a model
that takes 20 ms. The CPU is that of the whole process, publishing and store included. Memory is the resident memory,
which includes pages of libraries that other processes share.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.bench_capture import serving
from support.broker import Mosquitto
from support.process import cpu_s, resident_mb
from support.results.figures import Figure, Spread
from support.results.record import Recording
from support.scale.box import ModelTimes, Published, listening, timed_edged, write_config
from support.scale.run import wait_for_looks

EVERY_S = 10.0
SAMPLE_S = 2.0
MODEL = ModelTimes(0.01, 0.01)
CORES_16 = 0.4


def main(seconds: float, counts: list[int]) -> list[Figure]:
    figures, memory = [], {}
    with serving() as (url, clip):
        print(f"{clip}, a look every {EVERY_S:g} s, measured for {seconds:g} s")
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                cores, resident, ages, refused = measured(Path(folder), url, count, seconds)
            memory[count] = resident.median
            print(f"{count} cameras: {cores:.3f} cores, {resident} MB, age {ages} s, {refused} refusals", flush=True)
            figures += of(count, cores, resident, ages, refused)
    if len(memory) > 1:
        few, many = min(memory), max(memory)
        each = (memory[many] - memory[few]) / (many - few)
        figures.append(Figure("memory-each", "memory of each further camera", each, "MB"))
    return figures


def of(count: int, cores: float, resident: Spread, ages: Spread, refused: int) -> list[Figure]:
    what = f"{count} cameras" if count > 1 else "1 camera"
    bound = CORES_16 if count == 16 else None
    return [
        Figure(f"cores-{count}", f"CPU, {what}", cores, "cores", at_most=bound),
        Figure(f"memory-{count}", f"resident memory, {what}", resident, "MB"),
        Figure(f"age-{count}", f"`frame_age_s`, {what}", ages, "s", at_most=0.5),
        Figure(f"refused-{count}", f"looks without a picture, {what}", refused, at_most=0),
    ]


def measured(folder: Path, url: str, count: int, seconds: float) -> tuple[float, Spread, Spread, int]:
    """Cores, memory, the ages of the pictures, and how many looks were refused."""
    with Mosquitto(folder) as broker, listening(broker.port) as published:
        config = write_config(folder, broker.port, {f"c{number}": EVERY_S for number in range(count)}, source=url)
        with timed_edged(config, MODEL) as edged:
            wait_for_looks(published, count, 2)
            begun, cpu, resident = time.monotonic(), cpu_s(edged.pid), []
            while time.monotonic() < begun + seconds:
                time.sleep(SAMPLE_S)
                resident.append(resident_mb(edged.pid))
            cores = (cpu_s(edged.pid) - cpu) / (time.monotonic() - begun)
            assert edged.stop()[0] == 0
    ages, refused = judged(published)
    return cores, Spread.of(resident), Spread.of(ages), refused


def judged(published: Published) -> tuple[list[float], int]:
    """The ages, and the number of looks without a picture. The first looks come while the streams connect."""
    answers = [one for each in published.answers.values() for one in each[1:]]
    ages = [answer["frame_age_s"] for answer in answers if answer["status"] == "ok"]
    return ages, len(answers) - len(ages)


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    length, *cameras = recording.words or ["60"]
    sys.exit(recording.finish(main(float(length), [int(each) for each in cameras] or [1, 4, 16])))
