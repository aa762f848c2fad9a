"""The README's table of keys, from the descriptions of the forms: `python -m edged.config.reference README.md`."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from edged.config.form import ConfigForm
from edged.config.keys import Form
from edged.config.levels import Table, fields, level_below
from edged.config.question_form import FollowUpForm, GenerationForm, QuestionForm

BEGIN, END = "<!-- keys -->", "<!-- /keys -->"
INHERITED: dict[type[Form], type[Form]] = {QuestionForm: GenerationForm, FollowUpForm: QuestionForm}  # shown once


def table() -> str:
    """The keys of the config as a Markdown table."""
    rows = ["| key | meaning | default |", "|---|---|---|", *_rows(ConfigForm, "", set())]
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """The text with the table between its two markers. Raises ValueError if it has not both of them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table()}{END}{after}"


def _rows(form: type[Form], prefix: str, shown: set[type[Form]]) -> Iterator[str]:
    """A row for each key of the form and of the forms below it; each form once."""
    if form in shown:
        return
    shown.add(form)
    inherited = fields(INHERITED.get(form))
    own = {key: info for key, info in fields(form).items() if key not in inherited}
    for key, info in sorted(own.items(), key=lambda item: bool(prefix) and not item[1].is_required()):
        yield _row(f"`{prefix}{key}`", info)
        below = level_below(form, key)
        if isinstance(below, Table):
            yield from _rows(below.rows, f"{key}.NAME.", shown)
        elif below:
            is_list = typing.get_origin(info.annotation) is list
            yield from _rows(below, f"{prefix}{key}{'[]' if is_list else ''}.", shown)
    if form is QuestionForm:
        keys = ", ".join(f"`{key}`" for key in inherited)
        yield f"| `{prefix}…` | {keys}: as under `model`, for this question | as under `model` |"


def _row(key: str, info: FieldInfo) -> str:
    meaning, _, default = (info.description or "").partition(" Default: ")
    return f"| {key} | {meaning.rstrip('.')} | {'required' if info.is_required() else default.rstrip('.')} |"


def main(readme: Path) -> None:
    readme.write_text(with_table(readme.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
