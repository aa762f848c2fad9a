"""The clients of one connection, one after the other: each has the newest password and certificates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from paho.mqtt.enums import MQTTProtocolVersion

from edged.core.specs import BrokerSpec
from edged.mqtt.back_off import SLOWEST_RETRY_S
from edged.mqtt.client import V5, ClientEvent, PahoClient
from edged.mqtt.login import Login, LoginFiles
from edged.mqtt.properties import will_properties
from edged.mqtt.topics import Message


class Clients:
    """At most one at a time. `record` is called in paho's thread, with the number of the client. For one thread."""

    def __init__(
        self,
        spec: BrokerSpec,
        client_id: str,
        will: Message,
        record: Callable[[int, ClientEvent], None],
        client_type: type[PahoClient] = PahoClient,
    ) -> None:
        self._files = LoginFiles(spec)
        self._login: Login | None = None
        self._client_id = client_id
        self._will = will
        self._record = record
        self._client_type = client_type
        self._number = 0
        self.current: PahoClient | None = None

    def prepare(self) -> None:
        """Read the files. Raises FileUnusable. Later calls do nothing."""
        self._login = self._login or self._files.read()

    def read_again(self) -> bool:
        """True if a password or certificate has changed; the next client has it."""
        changed = self._files.changed()
        self._login = changed or self._login
        return changed is not None

    def begin(self, protocol: MQTTProtocolVersion) -> None:
        """Connect with a new client; the one before is abandoned."""
        assert self._login, "prepare() was not called"
        self.abandon()
        self._number += 1
        record = partial(self._record, self._number)
        self.current = client = self._client_type(self._login.spec, self._client_id, protocol, self._login.tls, record)
        properties = will_properties() if protocol == V5 else None
        client.will_set(self._will.topic, self._will.payload, 1, True, properties)
        client.begin(SLOWEST_RETRY_S)

    def abandon(self) -> None:
        """The broker publishes the last will, unless the next client connects in time."""
        client, self.current = self.current, None
        if client is not None:
            client.abandon(with_will=True)

    def leave(self, wait_s: float) -> None:
        """As `abandon`, without the last will. Waits for what is being sent, `wait_s` at most."""
        client, self.current = self.current, None
        if client is not None:
            client.abandon(wait_s)

    def is_current(self, number: int) -> bool:
        """False for events of earlier clients."""
        return self.current is not None and number == self._number
