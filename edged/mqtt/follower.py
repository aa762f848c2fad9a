"""What is said on a broker of the edgeds there: a subscriber that reconnects by itself and publishes nothing."""

from __future__ import annotations

import json
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edged.core.errors import EdgedError
from edged.core.specs import BrokerSpec
from edged.mqtt.connection import reason_of
from edged.mqtt.tls import tls_context

KEEPALIVE_S = 30
SLOWEST_RETRY_S = 15
CLOSE_S = 2.0
CONNECTING = "connecting"


@dataclass(frozen=True, slots=True)
class Said:
    """One JSON message: of which node, the rest of its topic in parts, and what it holds (None: cleared)."""

    node: str
    topic: tuple[str, ...]
    payload: dict[str, Any] | None


class _Client(mqtt.Client):
    """paho's client that keeps why it could not connect."""

    reason = CONNECTING

    def reconnect(self) -> MQTTErrorCode:
        try:
            return super().reconnect()
        except (OSError, UnicodeError) as error:
            self.reason = reason_of(error)
            # paho expects OSError only; a host name that IDNA cannot encode is a UnicodeError and would end its thread.
            raise OSError(str(error)) from error


class Follower:
    """Follows one node, or all under the prefix. MQTT 3.1.1, which every broker speaks."""

    def __init__(self, spec: BrokerSpec, node: str | None) -> None:
        self._spec = spec
        self._depth = len(spec.prefix.split("/"))
        self._filter = f"{spec.prefix}/{node or '+'}/#"
        self._said: SimpleQueue[Said] = SimpleQueue()
        self.connected = False
        client_id = f"edged-watch-{uuid.uuid4().hex[:8]}"  # the daemon's own would push it off the broker
        self._client = _Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv311)
        self._client.reconnect_delay_set(1, SLOWEST_RETRY_S)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    @property
    def reason(self) -> str:
        """Why it is not connected."""
        return self._client.reason

    def start(self) -> None:
        """Begin to connect; returns at once. Raises FileUnusable, and EdgedError if the spec has a `problem`."""
        if self._spec.problem is not None:
            raise EdgedError(self._spec.problem)
        if self._spec.username is not None:
            password = self._spec.password
            self._client.username_pw_set(self._spec.username, None if password is None else password.reveal())
        context = tls_context(self._spec)
        if context is not None:
            self._client.tls_set_context(context)
        self._client.connect_async(self._spec.host, self._spec.port, KEEPALIVE_S)
        self._client.loop_start()

    def next(self, timeout_s: float) -> Said | None:
        """The next message; None if there was none in time."""
        with suppress(Empty):
            return self._said.get(timeout=timeout_s)
        return None

    def close(self) -> None:
        """Leave the broker. Bounded; paho's thread may still be in a connect, and ends by itself."""
        self._client.disconnect()
        stopping = threading.Thread(target=self._client.loop_stop, name="edged-watch-stop", daemon=True)
        stopping.start()
        stopping.join(CLOSE_S)

    # paho's callbacks, in its thread: they only record

    def _on_connect(self, client: mqtt.Client, _: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self.connected = not reason.is_failure
        self._client.reason = str(reason).lower()
        if self.connected:
            client.subscribe(self._filter, qos=1)

    def _on_disconnect(self, _client: Any, _: Any, _flags: Any, _reason: ReasonCode, _properties: Any) -> None:
        if self.connected:
            self._client.reason = "connection lost"
        self.connected = False

    def _on_message(self, _client: Any, _: Any, message: mqtt.MQTTMessage) -> None:
        parts = message.topic.split("/")[self._depth :]
        if len(parts) < 3 or parts[-1] == "jpeg":
            return
        payload = None
        if message.payload:
            try:
                payload = json.loads(message.payload)
            except (ValueError, RecursionError):  # not of an edged
                return
            if not isinstance(payload, dict):
                return
        self._said.put(Said(parts[0], tuple(parts[1:]), payload))
