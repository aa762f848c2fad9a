"""Masks and regions that are drawn on the page: the lines for the config are valid, and mean what was drawn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect
from support.browser import DESK, PHONE, keep_picture, opened, overflow_px
from support.drawing import Easel, Finger, paste
from support.paging import FakeBox

from edged.cameras.polygon import inside
from edged.cli import main
from edged.config.form import MaskForm, RegionForm
from edged.config.load import load
from edged.core.types import Frame, utc_now

WIDTH, HEIGHT = 1280, 720  # wider than the picture is on the page
PIXELS = np.random.default_rng(1).integers(1, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)  # no two alike, none black
CONFIG = """\
model: {path: none}
cameras:
  dock:
    source: dock
    ask: {open: {prompt: Open?, answer: yes_no}}
  yard:
    source: dock
    rotate: 90
    ask: {cars: {prompt: How many cars?, answer: integer}}
"""
SHAPES = """\
    mask:
      - {box: [0, 0.9, 0.2, 1]}
    regions:
      gate: {box: [0.25, 0.2, 0.5, 0.6]}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config whose cameras have one known picture, in a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dock").mkdir()
    Image.fromarray(PIXELS).save("dock/a.png")
    path = tmp_path / "edged.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def box(config: Path) -> Iterator[FakeBox]:
    with FakeBox(load(config)) as box:
        box.looked("dock", frame=a_frame("a", PIXELS))
        box.looked("yard", frame=a_frame("y", np.rot90(PIXELS, 3)))
        yield box


def a_frame(digest: str, rgb: np.ndarray) -> Frame:
    return Frame(np.ascontiguousarray(rgb), digest, utc_now(), 0.0)


def with_shapes(box: FakeBox, config: Path) -> None:
    paste(config, "dock", SHAPES)
    follow(box, config)


def follow(box: FakeBox, config: Path) -> None:
    """The config as it is now is in force."""
    box.config = replace(load(config), page=box.spec)


def easel(page: Page, width: int = WIDTH, height: int = HEIGHT) -> Easel:
    return Easel(page, (width, height))


def checked(config: Path, camera: str, lines: str) -> None:
    """Pasted, the lines are valid."""
    assert lines
    paste(config, camera, lines)
    assert main(["check", str(config)]) == 0


def seen(config: Path, camera: str, *more: str) -> np.ndarray:
    """What the model would see, by `edged look`."""
    assert main(["look", camera, "--config", str(config), "--save", "seen.png", *more]) == 0
    with Image.open("seen.png") as image:
        return np.asarray(image.convert("RGB"))


def test_a_region_drawn_with_the_mouse_is_cut_out_to_the_pixel(browser: Browser, box: FakeBox, config: Path):
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("region", "box")
        drawn.drag((101, 203), (500, 300), (1003, 577))
        page.fill("#region-name", "gate")
        lines = drawn.yaml("region")
    assert lines.startswith("    regions:\n      gate: {box: [")
    checked(config, "dock", lines)
    assert np.array_equal(seen(config, "dock", "--region", "gate"), PIXELS[203:577, 101:1003])


@pytest.mark.parametrize("size", [PHONE, DESK, {"width": 777, "height": 555}], ids=lambda size: str(size["width"]))
def test_the_region_is_what_was_drawn_at_every_scale(browser: Browser, box: FakeBox, config: Path, size: ViewportSize):
    """Also from the right to the left, and beyond the border."""
    with opened(browser, f"{box.url}/camera/dock", size) as page:
        drawn = easel(page)
        drawn.tool("region", "box")
        drawn.drag((643, 601), (300, 300), (-20, -20))
        lines = drawn.yaml("region")
    checked(config, "dock", lines)
    assert np.array_equal(seen(config, "dock", "--region", "region-1"), PIXELS[:601, :643])


def test_a_region_drawn_with_a_finger_is_cut_out_to_the_pixel(browser: Browser, box: FakeBox, config: Path):
    with opened(browser, f"{box.url}/camera/dock", PHONE, touch=True) as page:
        drawn = easel(page)
        drawn.tool("region", "box")
        Finger(drawn).drag((64, 80), (300, 300), (960, 640))
        Finger(drawn).drag((960, 640), (1000, 660), (1152, 704))  # its corner
        lines = drawn.yaml("region")
        assert overflow_px(page) == 0
        keep_picture(page, "draw-360")
    checked(config, "dock", lines)
    assert np.array_equal(seen(config, "dock", "--region", "region-1"), PIXELS[80:704, 64:1152])


def test_a_polygon_is_black_outside_to_the_pixel(browser: Browser, box: FakeBox, config: Path):
    corners = [(128, 72), (704, 144), (832, 648), (256, 576)]  # exact with three decimals and four
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("region", "polygon")
        drawn.click(*corners, corners[0])
        lines = drawn.yaml("region")
    checked(config, "dock", lines)
    within = inside(corners, WIDTH, HEIGHT)[..., np.newaxis]
    assert np.array_equal(seen(config, "dock", "--region", "region-1"), (PIXELS * within)[72:648, 128:832])


def test_a_polygon_drawn_with_a_finger_ends_with_its_button(browser: Browser, box: FakeBox, config: Path):
    with opened(browser, f"{box.url}/camera/dock", PHONE, touch=True) as page:
        drawn = easel(page)
        drawn.tool("region", "polygon")
        Finger(drawn).tap((128, 72), (1152, 72))
        assert page.locator("[data-step=finish]").is_disabled()
        Finger(drawn).tap((640, 648))
        page.tap("[data-step=finish]")
        assert drawn.yaml("region") == (
            "    regions:\n      region-1: {polygon: [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]}\n"
        )


def test_a_mask_blackens_what_was_drawn(browser: Browser, box: FakeBox, config: Path):
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("mask", "box")
        drawn.drag((0, 360), (320, HEIGHT))
        drawn.tool("mask", "polygon")
        drawn.click((960, 72), (1152, 72), (1152, 288), (960, 288), (960, 72))
        lines = drawn.yaml("mask")
    assert lines.splitlines()[1] == "      - {box: [0, 0.5, 0.25, 1]}"
    checked(config, "dock", lines)
    picture = seen(config, "dock")
    assert not picture[360:, :320].any()
    assert not picture[72:288, 960:1152].any()
    assert np.array_equal(picture[:360, :960], PIXELS[:360, :960])


def test_lines_replace_those_of_the_config_and_keep_its_other_shapes(browser: Browser, box: FakeBox, config: Path):
    with_shapes(box, config)
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("region", "box")
        drawn.drag((768, 72), (1152, 360))
        assert (drawn.yaml("region"), drawn.yaml("mask")) == (
            "    regions:\n      gate: {box: [0.25, 0.2, 0.5, 0.6]}\n      region-1: {box: [0.6, 0.1, 0.9, 0.5]}\n",
            "",
        )
        assert page.locator(".yaml-block[data-kind=region] p").text_content() == (
            f"Replace regions: of camera dock in {config} with these lines:"
        )
        lines = drawn.yaml("region")
        checked(config, "dock", lines)
        follow(box, config)
        page.wait_for_selector(".yaml-block[data-kind=region]", state="hidden")  # it is in force
        assert page.locator(".shape").all_text_contents() == ["mask 1", "gate", "region-1"]


def test_corners_and_the_whole_shape_can_be_dragged(browser: Browser, box: FakeBox, config: Path):
    with_shapes(box, config)
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.click((400, 300))  # selects it
        assert drawn.yaml("region") == ""
        drawn.drag((320, 144), (256, 72))
        assert "[0.2, 0.1, 0.5, 0.6]" in drawn.yaml("region")
        drawn.drag((400, 300), (400 + 128, 300 + 144))
        assert "[0.3, 0.3, 0.6, 0.8]" in drawn.yaml("region")
        drawn.drag((500, 400), (5000, 5000))
        assert "[0.7, 0.5, 1, 1]" in drawn.yaml("region")  # not out of the picture


def test_a_corner_does_not_jump_to_a_pointer_that_has_missed_it(browser: Browser, box: FakeBox, config: Path):
    with_shapes(box, config)
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.click((400, 300))
        drawn.drag((326, 150), (326 - 64, 150 - 72))
        assert "[0.2, 0.1, 0.5, 0.6]" in drawn.yaml("region")


def test_steps_are_undone_one_by_one(browser: Browser, box: FakeBox, config: Path):
    with_shapes(box, config)
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        states = [drawn.yaml("region")]
        drawn.click((400, 300))
        drawn.drag((320, 144), (300, 100), (256, 72))
        states.append(drawn.yaml("region"))
        page.fill("#region-name", "door")
        states.append(drawn.yaml("region"))
        drawn.drag((400, 300), (464, 372))
        states.append(drawn.yaml("region"))
        page.click("[aria-label='Delete door']")
        assert page.locator(".yaml-block[data-kind=region] p").text_content() == (
            f"Remove regions: of camera dock in {config}."
        )
        drawn.step("undo")
        assert drawn.yaml("region") == states.pop()
        page.keyboard.press("Control+z")
        assert drawn.yaml("region") == states.pop()
        drawn.step("undo")
        assert drawn.yaml("region") == states.pop()
        drawn.step("undo")
        assert drawn.yaml("region") == states.pop() == ""
        assert page.locator("[data-step=undo]").is_disabled()


def test_escape_takes_back_what_is_not_finished(browser: Browser, box: FakeBox, config: Path):
    with_shapes(box, config)
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("region", "polygon")
        drawn.click((700, 100), (900, 100), (900, 300))
        page.keyboard.press("Escape")
        assert page.locator("[aria-pressed=true]").count() == 0
        drawn.click((400, 300))
        page.mouse.move(*drawn.place((400, 300)))
        page.mouse.down()
        page.mouse.move(*drawn.place((500, 400)))
        assert drawn.yaml("region") != ""
        page.keyboard.press("Escape")
        page.mouse.up()
        assert drawn.yaml("region") == ""
        assert page.locator("[data-step=undo]").is_disabled()


def test_everything_can_be_done_with_the_keyboard(browser: Browser, box: FakeBox, config: Path):
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        page.focus("[data-tool='region box']")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")  # places a shape in the middle, and goes to its first corner
        page.keyboard.press("Shift+ArrowLeft")
        for _ in range(3):
            page.keyboard.press("ArrowUp")
        assert page.locator(":focus").get_attribute("aria-label") == "Corner 1 of region-1: 374, 213"
        for key in ("Tab", "Tab", "Tab", "Tab", "ArrowRight"):  # to the whole shape
            page.keyboard.press(key)
        lines = drawn.yaml("region")
        page.keyboard.press("Delete")
        assert drawn.yaml("region") == ""
    checked(config, "dock", lines)
    assert np.array_equal(seen(config, "dock", "--region", "region-1"), PIXELS[213:504, 375:897])


def test_a_polygon_gets_and_loses_corners(browser: Browser, box: FakeBox):
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("region", "polygon")
        drawn.click((128, 72), (1152, 72), (1152, 648), (128, 72))
        drawn.click((1152, 72))
        drawn.step("addCorner")
        assert "[[0.1, 0.1], [0.9, 0.1], [0.9, 0.5], [0.9, 0.9]]" in drawn.yaml("region")
        drawn.step("removeCorner")
        assert "[[0.1, 0.1], [0.9, 0.5], [0.9, 0.9]]" in drawn.yaml("region")
        assert page.locator("[data-step=removeCorner]").is_disabled()


def test_the_drawing_stays_when_the_frame_changes(browser: Browser, box: FakeBox):
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("region", "polygon")
        drawn.click((128, 72), (1152, 72))
        box.looked("dock", frame=a_frame("b", PIXELS[::-1]))
        page.wait_for_selector(".surface img[src*='sha256=b']")
        drawn.click((1152, 648), (128, 72))
        assert "[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]" in drawn.yaml("region")
        box.looked("dock", frame=a_frame("c", PIXELS))
        page.wait_for_selector(".surface img[src*='sha256=c']")
        assert "[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]" in drawn.yaml("region")
        assert drawn.problems() == []


def test_a_picture_of_another_size_is_pointed_out(browser: Browser, box: FakeBox):
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("region", "box")
        drawn.drag((128, 72), (640, 360))
        box.looked("dock", frame=a_frame("turned", np.rot90(PIXELS)))
        page.wait_for_selector(".surface img[src*='sha256=turned']")
        assert drawn.problems() == [
            "The picture has changed from 1280×720 to 720×1280 pixels since you began. Check every shape."
        ]
        assert "[0.1, 0.1, 0.5, 0.5]" in drawn.yaml("region")
        turned = easel(page, HEIGHT, WIDTH)
        turned.drag((360, 640), (720, 640))  # its corner
        assert "[0.1, 0.1, 1, 0.5]" in drawn.yaml("region")


def test_a_camera_that_is_turned_has_regions_of_the_upright_picture(browser: Browser, box: FakeBox, config: Path):
    with opened(browser, f"{box.url}/camera/yard") as page:
        drawn = easel(page, HEIGHT, WIDTH)
        drawn.tool("region", "box")
        drawn.drag((31, 47), (690, 1111))
        lines = drawn.yaml("region")
    checked(config, "yard", lines)
    assert np.array_equal(seen(config, "yard", "--region", "region-1"), np.rot90(PIXELS, 3)[47:1111, 31:690])


def test_the_config_that_changes_meanwhile_does_not_take_the_drawing(browser: Browser, box: FakeBox, config: Path):
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("region", "box")
        drawn.drag((128, 72), (640, 360))
        with_shapes(box, config)
        page.wait_for_selector(".draw .notices li")
        assert drawn.problems() == [
            "The config's masks or regions have changed since you began. Discard to begin with the new ones."
        ]
        assert "region-1" in drawn.yaml("region")
        drawn.step("discard")
        assert page.locator(".shape").all_text_contents() == ["mask 1", "gate"]
        assert drawn.yaml("region") == ""


REFUSED: dict[str, tuple[Any, str]] = {
    "too thin": (
        ("region", "box", [(128, 72), (136, 648)]),
        "region-1 is too small: a region has at least 1 % of the picture's width and of its height.",
    ),
    "without area": (
        ("region", "polygon", [(128, 72), (640, 360), (1152, 648), (128, 72)]),
        "region-1 has no area: draw its corners in their order around it.",
    ),
    "a mask without area": (
        ("mask", "polygon", [(128, 72), (640, 360), (1152, 648), (128, 72)]),
        "mask 1 has no area: draw its corners in their order around it.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_shape_that_edged_would_refuse_says_why_and_has_no_lines(browser: Browser, box: FakeBox, case: str):
    (kind, form, pixels), why = REFUSED[case]
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool(kind, form)
        drawn.drag(*pixels) if form == "box" else drawn.click(*pixels)
        assert (drawn.problems(), drawn.yaml(kind)) == ([why], "")


def test_names_that_edged_would_refuse_say_why(browser: Browser, box: FakeBox, config: Path):
    paste(config, "dock", SHAPES)
    config.write_text(config.read_text().replace("answer: yes_no", "answer: yes_no, region: gate"))
    follow(box, config)
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("region", "box")
        drawn.drag((768, 72), (1152, 360))
        page.fill("#region-name", "Main Gate")
        assert drawn.problems() == ["A region's name consists of a-z, 0-9, _ and -."]
        page.fill("#region-name", "gate")
        assert drawn.problems() == ["Two regions have the name gate."]
        drawn.step("discard")
        page.click("[aria-label='Delete gate']")
        assert drawn.problems() == ['The question "open" is about the region gate, which is no longer there.']
        assert drawn.yaml("region") == ""


def test_every_name_that_the_page_takes_stays_a_name_in_yaml(browser: Browser, box: FakeBox, config: Path):
    names = ["123", "null", "true", "no", "-", "0x1f", "1e3", "_", "-5", "0o7", "y"]
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        for name in names:
            drawn.tool("region", "box")
            drawn.drag((768, 72), (1152, 360))
            page.fill("#region-name", name)
        lines = drawn.yaml("region")
    checked(config, "dock", lines)
    camera = load(config).camera("dock")
    assert camera
    assert [region.name for region in camera.regions] == names


def a_shape(rng: random.Random) -> dict[str, Any]:
    """Mostly near the limits of what is valid."""

    def share() -> float:
        near = rng.choice([0, 0.005, 0.01, 0.1, 0.11, 0.5, 0.99, 1, rng.uniform(-0.1, 1.1), rng.random()])
        return round(near + rng.choice([0, 0, 0.001, -0.001]), rng.choice([2, 3, 4, 9]))

    if rng.random() < 0.5:
        return {"box": [share() for _ in range(4)]}
    return {"polygon": [[share(), share()] for _ in range(rng.choice([2, 3, 3, 4, 5]))]}


def test_the_page_refuses_exactly_what_edged_refuses(browser: Browser, box: FakeBox):
    rng = random.Random(20)
    shapes = [(kind, a_shape(rng)) for _ in range(3000) for kind in ("mask", "region")]
    with opened(browser, f"{box.url}/camera/dock") as page:
        refused = page.evaluate(
            "async (shapes) => { const { refusalOf } = await import('/static/shapes.js');"
            " return shapes.map(([kind, shape]) => refusalOf({ kind, ...shape }) !== null); }",
            shapes,
        )
    differing = [each for each, by_page in zip(shapes, refused, strict=True) if by_page != is_refused(*each)]
    assert differing == []
    assert 500 < sum(refused) < 5500


def is_refused(kind: str, shape: dict[str, Any]) -> bool:
    try:
        (MaskForm if kind == "mask" else RegionForm).model_validate(shape)
    except ValueError:
        return True
    return False


def test_sides_that_cross_are_pointed_out(browser: Browser, box: FakeBox):
    with opened(browser, f"{box.url}/camera/dock") as page:
        drawn = easel(page)
        drawn.tool("mask", "polygon")
        drawn.click((128, 72), (1152, 648), (1152, 72), (128, 300), (128, 72))
        assert drawn.problems() == [
            "The sides of mask 1 cross. A part that they enclose in opposite directions is not masked."
        ]
        assert drawn.yaml("mask") != ""


@pytest.mark.parametrize("secure", [True, False])
def test_the_lines_can_be_copied(browser: Browser, box: FakeBox, secure: bool):
    with opened(browser, f"{box.url}/camera/dock") as page:
        if not secure:  # as over plain HTTP from another machine
            page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        drawn = easel(page)
        drawn.tool("region", "box")
        drawn.drag((768, 72), (1152, 360))
        lines = drawn.yaml("region")
        page.click("[data-kind=region] .copy")
        expect(page.locator("[data-kind=region] .copy")).to_have_text("Copied")
        page.focus("#region-name")
        page.keyboard.press("Control+a")
        page.keyboard.press("Control+v")  # one line of text only
        assert page.input_value("#region-name").split() == lines.split()
