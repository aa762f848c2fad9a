"""`edged ask --camera` and `edged reload` send a request through the broker, and print the response."""

# ruff: noqa: F401, F811  # fixtures are imported, and then named as arguments

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest
from support.broker import HOST, Mosquitto, Subscriber, an_answer, free_port, other_broker, scripted_broker, until
from support.config import write
from support.requesting import BRIDGE, Handler, calling, serving_requests

from edged.cli import main
from edged.core.errors import EdgedError, Stopped
from edged.core.payloads import answer_payload
from edged.core.requests import AdHoc, AskRequest, ReloadRequest, Response
from edged.core.specs import BrokerSpec
from edged.demo.broker import DemoBroker
from edged.mqtt.caller import Caller
from edged.mqtt.publisher import MqttPublisher

THREE = an_answer("a1")
PEOPLE = AskRequest("dock", "people")


@pytest.fixture
def config(tmp_path: Path, mosquitto: Mosquitto) -> Path:
    return config_for(tmp_path, mosquitto.port)


def config_for(folder: Path, port: int, more: str = "") -> Path:
    text = (
        f"node: box\nmodel: {{path: m}}\nmqtt: {{url: 'mqtt://127.0.0.1:{port}'{more}}}\n"
        "cameras: {dock: {source: pics, ask: {people: {prompt: How many?, answer: integer}}}}\n"
    )
    return write(folder, text)


def edged(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("value", "type_", "printed"),
    [(3, "integer", "3"), (True, "yes_no", "true"), ("A car.", "text", "A car."), ("rain", "choices", '"rain"')],
)
def test_the_value_is_printed_as_ask_prints_it(
    mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str], value: object, type_: str, printed: str
):
    handler = Handler(lambda _: Response(replace(THREE, value=value, type=type_)))
    with serving_requests(mosquitto, handler):
        done = edged(capsys, "ask", "--camera", "dock", "--question", "people", "--config", config)
    assert done == (0, f"{printed}\n", "")
    assert [received.request for received in handler.received] == [PEOPLE]
    expires_at = handler.received[0].expires_at
    assert expires_at is not None  # a broker does not deliver it when nobody waits for the response any more
    assert 100 < expires_at - time.monotonic() < 121


def test_with_json_the_whole_answer_is_printed(mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str]):
    with serving_requests(mosquitto, Handler(lambda _: Response(THREE))):
        code, out, _ = edged(capsys, "ask", "--camera", "dock", "--question", "people", "--json", "--config", config)
    assert (code, json.loads(out)) == (0, answer_payload(THREE, "box", late=False))


def test_a_refusal_is_exit_1_with_its_reason(mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str]):
    refused = replace(THREE, value=None, status="camera_down", reason="connection refused")
    with serving_requests(mosquitto, Handler(lambda _: Response(refused))):
        done = edged(capsys, "ask", "--camera", "dock", "--question", "people", "--config", config)
    assert done == (1, "", "edged: camera_down: connection refused\n")


def test_a_prompt_is_sent_with_its_options(mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str]):
    handler = Handler(lambda _: Response(THREE))
    options = ["--answer", "integer", "--range", "[0, 4]", "--region", "gate", "--max-new-tokens", "5"]
    with serving_requests(mosquitto, handler):
        code, out, _ = edged(capsys, "ask", "--camera", "dock", "Cars?", *options, "--config", config)
        assert edged(capsys, "ask", "--camera", "dock", "Cars?", "--config", config)[0] == 0
    assert (code, out) == (0, "3\n")
    asked = [received.request for received in handler.received]
    assert asked == [
        AskRequest("dock", ad_hoc=AdHoc("Cars?", "integer", "gate", [0, 4], 5)),
        AskRequest("dock", ad_hoc=AdHoc("Cars?")),
    ]


def test_an_error_of_edged_is_printed(mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str]):
    with serving_requests(mosquitto, Handler(lambda _: Response(error='no camera "dock"\x1b[2J'))):
        done = edged(capsys, "ask", "--camera", "dock", "--question", "people", "--config", config)
    assert done == (1, "", 'edged: no camera "dock"·[2J\n')


def test_reload_prints_the_new_revision_or_the_problems(
    mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str]
):
    responses = [Response({"config_rev": "abc"}), Response(error="edged.yaml:1: one\nedged.yaml:2: two")]
    handler = Handler(lambda _: responses.pop(0))
    with serving_requests(mosquitto, handler):
        assert edged(capsys, "reload", "--config", config) == (
            0,
            "config reloaded: revision abc is in force\n",
            "",
        )
        done = edged(capsys, "reload", "--config", config)
    assert done == (1, "", "edged: edged.yaml:1: one\nedged.yaml:2: two\n")
    assert [received.request for received in handler.received] == [ReloadRequest()] * 2


def test_a_config_with_a_problem_is_reported_without_a_request(
    mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str]
):
    config.write_text(config.read_text() + "modle: x\n")
    handler = Handler()
    with serving_requests(mosquitto, handler):
        code, out, err = edged(capsys, "reload", "--config", config)
    assert (code, out) == (1, "")
    assert err == f'{config}:5: unknown key "modle". Did you mean "model"?\nedged: not reloaded\n'
    assert handler.received == []


# no response


def test_no_edged_at_the_broker_is_reported_at_once(
    mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str]
):
    done = edged(capsys, "reload", "--config", config)
    assert done == (
        1, "", f'edged: broker mqtt://127.0.0.1:{mosquitto.port}: no edged with the node "box" is connected\n'
    )  # fmt: skip


def test_an_edged_that_is_offline_is_reported_at_once(
    mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str]
):
    with serving_requests(mosquitto, Handler()):
        pass
    broker = f"broker mqtt://127.0.0.1:{mosquitto.port}"
    code, out, err = edged(capsys, "ask", "--camera", "dock", "--question", "people", "--config", config)
    assert (code, out) == (1, "")
    assert err in (
        f'edged: {broker}: edged on node "box" is offline, or still starting\n',
        f'edged: {broker}: no edged with the node "box" is connected\n',
    )


def test_a_broker_that_cannot_be_reached_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    port = free_port()
    done = edged(capsys, "reload", "--config", config_for(tmp_path, port))
    assert done == (1, "", f"edged: broker mqtt://127.0.0.1:{port}: connection refused\n")


def test_a_wrong_login_is_reported_without_the_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with Mosquitto(tmp_path, {"me": "right"}) as broker:
        config = config_for(tmp_path, broker.port, ", username: me, password: hunter2")
        done = edged(capsys, "reload", "--config", config)
    broker_name = f"broker mqtt://127.0.0.1:{broker.port}"
    assert done == (1, "", f"edged: {broker_name}: not authorised (wrong user or password)\n")


def test_a_user_who_may_not_send_requests_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with Mosquitto(tmp_path, {"me": "x"}, "user me\ntopic read edged/#\n") as broker:
        config = config_for(tmp_path, broker.port, ", username: me, password: x")
        code, out, err = edged(capsys, "reload", "--config", config)
    assert (code, out) == (1, "")
    assert err == (
        f"edged: broker mqtt://127.0.0.1:{broker.port}: topic {BRIDGE}/request/reload refused: not authorised\n"
    )


def test_a_missing_secret_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = config_for(tmp_path, free_port(), ", username: me, password: {secret: broker}")
    done = edged(capsys, "reload", "--config", config)
    assert done == (1, "", f'edged: the secret "broker" is missing (no file {tmp_path}/credentials/broker)\n')


def no_response(port: int, limit_s: float) -> str:
    caller = Caller(BrokerSpec(host=HOST, port=port), "box", "info", {}, limit_s)
    with pytest.raises(EdgedError) as caught:
        caller.call(threading.Event())
    return str(caught.value)


def test_an_edged_that_does_not_respond_is_reported_after_the_limit(mosquitto: Mosquitto):
    with serving_requests(mosquitto, Handler()) as publisher:
        until(lambda: publisher.figures().published >= 1)
        error = no_response(mosquitto.port, 0.5)
    assert error == f"broker mqtt://127.0.0.1:{mosquitto.port}: no response from edged within 0.5 s"


def test_a_response_to_somebody_else_is_not_taken(mosquitto: Mosquitto):
    with serving_requests(mosquitto, Handler()), calling(mosquitto.port, topics=()) as other:
        sending = threading.Timer(0.2, other.send, ("../response/info", {"status": "ok", "transaction": 1, "data": {}}))
        sending.start()
        assert "no response" in no_response(mosquitto.port, 1.0)
        sending.join()


def test_an_edged_that_goes_offline_meanwhile_is_reported(mosquitto: Mosquitto):
    with serving_requests(mosquitto, Handler()) as publisher:
        closing = threading.Timer(0.5, publisher.close)
        closing.start()
        error = no_response(mosquitto.port, 30)
        closing.join()
    assert error == f'broker mqtt://127.0.0.1:{mosquitto.port}: edged on node "box" went offline before it responded'


def test_a_response_comes_although_a_reload_replaced_the_publisher(mosquitto: Mosquitto):
    handler = Handler()
    with serving_requests(mosquitto, handler, client_id="first") as publisher:
        until(lambda: publisher.figures().published >= 1)
        data = SimpleQueue[object]()
        caller = Caller(BrokerSpec(host=HOST, port=mosquitto.port), "box", "reload", {}, 30)
        calling = threading.Thread(target=lambda: data.put(caller.call(threading.Event())))
        calling.start()
        until(lambda: handler.received)
        publisher.close()
        successor = MqttPublisher(BrokerSpec(host=HOST, port=mosquitto.port, client_id="second"), "box")
        successor.adopt(publisher.release())
        successor.start()
        successor.online()
        handler.received[0].respond(Response({"config_rev": "abc"}))
        assert data.get(timeout=15) == {"config_rev": "abc"}
        calling.join(10)
        successor.close()


def test_another_broker_does_not_get_the_responses_of_the_one_before(mosquitto: Mosquitto, other_broker: Mosquitto):
    handler = Handler()
    with serving_requests(mosquitto, handler) as publisher, calling(mosquitto.port) as caller:
        caller.send("reload", {})
        until(lambda: handler.received)
        publisher.close()
        elsewhere = Subscriber(other_broker.port)
        successor = MqttPublisher(BrokerSpec(host=HOST, port=other_broker.port), "box")
        successor.adopt(publisher.release())
        handler.received[0].respond(Response({"config_rev": "abc"}))
        successor.start()
        successor.online()
        elsewhere.wait_for_topic(f"{BRIDGE}/state")
        successor.close()
        elsewhere.catch_up()
        assert {message.topic for message in elsewhere.messages} == {f"{BRIDGE}/state"}
        elsewhere.close()


def test_ctrl_c_ends_the_wait(mosquitto: Mosquitto):
    stop = threading.Event()
    with serving_requests(mosquitto, Handler()):
        threading.Timer(0.3, stop.set).start()
        begun = time.monotonic()
        with pytest.raises(Stopped):
            Caller(BrokerSpec(host=HOST, port=mosquitto.port), "box", "info", {}, 60).call(stop)
        assert time.monotonic() - begun < 5


def test_a_broker_that_only_accepts_connections_is_reported_within_the_limit():
    with scripted_broker(lambda *_: b"") as port:
        begun = time.monotonic()
        assert no_response(port, 1.0).startswith(f"broker mqtt://127.0.0.1:{port}: no response within 1 s")
        assert time.monotonic() - begun < 8


def test_a_request_works_on_a_broker_of_mqtt_3_1_1():
    broker = DemoBroker()
    port = broker.start()
    handler = Handler(lambda _: Response({"version": "0"}))
    publisher = MqttPublisher(BrokerSpec(host=HOST, port=port), "box", requested=handler)
    publisher.start()
    publisher.online()
    try:
        until(lambda: publisher.figures().published >= 1)
        caller = Caller(BrokerSpec(host=HOST, port=port), "box", "info", {}, 30)
        assert caller.call(threading.Event()) == {"version": "0"}
    finally:
        publisher.close()
        broker.close()
    assert handler.received[0].expires_at is None


# options


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--image", "x.jpg", "--camera", "dock", "?"], "argument --camera: not allowed with argument --image"),
        (["?"], "one of the arguments --image --camera is required"),
        (["--image", "x.jpg"], "the following arguments are required: PROMPT"),
        (["--image", "x.jpg", "--question", "people"], "--question needs --camera"),
        (["--image", "x.jpg", "?", "--region", "gate"], "--region needs --camera"),
        (["--camera", "dock"], "--camera needs either PROMPT or --question NAME"),
        (["--camera", "dock", "?", "--question", "people"], "--camera needs either PROMPT or --question NAME"),
        (["--camera", "d", "?", "--model", "m"], "--model is not allowed with --camera: the running edged has its own"),
        (
            ["--camera", "dock", "--question", "people", "--max-new-tokens", "5"],
            "--max-new-tokens is not allowed with --question: the question of the config has its own",
        ),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_a_usage_error(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
):
    code, out, err = edged(capsys, "ask", *arguments)
    assert (code, out) == (2, "")
    assert err.endswith(f"edged ask: error: {error}\n")


def test_an_answer_type_that_is_no_yaml_is_a_usage_error(config: Path, capsys: pytest.CaptureFixture[str]):
    code, _, err = edged(capsys, "ask", "--camera", "dock", "?", "--answer", "[a", "--config", config)
    assert code == 2
    assert "--answer: " in err
