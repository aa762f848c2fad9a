"""An RTSP server of a clip that it encodes once, before it is ready: what it costs later is not the encoder's.

Run by the system's Python. clip_server.py WIDTH HEIGHT FPS; prints `READY port`. 4 Mbit/s H.264, a keyframe every 2 s.
Each picture shows its number as bars (see `support.clips.number_in`), and number n is sent when the monotonic clock is
n / FPS seconds, modulo the clip's length of 8 s: the age of a picture can be read from its pixels.
"""

import sys
import threading
import time
from collections.abc import Iterator

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 the versions come first

SECONDS = 8
BARS = 16  # bits of a picture's number, each shown as a bar; 16 more bars show the inverse
CAPS = "video/x-h264,stream-format=byte-stream,alignment=au"


def pull(pipeline: Gst.Pipeline) -> Iterator[bytes]:
    sink = pipeline.get_by_name("sink")
    while sample := sink.emit("pull-sample"):
        buffer = sample.get_buffer()
        yield buffer.extract_dup(0, buffer.get_size())
    pipeline.set_state(Gst.State.NULL)


def numbered(picture: bytes, number: int, width: int, height: int) -> bytes:
    """The picture (I420) with bars in a strip around an eighth of its height."""
    bits = [number >> place & 1 for place in range(BARS)]
    row = b"".join(bytes([235 if bit else 16]) * (width // (2 * BARS)) for bit in bits + [1 - bit for bit in bits])
    begin, count = height // 8 - height // 32, height // 16
    return picture[: begin * width] + row * count + picture[(begin + count) * width :]


def encode(width: int, height: int, fps: int) -> list[bytes]:
    raw = f"video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"
    drawing = Gst.parse_launch(
        f"videotestsrc num-buffers={SECONDS * fps} pattern=zone-plate kx2=20 ky2=20 kt=3 ! {raw}"
        " ! appsink name=sink sync=false max-buffers=5"
    )
    encoding = Gst.parse_launch(
        f"appsrc name=src format=time block=true max-bytes=20000000 caps={raw}"
        f" ! x264enc speed-preset=veryfast bframes=0 key-int-max={2 * fps} bitrate=4000 sliced-threads=false"
        f" option-string=scenecut=0:open-gop=0 ! video/x-h264,profile=high ! h264parse config-interval=-1 ! {CAPS}"
        " ! appsink name=sink sync=false"
    )
    for pipeline in (drawing, encoding):
        pipeline.set_state(Gst.State.PLAYING)
    source = encoding.get_by_name("src")
    for number, picture in enumerate(pull(drawing)):
        buffer = Gst.Buffer.new_wrapped(numbered(picture, number, width, height))
        buffer.pts, buffer.duration = number * Gst.SECOND // fps, Gst.SECOND // fps
        source.emit("push-buffer", buffer)
    source.emit("end-of-stream")
    return list(pull(encoding))


def feed(source: Gst.Element, ended: threading.Event, units: list[bytes], fps: int) -> None:
    number = int(time.monotonic() * fps)
    while not ended.is_set():
        number += 1
        time.sleep(max(0.0, number / fps - time.monotonic()))
        source.emit("push-buffer", Gst.Buffer.new_wrapped(units[number % len(units)]))


def main(width: int, height: int, fps: int) -> None:
    Gst.init(None)
    units = encode(width, height, fps)

    def configure(_factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        ended = threading.Event()
        media.connect("unprepared", lambda _media: ended.set())
        source = media.get_element().get_child_by_name("src")
        threading.Thread(target=feed, args=(source, ended, units, fps), daemon=True).start()

    server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(
        f'( appsrc name=src is-live=true format=time do-timestamp=true caps="{CAPS}"'
        " ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    factory.connect("media-configure", configure)
    server.get_mount_points().add_factory("/clip", factory)
    server.attach(None)
    size = sum(map(len, units)) * 8 / SECONDS / 1e6
    print("READY", server.get_bound_port(), f"{len(units)} pictures, {size:.1f} Mbit/s", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
