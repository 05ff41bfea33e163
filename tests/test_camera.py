"""The live image, with a made-up camera and window."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="the extra `video` is not installed")

from texturenets.cli import main
from texturenets.cli import webcam as command
from texturenets.errors import UserError
from texturenets.video import camera, virtual_camera
from texturenets.video.frame import Pixels


class Glass:
    """A window that is closed after so many images."""

    def __init__(self, until: int) -> None:
        self.until, self.pictures, self.titles, self.closed = until, list[Pixels](), list[str](), False

    def show(self, pixels: Pixels, title: str) -> bool:
        self.pictures.append(pixels)
        self.titles.append(title)
        return len(self.pictures) < self.until

    def close(self) -> None:
        self.closed = True


def endless(seen: list[int]) -> Iterator[Pixels]:
    """Images whose pixels count up, a thousand a second."""
    number = 0
    while True:
        seen.append(number)
        yield np.full((4, 6, 3), number % 256, np.uint8)
        number += 1
        time.sleep(0.001)


def test_the_newest_picture_is_painted_and_its_rate_shown() -> None:
    seen: list[int] = []

    def slow(pixels: Pixels) -> Pixels:
        time.sleep(0.02)
        return 255 - pixels

    window = Glass(5)
    assert camera.watch(endless(seen), slow, window, "wave") == 5
    assert window.closed
    numbers = [255 - int(p[0, 0, 0]) for p in window.pictures]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > 8  # many were let go meanwhile
    assert window.titles[0] == "wave: 0.0 frames/s"
    rate = float(window.titles[-1].removeprefix("wave: ").removesuffix(" frames/s"))
    assert 0 < rate <= 50
    count = len(seen)
    time.sleep(0.05)
    assert len(seen) <= count + 1  # nobody reads on


def test_a_camera_that_ends_and_one_that_breaks() -> None:
    window = Glass(100)
    assert camera.watch(iter([np.zeros((4, 4, 3), np.uint8)]), lambda p: p, window, "wave") == 1
    assert window.closed

    def broken() -> Iterator[Pixels]:
        yield np.zeros((4, 4, 3), np.uint8)
        raise UserError("the camera gives no more images")

    window = Glass(100)
    with pytest.raises(UserError, match="no more images"):
        camera.watch(broken(), lambda p: p, window, "wave")
    assert window.closed


def test_interrupted_the_window_is_closed() -> None:
    def interrupt(_: Pixels) -> Pixels:
        raise KeyboardInterrupt

    window = Glass(100)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        camera.watch(endless([]), interrupt, window, "wave")
    assert window.closed
    assert threading.active_count() <= before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cameras are called otherwise")
def test_without_camera_or_display(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for words, told in (
        (["--webcam", "/dev/nosuchcamera"], "no camera at /dev/nosuchcamera: "),
        (["--webcam", "/dev/null"], "cannot use the camera /dev/null"),
        (["--webcam", "a", "b"], "one camera"),
        ([__file__, "--webcam"], "is a file, not a camera: leave out --webcam"),
    ):
        assert main(["stylize", *words]) == 2
        err = capsys.readouterr().err
        assert told in err
        assert err.count("\n") == 1
    monkeypatch.setattr(camera, "camera", lambda *_: iter([]))
    assert main(["stylize", "--webcam"]) == 2
    err = capsys.readouterr().err
    assert "needs a display" in err
    assert err.count("\n") == 1


def test_the_command_stylizes_what_the_camera_sees(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def pictures(name: str | None, longer: int) -> Iterator[Pixels]:
        asked.append((name, longer))
        return iter([np.full((24, 32, 3), 90, np.uint8)])

    window = Glass(3)
    monkeypatch.setattr(camera, "camera", pictures)
    monkeypatch.setattr(camera, "TkWindow", lambda _: window)
    assert (
        main(["stylize", "--webcam", "--strength", "0", "--engine", "torch", "--size", "32", "--quiet"]) == 0
    )
    assert asked == [(None, 32)]
    assert (window.pictures[0] == 90).all()
    assert command.SIZE == 480


class Sent:
    """In place of pyvirtualcam's camera."""

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.size, self.fps, self.device = (width, height), fps, "/dev/video10"
        self.frames, self.closed = list[Pixels](), False

    def send(self, frame: Pixels) -> None:
        assert frame.flags.c_contiguous
        self.frames.append(frame)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """The virtual cameras that are opened; the real camera gives two images, then Ctrl-C comes."""
    cameras: list[Sent] = []

    def opened(*words: Any) -> Sent:
        cameras.append(Sent(*words))
        return cameras[0]

    def pictures(*_: Any) -> Iterator[Pixels]:
        frame = np.zeros((25, 33, 3), np.uint8)
        frame[:, :16] = 200
        yield frame
        raise KeyboardInterrupt

    def watch(frames: Iterator[Pixels], stylize: Any, window: Any, _: str) -> None:
        try:
            for pixels in frames:
                window.show(stylize(pixels), "")
        finally:
            window.close()

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=opened))
    monkeypatch.setattr(camera, "camera", pictures)
    monkeypatch.setattr(camera, "watch", watch)
    return cameras


VIRTUAL = ["stylize", "--webcam", "--virtual-camera", "--strength", "0", "--engine", "torch"]


def test_the_painted_image_goes_to_a_virtual_camera(
    virtual: list[Sent], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(VIRTUAL) == 0
    (sent,) = virtual
    assert sent.size == (32, 24)  # even sides
    (frame,) = sent.frames
    assert frame.shape == (24, 32, 3)
    assert (frame[:, -16:] == 200).all()  # not mirrored: others read what is held into the camera
    assert (frame[:, :16] == 0).all()
    assert sent.closed
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[1:] == ["texturenets: the virtual camera is /dev/video10; Ctrl-C ends it"]


def test_a_virtual_camera_that_is_not_there(
    virtual: list[Sent], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: Any) -> None:
        raise RuntimeError("No v4l2 loopback device found\nmore")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=none))
    for system, way in (
        ("linux", "modprobe v4l2loopback"),
        ("win32", "install OBS"),
        ("darwin", "start and stop"),
    ):
        with monkeypatch.context() as there:
            there.setattr(virtual_camera, "sys", SimpleNamespace(platform=system))
            assert main([*VIRTUAL, "--quiet"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("texturenets: --virtual-camera: there is none: ")
        assert way in said
        assert said.endswith("; No v4l2 loopback device found\n")


def test_what_a_virtual_camera_needs(
    virtual: list[Sent], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    assert main(VIRTUAL) == 2
    said = capsys.readouterr().err
    assert said.startswith("texturenets: --virtual-camera needs the package pyvirtualcam: pip install")
    assert "[camera]'" in said
    assert said.count("\n") == 1
    assert main(["stylize", "photo.jpg", "--virtual-camera"]) == 2
    assert "sends the live image (--webcam): leave out --virtual-camera" in capsys.readouterr().err
