"""Write tests/RESULTS.md from tests/results/*.json.

results.py: the scripts of tests/bench and tests/soak write those files with --record, and this file with them. Needed
only after a file of results was merged or removed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.results.record import write_document

if __name__ == "__main__":
    write_document()
