"""Faults of the broker and of the network before it."""

from __future__ import annotations

from random import Random

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from support.broker import HOST
from support.storm.broker_tls import BrokerTls
from support.storm.config_file import NODE
from support.storm.faults.kinds import Running, cut, failing, kind
from support.storm.parts import Parts
from support.storm.schedule import Fault

PACKET_LIMIT = 4000  # bytes
NOT_ACCEPTED = "certificate not accepted"


@kind("broker killed", (("broker",),), 0.2, 6)
def broker_killed(parts: Parts, fault: Fault) -> Running:
    parts.kill_broker()
    yield
    parts.restart_broker()
    return 1


@kind("broker restarted without its store", (("broker",),), 0.2, 4)
def broker_forgets(parts: Parts, fault: Fault) -> Running:
    parts.kill_broker()
    yield
    had_store = (parts.folder / "broker" / "mosquitto.db").exists()
    parts.restart_broker(forget=True)
    return int(had_store)


@kind("broker stopped (SIGSTOP)", (("broker",),), 1, 10)
def broker_stopped(parts: Parts, fault: Fault) -> Running:
    parts.broker.freeze()
    yield
    parts.broker.thaw()
    return 1


@kind("broker stopped for 90 s (SIGSTOP)", (("broker",),), 90, 90)
def broker_stopped_for_long(parts: Parts, fault: Fault) -> Running:
    return broker_stopped(parts, fault)


@kind("broker unreachable", (("broker",),), 1, 8)
def broker_unreachable(parts: Parts, fault: Fault) -> Running:
    return cut(parts, fault.parts)


@kind("broker half-open", (("broker",),), 2, 10)
def broker_half_open(parts: Parts, fault: Fault) -> Running:
    return failing(parts, fault, "silent")


@kind("cut between PUBLISH and PUBACK", (("broker",),), 1, 4)
def acknowledgements_lost(parts: Parts, fault: Fault) -> Running:
    proxy = parts.proxies["broker"]
    before = proxy.affected
    proxy.fail("deaf")
    yield
    lost = proxy.affected - before
    proxy.cut()
    proxy.mend()
    return lost


@kind("broker denies a topic (ACL)", (("broker",),), 2, 6)
def topic_denied(parts: Parts, fault: Fault) -> Running:
    topic = Random(fault.seed).choice(parts.config.answer_topics())
    mark = parts.mark()
    parts.set_acl(denied=topic)
    yield
    parts.set_acl()
    return parts.logged_since(mark, f"topic {topic} refused")


@kind("broker limits packets", (("broker",),), 2, 6)
def packets_limited(parts: Parts, fault: Fault) -> Running:
    """Pictures no longer fit, answers do."""
    mark = parts.mark()
    parts.kill_broker()
    parts.set_packet_limit(PACKET_LIMIT)
    parts.restart_broker()
    yield
    parts.kill_broker()
    parts.set_packet_limit(None)
    parts.restart_broker()
    return parts.logged_since(mark, "its limit of")


@kind("broker accepts MQTT 3.1.1 only", (("broker",),), 3, 10, tls=False)  # the proxy reads CONNECT
def old_broker(parts: Parts, fault: Fault) -> Running:
    proxy, before = parts.proxies["broker"], parts.proxies["broker"].affected
    proxy.cut()
    proxy.mend()
    proxy.fail("mqtt 3.1.1")
    yield
    proxy.cut()
    proxy.mend()
    return proxy.affected - before


@kind("broker's certificate expired", (("broker",),), 2, 8, tls=True)
def certificate_expired(parts: Parts, fault: Fault) -> Running:
    mark = parts.mark()
    _tls(parts).renew(parts.broker, expired=True)
    parts.proxies["broker"].reset()  # an open connection would go on
    yield
    _tls(parts).renew(parts.broker)
    return parts.logged_since(mark, NOT_ACCEPTED)


@kind("broker's certificate rotated", (("broker",),), 0.1, 3, tls=True)
def certificate_rotated(parts: Parts, fault: Fault) -> Running:
    proxy, before = parts.proxies["broker"], parts.proxies["broker"].affected
    _tls(parts).renew(parts.broker)
    proxy.reset()
    yield
    return proxy.affected - before


@kind("broker's CA replaced", (("broker",),), 2, 8, tls=True)
def ca_replaced(parts: Parts, fault: Fault) -> Running:
    """At the broker first; edged's file with the CA follows when the fault ends."""
    mark = parts.mark()
    _tls(parts).change_ca(parts.broker)
    parts.proxies["broker"].reset()
    yield
    _tls(parts).trust()
    return parts.logged_since(mark, NOT_ACCEPTED)


def _tls(parts: Parts) -> BrokerTls:
    assert parts.tls, "a fault of a storm with TLS"
    return parts.tls


@kind("another client with edged's client id", (("broker",),), 0.5, 3)
def rival(parts: Parts, fault: Fault) -> Running:
    other = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"edged-{NODE}", protocol=mqtt.MQTTv5)
    other.username_pw_set(NODE, parts.config.secrets["mqtt"])
    connections: list[None] = []
    other.on_connect = lambda *_: connections.append(None)
    other.connect_async(HOST, parts.broker.port)
    other.loop_start()
    yield
    other.disconnect()
    other.loop_stop()
    return len(connections)
