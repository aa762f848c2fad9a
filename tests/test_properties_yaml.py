"""Lines of YAML that edged writes for its owner are read back by its own loader as exactly what they stand for."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, example, given, reject
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from support.config import CAMERA, write
from support.drawn import KINDS, TEXTS, mostly
from support.page_scripts import PageScripts, page_scripts
from support.properties import examples

from edged.config import ad_hoc, document
from edged.config.load import ConfigError, load
from edged.config.written import as_question
from edged.core.errors import EdgedError
from edged.core.requests import AdHoc
from edged.core.specs import CameraSpec, Config
from edged.page.state import camera as camera_state
from edged.service.snapshots import CameraSnapshot
from edged.tools import init


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config")


# texts that YAML takes for something else, or that begin or end something

TRAPS = st.sampled_from([
    "yes", "No", "on", "null", "~", "true", "1", "0x1f", "0o7", "1e3", "1_000", ".inf", "-.INF", ".nan", "12:30:45",
    "2026-11-29", "2026-11-29T19:55:53Z", "<<", "=", "---", "...", "- a", "? a", ": a", "a: b", "a:", "a #b", "#",
    "%YAML", "@a", "`a", "!tag", "&a", "*a", "|", ">", "'", '"', "''", '"a" b', "\\", "\\n", "[", "]", "{a: 1}",
    "a, b", "{secret:x}", " a", "a ", "\ta", "a\n", "a\nb", "a\r\nb", "\n\n", "\u0085", "\u2028", "\u00a0a",
    "\ufeff", "\u200b", "한국어", "\U0001f6aa", "\U0001f468\u200d\U0001f469", "\U000e0001", "e\u0301", "\x1b[2J",
    "\x7f", "$(a)", "${A}", "//", "a/b?",
])  # fmt: skip
PIECES = st.lists(TRAPS | TEXTS, min_size=1, max_size=3).map("".join)
LABELS = st.lists(PIECES.map(str.strip), min_size=2, max_size=4, unique=True)
VALUES = st.recursive(
    PIECES | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PIECES, inner, max_size=3),
    max_leaves=5,
)
ANSWERS = st.one_of(
    *[keys.map(lambda keys: {key: keys[key] for key in ("answer", "range") if key in keys}) for keys in KINDS.values()],
    LABELS.map(lambda labels: {"answer": labels}),
    st.builds(lambda labels, value: {"answer": {"choices": dict.fromkeys(labels, value)}}, LABELS, VALUES),
    st.builds(lambda values: {"answer": {"json": {"enum": values}}}, st.lists(VALUES, min_size=1, max_size=3)),
    st.dictionaries(PIECES, st.just({"type": "null"}), max_size=3).map(
        lambda keys: {"answer": {"json": {"type": "object", "properties": keys}}}
    ),
)
BASE = "mqtt: {allow_prompts: true}\n" + CAMERA + "    regions: {gate: {box: [0, 0, 0.5, 0.5]}}\n    ask:\n"


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    return load(write(folder, BASE + "      seen: {prompt: Seen?}\n"))


def as_somebody_else_writes(keys: dict[str, Any]) -> Any:
    """The keys, written by ruamel and read by edged; None if a config file cannot hold them."""
    text = io.StringIO()
    try:
        YAML(typ="safe", pure=True).dump(keys, text)
        parsed = document.parse(text.getvalue())
    except (YAMLError, UnicodeError):
        return None
    return None if parsed.problems else parsed.tree


@examples(60)
@example("Open\u2028or\u0085shut?", {}, None, None)  # line breaks of YAML
@given(PIECES, ANSWERS, st.none() | st.just("gate"), st.none() | st.integers(1, 4096))
def test_the_lines_for_a_prompt_that_was_tried_are_the_question_that_was_asked(
    folder: Path, config: Config, prompt: str, answer: dict[str, Any], region: str | None, tokens: int | None
):
    tried = AdHoc(prompt, region=region, max_new_tokens=tokens, **answer)
    try:
        asked = ad_hoc.question(config, config.cameras[0], tried)
    except EdgedError:
        reject()
    lines = as_question(tried, ["is_it_open"])
    if lines is None:
        event("no lines")
        keys = ad_hoc.given(tried)
        assert as_somebody_else_writes(keys) != keys, "a config file can hold it"
        return
    question = load(write(folder, BASE + lines)).cameras[0].questions[0]
    assert (question.prompt, question.answer) == (asked.prompt, asked.answer)
    assert json.dumps(ad_hoc.given(tried)) == json.dumps(document.parse(lines).tree[question.name]), "1 is not 1.0"
    assert (question.region, question.generation, question.prompt_rev) == (
        asked.region, asked.generation, asked.prompt_rev,
    )  # fmt: skip


# masks and regions, which the page's scripts write


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageScripts]:
    with page_scripts(tmp_path_factory.mktemp("scripts")) as scripts:
        yield scripts


SHARES = st.one_of(
    st.floats(0, 1),
    st.floats(0, 1).map(lambda share: round(share, 3)),
    st.sampled_from([0.0, 1.0, 0.01, 1e-7, 1.5e-21]),
)
POINTS = st.tuples(SHARES, SHARES).map(list)
SHAPES = st.one_of(
    st.tuples(SHARES, SHARES, SHARES, SHARES).map(lambda box: {"box": list(box)}),
    st.lists(POINTS, min_size=2, max_size=6).map(lambda corners: {"polygon": corners}),
)
LOW, HIGH = SHARES.map(lambda share: 0.4 * share), SHARES.map(lambda share: 1 - 0.4 * share)
LARGE_BOXES = st.tuples(LOW, LOW, HIGH, HIGH).map(lambda box: {"box": list(box)})
LARGE_POLYGONS = st.builds(
    lambda first, second, *more: {"polygon": [list(first), list(second), *map(list, more)]},
    st.tuples(LOW, LOW), st.tuples(HIGH, LOW), st.tuples(HIGH, HIGH),
)  # fmt: skip
LARGE = LARGE_BOXES | LARGE_POLYGONS
REGION_NAMES = st.text("ab10_-e", min_size=1, max_size=4) | st.sampled_from(["null", "true", "no", "0x1f", "1e3", "-"])


def with_shapes(folder: Path, lines: str) -> CameraSpec:
    return load(write(folder, CAMERA + "    ask: {seen: {prompt: Seen?}}\n" + lines)).cameras[0]


@examples(60)
@example(masks=[{"box": [1e-7, 1.5e-21, 1, 1]}], regions={})
@given(masks=st.lists(LARGE, max_size=3), regions=st.dictionaries(REGION_NAMES, LARGE, max_size=3))
def test_the_page_writes_masks_and_regions_as_the_config_has_them(
    folder: Path, scripts: PageScripts, config: Config, masks: list[Any], regions: dict[str, Any]
):
    try:
        own = with_shapes(folder, f"    mask: {json.dumps(masks)}\n    regions: {json.dumps(regions)}\n")
    except ConfigError as error:  # three corners may be on a line
        if "no area" not in str(error):
            raise
        reject()
    shapes = scripts.call("shapes.js", "shapesOf", camera_state(config, own, CameraSnapshot()))
    lines = [scripts.call("shapes-yaml.js", "yamlOf", kind, shapes)["lines"] for kind in ("mask", "region")]
    written = with_shapes(folder, "".join(lines))
    assert (written.mask, written.regions) == (own.mask, own.regions)


@pytest.mark.parametrize("kind", ["mask", "region"])
@examples(60)
@example(name="a" * 65, shape={"box": [0.1, 0.1, 0.9, 0.9]})
@given(name=mostly(REGION_NAMES, PIECES), shape=SHAPES | LARGE)
def test_the_page_refuses_exactly_the_shapes_that_the_config_refuses(
    folder: Path, scripts: PageScripts, kind: str, name: str, shape: dict[str, Any]
):
    refusals = [scripts.call("shapes.js", "refusalOf", {"kind": kind, "name": name, **shape})]
    if kind == "region":
        refusals.append(scripts.call("shapes.js", "nameRefusalOf", name))
    own = f"mask: [{json.dumps(shape)}]" if kind == "mask" else f"regions: {{{quoted(name)}: {json.dumps(shape)}}}"
    try:
        with_shapes(folder, f"    {own}\n")
    except ConfigError:
        event("refused")
        assert any(refusals)
        return
    event("accepted")
    assert not any(refusals)


def quoted(text: str) -> str:
    """As JSON, which is YAML too where it escapes nothing but the characters of the first plane."""
    escaped = "".join(char if ord(char) > 0xFFFF else json.dumps(char)[1:-1] for char in text)
    return f'"{escaped}"'


# the config of `edged init`

FILE_NAMES = PIECES.map(lambda text: re.sub("[/\0]", "-", text)).filter(
    lambda name: name not in ("", ".", "..") and len(name.encode()) < 200
)


@examples(60)
@example(name="a\u0085b", model="c\u2028d")  # line breaks of YAML
@example(name="12:30:45@a", model="m")
@given(name=FILE_NAMES, model=FILE_NAMES)
def test_init_writes_the_paths_that_it_was_given(tmp_path_factory: pytest.TempPathFactory, name: str, model: str):
    folder = tmp_path_factory.mktemp("init")
    source, path = folder / name, folder / "edged.yaml"
    if source == path:
        reject()
    source.write_bytes(b"a picture")
    try:
        starter = init.compose([str(source)], [], folder / model, folder)
        written = init.write(starter, path)
    except EdgedError:
        event("refused")
        assert not path.exists(), "a refused config is left behind"
        assert document.text_problem(name + model) or "{secret:" in name or "@" in name  # like a login
        return
    assert written.cameras[0].source.address.reveal() == str(source)
    assert str(written.model.path) == str(folder / model)
