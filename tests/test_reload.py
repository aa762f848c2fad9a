"""A reload changes what the config changed and nothing else. One that fails half-way leaves everything as it was.

After each reload, what runs is compared with the config: cameras, schedule, model and retained messages.
"""

from __future__ import annotations

import gc
import logging
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from support.broker import until
from support.fakes import FakeModel
from support.world import CONFIG, GATE, PEOPLE, ReportingCamera, World, camera, fake_publisher

from edged.core.answer_types import Text
from edged.core.conditions import OneOf
from edged.core.errors import CannotGoOn, EdgedError, FileUnusable, ModelError, ModelFolderError
from edged.core.interfaces import VisionModel
from edged.core.secret import Secret
from edged.core.specs import AlertSpec, BrokerSpec, Config, Every, ModelSpec, QuestionSpec, RegionSpec, SourceSpec
from edged.core.types import CameraState, Frame, utc_now
from edged.service.reload import Reload
from edged.service.service import Service


def edited(name: str, **changes: Any) -> Callable[[Config], Config]:
    def edit(config: Config) -> Config:
        return replace(config, cameras=tuple(replace(c, **changes) if c.name == name else c for c in config.cameras))

    return edit


# every kind of change
CHANGES: dict[str, Callable[[Config], Config]] = {
    "camera added": lambda c: replace(c, cameras=(*c.cameras, camera("new", GATE))),
    "camera removed": lambda c: replace(c, cameras=tuple(camera for camera in c.cameras if camera.name != "shop")),
    "source changed": edited("yard", source=SourceSpec("path", Secret("b"), "b")),
    "secret rotated": edited("yard", source=SourceSpec("path", Secret("c"), "a")),
    "prompt changed": edited("dock", questions=(replace(GATE, prompt="Shut?"), PEOPLE)),
    "question removed": edited("dock", questions=(PEOPLE,)),
    "question added": edited("shop", questions=(GATE, PEOPLE)),
    "picture off": edited("yard", image=None),
    "interval changed": edited("shop", schedule=Every(7.0)),
    "all questions removed": edited("yard", questions=()),
    "time zone changed": lambda c: replace(c, timezone="Asia/Seoul"),
    "model changed": lambda c: replace(c, model=ModelSpec(Path("m2"))),
    "broker changed": lambda c: replace(c, mqtt=BrokerSpec("second")),
    "broker's password rotated": lambda c: replace(c, mqtt=replace(c.mqtt, username="u", password=Secret("p"))),
    "node changed": lambda c: replace(c, node="other"),
}


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.start()
    world.look()
    yield world
    world.broken.clear()
    world.service.queue.halt()
    world.service.close_cameras("stopped")
    until(world.service.queue.gone)
    assert all(model.disposed == 1 for model in world.models)
    assert all(camera.closed >= 1 for camera in world.cameras if camera.started)


def assert_runs(world: World, config: Config) -> None:
    """What runs, and what is retained on the brokers, follows from this config."""
    service = world.service
    assert service.config == config
    assert {name: runtime.spec for name, runtime in service.cameras.items()} == {c.name: c for c in config.cameras}
    assert {runtime.config_rev for runtime in service.cameras.values()} == {config.rev}
    running = [runtime.camera for runtime in service.cameras.values()]
    assert [camera.closed for camera in running if isinstance(camera, ReportingCamera)] == [0] * len(running)
    open_cameras = [camera for camera in world.cameras if camera.started and not camera.closed]
    assert open_cameras == [camera for camera in world.cameras if camera in running]
    scheduled = {c.name for c in config.cameras if service.schedule.has(c.name)}
    assert scheduled == {c.name for c in config.cameras if c.questions}
    assert [model.name for model in service.queue.models()] == [str(config.model.path)]
    assert [model.name for model in world.models if not model.disposed] == [str(config.model.path)]
    publisher = fake_publisher(service)
    assert (publisher.spec, publisher.node, publisher.started) == (config.mqtt, config.node, True)
    assert (publisher.is_online, publisher.closed) == (True, False)
    world.look()
    asked = {(config.node, c.name, q.name) for c in config.cameras for q in c.all_questions()}
    pictures = {(config.node, c.name, "image") for c in config.cameras if c.image and c.questions}
    states = {(config.node, c.name, "availability") for c in config.cameras}
    pauses = {(config.node, c.name, "active") for c in config.cameras}
    for host, broker in world.brokers.items():
        assert set(broker.retained) == (asked | states | pauses | pictures if host == config.mqtt.host else set()), host
    for key in states:
        assert world.brokers[config.mqtt.host].retained[key].online
    for key in asked:
        answer = world.brokers[config.mqtt.host].retained[key]
        assert (answer.status, answer.config_rev, answer.model) == ("ok", config.rev, str(config.model.path))


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_alone_is_followed(world: World, name: str):
    new = CHANGES[name](replace(CONFIG, rev="r2"))
    world.reload.take(new)
    assert_runs(world, new)


@pytest.mark.parametrize("names", [*combinations(CHANGES, 2)], ids=" and ".join)
def test_two_changes_at_once_are_followed_and_reverted(world: World, names: tuple[str, str]):
    new = replace(CONFIG, rev="r2")
    for name in names:
        new = CHANGES[name](new)
    world.reload.take(new)
    assert_runs(world, new)
    world.reload.take(CONFIG)
    assert_runs(world, CONFIG)


EVERYTHING = CONFIG
for _change in CHANGES.values():
    EVERYTHING = _change(EVERYTHING)
EVERYTHING = replace(EVERYTHING, rev="r2")

BEFORE = ("check m2", "load m2", "open new")  # fail before anything that runs is touched
BREAKAGES: dict[str, BaseException] = {
    "check m2": ModelFolderError("model: /m2 lacks preprocessor_config.json"),
    "load m2": ModelError("model: there is no NPU"),
    "open new": RuntimeError("oops"),
    "camera.start new": RuntimeError("can't start new thread"),
    "camera.start yard": RuntimeError("can't start new thread"),
    "publisher.follow": RuntimeError("oops"),
    "publisher.start": RuntimeError("can't start new thread"),
    "publisher.adopt": RuntimeError("oops"),
}


@pytest.mark.parametrize("fit", [False, True], ids=["one model at a time", "both models fit"])
@pytest.mark.parametrize("step", BREAKAGES)
def test_a_reload_that_fails_half_way_leaves_what_ran(world: World, step: str, fit: bool):
    world.fit = fit
    world.broken[step] = BREAKAGES[step]
    with pytest.raises(type(BREAKAGES[step]) if step in BEFORE else EdgedError):
        world.reload.take(EVERYTHING)
    assert_runs(world, CONFIG)
    world.reload.take(EVERYTHING)
    assert_runs(world, EVERYTHING)


def test_a_ca_file_that_is_missing_changes_nothing(world: World):
    former = world.service.publisher
    with pytest.raises(FileUnusable, match="no such file"):
        world.reload.take(replace(CONFIG, mqtt=BrokerSpec("second", ca=Path("none.pem"))))
    assert world.service.publisher is former
    assert_runs(world, CONFIG)


def test_answers_that_wait_for_a_broker_that_is_away_go_to_the_next_one(world: World):
    world.reload.take(replace(CONFIG, mqtt=BrokerSpec("away"), rev="r2"))
    world.look()
    waiting = [answer.id for answer in fake_publisher(world.service).waiting]
    assert waiting
    world.reload.take(replace(CONFIG, mqtt=BrokerSpec("second"), rev="r3"))
    assert [answer.id for answer in world.brokers["second"].answers] == waiting


def test_the_thread_of_a_retired_camera_publishes_nothing(world: World):
    former = next(camera for camera in world.cameras if camera.spec.name == "yard")
    world.reload.take(CHANGES["source changed"](CONFIG))
    former.report(CameraState(False, "the camera ended the stream", utc_now()))
    assert world.brokers["first"].retained[("box", "yard", "availability")].online
    shop = next(camera for camera in world.cameras if camera.spec.name == "shop")
    world.reload.take(CHANGES["camera removed"](CONFIG))
    shop.report(CameraState(False, "the camera ended the stream", utc_now()))
    assert ("box", "shop", "availability") not in world.brokers["first"].retained


def availability(world: World, name: str) -> tuple[bool, str | None]:
    state = world.brokers["first"].retained[("box", name, "availability")]
    return state.online, state.reason


def test_a_camera_whose_source_was_changed_is_offline_until_it_is_connected(world: World):
    world.silent.add("yard")
    world.reload.take(CHANGES["source changed"](CONFIG))
    assert availability(world, "yard") == (False, "not connected yet")
    world.cameras[-1].report(CameraState(True, None, utc_now()))
    assert availability(world, "yard") == (True, None)


def test_an_edged_that_was_killed_and_is_started_again_does_not_leave_its_cameras_online(world: World):
    after = World()
    after.store, after.brokers, after.silent = world.store, world.brokers, {"dock"}
    after.start()
    assert availability(after, "dock") == (False, "not connected yet")
    assert availability(after, "yard") == (True, None)
    after.service.queue.halt()
    after.service.close_cameras("stopped")
    until(after.service.queue.gone)


def test_a_new_broker_gets_the_state_of_a_camera_that_is_not_connected_yet(world: World):
    world.silent.add("yard")
    world.reload.take(CHANGES["source changed"](CONFIG))
    world.reload.take(CHANGES["broker changed"](CHANGES["source changed"](CONFIG)))
    state = world.brokers["second"].retained[("box", "yard", "availability")]
    assert (state.online, state.reason) == (False, "not connected yet")


def test_untouched_cameras_keep_their_connection(world: World):
    before = {name: runtime.camera for name, runtime in world.service.cameras.items()}
    new = CHANGES["source changed"](CHANGES["prompt changed"](replace(CONFIG, rev="r2")))
    world.reload.take(new)
    after = {name: runtime.camera for name, runtime in world.service.cameras.items()}
    assert {name for name in before if before[name] is not after[name]} == {"yard"}


def test_a_camera_that_leaves_the_config_has_a_last_line_in_the_log(world: World, caplog: pytest.LogCaptureFixture):
    """Whatever of it is in the log, such as a lost connection, is over."""
    caplog.set_level("INFO", "edged")
    world.reload.take(CHANGES["camera removed"](CONFIG))
    world.reload.take(CONFIG)
    world.reload.take(CHANGES["source changed"](CONFIG))
    assert [line for line in caplog.messages if "removed" in line] == ["camera shop: removed"]


def test_a_model_that_cannot_spell_the_new_questions_does_not_replace_the_old_one(world: World):
    world.broken["check m2"] = ModelFolderError('question "gate": this model\'s tokenizer cannot spell "Yes"')
    serving = world.service.queue.serving()
    with pytest.raises(ModelFolderError, match="cannot spell"):
        world.reload.take(CHANGES["model changed"](CONFIG))
    assert world.service.queue.serving() is serving
    assert len(world.models) == 1


def test_the_new_questions_are_checked_with_the_new_model(world: World):
    new = CHANGES["model changed"](CHANGES["question added"](CONFIG))
    world.models[0].refused = "people"  # the old one could not answer them
    world.reload.take(new)
    assert_runs(world, new)


def test_where_both_models_fit_the_old_one_answers_until_the_new_one_is_loaded(world: World):
    world.fit = True
    serving = world.service.queue.serving()
    states = []
    world.loading = lambda: states.append((world.service.queue.serving() is serving, world.models[0].disposed))
    world.reload.take(CHANGES["model changed"](CONFIG))
    assert states == [(True, 0)]


def test_a_look_in_the_middle_of_a_generation_is_begun_anew_with_the_new_model(world: World):
    asked, go_on = threading.Event(), threading.Event()

    def generate() -> str:
        asked.set()
        assert go_on.wait(20)
        return "No"

    world.models[0].replies["gate"] = generate
    dock = world.service.cameras["dock"]
    looker = threading.Thread(target=world.service.looks.look, args=(dock,))
    looker.start()
    assert asked.wait(10)
    group = world.service.queue.serving()
    reloader = threading.Thread(target=world.reload.take, args=(CHANGES["model changed"](CONFIG),))
    reloader.start()
    assert group is not None
    until(group.leaving.is_set)
    go_on.set()
    for thread in (reloader, looker):
        thread.join(20)
        assert not thread.is_alive()
    answers = [answer for answer in world.brokers["first"].answers if answer.camera == "dock"]
    assert [answer.model for answer in answers[3:]] == ["m2"] * 3
    assert world.models[0].disposed == 1


@pytest.mark.parametrize("fit", [False, True])
def test_an_encode_that_takes_long_does_not_end_edged(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fit: bool
):
    """It cannot be interrupted, and takes minutes on a CPU. Where two models do not fit, the new one waits for it."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("edged.service.reload.LEAVE_LIMIT_S", 0.1)
    monkeypatch.setattr(Service.wait_for_dismissed, "__defaults__", (0.1, False))
    world.fit = fit
    encoding, go_on, encode = threading.Event(), threading.Event(), world.models[0].encode

    def slow(picture: Any) -> float:
        encoding.set()
        assert go_on.wait(20)
        return encode(picture)

    monkeypatch.setattr(world.models[0], "encode", slow)
    looker = threading.Thread(target=world.service.looks.look, args=(world.service.cameras["dock"],))
    looker.start()
    assert encoding.wait(10)
    threading.Timer(0.5, go_on.set).start()
    world.reload.take(CHANGES["model changed"](CONFIG))
    looker.join(20)
    assert not looker.is_alive()
    until(world.service.queue.gone)
    assert_runs(world, CHANGES["model changed"](CONFIG))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    later = [line for line in caplog.messages if "is unloaded when its last call has returned" in line]
    assert len(later) == fit


def test_edged_ends_if_the_old_model_cannot_be_loaded_again(world: World):
    world.broken |= {"load m2": ModelError("model: there is no NPU"), "load m1": ModelError("model: it is gone")}
    with pytest.raises(CannotGoOn, match="it is gone") as raised:
        world.reload.take(CHANGES["model changed"](CONFIG))
    assert raised.value.code == 75


def test_a_changed_node_or_broker_clears_what_was_retained(world: World):
    world.reload.take(replace(CONFIG, node="other"))
    world.reload.take(replace(CONFIG, node="other", mqtt=BrokerSpec("second")))
    world.reload.take(replace(CONFIG, node="other", mqtt=BrokerSpec("second", username="u", password=Secret("p"))))
    assert (world.brokers["first"].withdrawn, world.brokers["second"].withdrawn) == (["box", "other"], [])


def shown(world: World, name: str) -> set[str]:
    """The questions of this camera that the page has an answer to."""
    return set(world.service.snapshots.cameras[name].answers)


def test_the_page_forgets_the_answers_about_another_source(world: World):
    world.look()
    world.models[0].replies["gate"] = "No"
    world.look()
    assert world.service.snapshots.cameras["shop"].changes
    world.silent.add("shop")
    world.reload.take(edited("shop", source=SourceSpec("path", Secret("b"), "b"))(CONFIG))
    snapshot = world.service.snapshots.cameras["shop"]
    assert (snapshot.answers, snapshot.changes) == ({}, {})
    assert not world.broker().retained[("box", "shop", "availability")].online
    assert snapshot.state is None  # "not connected yet" is no problem that the page shows
    assert shown(world, "dock") == {"gate", "car", "people"}


@pytest.mark.parametrize(
    "changed",
    [
        replace(GATE, min_confidence=0.9),
        replace(GATE, region=RegionSpec("left", (0.0, 0.0, 0.5, 1.0))),
        replace(GATE, then=(replace(GATE.then[0], min_confidence=0.9),)),
    ],
)
@pytest.mark.parametrize("reopened", [False, True])
def test_the_page_forgets_the_answers_to_a_question_that_was_changed(
    world: World, changed: QuestionSpec, reopened: bool
):
    world.look()
    more = {"max_age_s": 9.0} if reopened else {}
    world.reload.take(edited("dock", questions=(changed, PEOPLE), **more)(CONFIG))
    assert shown(world, "dock") == {"people"}
    assert shown(world, "shop") == {"gate", "car"}


def test_the_page_keeps_the_answers_of_a_camera_that_is_opened_again_with_the_same_pictures(world: World):
    world.look()
    world.reload.take(edited("dock", max_age_s=9.0, title="Dock")(CONFIG))
    assert shown(world, "dock") == {"gate", "car", "people"}


def test_a_model_outage_ends_when_its_questions_are_removed_with_their_source(
    world: World, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "edged")
    world.models[0].replies["gate"] = ModelError("model: out of memory")
    world.look()
    assert world.service.looks.model_outage.on
    new = CONFIG
    for name in ("dock", "shop"):
        new = edited(name, max_age_s=9.0, questions=(PEOPLE,))(new)
    world.reload.take(new)
    assert not world.service.looks.model_outage.on
    lines = [line for line in caplog.messages if line.startswith("model: ")]
    assert lines[0] == "model: out of memory"
    assert re.fullmatch(
        r"model: over after [\d.]+ s \(\d tries\): the questions that failed are no longer asked", lines[1]
    )


def test_a_call_of_the_model_before_does_not_end_the_outage_of_its_successor(
    world: World, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "edged")
    service, [before] = world.service, world.models
    dock, encoding, go, encode = service.cameras["dock"], threading.Event(), threading.Event(), before.encode

    def slow(picture: Frame) -> float:
        encoding.set()
        assert go.wait(20)
        return encode(picture)

    def broken(picture: Frame) -> float:
        raise ModelError("model: out of memory")

    before.encode = slow  # type: ignore[method-assign]
    look = threading.Thread(target=service.looks.look, args=(dock,))
    look.start()
    assert encoding.wait(20)
    service.serve(service.load(world.config, world.wait))
    world.models[1].encode = broken  # type: ignore[method-assign]
    service.looks.look(dock)
    go.set()
    look.join(20)
    assert service.looks.model_outage.on
    assert [line for line in caplog.messages if line.startswith("model: ") and "m1" not in line] == [
        "model: out of memory"
    ]


def gated(**question: Any) -> Config:
    """One camera, whose unchanged picture is not asked about again for an hour."""
    return replace(CONFIG, cameras=(camera("yard", replace(PEOPLE, **question), at_least_every_s=3600.0),))


@pytest.mark.parametrize("question", [{}, {"every_s": 3600.0}], ids=["every look", "every hour"])
@pytest.mark.parametrize(
    "change",
    [{"source": SourceSpec("path", Secret("b"), "b")}, {"mask": (((0.0, 0.0), (0.5, 0.0), (0.5, 0.5)),)}],
    ids=["source", "mask"],
)
def test_an_answer_about_another_source_or_mask_is_not_repeated(
    world: World, question: dict[str, Any], change: dict[str, Any]
):
    config = gated(**question)
    world.reload.take(config)
    world.look()
    world.reload.take(replace(edited("yard", **change)(config), rev="r2"))
    world.look()  # a picture like the last one
    answer = world.brokers["first"].retained[("box", "yard", "people")]
    assert (answer.config_rev, answer.reuse_of) == ("r2", None)


def test_an_answer_is_repeated_after_a_reconnect_to_the_same_source(world: World):
    config = gated()
    world.reload.take(config)
    world.look()
    first = world.brokers["first"].retained[("box", "yard", "people")]
    world.reload.take(replace(edited("yard", max_age_s=9.0)(config), rev="r2"))
    world.look()
    again = world.brokers["first"].retained[("box", "yard", "people")]
    assert (again.config_rev, again.reuse_of) == ("r2", first.id)


def test_a_question_that_is_removed_and_added_again_is_asked(world: World):
    config = gated(every_s=3600.0)
    world.reload.take(config)
    world.look()
    world.reload.take(replace(edited("yard", max_age_s=9.0, questions=(GATE,))(config), rev="r2"))
    world.look()
    world.reload.take(replace(edited("yard", max_age_s=9.0)(config), rev="r3"))
    world.look()
    assert world.brokers["first"].retained[("box", "yard", "people")].config_rev == "r3"


NO_LIBRARY = RuntimeError("libqbruntime.so cannot be opened")


@pytest.mark.parametrize("fit", [False, True], ids=["one model at a time", "both models fit"])
def test_a_model_that_fails_unexpectedly_leaves_the_old_one_in_service(world: World, fit: bool):
    world.fit = fit
    world.broken["load m2"] = NO_LIBRARY
    with pytest.raises(RuntimeError, match="cannot be opened"):
        world.reload.take(CHANGES["model changed"](CONFIG))
    assert_runs(world, CONFIG)


def test_edged_ends_if_the_old_model_fails_unexpectedly_too(world: World):
    world.broken |= {"load m2": ModelError("model: there is no NPU"), "load m1": NO_LIBRARY}
    with pytest.raises(CannotGoOn, match="cannot be opened"):
        world.reload.take(CHANGES["model changed"](CONFIG))


def test_where_one_model_fits_a_new_one_that_fails_has_left_before_the_old_one_comes_back(world: World):
    refused, go_on = threading.Event(), threading.Event()

    class Unwilling(FakeModel):
        def check(self, questions: Sequence[QuestionSpec]) -> None:
            refused.set()
            raise ModelFolderError('question "gate": this model\'s tokenizer cannot spell "Yes"')

        def dispose(self) -> None:
            assert go_on.wait(20)
            super().dispose()

    new, load_model = Unwilling(), world.factories.load_model
    disposed: list[int] = []

    def load(spec: ModelSpec) -> VisionModel:
        disposed.append(new.disposed)
        return new if spec.path == Path("m2") else load_model(spec)

    def wait(condition: Callable[[], bool], limit_s: float) -> bool:
        if refused.is_set() and condition == world.service.queue.gone:
            go_on.set()
        return world.wait(condition, limit_s)

    world.service.factories = replace(world.factories, load_model=load)
    try:
        with pytest.raises(ModelFolderError):
            Reload(world.service, wait, wait).take(CHANGES["model changed"](CONFIG))
    finally:
        go_on.set()
    assert disposed == [0, 1]
    assert_runs(world, CONFIG)


def test_a_model_that_could_not_be_loaded_is_freed(world: World):
    world.fit = True
    weights: list[weakref.ref[Any]] = []

    def load() -> None:
        part = threading.Event()  # stands for the weights that were loaded before the failure
        weights.append(weakref.ref(part))
        raise ModelError("model: out of memory")

    world.loading = load
    with pytest.raises(ModelError, match="out of memory"):
        world.reload.take(CHANGES["model changed"](CONFIG))
    gc.collect()
    assert [part() for part in weights] == [None]


def test_a_broker_change_that_fails_half_way_leaves_one_publisher(world: World):
    former = fake_publisher(world.service)
    world.broken["publisher.follow"] = RuntimeError("oops")
    with pytest.raises(EdgedError):
        world.reload.take(CHANGES["broker changed"](CONFIG))
    assert world.service.publisher is former or former.closed
    assert_runs(world, CONFIG)


def test_another_fit_of_the_same_model_is_asked_anew_about_an_unchanged_picture(world: World):
    world.reload.take(gated(every_s=3600.0))
    world.look()
    count = len(world.brokers["first"].answers)
    world.reload.take(replace(gated(every_s=3600.0), model=replace(CONFIG.model, fit="letterbox")))
    world.look()
    answers = world.brokers["first"].answers[count:]
    assert [(answer.question, answer.reuse_of) for answer in answers] == [("people", None)]


OPEN = AlertSpec(OneOf((True,)))
ALERTING = replace(CONFIG, cameras=(camera("dock", replace(GATE, alert=OPEN)), camera("yard", PEOPLE)))
GONE: dict[str, Callable[[Config], Config]] = {
    "question removed": edited("dock", questions=(PEOPLE,)),
    "camera removed": lambda c: replace(c, cameras=c.cameras[1:]),
    "type changed": edited("dock", questions=(replace(GATE, answer=Text()),)),
}


def alert_events(world: World) -> list[tuple[Any, ...]]:
    events = [event for event in world.broker().events if event.kind != "changed"]
    return [(event.camera, event.question, event.kind, event.before, event.after, event.value) for event in events]


@pytest.mark.parametrize("running", [True, False], ids=["running", "edged was off"])
@pytest.mark.parametrize("name", GONE)
def test_an_alert_that_is_on_goes_off_when_its_question_leaves_the_config(name: str, running: bool):
    world = World(ALERTING)
    world.start()
    world.look()
    if running:
        world.reload.take(GONE[name](ALERTING))
    else:
        world.service.queue.halt()
        before, world = world, World(GONE[name](ALERTING))
        world.store, world.brokers = before.store, before.brokers
        world.start()
    on, off = (event for event in world.broker().events if event.kind != "changed")
    assert alert_events(world) == [
        ("dock", "gate", "alert_on", False, True, True),
        ("dock", "gate", "alert_off", True, False, True),
    ]
    assert off.since == on.at
    assert "dock/gate/yes_no" not in world.store.facts("alert")
    world.service.queue.halt()


def test_a_question_that_comes_back_to_its_type_counts_its_alert_anew():
    world = World(ALERTING)
    world.start()
    for config in (GONE["type changed"](ALERTING), ALERTING):
        world.look()
        world.reload.take(config)
    world.look()
    assert [kind for _, _, kind, *_ in alert_events(world)] == ["alert_on", "alert_off", "alert_on"]
    world.service.queue.halt()
