"""What edged has learned about the broker. A reload that replaces the publisher does not forget it.

So an outage that began before a reload is not logged a second time, and its end is logged with the whole duration.
"""

from __future__ import annotations

from dataclasses import replace

from edged.core.specs import BrokerSpec
from edged.mqtt.acknowledgements import Acknowledgements
from edged.mqtt.back_off import ShortConnections
from edged.mqtt.broker_limits import BrokerLimits
from edged.mqtt.connection_log import ConnectionLog
from edged.mqtt.refused_topics import RefusedTopics
from edged.mqtt.rivals import Rivals
from edged.mqtt.suspects import Suspects


class KnownBroker:
    """Belongs to one connection at a time, and is for its thread. `speaks_v5`: it has accepted MQTT 5."""

    def __init__(self, spec: BrokerSpec, node: str, instance: str) -> None:
        self._spec = spec
        self._node = node
        self._instance = instance
        self.log = ConnectionLog(spec.shown)
        self.short = ShortConnections()
        self.rivals = self._new_rivals()
        self.refused = RefusedTopics(spec.shown)
        self.suspects = Suspects(self.refused)
        self.acknowledgements = Acknowledgements(spec.shown, self.refused, self.suspects)
        self.limits = BrokerLimits(self.acknowledgements, self.suspects, self.refused)
        self.speaks_v5 = False

    @property
    def client_id(self) -> str:
        return self._spec.client_id or f"edged-{self._node}"

    def follow(self, spec: BrokerSpec, node: str) -> bool:
        """Take a new config of the same broker. False, and unchanged, if it is of another one.

        What may be different with a new login or CA, or under a new client id or node, is forgotten.
        """
        if spec.shown != self._spec.shown:
            return False
        before, names = self._spec, (self.client_id, self._node)
        self._spec, self._node = spec, node
        if _login(before) != _login(spec):
            self.log.new_login()
            self.refused.forget()
            self.suspects.forget_blocked()
        if names != (self.client_id, node):
            self.rivals = self._new_rivals()
        return True

    def _new_rivals(self) -> Rivals:
        return Rivals(self._spec.shown, self._node, self.client_id, self._instance)


def _login(spec: BrokerSpec) -> BrokerSpec:
    """The spec without the names, which the broker does not judge when edged connects."""
    return replace(spec, client_id="", prefix="")
