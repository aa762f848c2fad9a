"""What `edged bench` measures, on models whose times are known and on a real, tiny one."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import time as time_of_day
from pathlib import Path

import pytest
from rich.console import Console
from support.fakes import FakeModel
from support.making import frame, question

from edged.cli import main
from edged.core.errors import ModelError, Stopped
from edged.core.secret import Secret
from edged.core.specs import BrokerSpec, CameraSpec, Config, Cron, Every, Hours, ModelSpec, SourceSpec
from edged.core.types import Reply
from edged.tools import bench
from edged.tools.bench import Figure, Need

KEYS = [
    "model", "revision", "picture", "load_s", "took_s", "see_ms", "prefill_tokens_per_s", "prefill_tokens",
    "decode_tokens_per_s", "rows", "workers", "cameras", "needed_looks_per_minute", "possible_looks_per_minute",
    "costliest",
]  # fmt: skip


class Clockwork(FakeModel):
    """Takes 20 ms to see, 10 ms to ask, and 1 ms a step of free text."""

    def __init__(self, see_s: float = 0.02) -> None:
        super().__init__(see_s=see_s)

    def ask(self, history, question, stop, on_text=None):
        if stop.is_set():
            raise Stopped
        steps = question.generation.max_new_tokens - 1 if question.answer.kind == "text" else 0
        time.sleep(0.01 + 0.001 * steps)
        self.asked.append((question.name, list(history)))
        return Reply("Yes", "done", 0.9, steps, 10.0)


def camera(name: str, *questions, schedule=None) -> CameraSpec:
    source = SourceSpec("path", Secret("/none"), "/none")
    return CameraSpec(name, source, schedule=schedule or Every(10.0), questions=questions)


def config(*cameras: CameraSpec, model: ModelSpec | None = None) -> Config:
    return Config("box", model or ModelSpec(Path("/none")), BrokerSpec(), cameras, "UTC", "r", Path("edged.yaml"))


def measured(model, seconds: float = 1.6, of: Config | None = None, tokens: int | None = 250):
    return bench.measure(model, frame(), of, lambda _: tokens, seconds, 1.5, threading.Event())


def near(figure: Figure, expected: float) -> bool:
    assert figure.median is not None
    return 0.7 * expected < figure.median < 1.6 * expected


def test_the_figures_are_those_of_the_model():
    made = measured(Clockwork())
    assert near(made.see_ms, 20)
    assert near(made.prefill_tokens_per_s, 250 / 0.01)
    assert near(made.decode_tokens_per_s, 1000)
    assert [row.questions for row in made.rows] == [1, 2, 4, 8]
    for row in made.rows:
        assert near(row.shared_s, 0.02 + 0.01 * row.questions)
        assert near(row.apart_s, 0.03 * row.questions)
    assert (made.cameras, made.possible_looks_per_minute, made.costliest) == ([], None, None)
    assert 1 <= made.rows[3].apart_s.samples <= made.see_ms.samples


def test_it_ends_in_about_the_time_that_it_was_given():
    begun = time.monotonic()
    measured(Clockwork(), seconds=0.5)
    assert time.monotonic() - begun < 1.2


def test_what_does_not_fit_the_time_has_no_figure():
    made = measured(Clockwork(see_s=0.1), seconds=0.95)
    assert made.rows[3].apart_s == Figure(None, 0)
    assert made.rows[0].shared_s.samples > 0


def test_nothing_is_measured_before_the_first_calls_are_over():
    model = Clockwork()
    made = measured(model, seconds=0.0)
    assert (len(model.seen), len(model.asked)) == (1, 1)
    assert made.see_ms == Figure(None, 0)


def test_without_a_token_count_there_is_no_prefill_figure():
    assert measured(Clockwork(), seconds=0.5, tokens=None).prefill_tokens_per_s == Figure(None, 0)


@pytest.mark.parametrize("ended", ["context_overflow", "deadline"])
def test_a_reply_that_was_cut_off_is_no_sample(ended):
    class Cut(FakeModel):
        def ask(self, history, question, stop, on_text=None):
            return Reply("", ended, None, 0, 0.0)

    made = measured(Cut(), seconds=0.2)
    assert {row.shared_s.samples for row in made.rows} == {0}
    assert made.decode_tokens_per_s == Figure(None, 0)


def test_what_cameras_need_against_what_the_box_can_give():
    short, then = question("A?", name="a"), question("B?", name="b")
    busy = camera("dock", replace(short, then=(then,)), question("C?", name="c"))
    rare = camera("yard", short, replace(question("D?", name="d"), every_s=100.0))
    made = measured(Clockwork(), of=config(busy, rare))
    dock, yard = made.cameras
    step = 0.01 + 0.011  # twelve tokens of free text
    assert (dock.looks_per_minute, yard.looks_per_minute) == (6.0, 6.0)
    assert near(dock.look_s, 0.02 + 3 * step)
    assert near(Figure(dock.busy_s_per_minute, 1), 6 * (0.02 + 3 * step))
    assert near(Figure(yard.busy_s_per_minute, 1), 6 * (0.02 + 1.1 * step)), "a question every tenth look"
    assert (made.needed_looks_per_minute, made.costliest) == (12.0, "dock")
    assert near(Figure(made.possible_looks_per_minute, 1), 12 * 60 / (6 * (0.04 + 4.1 * step)))


def test_a_follow_up_is_asked_in_the_conversation():
    model = Clockwork()
    asking = replace(question("A?", name="a"), then=(question("B?", name="b"),))
    measured(model, seconds=0.3, of=config(camera("dock", asking)))
    told = next(history for name, history in model.asked if name == "b")
    assert [(turn.prompt, turn.reply) for turn in told] == [("A?", "Yes")]


def test_cameras_that_are_asked_the_same_are_measured_once():
    model = FakeModel()  # takes no time, so that every round is made
    same = question("A?", name="a")
    made = measured(model, 60.0, config(camera("one", same), camera("two", same)))
    asked = sum(1 for name, _ in model.asked if name == "a")
    assert asked == bench.MOST_SAMPLES
    assert [need.look_s.samples for need in made.cameras] == [asked, asked]


def test_workers_multiply_what_the_box_can_give():
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
    made = measured(Clockwork(), 0.3, config(spec, camera("asks-nothing")))
    assert [(need.camera, need.looks_per_minute) for need in made.cameras] == [("dock", 0.2)]


def test_a_cron_schedule_counts_at_its_densest_within_its_hours():
    mornings = (Hours(frozenset(range(7)), time_of_day(6), time_of_day(6, 10)),)
    spec = replace(camera("dock", question("A?", name="a"), schedule=Cron("*/30 * * * *")), hours=mornings)
    made = measured(FakeModel(), 0.3, config(spec))
    assert made.cameras[0].looks_per_minute == pytest.approx(1 / 1440, rel=0.001)


def test_too_much_is_said():
    made = replace(
        measured(Clockwork(), 0.3, config(camera("dock", question("A?", name="a")))),
        cameras=[Need("dock", 600.0, Figure(0.2, 3), 120.0)],
        needed_looks_per_minute=600.0,
        possible_looks_per_minute=300.0,
    )
    assert "need 600 looks a minute; this box can give 300 of them. That is too much" in shown(made)


@pytest.mark.parametrize("width", [40, 80])
def test_tables_fit_the_terminal(width):
    text = shown(measured(Clockwork(), 0.5, config(camera("dock", question("A?", name="a")))), width)
    assert max(map(len, text.splitlines())) <= width
    assert "dock" in text


def shown(made, width: int = 200) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        bench.show(made, console)
    return capture.get()


def test_told_to_stop_it_stops():
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        bench.measure(Clockwork(), frame(), None, lambda _: None, 5.0, 0.0, stop)


def test_a_model_that_fails_is_no_figure():
    with pytest.raises(ModelError):
        measured(FakeModel({"bench": ModelError("model: gone")}))


def test_the_command_measures_a_real_model(tiny_folder: Path, tmp_path: Path, capsys):
    path = tmp_path / "edged.yaml"
    path.write_text(
        f"model: {{path: {tiny_folder}, max_new_tokens: 8}}\ncameras:\n  dock:\n    source: none.png\n    every: 30s\n"
        "    ask: {people: {prompt: How many?, answer: integer, then: {sure: {prompt: Sure?, answer: yes_no}}}}\n"
    )
    assert main(["bench", "--config", str(path), "--seconds", "2", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert list(made) == KEYS
    assert (made["model"], made["picture"], made["costliest"]) == (tiny_folder.name, [1280, 720], "dock")
    assert made["see_ms"]["median"] > 0
    assert made["prefill_tokens"] > 250
    assert made["cameras"][0]["look_s"]["samples"] > 0
    assert made["possible_looks_per_minute"] > made["needed_looks_per_minute"] == 2.0


def test_a_model_of_ones_own_choice_needs_no_config(tiny_folder: Path, tmp_path: Path, capsys):
    from PIL import Image

    Image.new("RGB", (64, 48)).save(tmp_path / "small.png")
    code = main(["bench", "--model", str(tiny_folder), "--image", str(tmp_path / "small.png"), "--seconds", "1"])
    said = capsys.readouterr().out
    assert code == 0
    assert "picture 64x48" in said
    assert "camera" not in said


def test_without_a_config_it_is_said_in_a_sentence(tmp_path: Path, capsys):
    assert main(["bench", "--config", str(tmp_path / "none.yaml")]) == 78
    assert capsys.readouterr().err == "none.yaml: there is no such file\n"
