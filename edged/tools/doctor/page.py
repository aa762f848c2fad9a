"""Checks that the page can be served, or is."""

from __future__ import annotations

import errno
import http.client
import importlib.util
import os
import socket

from edged.core.pip import pip_install
from edged.core.specs import Config, ListenAddress
from edged.page.served import SERVER
from edged.tools.doctor.broker import CHECK_SECRETS
from edged.tools.doctor.check import Check

NAME = "page"
LIMIT_S = 3.0
PACKAGES = ("starlette", "uvicorn", "jinja2")
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing listens here


def page(config: Config | None, served: bool = False) -> list[Check]:
    """None without a page. `served`: it must be served now, because edged should be running. Takes a few seconds."""
    if config is None or config.page is None:
        return []
    if config.page.problem:
        return [Check(NAME, False, f"not served: {config.page.problem}", CHECK_SECRETS)]
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        step = f"{pip_install('edged[page]')}, then restart edged"
        return [Check(NAME, False, f"it needs {' and '.join(missing)}", step)]
    return [_listening(config.page.listen, served)]


def _listening(address: ListenAddress, served: bool) -> Check:
    error = _listen(address)
    if error is None and served:
        return Check(NAME, False, f"http://{address.shown}/ is not served", "if edged is running, its log says why")
    if error is None:
        return Check(NAME, True, f"edged can listen at {address.shown}")
    server = None if error == errno.EADDRNOTAVAIL else _server(address)
    if server == SERVER:
        return Check(NAME, True, f"http://{address.shown}/ is served")
    if server is not None or error == errno.EADDRINUSE:
        step = f"choose another port in page: listen, or stop it: ss -ltnp 'sport = :{address.port}'"
        return Check(NAME, False, f"another program listens at {address.shown}", step)
    return Check(
        NAME, False, f"edged cannot listen at {address.shown}: {os.strerror(error).lower()}", "correct page: listen"
    )


def _server(address: ListenAddress) -> str | None:
    """How the program that listens there names itself, empty if it does not; None if nothing accepts a connection."""
    connection = http.client.HTTPConnection(ANY.get(address.host, address.host), address.port, timeout=LIMIT_S)
    try:
        connection.connect()
    except OSError:
        return None
    try:
        connection.request("GET", "/static/icon.svg")
        return connection.getresponse().headers.get("Server", "")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _listen(address: ListenAddress) -> int | None:
    """The number of the error; None if it is possible."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        return error.errno or 0
    return None
