"""Turns pydantic's errors into sentences: the problem, its place, and the correct form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

from pydantic import ValidationError

from edged.config.form import CameraForm, ConfigForm, FramesForm, HistoryForm, ModelForm, MqttForm
from edged.config.keys import Form
from edged.config.levels import Table, fields, level_at
from edged.config.phrases import SYNONYMS, flow, shown
from edged.config.places import KeyPath
from edged.config.problems import MAX_PROBLEMS, Report
from edged.config.question_form import AlertForm, QuestionForm
from edged.config.trees import mapping

HIDDEN_KEYS = {"source", "password", "username", "url", "token"}
EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
OWNERS: dict[str, type[Form]] = {  # where a key belongs that was written elsewhere
    "at the top level": ConfigForm,
    "to a camera": CameraForm,
    "to a question": QuestionForm,
    "to alert": AlertForm,
    "to model": ModelForm,
    "to mqtt": MqttForm,
    "to history": HistoryForm,
    "to frames": FramesForm,
}


def report_errors(error: ValidationError, report: Report) -> list[KeyPath]:
    """Report each of pydantic's errors; returns their paths."""
    paths: list[KeyPath] = []
    for detail in error.errors(include_url=False)[: MAX_PROBLEMS + 1]:
        path, context = tuple(detail["loc"]), detail.get("ctx", {})
        _report(detail["type"], path, detail.get("input"), context, report)
        paths.append((*path, *context.get("below", ())))
    return paths


def _report(kind: str, path: KeyPath, value: Any, context: Mapping[str, Any], report: Report) -> None:
    if kind == "edged" and context["below"]:
        report.problem((*path, *context["below"]), context["sentence"])
    elif kind == "edged":
        report.about(path, context["sentence"])
    elif kind == "extra_forbidden":
        report.problem(path, _unknown_key(path, value, report))
    elif kind == "missing" and isinstance(path[-1], int):
        report.about(path[:-1], f"has too few entries{_list_sample(path[:-1])}")
    elif kind == "missing":
        report.about(path, f"is missing{_misplaced_name(path[:-1])}")
    elif kind in EXPECTED:
        report.about(path, _wrong_type(EXPECTED[kind], path, value))
    else:
        report.about(path, _out_of_bounds(kind, context, value, path))


def _unknown_key(path: KeyPath, value: Any, report: Report) -> str:
    key, known = str(path[-1]), fields(level_at(path[:-1]))
    head = key.partition(":")[0]
    if value is None and head != key and head in known:
        return f'put a space after the colon of "{head}"'
    text = _cut_text(path, report) if value is None else ""
    if text in HIDDEN_KEYS:
        return f'put the {text} in quotes ("…"): a comma ends a text inside {{}}'
    owners = [place for place, form in OWNERS.items() if key in fields(form)]
    if hint := report.hint(key, _almost(key, known) if owners else known):
        return f"unknown key {shown(key)}{hint}"
    if text:
        kind = "prompt" if text == "prompt" else "text"
        return f'unknown key {shown(key)}; put the {kind} in quotes ("…"): a comma ends a text inside {{}}'
    advice = f"; it belongs {' or '.join(owners)}; check the indentation" if owners else ""
    return f"unknown key {shown(key)}{advice}"


def _almost(key: str, known: Iterable[str]) -> list[str]:
    """Those that may have been meant although `key` is a key of another place: `regions` for `region`."""
    return [name for name in known if name in key or key in name or name == SYNONYMS.get(key)]


def _cut_text(path: KeyPath, report: Report) -> str:
    """The key whose text the parser may have ended before this key: `{prompt: A car, a truck or a bus?}`."""
    siblings: Any = report.document.tree
    for key in report.origin(path)[:-1]:
        siblings = mapping(siblings).get(str(key))
    before = list(takewhile(lambda item: item[0] != path[-1], mapping(siblings).items()))
    last = next(((key, value) for key, value in reversed(before) if value is not None), ("", None))
    return last[0] if isinstance(last[1], str) else ""


def _wrong_type(expected: str, path: KeyPath, value: Any) -> str:
    if value is None:
        return f"has no value; it must be {expected}{_misplaced_name(path) or _such_as(path)}"
    instead = "" if _key(path) in HIDDEN_KEYS else f", not {shown(value)}"
    return f"must be {expected}{_such_as(path)}{instead}{_misplaced_name(path)}"


def _such_as(path: KeyPath) -> str:
    """` such as {when: true}` for a mapping or a list that has a sample."""
    sample = _sample(path)
    return f" such as {flow(sample)}" if isinstance(sample, dict | list) else ""


def _sample(path: KeyPath) -> Any:
    """The sample of the key, or for a name that of a key's first name; None without one."""
    if not path:
        return None
    level = level_at(path[:-1])
    if isinstance(level, Table):
        return next(iter(mapping(_sample(path[:-1])).values()), None)
    info = fields(level).get(_key(path))
    return info.examples[0] if info and info.examples else None


def _list_sample(path: KeyPath) -> str:
    sample = _such_as(path)
    return f"; write a list{sample}" if sample else ""


def _misplaced_name(path: KeyPath) -> str:
    """A hint for `source:` in the column of the cameras' names."""
    misplaced = len(path) == 2 and path[0] == "cameras" and path[1] in fields(CameraForm)
    return f"; if {path[1]} is a key of the camera above, indent it further" if misplaced else ""


def _out_of_bounds(kind: str, context: Mapping[str, Any], value: Any, path: KeyPath) -> str:
    instead = "" if _key(path) in HIDDEN_KEYS else f", not {shown(value)}"
    unit = "characters" if isinstance(value, str) else "entries"
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']:.15g}{instead}"
        case "greater_than":
            return f"must be more than {context['gt']:.15g}{instead}"
        case "less_than_equal":
            return f"must be at most {context['le']:.15g}{instead}"
        case "literal_error":
            return f"must be {context['expected'].replace(chr(39), '')}{instead}"
        case "string_too_short":
            return "is empty"
        case "string_too_long" | "too_long":
            return f"has more than {context['max_length']} {unit}{_list_sample(path)}"
        case "too_short":
            return f"has fewer than {context['min_length']} {unit}"
        case _:
            return "is not valid"


def _key(path: KeyPath) -> str:
    return str(path[-1]) if path else ""
