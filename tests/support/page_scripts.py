"""Functions of the page's scripts, called from tests: one process of node for many calls."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

CALLS = """\
import { createInterface } from "node:readline";
for await (const line of createInterface({ input: process.stdin })) {
  const [file, name, values] = JSON.parse(line);
  const returned = (await import(`./${file}`))[name](...values);
  process.stdout.write(`${JSON.stringify(returned ?? null)}\\n`);
}
"""


class PageScripts:
    """Only scripts that need no document can be called. A function that throws ends the process."""

    def __init__(self, requests: IO[str], responses: IO[str]) -> None:
        self._requests, self._responses = requests, responses

    def call(self, file: str, name: str, *values: Any) -> Any:
        """What this function of this file returns, as JSON."""
        self._requests.write(json.dumps([file, name, values]) + "\n")
        self._requests.flush()
        returned = self._responses.readline()
        assert returned, f"{name} of {file} threw an error"
        return json.loads(returned)


@contextmanager
def page_scripts(folder: Path) -> Iterator[PageScripts]:
    """`folder` gets a copy of the scripts, which node takes for modules there."""
    shutil.copytree(str(files("edged.page") / "static"), folder, dirs_exist_ok=True)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "calls.mjs").write_text(CALLS)
    command = ["node", str(folder / "calls.mjs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield PageScripts(process.stdin, process.stdout)
        process.stdin.close()
