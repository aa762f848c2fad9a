"""Write tests/RESULTS.md from tests/results/*.json, or repeat what is in them.

results.py                     write the document: needed only after a file of results was merged or removed
results.py --repeat [NAME...]  run the recorded commands again, of these results or of all, one after the other
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.results.environment import ROOT
from support.results.record import read, write_document


def repeat(names: Sequence[str]) -> int:
    """Exits 1 if one of them does."""
    results = read()
    failed = []
    for name in names or results:
        print(f"== {results[name]['command']}", flush=True)
        program, *words = shlex.split(results[name]["command"])
        if subprocess.run([sys.executable if program == "python" else program, *words], cwd=ROOT).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all targets are reached")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--repeat"]:
        sys.exit(repeat(sys.argv[2:]))
    write_document()
