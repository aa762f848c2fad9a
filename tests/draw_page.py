"""Draws the README's pictures of the page from a running demo: draw_page.py [FOLDER]"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize
from support.browser import chromium, opened

from edged.demo.cameras import HOST
from edged.demo.show import running_demo

FOLDER = Path(__file__).parent.parent / ".github"
MOST_BYTES = 150_000
BOARD: ViewportSize = {"width": 900, "height": 900}
LOADED_MS = 120_000  # the demo's model, and one look at each camera


def main(folder: Path) -> None:
    with running_demo() as demo, chromium() as browser:
        draw_board(browser, f"http://{HOST}:{demo.page}/", folder / "page.webp")
        # The picture of the camera's page, where a region is drawn, belongs here.


def draw_board(browser: Browser, url: str, path: Path) -> None:
    """The board, when every question has an answer."""
    with opened(browser, url, BOARD, scale=2) as page:
        page.wait_for_function(
            """() => document.querySelectorAll('.picture img').length === 2 &&
                     [...document.querySelectorAll('.age')].every((age) => age.textContent)""",
            timeout=LOADED_MS,
        )
        save(page, path)


def save(page: Page, path: Path) -> None:
    """The whole page as WebP, with the best quality that is small enough."""
    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as image:
        for quality in range(90, 20, -10):
            image.save(path, quality=quality, method=6)
            if path.stat().st_size < MOST_BYTES:
                print(f"{path}: {image.width} x {image.height}, {path.stat().st_size:,} bytes, quality {quality}")
                return
    raise SystemExit(f"{path} is too large: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
