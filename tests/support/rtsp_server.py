"""A live RTSP server for the tests, run by the system's Python (GStreamer's bindings are not in a venv).

rtsp_server.py PORT [SCHEME USER PASSWORD]; SCHEME is basic or digest. Prints `READY port`.
$WITHOUT is a mount that is left out, such as /h264; $H264 is the mount whose stream is at /h264. $LAGS is a file that
gets a line for each picture that a client gets: when it was sent (seconds since 1970), and how long after it was taken.
SIGUSR1 changes the size of the pictures within each stream, from SMALL to LARGE and back.
Every picture contains its own time: 16 bars encode floor(time() * 15) modulo 65536, 16 more the inverse, so that a
test can tell from the pixels alone when a picture was generated (`made_ago` in rtsp.py).
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 the versions come first

SMALL, LARGE, FPS = (320, 240), (640, 480), 15
sizes = [SMALL, LARGE]  # the first one is that of the pictures
playing = threading.Event()  # a client has begun to play the stream, with $LAGS the only one


def caps() -> str:
    width, height = sizes[0]
    return f"video/x-raw,format=I420,width={width},height={height},framerate={FPS}/1"


SOURCE = f"appsrc name=src is-live=true format=time do-timestamp=true caps={caps()}"
# Without sliced threads: rtph264pay puts parameter sets before each slice, and decoders then see several pictures.
H264 = "x264enc tune=zerolatency sliced-threads=false threads=1 speed-preset=ultrafast key-int-max=15 bitrate=400"
MOUNTS = {
    # Four slices per picture, with parameter sets before each slice of a keyframe: FFmpeg sees two pictures.
    "/sliced": f"{SOURCE} ! x264enc tune=zerolatency sliced-threads=true threads=4 speed-preset=ultrafast"
    " key-int-max=15 bitrate=2000 ! rtph264pay name=pay0 pt=96 config-interval=-1",
    "/h264": f"{SOURCE} ! {H264} ! rtph264pay name=pay0 pt=96 config-interval=-1",
    # As many cameras do: parameter sets in the SDP only.
    "/sdp": f"{SOURCE} ! {H264} ! video/x-h264,stream-format=avc ! rtph264pay name=pay0 pt=96 config-interval=0",
    "/h265": f"{SOURCE} ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=400"
    " ! h265parse config-interval=-1 ! rtph265pay name=pay0 pt=96",
    # a still picture from $YARD
    "/yard": f"multifilesrc location={os.environ.get('YARD', 'none')} loop=true caps=image/png,framerate=5/1 ! pngdec"
    " ! videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5"
    " bitrate=2000 ! rtph264pay name=pay0 pt=96 config-interval=-1",
    "/mjpeg": f"{SOURCE} ! jpegenc ! rtpjpegpay name=pay0 pt=26",
}


def picture(number: int, width: int, height: int) -> bytes:
    bits = [(number >> place) & 1 for place in range(16)]
    row = b"".join(bytes([235 if bit else 16]) * (width // 32) for bit in bits + [1 - bit for bit in bits])
    moving = bytes([96]) * (number % width) + bytes([160]) * (width - number % width)
    return row * (height // 4) + moving * (height - height // 4) + bytes([128]) * (width * height // 2)


def feed(source: Gst.Element, ended: threading.Event) -> None:
    number, size = int(time.time() * FPS), SMALL
    while not ended.is_set():
        # The current number, not the next: after SIGCONT the pictures are live, as a camera's are.
        number = max(number + 1, int(time.time() * FPS))
        time.sleep(max(0.0, number / FPS - time.time()))
        if size != sizes[0]:
            size = sizes[0]
            source.set_property("caps", Gst.Caps.from_string(caps()))
        if source.emit("push-buffer", Gst.Buffer.new_wrapped(picture(number % 65536, *size))) != Gst.FlowReturn.OK:
            return


def write_lag(pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
    sender, buffer = pad.get_parent_element(), info.get_buffer()
    segment = pad.get_sticky_event(Gst.EventType.SEGMENT, 0)
    if playing.is_set() and buffer and segment and buffer.pts != Gst.CLOCK_TIME_NONE:
        # The segment of an H.264 or H.265 encoder begins after 1000 hours.
        taken = segment.parse_segment().to_running_time(Gst.Format.TIME, buffer.pts)
        if taken == Gst.CLOCK_TIME_NONE:
            return Gst.PadProbeReturn.OK
        lag_s = (sender.get_clock().get_time() - sender.get_base_time() - taken) / Gst.SECOND
        with Path(os.environ["LAGS"]).open("a") as file:
            file.write(f"{time.time():.3f} {lag_s:.3f}\n")
    return Gst.PadProbeReturn.OK


def resize() -> bool:
    sizes.reverse()
    return True  # GLib calls it again


def configure(_factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
    ended = threading.Event()
    media.connect("unprepared", lambda _media: ended.set())
    media.connect("unprepared", lambda _media: playing.clear())
    source = media.get_element().get_child_by_name("src")
    threading.Thread(target=feed, args=(source, ended), daemon=True).start()
    if os.environ.get("LAGS"):
        sender = media.get_element().get_child_by_name("pay0").get_static_pad("sink")
        sender.add_probe(Gst.PadProbeType.BUFFER, write_lag)


def await_play(_server: GstRtspServer.RTSPServer, client: GstRtspServer.RTSPClient) -> None:
    client.connect("play-request", lambda _client, _context: playing.set())


def main(port: str, scheme: str = "", user: str = "", password: str = "") -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
    if scheme:
        auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        if scheme == "digest":
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(user, password, token)
        else:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
    MOUNTS["/h264"] = MOUNTS[os.environ.get("H264", "/h264")]
    mounts = {path: launch for path, launch in MOUNTS.items() if path != os.environ.get("WITHOUT")}
    for path, launch in mounts.items():
        factory = GstRtspServer.RTSPMediaFactory(shared=True)
        factory.set_launch(f"( {launch} )")
        if "appsrc" in launch:
            factory.connect("media-configure", configure)
        if scheme:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_role("user")
            for permission in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role("user", permission, True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    server.connect("client-connected", await_play)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR1, resize)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    print("READY", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
