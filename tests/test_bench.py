"""What `edged bench` measures, on models whose times are known and on a real, tiny one."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import time as time_of_day
from pathlib import Path
from unittest.mock import patch

import pytest
from rich.console import Console
from support.fakes import FakeModel
from support.making import frame, question

from edged.cli import main
from edged.core.errors import ModelError, Stopped
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, CameraSpec, Config, Cron, Every, Hours, ModelSpec, RegionSpec, SourceSpec
from edged.core.types import Reply
from edged.tools.bench import tables
from edged.tools.bench.figures import BenchResult, Figure, Need
from edged.tools.bench.measure import measure
from edged.tools.bench.timing import MAX_SAMPLES

KEYS = [
    "model", "revision", "picture", "load_s", "took_s", "see_ms", "prefill_tokens_per_s", "prefill_tokens",
    "decode_tokens_per_s", "rows", "workers", "cameras", "needed_looks_per_minute", "possible_looks_per_minute",
    "costliest",
]  # fmt: skip


class Clockwork(FakeModel):
    """Takes 20 ms to encode, 10 ms to ask, and 1 ms for each step of free text, by its own clock: see `measured`."""

    def __init__(self, encode_s: float = 0.02) -> None:
        super().__init__()
        self.encode_s = encode_s
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def encode(self, picture):
        self.now += self.encode_s
        return super().encode(picture)

    def ask(self, history, question, stop, on_text=None):
        if stop.is_set():
            raise Stopped
        steps = question.generation.max_new_tokens - 1 if question.answer.kind == "text" else 0
        self.now += 0.01 + 0.001 * steps
        self.asked.append((question.name, list(history)))
        return Reply("Yes", "done", 0.9, steps, 10.0)


def camera(name: str, *questions, schedule=None) -> CameraSpec:
    source = SourceSpec("path", Secret("/none"), "/none")
    return CameraSpec(name, source, schedule=schedule or Every(10.0), questions=questions)


def config(*cameras: CameraSpec, model: ModelSpec | None = None) -> Config:
    return Config("box", model or ModelSpec(Path("/none")), BrokerSpec(), cameras, "UTC", "r", Path("edged.yaml"))


def measured(model, seconds: float = 1.6, of: Config | None = None, tokens: int | None = 250):
    clock = model if isinstance(model, Clockwork) else time
    with patch("edged.tools.bench.timing.time", clock), patch("edged.tools.bench.measure.time", clock):
        return measure(model, frame(), of, lambda _: tokens, seconds, 1.5, threading.Event())


def near(figure: Figure, expected: float) -> bool:
    return figure.median == pytest.approx(expected, rel=0.001)  # figures have four digits


def test_the_figures_are_those_of_the_model():
    result = measured(Clockwork())
    assert near(result.see_ms, 20)
    assert near(result.prefill_tokens_per_s, 250 / 0.01)
    assert near(result.decode_tokens_per_s, 1000)
    assert [row.questions for row in result.rows] == [1, 2, 4, 8]
    for row in result.rows:
        assert near(row.shared_s, 0.02 + 0.01 * row.questions)
        assert near(row.apart_s, 0.03 * row.questions)
    assert (result.cameras, result.possible_looks_per_minute, result.costliest) == ([], None, None)
    assert 1 <= result.rows[3].apart_s.samples <= result.see_ms.samples


def test_it_ends_in_about_the_time_given():
    model = Clockwork()
    result = measured(model, seconds=0.5)
    assert 0.4 < model.now <= 0.5
    assert result.took_s == pytest.approx(model.now, rel=0.001)


def test_what_does_not_fit_the_time_has_no_figure():
    result = measured(Clockwork(encode_s=0.1), seconds=0.95)
    assert result.rows[3].apart_s == Figure(None, 0)
    assert result.rows[0].shared_s.samples > 0


def test_nothing_is_measured_before_the_first_calls_are_over():
    model = Clockwork()
    result = measured(model, seconds=0.0)
    assert (len(model.seen), len(model.asked)) == (1, 1)
    assert result.see_ms == Figure(None, 0)


def test_without_a_token_count_there_is_no_prefill_figure():
    assert measured(Clockwork(), seconds=0.5, tokens=None).prefill_tokens_per_s == Figure(None, 0)


@pytest.mark.parametrize("ended", ["context_overflow", "deadline"])
def test_a_reply_that_was_cut_off_is_no_sample(ended):
    class Cut(FakeModel):
        def ask(self, history, question, stop, on_text=None):
            return Reply("", ended, None, 0, 0.0)

    result = measured(Cut(), seconds=0.2)
    assert {row.shared_s.samples for row in result.rows} == {0}
    assert result.decode_tokens_per_s == Figure(None, 0)


def test_what_cameras_need_is_compared_with_what_the_box_can_do():
    short, then = question("A?", name="a"), question("B?", name="b")
    busy = camera("dock", replace(short, then=(then,)), question("C?", name="c"))
    rare = camera("yard", short, replace(question("D?", name="d"), every_s=100.0))
    result = measured(Clockwork(), of=config(busy, rare))
    dock, yard = result.cameras
    step = 0.01 + 0.011  # twelve tokens of free text
    assert (dock.looks_per_minute, yard.looks_per_minute) == (6.0, 6.0)
    assert near(dock.look_s, 0.02 + 3 * step)
    assert near(Figure(dock.busy_s_per_minute, 1), 6 * (0.02 + 3 * step))
    assert near(Figure(yard.busy_s_per_minute, 1), 6 * (0.02 + 1.1 * step)), "a question every tenth look"
    assert (result.needed_looks_per_minute, result.costliest) == (12.0, "dock")
    assert near(Figure(result.possible_looks_per_minute, 1), 12 * 60 / (6 * (0.04 + 4.1 * step)))


def test_each_region_costs_an_encode_as_often_as_one_of_its_questions_is_due():
    gate = RegionSpec("gate", (0, 0, 0.5, 0.5))
    questions = [question("A?", name="a"), replace(question("B?", name="b"), region=gate, every_s=100.0)]
    result = measured(Clockwork(encode_s=0.1), of=config(camera("dock", *questions)))
    step = 0.01 + 0.011
    assert near(result.cameras[0].look_s, 0.2 + 2 * step)
    assert near(Figure(result.cameras[0].busy_s_per_minute, 1), 6 * 1.1 * (0.1 + step))


def test_a_follow_up_is_asked_in_the_conversation():
    model = Clockwork()
    asking = replace(question("A?", name="a"), then=(question("B?", name="b"),))
    measured(model, seconds=0.3, of=config(camera("dock", asking)))
    history = next(history for name, history in model.asked if name == "b")
    assert [(turn.prompt, turn.reply) for turn in history] == [("A?", "Yes")]


def test_cameras_that_are_asked_the_same_are_measured_once():
    model = FakeModel()  # takes no time, so that every round is run
    same = question("A?", name="a")
    result = measured(model, 60.0, config(camera("one", same), camera("two", same)))
    asked = sum(1 for name, _ in model.asked if name == "a")
    assert asked == MAX_SAMPLES
    assert [need.look_s.samples for need in result.cameras] == [asked, asked]


def test_workers_multiply_what_the_box_can_do():
    pair = ((("text", "0:0"), ("vision", "0:1")), (("text", "1:0"), ("vision", "1:1")))
    cameras = camera("dock", question("A?", name="a"))
    one, two = (
        measured(Clockwork(), 0.4, config(cameras, model=ModelSpec(Path("/none"), workers=workers)))
        for workers in ((), pair)
    )
    assert (one.workers, two.workers) == (1, 2)
    assert two.possible_looks_per_minute > 1.5 * one.possible_looks_per_minute


def test_a_cron_schedule_counts_at_its_densest():
    spec = camera("dock", question("A?", name="a"), schedule=Cron("*/5 6-22 * * mon-fri"))
    result = measured(Clockwork(), 0.3, config(spec, camera("asks-nothing")))
    assert [(need.camera, need.looks_per_minute) for need in result.cameras] == [("dock", 0.2)]


def test_a_cron_schedule_counts_at_its_densest_within_its_hours():
    mornings = (Hours(frozenset(range(7)), time_of_day(6), time_of_day(6, 10)),)
    spec = replace(camera("dock", question("A?", name="a"), schedule=Cron("*/30 * * * *")), hours=mornings)
    result = measured(FakeModel(), 0.3, config(spec))
    assert result.cameras[0].looks_per_minute == pytest.approx(1 / 1440, rel=0.001)


def test_a_schedule_that_is_too_dense_for_the_box_is_reported():
    result = replace(
        measured(Clockwork(), 0.3, config(camera("dock", question("A?", name="a")))),
        cameras=[Need("dock", 600.0, Figure(0.2, 3), 120.0)],
        needed_looks_per_minute=600.0,
        possible_looks_per_minute=300.0,
    )
    assert "need 600 looks a minute; this box can do 300. That is too much" in shown(result)


@pytest.mark.parametrize("width", [40, 80])
def test_tables_fit_the_terminal(width):
    text = shown(measured(Clockwork(), 0.5, config(camera("dock", question("A?", name="a")))), width)
    assert max(map(len, text.splitlines())) <= width
    assert "dock" in text


def shown(result: BenchResult, width: int = 200) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        tables.show(result, console)
    return capture.get()


def test_a_stop_signal_ends_it():
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        measure(Clockwork(), frame(), None, lambda _: None, 5.0, 0.0, stop)


def test_a_model_that_fails_is_no_figure():
    with pytest.raises(ModelError):
        measured(FakeModel({"bench": ModelError("model: gone")}))


@pytest.mark.slow
def test_the_command_measures_a_real_model(tiny_folder: Path, tmp_path: Path, capsys):
    path = tmp_path / "edged.yaml"
    path.write_text(
        f"model: {{path: {tiny_folder}, max_new_tokens: 8}}\ncameras:\n  dock:\n    source: none.png\n    every: 30s\n"
        "    ask: {people: {prompt: How many?, answer: integer, then: {sure: {prompt: Sure?, answer: yes_no}}}}\n"
    )
    assert main(["bench", "--config", str(path), "--seconds", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result) == KEYS
    assert (result["model"], result["picture"], result["costliest"]) == (tiny_folder.name, [1280, 720], "dock")
    assert result["see_ms"]["median"] > 0
    assert result["prefill_tokens"] > 250
    assert result["cameras"][0]["look_s"]["samples"] > 0
    assert result["possible_looks_per_minute"] > result["needed_looks_per_minute"] == 2.0


@pytest.mark.slow
def test_with_a_model_no_config_is_needed(tiny_folder: Path, tmp_path: Path, capsys):
    from PIL import Image

    Image.new("RGB", (64, 48)).save(tmp_path / "small.png")
    code = main(["bench", "--model", str(tiny_folder), "--image", str(tmp_path / "small.png"), "--seconds", "1"])
    printed = capsys.readouterr().out
    assert code == 0
    assert "picture 64x48" in printed
    assert "camera" not in printed


def test_a_missing_config_is_one_sentence(tmp_path: Path, capsys):
    assert main(["bench", "--config", str(tmp_path / "none.yaml")]) == 78
    assert capsys.readouterr().err == f"{tmp_path}/none.yaml: file not found\n"
