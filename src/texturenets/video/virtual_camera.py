"""The live image as a virtual camera, which programs for video calls can choose (pyvirtualcam)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from texturenets.errors import MissingError, UserError, install
from texturenets.video.frame import Pixels

RATE: Final = 30.0
"""Frames a second that the camera is said to give; it gives them as they are stylized."""

_DRIVERS: Final = {
    "linux": "load v4l2loopback, for example `sudo modprobe v4l2loopback exclusive_caps=1`",
    "darwin": "install OBS, and start and stop its virtual camera once",
    "win32": "install OBS",
}


class VirtualCamera:
    """A `PreviewWindow` that is a camera. It is opened with the first image, whose size it has."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say`: called with the camera's name. Raises MissingError if pyvirtualcam is not installed."""
        try:
            import pyvirtualcam
        except ModuleNotFoundError:
            raise MissingError(
                f"--virtual-camera needs the package pyvirtualcam: {install('camera')}"
            ) from None
        self.library: Any = pyvirtualcam
        self.say = say
        self.opened: Any = None

    def show(self, pixels: Pixels, title: str) -> bool:
        """Send an image, uint8 (H, W, 3), not mirrored; True. Raises UserError if there is no virtual camera."""
        # Even sides, because video calls halve the resolution of colour.
        height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
        if self.opened is None:
            try:
                self.opened = self.library.Camera(width, height, RATE)
            except (RuntimeError, ValueError) as error:
                driver = _DRIVERS.get(sys.platform, _DRIVERS["linux"])
                raise UserError(
                    f"--virtual-camera: there is none: {driver} (docs/video.md); {_first_line(error)}"
                ) from None
            self.say(f"the virtual camera is {self.opened.device}; Ctrl-C ends it")
        self.opened.send(np.ascontiguousarray(pixels[:height, :width][:, ::-1]))
        return True

    def close(self) -> None:
        """Close the camera."""
        if self.opened is not None:
            self.opened.close()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
