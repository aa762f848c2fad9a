"""The files, devices and addresses that a config names: cameras, the broker, the model folder."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from edged.config.addresses import SECRET_IN_TEXT, Url, address
from edged.config.credentials import Credentials, SecretUnavailable
from edged.config.document import read_bytes
from edged.config.exposure import commands_to_protect, others_can_read
from edged.config.form import ClientCertificateForm, ModelForm, MqttForm, PageForm
from edged.config.places import KeyPath
from edged.config.problems import Report
from edged.config.usb_devices import BY_ID, UsbDevices, node_of
from edged.core.errors import is_shortage
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, ClientCertificate, ModelSpec, PageSpec, SourceSpec, revision
from edged.core.text import system_text

LIKE_AN_ADDRESS = re.compile(r"\d+(\.\d+){3}(?![\w.-])|[\w.-]+:\d+(/|$)")  # 10.0.0.9/stream1, camera.lan:554
NUMBERED = re.compile(r"(/dev/video)?\d+")  # the kernel gives out the numbers in the order of plugging in

INSECURE = (
    "insecure: true: the broker's certificate is not verified; whoever can intercept the connection can read the "
    "password and the answers"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The folder and the secrets of a config file. A missing file or device is a warning."""

    report: Report
    credentials: Credentials
    usb: UsbDevices = field(default_factory=UsbDevices)

    def model(self, parsed: ModelForm) -> ModelSpec:
        folder = Path(os.path.realpath(self._beside(parsed.path)))  # another target is another model
        kind = file_type(folder)
        if isinstance(kind, str):
            home = " (~ is not expanded)" if parsed.path.startswith("~") else ""
            self.report.warn("missing_model", ("model", "path"), f"folder {folder} {kind}{home}")
        elif kind != stat.S_IFDIR:
            self.report.warn("missing_model", ("model", "path"), f"{folder} is not a folder")
        return ModelSpec(
            path=folder,
            cores=tuple(parsed.cores.settings().items()),
            fit=parsed.fit,
            workers=tuple(tuple(worker.settings().items()) for worker in parsed.workers),
        )

    def broker(self, parsed: MqttForm, node: str) -> BrokerSpec:
        parts = address(parsed.url)
        tls = parts is not None and parts.scheme == "mqtts"
        password, problem = self._password(parsed.password, ("mqtt", "password"))
        if parsed.password is not None and parsed.username is None:
            self.report.problem(("mqtt", "password"), "password without a username")
        self._check_tls_keys(parsed, tls)
        ca = self._named_file(parsed.ca, ("mqtt", "ca")) if parsed.ca else None
        shows, no_key = self._client_certificate(parsed.client_certificate)
        if parsed.insecure:
            self.report.warn("insecure", ("mqtt", "insecure"), INSECURE)
        return BrokerSpec(
            host=parts.host.strip("[]").lower() if parts else "",
            port=(parts and parts.port) or (8883 if tls else 1883),
            tls=tls,
            ca=ca,
            username=parsed.username,
            password=None if password is None else Secret(password),
            prefix=parsed.prefix,
            client_id=parsed.client_id or f"edged-{node}",
            allow_prompts=parsed.allow_prompts,
            problem=problem or no_key,
            client_certificate=shows,
            insecure=parsed.insecure,
            password_files=self._password_files(parsed.password),
            files_rev=_contents_rev([ca, *((shows.certificate, shows.key) if shows else ())]),
        )

    def _check_tls_keys(self, parsed: MqttForm, tls: bool) -> None:
        url_is_wrong = "url" not in parsed.model_fields_set and ("mqtt", "url") in self.report.document.lines
        if not tls and not url_is_wrong:
            for name in ("client_certificate", "insecure"):
                if getattr(parsed, name):
                    self.report.about(("mqtt", name), "is for mqtts:// only")
            if parsed.ca:
                self.report.warn(
                    "unused_ca", ("mqtt", "ca"), "ca is not used without TLS; for TLS write mqtts:// in url"
                )
        if parsed.insecure and parsed.ca:
            self.report.problem(("mqtt", "insecure"), "insecure: true does not use the CA; keep one of the two")

    def _client_certificate(self, parsed: ClientCertificateForm | None) -> tuple[ClientCertificate | None, str | None]:
        """The certificate and its key, or why there is no key."""
        if parsed is None:
            return None, None
        path: KeyPath = ("mqtt", "client_certificate")
        certificate = self._named_file(parsed.certificate, (*path, "certificate"))
        if not isinstance(parsed.key, dict):
            key = self._named_file(parsed.key, (*path, "key"))
            self._warn_of_readers(key, (*path, "key"))
            return ClientCertificate(certificate, key), None
        try:
            key = self.credentials.file(parsed.key["secret"])
            self._warn_of_readers(key, (*path, "key"))
            return ClientCertificate(certificate, key), None
        except SecretUnavailable as error:
            self._report_missing((*path, "key"), error)
            return None, str(error)

    def _named_file(self, text: str, path: KeyPath) -> Path:
        file = self._beside(text)
        kind = file_type(file)
        if isinstance(kind, str):
            self.report.warn("missing_file", path, f"file {file} {kind}")
        elif kind != stat.S_IFREG:
            self.report.warn("missing_file", path, f"{file} is not a regular file")
        return file

    def _password_files(self, written: Any) -> tuple[Path, ...]:
        return self.credentials.files(written["secret"]) if isinstance(written, dict) else ()

    def source(self, text: str, path: KeyPath) -> SourceSpec:
        if parts := address(text):
            return self._network_source(parts, path)
        if text.startswith("usb:"):
            return self._usb_source(text, path)
        file = self._beside(text)
        if isinstance(missing := file_type(file), str):
            hint = " (an address begins with rtsp:// or http://)" if LIKE_AN_ADDRESS.match(text) else ""
            self.report.warn("missing_file", path, f"source {file} {missing}{hint}")
        return SourceSpec("path", Secret(str(file)), str(file))

    def _usb_source(self, text: str, path: KeyPath) -> SourceSpec:
        device = text.removeprefix("usb:")
        node = node_of(device)
        if isinstance(missing := file_type(Path(node)), str):
            self.report.warn("missing_file", path, f"device {node} {missing}")
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
        missing: dict[str, SecretUnavailable] = {}  # by sentence

        def secret(match: re.Match[str]) -> str:
            try:
                return quote(self._secret(match[1], path), safe="")
            except SecretUnavailable as error:
                missing[str(error)] = error
                return ""

        def filled(text: str) -> str:
            return SECRET_IN_TEXT.sub(secret, text)

        login = "" if parts.login is None else f"{filled(parts.login)}@"
        rest = filled(parts.path + ("" if parts.query is None else f"?{parts.query}"))
        for error in missing.values():
            self._report_missing(path, error)
        if SECRET_IN_TEXT.sub("", (parts.login or "").partition(":")[2]):
            self._clear_password(path, "{secret:NAME}")
        # Never log in with an empty password: some cameras lock the account after a few failures.
        url = f"{parts.scheme}://" + (parts.place if missing else f"{login}{parts.place}{rest}")
        kind: Literal["rtsp", "http"] = "rtsp" if parts.scheme.startswith("rtsp") else "http"
        return SourceSpec(kind, Secret(url), parts.shown, next(iter(missing), None))

    def page(self, parsed: PageForm) -> PageSpec:
        if parsed.token is None and not parsed.listen.is_loopback:
            self.report.problem(
                ("page", "listen"),
                f"other machines can reach {parsed.listen.shown}, so the page needs token: {{secret: page-token}}",
            )
        token, problem = self._password(parsed.token, ("page", "token"))
        return PageSpec(parsed.listen, None if token is None else Secret(token), tuple(parsed.hosts), problem)

    def _password(self, written: Any, path: KeyPath) -> tuple[str | None, str | None]:
        """The password or token at this path, or why there is none."""
        if not isinstance(written, dict):
            if written is not None:
                self._clear_password(path, "{secret: NAME}")
            return written, None
        try:
            return self._secret(written["secret"], path), None
        except SecretUnavailable as error:
            self._report_missing(path, error)
            return None, str(error)

    def _beside(self, text: str) -> Path:
        """Links are followed when it is read: other programs let them lead to their newest picture or certificate."""
        return (self.report.path.parent / text).absolute()

    def _clear_password(self, path: KeyPath, instead: str) -> None:
        if others_can_read(self.report.path):
            hint = f"write {instead} instead, or chmod 600 the file"
            self.report.warn(
                "clear_password", path, f"a clear-text password, in a file that other users can read; {hint}"
            )

    def _secret(self, name: str, path: KeyPath) -> str:
        """Raises SecretUnavailable."""
        text = self.credentials.read(name)
        self._warn_of_readers(self.credentials.file(name), path)
        return text

    def _report_missing(self, path: KeyPath, error: SecretUnavailable) -> None:
        """A secret may come later, so it is a warning that it is missing; but it is not missing if it was not read."""
        if is_shortage(error.cause):
            self.report.problem(path, str(error))
        else:
            denied = isinstance(error.cause, PermissionError)
            self.report.warn("denied_secret" if denied else "missing_secret", path, str(error))

    def _warn_of_readers(self, file: Path, path: KeyPath) -> None:
        if others_can_read(file):
            self.report.warn("readable_secret", path, f"other users can read {file}; {commands_to_protect(file)}")


def _contents_rev(files: Sequence[Path | None]) -> str:
    """Changes with the content of these files; empty without one."""
    contents = [_digest(file) for file in files if file]
    return revision(contents) if contents else ""


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(file)).hexdigest()
    except OSError as error:
        return repr(error)


def file_type(file: Path) -> int | str:
    """As in stat.S_IFMT; or what to say of a file that is not there, or that this user may not see."""
    try:
        return stat.S_IFMT(file.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"cannot be read: {system_text(error)}"
