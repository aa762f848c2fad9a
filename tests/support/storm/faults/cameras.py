"""Faults of cameras and of the network before them."""

from __future__ import annotations

import time
from random import Random

import cv2
import numpy as np

from support.storm.cameras import SIZES
from support.storm.config_file import NODE
from support.storm.faults.kinds import Running, cut, failing, finish, kind
from support.storm.faults.process import is_stopped
from support.storm.parts import Parts
from support.storm.record import Message
from support.storm.schedule import Fault

EACH_CAMERA = (("dock",), ("yard",), ("back",))
TWO_CAMERAS = (("dock", "yard"), ("dock", "back"), ("yard", "back"))
LAG_S = 3.0
OPEN_S = 4.0
HTTP_CAMERAS = (("yard",), ("back",))
HELD = "camera's data comes late"


@kind("camera refused", EACH_CAMERA, 1, 8)
@kind("two cameras refused", TWO_CAMERAS, 2, 8)
def camera_refused(parts: Parts, fault: Fault) -> Running:
    mark = parts.mark()
    broken = cut(parts, fault.parts)
    next(broken)
    yield
    return finish(broken) + parts.logged_since(mark, "connection refused")  # snapshots have no open connection


@kind("camera connection reset", (("dock",), ("back",)), 0.3, 2)
def camera_reset(parts: Parts, fault: Fault) -> Running:
    proxy, chance, before = parts.proxies[fault.parts[0]], Random(fault.seed), parts.proxies[fault.parts[0]].affected
    time.sleep(chance.uniform(0, 0.3))  # anywhere in a group of pictures, which lasts a second
    proxy.reset()
    yield
    proxy.reset()
    return proxy.affected - before


@kind("camera half-open", EACH_CAMERA, 2, 10)
def camera_half_open(parts: Parts, fault: Fault) -> Running:
    return failing(parts, fault, "silent")


@kind(HELD, EACH_CAMERA, 1, 8)
def camera_held(parts: Parts, fault: Fault) -> Running:
    return failing(parts, fault, "held")


@kind("camera trickles", EACH_CAMERA, 2, 8)
def camera_trickles(parts: Parts, fault: Fault) -> Running:
    return failing(parts, fault, "trickle")


@kind("camera sends garbage", EACH_CAMERA, 0.5, 4)
def camera_garbage(parts: Parts, fault: Fault) -> Running:
    return failing(parts, fault, "garbage")


@kind("camera stopped (SIGSTOP)", (("dock",),), 1, 10)
def camera_stopped(parts: Parts, fault: Fault) -> Running:
    parts.rtsp.pause()
    stopped = is_stopped(parts.rtsp.process.pid)
    yield
    parts.rtsp.resume()
    return stopped


@kind("camera frozen", HTTP_CAMERAS, 6, 14)
def camera_frozen(parts: Parts, fault: Fault) -> Running:
    camera = parts.http[fault.parts[0]]
    camera.freeze()
    before = camera.served
    yield
    camera.frozen = None
    return camera.served - before


@kind("camera changes its resolution", HTTP_CAMERAS, 2, 4)
def camera_resized(parts: Parts, fault: Fault) -> Running:
    camera = parts.http[fault.parts[0]]
    before, camera.size = len(parts.record.messages), SIZES[1]
    yield
    camera.size = SIZES[0]
    return _large(parts, fault, before)


@kind("camera changes its resolution within a stream", (("dock",),), 2, 5)
def stream_resized(parts: Parts, fault: Fault) -> Running:
    before = len(parts.record.messages)
    parts.rtsp.resize()
    yield
    parts.rtsp.resize()
    return _large(parts, fault, before)


def _large(parts: Parts, fault: Fault, before: int) -> int:
    """How many pictures of the fault's camera were published since then that are not of the usual size."""
    jpegs = [message.payload for message in parts.record.messages[before:] if _is_picture(message, fault.parts[0])]
    pixels = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in jpegs]
    return sum(each is not None and each.shape[1] != SIZES[0][0] for each in pixels)


def _is_picture(message: Message, camera: str) -> bool:
    return message.topic == f"edged/{NODE}/{camera}/image/jpeg" and bool(message.payload)


@kind("camera's stream lags", (("dock",),), 2, 4.5)
def camera_lags(parts: Parts, fault: Fault) -> Running:
    """Every packet comes LAG_S later: too old to be answered on, too soon for the connection to be lost.

    For less than 5 s, and on a connection that has been open for some time: otherwise, edged has no earlier packets to
    compare with, unless the camera's sender reports have proved its clock for 15 s.
    """
    proxy = parts.proxies["dock"]
    before = proxy.affected
    proxy.lag(LAG_S, OPEN_S)
    yield
    proxy.mend()
    return proxy.affected - before


@kind("camera changes its codec", (("dock",),), 3, 10)
def camera_recoded(parts: Parts, fault: Fault) -> Running:
    """The camera is restarted with H.265 in the place of H.264."""
    mark = parts.mark()
    parts.restart_rtsp("/h265")
    yield
    parts.restart_rtsp("/h264")
    return parts.logged_since(mark, "camera dock: back")


@kind("camera's old packets again", (("dock",),), 8, 12)
def camera_replayed(parts: Parts, fault: Fault) -> Running:
    proxy = parts.proxies["dock"]
    proxy.reset()
    before = proxy.affected
    yield from failing(parts, fault, "replayed")
    return proxy.affected - before
