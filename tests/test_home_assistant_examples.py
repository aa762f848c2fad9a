"""The blueprint and the dashboard for Home Assistant: valid, complete, and about entities that edged announces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.nodes import Node
from support.config import SHIPPED

from edged.config.load import load
from edged.core.specs import Config
from edged.mqtt.discovery import discovery
from edged.mqtt.topics import Topics

EXAMPLES = SHIPPED / "examples/homeassistant"
INPUTS: list[str] = []  # of the tag !input, in a blueprint that was read


class Constructor(SafeConstructor):
    """Home Assistant's YAML has the tag !input."""


def _input(constructor: Any, node: Node) -> str:
    INPUTS.append(node.value)
    return f"input {node.value}"


Constructor.add_constructor("!input", _input)


def read(path: Path) -> dict[str, Any]:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    tree: dict[str, Any] = yaml.load(path.read_text())
    return tree


def shipped() -> Config:
    """The shipped config, with pictures, on a box called dock-box, as the dashboard has it."""
    config = load(SHIPPED / "edged.yaml")
    return replace(config, node="dock-box", cameras=tuple(replace(each, image="each") for each in config.cameras))


def entity_ids(config: Config) -> dict[str, str]:
    """By unique id, as they are announced."""
    components = [
        component
        for message in discovery(config, Topics("edged", config.node), "1").values()
        for component in message["components"].values()
    ]
    return {component["unique_id"]: component["default_entity_id"] for component in components}


def named(tree: Any) -> set[str]:
    """The entity ids in a dashboard."""
    if isinstance(tree, dict):
        found = {tree[key] for key in ("entity", "entity_id") if isinstance(tree.get(key), str)}
        lists = [tree[key] for key in ("entities", "entity_id") if isinstance(tree.get(key), list)]
        return found.union(*lists, *(named(part) for part in tree.values()))
    return set().union(*(named(part) for part in tree)) if isinstance(tree, list) else set()


def test_every_entity_of_the_dashboard_is_announced():
    dashboard = read(EXAMPLES / "dashboard.yaml")
    assert {view["type"] for view in dashboard["views"]} == {"sections"}
    used = named(dashboard)
    assert len(used) > 15
    assert used - set(entity_ids(shipped()).values()) == set()


def test_the_blueprint_uses_every_input_and_no_other():
    INPUTS.clear()
    blueprint = read(EXAMPLES / "alert_with_picture.yaml")
    assert set(INPUTS) == blueprint["blueprint"]["input"].keys()
    assert blueprint["blueprint"]["domain"] == "automation"
    assert blueprint.keys() == {"blueprint", "mode", "max", "variables", "triggers", "conditions", "actions"}
    ids = [trigger["id"] for trigger in blueprint["triggers"]]
    [choose] = blueprint["actions"]
    assert [choice["conditions"][0]["id"] for choice in choose["choose"]] == ids
