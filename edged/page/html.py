"""The pages: HTML that carries no data but the title and the language. The browser fills it from the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

_TEMPLATES = Environment(
    loader=PackageLoader("edged.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def page(template: str, values: Mapping[str, Any], status: int = 200) -> HTMLResponse:
    """`values` are escaped."""
    return HTMLResponse(_TEMPLATES.get_template(template).render(values), status)
