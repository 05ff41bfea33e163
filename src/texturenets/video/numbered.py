"""Frames as files: images of a folder to a video, a video to numbered images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from texturenets import image
from texturenets.arrays import to_numpy
from texturenets.errors import UserError
from texturenets.files import expanded
from texturenets.video.frame import NATIVE, Fit, Frame, Pixels, VideoInfo


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Sorted by number: frame2 before frame10."""

    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", str(path))
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]

    return sorted(paths, key=key)


def check_sizes(paths: Sequence[Path]) -> None:
    """Raise UserError for images of different sizes, by their headers; unreadable ones are skipped."""
    headers = [(path, header) for path in paths if (header := image.read_header(path)) is not None]
    for path, header in headers:
        _check_size(path, header.upright, headers[0][0], headers[0][1].upright)


def _check_size(path: Path, size: tuple[int, int], first: Path, wanted: tuple[int, int]) -> None:
    if size != wanted:
        raise UserError(
            f"{path} has {size[1]} x {size[0]} pixels, {first} has {wanted[1]} x {wanted[0]}: the frames of a video "
            "are of one size; resize it or leave it out, or name a folder as `output`, for images in place of a video"
        )


class Frames:
    """A `FrameSource`: images, all of one size, each a frame."""

    def __init__(self, paths: Sequence[Path], rate: Fraction, fit: Fit = NATIVE) -> None:
        """Raises UserError for a first image that cannot be read."""
        self.paths, self.trailing = list(paths), list[Any]()
        self.first = image.read(self.paths[0])
        size = self.first.size
        self.info = VideoInfo(
            size=fit(size),
            count=len(self.paths),
            rate=rate,
            time_base=1 / rate,
        )

    def __iter__(self) -> Iterator[Frame]:
        wanted = self.first.size
        for index, path in enumerate(self.paths):
            picture = image.read(path)
            _check_size(path, picture.size, self.paths[0], wanted)
            yield Frame(_pixels(picture, self.info.size), index / self.info.rate, 1 / self.info.rate)

    def close(self) -> None:
        """Does nothing: no file is open."""


def _pixels(picture: image.Picture, size: tuple[int, int]) -> Pixels:
    kind = image.ImageKind("numpy", np.dtype(np.uint8), alpha=picture.transparency)
    pixels: Pixels = image.to_kind(image.resize(to_numpy(picture.pixels), size), kind)
    return pixels


class NumberedWriter:
    """A `Sink`: each frame a file, numbered from 1 on. Each appears whole, but not all of them at once."""

    def __init__(self, pattern: str, *, quality: int | None) -> None:
        """`pattern`: as `frames/%05d.png`. Raises UserError for one that names no format."""
        self.pattern, self.quality, self.number = pattern, quality, 0
        image.output_format(self.path(1))

    def path(self, number: int) -> Path:
        """The file of a frame."""
        return expanded(self.pattern % number)

    def write(self, frame: Frame) -> None:
        """Write the next frame."""
        self.number += 1
        picture, _ = image.from_any(frame.pixels)
        image.write(self.path(self.number), picture, quality=self.quality)

    def finish(self, trailing: list[Any]) -> None:
        """Does nothing: all files are written."""

    def close(self) -> None:
        """Does nothing: no file is open."""
