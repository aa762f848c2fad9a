"""The config file of the edged in a storm, and its secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edged.demo.show import MODEL
from support.broker import HOST

NODE = "box"
EVERY_S = 1.0
MAX_AGE_S = 2.0
FROZEN_AFTER_S = 4.0
DEADLINE_S = 3.0
QUESTIONS = ("clock", "even", "seen")
TYPES = {"clock": "integer, range: [0, 65535]", "even": "yes_no", "seen": "text"}


@dataclass(slots=True)
class ConfigFile:
    """Edit the attributes, then `save`. `sources` are URLs by camera, `secrets` are contents by file name.

    `revision` is part of every prompt. `ca` is the file with the CA of a broker with TLS.
    """

    folder: Path
    broker_port: int
    sources: dict[str, str]
    secrets: dict[str, str]
    questions: dict[str, list[str]] = field(default_factory=dict)
    revision: int = 0
    more: str = ""
    ca: Path | None = None
    every_secret: set[str] = field(default_factory=set)  # that was ever saved

    def change_secret(self, name: str, secret: str) -> None:
        """The text changes too, so that edged reads both."""
        self.secrets[name] = secret
        self.revision += 1
        self.save()

    @property
    def path(self) -> Path:
        return self.folder / "edged.yaml"

    def text(self) -> str:
        lines = [
            "version: 1",
            f"node: {NODE}",
            f"model: {{path: {MODEL}, deadline: {DEADLINE_S:g}s}}",
            f"mqtt: {{url: '{self._broker()}, username: {NODE}, password: {{secret: mqtt}}}}",
            f"homeassistant: false\n{self.more}cameras:",
        ]
        for name, source in self.sources.items():
            lines += [f"  {name}:", f"    source: {source}", f"    every: {EVERY_S:g}s", f"    max_age: {MAX_AGE_S:g}s"]
            lines += [f"    frozen_after: {FROZEN_AFTER_S:g}s", "    image: each", "    ask:"]
            asked = self.questions.get(name, list(QUESTIONS))
            lines += [f"      {each}: {{prompt: {self.prompt(each)}, answer: {TYPES[each]}}}" for each in asked]
        return "\n".join(lines) + "\n"

    def _broker(self) -> str:
        if self.ca is None:
            return f"mqtt://{HOST}:{self.broker_port}'"
        return f"mqtts://localhost:{self.broker_port}', ca: '{self.ca}'"

    def prompt(self, question: str) -> str:
        """As it is in the file, without the instruction of the answer's type."""
        return f"{question} {self.revision}?"

    def save(self) -> None:
        """Write the secrets and, as an editor does that is careful, a complete new file in the place of the old."""
        credentials = self.folder / "credentials"
        credentials.mkdir(mode=0o700, exist_ok=True)
        for name, secret in self.secrets.items():
            self.every_secret.add(secret)
            write_private(credentials / name, secret + "\n")
        self.replace(self.text())

    def replace(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        write_private(new, text)
        new.replace(self.path)

    def topics(self) -> set[str]:
        """The topics with a retained message, once every camera has been looked at."""
        bridge = {f"bridge/{name}" for name in ("state", "info", "health")}
        cameras = {f"{name}/{each}" for name in self.sources for each in ("availability", "active", "image/jpeg")}
        return {f"edged/{NODE}/{each}" for each in bridge | cameras} | set(self.answer_topics())

    def answer_topics(self) -> list[str]:
        return [
            f"edged/{NODE}/{name}/{each}" for name in self.sources for each in self.questions.get(name, list(QUESTIONS))
        ]


def write_private(path: Path, text: str) -> None:
    """Write in place. The file is never readable by others, not for a moment."""
    path.touch(mode=0o600)
    path.write_text(text)
