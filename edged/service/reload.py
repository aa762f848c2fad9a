"""Replaces the config while edged runs, or restores the previous one.

Everything that can fail is tried before anything that runs is touched: the broker's files are read, the new cameras'
runtimes are created, the model's folder and the questions are checked. If a later step fails, the reload is rolled
back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from edged.core.errors import CannotGoOn, EdgedError, ModelError, Stopped, is_shortage
from edged.core.interfaces import Publisher
from edged.core.specs import Config
from edged.core.text import spoken, system_text
from edged.service.background import BackgroundCall
from edged.service.camera_runtime import CameraRuntime
from edged.service.plan import Plan, plan
from edged.service.service import LEAVE_LIMIT_S, LOAD_LIMIT_S, Service
from edged.service.waiting import Wait
from edged.service.worker import WorkerGroup

log = logging.getLogger("edged")


@dataclass(frozen=True, slots=True)
class _InService:
    """The parts in service before a reload, for the rollback."""

    config: Config
    publisher: Publisher
    group: WorkerGroup | None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The parts for a new config that are ready to be put into service. None: the current one stays."""

    config: Config
    cameras: dict[str, CameraRuntime]
    publisher: Publisher | None
    group: WorkerGroup | None


def reason_of(error: Exception, more: str = "") -> str:
    """Why a reload failed. An unexpected error is logged with its traceback; `more` is the end of that log line."""
    if is_shortage(error):
        return system_text(error)
    log.exception("config not reloaded: unexpected error%s", more)
    return f"unexpected error: {error!r}"


@dataclass(slots=True)
class Reload:
    """Reloads of one service. `wait` raises Stopped when edged has to end; `wait_uninterrupted` does not."""

    service: Service
    wait: Wait
    wait_uninterrupted: Wait

    def take(self, new: Config) -> Plan:
        """Put this config into service. Returns the changes.

        If that is not possible, raises EdgedError or the error of the step that failed; then everything runs as before.
        Raises CannotGoOn if the rollback failed too, and Stopped if edged has to end meanwhile.
        """
        service = self.service
        before = _InService(service.config, service.publisher, service.queue.serving())
        change = plan(before.config, new)
        publisher = self._prepare_publisher(change, new)
        cameras = self._prepare_cameras(change, new)
        group = self._prepare_model(change, before.config, new)
        prepared = _Prepared(new, cameras, publisher, group)
        try:
            self._commit(before, prepared)
        except Exception as error:
            reason = reason_of(error, "; restoring the previous config")
            self._go_back(before, prepared)
            raise EdgedError(f"{reason}; the previous config is active again") from error
        return change

    # before anything that runs is touched

    def _prepare_publisher(self, change: Plan, new: Config) -> Publisher | None:
        if not change.mqtt:
            return None
        publisher = self.service.new_publisher(new)
        publisher.prepare()
        return publisher

    def _prepare_cameras(self, change: Plan, new: Config) -> dict[str, CameraRuntime]:
        names = {*change.start, *change.reopen}
        return {spec.name: self.service.open_camera(spec, new) for spec in new.cameras if spec.name in names}

    def _prepare_model(self, change: Plan, old: Config, new: Config) -> WorkerGroup | None:
        """The loaded group of the new model; None if the model stays. Raises ModelError; the old one serves then.

        Where the device has room for one model only, the new group serves already.
        """
        if not change.model:
            for model in self.service.queue.models():
                model.check(new.all_questions())
            return None
        self._check_model(new)
        if self.service.factories.fit_together(old.model, new.model):
            return self._load(new)
        return self._exchange(old, new)

    def _check_model(self, new: Config) -> None:
        """Check the new model's folder, and the questions with its tokenizer, while the old one serves."""
        call = BackgroundCall(
            lambda: self.service.factories.check_model(new.model, new.all_questions()), "edged-model-check"
        )
        call.start()
        if not self.wait(call.done, LOAD_LIMIT_S):
            raise ModelError(f"model: its folder could not be checked within {spoken(LOAD_LIMIT_S)}")
        call.check()

    def _exchange(self, old: Config, new: Config) -> WorkerGroup:
        """Unload the old model first. It is loaded again if the new one fails."""
        self._dismiss_serving()
        try:
            group = self._load(new)
        except Stopped:
            raise
        except Exception:  # of any kind: without a model there would be no more answers
            self._load_again(old)
            raise
        self.service.serve(group)
        return group

    def _load(self, config: Config) -> WorkerGroup:
        """Load the model of this config. If that fails, its workers have left before this raises, so there is room."""
        try:
            return self.service.load(config, self.wait)
        except Stopped:
            raise
        except Exception:
            self.service.wait_for_dismissed(self.wait)
            raise

    # commit

    def _commit(self, before: _InService, prepared: _Prepared) -> None:
        """Cameras, broker, model, config: the order matters.

        Cameras come before the broker, because removed cameras and questions are cleared at the old broker, and the new
        one gets the states of the new cameras. The model comes last of the three, because replacing it cannot be undone
        quickly. The config is set when nothing can fail any more.
        """
        service = self.service
        service.converge(prepared.config, prepared.cameras)
        if prepared.publisher:
            service.change_broker(prepared.publisher, before.config, prepared.config, self.wait_uninterrupted)
        if prepared.group and service.queue.serving() is not prepared.group:
            service.serve(prepared.group)
            service.wait_for_dismissed(self.wait_uninterrupted, replaced=True)
        service.config = prepared.config
        service.pauses.keep(prepared.config)

    # rollback

    def _go_back(self, before: _InService, prepared: _Prepared) -> None:
        """Put the previous config into service again, in the same order, however far the commit came."""
        service, old = self.service, before.config
        try:
            service.converge(old)
            if service.publisher is not before.publisher:
                publisher = service.new_publisher(old)  # a closed one cannot be used again
                service.change_broker(publisher, prepared.config, old, self.wait_uninterrupted)
        except Exception as error:
            raise CannotGoOn(f"the previous config could not be restored: {error!r}") from error
        if service.queue.serving() is not before.group:
            self._dismiss_serving()
            self._load_again(old)
        elif prepared.group:
            service.queue.dismiss(prepared.group)
            service.wait_for_dismissed(self.wait_uninterrupted, replaced=True)
        service.config = old

    def _load_again(self, old: Config) -> None:
        try:
            self.service.serve(self._load(old))
        except Stopped:
            raise
        except Exception as error:
            raise CannotGoOn(f"the previous model could not be loaded again: {error}") from error

    def _dismiss_serving(self) -> None:
        queue = self.service.queue
        if group := queue.serving():
            queue.dismiss(group)
        limit_s = max(LEAVE_LIMIT_S, queue.due_in_s())  # an encode cannot be interrupted, and may take minutes on a CPU
        if not self.service.wait_for_dismissed(self.wait, limit_s):
            raise CannotGoOn("the model could not be unloaded, because a model call does not return")
