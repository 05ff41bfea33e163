"""The live image: a camera read through PyAV, a window by Tk."""

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
from texturenets.video.films import load_av, reason
from texturenets.video.frame import Pixels
from texturenets.video.repaint import Paint

SECONDS: Final = 2.0
"""Time over which the displayed frame rate is averaged."""

# How FFmpeg calls the cameras of a system, and the first of them.
_SYSTEMS: Final = {"linux": ("v4l2", "/dev/video0"), "darwin": ("avfoundation", "0"), "win32": ("dshow", "")}


class PreviewWindow(Protocol):
    """Shows images until it is closed."""

    def show(self, pixels: Pixels, title: str) -> bool:
        """Show an image (H, W, 3); False when the window has been closed."""

    def close(self) -> None:
        """Close it."""


def watch(camera: Iterator[Pixels], paint: Paint, window: PreviewWindow, name: str) -> int:
    """Show what `camera` sees through `paint`, with frames a second, until the window is closed or the camera ends.

    The newest image is always taken, those that come meanwhile are let go. The number of images shown. Raises
    what the camera raises.
    """
    newest = _Newest(camera)
    shown = 0
    times: deque[float] = deque()
    try:
        for pixels in newest:
            picture = paint(pixels)
            now = time.monotonic()
            times.append(now)
            while now - times[0] > SECONDS:
                times.popleft()
            rate = (len(times) - 1) / (now - times[0]) if len(times) > 1 else 0.0
            shown += 1
            if not window.show(picture, f"{name}: {rate:.1f} frames/s"):
                break
    finally:
        newest.stop()
        window.close()
    return shown


class _Newest:
    """The newest of what an iterator in a thread of its own has given."""

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
        except Exception as error:  # noqa: BLE001  told where the images are waited for
            self.error = error
        finally:
            with self.ready:
                self.ended = True
                self.ready.notify()

    def __iter__(self) -> Iterator[Pixels]:
        while True:
            with self.ready:
                while self.latest is None and not self.ended:
                    self.ready.wait(0.2)  # so that Ctrl-C comes through
                pixels, self.latest = self.latest, None
            if pixels is None:
                if self.error is not None:
                    raise self.error
                return
            yield pixels

    def stop(self) -> None:
        """Take no more."""
        with self.ready:
            self.ended = True
        self.thread.join(2.0)  # a camera that hangs does not hang the program


def camera(device: str | None, longer: int) -> Iterator[Pixels]:
    """Images (H, W, 3) of a camera, `longer` pixels long, mirrored as one knows oneself.

    `device`: as the system calls it, or None for the first. Raises UserError where there is none.
    """
    av = load_av()
    system, first = _SYSTEMS.get(sys.platform, ("v4l2", "/dev/video0"))
    name = device or first
    if not name:
        raise UserError('--webcam: name the camera, as in `stylize "video=NAME" --webcam`')
    if system == "v4l2" and not Path(name).exists():
        raise UserError(f"--webcam: there is no camera at {name}; name one that is there, as /dev/video1")
    try:
        opened = av.open(name, format=system)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise UserError(f"--webcam: cannot use the camera {name}: {reason(error)}") from None
    return _pictures(av, opened, name, longer)


def _pictures(av: Any, opened: Any, name: str, longer: int) -> Iterator[Pixels]:
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
    """A `PreviewWindow` by Tk, which comes with Python. Escape and q close it."""

    def __init__(self, title: str) -> None:
        """Raises UserError where there is no display, or no Tk."""
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
        self.root.protocol("WM_DELETE_WINDOW", self._ended)
        for key in ("<Escape>", "q"):
            self.root.bind(key, lambda _: self._ended())

    def _ended(self) -> None:
        self.open = False

    def show(self, pixels: Pixels, title: str) -> bool:
        """As `Window.show`."""
        height, width = pixels.shape[:2]
        data = b"P6 %d %d 255 " % (width, height) + pixels.tobytes()
        self.photo = self.tkinter.PhotoImage(data=data, format="PPM")  # Tk does not keep it alive
        self.label.configure(image=self.photo)
        self.root.title(title)
        self.root.update()
        return self.open

    def close(self) -> None:
        """As `Window.close`."""
        self.root.destroy()
