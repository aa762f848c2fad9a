"""What `edged doctor` says about the page."""

from __future__ import annotations

import importlib.util
import socket
from dataclasses import replace
from importlib.machinery import ModuleSpec

import pytest
from support.broker import HOST, free_port
from support.http import answering
from support.paging import FakeBox
from support.world import CONFIG

from edged.core.pip import pip_install
from edged.core.secret import Secret
from edged.core.specs import Config, ListenAddress, PageSpec
from edged.tools.doctor.check import Check
from edged.tools.doctor.page import page


def served_at(port: int, host: str = HOST, problem: str | None = None) -> Config:
    return replace(CONFIG, page=PageSpec(ListenAddress(host, port), problem=problem))


def test_without_a_page_nothing_is_said():
    assert page(None) == page(CONFIG) == []


@pytest.mark.parametrize("token", [None, Secret("t")])
def test_a_page_that_edged_serves_is_well(token: Secret | None):
    spec = PageSpec(ListenAddress(HOST, free_port()), token)
    with FakeBox(CONFIG, spec) as box:
        expected = [Check("page", True, f"http://{spec.listen.shown}/ is served")]
        assert page(box.config) == page(box.config, served=True) == expected


def test_a_free_port_is_well_unless_edged_should_run():
    port = free_port()
    assert page(served_at(port)) == [Check("page", True, f"edged can listen at {HOST}:{port}")]
    expected = Check("page", False, f"http://{HOST}:{port}/ is not served", "if edged is running, its log says why")
    assert page(served_at(port), served=True) == [expected]


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"220 mail.example ESMTP\r\n"])
@pytest.mark.parametrize("served", [True, False])
def test_a_port_that_another_program_has_is_reported(reply: bytes, served: bool):
    with answering(lambda _: reply) as port:
        check = page(served_at(port), served)[0]
    assert (check.ok, check.detail) == (False, f"another program listens at {HOST}:{port}")
    assert check.next == f"choose another port in page: listen, or stop it: ss -ltnp 'sport = :{port}'"


def test_a_port_that_is_bound_but_not_listening_is_reported():
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        assert page(served_at(bound.getsockname()[1]))[0].detail.startswith("another program listens at ")


def test_an_address_of_another_machine_is_reported():
    check = page(served_at(8311, "192.0.2.1"))[0]
    assert check.detail == "edged cannot listen at 192.0.2.1:8311: cannot assign requested address"


def test_a_missing_token_is_reported():
    check = page(served_at(1, problem='secret "page-token" is missing'))[0]
    assert (check.ok, check.detail) == (False, 'not served: secret "page-token" is missing')


def test_missing_packages_are_reported(monkeypatch: pytest.MonkeyPatch):
    present = importlib.util.find_spec

    def find(name: str) -> ModuleSpec | None:
        return None if name == "uvicorn" else present(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert page(served_at(1)) == [
        Check("page", False, "it needs uvicorn", f"{pip_install('edged[page]')}, then restart edged")
    ]
