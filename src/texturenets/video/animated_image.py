"""Animations (GIF, WebP, APNG) read and written through Pillow: opacity, durations and repetition are kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from texturenets import image
from texturenets.errors import UserError
from texturenets.files import opened
from texturenets.image.reading import without_pillows_limit
from texturenets.memory import budget
from texturenets.video.frame import NATIVE, Fit, Frame, Pixels, VideoInfo

_FORMATS: Final = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
_MILLISECOND: Final = Fraction(1, 1000)
_OPAQUE: Final = 128  # alpha from which a pixel is opaque in a GIF, which has no partial transparency
_DEFAULT_DURATION: Final = 100  # milliseconds that browsers show a frame without a duration
_MIN_DURATION: Final = 20  # milliseconds; browsers show frames with shorter durations for 100


def is_animated_file(path: Path) -> bool:
    """Whether the image at `path` holds more than one frame; False if it cannot be opened."""
    try:
        with without_pillows_limit(), opened(path) as file, Image.open(file) as picture:
            return bool(getattr(picture, "is_animated", False))  # `n_frames` would read all frames
    except Exception:  # noqa: BLE001  decoders raise anything; whoever reads the image will say what is wrong
        return False


def _check_end(path: Path) -> None:
    """Raise UserError for a file without the end marker of its format; Pillow would show the existing frames."""
    with opened(path) as file:
        head = file.read(12)
        size = file.seek(0, 2)
        file.seek(max(0, size - 64))
        tail = file.read()
    if head.startswith(b"GIF8"):
        complete = tail.rstrip(b"\0\r\n ").endswith(b";")  # GIF89a, section 27: the trailer
    elif head.startswith(b"RIFF"):
        complete = size >= int.from_bytes(head[4:8], "little") + 8
    else:
        complete = b"IEND" in tail
    if not complete:
        raise UserError("it is cut off")


def _palette(pixels: Pixels) -> Image.Image:
    """Pixels (H, W, 3 or 4) with an adaptive palette of 256 colours, dithered; one of them is for transparent
    pixels."""
    picture = Image.fromarray(pixels[:, :, :3])
    if pixels.shape[2] == 3:
        return picture.quantize(256)
    picture = picture.quantize(255)
    places = np.where(pixels[:, :, 3] < _OPAQUE, 255, np.asarray(picture)).astype(np.uint8)
    seen = Image.fromarray(places)
    seen.putpalette(picture.getpalette() or [])
    seen.info["transparency"] = 255
    return seen


class AnimatedImage:
    """A `FrameSource`: the frames of a GIF, WebP or APNG."""

    def __init__(self, path: Path, fit: Fit = NATIVE) -> None:
        """Raises UserError for an image that cannot be read."""
        self.path = path
        self.trailing: list[Any] = []
        try:
            _check_end(path)
            self.opened = Image.open(path)
            count = int(getattr(self.opened, "n_frames", 1))
            durations = [self._seek(i) for i in range(count)]
            width, height = self.opened.size
        except Exception as error:  # noqa: BLE001  decoders raise anything
            why = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"cannot read {path}: {why}") from None
        size = (height, width)
        if height * width > image.pixel_limit():
            raise UserError(
                f"{path}: {width} x {height} pixels a frame are over the limit of {image.pixel_limit()}"
            )
        self.durations = durations
        self.info = VideoInfo(
            size=fit(size),
            count=count,
            rate=count / (sum(durations) * _MILLISECOND),
            time_base=_MILLISECOND,
            loop=self.opened.info.get("loop"),
        )

    def _seek(self, index: int) -> int:
        """Go to a frame; returns its duration in milliseconds."""
        self.opened.seek(index)
        if self.opened.format == "WEBP":  # known only after decoding
            self.opened.load()
        return round(self.opened.info.get("duration") or _DEFAULT_DURATION)

    def __iter__(self) -> Iterator[Frame]:
        height, width = self.info.size
        time = Fraction(0)
        for index, duration in enumerate(self.durations):
            try:
                self.opened.seek(index)
                shown = self.opened.convert("RGBA" if self.opened.has_transparency_data else "RGB")
            except Exception as error:  # noqa: BLE001
                raise UserError(
                    f"{self.path} is cut off or damaged at frame {index + 1} of {len(self.durations)}, "
                    f"{float(time):.1f} s: {' '.join(str(error).split())}"
                ) from None
            if shown.size != (width, height):
                shown = shown.resize((width, height), Image.Resampling.LANCZOS)
            yield Frame(np.asarray(shown), time, duration * _MILLISECOND)
            time += duration * _MILLISECOND

    def close(self) -> None:
        """Close the file."""
        self.opened.close()


class MovingWriter:
    """A `Sink`: a GIF, WebP or APNG at `part`. Its frames are kept in memory until the last one is written."""

    def __init__(self, part: Path, path: Path, info: VideoInfo, *, quality: int | None) -> None:
        """Raises UserError if not all frames fit in memory."""
        self.part, self.path, self.info, self.quality = part, path, info, quality
        self.format = _FORMATS[path.suffix.lower()]
        self.frames: list[Image.Image] = []
        self.times: list[Fraction] = []
        self.last = Fraction(0)
        height, width = info.size
        needed = info.count * height * width * (1 if self.format == "GIF" else 4)
        left = budget.Budget.of(None).left()
        if needed > left:
            raise UserError(
                f"{path}: {info.count} frames of {width} x {height} pixels are kept in memory, "
                f"{needed / 1e9:.1f} GB of {left / 1e9:.1f}: write a video (.mp4, .webm), or smaller with `size`"
            )

    def write(self, frame: Frame) -> None:
        """Add the next frame."""
        picture = _palette(frame.pixels) if self.format == "GIF" else Image.fromarray(frame.pixels)
        self.frames.append(picture)
        self.times.append(frame.time)
        self.last = frame.time + frame.duration

    def finish(self, trailing: list[Any]) -> None:
        """Write all frames."""
        unit = 10 * _MILLISECOND if self.format == "GIF" else _MILLISECOND
        stamps = [
            round(time / unit) for time in (*self.times, self.last)
        ]  # rounds the times, not each duration
        shown = [int((b - a) * unit / _MILLISECOND) for a, b in itertools.pairwise(stamps)]
        if self.format == "GIF":
            shown = [max(_MIN_DURATION, each) for each in shown]
        options: dict[str, Any] = {} if self.info.loop is None else {"loop": self.info.loop}
        if self.format == "GIF":
            options |= {
                "disposal": 2 if any(f.info.get("transparency") is not None for f in self.frames) else 1
            }
        if self.format == "WEBP":
            options |= {"quality": self.quality or image.JPEG_QUALITY}
        try:
            self.frames[0].save(
                self.part,
                format=self.format,
                save_all=True,
                append_images=self.frames[1:],
                duration=shown,
                **options,
            )
        except Exception as error:  # noqa: BLE001  encoders do, too
            raise UserError(f"cannot write {self.path}: {' '.join(str(error).split())}") from None

    def close(self) -> None:
        """Free the frames."""
        self.frames.clear()
