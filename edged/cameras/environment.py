"""Environment variables for OpenCV and FFmpeg. Set them before anything imports cv2, which this module does not."""

from __future__ import annotations

OPENCV = {
    # By default every open in the process waits for one mutex: opening a dead camera blocks the others for seconds.
    "OPENCV_FFMPEG_IS_THREAD_SAFE": "1",
    # TCP first, then UDP, at each open. Setting the variable at all disables OpenCV's own default of TCP. The default
    # analyzeduration makes an open take up to 3 s and then delivers that much of old pictures first.
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;udp+tcp|rtsp_flags;prefer_tcp|analyzeduration;500000",
    # Seconds until the read from a silent USB camera fails. Default is 10.
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "3",
    # 1 prints addresses with their passwords.
    "OPENCV_VIDEOIO_DEBUG": "0",
    # At WARNING each open warns about IS_THREAD_SAFE. edged logs failures itself.
    "OPENCV_LOG_LEVEL": "ERROR",
    # Quiet: FFmpeg complains on stderr about each damaged packet, and at 56 it prints Authorization headers.
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    # OpenCV's own limit is 2**30 pixels: a file of a few kilobytes can claim that many and take 3 GB to decode.
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(10**8),
}
