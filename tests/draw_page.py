"""Draws the README's pictures of the page from a running demo: draw_page.py [FOLDER]"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize
from support.broker import until
from support.browser import chromium, opened
from support.drawing import Easel

from edged.demo.cameras import HOST
from edged.demo.show import RunningDemo, running_demo

FOLDER = Path(__file__).parent.parent / ".github"
MOST_BYTES = 150_000
BOARD: ViewportSize = {"width": 900, "height": 900}
# This machine's clock may not be synchronised, as in a container; the warning about it does not belong in the picture.
SYNCHRONISED = """
  const parse = JSON.parse;
  JSON.parse = (text) => parse(text.replaceAll('"clock_synced":false', '"clock_synced":true'));
"""
REGION: ViewportSize = {"width": 640, "height": 1500}
LOADED_MS = 120_000  # the demo's model, and one look at each camera


def main(folder: Path) -> None:
    with running_demo() as demo, judging(demo), chromium() as browser:
        url = f"http://{HOST}:{demo.page}/"
        until(lambda: serves(url), LOADED_MS / 1000)
        draw_board(browser, url, folder / "page.webp")
        draw_region(browser, f"{url}camera/yard", folder / "page-region.webp")


@contextmanager
def judging(demo: RunningDemo) -> Iterator[None]:
    """Compares the answers with the truth, as the demo does in its terminal, so that the page has the verdicts."""
    ended = threading.Event()

    def hear() -> None:
        while not ended.is_set():
            if message := demo.follower.next(0.5):
                demo.board.hear(message)

    thread = threading.Thread(target=hear)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def serves(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def draw_board(browser: Browser, url: str, path: Path) -> None:
    """The board, when every question has an answer and a verdict, and a value has changed."""
    with opened(browser, "about:blank", BOARD, scale=2) as page:
        page.add_init_script(SYNCHRONISED)
        page.goto(url)
        page.wait_for_function(
            """() => document.querySelectorAll('.picture img').length === 2 &&
                     [...document.querySelectorAll('.age')].every((age) => age.textContent) &&
                     document.querySelectorAll('.mark:not(:empty)').length >= 8 &&
                     [...document.querySelectorAll('.detail')].some((detail) => detail.textContent)""",
            timeout=LOADED_MS,
        )
        save(page, path)


def draw_region(browser: Browser, url: str, path: Path) -> None:
    """The page of a camera, where a polygon is drawn around the door."""
    with opened(browser, "about:blank", REGION, scale=2) as page:
        page.add_init_script(SYNCHRONISED)
        page.goto(url)
        page.locator(".surface img[src]").wait_for(timeout=LOADED_MS)
        drawn = Easel(page, (100, 100))  # positions in percent
        drawn.tool("region", "polygon")
        drawn.click((60, 9), (76, 9), (76, 41), (60, 41), (60, 9))
        page.fill("#region-name", "door")
        page.evaluate("window.scrollTo(0, 0)")
        save(page, path, full_page=False)


def save(page: Page, path: Path, full_page: bool = True) -> None:
    """The page as WebP, with the best quality that is small enough."""
    with Image.open(io.BytesIO(page.screenshot(full_page=full_page))) as image:
        for quality in range(90, 20, -10):
            image.save(path, quality=quality, method=6)
            if path.stat().st_size < MOST_BYTES:
                print(f"{path}: {image.width} x {image.height}, {path.stat().st_size:,} bytes, quality {quality}")
                return
    raise SystemExit(f"{path} is too large: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
