"""Properties of MQTT 5, such as expiry and content type. They are optional: the payload is complete without them."""

from __future__ import annotations

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edged.mqtt.topics import JSON_TYPE, Message

LARGEST_INCOMING = 256 * 1024  # bytes; brokers do not deliver larger messages


def connect_properties() -> Properties:
    properties = _properties(PacketTypes.CONNECT)
    properties.MaximumPacketSize = LARGEST_INCOMING
    return properties


def will_properties() -> Properties:
    properties = _properties(PacketTypes.WILLMESSAGE)
    properties.ContentType = JSON_TYPE
    return properties


def publish_properties(message: Message) -> Properties:
    properties = _properties(PacketTypes.PUBLISH)
    if message.expires_s is not None:
        properties.MessageExpiryInterval = message.expires_s
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    if message.payload:
        properties.ContentType = message.content_type
        if message.content_type == JSON_TYPE:
            properties.PayloadFormatIndicator = 1
        if message.look is not None:
            properties.UserProperty = ("look", message.look)
    return properties


def request_properties(response_topic: str, correlation: bytes, expires_s: int) -> Properties:
    properties = _properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = response_topic
    properties.CorrelationData = correlation
    properties.MessageExpiryInterval = expires_s
    properties.ContentType = JSON_TYPE
    properties.PayloadFormatIndicator = 1
    return properties


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho publishes no types for it
