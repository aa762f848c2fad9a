"""Text that looks like markup, from a config, a camera or a model, does nothing in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Page, expect
from support.broker import HOST, free_port
from support.browser import DESK, chromium
from support.http import answering
from support.making import frame
from support.paging import FakeBox
from support.world import CONFIG

from edged.core.secret import Secret
from edged.core.specs import Config, ConfigWarning, ListenAddress, PageSpec, SourceSpec

SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>{{7*7}}${7*7}&lt;b&gt;"
NAME = CONFIG.cameras[0].name
ADDRESS = "javascript:alert(4)"


def hostile(config: Config) -> Config:
    """A config whose every free text is a script."""
    camera = config.cameras[0]
    questions = tuple(replace(each, title=SCRIPT, prompt=SCRIPT) for each in camera.questions)
    source = SourceSpec("path", Secret(ADDRESS), f"{ADDRESS} {SCRIPT}")
    warning = ConfigWarning("missing_file", SCRIPT)
    cameras = (replace(camera, title=SCRIPT, questions=questions, source=source), *config.cameras[1:])
    return replace(config, node=SCRIPT, cameras=cameras, warnings=(warning,))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def box() -> Iterator[FakeBox]:
    with FakeBox(hostile(CONFIG)) as box:
        box.problems = [SCRIPT]
        box.model = SCRIPT
        box.camera(NAME, online=False, reason=SCRIPT)
        question = CONFIG.cameras[0].questions[0].name
        box.refused(NAME, question, "unreadable", SCRIPT, text=SCRIPT, frame=frame(1))
        yield box


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    page.set_default_timeout(20_000)
    yield page
    context.close()


def _dismissed(dialogs: list[str], dialog: Dialog) -> None:
    dialogs.append(dialog.message)
    dialog.dismiss()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", f"/camera/{NAME}", "/camera/%3Cimg%20onerror=alert(5)%3E", "/label"])
def test_no_text_becomes_a_script_or_an_element(box: FakeBox, page: Page, path: str):
    dialogs: list[str] = []
    broken: list[str] = []
    page.on("dialog", partial(_dismissed, dialogs))
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda message: broken.append(message.text) if "Security Policy" in message.text else None)
    page.goto(box.url + path)
    expect(page.locator("body")).to_contain_text("alert(")  # the text is there, as text
    expect(page.locator("header")).to_contain_text("Live", timeout=20_000)
    assert page.locator("script:not([src]), [onerror], [onload], [href^='javascript:'], [src=x]").count() == 0
    assert "49" not in page.title()
    assert (dialogs, broken) == ([], [])


@pytest.mark.slow
def test_an_injected_script_does_not_run(box: FakeBox, page: Page):
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text))
    page.goto(f"{box.url}/label")
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = 1";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<img src=data:, onerror='window.ran = 2'>");
            const other = document.createElement("script");
            other.src = "data:text/javascript,window.ran = 3";
            document.body.append(other);
        }"""
    )
    assert page.evaluate("window.ran") is None
    assert len([text for text in blocked if "Content Security Policy" in text]) >= 3


@pytest.mark.slow
def test_another_site_can_neither_frame_nor_read_nor_change_the_page(box: FakeBox, page: Page):
    box.config = replace(box.config, mqtt=replace(CONFIG.mqtt, allow_prompts=True))
    form = f"<form id=p method=post enctype=text/plain target=t action='{box.url}/api/try'><input name='{{}}'></form>"
    frames = f"<iframe src='{box.url}/'></iframe><iframe name=t></iframe><img id=i src='{box.url}/static/icon.svg'>"
    hostile_page = f"<!doctype html>{frames}{form}".encode()
    length = len(hostile_page)
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % length + hostile_page
    with answering(lambda _: reply) as port:
        page.goto(f"http://localhost:{port}/")
        page.evaluate("document.getElementById('p').submit()")
        read = page.evaluate(
            """async (url) => {
                const tried = [];
                for (const options of [{}, {mode: "no-cors"}, {method: "POST", body: "{}"},
                     {method: "POST", body: "{}", headers: {"Content-Type": "application/json"}}]) {
                    try { tried.push((await (await fetch(url + "/api/state", options)).text()).length); }
                    catch { tried.push(-1); }
                }
                return tried;
            }""",
            box.url,
        )
        assert set(read) <= {-1, 0}
        assert page.evaluate("document.getElementById('i').naturalWidth") == 0
        assert [each for each in page.frames if each.url.startswith(box.url) and each.locator("header").count()] == []
    assert box.received == []


def test_a_page_that_is_open_asks_for_the_token_after_it_was_changed(browser: Browser):
    listen = ListenAddress(HOST, free_port())
    with FakeBox(CONFIG, PageSpec(listen, Secret("t0k3n"))) as box:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{box.url}/?token=t0k3n")
        expect(page.locator("header")).to_contain_text("Live", timeout=20_000)
        box.server.follow(PageSpec(listen, Secret("another")))
        expect(page.locator("#token")).to_be_visible(timeout=20_000)
        context.close()


@pytest.mark.slow
def test_a_token_typed_into_the_form_opens_the_page_and_leaves_the_address(browser: Browser):
    with FakeBox(CONFIG, PageSpec(ListenAddress(HOST, free_port()), Secret("t0k3n"))) as box:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{box.url}/camera/{NAME}")
        page.locator("#token").fill("wrong")
        page.locator("button").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.locator("#token").fill("t0k3n")
        page.locator("button").click()
        page.wait_for_url(f"{box.url}/camera/{NAME}")
        expect(page.locator("header")).to_contain_text("Live", timeout=20_000)
        assert page.evaluate("document.cookie") == ""  # scripts cannot read it
        context.close()
        assert httpx.get(f"{box.url}/api/state").status_code == 401
