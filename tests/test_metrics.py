"""The metrics: what each look adds, which labels there are, and that a reload removes them."""

from __future__ import annotations

import ctypes
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import time as clock
from pathlib import Path
from typing import Any

import pytest
from support.broker import an_answer, until
from support.metered import Box, complete
from support.scraping import samples
from support.world import CONFIG, GATE, PEOPLE, camera

from edged.core.errors import CameraError, ModelError
from edged.core.specs import Cron, Every, Hours
from edged.core.types import CameraState, NpuFigures, utc_now
from edged.service import bridge, npu_reading
from edged.service.lateness import Lateness
from edged.service.look_meter import BUCKETS_S, LookMeter
from edged.service.scheduler import Schedule
from edged.vlm.npu_monitor import NpuMonitor

PACKAGE = Path(__file__).parent.parent / "edged"
IN_THREE_DAYS = Hours(frozenset({(utc_now().weekday() + 3) % 7}), clock(0), clock(23, 59))


@pytest.fixture
def box() -> Iterator[Box]:
    with Box() as box:
        yield box


def test_looks_are_counted_by_camera(box: Box):
    assert box.values("edged_looks_total") == {"dock": 0, "yard": 0, "shop": 0}
    box.world.look()
    box.world.service.looks.look(box.world.service.cameras["dock"])
    assert box.values("edged_looks_total") == {"dock": 2, "yard": 1, "shop": 1}


def test_answers_are_counted_by_camera_question_and_status(box: Box):
    box.world.look()
    box.world.cameras[0].grabs = [CameraError("unplugged")]
    box.world.look()
    counted = box.values("edged_answers_total")
    assert counted["dock people ok"] == 1
    assert counted["dock people camera_down"] == 1
    assert counted["dock car camera_down"] == 1
    assert counted["yard people ok"] == 2
    assert "yard people camera_down" not in counted


def test_a_stage_is_counted_once_where_answers_share_it():
    meter = LookMeter()
    first, second = an_answer("a", question="people"), an_answer("b", question="gate")
    other = replace(
        an_answer("c", question="door"), region="door", timing_ms={"grab": 38, "encode": 90, "answer": 3000}
    )
    meter.add([first, second, other])
    durations = meter.durations()
    assert {stage: sum(taken.counts) for stage, taken in durations.items()} == {"grab": 1, "encode": 2, "answer": 3}
    totals_s = {stage: round(taken.total_s, 3) for stage, taken in durations.items()}
    assert totals_s == {"grab": 0.038, "encode": 0.4, "answer": 3.424}


def test_an_answer_that_is_repeated_adds_no_encode_and_no_generation():
    meter = LookMeter()
    timing: dict[str, float | None] = {"grab": 38.0, "encode": None, "answer": None}
    meter.add([replace(an_answer("a"), reuse_of="b", timing_ms=timing)])
    assert {stage: sum(durations.counts) for stage, durations in meter.durations().items()} == {
        "grab": 1,
        "encode": 0,
        "answer": 0,
    }


def test_the_buckets_of_a_stage_are_cumulative_and_their_bounds_are_inclusive(box: Box):
    meter = box.world.service.cameras["dock"].meter
    for milliseconds in (10.0, 11.0, 60_000.0):
        timing: dict[str, float | None] = {"grab": milliseconds, "encode": None, "answer": None}
        meter.add([replace(an_answer("a"), timing_ms=timing)])
    buckets = box.values("edged_stage_seconds_bucket")
    assert [buckets[f"dock {bound} grab"] for bound in ("0.01", "0.03", "30.0", "+Inf")] == [1, 2, 2, 3]
    assert len([key for key in buckets if key.startswith("dock ") and key.endswith(" grab")]) == len(BUCKETS_S) + 1
    assert box.values("edged_stage_seconds_count")["dock grab"] == 3
    assert box.values("edged_stage_seconds_sum")["dock grab"] == pytest.approx(60.021)


def test_a_camera_is_up_while_it_delivers_pictures(box: Box):
    assert box.values("edged_camera_up") == {"dock": 1, "yard": 1, "shop": 1}
    box.world.cameras[0].report(CameraState(False, "unplugged", utc_now()))
    assert box.values("edged_camera_up") == {"dock": 0, "yard": 1, "shop": 1}
    assert box.values("edged_camera_reconnects_total")["dock"] == 2
    assert box.values("edged_camera_damaged_pictures_total")["dock"] == 3


def test_a_paused_camera_is_not_active_and_not_overdue(box: Box):
    box.world.look()
    box.world.service.set_active("dock", None, False)
    assert box.values("edged_camera_active") == {"dock": 0, "yard": 1, "shop": 1}
    assert box.values("edged_camera_up")["dock"] == 0
    assert set(box.values("edged_look_age_seconds")) == {"yard", "shop"}
    assert box.values("edged_answers_total")["dock people not_asked"] == 1
    box.world.service.set_active("dock", None, True)
    assert box.values("edged_camera_active")["dock"] == 1
    assert box.values("edged_looks_total")["dock"] == 1


def test_the_model_is_down_before_it_is_loaded_and_while_its_calls_fail():
    box = Box()
    box.world.service.open_store()
    box.world.service.open_publisher()
    assert box.value("edged_model_up") == 0
    assert box.values("edged_model_info") == {}
    with box:
        assert box.value("edged_model_up") == 1
        assert box.values("edged_model_info") == {"m1 r1": 1}
        box.world.models[0].replies["people"] = ModelError("model: broken")
        box.world.look()
        assert box.value("edged_model_up") == 0
        box.world.models[0].replies["people"] = "3"
        box.world.look()
        assert box.value("edged_model_up") == 1


def test_a_reload_removes_the_labels_of_cameras_and_questions_that_are_gone(box: Box):
    box.world.look()
    box.reload(replace(CONFIG, cameras=(camera("dock", PEOPLE), camera("new", GATE)), rev="r2"))
    labels = {frozenset(labels.items()) for _, labels, _ in samples(box.metrics.text().decode())}
    named = {dict(pairs).get("camera") for pairs in labels} - {None}
    asked = {(dict(pairs).get("camera"), dict(pairs).get("question")) for pairs in labels if "question" in dict(pairs)}
    assert named == {"dock", "new"}
    assert asked == {("dock", "people")}
    assert box.values("edged_config_info") == {"r2": 1}


def test_a_reload_that_opens_a_camera_again_keeps_its_counts(box: Box):
    box.world.look()
    box.reload(replace(CONFIG, cameras=(camera("dock", GATE, PEOPLE, address="b"), *CONFIG.cameras[1:])))
    box.world.look()
    assert box.values("edged_answers_total")["dock people ok"] == 2
    assert box.values("edged_looks_total")["dock"] == 2
    assert box.values("edged_stage_seconds_count")["dock encode"] == 2


def test_a_scrape_never_fails_while_cameras_come_and_go(box: Box):
    few = replace(CONFIG, cameras=(camera("new", GATE, address="b"), CONFIG.cameras[0]), rev="r2")
    texts: list[bytes] = []
    errors: list[Exception] = []
    done = threading.Event()

    def scrape() -> None:
        while not done.is_set():
            try:
                texts.append(box.metrics.text())
            except Exception as error:
                errors.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    for config in [few, CONFIG] * 15:
        box.reload(config)
        box.world.look()
    done.set()
    thread.join(30)
    assert errors == []
    assert len(set(texts)) > 10


def test_a_config_that_was_not_loaded_is_counted_until_it_is(box: Box):
    assert box.value("edged_config_problems") == 0
    box.problems = ["edged.yaml:3: one", "edged.yaml:4: two"]
    assert box.value("edged_config_problems") == 2


def test_bridge_health_has_the_figures_of_the_model():
    box = Box()
    box.world.service.open_store()
    box.world.service.open_publisher()
    before = bridge.health(box.world.service, 12.0)["model"]
    assert before == {"up": False, "workers": 0, "encode_s": None, "answer_s": None}
    with box:
        cameras = box.world.service.cameras
        cameras["dock"].meter.add([an_answer("a"), an_answer("b", question="gate")])
        slow = replace(an_answer("c"), timing_ms={"grab": 38, "encode": 620, "answer": 424})
        cameras["yard"].meter.add([slow])
        loaded = bridge.health(box.world.service, 12.0)["model"]
        assert loaded == {"up": True, "workers": 1, "encode_s": 0.465, "answer_s": 0.283}
        box.world.models[0].replies["people"] = ModelError("model: broken")
        box.world.look()
        assert bridge.health(box.world.service, 12.0)["model"]["up"] is False


def test_the_figures_are_those_of_bridge_health(box: Box):
    box.world.look()
    health = bridge.health(box.world.service, 12.0)
    assert box.value("edged_uptime_seconds") == health["uptime_s"] == 12
    assert box.value("edged_lateness_seconds") == health["lateness_s"]
    assert box.value("edged_waiting_looks") == health["waiting_looks"]
    assert box.value("edged_model_up") == health["model"]["up"]
    assert box.value("edged_broker_up") == health["broker"]["connected"]
    assert box.value("edged_outbox_messages") == health["broker"]["waiting"]
    assert box.value("edged_outbox_dropped_total") == health["broker"]["dropped"]
    assert box.value("edged_store_bytes") == health["store"]["bytes"]
    assert box.value("edged_resident_memory_bytes") == pytest.approx(health["process"]["resident_bytes"], rel=0.1)
    assert {f"{name}" for name in health["cameras"]} == set(box.values("edged_camera_up"))


def test_skipped_looks_are_counted_by_reason():
    """A look that takes longer than the interval, and a camera outside of its hours."""
    with Box(replace(CONFIG, cameras=(camera("dock", PEOPLE), camera("yard", PEOPLE)))) as box:
        schedule = box.world.service.schedule
        schedule.start()
        slow = replace(box.world.config.cameras[0], schedule=Every(0.1))
        closed = replace(box.world.config.cameras[1], schedule=Every(0.5), hours=(IN_THREE_DAYS,))
        box.world.models[0].see_s = 0.5
        for spec in (slow, closed):
            schedule.add(spec, "UTC")
        until(lambda: box.values("edged_looks_skipped_total")["dock busy"] > 0)
        until(lambda: box.values("edged_looks_skipped_total")["yard outside_hours"] > 1)
        skipped = box.values("edged_looks_skipped_total")
        assert skipped["dock outside_hours"] == skipped["yard busy"] == 0
        assert box.values("edged_looks_total")["yard"] == 0
        schedule.stop()


def test_the_age_of_a_look_counts_from_its_end():
    looking, ended = threading.Event(), threading.Event()

    def look(_: str) -> None:
        looking.set()
        ended.wait(10)

    schedule = Schedule(look, 1, Lateness())
    schedule.add(replace(camera("dock", PEOPLE), schedule=Every(0.1)), "UTC")
    added_at = schedule.ticks("dock").done_at
    schedule.start()
    assert looking.wait(10)
    assert schedule.ticks("dock").done_at == added_at
    ended.set()
    until(lambda: schedule.ticks("dock").done_at != added_at)
    schedule.stop()


def test_outside_of_its_hours_a_camera_is_not_overdue():
    schedule = Schedule(lambda _: None, 1, Lateness())
    schedule.add(replace(camera("dock", PEOPLE), schedule=Every(0.1), hours=(IN_THREE_DAYS,)), "UTC")
    added_at = schedule.ticks("dock").done_at
    schedule.start()
    until(lambda: schedule.ticks("dock").done_at != added_at)
    assert schedule.ticks("dock").outside_hours > 0
    schedule.stop()


def test_a_camera_without_questions_is_not_overdue(box: Box):
    box.reload(replace(CONFIG, cameras=(camera("dock"), camera("yard", PEOPLE, schedule=Cron("0 6 * * *")))))
    assert set(box.values("edged_look_age_seconds")) == {"yard"}
    assert box.values("edged_look_interval_seconds") == {"yard": 86_400}
    assert set(box.values("edged_camera_up")) == {"dock", "yard"}


def test_one_module_alone_imports_the_library():
    users = [path.name for path in PACKAGE.rglob("*.py") if "prometheus_client" in path.read_text()]
    assert users == ["metrics.py"]


def test_the_table_of_the_readme_has_every_metric_with_its_labels():
    table = (PACKAGE.parent / "README.md").read_text().split("| metric | labels | meaning |")[1].split("\n\n")[0]
    listed: dict[str, set[str]] = {}
    for names, labels in re.findall(r"^\| (`edged_.*?) \| (.*?)\|", table, re.MULTILINE):
        listed |= {
            name: {label.strip() for label in labels.split(",")} - {""} for name in re.findall(r"`(\w+)`", names)
        }
    buckets = {"_bucket", "_sum", "_count"}
    exposed = {
        re.sub(rf"({'|'.join(buckets)})$", "", name) if name.startswith("edged_stage") else name: labels - {"le"}
        for name, labels in complete().items()
    }
    assert exposed.keys() == listed.keys()
    assert {name: labels for name, labels in exposed.items() if not labels <= listed[name]} == {}


def test_a_scrape_takes_less_than_10_ms():
    """Four cameras with eight questions that have been ok, unsure and timeout: CPU time, the best of 30."""
    questions = tuple(replace(PEOPLE, name=f"q{number}") for number in range(8))
    with Box(replace(CONFIG, cameras=tuple(camera(f"camera{number}", *questions) for number in range(4)))) as box:
        for runtime in box.world.service.cameras.values():
            for status in ("ok", "unsure", "timeout"):
                runtime.meter.add([replace(an_answer("a", question=q.name), status=status) for q in questions])
        best = min(_cpu_s(box.metrics.text) for _ in range(30))
        assert best < 0.01


def _cpu_s(call: Any) -> float:
    begun = time.thread_time()
    call()
    return time.thread_time() - begun


# the NPU, with a simulation of the vendor's C library


class FakeLibrary:
    """The C functions of mbltml that edged uses: they write to a pointer and return a status."""

    def __init__(self, temperatures: list[int], loads: list[float]) -> None:
        self.temperatures, self.loads = temperatures, loads
        self.initialised = 0

    def mbltmlInit(self) -> int:  # noqa: N802  # the vendor's names
        self.initialised += 1
        return 0

    def mbltmlGetDeviceCount(self, count: Any) -> int:  # noqa: N802
        return self._write(count, ctypes.c_uint, len(self.temperatures))

    def mbltmlGetTemperature(self, device: int, value: Any) -> int:  # noqa: N802
        if self.temperatures[device] < 0:
            return 4  # MBLTML_NOT_SUPPORTED
        return self._write(value, ctypes.c_int, self.temperatures[device])

    def mbltmlGetTotalUtilization(self, device: int, value: Any) -> int:  # noqa: N802
        return self._write(value, ctypes.c_double, self.loads[device])

    def _write(self, pointer: Any, kind: Any, value: float) -> int:
        ctypes.cast(pointer, ctypes.POINTER(kind))[0] = value
        return 0


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    (tmp_path / "aries0").touch()
    return tmp_path


def use(monkeypatch: pytest.MonkeyPatch, library: FakeLibrary) -> FakeLibrary:
    mbltml = pytest.importorskip("mbltml")
    monkeypatch.setattr(sys.modules[mbltml.mbltmlInit.__module__], "_clib", library)
    return library


def test_temperature_and_load_of_each_npu_are_read(devices: Path, monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, FakeLibrary([47, 51], [0.25, 60.0]))
    monitor = NpuMonitor(devices)
    assert monitor.figures() == [NpuFigures(0, 47.0, 0.25), NpuFigures(1, 51.0, 0.6)]


def test_the_library_is_initialised_once(devices: Path, monkeypatch: pytest.MonkeyPatch):
    library = use(monkeypatch, FakeLibrary([47], [0.25]))
    monitor = NpuMonitor(devices)
    monitor.figures()
    monitor.figures()
    assert library.initialised == 1


def test_a_value_that_the_npu_does_not_report_is_left_out(devices: Path, monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, FakeLibrary([-1], [0.25]))
    with Box() as box:
        box.world.service.factories = replace(box.world.factories, npu_figures=NpuMonitor(devices).figures)
        assert box.values("edged_npu_temperature_celsius") == {}
        assert box.values("edged_npu_utilization_ratio") == {"0": 0.25}


def test_a_driver_that_hangs_leaves_out_its_values_until_it_answers(
    box: Box, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(npu_reading, "LIMIT_S", 0.05)
    answers, calls = threading.Event(), []

    def read() -> list[NpuFigures]:
        calls.append(0)
        assert answers.wait(20)
        return [NpuFigures(0, 40.0, 0.5)]

    box.world.service.factories = replace(box.world.factories, npu_figures=read)
    with caplog.at_level(logging.INFO):
        assert [box.values("edged_npu_temperature_celsius") for _ in range(3)] == [{}, {}, {}]
        assert len(calls) == 1
        answers.set()
        until(lambda: box.values("edged_npu_temperature_celsius") == {"0": 40.0})
    assert caplog.messages[0] == "metrics: the NPU driver does not respond; temperature and load are not reported"
    assert caplog.messages[1].startswith("metrics: the NPU driver responds again after ")
    assert len(caplog.messages) == 2


def test_without_an_npu_the_library_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    library = use(monkeypatch, FakeLibrary([47], [0.25]))
    assert NpuMonitor(tmp_path).figures() == []
    assert library.initialised == 0


def test_an_npu_that_cannot_be_read_is_said_once(
    devices: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    library = use(monkeypatch, FakeLibrary([47], [0.25]))
    monkeypatch.setattr(library, "mbltmlInit", lambda: 1)  # MBLTML_UNINITIALIZED
    monitor = NpuMonitor(devices)
    with caplog.at_level(logging.INFO):
        assert monitor.figures() == monitor.figures() == []
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("metrics: NPU temperature and load are not available: ")
