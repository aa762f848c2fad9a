"""What a new config changes: which cameras to stop, start, reopen or only ask differently. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edged.core.specs import CameraSpec, Config
from edged.core.text import counted


@dataclass(frozen=True, slots=True)
class Plan:
    """Names of cameras by what has to happen to them; a camera in `changed` may also be in `reopen` or `reschedule`."""

    stop: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    reopen: tuple[str, ...] = ()
    reschedule: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    retired: tuple[tuple[str, tuple[str, ...]], ...] = ()  # questions that a camera no longer asks
    model: bool = False
    mqtt: bool = False

    def __bool__(self) -> bool:
        return bool(self.stop or self.start or self.changed or self.model or self.mqtt)

    def __str__(self) -> str:
        parts = [
            f"{counted(len(names), 'camera')} {word}"
            for names, word in ((self.start, "started"), (self.stop, "stopped"), (self.changed, "changed"))
            if names
        ]
        parts.append(f"{len(self.untouched) if parts else counted(len(self.untouched), 'camera')} untouched")
        parts += ["another model"] if self.model else []
        parts += ["another broker"] if self.mqtt else []
        return ", ".join(parts)


def plan(old: Config, new: Config) -> Plan:
    """How to get from one config to another with the least disturbance."""
    before = {camera.name: camera for camera in old.cameras}
    after = {camera.name: camera for camera in new.cameras}
    both = [(before[name], after[name]) for name in before if name in after]
    zone_changed = old.timezone != new.timezone
    return Plan(
        stop=tuple(name for name in before if name not in after),
        start=tuple(name for name in after if name not in before),
        changed=tuple(b.name for a, b in both if a != b or zone_changed),
        reopen=tuple(b.name for a, b in both if a.connection != b.connection),
        reschedule=tuple(b.name for a, b in both if (a.schedule, a.hours) != (b.schedule, b.hours) or zone_changed),
        untouched=tuple(b.name for a, b in both if a == b and not zone_changed),
        retired=tuple((a.name, gone) for a, b in both if (gone := questions_gone(a, b))),
        model=old.model != new.model,
        mqtt=(old.node, old.mqtt) != (new.node, new.mqtt),
    )


def questions_gone(before: CameraSpec, after: CameraSpec) -> tuple[str, ...]:
    """The names of the questions that are no longer asked, follow-ups included."""
    left = {question.name for question in after.all_questions()}
    return tuple(question.name for question in before.all_questions() if question.name not in left)
