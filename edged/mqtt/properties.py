"""Properties of MQTT 5, such as expiry and content type. They are optional: the payload is complete without them."""

from __future__ import annotations

from functools import lru_cache

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edged.mqtt.topics import JSON_TYPE, Message

WILL_DELAY_S = 5  # a connection that is back before that has published no `offline`
SESSION_S = 10  # the will is published at the end of the session at the latest, so it must outlive the delay
HEADER = 9  # bytes of a PUBLISH: type and flags, remaining length, length of the topic, message id
LARGEST_INCOMING = 256 * 1024  # bytes; brokers do not deliver larger messages


def connect_properties() -> Properties:
    properties = _properties(PacketTypes.CONNECT)
    properties.MaximumPacketSize = LARGEST_INCOMING
    properties.SessionExpiryInterval = SESSION_S
    return properties


def disconnect_properties() -> Properties:
    properties = _properties(PacketTypes.DISCONNECT)
    properties.SessionExpiryInterval = 0
    return properties


def will_properties() -> Properties:
    properties = _properties(PacketTypes.WILLMESSAGE)
    properties.ContentType = JSON_TYPE
    properties.WillDelayInterval = WILL_DELAY_S
    return properties


def publish_properties(message: Message) -> Properties:
    """Not to be changed: the messages of a look share it."""
    if not message.payload:
        return _publish_properties(message.expires_s, message.correlation, None, None)
    return _publish_properties(message.expires_s, message.correlation, message.content_type, message.look)


@lru_cache(maxsize=16)  # paho spends 0.1 ms on them, for each of the answers of a look
def _publish_properties(
    expires_s: int | None, correlation: bytes | None, content_type: str | None, look: str | None
) -> Properties:
    properties = _properties(PacketTypes.PUBLISH)
    if expires_s is not None:
        properties.MessageExpiryInterval = expires_s
    if correlation is not None:
        properties.CorrelationData = correlation
    if content_type is not None:
        properties.ContentType = content_type
    if content_type == JSON_TYPE:
        properties.PayloadFormatIndicator = 1
    if look is not None:
        properties.UserProperty = ("look", look)
    return properties


def request_properties(response_topic: str, correlation: bytes, expires_s: int) -> Properties:
    properties = _properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = response_topic
    properties.CorrelationData = correlation
    properties.MessageExpiryInterval = expires_s
    properties.ContentType = JSON_TYPE
    properties.PayloadFormatIndicator = 1
    return properties


def packet_size(message: Message) -> int:
    """The size of its PUBLISH in MQTT 5, in bytes; at most 3 more than it is."""
    properties = publish_properties(message).pack()  # type: ignore[no-untyped-call]  # as in _properties
    return HEADER + len(message.topic.encode()) + len(properties) + len(message.payload)


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho publishes no types for it
