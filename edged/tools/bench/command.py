"""`edged bench`: how fast this machine answers with this model, and how many looks the configured cameras need."""

from __future__ import annotations

import time
from threading import Event as StopSignal

from rich.console import Console

from edged.cameras.source import fetch_picture
from edged.core.errors import EXIT_OK
from edged.core.specs import Config, ModelSpec
from edged.tools.bench import tables
from edged.tools.bench.figures import as_json
from edged.tools.bench.measure import measure
from edged.tools.bench.workload import synthetic_frame, token_counter
from edged.tools.load_model import load_in_foreground
from edged.tools.streams import progress, write_line


def bench(
    spec: ModelSpec, config: Config | None, image: str | None, seconds: float, json: bool, stop: StopSignal
) -> int:
    """Load the model, measure it, print the figures; the exit code. `image` is a path or URL."""
    frame = synthetic_frame() if image is None else fetch_picture(image, stop)
    begun = time.monotonic()
    model = load_in_foreground(spec, stop)
    try:
        load_s = time.monotonic() - begun
        with progress(f"measuring for about {seconds:g} s"):
            result = measure(model, frame, config, token_counter(spec.path), seconds, load_s, stop)
    finally:
        model.dispose()
    if json:
        write_line(as_json(result))
    else:
        tables.show(result, Console(highlight=False))  # half of 1280x720 would be coloured
    return EXIT_OK
