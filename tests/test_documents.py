"""README and .github/*.md: links, files, functions, examples and tables agree with the code."""

from __future__ import annotations

import json
import re
from datetime import time
from pathlib import Path
from textwrap import indent
from typing import get_args

import pytest
from ruamel.yaml import YAML
from support.broker import an_answer
from support.publishing import an_event

from edged.config.form import ConfigForm
from edged.config.keys import Form
from edged.config.levels import Table, fields, level_below
from edged.config.load import load
from edged.core.conditions import Comparison
from edged.core.payloads import answer_payload, event_payload
from edged.core.specs import AlertSpec, Hours, ImageMode
from edged.core.types import Status
from edged.service.control import SERVICE_SOCKET

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SECURITY = (ROOT / ".github/SECURITY.md").read_text()
CONTRIBUTING = ROOT / ".github/CONTRIBUTING.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", CONTRIBUTING, ROOT / ".github/SECURITY.md"]
PATH = re.compile(r"`((?:edged|tests|config|systemd)/[\w./*-]*)`")
ITEM = re.compile(r"^(?:\d\.|-) .*\n(?:  +.*\n)*", re.MULTILINE)


def name(path: Path) -> str:
    return path.name


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def anchors() -> set[str]:
    """The anchors that a Markdown renderer gives to the README's headings."""
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_leads_somewhere(document: Path):
    targets = re.findall(r"\]\(([^)]+)\)", document.read_text())
    inner = [target for target in targets if not target.startswith("https://")]
    assert [target for target in inner if not _exists(document, target)] == []


def _exists(document: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")  # those of RESULTS.md: tests/test_results.py
    return (document.parent / file).exists() if file else anchor in anchors()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_file_that_is_named_exists(document: Path):
    assert [path for path in PATH.findall(document.read_text()) if not list(ROOT.glob(path))] == []


def test_every_function_that_a_step_names_is_in_a_file_or_folder_that_it_names():
    for step in ITEM.findall(CONTRIBUTING.read_text()):
        source = "\n".join(file.read_text() for path in PATH.findall(step) for file in modules(path))
        functions = re.findall(r"`(\w+)\(\)`", step)
        assert [function for function in functions if f"def {function}(" not in source] == [], step


def modules(path: str) -> list[Path]:
    return sorted((ROOT / path).rglob("*.py")) if path.endswith("/") else [*ROOT.glob(path)]


def test_the_first_example_is_a_valid_config(tmp_path: Path):
    path = tmp_path / "edged.yaml"
    path.write_text(blocks("yaml")[0])
    (camera,) = load(path).cameras
    assert [question.name for question in camera.questions] == ["people", "gate"]


def test_the_example_of_regions_is_a_valid_config(tmp_path: Path):
    path = tmp_path / "edged.yaml"
    path.write_text(f"model: {{path: m}}\n{blocks('yaml')[1]}")
    (camera,) = load(path).cameras
    assert {question.name: question.region for question in camera.questions} == {
        "people": None,
        "gate_open": camera.region("gate"),
    }


def test_the_example_messages_have_the_keys_of_an_answer():
    short, whole = (json.loads(block) for block in blocks("json")[:2])
    keys = answer_payload(an_answer("a"), node="dock-box", late=False).keys()
    assert whole.keys() == keys
    assert short.items() <= whole.items()


def test_the_example_event_has_the_keys_of_an_event():
    event = next(json.loads(block) for block in blocks("json") if "event_type" in block)
    assert list(event) == list(event_payload(an_event("e"), "dock-box", late=False))


def test_the_example_of_an_alert_is_a_valid_question(tmp_path: Path):
    question = next(block for block in blocks("yaml") if "alert:" in block)
    path = tmp_path / "edged.yaml"
    cameras = "cameras: {dock: {source: usb:0, ask: {people: {}}}}"
    path.write_text(f"model: {{path: m}}\nquestions:\n{indent(question, '  ')}{cameras}\n")
    (camera,) = load(path).cameras
    assert camera.questions[0].alert == AlertSpec(
        when=Comparison(">", 3),
        for_s=120.0,
        clear_when=Comparison("<=", 1),
        clear_after=3,
        quiet=(Hours(frozenset(range(7)), time(22), time(6)),),
    )


def test_the_security_notes_name_every_key_with_which_edged_listens():
    assert set(listening_keys(ConfigForm)) == {"page: listen:", "metrics:"}
    assert [key for key in listening_keys(ConfigForm) if f"| `{key}` |" not in SECURITY] == []
    assert f"`{SERVICE_SOCKET}`" in SECURITY


def listening_keys(form: type[Form], above: str = "") -> list[str]:
    found = []
    for key, info in fields(form).items():
        if "ListenAddress" in str(info.annotation):
            found.append(f"{above}{key}:")
        elif (below := level_below(form, key)) and not isinstance(below, Table):
            found += listening_keys(below, f"{above}{key}: ")
    return found


def test_the_security_notes_name_the_folders_that_the_unit_lets_edged_write():
    unit = (ROOT / "systemd/edged.service").read_text()
    places = {"StateDirectory": "/var/lib", "CacheDirectory": "/var/cache", "RuntimeDirectory": "/run"}
    written = dict(re.findall(r"^(\w+Directory)=(edged)$", unit, re.MULTILINE))
    assert written.keys() == places.keys()
    assert [name for name in written if f"`{places[name]}/edged`" not in SECURITY] == []


def test_the_security_notes_name_every_value_with_which_pictures_are_published():
    assert [value for value in get_args(ImageMode) if f"`image: {value}`" not in SECURITY] == []


def test_the_table_of_statuses_is_complete():
    table = README.split("| status | meaning |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(get_args(Status))


def test_every_word_of_the_log_table_is_one_that_edged_logs():
    table = README.split("| in the log | meaning |")[1].split("\n\n")[0]
    words = re.findall(r"^\| `([\w ]+)` \|", table, re.MULTILINE)
    source = "\n".join(path.read_text() for path in (ROOT / "edged").rglob("*.py"))
    strings = "\n".join(re.findall(r'"[^"\n]*"', source))
    assert [word for word in words if word not in strings] == []
    assert len(words) > 5


def test_every_address_in_a_command_is_in_quotes():
    """A shell would take the `&` and `?` of a camera's address for its own."""
    commands = [line for block in blocks("sh") for line in block.splitlines() if "://" in line]
    assert commands
    assert [line for line in commands if not re.search(r"'\w+://[^']+'", line)] == []


def test_what_the_compose_file_passes_to_the_container_is_neither_in_its_image_nor_in_git() -> None:
    """Passwords, and a model of gigabytes."""
    compose = YAML(typ="safe").load((ROOT / "systemd/compose.yaml").read_text(encoding="utf-8"))
    volumes = [volume.split(":")[0] for volume in compose["services"]["edged"]["volumes"]]
    folders = [f"systemd/{volume[2:]}/" for volume in volumes if volume.startswith("./")]
    assert len(folders) == 2
    for name in (".dockerignore", ".gitignore"):
        lines = [line.lstrip("/") for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
        assert set(folders) <= set(lines), name
