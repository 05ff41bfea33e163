"""The job, checked: which part of an image is computed, and how it is pasted back."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from texturenets.arrays import to_tensor
from texturenets.errors import UserError
from texturenets.image import Picture
from texturenets.image.sizes import Box, crop_back
from texturenets.resynthesis import holes
from texturenets.resynthesis.holes import Hole
from texturenets.resynthesis.mask import NOTHING_LEFT, WHITE, check_mask
from texturenets.stylize.regions import read_mask
from texturenets.train import style_images
from texturenets.train.min_size import too_small

CONTEXT = 128  # minimum pixels on each side of a hole from which the texture is learned
WINDOW = 512  # minimum sides of the computed part: the default size of results of `optimize`


@dataclasses.dataclass(frozen=True)
class Job:
    """A part of an image, with the hole in it. `box`: its position in the `source`. `alpha` (1, 1, H, W) or None: the
    result's opacity."""

    source: Picture
    hole: Hole
    box: Box
    alpha: Tensor | None

    def finished(self, part: Tensor) -> Picture:
        """The whole image with `part` (1, 3, h, w) pasted in, and with the metadata of the source."""
        rgb = self.source.rgb.cpu().clone()
        crop_back(rgb, self.box).copy_(part.cpu())
        return self.source.with_pixels(rgb, self.alpha)


def edges(picture: Picture) -> Job:
    """The job of making the edges of an image meet. Raises UserError for an image with transparent pixels, and for
    one that is too small.
    """
    rgb, name = _checked(picture), "the image"
    style_images.check_opaque(picture, name)
    alpha = None if picture.transparency is None else picture.alpha
    return Job(picture, holes.edges(rgb), (0, 0, *picture.size), alpha)


def hole(picture: Picture, mask: Any, context: int | None) -> Job:
    """The job of filling the white part of `mask` (any image) from its surroundings, except transparent pixels.

    `context`: pixels of surroundings on each side, from which the texture is learned; None: `CONTEXT`, and more if
    sides would be below `WINDOW`. Filled pixels become opaque. A mask of another size is scaled, and a warning says
    so. Raises UserError for a mask of another aspect ratio, without white, or all white; for an image that is too
    small, and for a `context` below 1.
    """
    rgb = _checked(picture)
    if context is not None and context < 1:
        raise UserError(f"`context` {context} is not above 0")
    values = read_mask(mask, "the hole", picture.size)
    check_mask(values)
    white = torch.from_numpy(values >= WHITE)[None, None]
    opacity = torch.ones_like(rgb[:, :1]) if picture.alpha is None else picture.alpha.cpu()
    usable = ~white & (opacity == 1)
    if not bool(usable.any()):
        raise UserError(NOTHING_LEFT)
    box = _window(white[0, 0], context)
    part, free = crop_back(rgb, box).contiguous(), crop_back(white, box).to(rgb)
    known = crop_back(usable, box).to(rgb)
    alpha = None if picture.alpha is None else torch.where(white, 1, opacity)
    return Job(picture, Hole(part, free, part, known), box, alpha)


def _checked(picture: Picture) -> Tensor:
    rgb = to_tensor(picture.pixels).float().cpu()
    if rgb.shape[0] != 1:
        raise UserError(f"the tensor holds {rgb.shape[0]} images: give one at a time")
    if message := too_small(*picture.size):
        raise UserError(message)
    return rgb


def _window(white: Tensor, context: int | None) -> Box:
    """The part of the image around the white pixels of a mask (H, W) that is computed."""
    found = []
    for axis, side in enumerate(white.shape):
        places = white.any(1 - axis).nonzero()
        first, last = int(places[0]), int(places[-1]) + 1
        around = CONTEXT if context is None else context
        if context is None:
            around = max(around, -(-(WINDOW - (last - first)) // 2))
        begin, end = max(0, first - around), min(side, last + around)
        if context is None and end - begin < WINDOW:  # it stopped at one edge: more on the other side
            begin, end = max(0, min(begin, end - WINDOW)), min(side, max(end, begin + WINDOW))
        found.append((begin, end - begin))
    (top, height), (left, width) = found
    return top, left, height, width
