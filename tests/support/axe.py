"""Accessibility of a page, by axe-core, which lies in support/axe_core with its licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Page

SCRIPT = Path(__file__).with_name("axe_core") / "axe.min.js"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
RUN = "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"


def violations(page: Page) -> list[str]:
    """Serious and critical violations of the page as it is now, in light and in dark; a line for each element."""
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.evaluate(SCRIPT.read_text(encoding="utf-8"))
        found += [f"{scheme}: {line}" for rule in page.evaluate(RUN) for line in _lines(rule)]
    page.emulate_media(color_scheme="null")
    return found


def _lines(rule: dict[str, Any]) -> list[str]:
    if rule["impact"] not in ("serious", "critical"):
        return []
    return [f"{rule['id']} ({rule['help']}): {node['html'][:200]}" for node in rule["nodes"]]
