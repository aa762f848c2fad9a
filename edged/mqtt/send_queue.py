"""All messages that are not sent or not acknowledged yet, and the order in which they are sent.

After a connect every retained state is sent, and expired pictures are cleared; once edged is online, the newest answer
of each question, and `online`, follow. An answer that may have arrived at an earlier connection is sent again
unchanged: ahead of those, or after `online` if it goes to `late`. `online` waits for answers that the store cannot
read, for a minute at most. After that states, answers, events, overtaken answers and pictures take turns, so that none
delays another; a picture waits for the answers of its look.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from edged.core.errors import StoreUnreadable
from edged.core.interfaces import Store
from edged.core.payloads import as_late
from edged.core.types import Fact, StoredMessage
from edged.mqtt.acknowledgements import Outcome
from edged.mqtt.outbox import Limits, Outbox, Pending, waiting
from edged.mqtt.pictures import LookPictures
from edged.mqtt.retained import CLEARED_S, RetainedMessage, RetainedTopics, clearing
from edged.mqtt.stored_payloads import StoredPayloads
from edged.mqtt.topics import Message

Entry = RetainedMessage | Pending

MARK_AGAIN_S = 0.5  # after the store was too slow
HELD_BACK_S = 60.0  # how long `online` waits for answers that the store cannot read


@dataclass(frozen=True, slots=True)
class PublisherFigures:
    """For health. `reconnects` counts connections after the first, `refused` messages that the broker refused."""

    connected: bool
    reconnects: int
    waiting: int
    dropped: int
    published: int
    refused: int


class SendQueue:
    """For any thread; only `next`, `mark_late` and `read_found` wait, for the disk.

    These three, and after `next` `sent`, `put_back` or `refuse`, are for the sending thread.
    """

    def __init__(
        self,
        online: Message,
        store: Store,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        cleared_s: float = CLEARED_S,
    ) -> None:
        self._online_message = online
        self._store = store
        self._payloads = StoredPayloads(store)
        self._lock = threading.Lock()  # over all that follows
        self._outbox = Outbox(limits)
        self._states = RetainedTopics(cleared_s)
        self._cleared_s = cleared_s
        self._pictures = LookPictures(self._outbox.is_sent)
        self._turns: deque[Callable[[], Entry | None]] = deque(
            (
                self._states.take,
                self._outbox.take_answer,
                self._outbox.take_event,
                self._outbox.take_overtaken,
                self._pictures.take,
            )
        )
        self._in_flight: dict[int, Entry] = {}  # by message id
        self._not_now: list[Entry] = []  # refused for now, in order
        self._own: Collection[str] | None = None  # the topics that may have a retained message; None: all
        self._early: list[RetainedMessage] = []  # restored before it is known which topics are the config's
        self._unread: dict[str, StoredMessage] = {}  # by topic; restored once their payloads are read
        self._unknown: Collection[str] = ()  # topics that may have an old answer, if none is found in the store
        self._cleared: list[str] = []  # topics whose clearing was acknowledged, and that are not used any more
        self._to_forget: dict[str, float] = {}  # these topics, and until when each is cleared again (monotonic)
        self._facts: list[Fact] = []  # of retained messages that the broker has accepted
        self._connected = False
        self._withdrawn = False  # only clearings are sent
        self._online = False  # `online` was called
        self._online_sent = False  # in this connection
        self._successor: SendQueue | None = None
        self._coming = 0  # looks that are being written to the store
        self._before_online = 0  # number of the last answer that goes out before `online`
        self._held_back_until = -math.inf  # `online` waits no longer for them
        self._published = 0
        self._refused = 0
        self._dropped_reported = (0, 0)
        self._mark_again_at = -math.inf  # until then, nothing is sent that has to be marked first

    @property
    def is_connected(self) -> bool:
        return self._connected

    def coming(self, change: int) -> None:
        """So many more looks are being written to the store, and will be added; negative: fewer."""
        with self._lock:
            self._coming += change

    def add(self, messages: Sequence[StoredMessage], picture: RetainedMessage | None, on_disk: bool = False) -> None:
        """The answers and events of one look, and its picture. They go to the successor, if there is one."""
        if successor := self._successor_or(lambda: self._add_look(messages, picture, on_disk)):
            successor.add(messages, picture, on_disk)

    def hand_over(self, successor: SendQueue) -> None:
        """Call after `release`, and before the successor adopts what that returned.

        Looks that were being written to the store are sent by another queue from now on, and so is what an earlier
        process left, if the store reads it only now.
        """
        with self._lock:
            self._successor = successor
            released = self._outbox.release()
            unread, self._unread = self._unread, {}
        if released:  # finished since `release`
            successor.adopt(released)
        successor.restore_found([*unread.values()])

    def keep(self, state: RetainedMessage) -> None:
        with self._lock:
            self._states.send(state)

    def follow(
        self,
        own: Collection[str],
        gone: Collection[str],
        pictures: Collection[str],
        unknown: Collection[str] = (),
    ) -> None:
        """From now on only the topics `own` may have a retained message. Clear those that are `gone`, and `pictures`.

        Of the topics `unknown`, which had an answer in an earlier process, those without one are cleared before
        `online`: a subscriber that has kept the old one must not take it for a new one.

        Answers of other topics that wait go out on `late`; those that were sent before, on their own topic, and not
        retained.
        """
        with self._lock:
            self._own = own
            for topic in own:
                self._to_forget.pop(topic, None)
            for topic in self._outbox.topics() - set(own):  # an earlier process left them
                self._outbox.forget(topic)
            self._restore_early()
            self._unknown = unknown or self._unknown
            self._clear(gone, pictures)

    def clear(self, gone: Collection[str], pictures: Collection[str]) -> None:
        """Clear these topics too, which are not of the config."""
        with self._lock:
            self._clear(gone, pictures)

    def withdraw(self, gone: Collection[str], pictures: Collection[str]) -> None:
        """Clear these topics, and send nothing else. Waiting messages are for `release`."""
        with self._lock:
            self._withdrawn = True
            self._pictures.drop_all()
            self._clear(gone, pictures)

    def online(self) -> None:
        """Send `online` in this connection and in each later one."""
        with self._lock:
            self._online = True
            self._restore_early()
            self._answers_first()

    def release(self) -> list[Pending]:
        """Empty the queue. Returns the unacknowledged answers and events, oldest first."""
        with self._lock:
            self._in_flight.clear()
            self._give_back_refused()
            return self._outbox.release()

    def retained(self, topics: Collection[str]) -> list[RetainedMessage]:
        """What would be sent again at the next connect: the newest acknowledged answers of these topics, and clearings
        of those that have expired.
        """
        with self._lock:
            return [*self._states.newest(topics), *self._early]

    @property
    def unknown(self) -> frozenset[str]:
        """Those topics given to `follow` that were not cleared yet, because edged was not online."""
        with self._lock:
            return frozenset(self._unknown)

    @property
    def pictures(self) -> dict[str, float]:
        """By topic, when the picture that the broker may have expires (monotonic), or must not be seen any more."""
        with self._lock:
            return self._pictures.left_at_broker()

    def left_pictures(self, expiries: Mapping[str, float]) -> None:
        """Another queue, or an earlier process, has left pictures that expire at these times, and are cleared then."""
        with self._lock:
            self._pictures.left(expiries)
            self._pictures.expire()

    def follow_pictures(self, settings: Mapping[str, str]) -> None:
        """From now on pictures of these topics are of these settings. Others that come or wait are not sent; those that
        were sent are cleared.
        """
        with self._lock:
            self._pictures.follow(settings)

    def outdate_pictures(self, topics: Sequence[str]) -> None:
        """Clear the pictures that the broker may have on these topics, unless newer ones wait that replace them."""
        with self._lock:
            self._pictures.outdate(topics)

    def has_outdated_picture(self, topic: str) -> bool:
        """True if the broker may still have a picture that must not be seen any more."""
        with self._lock:
            return self._pictures.is_outdated(topic)

    def adopt(self, released: Sequence[Pending], superseded: Collection[str] = ()) -> None:
        """Put the messages that another queue released, or that an earlier process left, before all others.

        Newer answers of the topics `superseded` were acknowledged already, and are for `restore`.
        """
        if successor := self._successor_or(lambda: self._adopt(released, superseded)):
            successor.adopt(released, superseded)

    def restore(self, retained: RetainedMessage) -> None:
        """An answer that was retained before this publisher began: it is sent again at each connect.

        Before the first `follow`, or `online`, it waits: its question may have left the config, and its topic been
        cleared.
        """
        if successor := self._successor_or(lambda: self._restore(retained)):
            successor.restore(retained)

    def restore_found(self, answers: Sequence[StoredMessage]) -> None:
        """Restore what an earlier process left, once `read_found` has read it. Until then its topics are left alone."""
        if successor := self._successor_or(lambda: self._unread.update({answer.topic: answer for answer in answers})):
            successor.restore_found(answers)

    def read_found(self) -> None:
        """Read the answers given to `restore_found`, unless the store is on hold. Those that it has no more, and those
        that have expired, are cleared.
        """
        with self._lock:
            unread = [*self._unread.values()]
        for answer in unread:
            with suppress(StoreUnreadable):
                payload = None if answer.until <= time.monotonic() else self._payloads.read(answer.number)
                with self._lock:
                    self._restore_read(answer, payload)

    def figures(self, reconnects: int) -> PublisherFigures:
        with self._lock:
            return PublisherFigures(
                connected=self._connected,
                reconnects=reconnects,
                waiting=len(self._outbox),
                dropped=self._outbox.dropped,
                published=self._published,
                refused=self._refused,
            )

    def newly_dropped(self) -> tuple[int, int]:
        """Messages dropped since the last call because the outbox was full, and because the store could not be read."""
        with self._lock:
            unreadable = self._outbox.unreadable
            before, now = self._dropped_reported, (self._outbox.dropped - unreadable, unreadable)
            self._dropped_reported = now
            return now[0] - before[0], now[1] - before[1]

    def finished(self) -> list[int]:
        """The numbers of messages that were acknowledged, refused or dropped since the last call."""
        with self._lock:
            return self._outbox.finished()

    def cleared(self) -> list[str]:
        """The topics whose clearing was acknowledged since the last call."""
        with self._lock:
            cleared, self._cleared = self._cleared, []
            return cleared

    def forgotten(self) -> list[str]:
        """Of the topics that were cleared, those that need not be cleared again by a later process. Each once."""
        with self._lock:
            now = time.monotonic()
            due = [topic for topic, at in self._to_forget.items() if at <= now]
            for topic in due:
                del self._to_forget[topic]
            return [topic for topic in due if not self._may_retain(topic)]

    def facts(self) -> list[Fact]:
        """The facts of retained messages that the broker has accepted since the last call."""
        with self._lock:
            facts, self._facts = self._facts, []
            return facts

    def expire(self) -> None:
        """Clear the topics whose newest answer, or picture, has expired."""
        with self._lock:
            self._states.expire()
            self._pictures.expire()

    def send_again(self, first: Collection[str]) -> None:
        """Send every state and newest answer, and `online`, once more; the topics in `first` before the others."""
        with self._lock:
            self._states.send_all(first)
            self._online_sent = False
            self._answers_first()

    # The connection

    def connected(self) -> None:
        with self._lock:
            self._connected = True
            self._online_sent = False
            self._answers_first()
            self._states.send_all()
            self._pictures.expire()
            self._pictures.send_all()

    def lost(self) -> None:
        with self._lock:
            self._connected = False
            self._in_flight.clear()
            self._give_back_refused()
            self._outbox.connection_lost()

    def closed(self) -> None:
        with self._lock:
            self._connected = False

    def mark_late(self) -> None:
        """Set `late` in everything that waited in an outage and cannot have arrived. Waits for the store.

        The store has to know before the message is sent: after a crash it would send another payload under the same id.
        """
        with self._lock:
            unmarked = self._outbox.unmarked()
        payloads: dict[Pending, bytes] = {}
        for pending in unmarked:
            with suppress(StoreUnreadable):  # it is marked before it is sent
                if payload := self._payloads.of(pending):
                    payloads[pending] = as_late(payload)
        marked = self._store.mark_late({pending.number: payload for pending, payload in payloads.items()})
        with self._lock:
            if not marked:
                self._mark_again_at = time.monotonic() + MARK_AGAIN_S
                return
            for pending, payload in payloads.items():
                pending.payload, pending.late = payload, True

    @property
    def in_flight(self) -> int:
        """Messages that are sent and not accepted."""
        with self._lock:
            return len(self._in_flight) + len(self._not_now)

    @property
    def drained(self) -> bool:
        """True if nothing is in flight and nothing waits that may be sent."""
        with self._lock:
            remaining = self._coming + len(self._in_flight) + len(self._not_now) + self._states.unsent
            if self._online or self._withdrawn:
                remaining += self._pictures.unsent
            if self._online and not self._withdrawn:
                remaining += len(self._outbox)
        return remaining == 0

    def next(self) -> tuple[Entry, Message] | None:
        while True:
            with self._lock:
                self._outbox.on_hold = self._payloads.on_hold
                self._outbox.marking_on_hold = time.monotonic() < self._mark_again_at
                entry = self._next()
                if entry is None or isinstance(entry, RetainedMessage) or entry.can_be_sent:
                    return None if entry is None else (entry, entry.message())
            if message := self._fetched(entry):
                return entry, message

    def sent(self, mid: int, entry: Entry, message: Message) -> None:
        with self._lock:
            if isinstance(entry, Pending):
                entry.sent_to = message.topic
                if not entry.is_event:
                    self._pictures.answer_sent(entry)
            self._in_flight[mid] = entry

    def put_back(self, entry: Entry) -> None:
        with self._lock:
            if isinstance(entry, Pending):
                self._outbox.put_back(entry)
            else:
                self._topics_of(entry).put_back(entry)

    def refuse(self, entry: Entry) -> None:
        """The broker would not accept it; it was not sent."""
        with self._lock:
            self._settle(entry, accepted=False)

    def acknowledged(self, mid: int, outcome: Outcome) -> None:
        with self._lock:
            entry = self._in_flight.pop(mid, None)
            if entry is None:
                return
            if outcome == "not_now":
                self._not_now.append(entry)
            else:
                self._settle(entry, outcome == "accepted")

    def resume_refused(self) -> bool:
        """Put what was refused for now before everything else. False while other messages are in flight: not yet."""
        with self._lock:
            if self._not_now and self._in_flight:
                return False
            for entry in reversed(self._not_now):
                self._put_back_refused(entry)
            self._not_now.clear()
            return True

    def _give_back_refused(self) -> None:
        """What the broker has refused for now when the connection ends has not arrived, and newer ones may have."""
        for entry in self._not_now:
            if isinstance(entry, Pending):
                self._outbox.waited(entry)
        self._not_now.clear()

    def _fetched(self, pending: Pending) -> Message | None:
        """The message, with its payload read and marked. None, and not taken any more, if it cannot be sent now."""
        if pending.unmarked:
            self.mark_late()
        try:
            payload = self._payloads.of(pending)
            drop = not payload
        except StoreUnreadable:
            payload, drop = None, False
        with self._lock:
            if payload and not pending.unmarked:
                pending.payload = payload
                return pending.message()
            if drop:
                self._outbox.drop(pending)
            else:
                self._outbox.put_back(pending)
            return None

    def _successor_or(self, act: Callable[[], None]) -> SendQueue | None:
        """The successor, if there is one; otherwise `act` is called, with the lock held."""
        with self._lock:
            if self._successor is None:
                act()
            return self._successor

    # With the lock held

    def _may_retain(self, topic: str) -> bool:
        return not self._withdrawn and (self._own is None or topic in self._own)

    def _add_look(self, messages: Sequence[StoredMessage], picture: RetainedMessage | None, on_disk: bool) -> None:
        look = [waiting(message, on_disk) for message in messages]
        for pending in look:
            self._add(pending)
        if picture is not None and self._may_retain(picture.topic):
            self._pictures.send(picture, [pending for pending in look if not pending.is_event])

    def _add(self, pending: Pending) -> None:
        pending.outage = pending.outage or not self._connected
        if not pending.is_event:
            if self._may_retain(pending.topic):
                self._states.drop(pending.topic)
                self._unread.pop(pending.topic, None)
            elif not self._withdrawn:  # the question left the config while its answer was being written
                pending.outage = pending.overtaken = True
        self._outbox.add(pending)

    def _adopt(self, released: Sequence[Pending], superseded: Collection[str]) -> None:
        taken = {*superseded, *(pending.topic for pending in released if pending.topic in self._states)}
        self._outbox.adopt(released, lambda topic: self._may_retain(topic) and topic not in taken)

    def _restore(self, retained: RetainedMessage) -> None:
        self._early.append(retained)
        if self._own is not None or self._online:
            self._restore_early()

    def _restore_read(self, answer: StoredMessage, payload: bytes | None) -> None:
        if self._unread.get(answer.topic) is not answer:
            return
        del self._unread[answer.topic]
        content = Message(answer.topic, payload, retain=True, look=answer.look) if payload else None
        self._restore(RetainedMessage(content, answer.until) if content else clearing(answer.topic))

    def _restore_early(self) -> None:
        early, self._early = self._early, []
        for retained in early:
            known = retained.topic in self._states or self._outbox.has_newer(retained.topic)
            if not known and self._may_retain(retained.topic):
                self._states.send(retained)

    def _clear(self, gone: Collection[str], pictures: Collection[str]) -> None:
        for topic in gone:
            self._unread.pop(topic, None)
            self._outbox.forget(topic)
            self._states.send(clearing(topic))
        for topic in pictures:
            self._pictures.clear(topic)

    def _settle(self, entry: Entry, accepted: bool) -> None:
        self._published += accepted
        self._refused += not accepted
        if isinstance(entry, RetainedMessage):
            if self._settle_retained(entry, accepted) and accepted:
                self._accepted(entry)
        elif self._outbox.settle(entry) and not self._withdrawn and entry.payload is not None:
            message = Message(entry.topic, entry.payload, retain=True, look=entry.stored.look)
            self._states.remember(RetainedMessage(message, entry.stored.until))

    def _settle_retained(self, message: RetainedMessage, accepted: bool) -> bool:
        """True if there is no newer one of its topic."""
        if message.content.is_picture:
            return self._pictures.settle(message, accepted)
        return self._states.settle(message)

    def _put_back_refused(self, entry: Entry) -> None:
        if isinstance(entry, Pending):
            self._outbox.put_back_refused(entry)
            self._pictures.answer_refused(entry)
        elif entry.content is self._online_message:
            self._online_sent = False
        else:
            self._topics_of(entry).put_back(entry)

    def _accepted(self, newest: RetainedMessage) -> None:
        if newest.fact is not None:
            self._facts.append(newest.fact)
        if newest.clears and not self._may_retain(newest.topic):  # that of an expired answer will be used again
            self._cleared.append(newest.topic)
            if self._withdrawn:  # another edged may use these topics now
                self._to_forget[newest.topic] = 0.0
            else:
                self._to_forget.setdefault(newest.topic, time.monotonic() + self._cleared_s)

    def _clear_unknown(self) -> None:
        unknown, self._unknown = self._unknown, ()
        for topic in sorted(unknown):
            known = topic in self._states or topic in self._unread or self._outbox.has_newer(topic)
            if self._may_retain(topic) and not known:
                self._states.send(clearing(topic))

    def _answers_first(self) -> None:
        """Those that wait now go out before `online`."""
        self._before_online = self._outbox.last
        self._held_back_until = time.monotonic() + HELD_BACK_S

    def _next(self) -> Entry | None:
        if self._withdrawn:
            return self._states.take() or self._pictures.take()
        if self._online_sent:
            return self._next_in_turn()
        if self._online:
            self._clear_unknown()
        state = self._states.take() or self._pictures.take_clearing()
        if state is not None or not self._online:
            return state
        # Only answers that waited at the connect: if the broker is slower than the looks, `online` would never be sent.
        answer = self._outbox.take_answer(up_to=self._before_online)
        if answer is not None:
            return answer
        if self._outbox.holds_back(self._before_online) and time.monotonic() < self._held_back_until:
            return None
        self._online_sent = True
        return RetainedMessage(self._online_message)

    def _next_in_turn(self) -> Entry | None:
        # Two rounds: in the first, answers may move to `late`, and no longer keep an event waiting.
        for _ in range(2 * len(self._turns)):
            take = self._turns[0]
            self._turns.rotate(-1)
            entry = take()
            if entry is not None:
                return entry
        return None

    def _topics_of(self, message: RetainedMessage) -> RetainedTopics | LookPictures:
        return self._pictures if message.content.is_picture else self._states
