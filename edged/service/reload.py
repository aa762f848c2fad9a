"""From one config to the next while edged runs, or back to where it was.

Everything that can fail is tried before anything that runs is touched: the broker's files are read, camera runtimes are
made, the model's folder and the questions are judged. What fails after that is taken back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from edged.core.errors import CannotGoOn, EdgedError, ModelError, Stopped
from edged.core.interfaces import Publisher
from edged.core.specs import Config
from edged.service.camera_runtime import CameraRuntime
from edged.service.plan import Plan, plan
from edged.service.service import LOAD_LIMIT_S, Service, Wait, all_questions
from edged.service.worker_queue import WorkerGroup

log = logging.getLogger("edged")


@dataclass(slots=True)
class Reload:
    """Reloads of one service. `wait` raises Stopped when edged is told to stop, `wait_on` never does."""

    service: Service
    wait: Wait
    wait_on: Wait

    def take(self, new: Config) -> Plan:
        """Follow this config from now on; what it changed.

        Raises EdgedError with the reason if it cannot be followed; then everything runs as before. Raises CannotGoOn
        if that failed too, and Stopped if edged is told to stop meanwhile.
        """
        old = self.service.config
        former = _Running(old, self.service.publisher, self.service.queue.serving())
        change = plan(old, new)
        publisher = self._publisher(change, new)
        opened = self._new_cameras(change, new)
        group = self._model(change, old, new)
        try:
            self._commit(old, new, publisher, opened, group)
        except Exception as error:
            log.exception("config not reloaded: unexpected error; going back to the former one")
            self._go_back(former, new, group)
            raise EdgedError(f"unexpected error while it was taken over: {error!r}") from error
        return change

    # before anything that runs is touched

    def _publisher(self, change: Plan, new: Config) -> Publisher | None:
        if not change.mqtt:
            return None
        publisher = self.service.factories.open_publisher(new.mqtt, new.node)
        publisher.prepare()
        return publisher

    def _new_cameras(self, change: Plan, new: Config) -> dict[str, CameraRuntime]:
        names = {*change.start, *change.reopen}
        return {spec.name: self.service.open_camera(spec, new.rev) for spec in new.cameras if spec.name in names}

    def _model(self, change: Plan, old: Config, new: Config) -> WorkerGroup | None:
        """The new model's group, loaded, if another model is wanted. Raises ModelError; the old one serves then."""
        if not change.model:
            for model in self.service.queue.models():
                model.check(all_questions(new))
            return None
        self._judge(new)
        if self.service.factories.fit_together(old.model, new.model):
            return self._loaded(new)
        return self._exchanged(old, new)

    def _judge(self, new: Config) -> None:
        """Look at the new model's folder, and at the questions with its tokenizer, while the old one serves."""
        judged = _Aside(lambda: self.service.factories.check_model(new.model, all_questions(new)))
        if not self.wait(judged.over, LOAD_LIMIT_S):
            raise ModelError("model: its folder could not be read in time")
        judged.result()

    def _exchanged(self, old: Config, new: Config) -> WorkerGroup:
        """The device holds one model only: the old one leaves first, and comes back if the new one fails."""
        self._dismiss_serving()
        try:
            group = self._loaded(new)
        except Stopped:
            raise
        except Exception:  # whatever it is: without a model there would be no answers any more
            self._bring_back(old)
            raise
        self.service.serve(group)
        return group

    def _loaded(self, config: Config) -> WorkerGroup:
        """The group of this config's model. One that fails has left before this raises: its room may be needed."""
        try:
            return self.service.load(config, self.wait)
        except Stopped:
            raise
        except Exception:
            self.service.dismissed(self.wait)
            raise

    # taking over

    def _commit(
        self,
        old: Config,
        new: Config,
        publisher: Publisher | None,
        opened: dict[str, CameraRuntime],
        group: WorkerGroup | None,
    ) -> None:
        self.service.converge(new, opened)
        if publisher:
            self.service.change_broker(publisher, old, new, self.wait_on)
        if group and self.service.queue.serving() is not group:
            self.service.serve(group)
            self.service.dismissed(self.wait_on)
        self.service.config = new

    # taking back

    def _go_back(self, former: _Running, new: Config, group: WorkerGroup | None) -> None:
        """Whatever the commit had come to: cameras, broker and model as they were."""
        service, old = self.service, former.config
        try:
            service.converge(old)
            if service.publisher is not former.publisher:
                publisher = service.factories.open_publisher(old.mqtt, old.node)
                service.change_broker(publisher, replace(new, cameras=()), old, self.wait_on)
        except Exception as error:
            raise CannotGoOn(f"the former config could not be restored: {error!r}") from error
        if service.queue.serving() is not former.group:
            self._dismiss_serving()
            self._bring_back(old)
        elif group:
            service.queue.dismiss(group)
            service.dismissed(self.wait_on)
        service.config = old

    def _bring_back(self, old: Config) -> None:
        try:
            self.service.serve(self._loaded(old))
        except Stopped:
            raise
        except Exception as error:
            raise CannotGoOn(f"the former model could not be loaded again: {error}") from error

    def _dismiss_serving(self) -> None:
        if group := self.service.queue.serving():
            self.service.queue.dismiss(group)
        if not self.service.dismissed(self.wait):
            raise CannotGoOn("the model's worker does not leave")


@dataclass(frozen=True, slots=True)
class _Running:
    """What ran before."""

    config: Config
    publisher: Publisher
    group: WorkerGroup | None


class _Aside:
    """A call in a thread of its own, so that the main thread can go on feeding the watchdog."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="edged-judge", daemon=True)
        self._thread.start()

    def over(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> None:
        """Raises what the call raised."""
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # raised by `result`
            self._error = error
