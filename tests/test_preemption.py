"""A request waits for the question that is being answered, not for the whole look, which then goes on."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.asked import Gate
from support.broker import until
from support.making import frame, question
from support.world import CONFIG, World, camera

from edged.core.answer_types import YesNo
from edged.core.errors import ModelError, Stopped
from edged.core.requests import MOST_WAITING
from edged.core.specs import Config, RegionSpec
from edged.core.types import Answer
from edged.service.camera_runtime import CameraRuntime

CAR = question("A car?", YesNo(), "car")
GATE = question("Open?", YesNo(), "gate", then=(CAR,))
SIGN = question("A sign?", YesNo(), "sign")
LAMP = question("A lamp?", YesNo(), "lamp")
ASKED = question("A dog?", YesNo(), "dog")


class Looking(World):
    """The schedule's look at `dock`, and requests for `yard`, in threads. Every frame of a camera is another one."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.threads: list[threading.Thread] = []
        self.answered: list[list[Answer]] = []
        self.stopped: list[str] = []
        self.start()
        for seed, opened in enumerate(self.cameras):
            opened.grabs = [frame(10 * seed + number) for number in range(10)]

    @property
    def model(self) -> Any:
        return self.models[0]

    def runtime(self, name: str) -> CameraRuntime:
        return self.service.cameras[name]

    def begin(self, act: Any) -> None:
        self.threads.append(threading.Thread(target=act))
        self.threads[-1].start()

    def begin_look(self, name: str = "dock") -> None:
        self.begin(lambda: self.service.looks.look(self.runtime(name)))

    def begin_request(self, name: str = "yard", waits: bool = True) -> None:
        """`waits`: while the model is busy; returns when the request has its frame."""
        runtime = self.runtime(name)

        def ask() -> None:
            current = runtime.current()
            try:
                self.answered.append(self.service.looks.request(runtime, current, current[0].questions, math.inf))
            except Stopped:
                self.stopped.append(name)

        self.begin(ask)
        if waits:
            until(self.service.queue.with_frame)

    def wait_until_delayed(self, looks: int = 1) -> None:
        """Until so many looks have waited with their frames for so long that they may take others."""
        until(lambda: [ticket.delayed for ticket in self.service.queue.with_frame()] == [True] * looks)

    def interrupt(self, question: Gate) -> None:
        """Begin a look, and a request while the look waits for the answer to this question."""
        self.begin_look()
        question.wait()
        self.begin_request()
        question.open.set()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()

    def asked(self) -> list[str]:
        return [name for name, _ in self.model.asked]

    def published(self, name: str = "dock") -> list[Answer]:
        return [answer for answer in self.broker().answers if answer.camera == name]


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Config:
    questions = getattr(request, "param", (GATE, SIGN, LAMP))
    return replace(CONFIG, cameras=(camera("dock", *questions), camera("yard", ASKED)))


@pytest.fixture
def looking(config: Config) -> Iterator[Looking]:
    looking = Looking(config)
    yield looking
    looking.service.queue.halt()
    looking.join()
    looking.service.close_cameras("stopped")
    until(looking.service.queue.gone)


def test_a_request_is_answered_between_two_questions_and_the_look_goes_on_with_its_own_frame(looking: Looking):
    sign = looking.model.replies["sign"] = Gate("No")
    looking.interrupt(sign)
    looking.join()
    assert looking.asked() == ["gate", "car", "sign", "dog", "lamp"]
    assert looking.model.seen == ["sha-0", "sha-10", "sha-0"]  # the look's picture is encoded again
    assert [(a.question, a.value, a.frame_sha256) for a in looking.published()] == [
        ("gate", True, "sha-0"),
        ("car", True, "sha-0"),
        ("sign", False, "sha-0"),
        ("lamp", True, "sha-0"),
    ]
    ((dog,),) = looking.answered
    assert (dog.value, dog.status, dog.trigger, dog.frame_sha256) == (True, "ok", "request", "sha-10")


def test_a_look_that_is_not_interrupted_encodes_its_picture_once(looking: Looking):
    looking.begin_look()
    looking.join()
    assert looking.model.seen == ["sha-0"]


def test_the_age_and_the_encode_time_of_later_answers_are_those_of_the_second_encode(looking: Looking):
    times = iter([30.0, 1.0, 40.0])
    encode = looking.model.encode
    looking.model.encode = lambda picture: encode(picture) and next(times)
    gate = looking.model.replies["gate"] = Gate()
    looking.interrupt(gate)
    looking.join()
    before, *after = looking.published()
    assert before.timing_ms["encode"] == 30
    assert [answer.timing_ms["encode"] for answer in after] == [40, 40, 40]
    assert all((answer.frame_age_s or 0) > (before.frame_age_s or 0) for answer in after)
    assert {answer.frame_ts for answer in after} == {before.frame_ts}


def test_a_conversation_that_was_interrupted_goes_on_with_its_history(looking: Looking):
    gate = looking.model.replies["gate"] = Gate()
    looking.interrupt(gate)
    looking.join()
    assert looking.asked() == ["gate", "dog", "car", "sign", "lamp"]
    history = next(history for name, history in looking.model.asked if name == "car")
    assert [(exchange.prompt, exchange.reply) for exchange in history] == [(GATE.prompt, "Yes")]


TOP = RegionSpec("top", (0.0, 0.0, 1.0, 0.5))


def test_a_request_that_comes_while_the_picture_is_encoded_again_does_not_wait_for_the_next_question(looking: Looking):
    gate, encode = Gate(), looking.model.encode

    def encode_again(picture: Any) -> Any:
        if looking.model.seen == ["sha-0", "sha-10"]:
            looking.begin_request()
        return encode(picture)

    looking.model.encode, looking.model.replies["gate"] = encode_again, gate
    looking.interrupt(gate)
    looking.join()
    assert looking.asked() == ["gate", "dog", "dog", "car", "sign", "lamp"]


def test_requests_without_end_do_not_hold_up_a_look_for_ever(looking: Looking):
    gate, encode = Gate(), looking.model.encode
    looking.cameras[1].grabs = [frame(10 + number) for number in range(20)]

    def encode_again(picture: Any) -> Any:
        if picture.sha256 == "sha-0" and len(looking.threads) < 15:
            looking.begin_request()
        return encode(picture)

    looking.model.replies["gate"] = gate
    looking.begin_look()
    gate.wait()
    looking.model.encode = encode_again
    looking.begin_request()
    gate.open.set()
    until(lambda: not looking.threads[0].is_alive())
    looking.join()
    assert looking.asked()[: 2 + MOST_WAITING] == ["gate", *["dog"] * MOST_WAITING, "car"]


@pytest.mark.parametrize("config", [(SIGN, replace(LAMP, region=TOP))], indirect=True)
def test_between_two_regions_nothing_is_encoded_twice(looking: Looking):
    sign = looking.model.replies["sign"] = Gate()
    looking.interrupt(sign)
    looking.join()
    assert looking.asked() == ["sign", "dog", "lamp"]
    assert looking.model.seen == ["sha-0", "sha-10", "sha-0"]


def test_a_request_is_not_interrupted_by_another_one(looking: Looking):
    sign, dog = Gate(), Gate()
    looking.model.replies |= {"sign": sign, "dog": dog}
    looking.interrupt(sign)
    dog.wait()
    waiting = looking.service.queue.waiting()
    looking.begin_request("dock", waits=False)
    until(lambda: looking.service.queue.waiting() == waiting + 1)
    dog.open.set()
    looking.join()
    assert looking.asked() == ["gate", "car", "sign", "dog", "gate", "car", "sign", "lamp", "lamp"]


def test_a_request_that_fails_does_not_disturb_the_look_that_it_interrupted(looking: Looking):
    sign = looking.model.replies["sign"] = Gate()
    looking.model.replies["dog"] = ModelError("model: out of memory")
    looking.interrupt(sign)
    looking.join()
    assert [answer.status for answer in looking.published()] == ["ok"] * 4
    assert looking.answered[0][0].status == "model_down"


def test_no_frame_is_taken_for_the_next_look_while_the_interrupted_one_still_has_questions(looking: Looking):
    """A request that is at its last question does not mean that the model is free soon."""
    sign, dog = Gate(), Gate()
    looking.model.replies |= {"sign": sign, "dog": dog}
    looking.interrupt(sign)
    dog.wait()
    waiting = looking.service.queue.waiting()
    looking.begin_look("yard")
    until(lambda: looking.service.queue.waiting() == waiting + 1)
    assert looking.service.queue.with_frame() == []
    dog.open.set()
    looking.join()
    assert looking.asked() == ["gate", "car", "sign", "dog", "lamp", "dog"]


def test_a_look_whose_frame_grew_old_because_of_requests_takes_another(looking: Looking):
    dog = looking.model.replies["dog"] = Gate()
    looking.begin_request(waits=False)
    dog.wait()  # its only question: the next look takes its frame now
    old = frame(99, age_s=60.0)
    looking.cameras[0].grabs.insert(0, old)
    looking.begin_look()
    until(looking.service.queue.with_frame)
    looking.begin_request()
    looking.wait_until_delayed(2)
    dog.open.set()
    looking.join()
    assert {answer.status for answer in looking.published()} == {"ok"}
    assert "sha-99" not in looking.model.seen


def test_a_request_whose_frame_grew_old_during_the_question_before_it_takes_another(looking: Looking):
    sign = looking.model.replies["sign"] = Gate()
    looking.cameras[1].grabs.insert(0, frame(99, age_s=60.0))
    looking.begin_look()
    sign.wait()
    looking.begin_request()
    looking.wait_until_delayed()
    sign.open.set()
    looking.join()
    assert looking.asked() == ["gate", "car", "sign", "dog", "lamp"]
    assert [(answer.status, answer.frame_sha256) for answer in looking.answered[0]] == [("ok", "sha-10")]


def test_a_look_whose_frame_grew_old_during_the_last_question_before_it_takes_another(looking: Looking):
    lamp = looking.model.replies["lamp"] = Gate()
    looking.cameras[1].grabs.insert(0, frame(99, age_s=60.0))
    looking.begin_look()
    lamp.wait()
    looking.begin_look("yard")
    looking.wait_until_delayed()
    lamp.open.set()
    looking.join()
    assert [(answer.status, answer.frame_sha256) for answer in looking.published("yard")] == [("ok", "sha-10")]


def test_a_look_that_takes_another_frame_keeps_its_place(looking: Looking):
    lamp = looking.model.replies["lamp"] = Gate()
    looking.cameras[1].grabs.insert(0, frame(99, age_s=60.0))
    looking.begin_look()
    lamp.wait()
    looking.begin_look("yard")
    looking.wait_until_delayed()
    waiting = looking.service.queue.waiting()
    looking.begin_look("dock")
    until(lambda: looking.service.queue.waiting() == waiting + 1)
    lamp.open.set()
    looking.join()
    assert looking.asked() == ["gate", "car", "sign", "lamp", "dog", "gate", "car", "sign", "lamp"]


def test_a_look_whose_frame_grew_old_because_a_request_came_before_its_encode_takes_another(looking: Looking):
    """The request takes its frame while the look takes its own, and is served first."""
    first, grab, picture = frame(99, age_s=4.5), Gate(), looking.cameras[1].grab
    looking.cameras[0].grabs.insert(0, first)
    dog = looking.model.replies["dog"] = Gate()
    looking.cameras[1].grab = lambda stop: grab() and picture(stop)  # type: ignore[assignment,method-assign,return-value]
    taken = looking.cameras[0].grab

    def take(stop: threading.Event) -> Any:
        if not looking.answered and len(looking.threads) == 1:
            looking.begin_request(waits=False)
            grab.wait()
            threading.Timer(0.05, grab.open.set).start()
        return taken(stop)

    looking.cameras[0].grab = take  # type: ignore[method-assign]
    looking.begin_look()
    dog.wait()
    until(lambda: first.age_s() > 5.0)
    dog.open.set()
    looking.join()
    assert {answer.frame_sha256 for answer in looking.published()} == {"sha-0"}
    assert looking.asked() == ["dog", "gate", "car", "sign", "lamp"]


def test_a_request_that_is_taking_its_frame_is_waited_for(looking: Looking):
    """The next question would take longer than that. A camera that is slower than a second is not waited for."""
    sign, grab, picture = Gate(), Gate(), looking.cameras[1].grab
    slow = threading.Timer(0.2, grab.open.set)  # after the end of the question

    def reply() -> str:
        sign()
        slow.start()
        return "Yes"

    looking.model.replies["sign"] = reply
    looking.cameras[1].grab = lambda stop: grab() and picture(stop)  # type: ignore[assignment,method-assign,return-value]
    looking.begin_look()
    sign.wait()
    looking.begin_request(waits=False)
    grab.wait()
    sign.open.set()
    looking.join()
    slow.join()
    assert looking.asked() == ["gate", "car", "sign", "dog", "lamp"]


def test_a_stop_ends_an_interrupted_look_and_the_request(looking: Looking):
    sign, dog = Gate(), Gate()
    looking.model.replies |= {"sign": sign, "dog": dog}
    looking.interrupt(sign)
    dog.wait()
    looking.service.queue.halt()
    dog.open.set()
    looking.join()
    assert (looking.published(), looking.answered, looking.stopped) == ([], [], ["yard"])
    until(looking.service.queue.gone)
    assert looking.model.disposed == 1


def test_a_replaced_model_answers_the_request_and_the_interrupted_look(looking: Looking):
    sign, dog = Gate(), Gate()
    looking.model.replies |= {"sign": sign, "dog": dog}
    looking.interrupt(sign)
    dog.wait()
    looking.service.serve(looking.service.load(looking.config, looking.wait))
    dog.open.set()
    looking.join()
    old, new = looking.models
    assert [answer.status for answer in looking.published()] == ["ok"] * 4
    assert sorted(name for name, _ in new.asked) == ["car", "dog", "gate", "lamp", "sign"]
    until(lambda: old.disposed == 1)


def test_two_requests_wait_with_their_frames_for_two_workers_only(looking: Looking):
    """A third takes its frame when its turn is near: it would be old by then."""
    sign = looking.model.replies["sign"] = Gate()
    looking.begin_look()
    sign.wait()
    looking.begin_request()
    waiting = looking.service.queue.waiting()
    looking.begin_request(waits=False)
    until(lambda: looking.service.queue.waiting() == waiting + 1)
    assert len(looking.service.queue.with_frame()) == 1
    sign.open.set()
    looking.join()
    assert looking.asked() == ["gate", "car", "sign", "dog", "dog", "lamp"]
