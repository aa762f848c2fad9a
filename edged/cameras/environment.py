"""What OpenCV and FFmpeg have to find in the environment before anything imports cv2. This one does not."""

from __future__ import annotations

OPENCV = {
    # Else every open in the process waits behind one mutex: a dead camera's open holds up the healthy ones for seconds.
    "OPENCV_FFMPEG_IS_THREAD_SAFE": "1",
    # TCP first, then the other, at each open. Setting the variable at all drops OpenCV's own TCP default. The default
    # analyzeduration makes an open take up to 3 s, and hands out that much of old pictures first.
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;udp+tcp|rtsp_flags;prefer_tcp|analyzeduration;500000",
    # Seconds until a USB camera that sends nothing is said to be silent. Default is 10.
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "3",
    # 1 prints addresses with their passwords.
    "OPENCV_VIDEOIO_DEBUG": "0",
    # Warns at each open because of IS_THREAD_SAFE; what fails is said by us, in words, once.
    "OPENCV_LOG_LEVEL": "ERROR",
    # FFmpeg complains on stderr about each damaged packet; and 56 prints Authorization headers.
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    # A picture of a few kilobytes can claim 2**30 pixels, OpenCV's own limit, and take 3 GB to decode.
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(10**8),
}
