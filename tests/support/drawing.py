"""Draws on the page of a camera with a mouse or a finger, and pastes the page's lines into a config file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

from playwright.sync_api import Page

Pixel: TypeAlias = tuple[float, float]  # of the frame, from its left and top


class Easel:
    """The page of a camera whose frames are `size`, width and height."""

    def __init__(self, page: Page, size: tuple[int, int]) -> None:
        self.page, self.size = page, size
        self.surface = page.locator(".surface")
        page.wait_for_selector(".surface img[src]")
        if not page.locator(".view details[open]").count():
            page.click(".view summary")

    def tool(self, kind: str, form: str) -> None:
        """Begin a "mask" or "region", a "box" or "polygon"."""
        self.page.click(f"[data-tool='{kind} {form}']")

    def place(self, pixel: Pixel) -> Pixel:
        """Where a pixel's upper left corner is in the window."""
        box = self.surface.bounding_box()
        assert box
        return box["x"] + pixel[0] * box["width"] / self.size[0], box["y"] + pixel[1] * box["height"] / self.size[1]

    def drag(self, *pixels: Pixel) -> None:
        """With the mouse, from the first to the last."""
        self.page.mouse.move(*self.place(pixels[0]))
        self.page.mouse.down()
        for pixel in pixels[1:]:
            self.page.mouse.move(*self.place(pixel))
        self.page.mouse.up()

    def click(self, *pixels: Pixel) -> None:
        for pixel in pixels:
            self.drag(pixel)

    def yaml(self, kind: str) -> str:
        """The lines for the config; empty if the page shows none."""
        lines = self.page.locator(f".yaml-block[data-kind={kind}] pre")
        return (lines.text_content() or "") if lines.is_visible() else ""

    def step(self, name: str) -> None:
        self.page.click(f"[data-step={name}]")

    def problems(self) -> list[str]:
        return self.page.locator(".draw .notices li").all_text_contents()


class Finger:
    """One finger on a touch screen."""

    def __init__(self, easel: Easel) -> None:
        self._easel = easel
        self._session = easel.page.context.new_cdp_session(easel.page)

    def drag(self, *pixels: Pixel) -> None:
        self._send("touchStart", pixels[0])
        for pixel in pixels[1:]:
            self._send("touchMove", pixel)
        self._session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def tap(self, *pixels: Pixel) -> None:
        for pixel in pixels:
            self.drag(pixel)

    def _send(self, kind: str, pixel: Pixel) -> None:
        x, y = self._easel.place(pixel)
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})


def paste(config: Path, camera: str, lines: str) -> None:
    """Put the lines under the camera, in place of its own `mask:` or `regions:`, as the page says."""
    key = lines.split(":")[0].strip()
    before, name, after = config.read_text().partition(f"  {camera}:\n")
    own, *others = re.split(r"(?m)^(?=  \S)", after, maxsplit=1)
    own = re.sub(rf"(?m)^    {key}:\n(      .*\n)*", "", own)
    config.write_text("".join([before, name, lines, own, *others]))
