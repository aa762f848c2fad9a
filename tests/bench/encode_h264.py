"""Raw RGB frames of 448 x 448 on stdin to an H.264 file, by GStreamer: `encode_h264.py FILE FPS QUANTIZER`.

Run by the interpreter that has GStreamer's bindings (`bench_demo_h264.py` does).
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

SIDE = 448
Gst.init(None)
file, fps, quantizer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
pipeline = Gst.parse_launch(
    f"appsrc name=frames format=time block=true max-bytes=8000000"
    f" caps=video/x-raw,format=RGB,width={SIDE},height={SIDE},framerate={fps}/1"
    f" ! videoconvert ! video/x-raw,format=I420 ! x264enc pass=qual quantizer={quantizer} speed-preset=veryfast"
    f" key-int-max=25 bframes=0 ! h264parse ! mp4mux ! filesink name=file"
)
pipeline.get_by_name("file").set_property("location", file)
frames = pipeline.get_by_name("frames")
pipeline.set_state(Gst.State.PLAYING)
number = 0
while raw := sys.stdin.buffer.read(SIDE * SIDE * 3):
    buffer = Gst.Buffer.new_wrapped(raw)
    buffer.pts, buffer.duration = number * Gst.SECOND // fps, Gst.SECOND // fps
    frames.emit("push-buffer", buffer)
    number += 1
frames.emit("end-of-stream")
ended = pipeline.get_bus().timed_pop_filtered(60 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
pipeline.set_state(Gst.State.NULL)
if ended is None or ended.type != Gst.MessageType.EOS:
    raise SystemExit("the clip could not be finished" if ended is None else ended.parse_error()[0].message)
