"""Runs in Home Assistant's own Python: starts it in the folder given, and answers commands, a line of JSON each.

Without its web interface, which would need more packages. `{"do": "states"}`, `{"do": "devices"}`,
`{"do": "call", "domain", "service", "data"}`, `{"do": "image", "entity"}`, `{"do": "notified"}`, `{"do": "stop"}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from homeassistant import bootstrap, runner
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry, entity_registry

NOTIFIED: list[dict[str, Any]] = []  # by notify.phone


async def main(folder: str) -> None:
    bootstrap.DEFAULT_INTEGRATIONS.clear()
    bootstrap.CRITICAL_INTEGRATIONS.clear()
    hass = await bootstrap.async_setup_hass(runner.RuntimeConfig(config_dir=folder, skip_pip=True))
    await hass.async_start()
    hass.services.async_register("notify", "phone", lambda call: NOTIFIED.append(dict(call.data)))
    reply({"ready": sorted(hass.config.components)})
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        if command["do"] == "stop":
            break
        reply(await answer(hass, command))
    await hass.async_stop()


async def answer(hass: HomeAssistant, command: dict[str, Any]) -> Any:
    match command["do"]:
        case "states":
            return {state.entity_id: [state.state, dict(state.attributes)] for state in hass.states.async_all()}
        case "devices":
            devices = device_registry.async_entries_for_config_entry(device_registry.async_get(hass), "mqtt")
            return {device.name: via(hass, device) for device in devices}
        case "entities":
            entities = entity_registry.async_entries_for_config_entry(entity_registry.async_get(hass), "mqtt")
            return {entity.entity_id: entity.unique_id for entity in entities}
        case "call":
            await hass.services.async_call(command["domain"], command["service"], command["data"], blocking=True)
            return None
        case "notified":
            return NOTIFIED
        case "image":
            return (await hass.data["image"].get_entity(command["entity"]).async_image()).decode("latin-1")
    raise ValueError(command)


def via(hass: HomeAssistant, device: Any) -> str | None:
    bridge = device_registry.async_get(hass).async_get(device.via_device_id) if device.via_device_id else None
    return bridge.name if bridge else None


def reply(what: Any) -> None:
    print("\x01" + json.dumps(what, default=str), flush=True)


asyncio.run(main(sys.argv[1]))
