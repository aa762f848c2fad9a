"""Runs the cases inside of the guest: main.py OUT. OUT/cases names them and the checkout; each leaves OUT/CASE.json."""

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

OUT = Path(sys.argv[1])
ORDER = json.loads((OUT / "cases").read_text())
sys.path[:0] = [ORDER["checkout"], str(Path(__file__).parents[2])]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
# One thread each: the guest has two slow cores.
os.environ.update({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})

from edged.cameras.environment import OPENCV  # noqa: E402 the path comes first

os.environ.update(OPENCV)  # counts only before cv2 is imported

import multiprocessing  # noqa: E402

from vm.guest import cases, rig  # noqa: E402


def main() -> None:
    chosen = ORDER["cases"] or list(cases.ALL)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vm.guest.probe"])
    ports = rig.Ports()
    for lanes in cases.ROUNDS:
        threads = [
            threading.Thread(target=run_lane, args=([name for name in lane if name in chosen], context, ports))
            for lane in lanes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def run_lane(names: list[str], context: multiprocessing.context.ForkServerContext, ports: rig.Ports) -> None:
    for name in names:
        print(f"vm: {time.monotonic():.0f} s: {name}", flush=True)
        result = run_case(name, context, ports)
        partial = OUT / f"{name}.partial"
        partial.write_text(json.dumps(result))
        partial.rename(OUT / f"{name}.json")


def run_case(name: str, context: multiprocessing.context.ForkServerContext, ports: rig.Ports) -> dict:
    """What the case found; `error` is its traceback if it failed itself, `late_s` the noise of the machine."""
    began, bench = time.monotonic(), rig.Rig(context, ports, OUT)
    with rig.Lateness().measured() as lateness:
        try:
            result = cases.ALL[name](bench)
        except Exception:
            result = {"error": traceback.format_exc()}
        try:
            bench.close()
        except Exception:
            result.setdefault("error", traceback.format_exc())
    return {**result, "late_s": lateness.worst_s, "took_s": time.monotonic() - began}


if __name__ == "__main__":
    main()
