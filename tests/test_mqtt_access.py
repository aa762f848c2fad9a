"""Certificates and passwords at the broker: mutual TLS, files that cannot be used, and new content while edged runs."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.broker import MUTUAL_TLS, Mosquitto, Subscriber, an_answer, other_tls, tls, until
from support.publishing import PEOPLE, disconnected, ids, logged, publishing, settled

from edged.core.errors import EXIT_CONFIG, FileUnusable
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, ClientCertificate
from edged.mqtt.publisher import MqttPublisher


def client_files(folder: Path) -> ClientCertificate:
    return ClientCertificate(folder / "client.crt", folder / "client.key")


# Mutual TLS


def test_a_broker_that_requires_a_certificate_gets_it(tmp_path: Path, tls: Path) -> None:
    shows = client_files(tls)
    with (
        Mosquitto(tmp_path, tls=tls, more=f"{MUTUAL_TLS}\nuse_identity_as_username true") as broker,
        publishing(broker.port, "localhost", tls=True, ca=tls / "ca.crt", client_certificate=shows) as publisher,
    ):
        publisher.answers([an_answer("a")], [], None)
        settled(publisher)
        assert "u'box'" in broker.log()


def test_a_missing_client_certificate_is_named(tmp_path: Path, tls: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        Mosquitto(tmp_path, tls=tls, more=MUTUAL_TLS) as broker,
        publishing(broker.port, "localhost", tls=True, ca=tls / "ca.crt"),
    ):
        until(lambda: logged(caplog))
        reason = "the broker requires a client certificate"
        assert logged(caplog) == [f"broker mqtts://localhost:{broker.port}: {reason}; retrying"]


def test_a_client_certificate_that_the_broker_does_not_trust_is_named(
    tmp_path: Path, tls: Path, other_tls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shows = client_files(other_tls)
    with (
        Mosquitto(tmp_path, tls=tls, more=MUTUAL_TLS) as broker,
        publishing(broker.port, "localhost", tls=True, ca=tls / "ca.crt", client_certificate=shows),
    ):
        until(lambda: logged(caplog))
        reason = "client certificate not accepted: the broker does not know its CA"
        assert logged(caplog) == [f"broker mqtts://localhost:{broker.port}: {reason}; retrying"]


def test_insecure_connects_to_a_broker_of_an_unknown_ca_and_another_name(tmp_path: Path, tls: Path) -> None:
    with (
        Mosquitto(tmp_path, tls=tls) as broker,
        publishing(broker.port, "127.0.0.1", tls=True, insecure=True) as publisher,
    ):
        until(lambda: publisher.figures().connected)


def encrypted(folder: Path, tls: Path) -> ClientCertificate:
    key = folder / "encrypted.key"
    command = [
        "openssl",
        "pkey",
        "-in",
        str(tls / "client.key"),
        "-aes256",
        "-passout",
        "pass:hunter2",
        "-out",
        str(key),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    return ClientCertificate(tls / "client.crt", key)


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


UNUSABLE: dict[str, tuple[Callable[[Path, Path], ClientCertificate], str]] = {
    "no certificate": (
        lambda folder, tls: ClientCertificate(folder / "gone.crt", tls / "client.key"),
        "client certificate .*/gone.crt cannot be used: no such file or directory",
    ),
    "no key": (
        lambda folder, tls: ClientCertificate(tls / "client.crt", folder / "gone.key"),
        "key .*/gone.key of the client certificate cannot be used: no such file or directory",
    ),
    "unreadable key": (
        lambda _, tls: ClientCertificate(tls / "client.crt", Path("/proc/self/mem")),  # for root too
        "key /proc/self/mem of the client certificate cannot be used: input/output error",
    ),
    "a folder": (
        lambda folder, tls: ClientCertificate(tls / "client.crt", folder),
        "key .* of the client certificate cannot be used: is a directory",
    ),
    "an empty key": (
        lambda folder, tls: ClientCertificate(tls / "client.crt", written(folder / "a.key", "\n")),
        "key .*/a.key of the client certificate cannot be used: the file is empty",
    ),
    "exchanged": (
        lambda _, tls: ClientCertificate(tls / "client.key", tls / "client.crt"),
        "client certificate .*/client.key cannot be used: it contains no certificate in PEM format",
    ),
    "two certificates": (
        lambda _, tls: ClientCertificate(tls / "client.crt", tls / "client.crt"),
        "key .*/client.crt of the client certificate cannot be used: it contains no private key in PEM format",
    ),
    "mismatched": (
        lambda _, tls: ClientCertificate(tls / "client.crt", tls / "server.key"),
        "key .*/server.key does not belong to client certificate .*/client.crt",
    ),
    "damaged key": (
        lambda folder, tls: ClientCertificate(
            tls / "client.crt",
            written(folder / "a.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ),
        "client certificate .*/client.crt with key .*/a.key cannot be used: .+",
    ),
    "encrypted": (
        encrypted,
        "key .*/encrypted.key of the client certificate cannot be used: it is encrypted "
        r"\(openssl pkey -in encrypted.key -out NEW writes it without a passphrase\)",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_client_certificate_files_that_cannot_be_used_are_a_config_error(tmp_path: Path, tls: Path, name: str) -> None:
    make, reason = UNUSABLE[name]
    publisher = MqttPublisher(BrokerSpec(port=1, tls=True, client_certificate=make(tmp_path, tls)), "box")
    with pytest.raises(FileUnusable, match=f"^mqtt: {reason}$") as error:
        publisher.prepare()
    assert error.value.code == EXIT_CONFIG


# New content while edged runs


def test_a_rotated_password_is_used_as_soon_as_its_file_changes_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path / "password", "first-word\n")
    login: dict[str, Any] = {
        "username": "edged",
        "password": Secret("first-word"),
        "password_files": (tmp_path / "none", file),
    }
    broker = Mosquitto(tmp_path, users={"edged": "first-word", "reader": "r"})
    with broker, publishing(broker.port, **login) as publisher:
        until(lambda: publisher.figures().connected)
        broker.kill()
        disconnected(publisher)
        for number in range(50):
            publisher.answers([an_answer(f"a{number}")], [], None)
        rotate = ["mosquitto_passwd", "-b", str(tmp_path / "passwords"), "edged", "second-word"]
        subprocess.run(rotate, check=True, timeout=20)
        broker.start()
        until(lambda: any("not authorised" in line for line in logged(caplog)))
        listening = Subscriber(broker.port, "reader", "r")
        begun = time.monotonic()
        written(file, "second-word\n")
        until(lambda: publisher.figures().connected)
        assert time.monotonic() - begun < 5
        settled(publisher)
        listening.catch_up()
        assert ids(listening.of(f"{PEOPLE}/late")) + ids(listening.of(PEOPLE)) == [f"a{n}" for n in range(50)]
        listening.close()
    assert "word" not in caplog.text.replace("wrong user or password", "")


def test_a_client_certificate_is_replaced_while_edged_runs(
    tmp_path: Path, tls: Path, other_tls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shows = client_files(tmp_path)
    for name in ("client.crt", "client.key"):
        shutil.copy(other_tls / name, tmp_path / name)
    with (
        Mosquitto(tmp_path, tls=tls, more=MUTUAL_TLS) as broker,
        publishing(broker.port, "localhost", tls=True, ca=tls / "ca.crt", client_certificate=shows) as publisher,
    ):
        until(lambda: logged(caplog))
        shutil.copy(tls / "client.crt", shows.certificate)  # for a moment, certificate and key do not belong together
        until(lambda: any("does not belong" in line for line in logged(caplog)))
        shutil.copy(tls / "client.key", shows.key)
        until(lambda: publisher.figures().connected)


def test_a_new_ca_is_used_as_soon_as_its_file_changes(
    tmp_path: Path, tls: Path, other_tls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = shutil.copy(other_tls / "ca.crt", tmp_path / "ca.crt")
    with (
        Mosquitto(tmp_path, tls=tls) as broker,
        publishing(broker.port, "localhost", tls=True, ca=ca) as publisher,
    ):
        until(lambda: logged(caplog))
        shutil.copy(tls / "ca.crt", ca)
        until(lambda: publisher.figures().connected)
