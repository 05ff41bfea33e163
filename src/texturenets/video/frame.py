"""Frames, and the protocols for reading and writing them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from texturenets.image.sizes import fit_longer

Pixels = NDArray[np.uint8]


@dataclass
class Frame:
    """A frame (H, W, 3), or (H, W, 4) with opacity, 8-bit RGB, upright.

    `time` and `duration` are in seconds from the video's start. `sound`: audio packets that precede it in the file.
    """

    pixels: Pixels
    time: Fraction
    duration: Fraction
    sound: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class ColorSpace:
    """The colour space, in the code numbers of ITU-T H.273: 1 is BT.709, 2 unspecified."""

    matrix: int = 1
    primaries: int = 1
    transfer: int = 1


@dataclass
class VideoInfo:
    """Properties of a video that are known before its frames are decoded. `size`: (H, W), upright. `count`: number of
    frames stated in the file. `rate`: frames per second on average. `time_base`: the unit of time stamps, in seconds.
    `aspect`: width over height of a pixel. `loop`: how often an animation is repeated, 0 for ever, None once.
    """

    size: tuple[int, int]
    count: int
    rate: Fraction
    time_base: Fraction
    aspect: Fraction = Fraction(1)
    colors: ColorSpace = ColorSpace()
    metadata: dict[str, str] = field(default_factory=dict)
    loop: int | None = 0


@dataclass(frozen=True)
class Fit:
    """The size of output frames. `longer`: longer side in pixels, None keeps it. `even`: if the size changes, sides
    are made even. `square`: non-square pixels are made square.
    """

    longer: int | None = None
    even: bool = False
    square: bool = False

    def __call__(self, size: tuple[int, int], aspect: Fraction = Fraction(1)) -> tuple[int, int]:
        """The size (H, W) for a video of `size` whose pixels are `aspect` times as wide as high."""
        height, width = size
        if self.square:
            width = max(1, round(width * aspect))
        if self.longer is None:
            return height, width
        height, width = fit_longer((height, width), self.longer)
        if self.even:
            height, width = (max(2, 2 * round(side / 2)) for side in (height, width))
        return height, width


NATIVE: Final = Fit()


class FrameSource(Protocol):
    """Yields the frames of a video in order, once; afterwards `trailing` has the audio packets after the last
    frame."""

    info: VideoInfo
    trailing: list[Any]

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Close the file."""


class Sink(Protocol):
    """Receives the frames of a video in order."""

    def write(self, frame: Frame) -> None:
        """Write the next frame."""

    def finish(self, trailing: list[Any]) -> None:
        """Called after the last frame, with the sound after it: completes the video."""

    def close(self) -> None:
        """Close the file, complete or not."""
