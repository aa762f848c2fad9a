"""RTSP streams through FFmpeg: packets, not pictures."""

from __future__ import annotations

import struct
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.packet import Packet as AvPacket
from av.video.stream import VideoStream

from edged.cameras.annexb import parameter_sets
from edged.cameras.bounded import ANSWER_S, Cancelled
from edged.cameras.camera_url import CameraUrl, parse_url
from edged.cameras.ffmpeg import captured_log, is_loss, open_error, refused_status
from edged.cameras.live_edge import BURST_S
from edged.cameras.packets import OpenStream, Packet
from edged.cameras.preflight import describe
from edged.cameras.reasons import LoginRefused
from edged.core.errors import CameraError

OPEN_S = 30.0  # for all of a camera's answers; each must begin within 5 s
SILENT_S = 4.0  # without a packet for this long, a connection is lost
QUIET_S = 60.0  # how long a camera may send nothing after an open over the transport that worked last
UNTRIED_S = 8.0  # the same over another transport
WAITED_S = 0.005
GATHER_S = 0.12  # for several packets at each wake-up, which halves the CPU; LiveEdge corrects their ages
GATHER_AFTER_S = BURST_S  # until then, LiveEdge has to see when each packet arrived
OTHER_TRANSPORT = (400, 406, 415, 451, 456, 461, 500, 501, 551)  # statuses of SETUP for a transport that is not there
BUSY = 503
WALL_CLOCK = struct.Struct("<q")  # microseconds since 1970, the beginning of FFmpeg's AVProducerReferenceTime


class _NotOpened(Exception):
    """FFmpeg could not open the stream. `reason` is None if it does not say why."""

    def __init__(self, reason: CameraError | None, refused: tuple[str, int] | None) -> None:
        super().__init__()
        self.reason = reason
        self.refused = refused


class RtspSource:
    """One camera's RTSP stream. Remembers from one connection to the next what works.

    TCP is tried first, UDP if the camera refuses TCP or sends nothing over it. When UDP goes silent, they take turns:
    a firewall may block one. A camera that worked over TCP stays there, as it may send nothing while nothing moves.

    FFmpeg follows redirects to any host, with the password, and in a loop a thousand times a second: so the address is
    examined before FFmpeg first opens it, and again after a failure without a reason, but not at each reconnection.
    """

    def __init__(self) -> None:
        self._transports = ("tcp", "udp")
        self._examined = False
        self._worked = ""  # the transport over which the latest packets arrived

    @contextmanager
    def open(self, address: str, cancelled: Cancelled) -> Iterator[OpenStream]:
        """Raises CameraError with the reason if the stream is not available, Stopped once cancelled."""
        container, began = self._connect(address, cancelled)
        try:
            codec, extradata = _codec(container)
            packets = _age_first(self._packets(container), began)
            yield OpenStream(codec, extradata, packets, stamped=True, began=began)
        finally:
            container.close()  # in the thread that read from it

    def _connect(self, address: str, cancelled: Cancelled) -> tuple[InputContainer, float]:
        """The open connection, and when FFmpeg began to open it (monotonic)."""
        url, examine = parse_url(address), not self._examined
        if examine:
            describe(address, cancelled)
        began = time.monotonic()
        try:
            container = self._try_transports(address, url, retry=examine)
        except _NotOpened as failure:
            raise self._reason(failure, address, examine, cancelled) from None
        self._examined = True
        return container, began

    def _reason(self, failure: _NotOpened, address: str, examined: bool, cancelled: Cancelled) -> CameraError:
        if isinstance(failure.reason, LoginRefused) and examined:
            return LoginRefused("FFmpeg supports none of the camera's logins; allow Digest with MD5, or Basic alone")
        if failure.reason:
            return failure.reason
        self._examined = False
        if not examined:
            describe(address, cancelled)  # it may say why
        self._swap_transports()
        return CameraError("the camera answers, but its stream does not open")

    def _try_transports(self, address: str, url: CameraUrl, retry: bool) -> InputContainer:
        try:
            return self._try(address, url, retry)
        except _NotOpened as failure:
            method, status = failure.refused or ("", 0)
            if method != "SETUP" or status not in OTHER_TRANSPORT:
                raise
            self._swap_transports()
            try:
                return self._try(address, url, retry=False)
            except _NotOpened:
                self._swap_transports()
                raise failure from None

    def _try(self, address: str, url: CameraUrl, retry: bool) -> InputContainer:
        try:
            return _open(address, url, self._transports[0])
        except _NotOpened as failure:
            if not retry or not failure.refused or failure.refused[1] != BUSY:
                raise
        # A server based on GStreamer answers 503 while it tears down the stream that it set up for `describe`.
        time.sleep(0.5)
        return _open(address, url, self._transports[0])

    def _swap_transports(self) -> None:
        self._transports = (self._transports[1], self._transports[0])

    def _packets(self, container: InputContainer) -> Iterator[Packet | None]:
        opened = since = reading = time.monotonic()
        begun: float | None = None  # the arrival of the first packet
        transport = self._transports[0]
        for packet, lines in _read(container):
            arrived = time.monotonic()
            # At its time-out FFmpeg delivers a leftover as if it were a packet.
            if packet is not None and arrived - since <= 0.9 * SILENT_S:
                begun, self._worked = begun or arrived, transport
                yield _packet(packet, since, arrived, lines)
                had_to_wait, since = arrived - reading > WAITED_S, time.monotonic()
                if had_to_wait and since - begun > GATHER_AFTER_S:  # nothing else is there yet
                    time.sleep(GATHER_S)
                reading = time.monotonic()
            elif begun:
                raise CameraError(f"no packet for {arrived - since:.1f} s")
            elif arrived - opened > (QUIET_S if self._worked == transport else UNTRIED_S):
                if transport == "udp" or self._worked != "tcp":
                    self._swap_transports()
                raise CameraError(f"connected, but the camera sent nothing for {arrived - opened:.0f} s")
            else:
                yield None
                since = time.monotonic()
        raise CameraError("the camera ended the stream" if begun else "the stream opened, but sent no picture")


def _open(address: str, url: CameraUrl, transport: str) -> InputContainer:
    options = {
        "rtsp_transport": transport,
        "timeout": str(int(ANSWER_S * 1e6)),
        "allowed_media_types": "video",
        # A queue also over TCP: without one FFmpeg does not notice packets that the camera left out.
        "reorder_queue_size": "2" if transport == "tcp" else "500",
        # Deliver the first packet at once instead of analyzing seconds of the stream.
        "analyzeduration": "0",
        "probesize": "32",
    }
    try:
        with captured_log() as lines:
            return av.open(address, options=options, timeout=(OPEN_S, SILENT_S))
    except FFmpegError as error:
        raise _NotOpened(open_error(error, lines, url), refused_status(error, lines)) from None


def _age_first(packets: Iterator[Packet | None], began: float) -> Iterator[Packet | None]:
    """The same packets. The first one is older than its delivery by the time between two; `began` is the least.

    It arrived during the open already, and waited in FFmpeg's parser until the second one began.
    """
    for first in packets:
        if first is not None:
            break
        yield None
    else:
        return
    for second in packets:
        between_s = _between_s(first, second) if second else 0.0
        yield replace(first, since=max(began, first.since - between_s))
        yield second
        break
    yield from packets


def _between_s(first: Packet, second: Packet) -> float:
    """By their arrival, or by the camera's time stamps if that is longer: they may arrive in one burst."""
    by_arrival_s = second.arrived - first.arrived
    if first.stream_s is None or second.stream_s is None:
        return by_arrival_s
    return max(by_arrival_s, second.stream_s - first.stream_s)


def _codec(container: InputContainer) -> tuple[str, bytes]:
    """The codec's name, and its parameter sets as far as the SDP has them. Raises CameraError if it is unknown."""
    if not container.streams.video:
        raise CameraError("the stream has no video")
    context = container.streams.video[0].codec_context
    if context is None:  # PyAV's type hints do not say so
        raise CameraError("the stream's video codec is not supported")
    return context.name, parameter_sets(context.name, context.extradata or b"")


def _read(container: InputContainer) -> Iterator[tuple[AvPacket[VideoStream] | None, Sequence[str]]]:
    """Packets with the log lines of reading them. None for a time-out, after which the connection is still open."""
    packets = _demux(container)
    try:
        while True:
            try:
                with captured_log() as lines:
                    packet = next(packets)
            except StopIteration:
                return
            except (ExitError, TimeoutError):
                yield None, lines
                packets = _demux(container)
                continue
            except FFmpegError:
                return
            if packet.size:
                yield packet, lines
    finally:
        packets.close()  # else PyAV leaks a packet


def _demux(container: InputContainer) -> Generator[AvPacket[VideoStream], None, None]:
    # PyAV's type hints say Iterator, which has no close()
    return cast("Generator[AvPacket[VideoStream], None, None]", container.demux(video=0))


def _packet(packet: AvPacket[VideoStream], since: float, arrived: float, lines: Sequence[str]) -> Packet:
    stamp = packet.pts if packet.pts is not None else packet.dts
    stream_s = None if stamp is None or packet.time_base is None else float(stamp * packet.time_base)
    lost = packet.is_corrupt or is_loss(lines)
    return Packet(bytes(packet), packet.is_keyframe, since, arrived, stream_s, _sent_s(packet), lost)


def _sent_s(packet: AvPacket[VideoStream]) -> float | None:
    """The time of the picture by the camera's wall clock, which FFmpeg knows from RTCP sender reports."""
    if not packet.has_sidedata("prft"):
        return None
    microseconds: int = WALL_CLOCK.unpack_from(bytes(packet.get_sidedata("prft")))[0]
    return microseconds / 1e6
