"""An image in memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from texturenets.arrays import A, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from texturenets.arrays import Array

StrPath = str | os.PathLike[str]


class Picture:
    """An image in memory, from arrays or tensors.

    `rgb` (1, 3, H, W): float32 sRGB in [0, 1], upright. `alpha` (1, 1, H, W) in [0, 1], or None; the RGB is
    not multiplied by it. Both are tensors, which share their memory where arrays were given; `pixels` is the
    RGB as it was given, array or tensor. `exif`: metadata to carry into the file written, as bytes, or None.
    `bits`: 8 or 16, the depth of the source.
    """

    def __init__(
        self, rgb: Array, alpha: Array | None = None, exif: bytes | None = None, bits: int = 8
    ) -> None:
        self.pixels, self.transparency = rgb, alpha
        self.exif, self.bits = exif, bits

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
    def on_white(self) -> Tensor:
        """The RGB laid on white: (1, 3, H, W) as a tensor."""
        return self.rgb if self.alpha is None else lay_on_white(self.rgb, self.alpha)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.pixels.shape[2]), int(self.pixels.shape[3])


def lay_on_white(rgb: A, alpha: A) -> A:
    """RGB (1, 3, H, W) with the opacity (1, 1, H, W), both in [0, 1], on white, as paper is: (1, 3, H, W)."""
    return rgb * alpha + (1 - alpha)
