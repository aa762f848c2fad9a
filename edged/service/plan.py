"""Compares two configs: cameras to stop, start or reopen, and whether model or publisher are replaced. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edged.core.specs import BrokerSpec, Config
from edged.core.text import counted


@dataclass(frozen=True, slots=True)
class Plan:
    """The names of cameras, grouped by the action that each needs. A camera in `reopen` is in `changed` too.

    `mqtt` names the changes that need a new publisher, such as `broker login`; empty if the publisher stays. `settings`
    are other keys of the config that changed, and replace nothing.
    """

    stop: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    reopen: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    model: bool = False
    mqtt: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.stop or self.start or self.changed or self.model or self.mqtt or self.settings)

    def __str__(self) -> str:
        """`1 camera started, 1 changed, 4 untouched, model changed`."""
        groups = [(self.start, "started"), (self.stop, "stopped"), (self.changed, "changed")]
        counts = [(len(names), action) for names, action in groups if names] + [(len(self.untouched), "untouched")]
        (count, action), *others = counts
        parts = [f"{counted(count, 'camera')} {action}", *(f"{count} {action}" for count, action in others)]
        others_changed = [*(["model"] if self.model else []), *self.mqtt, *self.settings]
        return ", ".join([*parts, *(f"{part} changed" for part in others_changed)])


def plan(old: Config, new: Config) -> Plan:
    """The plan from one config to another that disturbs the fewest parts."""
    before = {camera.name: camera for camera in old.cameras}
    after = {camera.name: camera for camera in new.cameras}
    kept = [(before[name], after[name]) for name in before if name in after]
    zone_changed = old.timezone != new.timezone  # the schedule of every camera depends on it
    return Plan(
        stop=tuple(name for name in before if name not in after),
        start=tuple(name for name in after if name not in before),
        changed=tuple(b.name for a, b in kept if a != b or zone_changed),
        reopen=tuple(b.name for a, b in kept if a.connection != b.connection),
        untouched=tuple(b.name for a, b in kept if a == b and not zone_changed),
        model=old.model != new.model,
        mqtt=_mqtt_changes(old, new),
        settings=tuple(key for key, value in _settings(new).items() if value != _settings(old)[key]),
    )


def _settings(config: Config) -> dict[str, object]:
    return {
        "language": config.language,
        "generation": config.generation,
        "history": config.history,
        "frames": config.frames,
        "metrics": config.metrics,
        "page": config.page,
        "homeassistant": config.homeassistant,
        "allow_prompts": config.mqtt.allow_prompts,
    }


def _mqtt_changes(old: Config, new: Config) -> tuple[str, ...]:
    before, after = _mqtt_parts(old.mqtt), _mqtt_parts(new.mqtt)
    changed = [name for name in before if before[name] != after[name]]
    if old.mqtt != new.mqtt and not changed:
        return ("broker settings",)
    if old.node == new.node:
        return tuple(changed)
    return ("node", *(name for name in changed if name != "client id"))  # the default client id has the node's name


def _mqtt_parts(broker: BrokerSpec) -> dict[str, object]:
    return {
        "broker": (broker.host, broker.port, broker.tls),
        "broker login": (broker.username, broker.password, broker.problem),
        "broker CA": broker.ca,
        "client certificate": broker.client_certificate,
        "content of the broker's certificate files": broker.files_rev,
        "verification of the broker's certificate": broker.insecure,
        "topic prefix": broker.prefix,
        "client id": broker.client_id,
    }
