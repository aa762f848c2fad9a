"""A simulated UVC camera: its descriptors, the negotiation of a format, and pictures over a bulk endpoint."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from vm import pictures
from vm.guest.usbip import Wire

VENDOR, PRODUCT = 0x1D6B, 0x0102
ENDPOINT = 0x81
PAYLOAD = 4096  # bytes of a payload, header included
HEADER = 2
FRAME_ID, LAST, END_OF_HEADER = 0x01, 0x02, 0x80
EXPOSURES = 8  # steps from black to the scene
SENDS_S = 1.0  # how long the host may leave a payload unread

GET_STATUS, CLEAR_FEATURE, GET_DESCRIPTOR = 0x00, 0x01, 0x06
SET_CUR, GET_LEN, GET_INFO = 0x01, 0x85, 0x86
PROBE, COMMIT = 1, 2
DEVICE, CONFIGURATION, STRING = 1, 2, 3

Damage = Literal["gap", "flip", "cut", "garbage"]
"""`gap`: a payload inside the picture is missing. `flip`: one wrong byte. `cut`: ends early. `garbage`: no JPEG."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a camera is by construction."""

    serial: str
    product: str = "Test camera"
    sizes: tuple[tuple[int, int], ...] = ((pictures.WIDTH, pictures.HEIGHT),)
    starts_after_s: float = 0.0
    dark_s: float = 0.0  # black after each start
    settles_s: float = 0.0  # then brighter and brighter for so long
    restarts: bool = False  # restart markers in the pictures
    parity: int | None = None  # sends only pictures with even (0) or odd (1) numbers


class UvcCamera:
    """One camera. Its attributes are its faults, and may be changed at any time."""

    def __init__(self, model: Model, bank: Sequence[bytes]) -> None:
        self.model = model
        self.stalled = self.refuses = False
        self.damage: Damage | None = None
        self.damage_share = 1.0  # of the pictures, at random: one in two would never meet a look that takes one in two
        self.starts = self.sent = self.damaged = 0
        self._bank = bank
        self._random = random.Random(model.serial)
        self._wire: Wire | None = None
        self._streaming: threading.Event | None = None  # set at its end
        self._threads: list[threading.Thread] = []
        self._frame = 1
        self._scenes = {size: pictures.scene(*size) for size in model.sizes}
        self._exposures = [pictures.exposed(step / EXPOSURES) for step in range(EXPOSURES)] if is_dark(model) else []

    def plugged(self, wire: Wire) -> None:
        self._wire = wire

    def unplugged(self) -> None:
        self._end()
        for thread in self._threads:
            thread.join(2 * SENDS_S)
        self._threads.clear()

    def control(self, setup: bytes, data: bytes) -> bytes | None:
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        if kind & 0x60 == 0x20:
            return self._stream_control(request, value >> 8, index & 0xFF, data, length)
        if request == GET_DESCRIPTOR:
            descriptor = self._descriptor(value >> 8, value & 0xFF)
            return None if descriptor is None else descriptor[:length]
        if request == CLEAR_FEATURE and kind == 0x02:
            self._end()  # how uvcvideo ends a bulk stream
        return b"\0\0"[:length] if request == GET_STATUS else b""

    def _stream_control(self, request: int, selector: int, interface: int, data: bytes, length: int) -> bytes | None:
        if interface != 1 or selector not in (PROBE, COMMIT):
            return None
        if request == SET_CUR:
            self._frame = min(max(data[3], 1), len(self.model.sizes))
            if selector == COMMIT:
                if self.refuses:
                    return None
                self._begin()
            return b""
        if request == GET_INFO:
            return b"\x03"
        return struct.pack("<H", 34) if request == GET_LEN else self._negotiated()[:length]

    def _negotiated(self) -> bytes:
        width, height = self.model.sizes[self._frame - 1]
        head = struct.pack("<HBBI5H", 1, 1, self._frame, interval(), 0, 0, 0, 0, 0)
        return head + struct.pack("<III4B", width * height * 2, PAYLOAD, 48_000_000, 0, 0, 0, 0)

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if kind == DEVICE:
            return struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x200, 0xEF, 2, 1, 64, VENDOR, PRODUCT, 0x100, 1, 2, 3, 1)
        if kind == CONFIGURATION:
            return configuration(self.model.sizes)
        if kind == STRING and index <= 3:
            texts = ("\u0409", "Edged", self.model.product, self.model.serial)
            text = texts[index].encode("utf-16-le")
            return bytes([2 + len(text), STRING]) + text
        return None  # stalled, as the qualifier of another speed is

    def _begin(self) -> None:
        self._end()
        self.starts += 1
        self._streaming = threading.Event()
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=self._stream, args=(self._streaming, self._wire), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _end(self) -> None:
        if self._streaming:
            self._streaming.set()

    def _stream(self, ended: threading.Event, wire: Wire) -> None:
        began, toggle = time.monotonic(), 0
        ended.wait(self.model.starts_after_s)
        number = int(time.monotonic() * pictures.RATE)
        while not ended.is_set():
            number = max(number + 1, int(time.monotonic() * pictures.RATE))
            ended.wait(max(0.0, number / pictures.RATE - time.monotonic()))
            if self.stalled or ended.is_set():
                continue
            toggle ^= FRAME_ID
            picture = self._picture(number, time.monotonic() - began)
            for payload in payloads(self._damaged(picture), toggle):
                if ended.is_set() or not wire.send(payload, SENDS_S):
                    break
            self.sent += 1

    def _picture(self, number: int, running_s: float) -> bytes:
        size = self.model.sizes[self._frame - 1]
        if size != (pictures.WIDTH, pictures.HEIGHT):
            return self._scenes[size]
        if running_s < self.model.dark_s + self.model.settles_s:
            brightening_s = max(0.0, running_s - self.model.dark_s)
            share = brightening_s / self.model.settles_s if self.model.settles_s else 0.0
            return self._exposures[int(share * EXPOSURES)]
        if self.model.parity is not None:
            number = number - number % 2 + self.model.parity
        return self._bank[number % len(self._bank)]

    def _damaged(self, picture: bytes) -> list[bytes]:
        """The picture in payloads, with the fault that is due."""
        damage = self.damage if self._random.random() < self.damage_share else None
        self.damaged += damage is not None
        if damage == "flip":
            place = self._random.randrange(len(picture) // 4, len(picture) - 64)
            changed = bytearray(picture)
            changed[place] ^= 0xFF
            picture = bytes(changed)
        elif damage == "garbage":
            picture = self._random.randbytes(len(picture))
        elif damage == "cut":
            picture = picture[: len(picture) // 2]
        pieces = [picture[at : at + PAYLOAD - HEADER] for at in range(0, len(picture), PAYLOAD - HEADER)]
        if damage == "gap":
            del pieces[1]
        return pieces


def payloads(pieces: Sequence[bytes], toggle: int) -> Iterable[bytes]:
    for place, piece in enumerate(pieces, 1):
        yield bytes([HEADER, END_OF_HEADER | toggle | (LAST if place == len(pieces) else 0)]) + piece


def is_dark(model: Model) -> bool:
    return model.dark_s + model.settles_s > 0


def interval() -> int:
    """Between pictures, in units of 100 ns."""
    return 10_000_000 // pictures.RATE


def configuration(sizes: Sequence[tuple[int, int]]) -> bytes:
    """A video function: a camera terminal, a streaming terminal, and an interface with one bulk endpoint."""
    camera = struct.pack("<BBBBHBBHHHB3s", 18, 0x24, 2, 1, 0x0201, 0, 0, 0, 0, 0, 3, bytes(3))
    output = struct.pack("<BBBBHBBB", 9, 0x24, 3, 2, 0x0101, 0, 1, 0)
    header = struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0110, 13 + len(camera + output), 48_000_000, 1, 1)
    frames = b"".join(frame(index, *size) for index, size in enumerate(sizes, 1))
    formats = struct.pack("<11B", 11, 0x24, 6, 1, len(sizes), 1, 1, 0, 0, 0, 0) + frames
    formats += bytes([6, 0x24, 0x0D, 1, 1, 4])
    inputs = struct.pack("<BBBBHBBBBBBBB", 14, 0x24, 1, 1, 14 + len(formats), ENDPOINT, 0, 2, 0, 0, 0, 1, 0)
    body = struct.pack("<8B", 8, 0x0B, 0, 2, 0x0E, 3, 0, 2)
    body += struct.pack("<9B", 9, 4, 0, 0, 0, 0x0E, 1, 0, 2) + header + camera + output
    body += struct.pack("<9B", 9, 4, 1, 0, 1, 0x0E, 2, 0, 2) + inputs + formats
    body += struct.pack("<BBBBHB", 7, 5, ENDPOINT, 2, 512, 0)
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body


def frame(index: int, width: int, height: int) -> bytes:
    bits = width * height * 16 * pictures.RATE
    head = struct.pack("<BBBBBHH", 30, 0x24, 7, index, 0, width, height)
    return head + struct.pack("<IIIIBI", bits, bits, width * height * 2, interval(), 1, interval())
