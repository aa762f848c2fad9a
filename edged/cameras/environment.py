"""Environment variables for OpenCV. Set them before anything imports cv2, which this module does not."""

from __future__ import annotations

MAX_PIXELS = 10**8  # of a picture: a header can claim billions

OPENCV = {
    # Seconds until the read from a silent USB camera fails. Default is 10.
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "3",
    # 1 prints addresses with their passwords.
    "OPENCV_VIDEOIO_DEBUG": "0",
    # Else it prints a line for each picture that it cannot decode, and for each absent device. edged logs both itself.
    "OPENCV_LOG_LEVEL": "SILENT",
    # OpenCV's own limit is 2**30 pixels: a file of a few kilobytes can claim that many and take 3 GB to decode.
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS),
}
