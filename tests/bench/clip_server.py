"""An RTSP server of a clip that it encodes once, before it is ready: what it costs later is not the encoder's.

Run by the system's Python. clip_server.py WIDTH HEIGHT FPS; prints `READY port`. 4 Mbit/s H.264, a keyframe every 2 s.
"""

import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 the versions come first

SECONDS = 8
CAPS = "video/x-h264,stream-format=byte-stream,alignment=au"


def encode(width: int, height: int, fps: int) -> list[bytes]:
    pipeline = Gst.parse_launch(
        f"videotestsrc num-buffers={SECONDS * fps} pattern=zone-plate kx2=20 ky2=20 kt=3"
        f" ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"
        f" ! x264enc speed-preset=veryfast bframes=0 key-int-max={2 * fps} bitrate=4000 sliced-threads=false"
        f" option-string=scenecut=0:open-gop=0 ! video/x-h264,profile=high ! h264parse config-interval=-1 ! {CAPS}"
        " ! appsink name=sink sync=false"
    )
    pipeline.set_state(Gst.State.PLAYING)
    sink, units = pipeline.get_by_name("sink"), []
    while sample := sink.emit("pull-sample"):
        buffer = sample.get_buffer()
        units.append(buffer.extract_dup(0, buffer.get_size()))
    pipeline.set_state(Gst.State.NULL)
    return units


def main(width: int, height: int, fps: int) -> None:
    Gst.init(None)
    units = encode(width, height, fps)

    def feed(source: Gst.Element, ended: threading.Event) -> None:
        number, began = 0, time.monotonic()
        while not ended.is_set():
            time.sleep(max(0.0, began + number / fps - time.monotonic()))
            source.emit("push-buffer", Gst.Buffer.new_wrapped(units[number % len(units)]))
            number += 1

    def configure(_factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        ended = threading.Event()
        media.connect("unprepared", lambda _media: ended.set())
        source = media.get_element().get_child_by_name("src")
        threading.Thread(target=feed, args=(source, ended), daemon=True).start()

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
