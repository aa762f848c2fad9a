"""The line: ask-now first, then the oldest; a frame is taken when its ticket is near; models are disposed once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from support.broker import until
from support.fakes import FakeModel

from edged.core.errors import ModelError, Stopped
from edged.service.worker import WorkerGroup
from edged.service.worker_queue import ModelChanged, Ticket, WorkerQueue


class Line:
    """Lookers that note in which order they came near and were asked."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.queue = WorkerQueue(self.stop)
        self.near: list[str] = []
        self.asked: list[str] = []
        self.go = threading.Event()
        self.threads: list[threading.Thread] = []
        self.stopped: list[str] = []
        self.again: list[str] = []

    def open(self, *loads: Callable[[], FakeModel]) -> WorkerGroup:
        group = self.queue.load(loads)
        self.queue.serve(group)
        return group

    def look(self, name: str, urgent: bool = False, last_question: bool = False) -> None:
        before = self.queue.waiting()
        joined = self.queue.join(urgent)

        def run() -> None:
            try:
                with joined as ticket:
                    ticket.wait_near()
                    self.near.append(name)

                    def ask(model: FakeModel) -> None:
                        self.asked.append(name)
                        if last_question:
                            ticket.nearly_done()
                        assert self.go.wait(20)

                    ticket.run(ask)
            except Stopped:
                self.stopped.append(name)
            except ModelChanged:
                self.again.append(name)

        assert self.queue.waiting() == before + 1
        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.queue.halt()
    made.go.set()
    for thread in made.threads:
        thread.join(20)
        assert not thread.is_alive()
    until(made.queue.gone)


def test_the_oldest_is_next_and_ask_now_comes_before_it(line: Line):
    line.open(FakeModel)
    line.look("first")
    until(lambda: line.asked == ["first"])
    line.look("second")
    line.look("third")
    line.look("now", urgent=True)
    line.go.set()
    until(lambda: len(line.asked) == 4)
    assert line.asked == ["first", "now", "second", "third"]


def test_no_frame_is_taken_while_its_turn_is_far(line: Line):
    line.open(FakeModel)
    line.look("first")
    until(lambda: line.asked == ["first"])
    line.look("second")
    line.look("third")
    third = line.threads[2]
    line.queue.halt()  # both are told at the same time: whoever was near would have noted that before it leaves
    until(lambda: sorted(line.stopped) == ["first", "second", "third"] and not third.is_alive())
    assert line.near == ["first"]


def test_the_next_frame_is_taken_during_the_last_question(line: Line):
    line.open(FakeModel)
    line.look("first", last_question=True)
    line.look("second")
    line.look("third")
    until(lambda: line.near == ["first", "second"])
    assert line.asked == ["first"]


def test_a_slow_frame_does_not_keep_the_model_idle(line: Line):
    line.open(FakeModel)
    slow = line.queue.join()
    slow.wait_near()
    line.look("quick")
    until(lambda: line.asked == ["quick"])
    line.queue.leave(slow)


def test_two_workers_serve_two_looks_at_once(line: Line):
    line.open(FakeModel, FakeModel)
    line.look("first")
    line.look("second")
    until(lambda: sorted(line.asked) == ["first", "second"])


def test_who_waits_is_told_of_the_stop(line: Line):
    line.open(FakeModel)
    line.look("first")
    until(lambda: line.asked == ["first"])
    line.look("second")
    line.queue.halt()
    until(lambda: "second" in line.stopped)


def test_a_model_that_cannot_be_loaded_is_told_to_who_waits_for_it(line: Line):
    def load() -> FakeModel:
        raise ModelError("model: no")

    group = line.open(load)
    with pytest.raises(ModelError, match="model: no"):
        until(group.ready)


def test_each_model_is_disposed_once_in_its_own_thread(line: Line):
    models = [FakeModel(), FakeModel()]
    group = line.open(lambda: models[0], lambda: models[1])
    until(group.ready)
    line.queue.dismiss(group)
    line.queue.dismiss(group)
    until(line.queue.gone)
    assert [model.disposed for model in models] == [1, 1]


def test_a_new_model_serves_who_waited_for_the_old_one(line: Line):
    line.queue.dismiss(line.open(FakeModel))
    until(line.queue.gone)
    line.look("waits")
    line.open(FakeModel)
    until(lambda: line.asked == ["waits"])


def test_a_worker_that_is_dismissed_takes_no_other_look_and_is_disposed_when_its_call_ends(line: Line):
    """However long the call takes: nobody's patience ends with the worker back in service."""
    old, new = FakeModel(), FakeModel()
    group = line.open(lambda: old)
    line.look("first")
    until(lambda: line.asked == ["first"])
    line.look("second")
    line.queue.dismiss(group)
    assert not line.queue.gone()
    line.open(lambda: new)
    until(lambda: line.asked == ["first", "second"])  # by the new one, while the old one is still inside its call
    assert (old.disposed, line.queue.gone()) == (0, False)
    line.go.set()
    until(line.queue.gone)
    assert (old.disposed, new.disposed) == (1, 0)


def test_a_model_that_was_still_loading_when_it_was_dismissed_is_disposed(line: Line):
    go, model = threading.Event(), FakeModel()

    def load() -> FakeModel:
        assert go.wait(20)
        return model

    group = line.open(load)
    line.queue.dismiss(group)
    go.set()
    until(line.queue.gone)
    assert model.disposed == 1


def test_the_stop_that_a_model_call_sees_is_set_when_its_worker_is_dismissed(line: Line):
    group = line.open(FakeModel)
    seen: list[str] = []

    def generate(ticket: Ticket[None]) -> None:
        seen.append("asked")
        assert ticket.stop.wait(20)
        raise Stopped

    def run() -> None:
        with line.queue.join() as ticket:
            ticket.wait_near()
            try:
                ticket.run(lambda _model: generate(ticket))
            except ModelChanged:
                seen.append("look again")

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: seen == ["asked"])
    line.queue.dismiss(group)
    thread.join(10)
    assert seen == ["asked", "look again"]
    until(line.queue.gone)


def test_what_a_model_says_after_it_was_dismissed_is_not_taken(line: Line):
    group = line.open(FakeModel)

    def dismissed_meanwhile(model: FakeModel) -> str:
        line.queue.dismiss(group)
        return model.name

    with line.queue.join() as ticket:
        ticket.wait_near()
        with pytest.raises(ModelChanged):
            ticket.run(dismissed_meanwhile)


def test_a_frame_that_was_taken_for_a_model_that_left_is_not_shown_to_the_next_one(line: Line):
    group = line.open(FakeModel)
    until(group.ready)
    with line.queue.join() as ticket:
        ticket.wait_near()  # here the look takes its frame
        line.open(FakeModel)
        with pytest.raises(ModelChanged):
            ticket.run(lambda model: model.name)


def test_an_error_in_a_look_is_raised_there_and_the_worker_goes_on(line: Line):
    line.open(FakeModel)
    with line.queue.join() as ticket:
        ticket.wait_near()
        with pytest.raises(ZeroDivisionError):
            ticket.run(lambda _model: 1 // 0)
    with line.queue.join() as ticket:
        ticket.wait_near()
        assert ticket.run(lambda model: model.name) == "fake"


def test_a_call_that_takes_too_long_is_overdue(line: Line):
    group = line.open(FakeModel)
    worker = group.workers[0]
    with line.queue.join() as ticket:
        ticket.wait_near()

        def late(_model: FakeModel) -> tuple[float, float]:
            ticket.expect_encode()
            first = line.queue.overdue_s()
            ticket.encoded(0.001)
            ticket.expect(-1000.0)
            return first, line.queue.overdue_s()

        first, second = ticket.run(late)
    assert first == 0
    assert second > 900
    assert line.queue.overdue_s() == 0
    assert worker.expected_by is None


def test_an_encode_is_measured_by_the_slowest_before_it(line: Line):
    """A slow CPU needs minutes for its first one: a fixed limit would start it anew for ever."""
    worker = line.open(FakeModel).workers[0]
    limits = [worker.encode_limit_s()]
    for seconds in (500.0, 90.0, 30.0, 120.0, 30.0):  # the first one compiles
        worker.encoded(seconds)
        limits.append(worker.encode_limit_s())
    assert limits == [600.0, 5000.0, 900.0, 900.0, 1200.0, 1200.0]
    quick = line.open(FakeModel).workers[0]
    quick.encoded(0.3)
    assert quick.encode_limit_s() == 60.0
