"""Judges a storm by what the subscriber received, what the store has, and what the log says. Nothing else is read,
but for edged's processes: how they ended and what they used.

Each invariant is a function that gives the sentences that do not hold.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from support.clips import number_in
from support.rtsp import FPS
from support.storm.cameras import SIZES, seconds_since
from support.storm.config_file import EVERY_S, FROZEN_AFTER_S, MAX_AGE_S, NODE, ConfigFile
from support.storm.parts import Life, Parts, Sample
from support.storm.record import Message

OWN_S = 0.3  # between the check of the age and the model, and a picture of the camera's clock
LATE_PICTURES = 5  # all of which were sent late
LAG_S = 3.0  # in which a camera that is not late sends a picture in time
WILL_S = 7.0  # the broker publishes the last will 5 s after the connection was lost
SETTLED_S = 15.0  # without a disturbance, edged has reached the broker
STOP_S = 12.0  # 10 s for the broker's acknowledgements, and the rest
NOISY_CHANGES = 4  # of the picture, from look to look, until edged knows a camera's noise; one more than it needs
POOL_THREADS = (os.cpu_count() or 1) + 4  # asyncio's, which never ends one
JOURNAL_BYTES = 8_000_000
EACH = 3  # examples of a broken invariant
PREFIX = f"edged/{NODE}/"
SUBJECT = r"(?P<subject>(?:camera|broker) \S+|model|store|page|schedule): "
OFFLINE = re.compile(rf"WARNING {SUBJECT}(?P<reason>.*)")
OVER = (
    "back|connected|working again|reading again|writing again|fresh frames again|connections are accepted again|"
    "removed|over after"
)
BACK = re.compile(rf"INFO {SUBJECT}(?:{OVER})\b")
ACCEPTED = re.compile(rf"INFO {SUBJECT}(?:(?P<topic>topic \S+) accepted again|(?P<filter>subscription to \S+) granted)")
RELOADED = re.compile(r"INFO config reloaded")
REFUSED = re.compile(r"topic (\S+) (?:temporarily )?refused")
# What lasts, or is over only after minutes, has no second line within a storm.
LASTING = re.compile(
    r"refused: |another (client|edged)|falling behind|was not acknowledged|messages? dropped|could not be read and w"
)
OF_LOGIN = re.compile(rf"authorised|certificate|TLS|{LASTING.pattern}")
NOT_WRITTEN = "could not be written before edged stopped|still writing after"  # of the store
EXPECTED_ERROR = re.compile(rf"ERROR config not reloaded|ERROR +\S*edged\.yaml|{NOT_WRITTEN}")
IN_MEMORY = "answers are kept in memory"
OLD_PROTOCOL = "(MQTT 3.1.1"
SEEN = re.compile(r"(\d+|None) at ([\d.]+)")


@dataclass(frozen=True, slots=True)
class Row:
    """A message in the store, in the order in which they were made. `late` and `look` are not in the payload."""

    number: int
    topic: str
    look: str | None
    waiting: bool
    payload: bytes
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.content["id"])


@dataclass(frozen=True, slots=True)
class Faults:
    """What the storm did to edged, as far as it changes what edged can know.

    `broker_away`: when the broker was disturbed, from and until (monotonic). `denied`: topics that the broker ever
    refused. `frozen`: the numbers of pictures at which a camera froze. `begun`: when edged or a camera began anew;
    `forgotten`: when it may not have known any more that the cameras show noise (seconds since 1970). `lags`: when a
    camera has sent each picture (the same), and how long after it was taken: on a busy machine, it encodes late.
    `held`: when the network held back a camera's snapshots, from and until (the same).
    """

    broker_away: Sequence[tuple[float, float]] = ()
    denied: Collection[str] = ()
    frozen: Collection[int] = ()
    begun: Sequence[float] = ()
    forgotten: Sequence[float] = ()
    lags: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    held: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """`quiet` and `stopped` are the broker's retained messages before and after edged was stopped."""

    messages: Sequence[Message]
    rows: Sequence[Row]
    logs: Sequence[Sequence[str]]
    quiet: Mapping[str, bytes]
    stopped: Mapping[str, bytes]

    @cached_property
    def sent(self) -> list[Message]:
        """Answers and events as they arrived; not states, pictures and cleared topics."""
        return [each for each in self.messages if each.payload.startswith(b"{") and "id" in each.json]

    @cached_property
    def answers(self) -> dict[str, Mapping[str, Any]]:
        """Every answer once, by id: those of the store in its order, and those that only the subscriber has."""
        contents = [row.content for row in self.rows] + [message.json for message in self.sent]
        return {content["id"]: content for content in contents if "status" in content}

    def newest(self, topic: str) -> list[str]:
        """The ids of the topic's rows, the newest first."""
        return [row.id for row in reversed(self.rows) if row.topic == topic]


def read_rows(database: Path) -> list[Row]:
    query = (
        "SELECT number, topic, look, waiting, payload FROM message JOIN series ON series.id = series ORDER BY number"
    )
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        found = connection.execute(query).fetchall()
    finally:
        connection.close()
    return [Row(number, topic, look, bool(on), data, json.loads(data)) for number, topic, look, on, data in found]


def judge(seen: Seen, parts: Parts, before: Sample, after: Sample, faults: Faults) -> list[str]:
    late_s = parts.lateness.worst_s
    findings: list[Iterable[str]] = [
        () if parts.lateness.paused_s else too_old(seen, late_s, faults),
        untyped(seen),
        mixed_up(seen),
        lost(seen, faults.denied),
        disordered(seen),
        changed(seen),
        not_on_disk(seen, parts.lives),
        *(invariant(seen, parts.config) for invariant in (wrong_topics, outdated, not_offline)),
        still_waiting(seen),
        unexpected(seen),
        repeated_lines(seen),
        unended(seen),
        shown_secrets(seen, parts.config.every_secret, parts.database),
        badly_ended(parts.lives, late_s),
        silently_down(seen, parts.lives, faults.broker_away, late_s),
        grown(before, after),
        bloated(after, sum(len(row.payload) for row in seen.rows)),
    ]
    return [sentence for each in findings for sentence in _some(each)]


def _some(sentences: Iterable[str]) -> Iterator[str]:
    found = list(sentences)
    yield from found[:EACH]
    if len(found) > EACH:
        yield f"… and {len(found) - EACH} more like it"


# Answers


def too_old(seen: Seen, late_s: float, faults: Faults) -> Iterator[str]:
    """No answer is about a picture older than `max_age`, or `frozen_after` if the camera is frozen.

    `frozen_after` counts from the first look at the picture since edged or the camera began anew. A camera that has not
    shown noise since that was forgotten cannot be told from a test card.
    """
    looked_at: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for content in seen.answers.values():
        match = SEEN.fullmatch(str(content["value"])) if _is_ok(content, "seen") else None
        if not match or match[1] == "None":
            continue
        number, at = int(match[1]), float(match[2])
        looks = looked_at[content["camera"]]
        looks.append((number, at))
        is_frozen = number in faults.frozen
        if is_frozen and not _has_shown_noise(looks, _last(faults.forgotten, at)):
            continue
        lag_s = _lasting_lag(faults.lags.get(content["camera"], ()), at)
        limit_s = (FROZEN_AFTER_S + EVERY_S if is_frozen else MAX_AGE_S) + 1 / FPS + OWN_S + late_s + lag_s
        age_s = _since_arrival(faults.held.get(content["camera"], ()), at, seconds_since(number, at))
        if is_frozen:
            begun = _last(faults.begun, at)
            age_s = at - next(when for other, when in looks if other == number and when >= begun)
        if age_s > limit_s:
            yield (
                f"camera {content['camera']}: the picture of answer {content['id']} was {age_s:.1f} s old "
                f"(frame_age_s {content['frame_age_s']}, limit {limit_s:.1f} s, "
                f"looked at {time.strftime('%T', time.localtime(at))})"
            )


def _lasting_lag(lags: Sequence[tuple[float, float]], at: float) -> float:
    """The least lag of the pictures that were sent in the last seconds: nobody can see that all of them are late.

    0 if there were only a few, as after a camera was stopped.
    """
    recent = [lag_s for when, lag_s in lags if at - LAG_S <= when <= at]
    return min(recent) if len(recent) >= LATE_PICTURES else 0.0


def _since_arrival(held: Sequence[tuple[float, float]], at: float, age_s: float) -> float:
    """The age of a picture that was taken while the network held back snapshots counts from the end of that: a
    snapshot's age counts from the beginning of the camera's answer.
    """
    taken = at - age_s
    return min((at - until for since, until in held if since - 1 / FPS - OWN_S <= taken <= until <= at), default=age_s)


def _last(moments: Iterable[float], before: float) -> float:
    """0 if there is none."""
    return max((each for each in moments if each < before), default=0.0)


def _has_shown_noise(looks: Sequence[tuple[int, float]], since: float) -> bool:
    """The looks since this moment have seen the picture change often enough."""
    numbers = [number for number, at in looks if at >= since]
    return sum(one != other for one, other in pairwise(numbers)) >= NOISY_CHANGES


def untyped(seen: Seen) -> Iterator[str]:
    """A value has its type and range, and is there if and only if the status is `ok`."""
    admitted: dict[str, Callable[[Any], bool]] = {
        "clock": lambda value: type(value) is int and 0 <= value <= 65535,
        "even": lambda value: type(value) is bool,
        "seen": lambda value: type(value) is str and value != "",
    }
    for content in seen.answers.values():
        value, ok = content["value"], content["status"] == "ok"
        if not (admitted[content["question"]](value) if ok else value is None and content["reason"]):
            yield f"{content['camera']}/{content['question']}: {content['status']} with the value {value!r}"


def mixed_up(seen: Seen) -> Iterator[str]:
    """All answers of a look, and the picture that was published with them, are about the same undamaged picture."""
    looks: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in seen.rows:
        if row.look and row.content.get("status") == "ok":
            looks[row.look][row.content["question"]] = row.content["value"]
    for message in seen.messages:
        if message.topic.endswith("/image/jpeg") and message.look in looks:
            looks[message.look]["image"] = message.payload
    for look, found in looks.items():
        number = SEEN.fullmatch(str(found.get("seen")))
        if number and number[1] == "None":
            yield f"look {look}: answers about a damaged picture"
        elif number and not _agree(int(number[1]), found):
            yield f"look {look}: {found['seen']}, but {found.get('clock')}, {found.get('even')}, or another picture"


def _agree(number: int, found: Mapping[str, Any]) -> bool:
    is_even = number % 2 == 0
    if number != found.get("clock", number) or found.get("even", is_even) != is_even:
        return False
    if "image" not in found:
        return True
    pixels = cv2.imdecode(np.frombuffer(found["image"], np.uint8), cv2.IMREAD_COLOR)
    # a broker that limits packets gets smaller pictures
    return pixels is not None and number_in(cv2.resize(pixels, SIZES[0])) == number


def _is_ok(content: Mapping[str, Any], question: str) -> bool:
    return (content["question"], content["status"]) == (question, "ok")


# Delivery


def lost(seen: Seen, denied: Collection[str] = ()) -> Iterator[str]:
    """Every message of a finished look, which is in the store, has reached the subscriber, or the log says it was
    refused. With MQTT 3.1.1 a broker cannot say that it has refused a message: then nothing is said of those.
    """
    received = {message.json["id"] for message in seen.sent}
    lines = [line for log in seen.logs for line in log]
    refused = {match[1] for line in lines if (match := REFUSED.search(line))}
    if any(OLD_PROTOCOL in line for line in lines):
        refused.update(denied)
    for row in seen.rows:
        if row.id not in received and row.topic not in refused:
            yield f"{row.topic}: row {row.number} ({row.id}) was not received"


def disordered(seen: Seen) -> Iterator[str]:
    """On each topic, and on its /late, what arrives for the first time arrives in the order of the store. But a process
    that could not read its store at the start sends what was in it, not retained, after newer ones.
    """
    unread = any(IN_MEMORY in line for log in seen.logs for line in log[:1])
    place = {row.id: row.number for row in seen.rows}
    newest: dict[str, int] = {}
    received = set[str]()  # also if it comes again on the other topic, because no acknowledgement could be stored
    for message in seen.sent:
        topic, name = message.topic, message.json["id"]
        if name in received or name not in place:
            continue
        received.add(name)
        if unread and not message.retain:
            continue
        if place[name] < newest.get(topic, place[name]):
            yield f"{message.topic}: row {place[name]} arrived after row {newest[topic]}"
        newest[topic] = max(newest.get(topic, 0), place[name])


def changed(seen: Seen) -> Iterator[str]:
    """A message that is sent again has the same content."""
    contents: dict[str, set[bytes]] = defaultdict(set)
    for message in seen.sent:
        contents[message.json["id"]].add(message.payload)
    return (f"id {name} was sent with {len(each)} contents" for name, each in contents.items() if len(each) > 1)


def not_on_disk(seen: Seen, lives: Sequence[Life]) -> Iterator[str]:
    """What the broker has is in the store: it was on disk before it was sent. But a process that ended while it could
    not write to its store has taken along what only its memory had.
    """
    stored = {row.id for row in seen.rows}
    in_memory = [(life.began, life.ended) for life in lives if _ended_without_store(life)]
    for message in seen.sent:
        excused = any(began <= message.at <= ended + STOP_S for began, ended in in_memory)
        if message.json["id"] not in stored and not excused:
            yield f"{message.topic}: {message.json['id']} is not in the store"


def _ended_without_store(life: Life) -> bool:
    lines = [line for line in life.log if " store: " in line]
    return bool(lines) and re.search(rf"{IN_MEMORY}|{NOT_WRITTEN}", lines[-1]) is not None


# The end of the storm


def wrong_topics(seen: Seen, config: ConfigFile) -> Iterator[str]:
    """The retained topics are those of the config: none is missing, and none is left from an earlier config."""
    for topic in sorted(config.topics() ^ set(seen.quiet)):
        yield f"{topic} is {'retained, but not in the config' if topic in seen.quiet else 'not retained'}"


def outdated(seen: Seen, config: ConfigFile) -> Iterator[str]:
    """The retained answers are the newest ones, and were asked with the config's prompts."""
    for topic in config.answer_topics():
        stopped = json.loads(seen.stopped[topic]) if seen.stopped.get(topic) else None
        if stopped is None or stopped["id"] != next(iter(seen.newest(topic)), None):
            yield f"{topic}: the retained answer is not the newest"
        elif not stopped["prompt"].startswith(config.prompt(topic.rsplit("/", 1)[1])):
            yield f"{topic}: asked {stopped['prompt']!r} after the config had changed"


def not_offline(seen: Seen, config: ConfigFile) -> Iterator[str]:
    """Once edged is stopped, edged and its cameras are offline on the broker; before, they were online."""
    for topic in [f"{PREFIX}bridge/state", *(f"{PREFIX}{name}/availability" for name in config.sources)]:
        for wanted, retained in (("online", seen.quiet), ("offline", seen.stopped)):
            state = json.loads(retained.get(topic) or "{}").get("state")
            if state != wanted:
                yield f"{topic} is {state}, not {wanted}"


def still_waiting(seen: Seen) -> Iterator[str]:
    """Nothing waits in the store once edged has stopped with a broker that works."""
    return (f"{row.topic}: row {row.number} still waits" for row in seen.rows if row.waiting)


# The log


def unexpected(seen: Seen) -> Iterator[str]:
    """No traceback, no unexpected error, and no error but those about a config that is wrong."""
    for line in (line for log in seen.logs for line in log):
        if re.search(r"Traceback|unexpected error", line) or (" ERROR " in line and not EXPECTED_ERROR.search(line)):
            yield f"log: {line}"


def repeated_lines(seen: Seen) -> Iterator[str]:
    """An outage is logged once for each reason, until a line says that it is over."""
    for log in seen.logs:
        reasons: dict[str, set[str]] = defaultdict(set)
        for line in log:
            if RELOADED.search(line):
                reasons = defaultdict(set, _kept_over_reload(reasons))
            elif end := BACK.search(line):
                reasons[end["subject"]].clear()
            elif end := ACCEPTED.search(line):
                refused = re.sub(r"\d+", "#", f"{end['topic'] or end['filter']} refused: ")
                kept = {reason for reason in reasons[end["subject"]] if not reason.startswith(refused)}
                reasons[end["subject"]] = kept
            elif match := OFFLINE.search(line):
                reason = re.sub(r"\d+", "#", match["reason"])
                if reason in reasons[match["subject"]]:
                    yield f"logged again without an end: {line}"
                reasons[match["subject"]].add(reason)


def _kept_over_reload(reasons: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """A reload may open a camera or load a model anew. The broker's outage goes on, whatever was changed; but with a
    new login, it may refuse what it refused before.
    """
    brokers = {subject: each for subject, each in reasons.items() if subject.startswith("broker ")}
    return {subject: {each for each in logged if not OF_LOGIN.search(each)} for subject, logged in brokers.items()}


def unended(seen: Seen) -> Iterator[str]:
    """In the log of the last process, every outage has a line that says it is over."""
    outages: dict[str, str] = {}
    for line in seen.logs[-1]:
        if (match := OFFLINE.search(line)) and not LASTING.search(line):
            outages[match["subject"]] = line
        elif end := BACK.search(line):
            outages.pop(end["subject"], None)
    return (f"no line says that it is over: {line}" for line in outages.values())


# The process


def shown_secrets(seen: Seen, secrets: Iterable[str], database: Path) -> Iterator[str]:
    """No secret is in the log, in a message or in the store."""
    outputs = {
        "the log": "\n".join(line for log in seen.logs for line in log).encode(),
        "a message": b"\n".join(message.payload for message in seen.messages),
        **{path.name: path.read_bytes() for path in database.parent.glob("edged.db*")},
    }
    for secret in secrets:
        for output, content in outputs.items():
            if any(form.encode() in content for form in (secret, quote(secret, safe=""))):
                yield f"the secret that begins with {secret[:3]!r} is in {output}"


def badly_ended(lives: Sequence[Life], late_s: float) -> Iterator[str]:
    """edged ends only when it is told to, with exit code 0, and within a bound.

    After SIGKILL there is no bound: that it has ended is noted when the fault is over.
    """
    for number, life in enumerate(lives):
        end = "it was not stopped" if life.stopped_by is None else f"signal {life.stopped_by.name}"
        if life.exit_code not in life.expected_exits():
            yield f"life {number} of edged: exit code {life.exit_code} after {end}"
        elif life.stopped_by not in (None, signal.SIGKILL) and life.ended_s > STOP_S + late_s:
            yield f"life {number} of edged: took {life.ended_s:.1f} s to end after {end}"


def silently_down(
    seen: Seen, lives: Sequence[Life], unreachable: Sequence[tuple[float, float]], late_s: float
) -> Iterator[str]:
    """The broker says `offline` soon after edged was killed, unless edged is back before, or the broker is away."""
    state = [each for each in seen.messages if each.topic == f"{PREFIX}bridge/state"]
    offline = [message.at for message in state if b"offline" in message.payload]
    for (life, following), log in zip(pairwise(lives), seen.logs, strict=False):
        due = life.ended + WILL_S + late_s
        disturbed = any(begin < due and life.ended - SETTLED_S < end for begin, end in unreachable)
        was_connected = any("INFO broker " in line for line in log)
        if not was_connected or disturbed or due > following.began:
            continue
        if not any(life.stop_sent <= at <= due for at in offline):
            yield f"edged was not offline {due - life.ended:.1f} s after its end"


def grown(before: Sample, after: Sample) -> Iterator[str]:
    """Memory, threads and descriptors after the storm are those of before it, but for the page's pool of threads."""
    if after.resident_kb > before.resident_kb * 1.25 + 20_000:
        yield f"memory grew from {before.resident_kb} to {after.resident_kb} kB"
    if after.threads > before.threads + 3 + POOL_THREADS:
        yield f"threads grew from {before.threads} to {after.threads}"
    if after.descriptors > before.descriptors + 6:
        yield f"descriptors grew from {before.descriptors} to {after.descriptors}"


def bloated(after: Sample, payload_bytes: int) -> Iterator[str]:
    """The store is as large as its messages, and its journal does not grow."""
    if after.store_bytes > 3 * payload_bytes + JOURNAL_BYTES:
        yield f"the store has {after.store_bytes} bytes for {payload_bytes} bytes of messages"
