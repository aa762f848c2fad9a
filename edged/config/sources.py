"""The files, devices and addresses that a config names: cameras, the broker, the model folder."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from edged.config.addresses import SECRET_IN_TEXT, Url, address
from edged.config.credentials import Credentials, SecretUnavailable
from edged.config.form import ModelForm, MqttForm
from edged.config.places import KeyPath
from edged.config.problems import Report
from edged.config.usb_devices import BY_ID, UsbDevices, node_of
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, ModelSpec, SourceSpec

LIKE_AN_ADDRESS = re.compile(r"\d+(\.\d+){3}(?![\w.-])|[\w.-]+:\d+(/|$)")  # 10.0.0.9/stream1, camera.lan:554
NUMBERED = re.compile(r"(/dev/video)?\d+")  # the kernel gives out the numbers in the order of plugging in


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The folder and the secrets of a config file. A missing file or device is a warning."""

    report: Report
    credentials: Credentials
    usb: UsbDevices = field(default_factory=UsbDevices)

    def model(self, parsed: ModelForm) -> ModelSpec:
        folder = self._beside(parsed.path)
        if _file_type(folder) != stat.S_IFDIR:
            home = " (~ is not expanded)" if parsed.path.startswith("~") else ""
            self.report.warn("missing_model", ("model", "path"), f"folder {folder} does not exist{home}")
        return ModelSpec(
            path=folder,
            cores=tuple(parsed.cores.settings().items()),
            fit=parsed.fit,
            workers=tuple(tuple(worker.settings().items()) for worker in parsed.workers),
        )

    def broker(self, parsed: MqttForm, node: str) -> BrokerSpec:
        parts = address(parsed.url)
        tls = parts is not None and parts.scheme == "mqtts"
        password, problem = self._password(parsed.password)
        if parsed.password is not None and parsed.username is None:
            self.report.problem(("mqtt", "password"), "password without a username")
        ca = self._beside(parsed.ca) if parsed.ca else None
        if ca and _file_type(ca) != stat.S_IFREG:
            self.report.warn("missing_file", ("mqtt", "ca"), f"file {ca} does not exist")
        return BrokerSpec(
            host=parts.host.strip("[]").lower() if parts else "",
            port=(parts and parts.port) or (8883 if tls else 1883),
            tls=tls,
            ca=ca,
            username=parsed.username,
            password=None if password is None else Secret(password),
            prefix=parsed.prefix,
            client_id=parsed.client_id or f"edged-{node}",
            problem=problem,
            allow_prompts=parsed.allow_prompts,
        )

    def source(self, text: str, path: KeyPath) -> SourceSpec:
        if parts := address(text):
            return self._network_source(parts, path)
        if text.startswith("usb:"):
            return self._usb_source(text, path)
        file = self._beside(text)
        if not _file_type(file):
            hint = " (an address begins with rtsp:// or http://)" if LIKE_AN_ADDRESS.match(text) else ""
            self.report.warn("missing_file", path, f"source {file} does not exist{hint}")
        return SourceSpec("path", Secret(str(file)), str(file))

    def _usb_source(self, text: str, path: KeyPath) -> SourceSpec:
        device = text.removeprefix("usb:")
        node = node_of(device)
        if not _file_type(Path(node)):
            self.report.warn("missing_file", path, f"device {node} does not exist")
        if why := self._why_unstable(device, node):
            self.report.warn("unstable_device", path, why)
        return SourceSpec("usb", Secret(device), text)

    def _why_unstable(self, device: str, node: str) -> str | None:
        """Why this source may lead to another camera one day; None if it does not."""
        if NUMBERED.fullmatch(device):
            link = self.usb.stable_link(node) or f"{BY_ID}/…"
            return f"usb:{device} can become another camera when cameras are plugged in; use usb:{link}"
        if device.startswith(f"{self.usb.by_id}/") and self.usb.twins(node):
            link = self.usb.stable_link(node) or "/dev/v4l/by-path/…"
            return f"several cameras share the link {device}: only their ports tell them apart; use usb:{link}"
        return None

    def _network_source(self, parts: Url, path: KeyPath) -> SourceSpec:
        missing: list[str] = []

        def secret(match: re.Match[str]) -> str:
            try:
                return quote(self.credentials.read(match[1]), safe="")
            except SecretUnavailable as error:
                missing.append(str(error))
                return ""

        def filled(text: str) -> str:
            return SECRET_IN_TEXT.sub(secret, text)

        login = "" if parts.login is None else f"{filled(parts.login)}@"
        rest = filled(parts.path + ("" if parts.query is None else f"?{parts.query}"))
        for why in dict.fromkeys(missing):
            self.report.warn("missing_secret", path, why)
        if SECRET_IN_TEXT.sub("", (parts.login or "").partition(":")[2]):
            self._clear_password(path, "{secret:NAME}")
        # Never log in with an empty password: some cameras lock the account after a few failures.
        url = f"{parts.scheme}://" + (parts.place if missing else f"{login}{parts.place}{rest}")
        kind: Literal["rtsp", "http"] = "rtsp" if parts.scheme.startswith("rtsp") else "http"
        return SourceSpec(kind, Secret(url), parts.shown, missing[0] if missing else None)

    def _password(self, written: Any) -> tuple[str | None, str | None]:
        """The broker's password, or why there is none."""
        path: KeyPath = ("mqtt", "password")
        if not isinstance(written, dict):
            if written is not None:
                self._clear_password(path, "{secret: NAME}")
            return written, None
        try:
            return self.credentials.read(written["secret"]), None
        except SecretUnavailable as error:
            self.report.warn("missing_secret", path, str(error))
            return None, str(error)

    def _beside(self, text: str) -> Path:
        # Path.resolve raises RuntimeError for a symlink to itself.
        return Path(os.path.realpath(self.report.path.parent / text))

    def _clear_password(self, path: KeyPath, instead: str) -> None:
        try:
            readable = self.report.path.stat().st_mode & 0o044
        except OSError:
            return  # the file was removed after it was read
        if readable:
            hint = f"write {instead} instead, or chmod 600 the file"
            self.report.warn(
                "clear_password", path, f"a clear-text password, in a file that other users can read; {hint}"
            )


def _file_type(file: Path) -> int | None:
    """As in stat.S_IFMT; None if there is nothing, or no permission to see it."""
    try:
        return stat.S_IFMT(file.stat().st_mode)
    except OSError:
        return None
