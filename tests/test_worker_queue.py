"""Requests are served first, then the oldest look; a frame is taken when the turn is near; models are disposed once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.broker import until
from support.fakes import FakeModel

from edged.core.errors import ModelError, Stopped
from edged.core.interfaces import VisionModel
from edged.core.requests import MOST_WAITING
from edged.service import worker_queue
from edged.service.worker import WorkerGroup
from edged.service.worker_queue import SLOW_FRAME_S, FrameTooOld, ModelChanged, NoTurn, Ticket, WorkerQueue


class Looks:
    """Looks in threads of their own, with the order in which their turn came near and they were asked."""

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

                    def ask(_model: VisionModel) -> None:
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
def looks() -> Iterator[Looks]:
    looks = Looks()
    yield looks
    looks.queue.halt()
    looks.go.set()
    for thread in looks.threads:
        thread.join(20)
        assert not thread.is_alive()
    until(looks.queue.gone)


def test_requests_come_first_and_then_the_oldest_look(looks: Looks):
    looks.open(FakeModel)
    looks.look("first")
    until(lambda: looks.asked == ["first"])
    looks.look("second")
    looks.look("third")
    looks.look("now", urgent=True)
    looks.go.set()
    until(lambda: len(looks.asked) == 4)
    assert looks.asked == ["first", "now", "second", "third"]


def test_no_frame_is_taken_before_the_turn_is_near(looks: Looks):
    looks.open(FakeModel)
    looks.look("first")
    until(lambda: looks.asked == ["first"])
    looks.look("second")
    looks.look("third")
    third = looks.threads[2]
    looks.queue.halt()  # a look whose turn is near has recorded that before it leaves
    until(lambda: sorted(looks.stopped) == ["first", "second", "third"] and not third.is_alive())
    assert looks.near == ["first"]


def test_the_next_frame_is_taken_during_the_last_question(looks: Looks):
    looks.open(FakeModel)
    looks.look("first", last_question=True)
    looks.look("second")
    looks.look("third")
    until(lambda: looks.near == ["first", "second"])
    assert looks.asked == ["first"]


@pytest.mark.slow
def test_a_slow_frame_does_not_keep_the_model_idle(looks: Looks):
    looks.open(FakeModel)
    slow = looks.queue.join()
    slow.wait_near()
    looks.look("quick")
    until(lambda: looks.asked == ["quick"])
    looks.queue.leave(slow)


def test_two_workers_serve_two_looks_at_once(looks: Looks):
    looks.open(FakeModel, FakeModel)
    looks.look("first")
    looks.look("second")
    until(lambda: sorted(looks.asked) == ["first", "second"])


def test_a_request_that_gets_no_turn_in_time_gives_up(looks: Looks):
    looks.open(FakeModel)
    looks.look("first", urgent=True)
    until(lambda: looks.asked == ["first"])
    with looks.queue.join(urgent=True, until=time.monotonic() + 0.05) as ticket, pytest.raises(NoTurn):
        ticket.wait_near()
    assert looks.queue.waiting() == 0


def test_a_look_that_has_given_up_is_not_served_even_before_it_leaves(looks: Looks):
    looks.open(FakeModel)
    looks.look("first")
    until(lambda: looks.asked == ["first"])
    with looks.queue.join(urgent=True, until=time.monotonic() + 0.05) as ticket:
        ticket.wait_near()
        with pytest.raises(NoTurn):
            ticket.run(lambda _model: looks.asked.append("too late"))
        looks.look("second")
        looks.go.set()
        until(lambda: "second" in looks.asked)
    assert looks.asked == ["first", "second"]


def test_a_stop_ends_waiting_looks(looks: Looks):
    looks.open(FakeModel)
    looks.look("first")
    until(lambda: looks.asked == ["first"])
    looks.look("second")
    looks.queue.halt()
    until(lambda: "second" in looks.stopped)


def test_the_error_of_a_model_that_cannot_be_loaded_is_raised_by_ready(looks: Looks):
    def load() -> FakeModel:
        raise ModelError("model: no")

    group = looks.open(load)
    with pytest.raises(ModelError, match="model: no"):
        until(group.ready)


def test_each_model_is_disposed_once_in_its_own_thread(looks: Looks):
    models = [FakeModel(), FakeModel()]
    group = looks.open(lambda: models[0], lambda: models[1])
    until(group.ready)
    looks.queue.dismiss(group)
    looks.queue.dismiss(group)
    until(looks.queue.gone)
    assert [model.disposed for model in models] == [1, 1]


def test_a_new_model_serves_a_look_that_waited_for_the_old_one(looks: Looks):
    looks.queue.dismiss(looks.open(FakeModel))
    until(looks.queue.gone)
    looks.look("waits")
    looks.open(FakeModel)
    until(lambda: looks.asked == ["waits"])


def test_a_worker_that_is_dismissed_takes_no_other_look_and_is_disposed_when_its_call_ends(looks: Looks):
    """However long the call takes: a dismissed worker never serves again."""
    old, new = FakeModel(), FakeModel()
    group = looks.open(lambda: old)
    looks.look("first")
    until(lambda: looks.asked == ["first"])
    looks.look("second")
    looks.queue.dismiss(group)
    assert not looks.queue.gone()
    looks.open(lambda: new)
    until(lambda: looks.asked == ["first", "second"])  # by the new model, while the old one is in its last call
    assert (old.disposed, looks.queue.gone()) == (0, False)
    looks.go.set()
    until(looks.queue.gone)
    assert (old.disposed, new.disposed) == (1, 0)


def test_a_model_that_was_still_loading_when_it_was_dismissed_is_disposed(looks: Looks):
    go, model = threading.Event(), FakeModel()

    def load() -> FakeModel:
        assert go.wait(20)
        return model

    group = looks.open(load)
    looks.queue.dismiss(group)
    go.set()
    until(looks.queue.gone)
    assert model.disposed == 1


def test_the_stop_that_a_model_call_sees_is_set_when_its_worker_is_dismissed(looks: Looks):
    group = looks.open(FakeModel)
    events: list[str] = []

    def generate(ticket: Ticket[None]) -> None:
        events.append("asked")
        assert ticket.stop.wait(20)
        raise Stopped

    def run() -> None:
        with looks.queue.join() as ticket:
            ticket.wait_near()
            try:
                ticket.run(lambda _model: generate(ticket))
            except ModelChanged:
                events.append("look again")

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: events == ["asked"])
    looks.queue.dismiss(group)
    thread.join(10)
    assert events == ["asked", "look again"]
    until(looks.queue.gone)


def test_a_reply_of_a_dismissed_model_is_dropped(looks: Looks):
    group = looks.open(FakeModel)

    def dismissed_meanwhile(model: VisionModel) -> str:
        looks.queue.dismiss(group)
        return model.name

    with looks.queue.join() as ticket:
        ticket.wait_near()
        with pytest.raises(ModelChanged):
            ticket.run(dismissed_meanwhile)


def test_a_frame_taken_for_a_dismissed_model_is_not_used_with_the_next_one(looks: Looks):
    group = looks.open(FakeModel)
    until(group.ready)
    with looks.queue.join() as ticket:
        ticket.wait_near()  # the look takes its frame after this
        looks.open(FakeModel)
        with pytest.raises(ModelChanged):
            ticket.run(lambda model: model.name)


def test_an_error_in_a_look_is_raised_there_and_the_worker_goes_on(looks: Looks):
    looks.open(FakeModel)
    with looks.queue.join() as ticket:
        ticket.wait_near()
        with pytest.raises(ZeroDivisionError):
            ticket.run(lambda _model: 1 // 0)
    with looks.queue.join() as ticket:
        ticket.wait_near()
        assert ticket.run(lambda model: model.name) == "fake"


def test_a_call_that_takes_too_long_is_overdue(looks: Looks):
    group = looks.open(FakeModel)
    worker = group.workers[0]
    with looks.queue.join() as ticket:
        ticket.wait_near()

        def late(_model: VisionModel) -> tuple[float, float]:
            ticket.expect_encode(1000)
            first = looks.queue.overdue_s()
            ticket.encoded(0.001)
            ticket.expect(-1000.0)
            return first, looks.queue.overdue_s()

        first, second = ticket.run(late)
    assert first == 0
    assert second > 900
    assert looks.queue.overdue_s() == 0
    assert worker.expected_by is None


def test_looks_that_wait_for_a_worker_whose_thread_has_ended_are_stalled(looks: Looks):
    group = looks.open(FakeModel)
    until(group.ready)
    assert looks.queue.stalled_s() == 0.0
    group.leaving.set()  # ends the thread, as an unexpected error would; the queue is not told
    until(group.gone)
    with looks.queue.join():
        until(lambda: looks.queue.stalled_s() > 0.3)
    assert looks.queue.stalled_s() == 0.0


def test_looks_that_wait_for_a_busy_worker_are_not_stalled(looks: Looks):
    looks.open(FakeModel)
    with looks.queue.join() as first, looks.queue.join():
        first.wait_near()

        def slow(_model: VisionModel) -> float:
            time.sleep(0.3)
            return looks.queue.stalled_s()

        assert first.run(slow) == 0.0


def test_looks_without_a_model_are_not_stalled(looks: Looks):
    with looks.queue.join():
        time.sleep(0.1)
        assert looks.queue.stalled_s() == 0.0


def test_an_encode_is_measured_by_the_slowest_before_it(looks: Looks):
    """A slow CPU needs minutes for its first encode: with a fixed limit systemd would restart edged for ever."""
    worker = looks.open(FakeModel).workers[0]
    limits = [worker.encode_limit_s()]
    for seconds in (500.0, 90.0, 30.0, 120.0, 30.0):  # the first one compiles
        worker.encoded(seconds)
        limits.append(worker.encode_limit_s())
    assert limits == [600.0, 5000.0, 900.0, 900.0, 1200.0, 1200.0]
    quick = looks.open(FakeModel).workers[0]
    quick.encoded(0.3)
    assert quick.encode_limit_s() == 60.0


def test_an_encode_is_not_measured_by_those_of_smaller_pictures(looks: Looks):
    """A region takes 5 s and the whole picture minutes, on a CPU and with a model that takes any size."""
    worker = looks.open(FakeModel).workers[0]
    region, whole = 320 * 240, 1920 * 1080
    for pixels, seconds in ((region, 5.0), (whole, 250.0), (region, 5.0), (region, 5.0)):
        worker.pixels = pixels
        worker.encoded(seconds)
    limits = {}
    for pixels in (region, whole, 4 * whole):
        worker.pixels = pixels
        limits[pixels] = worker.encode_limit_s()
    assert limits == {region: 60.0, whole: 2500.0, 4 * whole: 600.0}


class Requesters:
    """Threads that send the next request as soon as the one before is answered, until the context is left."""

    def __init__(self, looks: Looks, count: int) -> None:
        self.served = 0
        self._looks = looks
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self) -> Requesters:
        for thread in self._threads:
            thread.start()
        until(lambda: self.served > 2 * MOST_WAITING)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _run(self) -> None:
        while not self._over.is_set():
            with self._looks.queue.join(urgent=True) as ticket:
                ticket.wait_near()

                def ask(_model: VisionModel, ticket: Ticket[None] = ticket) -> None:
                    ticket.nearly_done()
                    self.served += 1

                ticket.run(ask)


def test_requests_without_end_hold_up_neither_the_next_look_nor_its_questions(looks: Looks):
    looks.open(FakeModel)
    with Requesters(looks, 3) as requesters:
        begun: list[int] = []
        at_once: list[int] = []

        def gives_way() -> bool:
            at_once.append(ticket.give_way(MOST_WAITING))
            return at_once[-1] > 0

        def ask(_model: VisionModel) -> None:
            begun.append(requesters.served)
            ticket.answered()
            until(gives_way)

        before = requesters.served
        with looks.queue.join() as ticket:
            ticket.wait_near()
            ticket.run(ask)
    assert begun[0] - before <= 2 * MOST_WAITING
    assert at_once[-1] <= MOST_WAITING


def test_a_look_that_needs_no_model_has_had_its_turn_after_eight_requests(looks: Looks):
    """Its camera failed, or its answers were repeated. Else requests would wait until a look needs the model."""
    looks.open(FakeModel)
    with Requesters(looks, 1):
        pass
    with looks.queue.join() as ticket:
        ticket.wait_near()
    blocked = looks.queue.join()  # does not come
    looks.look("request", urgent=True)
    until(lambda: looks.asked == ["request"])
    looks.queue.leave(blocked)


def test_slow_looks_take_their_frames_one_after_the_other_and_let_quick_ones_pass(looks: Looks):
    """All at once, most frames would be too old when the model is free."""
    looks.open(FakeModel)
    first, second, near = looks.queue.join(slow=True), looks.queue.join(slow=True), threading.Event()
    first.wait_near()

    def wait() -> None:
        second.wait_near()
        near.set()

    thread = threading.Thread(target=wait)
    thread.start()
    quick, begun = looks.queue.join(), time.monotonic()
    quick.wait_near()
    assert time.monotonic() - begun < SLOW_FRAME_S / 3
    looks.queue.leave(quick)
    assert not near.is_set()
    assert near.wait(20)
    thread.join(20)
    looks.queue.leave(first)
    looks.queue.leave(second)


def put_back(_model: VisionModel) -> None:
    raise FrameTooOld


def test_a_look_that_was_put_back_gets_its_first_answer_before_it_gives_way_again(looks: Looks):
    looks.open(FakeModel)
    looks.go.set()
    with looks.queue.join() as ticket:
        ticket.wait_near()
        with pytest.raises(FrameTooOld):
            ticket.run(put_back)
        looks.look("request", urgent=True)
        gave_way = ticket.run(gives_way_twice(ticket))
    assert gave_way == (0, 1)


def gives_way_twice(ticket: Ticket[tuple[int, int]]) -> Callable[[VisionModel], tuple[int, int]]:
    """How many requests it serves before its first answer, and after it."""

    def ask(_model: VisionModel) -> tuple[int, int]:
        before = ticket.give_way()
        ticket.answered()
        return before, ticket.give_way()

    return ask


def test_a_look_that_has_its_turn_after_eight_requests_gets_an_answer_before_it_gives_way(looks: Looks):
    looks.open(FakeModel)
    looks.look("request", urgent=True)
    until(lambda: looks.asked == ["request"])
    for _ in range(MOST_WAITING + 3):
        looks.look("request", urgent=True)
    with looks.queue.join() as ticket:
        looks.go.set()
        ticket.wait_near()
        gave_way = ticket.run(gives_way_twice(ticket))
    assert gave_way[0] == 0
    assert gave_way[1] > 0


@pytest.mark.parametrize("urgent", [False, True])
@pytest.mark.parametrize("slow", [False, True])
def test_a_worker_waits_for_the_new_frame_of_a_look_that_was_put_back(
    looks: Looks, slow: bool, urgent: bool, monkeypatch: pytest.MonkeyPatch
):
    """Else the next look would have the worker for so long that the new frame becomes too old as well."""
    monkeypatch.setattr(worker_queue, "SLOW_FRAME_S", 0.05)
    looks.open(FakeModel)
    with looks.queue.join(slow=slow) as ticket:
        ticket.wait_near()
        with pytest.raises(FrameTooOld):
            ticket.run(put_back)
        looks.look("next", urgent)
        assert not looks.go.wait(0.5)
        assert (looks.near, looks.asked) == ([], [])
        ticket.run(lambda _model: looks.asked.append("put back"))
    until(lambda: looks.asked == ["put back", "next"])


@pytest.mark.parametrize("urgent", [False, True])
def test_a_look_that_has_its_frame_waits_for_one_that_is_put_back(looks: Looks, urgent: bool):
    looks.open(FakeModel)
    with looks.queue.join() as ticket:
        ticket.wait_near()

        def too_old(_model: VisionModel) -> None:
            ticket.nearly_done()
            looks.look("next", urgent)
            until(looks.queue.with_frame)
            raise FrameTooOld

        with pytest.raises(FrameTooOld):
            ticket.run(too_old)
        assert not looks.go.wait(0.5)
        assert looks.asked == []
        ticket.run(lambda _model: looks.asked.append("put back"))
    until(lambda: looks.asked == ["put back", "next"])


def test_of_two_workers_one_turns_to_the_schedule_after_eight_requests(looks: Looks):
    """Otherwise all requests would wait for an encode and an answer of both."""
    looks.open(FakeModel, FakeModel)
    with Requesters(looks, 6) as requesters:
        tickets = [looks.queue.join() for _ in range(2)]
        first, second = (threading.Thread(target=serve, args=(looks, ticket)) for ticket in tickets)
        first.start()
        until(lambda: "schedule" in looks.asked)
        second.start()
        before = requesters.served
        until(lambda: requesters.served > before + 3 * MOST_WAITING)
        assert looks.asked == ["schedule"]
        looks.go.set()
        for thread in (first, second):
            thread.join(20)
            assert not thread.is_alive()


def serve(looks: Looks, joined: Ticket[None]) -> None:
    def ask(_model: VisionModel) -> None:
        looks.asked.append("schedule")
        assert looks.go.wait(20)

    with joined as ticket:
        ticket.wait_near()
        ticket.run(ask)


def test_a_worker_does_not_wait_for_long_for_the_frame_of_a_look_that_was_put_back(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker_queue, "NEW_FRAME_S", 0.2)
    looks.open(FakeModel)
    with looks.queue.join() as ticket:
        ticket.wait_near()
        with pytest.raises(FrameTooOld):
            ticket.run(put_back)
        looks.look("next")
        until(lambda: looks.asked == ["next"])


def test_a_look_whose_frame_is_slow_does_not_keep_the_model_idle_at_all(looks: Looks):
    looks.open(FakeModel)
    slow = looks.queue.join(slow=True)
    slow.wait_near()
    begun = time.monotonic()
    looks.look("quick")
    until(lambda: looks.asked == ["quick"])
    assert time.monotonic() - begun < SLOW_FRAME_S / 2
    looks.queue.leave(slow)
