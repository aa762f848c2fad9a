"""A request gets exactly one response: an answer, a refusal as an answer, or a sentence that says what is wrong."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from support.asked import Asked, Gate
from support.broker import until
from support.fakes import FakeCamera
from support.making import frame, question
from support.world import CONFIG, GATE, PEOPLE, World, camera

from edged.core.answer_types import YesNo
from edged.core.conditions import OneOf
from edged.core.errors import CameraError, ModelError
from edged.core.requests import (
    FULL,
    MOST_WAITING,
    ActiveRequest,
    AdHoc,
    AskRequest,
    InfoRequest,
    LookRequest,
    Received,
    Request,
    Response,
)
from edged.core.specs import AlertSpec, Config, Every, QuestionSpec
from edged.core.types import Answer, Reply, TokenChoice, TokenOption
from edged.service import requests as module
from edged.service.encoded_picture import EncodedPicture
from edged.service.judging import Provenance
from edged.service.requests import Requests

SELDOM = replace(PEOPLE, every_s=600.0)
OF = Provenance("dock", "request", "r1", clock_synced=True)
ALERTING = replace(CONFIG, cameras=(camera("dock", replace(GATE, alert=AlertSpec(when=OneOf((True,))))),))
WITH_PROMPTS = replace(CONFIG, mqtt=replace(CONFIG.mqtt, allow_prompts=True))


class Asking(World):
    """A world that accepts requests. Those for the main thread are carried out at once, in the asking thread."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self.requests = Requests(self.service, self._in_this_thread)
        self.start()
        self.requests.start()

    def _in_this_thread(self, received: Received) -> None:
        self.requests.carry_out(received)

    def ask(self, request: Request, expires_at: float | None = None) -> Asked:
        return Asked(self.requests, request, expires_at)

    def published(self) -> list[Answer]:
        return self.broker().answers

    def end(self) -> None:
        self.service.queue.halt()
        assert self.requests.close()
        self.service.close_cameras("stopped")
        until(self.service.queue.gone)


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Config:
    config: Config = getattr(request, "param", CONFIG)
    return config


@pytest.fixture
def asking(config: Config) -> Iterator[Asking]:
    asking = Asking(config)
    yield asking
    asking.end()


def with_config(config: Config) -> Any:
    return pytest.mark.parametrize("config", [config], indirect=True, ids=[""])


# ask and look


def test_a_requested_answer_is_published_like_any_other(asking: Asking):
    answer = asking.ask(AskRequest("dock", "people")).answer
    assert (answer.value, answer.status, answer.trigger) == (3, "ok", "request")
    assert asking.published() == [answer]


@with_config(replace(CONFIG, cameras=(camera("dock", SELDOM),)))
def test_a_question_is_asked_although_it_is_not_due_and_counts_as_asked(asking: Asking):
    asking.look()
    asking.ask(AskRequest("dock", "people")).answer  # noqa: B018  # waits
    asking.look()
    assert [answer.trigger for answer in asking.published()] == ["schedule", "request"]


@with_config(replace(CONFIG, cameras=(camera("dock", PEOPLE, at_least_every_s=600.0),)))
def test_an_unchanged_picture_is_asked_about_again(asking: Asking):
    asking.look()
    assert asking.ask(AskRequest("dock", "people")).answer.reuse_of is None
    assert len(asking.models[0].asked) == 2


def test_the_follow_ups_of_a_question_are_asked_and_published_too(asking: Asking):
    assert asking.ask(AskRequest("dock", "gate")).answer.question == "gate"
    assert [answer.question for answer in asking.published()] == ["gate", "car"]


def test_a_follow_up_is_asked_after_its_question(asking: Asking):
    answer = asking.ask(AskRequest("dock", "car")).answer
    assert (answer.question, answer.value) == ("car", True)
    assert [name for name, _ in asking.models[0].asked] == ["gate", "car"]


@with_config(ALERTING)
def test_a_requested_answer_raises_an_alert(asking: Asking):
    asking.ask(AskRequest("dock", "gate")).answer  # noqa: B018  # waits
    assert asking.store.facts("alert")["dock/gate/yes_no"]["alert_on"] is True


@with_config(ALERTING)
def test_the_response_has_the_state_of_the_alert_like_the_published_answer(asking: Asking):
    answer = asking.ask(AskRequest("dock", "gate")).answer
    assert asking.published()[0] == answer
    assert answer.alert is not None
    assert answer.alert.on


@with_config(ALERTING)
def test_a_refusal_that_is_not_published_has_the_state_of_the_alert_too(asking: Asking):
    before = asking.ask(AskRequest("dock", "gate")).answer.alert
    asking.ask(ActiveRequest("dock", False)).data  # noqa: B018  # waits
    refused = asking.ask(AskRequest("dock", "gate")).answer
    assert (refused.status, refused.alert) == ("not_asked", before)
    assert before is not None


def test_a_look_answers_every_question_and_follow_up_in_order(asking: Asking):
    data = asking.ask(LookRequest("dock")).data
    assert [(answer.question, answer.status) for answer in data] == [("gate", "ok"), ("car", "ok"), ("people", "ok")]
    assert asking.published() == data


@with_config(replace(CONFIG, cameras=(camera("dock"),)))
def test_a_look_at_a_camera_without_questions_answers_nothing(asking: Asking):
    assert asking.ask(LookRequest("dock")).data == []


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (AskRequest("dok", "people"), '"dok" is not a camera (dock, yard, shop). Did you mean "dock"?'),
        (LookRequest("potting"), '"potting" is not a camera (dock, yard, shop)'),
        (AskRequest("yard", "poeple"), '"poeple" is not a question of camera "yard" (people). Did you mean "people"?'),
        (ActiveRequest("dok", True), '"dok" is not a camera (dock, yard, shop). Did you mean "dock"?'),
        (
            ActiveRequest("shop", True, "cat"),
            '"cat" is not a question of camera "shop" (gate, car). Did you mean "car"?',
        ),
    ],
    ids=["camera", "nothing like it", "question", "active camera", "active question"],
)
def test_what_is_unknown_is_named_with_what_there_is(asking: Asking, request_: Request, error: str):
    assert asking.ask(request_).error == error


def test_a_camera_that_is_down_is_a_refusal_and_no_error(asking: Asking):
    asking.cameras[0].grabs = [CameraError("no route to host")]
    answer = asking.ask(AskRequest("dock", "people")).answer
    assert (answer.value, answer.status, answer.reason) == (None, "camera_down", "no route to host")
    assert asking.published() == [answer]


def test_a_model_that_fails_is_a_refusal_and_no_error(asking: Asking):
    asking.models[0].replies["people"] = ModelError("model: out of memory")
    assert asking.ask(AskRequest("dock", "people")).answer.status == "model_down"


def test_an_unexpected_error_in_a_look_is_a_refusal(asking: Asking):
    asking.models[0].replies["people"] = ZeroDivisionError("oops")
    answer = asking.ask(AskRequest("dock", "people")).answer
    assert (answer.status, answer.reason) == ("model_down", "unexpected error; see edged's log")


def test_an_unexpected_error_elsewhere_is_an_error_and_the_next_request_is_answered(
    asking: Asking, caplog: pytest.LogCaptureFixture
):
    looks = asking.service.cameras["dock"]
    asking.service.cameras["dock"] = None  # type: ignore[assignment]  # a defect
    asking.service.config = replace(asking.config, cameras=None)  # type: ignore[arg-type]
    assert asking.ask(LookRequest("dock")).error == "unexpected error; see edged's log"
    assert caplog.messages == ["unexpected error in a request"]
    asking.service.cameras["dock"], asking.service.config = looks, asking.config
    assert asking.ask(LookRequest("dock")).statuses() == {"gate": "ok", "car": "ok", "people": "ok"}


# prompts


@with_config(WITH_PROMPTS)
def test_a_prompt_is_answered_and_neither_published_nor_remembered(asking: Asking):
    answer = asking.ask(AskRequest("dock", ad_hoc=AdHoc("Is it raining?", "yes_no"))).answer
    assert (answer.value, answer.status, answer.trigger) == (True, "ok", "request")
    assert answer.prompt == "Is it raining? Answer Yes or No."
    assert (asking.published(), asking.store.facts("alert")) == ([], {})


@with_config(WITH_PROMPTS)
def test_the_tokens_of_a_prompt_are_kept_if_the_request_wants_them(asking: Asking, monkeypatch: pytest.MonkeyPatch):
    def ask(history: Any, question: QuestionSpec, *_: Any) -> Reply:
        return Reply("Yes", "done", 0.9, 0, 1.0, (chosen,) if question.keep_tokens else ())

    chosen = TokenChoice(TokenOption("Yes", 0.9), (TokenOption("No", 0.1),))
    monkeypatch.setattr(asking.models[0], "ask", ask)
    prompt = AdHoc("Is it raining?", "yes_no")
    assert asking.ask(AskRequest("dock", ad_hoc=prompt, keep_tokens=True)).answer.tokens == (chosen,)
    assert asking.ask(AskRequest("dock", ad_hoc=prompt)).answer.tokens == ()
    assert asking.ask(AskRequest("dock", "gate")).answer.tokens == ()


@with_config(WITH_PROMPTS)
def test_the_frame_of_a_prompt_is_kept_for_the_page_beside_that_of_the_last_look(asking: Asking):
    asking.service.snapshots.keep_frames(True)
    asking.look()
    seen = asking.service.snapshots.cameras["dock"].frame
    answer = asking.ask(AskRequest("dock", ad_hoc=AdHoc("Is it raining?"))).answer
    snapshot = asking.service.snapshots.cameras["dock"]
    assert snapshot.tried
    assert (snapshot.tried.sha256, snapshot.frame) == (answer.frame_sha256, seen)
    asking.service.snapshots.forget_frame("dock")  # other masks: the picture may show what is masked now
    assert asking.service.snapshots.cameras["dock"].tried is None


@with_config(WITH_PROMPTS)
def test_a_request_whose_sender_has_left_is_not_begun(asking: Asking):
    responses: queue.Queue[Response] = queue.Queue()
    request = AskRequest("dock", ad_hoc=AdHoc("Is it raining?"))
    asking.requests.receive(Received(request, responses.put, abandoned=lambda: True))
    assert responses.get(timeout=10).error
    assert asking.models[0].seen == []


@with_config(WITH_PROMPTS)
def test_a_prompt_with_a_mistake_is_refused_with_the_sentence_of_the_config(asking: Asking):
    assert "colour" in asking.ask(AskRequest("dock", ad_hoc=AdHoc("Which?", "colour"))).error
    assert asking.models[0].asked == []


def test_prompts_are_refused_unless_the_config_allows_them(asking: Asking):
    assert "allow_prompts" in asking.ask(AskRequest("dock", ad_hoc=AdHoc("Is it raining?"))).error
    assert asking.models[0].seen == []


@with_config(replace(WITH_PROMPTS, cameras=(camera("dock", replace(PEOPLE, name="question")),)))
def test_a_prompt_is_asked_although_a_question_of_the_config_with_its_inner_name_is_paused(asking: Asking):
    asking.ask(ActiveRequest("dock", False, "question")).data  # noqa: B018  # waits
    assert asking.ask(AskRequest("dock", ad_hoc=AdHoc("Is it raining?"))).answer.status == "ok"


@with_config(WITH_PROMPTS)
def test_a_prompt_to_a_paused_camera_is_not_asked(asking: Asking):
    asking.ask(ActiveRequest("dock", False)).data  # noqa: B018  # waits
    answer = asking.ask(AskRequest("dock", ad_hoc=AdHoc("Is it raining?"))).answer
    assert (answer.status, answer.reason) == ("not_asked", 'camera "dock" is paused')


# time


def test_an_expired_request_is_refused(asking: Asking):
    assert asking.ask(LookRequest("dock"), time.monotonic()).error == "the request expired before it was begun"
    assert asking.ask(InfoRequest(), time.monotonic()).error == "the request expired before it was begun"
    assert asking.models[0].seen == []


def test_a_request_that_gets_no_turn_before_its_deadline_is_a_timeout_that_is_not_published(asking: Asking):
    people = asking.models[0].replies["people"] = Gate("3")
    first = asking.ask(AskRequest("yard", "people"))
    people.wait()
    answer = asking.ask(AskRequest("dock", "people", deadline_s=0.1)).answer
    reason = "the model was busy until the time limit of the request had passed"
    assert (answer.status, answer.reason) == ("timeout", reason)
    people.open.set()
    assert asking.published() == [first.answer]


def test_a_deadline_counts_while_as_many_requests_as_there_may_be_wait_for_the_model(asking: Asking):
    [group] = [asking.service.queue.serving()]
    assert group
    asking.service.queue.dismiss(group)  # as a reload does on a device that has room for one model
    looks = [asking.ask(LookRequest("dock")) for _ in range(MOST_WAITING - 1)]
    assert asking.ask(AskRequest("dock", "people", deadline_s=0.2)).answer.status == "timeout"
    assert not any(look.responses for look in looks)
    asking.service.serve(asking.service.load(asking.config, asking.wait))
    assert all(look.statuses()["people"] == "ok" for look in looks)


@with_config(replace(CONFIG, cameras=(camera("dock", PEOPLE, question("A dog?", YesNo(), "dog")),)))
def test_what_is_not_asked_before_the_deadline_is_a_timeout_and_the_rest_is_published(asking: Asking):
    """Here the deadline passes during the first question."""
    limited: list[float] = []
    model, ask = asking.models[0], asking.models[0].ask

    def slow(history: Any, asked: Any, stop: Any, on_text: Any = None) -> Any:
        limited.append(asked.generation.deadline_s)
        until(lambda: time.monotonic() > end)
        return ask(history, asked, stop, on_text)

    model.ask = slow  # type: ignore[method-assign,assignment]
    end = time.monotonic() + 0.3
    runtime = asking.service.cameras["dock"]
    people, dog = asking.service.looks.request(runtime, runtime.current(), runtime.spec.questions, end)
    assert (people.status, dog.status) == ("ok", "timeout")
    assert dog.reason == "the time limit of the request had passed before this was asked"
    assert asking.published() == [people]
    assert 0 < limited[0] <= 0.3


def test_a_question_is_not_cut_off_before_the_deadline_of_the_request(asking: Asking):
    """Else its timeout would be published: it is no fault of the question's only once the deadline has passed."""
    model = asking.models[0]
    for _ in range(20):
        end = time.monotonic() + 1.0
        with asking.service.queue.join(urgent=True, until=end) as ticket:
            picture = EncodedPicture(model, ticket, frame(), OF, 5.0, lambda: False)
            assert time.monotonic() + picture.limited(PEOPLE).generation.deadline_s >= end


@with_config(replace(CONFIG, cameras=(camera("dock", GATE),)))
def test_a_follow_up_that_the_deadline_cuts_off_does_not_keep_the_answer_before_it_from_being_published(asking: Asking):
    def reply() -> str:
        until(lambda: time.monotonic() > end)
        return "Yes"

    asking.models[0].replies["gate"] = reply
    end = time.monotonic() + 0.3
    runtime = asking.service.cameras["dock"]
    gate, car = asking.service.looks.request(runtime, runtime.current(), runtime.spec.questions, end)
    assert (gate.status, car.status) == ("ok", "timeout")
    assert asking.published() == [gate]
    asking.look()
    assert [answer.question for answer in asking.published()] == ["gate", "gate", "car"]


# many at once


def test_eight_requests_wait_and_the_ninth_is_refused(asking: Asking):
    people = asking.models[0].replies["people"] = Gate("3")
    waiting = [asking.ask(AskRequest("yard", "people")) for _ in range(8)]
    people.wait()
    assert asking.ask(InfoRequest()).error == "8 requests are waiting already; try again later"
    people.open.set()
    assert [asked.answer.value for asked in waiting] == [3] * 8
    assert asking.ask(AskRequest("yard", "people")).answer.value == 3


def test_two_requests_for_one_camera_take_their_frames_one_after_the_other(asking: Asking):
    together: list[int] = []
    grabbing = threading.Lock()

    class Single(FakeCamera):
        def grab(self, stop: threading.Event) -> Any:
            together.append(grabbing.acquire(blocking=False))
            try:
                return super().grab(stop)
            finally:
                grabbing.release()

    asking.service.cameras["dock"].use(Single(*(frame(number) for number in range(9))))
    asked = [asking.ask(LookRequest("dock")) for _ in range(4)]
    for each in asked:
        assert each.statuses() == {"gate": "ok", "car": "ok", "people": "ok"}
    assert together == [True] * 4


def test_a_deadline_counts_while_another_request_takes_its_frame(asking: Asking):
    taken = threading.Event()

    class Slow(FakeCamera):
        def grab(self, stop: threading.Event) -> Any:
            assert taken.wait(60)
            return super().grab(stop)

    asking.service.cameras["dock"].use(Slow())
    first = asking.ask(LookRequest("dock"))
    answer = asking.ask(AskRequest("dock", "people", deadline_s=2)).answer  # it may try after a second
    reason = "the camera was busy with another look until the time limit of the request"
    assert (answer.status, answer.reason) == ("timeout", reason)
    assert not first.responses
    taken.set()
    assert first.statuses()["people"] == "ok"


def test_a_request_during_the_schedules_look_at_the_same_camera_is_answered_first_and_stays_the_newest(asking: Asking):
    asking.cameras[0].grabs = [frame(1), frame(2)]
    gate, car = Gate(), Gate()
    asking.models[0].replies |= {"gate": gate, "car": car}
    look = threading.Thread(target=asking.service.looks.look, args=(asking.service.cameras["dock"],))
    look.start()
    gate.wait()
    asked = asking.ask(AskRequest("dock", "people"))
    until(asking.service.queue.with_frame)
    gate.open.set()
    assert asked.answer.value == 3  # it is published before the look goes on
    car.open.set()
    look.join(20)
    assert [(a.question, a.trigger, a.frame_sha256) for a in asking.published()] == [
        ("people", "request", "sha-2"),
        ("gate", "schedule", "sha-1"),
        ("car", "schedule", "sha-1"),
    ]
    assert asked.answer == asking.published()[0]


# what changes meanwhile


def waiting_for(asking: Asking) -> tuple[Gate, Asked]:
    people = asking.models[0].replies["people"] = Gate("3")
    asked = asking.ask(AskRequest("dock", "people"))
    people.wait()
    return people, asked


def test_a_camera_that_a_reload_removes_meanwhile_is_an_error(asking: Asking):
    people, asked = waiting_for(asking)
    asking.reload.take(replace(CONFIG, cameras=(camera("yard", PEOPLE),)))
    people.open.set()
    assert asked.error == '"dock" is not a camera (yard)'
    assert asking.published() == []


def test_a_camera_that_a_reload_opens_again_meanwhile_is_looked_at_again(asking: Asking):
    people, asked = waiting_for(asking)
    asking.reload.take(replace(CONFIG, cameras=(camera("dock", PEOPLE, address="b"),), rev="r2"))
    people.open.set()
    assert (asked.answer.status, asked.answer.config_rev) == ("ok", "r2")
    assert asking.published() == [asked.answer]


def test_a_camera_that_is_paused_meanwhile_is_a_refusal(asking: Asking):
    people, asked = waiting_for(asking)
    asking.service.set_active("dock", None, False)
    people.open.set()
    assert asked.answer.status == "not_asked"


def test_a_replaced_model_answers_the_request(asking: Asking):
    people, asked = waiting_for(asking)
    asking.service.serve(asking.service.load(CONFIG, asking.wait))
    people.open.set()
    assert asked.answer.value == 3
    assert asking.models[1].asked[0][0] == "people"


def test_a_stop_answers_every_request_at_once(asking: Asking):
    people, asked = waiting_for(asking)
    others = [asking.ask(LookRequest("dock")) for _ in range(5)]
    closing = threading.Thread(target=asking.requests.close)
    asking.service.queue.halt()
    closing.start()
    assert [each.error for each in (asked, *others)] == ["edged is stopping"] * 6
    people.open.set()
    closing.join(20)
    assert asking.ask(InfoRequest()).error == "edged is stopping"
    assert [len(each.responses) for each in (asked, *others)] == [1] * 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("request-")]


def test_before_the_model_is_loaded_requests_are_refused():
    world = World()
    requests = Requests(world.service, lambda _: None)
    assert Asked(requests, LookRequest("dock")).error == "edged is starting; its model is not loaded yet"
    assert requests.close()


def test_a_requester_that_fails_does_not_stop_the_others(asking: Asking, caplog: pytest.LogCaptureFixture):
    responses: list[Response] = []

    def respond(response: Response) -> None:
        responses.append(response)
        raise RuntimeError("oops")

    for number in range(module.THREADS + 1):
        asking.requests.receive(Received(LookRequest("dock"), respond))
        until(partial(lambda before: len(responses) > before, number))
    assert asking.ask(LookRequest("dock")).statuses() == {"gate": "ok", "car": "ok", "people": "ok"}
    assert "unexpected error in a response" in caplog.messages


# the disk

CHANGING: list[Request] = [AskRequest("dock", "people"), LookRequest("dock"), ActiveRequest("dock", False)]


def held_writes(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[bool], None]]:
    """From now on, what the store has to call after each write."""
    held: list[Callable[[bool], None]] = []
    monkeypatch.setattr(asking.store, "write", lambda _messages, _facts, then: held.append(then))
    return held


@pytest.mark.parametrize("request_", CHANGING, ids=lambda request: type(request).__name__)
@pytest.mark.parametrize("written", [True, False])
def test_the_response_comes_once_what_was_changed_is_on_disk_or_cannot_be_written(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, request_: Request, written: bool
):
    held = held_writes(asking, monkeypatch)
    asked = asking.ask(request_)
    until(lambda: held, 20.0)
    assert asked.responses == []
    held.pop()(written)
    assert asked.data is not None


def test_a_stop_does_not_wait_for_the_disk_and_says_what_was_done(asking: Asking, monkeypatch: pytest.MonkeyPatch):
    held = held_writes(asking, monkeypatch)
    asked = asking.ask(ActiveRequest("dock", False))
    assert asking.requests.close()
    assert asked.data["active"] is False
    held.pop()(True)
    assert len(asked.responses) == 1


def test_a_response_about_nothing_that_was_changed_does_not_wait_for_the_disk(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
):
    held = held_writes(asking, monkeypatch)
    assert asking.ask(InfoRequest()).data
    assert asking.ask(ActiveRequest("nix", False)).error
    assert held == []


# pauses and info


def test_a_pause_is_answered_with_what_is_retained(asking: Asking):
    data = asking.ask(ActiveRequest("dock", False)).data
    assert data == asking.broker().retained[("box", "dock", "active")]
    assert (data["active"], data["questions"]) == (False, {"gate": True, "car": True, "people": True})
    assert asking.ask(ActiveRequest("dock", True)).data["active"]


def test_a_look_at_a_paused_camera_is_refused_and_publishes_nothing(asking: Asking):
    asking.ask(ActiveRequest("dock", False)).data  # noqa: B018  # waits
    asking.published().clear()
    assert asking.ask(LookRequest("dock")).statuses() == dict.fromkeys(["gate", "car", "people"], "not_asked")
    assert asking.published() == []


def test_a_look_with_a_paused_question_answers_the_others(asking: Asking):
    asking.ask(ActiveRequest("dock", False, "car")).data  # noqa: B018  # waits
    asking.published().clear()
    assert asking.ask(LookRequest("dock")).statuses() == {"gate": "ok", "car": "not_asked", "people": "ok"}
    assert [answer.question for answer in asking.published()] == ["gate", "people"]
    assert asking.ask(AskRequest("dock", "car")).answer.status == "not_asked"


def test_info_is_what_bridge_info_says(asking: Asking):
    data = asking.ask(InfoRequest()).data
    assert (data["config_rev"], list(data["cameras"])) == ("r1", ["dock", "yard", "shop"])


@with_config(replace(CONFIG, cameras=(camera("dock", PEOPLE, schedule=Every(3600.0)),)))
def test_random_requests_pauses_and_reloads_leave_nothing_unanswered(asking: Asking):
    """Each is answered once, whatever happens at the same time."""
    asked: list[Asked] = []
    changes: list[Callable[[], object]] = [
        partial(asking.service.set_active, "dock", None, False),
        partial(asking.service.set_active, "dock", None, True),
        partial(asking.reload.take, replace(asking.config, cameras=(camera("dock", PEOPLE, address="b"),))),
        partial(asking.reload.take, replace(asking.config, cameras=())),
        partial(asking.reload.take, asking.config),
    ]
    for _ in range(20):
        for change in changes:
            asked += [asking.ask(LookRequest("dock")) for _ in range(2)]
            change()
    until(lambda: all(each.responses for each in asked))
    assert [len(each.responses) for each in asked] == [1] * len(asked)
    errors = {each.response.error for each in asked} - {None}
    assert errors <= {'"dock" is not a camera (there is none)', FULL}
