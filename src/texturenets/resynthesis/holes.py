"""Which pixels are replaced, which stay, and from which the texture is learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets.image import resize, resize_wrapped
from texturenets.image.sizes import continuation, take

MARGIN = 32
"""Pixels by which an image is continued on all sides before its features are computed: most of the receptive field of
the default layers (relu3_3: 20 pixels in each direction). So the networks' zero padding stays out of the
statistics."""


@dataclass(frozen=True)
class Hole:
    """An image of which a part is replaced.

    `image` (1, 3, H, W): RGB in [0, 1]. `free` (1, 1, H, W) in [0, 1]: 0 where pixels stay, 1 where they are
    replaced, in between the share of the new ones. `exemplar` (1, 3, h, w): the image from which the texture is
    learned, at the pixels where `usable` (1, 1, h, w) is 1, not 0. `wraps`: whether the image continues at the
    opposite edge.
    """

    image: Tensor
    free: Tensor
    exemplar: Tensor
    usable: Tensor
    wraps: bool = False

    @cached_property
    def _places(self) -> Tensor:
        return self.free.flatten().nonzero()[:, 0]

    @property
    def in_exemplar(self) -> bool:
        """Whether the exemplar is the image itself, around its hole."""
        return self.exemplar is self.image

    def to(self, device: torch.device) -> Hole:
        """A copy on a device."""
        image = self.image.to(device)
        exemplar = image if self.in_exemplar else self.exemplar.to(device)
        return Hole(image, self.free.to(device), exemplar, self.usable.to(device), self.wraps)

    def over(self, image: Tensor) -> Hole:
        """The same hole in another image (1, 3, H, W), which is also the exemplar if the old image was."""
        return replace(self, image=image, exemplar=image if self.in_exemplar else self.exemplar)

    def resized(self, size: tuple[int, int]) -> Hole:
        """The hole with its image resized to `size` (H, W) and the exemplar resized by the same factor."""
        if tuple(self.image.shape[2:]) == size:
            return self
        rows, columns = self.exemplar.shape[2:]
        shape = self.image.shape
        inner = max(1, round(rows * size[0] / shape[2])), max(1, round(columns * size[1] / shape[3]))
        usable = (
            F.interpolate(self.usable, inner, mode="area") > 1 - 1e-4
        )  # only pixels made entirely of usable ones

        def resized(x: Tensor) -> Tensor:
            return resize_wrapped(x, size, "xy") if self.wraps else resize(x, size)

        free = F.interpolate(self.free, size, mode="area")
        new = resized(self.image)
        exemplar = new if self.in_exemplar else resize(self.exemplar, inner)
        return Hole(new, free, exemplar, usable.to(self.usable), self.wraps)

    def pixels(self, image: Tensor) -> Tensor:
        """The free pixels of `image` (1, 3, H, W): (1, 3, 1, P)."""
        return image.flatten(2)[:, :, None, self._places]

    def pasted(self, pixels: Tensor) -> Tensor:
        """The image (1, 3, H, W) with these free pixels (1, 3, 1, P); all others are bitwise equal."""
        flat, share = self.image.flatten(2), self.free.flatten()[self._places]
        blended = (1 - share) * flat[:, :, self._places] + share * pixels[:, :, 0]
        return flat.index_copy(2, self._places, blended).view_as(self.image)

    def changed(self) -> Tensor:
        """Where pixels are free, as 0 and 1: (1, 1, H, W)."""
        return (self.free > 0).to(self.free)


def continued(x: Tensor, *, wraps: bool) -> Tensor:
    """`x` (N, C, H, W) with `MARGIN` pixels more on each side: from the opposite one, or mirrored."""
    for axis in (-2, -1):
        side = x.shape[axis]
        x = take(x, axis, continuation(side, MARGIN, side + 2 * MARGIN, wraps=wraps))
    return x


def edges(image: Tensor) -> Hole:
    """The edges of an image (1, 3, H, W), to be replaced so that it repeats; the texture is learned from all of it.
    The middle half of each side stays. From there to the middle of the adjacent strips the share of new pixels rises
    from 0 to 1, so that no line is visible.
    """
    height, width = image.shape[2:]
    share = torch.maximum(_rise(height)[:, None], _rise(width)[None])
    free = share[None, None].to(image)
    return Hole(image, free, image.clone(), torch.ones_like(free), wraps=True)


def _rise(side: int) -> Tensor:
    """(side,) of 0 in the middle half, rising to 1 an eighth of the side from either end, smoothly."""
    place = torch.arange(side, dtype=torch.float32)
    from_end = torch.minimum(place, side - 1 - place)
    # The middle half begins at the pixel `side // 4`, or one before it where the sides of it are rounded up.
    kept = (side - -(-side // 2)) // 2
    share = ((kept - from_end) / max(1.0, kept / 2)).clamp(0, 1)
    return share * share * (3 - 2 * share)
