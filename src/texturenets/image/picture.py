"""An image in memory."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from texturenets.arrays import A, is_tensor, to_numpy, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from texturenets.arrays import Array

StrPath = str | os.PathLike[str]


class Picture:
    """An image in memory, from arrays or tensors.

    `rgb` (1, 3, H, W): float32 sRGB in [0, 1], upright. `alpha` (1, 1, H, W) in [0, 1], or None; the RGB is
    not multiplied by it. Both are tensors, which share their memory where arrays were given; `pixels` is the
    RGB as it was given, array or tensor. About the source: `bits` per channel, 8, 16 or 32; `several`, whether it
    holds more images; `clipped`, whether it had values outside [0, 1].

    Metadata, which written files keep as far as their format allows: `exif`, as bytes; `dpi`, the resolution
    (across, down) in pixels an inch; `texts` by keyword, those of a PNG, and under "Comment" that of a JPEG.
    """

    def __init__(
        self,
        rgb: Array,
        alpha: Array | None = None,
        exif: bytes | None = None,
        bits: int = 8,
        *,
        several: bool = False,
        clipped: bool = False,
        dpi: tuple[float, float] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> None:
        self.pixels, self.transparency = rgb, alpha
        self.bits, self.several, self.clipped = bits, several, clipped
        self.exif, self.dpi, self.texts = exif, dpi, dict(texts or {})

    def with_pixels(self, rgb: Array, alpha: Array | None) -> Picture:
        """A copy with other pixels, and with the metadata of this one."""
        made = copy.copy(self)
        made.pixels, made.transparency = rgb, alpha
        return made

    @property
    def rgb(self) -> Tensor:
        """(1, 3, H, W) as a tensor."""
        return to_tensor(self.pixels)

    @rgb.setter
    def rgb(self, values: Array) -> None:
        self.pixels = values

    @property
    def alpha(self) -> Tensor | None:
        """(1, 1, H, W) as a tensor, or None."""
        return None if self.transparency is None else to_tensor(self.transparency)

    @property
    def transparent(self) -> bool:
        """Whether there are pixels that are not opaque."""
        return self.transparency is not None and bool((self.transparency < 1).any())

    @property
    def pixels_on_white(self) -> Array:
        """The RGB laid on white: (1, 3, H, W), an array or a tensor as `pixels` is."""
        if self.transparency is None:
            return self.pixels
        if is_tensor(self.pixels):
            return lay_on_white(self.pixels, to_tensor(self.transparency).to(self.pixels.device))
        return lay_on_white(to_numpy(self.pixels), to_numpy(self.transparency))

    @property
    def on_white(self) -> Tensor:
        """The RGB laid on white: (1, 3, H, W) as a tensor."""
        return to_tensor(self.pixels_on_white)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.pixels.shape[2]), int(self.pixels.shape[3])


def lay_on_white(rgb: A, alpha: A) -> A:
    """RGB (1, 3, H, W) with the opacity (1, 1, H, W), both in [0, 1], on white, as paper is: (1, 3, H, W)."""
    return rgb * alpha + (1 - alpha)


class PictureInfo(Protocol):
    """A `Picture`, or the header of one."""

    @property
    def bits(self) -> int:
        """Bits per channel."""

    @property
    def several(self) -> bool:
        """Whether there are more images in the file."""

    @property
    def clipped(self) -> bool:
        """Whether light beyond [0, 1] was clipped."""


def lost_by_stylizing(source: PictureInfo, bits: int = 8) -> list[str]:
    """Properties of `source` that are lost by stylizing it to `bits` per channel, whatever the format: ends of
    sentences that begin "FILE holds"."""
    dropped = []
    if source.bits > bits:
        dropped.append(f"{source.bits} bits per channel, of which results have {bits}")
    if source.clipped:
        dropped.append("light below 0 or above 1, which is clipped")
    if source.several:
        dropped.append(
            "several images, of which the first is taken (.gif, .webp and .apng keep an animation)"
        )
    return dropped
