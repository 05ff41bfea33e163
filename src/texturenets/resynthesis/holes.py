"""Which pixels are made anew, which stay, and which are learned from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets.image import resize, resize_wrapped
from texturenets.image.sizes import continuation, take

MARGIN = 32
"""Pixels by which a picture is continued on all sides before its features are computed: most of what a feature of
the default layers sees (relu3_3: 20 pixels either way). So the networks' zero padding stays out of the statistics."""


@dataclass(frozen=True)
class Hole:
    """A picture of which a part is made anew.

    `picture` (1, 3, H, W): RGB in [0, 1]. `free` (1, 1, H, W) in [0, 1]: 0 where pixels stay, 1 where they are made
    anew, between them the share of the new ones. `exemplar` (1, 3, h, w): what is learned from, at the pixels of
    `usable` (1, 1, h, w), which holds 0 and 1. `wraps`: whether the picture is to go on at the opposite edge.
    """

    picture: Tensor
    free: Tensor
    exemplar: Tensor
    usable: Tensor
    wraps: bool = False

    @cached_property
    def _places(self) -> Tensor:
        return self.free.flatten().nonzero()[:, 0]

    @property
    def own(self) -> bool:
        """Whether the exemplar is the picture itself, around its hole."""
        return self.exemplar is self.picture

    def to(self, device: torch.device) -> Hole:
        """The same on a device."""
        picture = self.picture.to(device)
        exemplar = picture if self.own else self.exemplar.to(device)
        return Hole(picture, self.free.to(device), exemplar, self.usable.to(device), self.wraps)

    def over(self, picture: Tensor) -> Hole:
        """The same hole in another picture (1, 3, H, W), which is the exemplar where the old one was."""
        return replace(self, picture=picture, exemplar=picture if self.own else self.exemplar)

    def resized(self, size: tuple[int, int]) -> Hole:
        """The same with a picture of `size` (H, W); the exemplar is scaled along."""
        if tuple(self.picture.shape[2:]) == size:
            return self
        rows, columns = self.exemplar.shape[2:]
        shape = self.picture.shape
        inner = max(1, round(rows * size[0] / shape[2])), max(1, round(columns * size[1] / shape[3]))
        usable = F.interpolate(self.usable, inner, mode="area") > 1 - 1e-4  # all that a pixel is made of

        def picture(x: Tensor) -> Tensor:
            return resize_wrapped(x, size, "xy") if self.wraps else resize(x, size)

        free = F.interpolate(self.free, size, mode="area")
        new = picture(self.picture)
        exemplar = new if self.own else resize(self.exemplar, inner)
        return Hole(new, free, exemplar, usable.to(self.usable), self.wraps)

    def pixels(self, picture: Tensor) -> Tensor:
        """Those of `picture` (1, 3, H, W) that are free: (1, 3, 1, P)."""
        return picture.flatten(2)[:, :, None, self._places]

    def pasted(self, pixels: Tensor) -> Tensor:
        """The picture (1, 3, H, W) with free pixels (1, 3, 1, P); all others are equal to the bit."""
        flat, share = self.picture.flatten(2), self.free.flatten()[self._places]
        blended = (1 - share) * flat[:, :, self._places] + share * pixels[:, :, 0]
        return flat.index_copy(2, self._places, blended).view_as(self.picture)

    def changed(self) -> Tensor:
        """Where pixels are free, as 0 and 1: (1, 1, H, W)."""
        return (self.free > 0).to(self.free)


def continued(x: Tensor, *, wraps: bool) -> Tensor:
    """`x` (N, C, H, W) with `MARGIN` pixels more on each side: from the opposite one, or mirrored."""
    for axis in (-2, -1):
        side = x.shape[axis]
        x = take(x, axis, continuation(side, MARGIN, side + 2 * MARGIN, wraps=wraps))
    return x


def edges(picture: Tensor) -> Hole:
    """The edges of a picture (1, 3, H, W) made anew so that it repeats; all of it is learned from.

    The middle half of each side stays. From there to the middle of the strips beside it the share of new pixels rises
    from 0 to 1: no line shows where they begin.
    """
    height, width = picture.shape[2:]
    share = torch.maximum(_rise(height)[:, None], _rise(width)[None])
    free = share[None, None].to(picture)
    return Hole(picture, free, picture.clone(), torch.ones_like(free), wraps=True)


def _rise(side: int) -> Tensor:
    """(side,) of 0 in the middle half, rising to 1 an eighth of the side from either end, smoothly."""
    place = torch.arange(side, dtype=torch.float32)
    from_end = torch.minimum(place, side - 1 - place)
    # The middle half begins at the pixel `side // 4`, or one before it where the sides of it are rounded up.
    kept = (side - -(-side // 2)) // 2
    share = ((kept - from_end) / max(1.0, kept / 2)).clamp(0, 1)
    return share * share * (3 - 2 * share)
