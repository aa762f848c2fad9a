"""The files of the login: when a new content is used, and what is logged about one that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.publishing import logged

from edged.core.secret import Secret
from edged.core.specs import BrokerSpec
from edged.mqtt.login import Login, LoginFiles


def password_of(login: Login | None) -> str | None:
    return login.spec.password.reveal() if login and login.spec.password else None


@pytest.mark.parametrize("after", ["old", "new"])
def test_each_time_a_file_becomes_unusable_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, after: str
) -> None:
    file = tmp_path / "password"
    file.write_text("old\n")
    files = LoginFiles(BrokerSpec(username="edged", password=Secret("old"), password_files=(file,)))
    files.read()
    for content, password in (("", None), ("", None), (after, "new" if after == "new" else None), ("", None)):
        file.write_text(content)
        assert password_of(files.changed()) == password
    line = f'the secret "password" cannot be used ({file} is empty); retrying with the previous login'
    assert logged(caplog) == [f"broker mqtt://localhost:1883: {line}"] * 2


def test_a_file_that_stays_unusable_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ca = tmp_path / "ca.crt"
    files = LoginFiles(BrokerSpec(tls=True, ca=ca))
    ca.write_text("no certificate")
    assert [files.changed() for _ in range(3)] == [None] * 3
    [line] = logged(caplog)
    assert line.endswith("; retrying with the previous login")
