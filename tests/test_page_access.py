"""Who may use the page: its token, its names, and what other sites' pages can send."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from support.broker import HOST, free_port, until
from support.paging import FakeBox
from support.raw_http import exchange, get, header, status
from support.world import CONFIG

from edged.core.secret import Secret
from edged.core.specs import ListenAddress, PageSpec
from edged.page import guard

TOKEN = "tok3n/ä +&%"
IN_URL = "tok3n%2F%C3%A4%20%2B%26%25"
IN_HEADER = TOKEN.encode().decode("latin-1")
CAMERA = CONFIG.cameras[0].name
ROUTES = ["/", f"/camera/{CAMERA}", "/label", "/api/state", "/api/events", f"/api/frame/{CAMERA}.jpg", "/api/history"]


@pytest.fixture(scope="module")
def box() -> Iterator[FakeBox]:
    """With a token."""
    with FakeBox(CONFIG, PageSpec(ListenAddress(HOST, free_port()), Secret(TOKEN), ("box.example.com",))) as box:
        yield box


@pytest.fixture(scope="module")
def open_box() -> Iterator[FakeBox]:
    """Without a token."""
    with FakeBox(CONFIG) as box:
        yield box


def ask(box: FakeBox, target: str, *lines: str, host: str | None = HOST, method: str = "GET") -> bytes:
    return exchange(box.spec.listen.port, get(target, *lines, host=host, method=method))


def cookie(box: FakeBox) -> str:
    given = header(ask(box, f"/?token={IN_URL}"), "set-cookie")
    assert given
    return given.partition(";")[0]


# the token


@pytest.mark.parametrize("path", [*ROUTES, "/nope", "/api/nope", "/api/label"])
def test_without_the_token_no_route_answers(box: FakeBox, path: str):
    answer = ask(box, path)
    assert status(answer) == 401
    assert header(answer, "www-authenticate") == "Bearer"


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer wrong",
        "Authorization: Bearer",
        "Authorization: Bearer " + IN_HEADER[:-1],
        "Authorization: Bearer " + IN_HEADER + "x",
        "Authorization: Basic " + IN_HEADER,
        "Authorization: Bearer \xff\xfe",
        "Cookie: edged=" + "0" * 64,
        "Cookie: edged=" + IN_URL,
        "Cookie: edged=",
        "Cookie: edged=\xff",
    ],
)
def test_a_wrong_token_is_refused(box: FakeBox, line: str):
    assert status(ask(box, "/api/state", line)) == 401


@pytest.mark.parametrize("target", ["/?token=wrong", "/?token=", f"/?token={IN_URL}x", f"/?token={IN_URL}&token=wrong"])
def test_a_wrong_token_in_the_address_is_refused_even_with_a_cookie(box: FakeBox, target: str):
    assert status(ask(box, target, f"Cookie: {cookie(box)}")) == 401


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT"])
def test_a_token_in_the_address_is_for_reading_only(box: FakeBox, method: str):
    answer = ask(box, f"/?token={IN_URL}", method=method)
    assert (status(answer), header(answer, "set-cookie")) == (401, None)


def test_the_token_opens_the_page_as_a_header_and_as_a_cookie(box: FakeBox):
    assert status(ask(box, "/api/state", f"Authorization: bearer {IN_HEADER}")) == 200
    assert status(ask(box, "/api/state", f"Cookie: other=1; {cookie(box)}")) == 200


def test_the_form_for_the_token_has_its_style_and_icon(box: FakeBox):
    form = ask(box, "/", "Accept: text/html")
    assert b'<link rel="icon" href="/static/icon.svg"' in form  # else browsers ask for /favicon.ico, and get 401
    assert (status(form), b'name="token"' in form) == (401, True)
    assert status(ask(box, "/static/style.css")) == 200


def test_the_cookie_is_for_this_page_alone_and_does_not_reveal_the_token(box: FakeBox):
    given = header(ask(box, f"/?token={IN_URL}"), "set-cookie")
    assert given
    name, *flags = (each.strip().lower() for each in given.split(";"))
    assert set(flags) == {"httponly", "samesite=lax", "path=/", f"max-age={guard.COOKIE_S}"}
    assert all(part not in name for part in (TOKEN.lower(), IN_URL.lower(), "tok3n"))


def test_the_redirect_keeps_the_other_parameters(box: FakeBox):
    answer = ask(box, f"/camera/{CAMERA}?a=1&token={IN_URL}&a=%262&b=&c=%EA%B0%80")
    assert status(answer) == 303
    assert header(answer, "location") == f"/camera/{CAMERA}?a=1&a=%262&b=&c=%EA%B0%80"


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/", "///evil.example", "/\\evil.example", "\\\\evil.example", "/%5Cevil.example",
        "/%2F%2Fevil.example", "/%252F%252Fevil.example", "/%09/evil.example", "/%0d%0aLocation:%20//evil.example",
        "http://evil.example/", "http:evil.example", "//evil.example@box/", "/?next=//evil.example",
        "/%3F//evil.example", "/%00//evil.example", "javascript:alert(1)", "/.//evil.example",
    ],
)  # fmt: skip
def test_the_redirect_leads_to_no_other_site(box: FakeBox, path: str):
    answer = ask(box, f"{path}{'&' if '?' in path else '?'}token={IN_URL}")
    if status(answer) == 400:  # a target that is none
        return
    location = header(answer, "location")
    assert (status(answer), bool(location)) == (303, True)
    assert urlsplit(urljoin("http://box/", str(location).replace("\\", "/"))).netloc == "box"
    assert not str(location).startswith(("//", "/\\"))
    assert answer.lower().count(b"\r\nlocation:") == 1


def test_the_token_is_in_no_log_line_and_no_answer(box: FakeBox, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio"):
        logging.getLogger(name).setLevel(1)
        logging.getLogger(name).propagate = True
    lines = ["", f"Authorization: Bearer {IN_HEADER}", f"Cookie: edged={IN_URL}", f"Referer: http://x/?token={IN_URL}"]
    targets = [f"{path}?token={IN_URL}" for path in (*ROUTES, "/nope", "/static/nope", "//x")]
    answers = [
        ask(box, target, *filter(None, [line]), method=method)
        for target in [*targets, f"/{IN_URL}", f"/camera/{IN_URL}", f"/ token={IN_URL}"]
        for line in lines
        for method in ("GET", "POST", "HEAD", "TOKEN")
        if not (method == "GET" and target == "/api/events" and line)
    ]
    box.problems = [object()]  # type: ignore[list-item]  # an unexpected error
    answers.append(ask(box, "/api/state", f"Authorization: Bearer {IN_HEADER}", f"Cookie: x={IN_URL}"))
    box.problems = []
    assert status(answers[-1]) == 500
    answers.append(exchange(box.spec.listen.port, f"GET /?token={IN_URL} HTTP/1.1\r\nBad\r\n\r\n".encode()))
    assert status(ask(box, "/api/state", f"Authorization: Bearer {IN_HEADER}")) == 200
    written = caplog.text + "".join(answer.decode("latin-1") for answer in answers) + repr(box.spec) + repr(box.config)
    assert "unexpected error" in caplog.text
    assert not [secret for secret in (TOKEN, IN_HEADER, IN_URL, "tok3n") if secret in written]


def test_no_browser_tells_another_site_the_address(box: FakeBox):
    assert header(ask(box, f"/?token={IN_URL}"), "referrer-policy") == "no-referrer"


def test_another_token_ends_the_cookies_and_connections_of_the_first():
    first = PageSpec(ListenAddress(HOST, free_port()), Secret("first"))
    with FakeBox(CONFIG, first) as box:
        client = httpx.Client(base_url=box.url, follow_redirects=True, timeout=20)
        assert client.get("/api/state", params={"token": "first"}).status_code == 200
        with client.stream("GET", "/api/events") as stream:
            box.server.follow(replace(first, token=Secret("second")))
            with suppress(httpx.RemoteProtocolError):
                stream.read()
        until(box.is_serving, 10)
        assert client.get("/api/state").status_code == 401
        assert client.get("/api/state", params={"token": "first"}).status_code == 401
        assert client.get("/api/state", params={"token": "second"}).status_code == 200
        client.close()


# names


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8311",
        "127.0.0.1:1",
        "localhost",
        "LOCALHOST:80",
        "box.example.com",
        "BOX.example.com:443",
    ],
)
def test_own_names_are_served(box: FakeBox, host: str):
    assert status(ask(box, "/api/state", f"Authorization: Bearer {IN_HEADER}", host=host)) == 200


FOREIGN = [
    "evil.example", "evil.example:8311", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example.com",
    "x.box.example.com", "127.0.0.2", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1", "0x7f.0.0.1",
    "localhost.", "127.0.0.1.", "evil.example#127.0.0.1", "evil.example/127.0.0.1", "evil.example@127.0.0.1",
    "127.0.0.1, evil.example", "127.0.0.1 evil.example", "127.0.0.1:evil", "127.0.0.1:123456", "[::1",
    ":8311", "", "x" * 5000, "\xff", "xn--bcher-kva.example",
]  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/", "/api/state", "/static/icon.svg"])
def test_foreign_names_are_refused(box: FakeBox, open_box: FakeBox, host: str, path: str):
    known = ask(box, path, f"Authorization: Bearer {IN_HEADER}", host=host)
    assert status(known) == status(ask(open_box, path, host=host)) == 421
    assert header(ask(box, f"/?token={IN_URL}", host=host), "set-cookie") is None


def test_a_request_with_no_host_or_two_is_refused(open_box: FakeBox):
    assert status(ask(open_box, "/api/state", host=None)) == 400
    assert status(ask(open_box, "/api/state", "Host: evil.example")) == 400
    two = b"GET /api/state HTTP/1.0\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n"
    assert status(exchange(open_box.spec.listen.port, two)) in (400, 421)


def test_an_ipv6_address_is_served_under_its_own_name():
    with FakeBox(CONFIG, PageSpec(ListenAddress("::1", free_port()))) as box:

        def ask_as(host: str) -> int:
            return status(exchange(box.spec.listen.port, get("/api/state", host=host), host="::1"))

        assert [ask_as(host) for host in ("[::1]", "[::1]:8311", "[0:0:0:0:0:0:0:1]")] == [200] * 3
        assert [ask_as(host) for host in ("[::2]", "127.0.0.1", "::1")] == [421] * 3


def test_a_link_local_address_is_compared_without_its_interface():
    served = guard.Guard(lambda *_: None, PageSpec(ListenAddress("::", 1)))  # type: ignore[arg-type]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"[fe80::1]:8311")]}
    assert served._refusal(scope | {"server": ("fe80::1%eth0", 8311)}) is None  # no such network here


# other sites

SITES = [  # a link of another site leads here, and nothing else does
    ("GET", {"Sec-Fetch-Site": "same-origin"}, 200),
    ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
    (
        "GET",
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        200,
    ),  # a link
    ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
    ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "embed"}, 403),
    ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403),
    ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 403),
    ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 403),  # another port
    ("GET", {"Sec-Fetch-Site": "nonsense"}, 403),
    ("GET", {"Origin": "http://evil.example"}, 403),
    ("GET", {"Origin": "null"}, 403),
    ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 403),
    ("POST", {"Sec-Fetch-Site": "same-site"}, 403),
    ("POST", {"Origin": "http://evil.example"}, 403),
    ("POST", {"Origin": "null"}, 403),
    ("POST", {"Origin": ""}, 403),
    ("POST", {"Origin": "http://127.0.0.1:1"}, 403),
    ("POST", {"Origin": "http://127.0.0.1"}, 415),  # the page's own; what it sends is no JSON
    ("POST", {"Sec-Fetch-Site": "same-origin"}, 415),
    ("POST", {}, 415),  # a program
]


@pytest.mark.parametrize(("method", "headers", "expected"), SITES)
def test_what_another_site_can_send_is_refused(open_box: FakeBox, method: str, headers: dict[str, str], expected: int):
    lines = [f"{name}: {value}" for name, value in headers.items()]
    target = "/api/state" if method == "GET" else "/api/label"
    assert status(ask(open_box, target, *lines, method=method)) == expected


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("path", ["/api/try", "/api/label"])
def test_no_post_takes_what_a_form_can_send(open_box: FakeBox, kind: str, path: str):
    open_box.config = replace(open_box.config, mqtt=replace(CONFIG.mqtt, allow_prompts=True))
    answer = httpx.post(open_box.url + path, content='{"camera":"a","prompt":"b"}', headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert open_box.received == []


def test_every_answer_forbids_framing_scripts_of_others_and_guessing_of_types(open_box: FakeBox):
    for path in (*ROUTES, "/nope", "/static/icon.svg"):
        if path == "/api/events":
            continue
        for answer in (
            ask(open_box, path),
            ask(open_box, path, host="evil.example"),
            ask(open_box, path, method="PUT"),
        ):
            policy = header(answer, "content-security-policy") or ""
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert header(answer, "x-frame-options") == "DENY"
            assert header(answer, "x-content-type-options") == "nosniff"
            assert header(answer, "access-control-allow-origin") is None


HOSTILE = [
    "..", "../..", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e", "%252e%252e%252f", "..%5c..%5c", "%00", "a%00.jpg",
    "....//....//etc/passwd", "/etc/passwd", "%2Fetc%2Fpasswd", "%c0%ae%c0%ae%c0%af", "C:%5Cwindows", "~root",
    "x" * 9000, "%F0%9F%93%B7", "%EA%B0%80", "%ff%fe", "%E2%80%AE", "CON", "guard.py", "__init__.py", "%7B%7B7*7%7D%7D",
    "*", ";id", "$(id)", "a%0a", "edged.db", "file:%2F%2F%2Fetc%2Fpasswd", "-", "%20", ".",
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_no_parameter_leads_to_a_file(open_box: FakeBox, tmp_path: Path, value: str):
    for path in ("/static/{}", "/api/frame/{}.jpg", "/api/label/{}", "/camera/{}", "/{}", "/static/../{}"):
        answer = ask(open_box, path.format(value))
        assert status(answer) in (404, 400, 431), path
        assert b"root:" not in answer
    for query in ("camera={0}&question=x", "camera={1}&question={0}", "camera={1}&question={2}&since={0}"):
        asked = query.format(value, CAMERA, CONFIG.cameras[0].questions[0].name)
        assert status(ask(open_box, f"/api/history?{asked}")) in (404, 400, 431), asked
