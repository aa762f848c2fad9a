"""The V4L2 calls that OpenCV does not offer: what a device node is, its picture sizes, and why it does not start.

The layouts are those of 64-bit Linux, from linux/videodev2.h.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from collections.abc import Callable, Iterator
from typing import TypeAlias

Size: TypeAlias = tuple[int, int]  # width and height in pixels
Sizes: TypeAlias = dict[str, list[Size]]  # by FOURCC
Ioctl: TypeAlias = Callable[[int, int, bytearray], object]

CAPTURE, CAPTURE_MULTIPLANAR, META_CAPTURE = 0x1, 0x1000, 0x800000  # V4L2_CAP_...
DEVICE_CAPS = 0x80000000
QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES = 0x80685600, 0xC0405602, 0xC02C564A
REQBUFS, QBUF, STREAMON, STREAMOFF = 0xC0145608, 0xC058560F, 0x40045612, 0x40045613
CAPABILITY, FORMAT = struct.Struct("16x32x32x4xII12x"), struct.Struct("3I32xI16x")
FRAME_SIZE, REQUEST, BUFFER = struct.Struct("9I8x"), struct.Struct("3I8x"), struct.Struct("2I52xI24x")
DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE
MEMORY_MMAP = 1
MOST_FORMATS, MOST_SIZES = 64, 256
START_BUFFERS = 4


class VideoNode:
    """An open device node. The methods raise OSError with the driver's errno."""

    def __init__(self, handle: int, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._handle = handle
        self._ioctl = ioctl

    def capabilities(self) -> int:
        """The flags V4L2_CAP_... of this node. Raises OSError (ENOTTY) if it is not a V4L2 device."""
        of_device: int
        of_node: int
        of_device, of_node = CAPABILITY.unpack(self._call(QUERYCAP, CAPABILITY.pack(0, 0)))
        return of_node if of_device & DEVICE_CAPS else of_device

    def sizes(self) -> Sizes:
        """The sizes of each pixel format; an empty list if the driver has a range of sizes, or does not tell."""
        return {name: list(self._sizes_of(code)) for name, code in self._formats()}

    def require_idle(self) -> None:
        """Raises OSError (EBUSY) if another handle has reserved the device to read from it."""
        # Frees this handle's own buffers, of which there are none: on an idle device this has no effect.
        self._call(REQBUFS, REQUEST.pack(0, self._type(), MEMORY_MMAP))

    def try_start(self) -> None:
        """Start and stop the stream. Raises OSError with the cause if the driver refuses."""
        kind = self._type()
        self._call(REQBUFS, REQUEST.pack(START_BUFFERS, kind, MEMORY_MMAP))
        # Drivers defer the start until there are buffers to fill.
        for number in range(START_BUFFERS):
            self._call(QBUF, BUFFER.pack(number, kind, MEMORY_MMAP))
        self._call(STREAMON, struct.pack("I", kind))
        self._call(STREAMOFF, struct.pack("I", kind))

    def _formats(self) -> Iterator[tuple[str, int]]:
        for number in range(MOST_FORMATS):
            answer = self._enumerated(ENUM_FMT, FORMAT.pack(number, self._type(), 0, 0))
            if answer is None:
                return
            code = FORMAT.unpack(answer)[3]
            yield code.to_bytes(4, "little").decode("latin-1"), code

    def _sizes_of(self, code: int) -> Iterator[Size]:
        for number in range(MOST_SIZES):
            answer = self._enumerated(ENUM_FRAMESIZES, FRAME_SIZE.pack(number, code, *[0] * 7))
            if answer is None:
                return
            _, _, kind, width, height, *_ = FRAME_SIZE.unpack(answer)
            if kind != DISCRETE:
                return
            yield width, height

    def _enumerated(self, request: int, argument: bytes) -> bytes | None:
        """None at the end of the list."""
        try:
            return self._call(request, argument)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return None
            raise

    def _type(self) -> int:
        """V4L2_BUF_TYPE_VIDEO_CAPTURE, or ..._MPLANE."""
        return 9 if self.capabilities() & CAPTURE_MULTIPLANAR else 1

    def _call(self, request: int, argument: bytes) -> bytes:
        data = bytearray(argument)
        self._ioctl(self._handle, request, data)
        return bytes(data)
