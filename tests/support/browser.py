"""A real browser: Debian's chromium, without a window, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
PHONE: ViewportSize = {"width": 360, "height": 740}
DESK: ViewportSize = {"width": 1440, "height": 900}
ARTEFACTS = Path(__file__).parent.parent / "artefacts"  # pictures for people to look at; not in git
WAIT_MS = 15_000  # for a condition

expect.set_options(timeout=WAIT_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    assert CHROMIUM.is_file(), f"{CHROMIUM} is missing: apt-get install chromium, or run the tests with bash tests/run"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a file. Not for the session: Playwright keeps an event loop in the main thread."""
    with chromium() as browser:
        yield browser


@contextmanager
def opened(
    browser: Browser, url: str, size: ViewportSize = DESK, dark: bool = False, touch: bool = False, scale: float = 1
) -> Iterator[Page]:
    """A page in a context of its own. `scale` is device pixels per pixel.

    Fails at the end if a script has failed, or the CSP has refused something.
    """
    scheme: Literal["dark", "light"] = "dark" if dark else "light"
    context = browser.new_context(
        viewport=size,
        color_scheme=scheme,
        has_touch=touch,
        is_mobile=touch,
        reduced_motion="reduce",
        device_scale_factor=scale,
    )
    context.set_default_timeout(WAIT_MS)
    page, errors = context.new_page(), list[str]()
    page.on("console", lambda message: errors.extend(_error(message)))
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        page.goto(url)
        yield page
    except Exception as error:
        error.add_note(f"errors in the browser: {errors}")
        raise
    finally:
        context.close()
    assert errors == []


def overflow_px(page: Page) -> int:
    """How much wider than the window the page is; 0 without a horizontal scroll bar."""
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


def keep_picture(page: Page, name: str) -> None:
    """Write the whole page to tests/artefacts/NAME.png."""
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)


def _error(message: ConsoleMessage) -> list[str]:
    """Nothing for a request that failed: some tests stop the server."""
    is_error = message.type == "error" and "Failed to load resource" not in message.text
    return [message.text] if is_error else []
