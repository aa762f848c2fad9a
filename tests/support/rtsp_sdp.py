"""The SDP of the scripted RTSP server."""

from __future__ import annotations

import base64

from support.clips import Clip
from support.rtsp_player import PAYLOAD_TYPES
from support.rtsp_script import Script

NAMES = {"h264": "H264", "h265": "H265", "jpeg": "JPEG"}


def description(script: Script) -> str:
    played = script.clip
    payload_type = PAYLOAD_TYPES[played.codec]
    format_line = f"a=fmtp:{payload_type} {_format(played, script)}\r\n" if played.codec != "jpeg" else ""
    return script.sdp(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=scripted\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
        f"m=video 0 RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {NAMES[played.codec]}/90000\r\n"
        f"{format_line}a=control:track1\r\n"
    )


def _format(played: Clip, script: Script) -> str:
    sets = _encoded(played.parameter_sets) if script.parameter_sets != "stream" else []
    if played.codec == "h264":
        return "packetization-mode=1" + (f";sprop-parameter-sets={','.join(sets)}" if sets else "")
    fields = [f"{name}={value}" for name, value in zip(("sprop-vps", "sprop-sps", "sprop-pps"), sets, strict=False)]
    # FFmpeg splits a value at 1,023 characters, so that a long SEI becomes several units of random types.
    extra = [f"sprop-sei={','.join(_encoded(script.extra_units))}"] if script.extra_units else []
    return ";".join(["tx-mode=SRST", *fields, *extra])


def _encoded(units: tuple[bytes, ...]) -> list[str]:
    return [base64.b64encode(unit).decode() for unit in units]
