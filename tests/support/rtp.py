"""RTP and RTCP packets: H.264 (RFC 6184), H.265 (RFC 7798), JPEG (RFC 2435), sender reports (RFC 3550)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from support.clips import AccessUnit, Clip

VERSION = 0x80
SSRC = 0xEDED
SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION, BYE = 200, 201, 202, 203
NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970


def payloads(clip: Clip, unit: AccessUnit, parameter_sets: bool, mtu: int) -> list[bytes]:
    """The payloads of one picture's packets, each of `mtu` bytes at most."""
    if clip.codec == "jpeg":
        return list(_jpeg_payloads(unit.units[0], clip.width, clip.height, mtu))
    units = (*clip.parameter_sets, *unit.units) if parameter_sets else unit.units
    fragments = _fragments_h264 if clip.codec == "h264" else _fragments_h265
    return [part for nal in units for part in ([nal] if len(nal) <= mtu else fragments(nal, mtu))]


def _fragments_h264(nal: bytes, mtu: int) -> Iterator[bytes]:
    """FU-A: an indicator (type 28), then a header with start bit, end bit and the unit's type."""
    for flags, part in _parts(nal[1:], mtu - 2):
        yield bytes([nal[0] & 0xE0 | 28, flags | nal[0] & 0x1F]) + part


def _fragments_h265(nal: bytes, mtu: int) -> Iterator[bytes]:
    """FU: the unit's header with type 49, then a header as in H.264."""
    for flags, part in _parts(nal[2:], mtu - 3):
        yield bytes([nal[0] & 0x81 | 49 << 1, nal[1], flags | nal[0] >> 1 & 0x3F]) + part


def _parts(data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(data), size):
        first, last = start == 0, start + size >= len(data)
        yield first << 7 | last << 6, data[start : start + size]


def _jpeg_payloads(jpeg: bytes, width: int, height: int, mtu: int) -> Iterator[bytes]:
    tables, scan = _jpeg_parts(jpeg)
    for start in range(0, len(scan), mtu - 140):
        head = struct.pack("!I4B", start, 1, 255, width // 8, height // 8)  # type 1: 4:2:0; Q 255: tables follow
        quantisation = struct.pack("!BBH", 0, 0, len(tables)) + tables if start == 0 else b""
        yield head + quantisation + scan[start : start + mtu - 140]


def _jpeg_parts(jpeg: bytes) -> tuple[bytes, bytes]:
    """The quantisation tables (luma, chroma; one for both if the file has one), and the entropy-coded data."""
    tables, at = [], 2
    while jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4])
        if jpeg[at + 1] == 0xDB:
            body = jpeg[at + 4 : at + 2 + length]
            tables += [body[start + 1 : start + 65] for start in range(0, len(body), 65)]
        at += 2 + length
    scan = jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4]) : jpeg.rindex(b"\xff\xd9")]
    return (tables[0] + tables[-1]), scan


def rtp(payload: bytes, payload_type: int, sequence: int, ticks: int, marker: bool) -> bytes:
    second = marker << 7 | payload_type
    return struct.pack("!BBHII", VERSION, second, sequence & 0xFFFF, ticks & 0xFFFFFFFF, SSRC) + payload


def sender_report(wall_s: float, ticks: int, packets: int, octets: int) -> bytes:
    """At this wall-clock time (seconds since 1970) the stream's clock was at `ticks`."""
    ntp = int((wall_s + NTP_EPOCH) * 2**32)
    counts = (ticks & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)
    return struct.pack("!BBHIQIII", VERSION, SENDER_REPORT, 6, SSRC, ntp, *counts) + _source_description()


def bye() -> bytes:
    """Begins with a report, as RFC 3550 requires. FFmpeg ignores a BYE alone: it is shorter than an RTP header."""
    report = struct.pack("!BBHI", VERSION, RECEIVER_REPORT, 1, SSRC)
    return report + _source_description() + struct.pack("!BBHI", VERSION | 1, BYE, 1, SSRC)


def _source_description() -> bytes:
    """The canonical name, which follows every report."""
    name = b"scripted"
    items = struct.pack("!IBB", SSRC, 1, len(name)) + name + b"\0\0"
    return struct.pack("!BBH", VERSION | 1, SOURCE_DESCRIPTION, len(items) // 4) + items
