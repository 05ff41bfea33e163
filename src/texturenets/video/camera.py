"""Live stylization: frames from a camera (PyAV) shown in a window (Tk)."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from texturenets.errors import UserError
from texturenets.video.frame import Pixels
from texturenets.video.reading import load_av, reason
from texturenets.video.stylization import StylizeFrame

SECONDS: Final = 2.0
"""Seconds over which the displayed frame rate is averaged."""

# FFmpeg's input format for cameras on each platform, and its name of the first camera.
_SYSTEMS: Final = {"linux": ("v4l2", "/dev/video0"), "darwin": ("avfoundation", "0"), "win32": ("dshow", "")}


class PreviewWindow(Protocol):
    """A window that shows one image at a time."""

    def show(self, pixels: Pixels, title: str) -> bool:
        """Show an image, uint8 (H, W, 3). Returns False once the user has closed the window."""

    def close(self) -> None:
        """Close the window."""


def watch(camera: Iterator[Pixels], stylize: StylizeFrame, window: PreviewWindow, name: str) -> int:
    """Show stylized frames of `camera`, with the frame rate in the title, until the window is closed or they end.

    Always stylizes the newest frame and drops those that arrived before it. `name`: of the style, for the title.
    Returns the number of frames shown. Exceptions of `camera` are passed on.
    """
    latest_frames = _LatestFrame(camera)
    shown = 0
    times: deque[float] = deque()
    try:
        for pixels in latest_frames:
            stylized = stylize(pixels)
            now = time.monotonic()
            times.append(now)
            while now - times[0] > SECONDS:
                times.popleft()
            rate = (len(times) - 1) / (now - times[0]) if len(times) > 1 else 0.0
            shown += 1
            if not window.show(stylized, f"{name}: {rate:.1f} frames/s"):
                break
    finally:
        latest_frames.stop()
        window.close()
    return shown


class _LatestFrame:
    """Reads an iterator in a background thread; iterating over it yields the latest item, each at most once."""

    def __init__(self, camera: Iterator[Pixels]) -> None:
        self.camera = camera
        self.ready = threading.Condition()
        self.latest: Pixels | None = None
        self.error: Exception | None = None
        self.ended = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for pixels in self.camera:
                with self.ready:
                    if self.ended:
                        return
                    self.latest = pixels
                    self.ready.notify()
        except Exception as error:  # noqa: BLE001  raised again in the thread that waits for frames
            self.error = error
        finally:
            with self.ready:
                self.ended = True
                self.ready.notify()

    def __iter__(self) -> Iterator[Pixels]:
        while True:
            with self.ready:
                while self.latest is None and not self.ended:
                    self.ready.wait(0.2)  # a timeout lets Ctrl-C interrupt
                pixels, self.latest = self.latest, None
            if pixels is None:
                if self.error is not None:
                    raise self.error
                return
            yield pixels

    def stop(self) -> None:
        """Stop reading."""
        with self.ready:
            self.ended = True
        self.thread.join(2.0)  # not forever: the camera may hang


def camera(device: str | None, longer: int) -> Iterator[Pixels]:
    """Frames of a camera, uint8 (H, W, 3), mirrored left to right like a mirror image.

    `device`: the system's name of the camera, None for the first one. `longer`: longer side of the frames in pixels.
    Raises UserError if there is no such camera or it fails.
    """
    av = load_av()
    system, first = _SYSTEMS.get(sys.platform, ("v4l2", "/dev/video0"))
    name = device or first
    if not name:
        raise UserError('--webcam: name the camera, as in `stylize "video=NAME" --webcam`')
    if system == "v4l2" and not Path(name).exists():
        cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
        hint = (
            f"name one of {', '.join(cameras)}" if cameras else "connect one; this machine has no /dev/video*"
        )
        raise UserError(f"--webcam: there is no camera at {name}: {hint}")
    try:
        opened = av.open(name, format=system)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise UserError(f"--webcam: cannot use the camera {name}: {reason(error)}") from None
    return _frames(av, opened, name, longer)


def _frames(av: Any, opened: Any, name: str, longer: int) -> Iterator[Pixels]:
    from texturenets.image.sizes import fit_longer

    with opened:
        try:
            for raw in opened.decode(video=0):
                height, width = fit_longer((raw.height, raw.width), longer)
                pixels = raw.reformat(width=width, height=height, format="rgb24").to_ndarray()
                yield np.ascontiguousarray(pixels[:, ::-1])
        except (av.error.FFmpegError, OSError) as error:
            raise UserError(f"--webcam: the camera {name} gives no more images: {reason(error)}") from None


class TkWindow:
    """A `PreviewWindow` made with Tk. Escape and q close it."""

    def __init__(self, title: str) -> None:
        """Open the window. Raises UserError if there is no display or Python has no Tk."""
        if sys.platform.startswith("linux") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise UserError("--webcam needs a display, and there is none here (DISPLAY is not set)")
        try:
            import tkinter

            self.root = tkinter.Tk()
        except ImportError:
            raise UserError(
                "--webcam needs Tk, which this Python lacks: on Debian and Ubuntu python3-tk"
            ) from None
        except Exception as error:  # noqa: BLE001  tkinter.TclError cannot be named where the import failed
            raise UserError(f"--webcam cannot open a window: {error}") from None
        self.tkinter = tkinter
        self.root.title(title)
        self.root.resizable(False, False)
        self.label = tkinter.Label(self.root, borderwidth=0)
        self.label.pack()
        self.open = True
        self.root.protocol("WM_DELETE_WINDOW", self._close_requested)
        for key in ("<Escape>", "q"):
            self.root.bind(key, lambda _: self._close_requested())

    def _close_requested(self) -> None:
        self.open = False

    def show(self, pixels: Pixels, title: str) -> bool:
        """See `PreviewWindow.show`."""
        height, width = pixels.shape[:2]
        data = b"P6 %d %d 255 " % (width, height) + pixels.tobytes()
        self.photo = self.tkinter.PhotoImage(data=data, format="PPM")  # a reference: Tk does not keep one
        self.label.configure(image=self.photo)
        self.root.title(title)
        self.root.update()
        return self.open

    def close(self) -> None:
        """See `PreviewWindow.close`."""
        self.root.destroy()
