"""The SBOM of an installed edged names what pyproject.toml declares, and no declared package hides its licence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from licences import NONE, licence
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# Also in the README's section about licences.
WITHOUT_LICENCE = {"mbltml"}


@pytest.mark.parametrize(
    ("licences", "named"),
    [
        ([{"license": {"id": "MIT"}}], "MIT"),
        ([{"expression": "MIT OR Apache-2.0"}], "MIT OR Apache-2.0"),
        ([{"license": {"name": "License :: OSI Approved :: BSD License"}}], "BSD License"),
        ([{"license": {"name": "declared license of 'x'", "text": {"content": "Apache 2.0"}}}], "Apache 2.0"),
        ([{"license": {"id": "MIT"}}, {"license": {"id": "MIT"}}], "MIT"),
        ([{"license": {"name": "declared license of 'x'", "text": {"content": "Copyright\nof many"}}}], NONE),
        ([], NONE),
    ],
)
def test_a_licence_is_shown_as_the_package_names_it(licences: list, named: str):
    assert licence({"licenses": licences}) == named


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_sbom_lists_every_dependency():
    command = ["timeout", "590", "bash", str(ROOT / "tests/sbom"), sys.executable]  # which ends its children too
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or f"exit code {done.returncode}"
    document = json.loads((ROOT / "dist/edged.cdx.json").read_text())
    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", "edged")
    listed = {canonicalize_name(part["name"]): part for part in document["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    assert declared - set(listed) == set()
    assert all(part["version"] and re.match("pkg:pypi/", part["purl"]) for part in listed.values())
    assert {name for name in declared if licence(listed[name]) == NONE} <= WITHOUT_LICENCE
