"""Failures of the model, logged as one outage however many cameras and questions they concern."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from edged.core.errors import ModelError
from edged.core.outage import Outage
from edged.core.specs import QuestionSpec, RegionSpec
from edged.service.worker import Worker, WorkerGroup

log = logging.getLogger("edged.look")


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A call of the model that each look of a camera repeats, if `worker` takes it.

    `question` is None for encoding `region`, which is None for the whole frame.
    """

    camera: str
    worker: Worker
    question: str | None
    region: RegionSpec | None = None

    def is_made_for(self, questions: Collection[QuestionSpec]) -> bool:
        """True if a look that asks these questions makes this call; their follow-ups do not count."""
        if self.question is None:
            return self.region in [question.region for question in questions]
        return self.question in [question.name for question in questions]


REPEATED_S = 3600.0  # a call that failed may not be made again for a day, while others succeed
REMOVED = "the questions that failed are no longer asked"


class ModelOutage:
    """Lasts until every call that failed has succeeded, or is no longer made. For any thread.

    A call that has not failed again within REPEATED_S is forgotten when another one succeeds.
    """

    def __init__(self) -> None:
        self._outage = Outage("model", log, "working again")

    @property
    def on(self) -> bool:
        return self._outage.on

    def failed(self, call: ModelCall, error: ModelError, is_made: Callable[[], bool]) -> None:
        """Ignored unless looks still make this call: else none would make it again and end the outage."""
        if is_made():
            self._outage.begin(str(error).removeprefix("model: "), call)
        if not is_made():  # a reload came in between, too early to drop this call
            self._outage.forget(lambda failing: failing == call, REMOVED)

    def succeeded(self, call: ModelCall) -> None:
        self._outage.end(call)
        if self._outage.on:
            self._outage.forget_older(REPEATED_S, "what failed was not repeated, and other calls succeed")

    def keep(self, camera: str, questions: Collection[QuestionSpec]) -> None:
        """This camera asks only these questions now; those that are paused are not among them."""
        self._outage.forget(lambda call: call.camera == camera and not call.is_made_for(questions), REMOVED)

    def camera_removed(self, camera: str) -> None:
        self._outage.forget(lambda call: call.camera == camera, REMOVED)

    def model_replaced(self, group: WorkerGroup) -> None:
        """Only this group serves now. A call of another one that returns later ends no outage of this one."""
        self._outage.forget(lambda call: call.worker.group is not group, "the model was replaced")
