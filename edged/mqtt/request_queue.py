"""The requests that arrive, and the responses on their way to the broker. Nothing of it is stored on disk."""

from __future__ import annotations

import logging
import math
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from edged.config.phrases import shown
from edged.config.requests import Parsed, parse
from edged.core.requests import FULL, MOST_WAITING, STOPPING, Received, Response
from edged.core.text import printable, shorten
from edged.mqtt.acknowledgements import Outcome
from edged.mqtt.client import Incoming
from edged.mqtt.responses import LONGEST_TOPIC, response_message, what_of, why_refused
from edged.mqtt.topics import Message, Topics

log = logging.getLogger(__name__)

MOST_RESPONSES = 100  # that wait to be sent; further ones are dropped
LOGGED_TOPIC = 500  # characters of a topic
LOGGED_EVERY_S = 3600.0  # how often it is logged that retained requests are refused


class RequestQueue:
    """`accept` is called with each request, in the thread that calls `receive`, and must return at once.

    Responses may come from any thread; `wake` is called when there is one to send. The rest is for the sending thread.
    """

    def __init__(
        self, topics: Topics, broker: str, accept: Callable[[Received], None], wake: Callable[[], None]
    ) -> None:
        self._topics = topics
        self._broker = broker
        self._accept = accept
        self._wake = wake
        self._retained_logged_at = -math.inf
        self._closing = False
        self._lock = threading.Lock()  # over all that follows
        self._connected = True  # before the first connection too: there may be a predecessor's responses
        self._successor: RequestQueue | None = None
        self._running: set[int] = set()  # requests without a response, by number
        self._number = 0
        self._responses: deque[Message] = deque()
        self._in_flight: dict[int, Message] = {}  # responses by message id

    def is_request(self, incoming: Incoming) -> bool:
        return incoming.topic.startswith(self._topics.request(""))

    def receive(self, incoming: Incoming) -> None:
        """Hand the request over, or respond with the reason why not."""
        if len(incoming.topic) > LONGEST_TOPIC:  # that of the response could be longer than MQTT allows
            return
        if incoming.retained and not incoming.payload:  # a retained request was cleared
            return
        parsed = parse(what_of(incoming), incoming.payload)
        number = self._begin()
        error = self._why_refused(incoming, parsed)
        if error is not None or parsed.request is None:
            self._respond(number, incoming, parsed, Response(error=error))
            return
        expires_at = None if incoming.expires_s is None else incoming.received_at + incoming.expires_s
        self._accept(Received(parsed.request, partial(self._respond, number, incoming, parsed), expires_at))

    def _why_refused(self, incoming: Incoming, parsed: Parsed) -> str | None:
        if incoming.retained:
            self._log_retained(incoming)
            return "retained requests are not carried out; publish them without the retain flag"
        if incoming.expires_s is not None and time.monotonic() >= incoming.received_at + incoming.expires_s:
            return "the request has expired"
        if incoming.response_topic is not None and (why := why_refused(incoming.response_topic, self._topics)):
            return why
        if parsed.error is not None:
            return parsed.error
        if self._closing:
            return STOPPING
        with self._lock:
            busy = len(self._running) > MOST_WAITING  # this one included
        return FULL if busy else None

    def _log_retained(self, incoming: Incoming) -> None:
        if time.monotonic() >= self._retained_logged_at + LOGGED_EVERY_S:
            self._retained_logged_at = time.monotonic()
            clear = f"mosquitto_pub -r -n -t {shlex.quote(printable(shorten(incoming.topic, LOGGED_TOPIC)))}"
            what = shown(what_of(incoming))
            log.warning("broker %s: retained request %s refused; clear it: %s", self._broker, what, clear)

    # Responses, from any thread

    def _begin(self) -> int:
        with self._lock:
            self._number += 1
            self._running.add(self._number)
            return self._number

    def _respond(self, number: int, incoming: Incoming, parsed: Parsed, response: Response) -> None:
        try:
            message = response_message(response, incoming, parsed, self._topics)
        except ValueError as error:
            failed = Response(error=f"the response cannot be written as JSON: {error}")
            message = response_message(failed, incoming, parsed, self._topics)
        with self._lock:
            if number not in self._running:
                return
            self._running.discard(number)
        self.send(message)

    def send(self, message: Message) -> None:
        """Dropped without a connection."""
        with self._lock:
            successor = self._successor
            if successor is None and self._connected and len(self._responses) < MOST_RESPONSES:
                self._responses.append(message)
        if successor is not None:
            successor.send(message)
        self._wake()

    def hand_over(self, successor: RequestQueue) -> None:
        """From now on, responses to the requests of this queue are sent by another one, of the same broker."""
        with self._lock:
            self._successor = successor

    # The connection

    def connected(self) -> None:
        with self._lock:
            self._connected = True

    def lost(self) -> None:
        """Responses that were not acknowledged are dropped: whoever asked may have asked again."""
        with self._lock:
            self._connected = False
            self._responses.clear()
            self._in_flight.clear()

    def closing(self) -> None:
        """Refuse further requests."""
        self._closing = True

    @property
    def drained(self) -> bool:
        with self._lock:
            return not (self._responses or self._in_flight)

    @property
    def in_flight(self) -> int:
        with self._lock:
            return len(self._in_flight)

    def next(self) -> Message | None:
        with self._lock:
            return self._responses.popleft() if self._responses else None

    def sent(self, mid: int, response: Message) -> None:
        with self._lock:
            self._in_flight[mid] = response

    def acknowledged(self, mid: int, outcome: Outcome) -> None:
        """A response that was refused for now is sent again."""
        with self._lock:
            response = self._in_flight.pop(mid, None)
            if response is not None and outcome == "not_now":
                self._responses.appendleft(response)
