"""The line: ask-now first, then the oldest; a frame is taken when its turn is near; models are disposed once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from broker import until
from fakes import FakeModel

from edged.core import ModelError, Stopped
from edged.turns import Turns


class Line:
    """Lookers that note in which order they came near and were asked."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.turns = Turns(self.stop)
        self.near: list[str] = []
        self.asked: list[str] = []
        self.go = threading.Event()
        self.threads: list[threading.Thread] = []
        self.stopped: list[str] = []

    def look(self, name: str, urgent: bool = False, last_question: bool = False) -> None:
        before = self.turns.waiting()
        joined = self.turns.join(urgent)

        def run() -> None:
            try:
                with joined as turn:
                    turn.wait_near()
                    self.near.append(name)

                    def ask(model: FakeModel) -> None:
                        self.asked.append(name)
                        if last_question:
                            turn.nearly_done()
                        assert self.go.wait(20)

                    turn.run(ask)
            except Stopped:
                self.stopped.append(name)

        assert self.turns.waiting() == before + 1
        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.stop.set()
    made.go.set()
    made.turns.wake()
    for thread in made.threads:
        thread.join(20)
        assert not thread.is_alive()
    assert made.turns.close()


def test_the_oldest_is_next_and_ask_now_comes_before_it(line: Line):
    line.turns.open([FakeModel])
    line.look("first")
    until(lambda: line.asked == ["first"])
    line.look("second")
    line.look("third")
    line.look("now", urgent=True)
    line.go.set()
    until(lambda: len(line.asked) == 4)
    assert line.asked == ["first", "now", "second", "third"]


def test_no_frame_is_taken_while_its_turn_is_far(line: Line):
    line.turns.open([FakeModel])
    line.look("first")
    until(lambda: line.asked == ["first"])
    line.look("second")
    line.turns.wake()
    assert line.near == ["first"]


def test_the_next_frame_is_taken_during_the_last_question(line: Line):
    line.turns.open([FakeModel])
    line.look("first", last_question=True)
    line.look("second")
    line.look("third")
    until(lambda: line.near == ["first", "second"])
    assert line.asked == ["first"]


def test_a_slow_frame_does_not_keep_the_model_idle(line: Line):
    line.turns.open([FakeModel])
    slow = line.turns.join()
    slow.wait_near()
    line.look("quick")
    until(lambda: line.asked == ["quick"])
    line.turns._leave(slow)


def test_two_workers_serve_two_looks_at_once(line: Line):
    line.turns.open([FakeModel, FakeModel])
    line.look("first")
    line.look("second")
    until(lambda: sorted(line.asked) == ["first", "second"])


def test_who_waits_is_told_of_the_stop(line: Line):
    line.turns.open([FakeModel])
    line.look("first")
    until(lambda: line.asked == ["first"])
    line.look("second")
    line.stop.set()
    line.turns.wake()
    until(lambda: line.stopped == ["second"])


def test_a_model_that_cannot_be_loaded_is_told_to_who_waits_for_it(line: Line):
    def load() -> FakeModel:
        raise ModelError("model: no")

    line.turns.open([load])
    with pytest.raises(ModelError, match="model: no"):
        until(line.turns.ready)


def test_each_model_is_disposed_once_in_its_own_thread(line: Line):
    models = [FakeModel(), FakeModel()]
    line.turns.open([lambda: models[0], lambda: models[1]])
    until(line.turns.ready)
    assert line.turns.close()
    assert line.turns.close()
    assert [model.disposed for model in models] == [1, 1]


def test_a_new_model_serves_who_waited_for_the_old_one(line: Line):
    line.turns.open([FakeModel])
    until(line.turns.ready)
    assert line.turns.close()
    line.look("waits")
    line.turns.open([FakeModel])
    until(lambda: line.asked == ["waits"])


def test_an_error_in_a_look_is_raised_there_and_the_worker_goes_on(line: Line):
    line.turns.open([FakeModel])
    with line.turns.join() as turn:
        turn.wait_near()
        with pytest.raises(ZeroDivisionError):
            turn.run(lambda _model: 1 // 0)
    with line.turns.join() as turn:
        turn.wait_near()
        assert turn.run(lambda model: model.name) == "fake"


def test_a_call_that_takes_too_long_is_overdue(line: Line):
    line.turns.open([FakeModel])
    with line.turns.join() as turn:
        turn.wait_near()
        turn.run(lambda _model: turn.expect(-1.0))

        def late(_model: FakeModel) -> float:
            turn.expect(-1.0)
            return line.turns.overdue_s()

    with line.turns.join() as turn:
        turn.wait_near()
        assert turn.run(late) > 0
    until(lambda: line.turns.overdue_s() == 0)
