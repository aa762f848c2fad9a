"""What the broker accepts: how many messages at a time, and how large."""

from __future__ import annotations

from paho.mqtt.properties import Properties

from edged.mqtt.acknowledgements import Acknowledgements
from edged.mqtt.properties import packet_size
from edged.mqtt.refused_topics import RefusedTopics
from edged.mqtt.suspects import Suspects
from edged.mqtt.topics import Message

WINDOW = 20  # messages that may be without acknowledgement at a time


class BrokerLimits:
    """For one thread."""

    def __init__(self, acknowledgements: Acknowledgements, suspects: Suspects, refused: RefusedTopics) -> None:
        self._acknowledgements = acknowledgements
        self._suspects = suspects
        self._refused = refused
        self._window = WINDOW
        self._largest_packet: int | None = None

    def connected(self, properties: Properties | None) -> None:
        """Take what the broker has announced with its CONNACK."""
        self._window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self._largest_packet = getattr(properties, "MaximumPacketSize", None)

    @property
    def window(self) -> int:
        """How many messages may be without acknowledgement."""
        # While the broker refuses messages for now, it could accept those that follow the refused one.
        return 1 if self._acknowledgements.refusing or self._suspects.careful else self._window

    def room(self, message: Message) -> int | None:
        """The largest picture that the broker accepts as this message, in bytes; None if no limit is known.

        Where the broker announces none, a guess from a picture that was too large.
        """
        limits = []
        if self._largest_packet is not None:
            limits.append(self._largest_packet - packet_size(message) + len(message.payload))
        if self._acknowledgements.too_large is not None:
            limits.append(self._acknowledgements.too_large * 3 // 4)
        return min(limits, default=None)

    def fits(self, message: Message) -> bool:
        """False if the broker would end the connection at this message.

        That it is too large is logged; that its topic is blocked was logged when that began.
        """
        if self._suspects.blocks(message):
            return False
        if self._largest_packet is None or (size := packet_size(message)) <= self._largest_packet:
            return True
        self._refused.by_size(message, size, self._largest_packet)
        return False
