"""Prints every package of a CycloneDX file with its licence: python tests/licences.py FILE

Last come those that name none in their metadata.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

NONE = "no licence in its metadata"
LONGEST = 80  # characters; longer ones are texts, not names


def licence(component: dict[str, Any]) -> str:
    """The licences as the package names them."""
    names = [_name(entry) for entry in component.get("licenses", [])]
    return ", ".join(dict.fromkeys(name for name in names if name)) or NONE


def _name(entry: dict[str, Any]) -> str:
    if "expression" in entry:
        return str(entry["expression"])
    named = entry["license"]
    text = str(named.get("text", {}).get("content", "")).strip()
    name = text if named.get("name", "").startswith("declared license of") else named.get("id") or named.get("name", "")
    return name.rpartition(" :: ")[2] if len(name) <= LONGEST and "\n" not in name else ""


def main(path: Path) -> None:
    components = json.loads(path.read_text())["components"]
    rows = [(component["name"], component["version"], licence(component)) for component in components]
    for name, version, named in sorted(rows, key=lambda row: (row[2] == NONE, row[0].lower())):
        print(f"{name:28} {version:18} {named}")
    print(f"{path}: {len(rows)} packages, {sum(named == NONE for _, _, named in rows)} without a licence")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
