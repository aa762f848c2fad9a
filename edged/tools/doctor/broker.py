"""Checks the connection to the broker. Publishes nothing."""

from __future__ import annotations

import time

from edged.core.errors import EdgedError
from edged.core.specs import BrokerSpec, Config
from edged.core.text import spoken
from edged.tools.doctor.check import Check, import_failure
from edged.tools.doctor.config import NO_CONFIG
from edged.tools.doctor.machine import Machine

POLL_S = 0.05
CHECK_SECRETS = "see the row for secrets"


def broker(config: Config | None, machine: Machine) -> Check:
    if config is None:
        return Check("broker", None, NO_CONFIG)
    try:
        from edged.mqtt.follower import Follower
    except ImportError as error:
        return Check("broker", None, f"not tried: {import_failure(error)}")
    name = f"broker {config.mqtt.shown}"
    if config.mqtt.problem:
        return Check(name, False, config.mqtt.problem, CHECK_SECRETS)
    follower = Follower(config.mqtt, config.node)
    begun = time.monotonic()
    try:
        follower.start()
        while not (follower.connected or follower.failure) and time.monotonic() - begun < machine.broker_s:
            follower.next(POLL_S)
        if follower.connected:
            return Check(name, True, f"connected after {spoken(time.monotonic() - begun)}")
        failure = follower.failure
    except EdgedError as error:
        return Check(name, False, str(error), "correct that file, or its name under mqtt")
    finally:
        follower.close()
    if failure is None:
        return Check(name, False, f"no reply within {spoken(machine.broker_s)}", next_step("unreachable", config.mqtt))
    return Check(name, False, failure.text, next_step(failure.kind, config.mqtt))


def next_step(kind: str, spec: BrokerSpec) -> str:
    """The next step after a failure of this kind, see mqtt.failure."""
    match kind:
        case "login" if spec.username:
            return "compare mqtt.username and its password with the broker's"
        case "login":
            return "the broker requires a login: set mqtt.username and mqtt.password"
        case "certificate":
            return "mqtt.ca must name the CA that signed the broker's certificate"
        case "client_certificate" if spec.client_certificate:
            return "mqtt.client_certificate must be one that the broker accepts"
        case "client_certificate":
            return "set mqtt.client_certificate"
        case "tls":
            return "mqtts:// needs the broker's TLS port, often 8883"
        case "name":
            return "check the host name in mqtt.url"
        case _:
            return "check that the broker is running and that mqtt.url is right"
