"""Draws the README's picture: one frame of the demo's yard beside the answers of the demo's model. draw_demo.py [FILE]

In this frame people hide each other. The model counts one person too few, with a low confidence, so `min_confidence`
makes the answer `unsure`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image

from edged.config.load import one_question
from edged.core.specs import ModelSpec, QuestionSpec
from edged.core.types import Frame, Reply, utc_now
from edged.demo.drawing import Picture
from edged.demo.show import MODEL
from edged.demo.stills import still
from edged.service.judging import judge
from edged.vlm.model import load

SVG = Path(__file__).parent.parent / ".github" / "demo.svg"
SEED = 5688
QUESTIONS = (
    {"prompt": "How many people are there?", "answer": "integer", "range": [0, 9], "min_confidence": 0.7},
    {"prompt": "How many cars are there?", "answer": "integer", "range": [0, 9]},
    {"prompt": "Is the door open?", "answer": "yes_no"},
    {"prompt": "Is it day or night?", "answer": ["day", "night"]},
)
WIDTH, MARGIN, PICTURE = 800, 24, 368
LEFT, RIGHT = MARGIN + PICTURE + 32, WIDTH - MARGIN
ROW = PICTURE / len(QUESTIONS)
BAR = 96
# a dark card, which reads on a light page and on a dark one
CARD, EDGE, LINE, MUTED, BRIGHT, GREEN, AMBER = (
    "#161b22", "#30363d", "#30363d", "#9da7b3", "#f0f6fc", "#3fb950", "#e3b341",
)  # fmt: skip
STYLE = f"""
  text {{ font-family: -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 19px; fill: {MUTED} }}
  .value {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 28px; fill: {BRIGHT};
           font-weight: 600 }}
  .number {{ text-anchor: end }}
  .unsure {{ fill: {AMBER} }}
"""


def main(path: Path) -> None:
    picture, _ = still(SEED, clear=False, size=(448, 448), jpeg=88)
    specs = [one_question(values) for values in QUESTIONS]
    rows = [line for number, row in enumerate(answered(picture, specs)) for line in drawn_row(number, *row)]
    height = PICTURE + 2 * MARGIN
    text = "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            "<title>A camera frame and the answers about it; the number of people is unsure</title>",
            f"<style>{STYLE}</style>",
            f'<rect x="1" y="1" width="{WIDTH - 2}" height="{height - 2}" rx="14" fill="{CARD}" stroke="{EDGE}"/>',
            f'<clipPath id="frame"><rect x="{MARGIN}" y="{MARGIN}" width="{PICTURE}" height="{PICTURE}" rx="8"/>'
            "</clipPath>",
            f'<image x="{MARGIN}" y="{MARGIN}" width="{PICTURE}" height="{PICTURE}" clip-path="url(#frame)" '
            f'href="data:image/jpeg;base64,{jpeg(picture)}"/>',
            *rows,
            "</svg>\n",
        ]
    )
    path.write_text(text, encoding="utf-8")


def answered(picture: Picture, specs: list[QuestionSpec]) -> Iterator[tuple[QuestionSpec, Reply]]:
    """Ask the demo's model, as a look does."""
    model = load(ModelSpec(MODEL))
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    model.encode(Frame(picture, digest, utc_now(), time.monotonic()))
    for spec in specs:
        yield spec, model.ask([], spec, threading.Event())
    model.dispose()


def jpeg(picture: Picture) -> str:
    with io.BytesIO() as file:
        Image.fromarray(picture).save(file, "JPEG", quality=85, optimize=True)
        return base64.b64encode(file.getvalue()).decode()


def drawn_row(number: int, spec: QuestionSpec, reply: Reply) -> Iterator[str]:
    """The prompt without its instruction, the value, and the confidence as a bar with its threshold."""
    verdict, confidence = judge(spec, reply), reply.confidence or 0.0
    top = MARGIN + number * ROW
    sure = verdict.status == "ok"
    value = json.dumps(verdict.value) if sure else f"{verdict.status}"
    prompt = str(QUESTIONS[number]["prompt"])
    if number:
        yield f'<path d="M{LEFT} {top:.0f}H{RIGHT}" stroke="{LINE}"/>'
    yield f'<text x="{LEFT}" y="{top + 34:.0f}">{escape(prompt)}</text>'
    yield f'<text x="{LEFT}" y="{top + 70:.0f}" class="value{"" if sure else " unsure"}">{escape(value)}</text>'
    yield from bar(top + 61, confidence, spec.min_confidence, GREEN if sure else AMBER)
    yield f'<text x="{RIGHT}" y="{top + 68:.0f}" class="number{"" if sure else " unsure"}">{confidence:.2f}</text>'


def bar(y: float, confidence: float, least: float, colour: str) -> Iterator[str]:
    left = RIGHT - 56 - BAR
    yield f'<rect x="{left}" y="{y - 5:.0f}" width="{BAR}" height="10" rx="5" fill="{EDGE}"/>'
    yield f'<rect x="{left}" y="{y - 5:.0f}" width="{BAR * confidence:.0f}" height="10" rx="5" fill="{colour}"/>'
    if least:
        x = left + BAR * least
        yield f'<path d="M{x:.0f} {y - 10:.0f}V{y + 10:.0f}" stroke="{BRIGHT}" stroke-width="2"/>'


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SVG)
