"""Who may use the page. Every request passes here first. Nothing of a request is logged: it may have the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import re
import socket
from collections.abc import Hashable
from urllib.parse import urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edged.core.outage import Outage
from edged.core.specs import PageSpec
from edged.page.html import page
from edged.page.served import SERVER

log = logging.getLogger("edged")

HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?", re.IGNORECASE)  # header: name and port
STATIC = "/static/"  # parts of the program, which the form for the token needs too
COOKIE = "edged"
COOKIE_S = 365 * 86_400
HEADERS = [
    (b"server", SERVER.encode()),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]
NO_STORE = (b"cache-control", b"no-store")
FOREIGN_HOST = "This page is not served under this name; page: hosts: in the config can allow it.\n"
CROSS_SITE = "Requests from other sites are refused.\n"
NO_TOKEN = "This page needs its token: Authorization: Bearer TOKEN, or once /?token=TOKEN in a browser.\n"  # noqa: S105
UNEXPECTED = "Unexpected error; see edged's log.\n"


class Guard:
    """Middleware around the whole app: headers, host, other sites, token, unexpected errors."""

    def __init__(self, app: ASGIApp, spec: PageSpec) -> None:
        self._app = app
        self._hosts = _own_names() | set(spec.hosts)
        self._gate = TokenGate(spec.token.reveal()) if spec.token else None
        self._failing = Outage("page", log, "works again")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = message["headers"]
                may_be_kept = any(name == b"cache-control" for name, _ in headers)
                message["headers"] = [*headers, *HEADERS, *([] if may_be_kept else [NO_STORE])]
            await send(message)

        try:
            await (self._refusal(scope) or self._app)(scope, receive, send_with_headers)
        except Exception as error:
            self._failing.begin(f"unexpected error: {error!r}", _route(scope), logging.ERROR, error)
            if not begun:
                await PlainTextResponse(UNEXPECTED, 500)(scope, receive, send_with_headers)
        else:
            self._failing.end(_route(scope))

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that must not reach the app; None for others."""
        headers = Headers(scope=scope)
        if not self._is_own_host(headers.get("host", ""), scope):
            return PlainTextResponse(FOREIGN_HOST, 421)
        if _is_cross_site(scope["method"], headers):
            return PlainTextResponse(CROSS_SITE, 403)
        if self._gate is None or scope["path"].startswith(STATIC):
            return None
        return self._gate.refusal(Request(scope))

    def _is_own_host(self, host: str, scope: Scope) -> bool:
        """False for a name that somebody else's DNS server has pointed at this box."""
        name = _host_name(host)
        address = (scope.get("server") or ("",))[0]
        return bool(name) and (name in self._hosts or _is_same_address(name, address))


class TokenGate:
    """Lets those in who know the token: as `Authorization: Bearer`, or by the cookie that `?token=` has set."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        # stays the same over a restart, changes with the token, and does not reveal it
        self._cookie = hmac.new(self._token, b"edged page", hashlib.sha256).hexdigest()

    def refusal(self, request: Request) -> Response | None:
        given = request.query_params.get("token")
        if given is not None and request.method == "GET":
            return self._login(request) if self._is_token(given) else _no_token(request, wrong=True)
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(bearer.strip(), "latin-1"):  # bytes that are no text yet
            return None
        cookie = request.cookies.get(COOKIE, "")
        return None if hmac.compare_digest(cookie.encode(), self._cookie.encode()) else _no_token(request, bool(bearer))

    def _login(self, request: Request) -> Response:
        """Leads to the same address without the token, so that it does not stay in the address bar."""
        rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
        path = "/" + request.url.path.lstrip("/")  # `//host` would lead to another site
        response = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, 303)
        response.set_cookie(COOKIE, self._cookie, COOKIE_S, path="/", httponly=True, samesite="lax")
        return response

    def _is_token(self, given: str, encoding: str = "utf-8") -> bool:
        return hmac.compare_digest(given.encode(encoding), self._token)


def _route(scope: Scope) -> Hashable:
    """The place of a failure: what works at one route says nothing about another one. Starlette has set it."""
    route: Hashable = scope.get("endpoint")
    return route


def _no_token(request: Request, wrong: bool) -> Response:
    if request.url.path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        response: Response = PlainTextResponse(NO_TOKEN, 401)
    else:
        response = page("token.html", {"wrong": wrong}, 401)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _own_names() -> set[str]:
    own = socket.gethostname().lower()
    short = own.partition(".")[0]
    return {"localhost", own, short, f"{short}.local"}


def _host_name(host: str) -> str:
    """The name or address of a `Host` header, without the port, as the config has it; empty if it is not one."""
    match = HOST.fullmatch(host)
    if not match:
        return ""
    try:
        return str(ipaddress.IPv6Address(match[1])) if match[1] else match[2].lower()
    except ValueError:
        return ""


def _is_same_address(name: str, address: str) -> bool:
    if name == address:
        return True
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(address.partition("%")[0])  # %: of a link-local one
    except ValueError:
        return False


def _is_cross_site(method: str, headers: Headers) -> bool:
    """True if another site's page has sent this. A link to the page is allowed."""
    site = headers.get("sec-fetch-site")
    if site in ("same-origin", "none"):
        return False
    if site is not None:
        return not (method == "GET" and headers.get("sec-fetch-mode") == "navigate" and _is_document(headers))
    origin = headers.get("origin")  # an old browser, or a program
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _is_document(headers: Headers) -> bool:
    return headers.get("sec-fetch-dest", "document") == "document"
