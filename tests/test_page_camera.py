"""The page of one camera: its newest frame and answers, whether they are current, and what is drawn over the frame."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect
from support.axe import violations
from support.broker import HOST, free_port, until
from support.browser import DESK, PHONE, keep_picture, opened, overflow_px
from support.drawing import Easel, paste
from support.making import frame, picture
from support.paging import FakeBox
from support.running import Edged
from support.world import CONFIG

from edged.core.specs import CameraSpec, RegionSpec

DEMO = Path(__file__).parent.parent / "edged/demo/model"
MASK = ((0.0, 0.8), (0.3, 0.8), (0.3, 1.0), (0.0, 1.0))
CORNER = ((0.1, 0.1), (0.3, 0.2), (0.2, 0.5))
REGIONS = (RegionSpec("gate", (0.4, 0.2, 0.9, 0.6)), RegionSpec("corner", (0.1, 0.1, 0.3, 0.5), CORNER))
DOCK: CameraSpec = replace(CONFIG.cameras[0], title="Dock <b>1</b>", mask=(MASK,), regions=REGIONS)


@pytest.fixture
def box() -> Iterator[FakeBox]:
    with FakeBox(replace(CONFIG, cameras=(DOCK, *CONFIG.cameras[1:]))) as box:
        box.camera("dock")
        yield box


def test_masks_and_regions_are_drawn_over_the_frame_with_their_names(browser: Browser, box: FakeBox):
    box.looked("dock", frame=frame(1))
    with opened(browser, f"{box.url}/camera/dock") as page:
        expect(page.locator(".shape-name")).to_have_text(["mask 1", "gate", "corner"])
        points = [each.get_attribute("points") for each in page.locator(".outlines .over").all()]
        assert points == [
            "0,0.8 0.3,0.8 0.3,1 0,1",
            "0.4,0.2 0.9,0.2 0.9,0.6 0.4,0.6",
            "0.1,0.1 0.3,0.2 0.2,0.5",
        ]
        assert page.locator("h1").text_content() == "Dock <b>1</b>"


def test_a_finger_on_the_picture_changes_nothing_before_the_drawing_is_opened(browser: Browser, box: FakeBox):
    box.looked("dock", frame=frame(1))
    with opened(browser, f"{box.url}/camera/dock", PHONE, touch=True) as page:
        place = page.locator(".surface")
        expect(place).to_be_visible()
        place.tap()
        assert page.locator(".grip").count() == 0
        page.tap(".view summary")
        place.tap()
        expect(page.locator(".grip")).to_have_count(5)
        page.tap(".view summary")
        expect(page.locator(".grip")).to_have_count(0)


def test_answers_are_beside_the_frame_and_change_without_a_reload(browser: Browser, box: FakeBox):
    question = DOCK.questions[0].name
    with opened(browser, f"{box.url}/camera/dock") as page:
        page.click(".view summary")
        expect(page.locator(".draw .hint")).to_have_text("There is no picture to draw on yet.")
        assert page.locator("[data-tool='region box']").is_disabled()
        box.answered("dock", question, True, frame(1))
        expect(page.locator(".answers .value").first).to_have_text("Yes")
        box.answered("dock", question, False, frame(2))
        expect(page.locator(".answers .value").first).to_have_text("No")
        expect(page.locator(".surface img[src*='sha-2']")).to_be_visible()


def colour(page: Page) -> str:
    """Of the first answer's value."""
    return str(page.locator(".answers .value").first.evaluate("value => getComputedStyle(value).color"))


def test_a_frame_that_is_not_current_is_grey_and_says_why(browser: Browser, box: FakeBox):
    box.answered("dock", DOCK.questions[0].name, True, frame(1))
    with opened(browser, f"{box.url}/camera/dock") as page:
        expect(page.locator(".surface:not(.not-current) img")).to_be_visible()
        box.camera("dock", online=False, reason="no packet for 5.0 s")
        expect(page.locator(".surface.not-current")).to_be_visible()
        expect(page.locator(".caption")).to_contain_text("no packet for 5.0 s")
        box.camera("dock")
        expect(page.locator(".surface:not(.not-current)")).to_be_visible()
        current = colour(page)
        box.server.stop()
        expect(page.locator(".surface.not-current")).to_be_visible()
        expect(page.get_by_text("What you see is no longer current.")).to_be_visible()
        assert colour(page) != current


def test_a_frame_from_before_a_mask_is_not_shown_any_more(browser: Browser, box: FakeBox):
    box.looked("dock", frame=frame(1))
    with opened(browser, f"{box.url}/camera/dock") as page:
        expect(page.locator(".surface img")).to_be_visible()
        box.snapshots.forget_frame("dock")
        expect(page.locator(".surface")).to_be_hidden()
        box.looked("dock", frame=frame(1))
        expect(page.locator(".surface img")).to_be_visible()


def test_the_page_of_a_camera_that_left_the_config_says_so_and_links_back(browser: Browser, box: FakeBox):
    box.looked("dock", frame=frame(1))
    with opened(browser, f"{box.url}/camera/dock") as page:
        expect(page.locator(".surface img")).to_be_visible()
        whole, box.config = box.config, replace(box.config, cameras=box.config.cameras[1:])
        expect(page.locator(".gone")).to_be_visible()
        expect(page.locator(".gone")).to_have_text("This camera is not in the config. All cameras")
        assert not page.locator(".surface").is_visible()
        box.config = whole
        expect(page.locator(".surface img")).to_be_visible()
        box.config = replace(box.config, cameras=box.config.cameras[1:])
        page.click(".gone a")
        page.wait_for_url(f"{box.url}/")


def test_the_page_of_a_camera_that_never_was_says_so(browser: Browser, box: FakeBox):
    with opened(browser, f'{box.url}/camera/x"><img src=x onerror=alert(1)>') as page:
        expect(page.locator(".gone")).to_be_visible()
        assert page.locator("h1").text_content() == 'x"><img src=x onerror=alert(1)>'
    assert httpx.get(f"{box.url}/camera/nope").status_code == 404


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_it_is_accessible_and_fits_the_window(browser: Browser, box: FakeBox, size: ViewportSize, language: Any):
    """With shapes, while a polygon is drawn, and with lines, problems and warnings."""
    box.config = replace(box.config, language=language)
    box.answered("dock", DOCK.questions[0].name, True, frame(1, 640, 480))
    with opened(browser, f"{box.url}/camera/dock", size) as page:
        drawn = Easel(page, (640, 480))
        found = violations(page)
        drawn.tool("region", "polygon")
        drawn.click((300, 50), (400, 50), (450, 90))
        found += violations(page)
        drawn.step("finish")
        page.fill("#region-name", "x" * 64)
        drawn.tool("mask", "polygon")
        drawn.click((300, 300), (400, 400), (400, 300), (300, 400), (300, 300))
        found += violations(page)
        keep_picture(page, f"camera-{language}-{size['width']}")
        assert overflow_px(page) == 0
        page.fill("#region-name", "not valid") if page.locator("#region-name").is_visible() else None
        found += violations(page)
    assert found == []


def test_nothing_moves_when_a_frame_and_an_answer_change(browser: Browser, box: FakeBox):
    """But the value itself, whose text is on the right."""
    question = DOCK.questions[0].name
    box.answered("dock", question, True, frame(1))
    with opened(browser, f"{box.url}/camera/dock") as page:
        expect(page.locator(".surface img")).to_be_visible()
        page.evaluate(
            "window.moved = []; new PerformanceObserver((list) => {"
            " const nodes = list.getEntries().flatMap((entry) => entry.sources.map((source) => source.node));"
            " window.moved.push(...nodes.map((node) => node?.className ?? 'text'));"
            " }).observe({ type: 'layout-shift' });"
        )
        box.answered("dock", question, False, frame(2))
        expect(page.locator(".surface img[src*='sha-2']")).to_be_visible()
        box.refused("dock", question, "timeout", "no answer within 60 s")
        expect(page.locator(".answers .detail").first).to_contain_text("no answer within 60 s")
        page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        assert {each.split()[0] for each in page.evaluate("window.moved")} <= {"value", "told"}


def test_what_was_drawn_and_pasted_is_in_force_at_the_next_look(browser: Browser, tmp_path: Path):
    """A real edged, with the demo's model."""
    port, config = free_port(), tmp_path / "edged.yaml"
    (tmp_path / "pics").mkdir()
    Image.fromarray(picture(1, 448, 448)).save(tmp_path / "pics/a.png")
    shutil.copytree(DEMO, tmp_path / "model")
    config.write_text(
        f"model: {{path: model}}\nmqtt: {{url: 'mqtt://{HOST}:{free_port()}'}}\n"
        f"page: {{listen: '{HOST}:{port}'}}\nhistory: false\n"
        "cameras:\n  dock:\n    source: pics\n    every: 1s\n"
        "    ask: {open: {prompt: Is the door open?, answer: yes_no}}\n"
    )
    config.chmod(0o600)
    with Edged("run", "--config", config, env={"STATE_DIRECTORY": str(tmp_path)}) as edged:
        edged.wait_for("ready")
        with opened(browser, f"http://{HOST}:{port}/camera/dock") as page:
            drawn = Easel(page, (448, 448))
            drawn.tool("region", "box")
            drawn.drag((112, 56), (336, 392))
            page.fill("#region-name", "gate")
            paste(config, "dock", drawn.yaml("region"))
            config.write_text(config.read_text().replace("answer: yes_no", "answer: yes_no, region: gate"))
            expect(page.locator(".yaml-block[data-kind=region]")).to_be_hidden()  # the config has it
            until(lambda: answered_region(port) == "gate", 30)
        edged.stop()


def answered_region(port: int) -> str | None:
    state = httpx.get(f"http://{HOST}:{port}/api/state").json()
    answer = state["cameras"][0]["questions"][0]["answer"]
    return answer["region"] if answer else None
