"""The Node-RED flow: complete, and right about answers without a value; with --long, in a Node-RED of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from support.broker import HOST, Mosquitto, Subscriber, an_answer, free_port, until

from edged.config.load import load
from edged.core.payloads import answer_payload

ROOT = Path(__file__).parents[1]
FLOW: list[dict[str, Any]] = json.loads((ROOT / "config/examples/nodered/flow.json").read_text())
NODES = {node["id"]: node for node in FLOW}
FUNCTIONS = {node["name"]: node for node in FLOW if node["type"] == "function"}
NODE_RED = ROOT / ".node-red/node_modules/.bin/node-red"  # tests/run --long installs it

# Runs a function node on messages, one after the other, with a context that is kept between them. `now_s` is the clock.
HARNESS = """
const { code, messages, env, now_s } = JSON.parse(require("fs").readFileSync(0));
Date.now = () => now_s * 1000;
const kept = {};
const context = { get: (key) => kept[key], set: (key, value) => { kept[key] = value; } };
const run = new Function("msg", "context", "env", "node", code);
const outputs = messages.map((msg) => run(msg, context, { get: (name) => env[name] }, {}) ?? null);
console.log(JSON.stringify(outputs));
"""
ASKED = {"camera": "dock", "question": "people", "transaction": "node-red"}


def test_every_wire_leads_to_a_node_of_the_same_tab():
    assert len(NODES) == len(FLOW)
    for node in FLOW:
        for target in targets(node):
            assert target in NODES, f"{node['name']}: {target}"
            assert NODES[target]["z"] == node.get("z", node["id"]), node["name"]


def targets(node: dict[str, Any]) -> list[str]:
    """The ids of the nodes that this one is wired to; of a subflow, those inside."""
    ends = [wire["id"] for end in [*node.get("in", []), *node.get("out", [])] for wire in end["wires"]]
    return ends + [target for wires in node.get("wires", []) for target in wires]


def test_every_node_is_reached_and_every_output_is_wired():
    reached = Counter(target for node in FLOW for target in targets(node))
    sources = ("tab", "subflow", "mqtt-broker", "comment", "mqtt in", "inject")
    assert [node["name"] for node in FLOW if node["type"] not in sources and not reached[node["id"]]] == []
    for node in FLOW:
        if node["type"] == "function":
            assert len(node["wires"]) == node["outputs"], node["name"]
        if node["type"].startswith("subflow:"):
            assert len(node["wires"]) == len(NODES[node["type"].partition(":")[2]]["out"])
            assert all(node["wires"]), "an output of usable? leads nowhere"


def test_every_other_id_is_that_of_a_node_too():
    for node in FLOW:
        assert node.get("z", FLOW[0]["id"]) in NODES
        assert node["type"] != "subflow" or f"subflow:{node['id']}" in {other["type"] for other in FLOW}
        if node["type"] in ("mqtt in", "mqtt out"):
            assert NODES[node["broker"]]["type"] == "mqtt-broker"
    assert "credentials" not in json.dumps(FLOW)


def test_the_flow_looks_at_the_status_before_anything_else():
    for node in FLOW:
        if node["type"] == "mqtt in":
            [[after]] = [node["wires"][0]]
            assert NODES[after]["name"] in ("usable?", "our response?"), node["name"]
    [[usable], _] = FUNCTIONS["our response?"]["wires"]
    assert NODES[usable]["name"] == "usable?"


def test_cameras_and_questions_are_those_of_the_shipped_config():
    names = {
        (camera.name, question.name)
        for camera in load(ROOT / "config/edged.yaml").cameras
        for question in camera.questions
    }
    topics = [
        node["topic"].split("/") for node in FLOW if node["type"] == "mqtt in" and "/bridge/" not in node["topic"]
    ]
    assert {tuple(topic[2:]) for topic in topics} == {("dock", "people"), ("dock", "gate_open")} <= names
    [button] = [node for node in FLOW if node["type"] == "inject"]
    assert json.loads(button["payload"]) == ASKED
    assert (ASKED["camera"], ASKED["question"]) in names
    comment = next(node["info"] for node in FLOW if node["type"] == "comment")
    assert [
        name for name in ("dock-box", "dock", "people", "gate_open", "MAX_AGE_S") if f"`{name}`" not in comment
    ] == []


# The functions


def run(name: str, *payloads: dict[str, Any], zone: str = "UTC", now_s: float = 0.0) -> list[Any]:
    """What the function node returns for each message: null, a message, or a list with one for each output."""
    node = shutil.which("node")
    assert node, "Node.js is needed: apt-get install nodejs"
    messages = [
        {"topic": f"edged/box/{each.get('camera')}/{each.get('question')}", "payload": each} for each in payloads
    ]
    given = {"code": FUNCTIONS[name]["func"], "messages": messages, "env": {"MAX_AGE_S": "300"}, "now_s": now_s}
    done = subprocess.run(
        [node, "-e", HARNESS],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=180,
        env=os.environ | {"TZ": zone},
    )
    assert done.returncode == 0, done.stderr
    outputs: list[Any] = json.loads(done.stdout)
    return outputs


def answer(value: Any, at: float = 0.0, camera: str = "dock", **changes: Any) -> dict[str, Any]:
    given = replace(an_answer("a", camera), value=value, answered_ts=at, **changes)
    return answer_payload(given, "box", late=False)


def texts(outputs: list[Any]) -> list[str | None]:
    return [output and output["payload"] for output in outputs]


@pytest.mark.parametrize(
    "status", ["unsure", "unreadable", "timeout", "stale_frame", "camera_down", "model_down", "not_asked"]
)
def test_only_an_answer_with_the_status_ok_is_usable(status: str):
    refusal = answer(None, status=status, reason="no picture for 9 s")
    [[with_value, without]] = run("status ok?", refusal)
    assert (with_value, without["payload"]) == (None, f"dock/people: {status}, no picture for 9 s")
    [[with_value, without]] = run("status ok?", answer(3))
    assert (with_value["payload"], without) == (answer(3), None)
    [[with_value, _]] = run("status ok?", answer(False))
    assert with_value["payload"]["value"] is False


def test_an_old_retained_answer_is_not_usable_unless_its_clock_was_wrong():
    outputs = run(
        "status ok?", answer(3, at=700.0), answer(3, at=699.0), answer(3, at=1.0, clock_synced=False), now_s=1000.0
    )
    assert [bool(with_value) for with_value, _ in outputs] == [True, False, True]
    assert outputs[1][1]["payload"] == "dock/people: ok, 301 s old"


def test_a_count_over_the_limit_is_reported_when_it_begins_and_ends():
    counts = [0, 3, 4, 9, 4, 3, 2]
    assert texts(run("more than the limit?", *(answer(count) for count in counts))) == [
        None, None, "dock: 4 people, more than 3", None, None, "dock: 3 people, no longer more than 3", None,
    ]  # fmt: skip


def test_each_camera_has_a_count_of_its_own():
    outputs = run("more than the limit?", answer(9), answer(0, camera="yard"), answer(9), answer(9, camera="yard"))
    assert texts(outputs) == ["dock: 9 people, more than 3", None, None, "yard: 9 people, more than 3"]


def test_a_gate_is_reported_once_while_it_is_open_at_night():
    hour_s = 3600.0
    hours = [(20, True), (22, True), (23, True), (23.5, False), (24, True), (29.9, True), (30, True), (47, True)]
    outputs = run("open at night?", *(answer(is_open, hour * hour_s) for hour, is_open in hours))
    told = "dock: the gate is open at night"
    assert texts(outputs) == [None, told, None, None, told, None, None, told]


def test_night_is_by_the_clock_of_the_machine():
    noon = 12 * 3600.0
    assert texts(run("open at night?", answer(True, noon), zone="UTC")) == [None]
    assert texts(run("open at night?", answer(True, noon), zone="Pacific/Auckland")) == [
        "dock: the gate is open at night"
    ]


def test_a_response_is_told_apart_from_those_of_others_and_from_errors():
    data = answer(3)
    outputs = run(
        "our response?",
        {"status": "ok", "transaction": "node-red", "data": data},
        {"status": "ok", "transaction": "other", "data": data},
        {"status": "error", "transaction": "node-red", "error": 'there is no camera "dok"'},
    )
    assert outputs[0][0]["payload"] == data
    assert outputs[1] == [None, None]
    assert [output and output["payload"] for output in outputs[2]] == [None, 'edged: there is no camera "dok"']


# In Node-RED


SETTINGS = """
module.exports = {
    uiHost: "127.0.0.1", uiPort: PORT, httpAdminRoot: false, flowFile: "flow.json",
    telemetry: { enabled: false, updateNotification: false },
    logging: { console: { level: "info", metrics: false, audit: false } },
};
"""


PRESS = "in/ask now"


def for_test(port: int) -> list[dict[str, Any]]:
    """The flow on another broker, with each debug node replaced by a topic, and the button pressed by a message."""
    broker = next(n["id"] for n in FLOW if n["type"] == "mqtt-broker")
    outs = {"type": "mqtt out", "qos": "1", "retain": "false", "broker": broker}
    press = {"type": "mqtt in", "topic": PRESS, "qos": "1", "datatype": "utf8", "broker": broker}
    flow = []
    for node in FLOW:
        match node["type"]:
            case "mqtt-broker":
                flow.append({**node, "broker": HOST, "port": str(port)})
            case "debug":
                flow.append({**node, **outs, "topic": f"out/{node['name']}"})
            case "inject":
                flow.append(node)
                flow.append({**press, "id": f"press {node['id']}", "z": node["z"], "wires": [[node["id"]]]})
            case _:
                flow.append(node)
    return flow


@contextmanager
def node_red(folder: Path, port: int) -> Iterator[Path]:
    """A Node-RED with the flow, connected to the broker; its log."""
    program = os.environ.get("NODE_RED") or (str(NODE_RED) if NODE_RED.exists() else None)
    assert program, "Node-RED is needed: bash tests/run --long installs it, or set NODE_RED to its program"
    (folder / "flow.json").write_text(json.dumps(for_test(port)))
    (folder / "settings.js").write_text(SETTINGS.replace("PORT", str(free_port())))
    log = folder / "node-red.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "--userDir", folder, "--settings", folder / "settings.js"], stdout=output, stderr=output
        )
    try:
        until(lambda: "Connected to broker" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        process.terminate()
        process.wait(20)


def publish(client: mqtt.Client, payload: dict[str, Any], retain: bool = False) -> None:
    topic = f"edged/dock-box/{payload['camera']}/{payload['question']}"
    client.publish(topic, json.dumps(payload), 1, retain).wait_for_publish(10)


@pytest.mark.long
def test_the_flow_works_in_node_red(tmp_path: Path, mosquitto: Mosquitto, subscriber: Subscriber):
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect(HOST, mosquitto.port)
    client.loop_start()
    now = time.time()
    publish(client, answer(9, now - 4000), retain=True)  # from before an outage
    # Retained: it comes when Node-RED is connected. What a flow publishes before that is dropped.
    client.publish(PRESS, b"pressed", 1, True).wait_for_publish(10)
    with node_red(tmp_path, mosquitto.port) as log:
        subscriber.wait_for_topic("out/no value")
        [request] = subscriber.wait_for_topic("edged/dock-box/bridge/request/ask")
        assert (request.json, request.retain) == (ASKED, False)
        response = {"status": "ok", "transaction": "node-red", "data": answer(2, now)}
        client.publish("edged/dock-box/bridge/response/ask", json.dumps(response), 1)
        assert subscriber.wait_for_topic("out/answer now")[0].json == answer(2, now)
        publish(client, answer(4, now))
        publish(client, answer(None, now, status="camera_down", reason="not connected"))
        publish(client, answer(1, now))
        texts = [message.payload.decode() for message in subscriber.wait_for_topic("out/too many people", 2)]
        assert texts == ["dock: 4 people, more than 3", "dock: 1 people, no longer more than 3"]
        midnight = now - (now - time.timezone) % 86400  # of this machine, but for daylight saving
        publish(client, answer(True, midnight + 2 * 3600, question="gate_open", clock_synced=False))
        [gate] = subscriber.wait_for_topic("out/gate open at night")
        assert gate.payload == b"dock: the gate is open at night"
        no_value = [message.payload.decode() for message in subscriber.of("out/no value")]
        assert no_value[0].startswith("dock/people: ok, 40")
        assert no_value[1:] == ["dock/people: camera_down, not connected"]
        client.publish("edged/dock-box/dock/people", b"", 1, True).wait_for_publish(10)  # as edged clears it
        publish(client, answer(7, now))
        assert subscriber.wait_for_topic("out/too many people", 3)
        errors = [line for line in log.read_text().splitlines() if "[error]" in line]
        assert [line.partition("[error] ")[2] for line in errors] == ["[mqtt in:people] Failed to parse JSON string"]
    client.disconnect()
    client.loop_stop()
