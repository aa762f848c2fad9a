"""The cases: what an owner does to a USB camera, and what edged answers meanwhile. Each returns what it saw."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from vm import facts
from vm.guest import vivid
from vm.guest.probe import Look, Probe
from vm.guest.rig import Plug, Rig
from vm.guest.uvc import Damage

FIRST_S = 30.0  # for the first picture
Result = dict[str, Any]


def is_ok(look: Look) -> bool:
    return bool(look["ok"])


def after(moment: float) -> Callable[[Look], bool]:
    """An answered look that began after this moment."""
    return lambda look: look["ok"] and look["t"] - look["took"] >= moment


def answered(rig: Rig, plug: Plug, **more: Any) -> Probe:
    """A probe that has had its first picture."""
    probe = rig.probe(plug.path(), **more)
    if probe.until(FIRST_S, is_ok) is None:
        raise TimeoutError(f"no picture: {probe.finish()}")
    return probe


def back_s(probe: Probe, since: float, limit_s: float) -> float | None:
    look = probe.until(limit_s, after(since))
    return look["t"] - since if look else None


def plain(rig: Rig) -> Result:
    """A camera without any fault."""
    probe = answered(rig, rig.camera("plain"))
    time.sleep(8)
    return probe.finish()


def loose_plug(rig: Rig) -> Result:
    """10 s in, 3 s out, again and again."""
    plug = rig.camera("loose")
    probe = answered(rig, plug)
    times = []
    for _ in range(5):
        time.sleep(10)
        plug.unplug()
        time.sleep(3)
        times.append(back_s(probe, plug.plug(), 80))
    return {"back_s": times, **probe.finish()}


def long_absence(rig: Rig) -> Result:
    """Unplugged for 45 s: a back-off has grown by then."""
    plug = rig.camera("absent")
    probe = answered(rig, plug)
    plug.unplug()
    time.sleep(45)
    return {"back_s": [back_s(probe, plug.plug(), 60)], **probe.finish()}


def stall(rig: Rig) -> Result:
    """The camera stays plugged and sends nothing for 60 s."""
    plug = rig.camera("stalls")
    probe = answered(rig, plug)
    since = time.monotonic()
    plug.camera.stalled = True
    time.sleep(60)
    plug.camera.stalled = False
    now = time.monotonic()
    noticed = next((state["t"] - since for state in probe.state()["states"] if not state["online"]), None)
    return {
        "back_s": [back_s(probe, now, 90)],
        "noticed_s": noticed,
        "stalled_at": since,
        "ended_at": now,
        **probe.finish(),
    }


def slow_start(rig: Rig) -> Result:
    """The first picture comes 3.5 s after each start."""
    plug = rig.camera("slow", starts_after_s=3.5)
    probe = rig.probe(plug.path())
    first = probe.until(30, is_ok)
    time.sleep(3)
    return {"starts": plug.camera.starts, "had_picture": first is not None, **probe.finish()}


def slower_start(rig: Rig) -> Result:
    """The first picture comes 8 s after each start; unplugged once, it is known the second time."""
    plug = rig.camera("slower", starts_after_s=8.0)
    probe = rig.probe(plug.path())
    first = probe.until(40, is_ok)
    starts = plug.camera.starts
    plug.unplug()
    time.sleep(1)
    since = plug.plug()
    times = [back_s(probe, since, 30)]
    return {
        "had_picture": first is not None,
        "starts": [starts, plug.camera.starts],
        "back_s": times,
        **probe.finish(),
    }


def dark_start(rig: Rig) -> Result:
    """Black for 0.5 s after each start, then brighter for 0.4 s."""
    plug = rig.camera("dark", dark_s=0.5, settles_s=0.4)
    probe = rig.probe(plug.path(), every_s=0.05)
    probe.until(FIRST_S, is_ok)
    time.sleep(2)
    plug.unplug()
    time.sleep(1)
    since = plug.plug()
    probe.until(FIRST_S, after(since))
    time.sleep(2)
    return {"replugged": since, **probe.finish()}


def covered_lens(rig: Rig) -> Result:
    """Black for ever."""
    plug = rig.camera("covered", dark_s=1e9)
    probe = rig.probe(plug.path())
    time.sleep(25)
    return probe.finish()


def stopped(rig: Rig) -> Result:
    """Three processes are stopped for 66 s and continued: most of them while they decode, with the next look waiting.

    The picture that arrives just after the stop waits in the driver's queue.
    """
    probes = [answered(rig, rig.camera(f"stopped{number}"), every_s=0.02, lookers=3) for number in range(3)]
    for probe in probes:
        os.kill(probe.pid, signal.SIGSTOP)
    time.sleep(66)
    since = time.monotonic()
    for probe in probes:
        os.kill(probe.pid, signal.SIGCONT)
    time.sleep(4)
    looks = [look for probe in probes for look in probe.finish()["looks"]]
    return {"continued_at": since, "looks": [look for look in looks if look["t"] > since]}


def damaged(damage: Damage, restarts: bool) -> Callable[[Rig], Result]:
    def case(rig: Rig) -> Result:
        plug = rig.camera(f"{damage}{restarts:d}", restarts=restarts)
        probe = answered(rig, plug, compare=rig.bank_path(restarts), every_s=0.1)
        plug.camera.damage, plug.camera.damage_share = damage, 0.5
        since = time.monotonic()
        time.sleep(12)
        result = probe.finish()
        looks = [look for look in result.pop("looks") if look["t"] > since + 0.5]
        return {"sent_damaged": plug.camera.damaged, "looks": looks, **result}

    case.__doc__ = f"Half of the pictures, at random, are damaged ({damage}), restart markers: {restarts}."
    return case


def only_bad(damage: Damage) -> Callable[[Rig], Result]:
    def case(rig: Rig) -> Result:
        plug = rig.camera(f"bad-{damage}")
        plug.camera.damage = damage
        probe = rig.probe(plug.path(), every_s=0.5)
        time.sleep(15)
        state = probe.state()
        plug.camera.damage = None
        return {"states_while_bad": state["states"], "back_s": [back_s(probe, time.monotonic(), 60)], **probe.finish()}

    case.__doc__ = f"No picture is whole ({damage})."
    return case


def turns_bad(rig: Rig) -> Result:
    """Good pictures first, then only damaged ones."""
    plug = rig.camera("turns-bad")
    probe = answered(rig, plug)
    plug.camera.damage = "gap"
    time.sleep(20)
    return probe.finish()


def busy(rig: Rig) -> Result:
    """Another program has the camera, and ends."""
    plug = rig.camera("busy")
    other = answered(rig, plug)
    probe = rig.probe(plug.path())
    time.sleep(6)
    other.finish()
    return {"back_s": [back_s(probe, time.monotonic(), 60)], **probe.finish()}


def reloaded(rig: Rig) -> Result:
    """edged closes a camera that is silent, and opens it again at once, as a reload does."""
    plug = rig.camera("reloaded")
    probe = answered(rig, plug)
    plug.camera.stalled = True
    time.sleep(1)
    probe.reload()
    time.sleep(1)
    plug.camera.stalled = False
    return {"back_s": [back_s(probe, time.monotonic(), 60)], **probe.finish()}


def refused_start(rig: Rig) -> Result:
    """The camera refuses to stream (STREAMON), then does not."""
    plug = rig.camera("refuses")
    plug.camera.refuses = True
    probe = rig.probe(plug.path())
    time.sleep(6)
    plug.camera.refuses = False
    return {"back_s": [back_s(probe, time.monotonic(), 60)], **probe.finish()}


def reasons(rig: Rig) -> Result:
    """Addresses that cannot work."""
    plug = rig.camera("reasons")
    addresses = {
        "metadata": (plug.path(1), {}),
        "absent_index": ("77", {}),
        "absent_link": ("/dev/v4l/by-id/usb-none-video-index0", {}),
        "not_a_camera": ("/dev/null", {}),
        "no_permission": (plug.path(), {"as_nobody": True}),
    }
    results = {}
    for name, (address, more) in addresses.items():
        probe = rig.probe(address, **more)
        time.sleep(3)
        results[name] = probe.finish()
    return {"results": results}


def sizes(rig: Rig) -> Result:
    """MJPG in 480 and 1080 lines, not in 720."""
    probe = answered(rig, rig.camera("sizes", sizes=((640, 480), (1920, 1080))), every_s=1.0)
    time.sleep(4)
    return probe.finish()


def chosen_size(rig: Rig) -> Result:
    """The config asks for 640x480."""
    plug = rig.camera("chosen", sizes=((1280, 720), (640, 480), (1920, 1080)))
    probe = answered(rig, plug, every_s=1.0, size=(640, 480), fps=10)
    time.sleep(3)
    return probe.finish()


def swapped(rig: Rig) -> Result:
    """Two cameras by index; both are unplugged and come back in the other order."""
    first, second = rig.camera("first", parity=0), rig.camera("second", parity=1)
    nodes = [Path(plug.path()).resolve().name.removeprefix("video") for plug in (first, second)]
    probe = rig.probe(nodes[0])
    probe.until(FIRST_S, is_ok)
    for plug in (first, second):
        plug.unplug()
    time.sleep(2)
    second.plug()
    since = first.plug()
    later = [Path(plug.path()).resolve().name.removeprefix("video") for plug in (first, second)]
    time.sleep(12)
    warned = check_says([f"usb:{nodes[0]}"])
    return {"nodes": nodes, "later": later, "replugged": since, "check": warned, **probe.finish()}


def other_at_port(rig: Rig) -> Result:
    """A camera by its port; another model is plugged into that port."""
    plug = rig.camera("right", parity=0)
    probe = answered(rig, plug)
    plug.unplug()
    other = rig.camera("wrong", plugged=False, parity=1, product="Other camera")
    time.sleep(1)
    own_port, other.port = other.port, plug.port
    since = other.plug()
    time.sleep(10)
    meanwhile = probe.looks()
    other.unplug()
    other.port = own_port
    result = {
        "replugged": since,
        "meanwhile": [look for look in meanwhile if look["t"] > since],
        "back_s": [back_s(probe, plug.plug(), 30)],
    }
    return {**result, **probe.finish()}


def same_serial(rig: Rig) -> Result:
    """Two cameras of one serial number."""
    first = rig.camera("twin", parity=0)
    before = str(Path(first.link()).resolve())
    second = rig.camera("twin", parity=1)
    time.sleep(1)
    links = {name: sorted(path.name for path in Path("/dev/v4l", name).iterdir()) for name in ("by-id", "by-path")}
    return {
        "before": before,
        "after": str(Path(first.link()).resolve()),
        "nodes": [str(Path(plug.path()).resolve()) for plug in (first, second)],
        "links": links,
        "check": check_says([f"usb:{first.link()}", f"usb:{first.path()}"]),
        "init": init_says(),
    }


def vivid_plain(rig: Rig) -> Result:
    """A camera without MJPG."""
    node = vivid.load()
    probe = rig.probe(node, every_s=0.5)
    probe.until(FIRST_S, is_ok)
    time.sleep(3)
    return probe.finish()


def vivid_streamon(rig: Rig) -> Result:
    """STREAMON fails once."""
    node = vivid.load()
    vivid.press(node, "Inject VIDIOC_STREAMON Error")
    probe = rig.probe(node, every_s=0.5)
    probe.until(FIRST_S, is_ok)
    return probe.finish()


def vivid_fatal(rig: Rig) -> Result:
    """The driver fails while it streams."""
    node = vivid.load()
    probe = rig.probe(node, every_s=0.5)
    probe.until(FIRST_S, is_ok)
    vivid.press(node, "Inject Fatal Streaming Error")
    since = time.monotonic()
    time.sleep(1)
    return {"back_s": [back_s(probe, since + 1, 30)], **probe.finish()}


def driver(rig: Rig) -> Result:
    """OpenCV on the device, without edged: what the stand-in of the other tests has to do as well."""
    sized = opened(rig.camera("formats", sizes=facts.SIZES))
    formats = facts.format_facts(sized)
    sized.release()
    plug = rig.camera("outage")
    capture = opened(plug)
    outage = facts.outage_facts(capture, lambda on: setattr(plug.camera, "stalled", on), plug.unplug)
    capture.release()
    plug = rig.camera("queue")
    plug.camera.refuses = True
    capture = opened(plug)
    refused = facts.refused_facts(capture)
    capture.release()
    plug.camera.refuses = False
    return {"formats": formats, "outage": outage, "refused": refused, "queue": queue_ages(opened(plug))}


def driver_without_mjpg(rig: Rig) -> Result:
    """The same, of a camera without MJPG."""
    capture = cv2.VideoCapture(vivid.load(), cv2.CAP_V4L2)
    result = facts.missing_format_facts(capture)
    capture.release()
    return result


def opened(plug: Plug) -> cv2.VideoCapture:
    return cv2.VideoCapture(plug.path(), cv2.CAP_V4L2)


def queue_ages(capture: cv2.VideoCapture) -> list[float]:
    """The ages of the pictures that are handed out after 3 s without a grab."""
    capture.grab()
    time.sleep(3)
    ages = []
    for _ in range(8):
        capture.grab()
        ages.append(time.monotonic() - capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    return ages


def check_says(sources: list[str]) -> str:
    """What `edged check` prints for cameras with these sources."""
    cameras = "".join(
        f"  camera{number}:\n    source: {source}\n    ask:\n      people: {{prompt: How many?, answer: integer}}\n"
        for number, source in enumerate(sources)
    )
    config = Path("/tmp/edged.yaml")
    config.write_text(f"version: 1\nmodel: {{path: /tmp/model}}\ncameras:\n{cameras}")
    return edged("check", str(config))


def init_says() -> str:
    target = Path("/tmp/first.yaml")
    said = edged("init", "--out", str(target), "--model", "/tmp")
    return said + (target.read_text() if target.exists() else "")


def edged(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edged", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        cwd="/tmp",
    )
    return done.stdout + done.stderr


ALL: dict[str, Callable[[Rig], Result]] = {
    "plain": plain,
    "loose_plug": loose_plug,
    "long_absence": long_absence,
    "stall": stall,
    "slow_start": slow_start,
    "slower_start": slower_start,
    "dark_start": dark_start,
    "covered_lens": covered_lens,
    "stopped": stopped,
    "gap": damaged("gap", False),
    "gap_restarts": damaged("gap", True),
    "flip": damaged("flip", False),
    "flip_restarts": damaged("flip", True),
    "cut": damaged("cut", False),
    "only_gaps": only_bad("gap"),
    "only_garbage": only_bad("garbage"),
    "turns_bad": turns_bad,
    "busy": busy,
    "reloaded": reloaded,
    "refused_start": refused_start,
    "reasons": reasons,
    "sizes": sizes,
    "chosen_size": chosen_size,
    "swapped": swapped,
    "other_at_port": other_at_port,
    "same_serial": same_serial,
    "vivid_plain": vivid_plain,
    "vivid_streamon": vivid_streamon,
    "vivid_fatal": vivid_fatal,
    "driver": driver,
    "driver_without_mjpg": driver_without_mjpg,
}

# Lanes of a round run at once. The last rounds need the node numbers for themselves.
ROUNDS = [
    [
        ["loose_plug", "long_absence", "dark_start", "covered_lens", "refused_start", "cut"],
        ["stall", "slow_start", "slower_start", "busy", "reasons"],
        ["stopped", "gap", "gap_restarts", "flip", "flip_restarts", "only_gaps", "only_garbage", "turns_bad", "plain"],
    ],
    [["other_at_port", "sizes"], ["reloaded", "driver", "chosen_size"]],
    [["swapped", "same_serial"]],
    [["vivid_plain", "vivid_streamon", "vivid_fatal", "driver_without_mjpg"]],
]
