"""What the store costs: bytes written per day, CPU per look, and how fast a broker that was away is caught up with.

bench_store.py [LOOKS]: looks with eight questions (default 500), published to a real mosquitto, with the store on disk
and, for comparison, in memory. Then LOOKS looks while the broker is away, and the rate at which they are delivered.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.broker import HOST, Mosquitto, an_answer, until
from support.publishing import asking
from support.results.figures import Figure
from support.results.record import Recording

from edged.core.memory_store import MemoryStore
from edged.core.specs import BrokerSpec
from edged.mqtt.publisher import MqttPublisher
from edged.store.store import DiskStore

QUESTIONS = [f"question-{number}" for number in range(8)]
LOOKS_PER_DAY = 4 * 86_400 // 30  # four cameras, every 30 s


def written_bytes() -> int:
    """Bytes that this process has passed to write calls, sockets included."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


def looks(publisher: MqttPublisher, count: int, pause_s: float) -> None:
    for number in range(count):
        publisher.answers([an_answer(f"{number}-{name}", question=name) for name in QUESTIONS], [], None)
        time.sleep(pause_s)
    until(lambda: publisher.figures().waiting == 0 or not publisher.figures().connected, 120.0)


def measured(port: int, store: MemoryStore, count: int) -> tuple[float, float]:
    """CPU milliseconds and bytes written per look."""
    publisher = MqttPublisher(BrokerSpec(HOST, port), "box", store)
    publisher.follow(asking(dock=QUESTIONS, image=False))
    publisher.start()
    publisher.online()
    until(lambda: publisher.figures().connected)
    looks(publisher, 20, 0.01)
    cpu, written = time.process_time(), written_bytes()
    looks(publisher, count, 0.02)
    cpu, written = time.process_time() - cpu, written_bytes() - written
    publisher.close()
    return 1000 * cpu / count, written / count


def drained(broker: Mosquitto, store: MemoryStore, count: int) -> float:
    """Messages per second after an outage."""
    broker.kill()
    publisher = MqttPublisher(BrokerSpec(HOST, broker.port), "box", store)
    publisher.follow(asking(dock=QUESTIONS, image=False))
    publisher.start()
    publisher.online()
    looks(publisher, count, 0.0)
    until(lambda: publisher.figures().waiting == count * len(QUESTIONS), 60.0)
    broker.start()
    until(lambda: publisher.figures().connected, 60.0)
    begun = time.monotonic()
    until(lambda: publisher.figures().waiting == 0, 300.0)
    seconds = time.monotonic() - begun
    publisher.close()
    return count * len(QUESTIONS) / seconds


def main(count: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Mosquitto(Path(folder)) as broker:
        in_memory = measured(broker.port, MemoryStore(), count)
        store = DiskStore(Path(folder) / "edged.db", lambda: True)
        store.open()
        on_disk = measured(broker.port, store, count)
        per_day = (on_disk[1] - in_memory[1]) * LOOKS_PER_DAY / 1e6
        print(f"CPU per look of {len(QUESTIONS)} questions: {on_disk[0]:.2f} ms, in memory {in_memory[0]:.2f} ms")
        print(
            f"bytes written per look: {on_disk[1] - in_memory[1]:.0f}; four cameras every 30 s: {per_day:.0f} MB a day"
        )
        delivered = drained(broker, store, count)
        print(f"delivered after an outage: {delivered:.0f} messages/s")
        store.close()
    what = f"look with {len(QUESTIONS)} questions"
    return [
        Figure("cpu", f"CPU of a {what}, store and sending included", on_disk[0], "ms", at_most=5),
        Figure("cpu-memory", "the same without a file", in_memory[0], "ms"),
        Figure("written", f"written to disk by a {what}", (on_disk[1] - in_memory[1]) / 1000, "kB"),
        Figure("day", "written in a day by four cameras, a look every 30 s", per_day / 1000, "GB"),
        Figure("delivered", "answers delivered after an outage", delivered, "a second"),
    ]


if __name__ == "__main__":
    recording = Recording(__file__, __doc__)
    sys.exit(recording.finish(main(int(recording.words[0]) if recording.words else 500)))
