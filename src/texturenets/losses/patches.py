"""The patch loss: the finest details of the images have the distribution that those of the style have.

Gram matrices of VGG-16 hardly see fine hatching, whose energy is small beside that of colours and strokes. Here the
distributions of small patches are compared, as in Elnekave and Weiss, "Generating natural images with direct patch
distributions matching", arXiv 2203.11862, section 3.1, but of the details alone: on the finest levels of a Laplacian
pyramid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets.errors import UserError
from texturenets.losses.base import Features, Loss, LossSettings, Targets, register
from texturenets.losses.laplacian import laplacian_pyramid
from texturenets.losses.sliced_wasserstein import directions, sorted_projections

# The first values tried, but for 64 directions and one level: docs/measurements.md, "Textures", has what they gave.
SIDE: Final = 5  # pixels of a patch's side: a hatch of 2 to 5 pixels fits
LEVELS: Final = 2  # of the pyramid: the details of the full size, and of half of it
DIRECTIONS: Final = 24  # a step; sorting the projections is what costs
MIN_SIDE: Final = SIDE * 2 ** (LEVELS - 1)
"""Least shorter side in pixels of an image: a patch fits on each level."""
STREAM: Final = 0x9A7C  # of random numbers; losses of features have small numbers


@register
@dataclass(kw_only=True, eq=False)
class PatchLoss(Loss):
    """Mean absolute difference of the sorted projections of the images' patches and those of the style, relative to
    the mean of the latter: 1 is the loss of an image without detail. The mean over levels, directions and images.

    Directions are drawn in each step from `seed` and the number of the step; in validation they are always the same.
    """

    name = "patches"
    compares_style = True
    weight: float
    seed: int
    styles: list[tuple[float, list[Tensor]]] = field(init=False, default_factory=list)

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None if its weight is 0."""
        weight = settings["patch_weight"]
        return cls(weight=weight, seed=settings["seed"]) if weight else None

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """Keeps the patches of the styles: directions are not known yet."""
        self.styles = [(share, details(style.images)) for share, style in styles]

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the name is `patches`."""
        total = features.images.new_zeros((), dtype=torch.float32)
        for level, patches in enumerate(details(features.images)):
            axes = directions(self.seed, targets.step, STREAM + level, DIRECTIONS, patches.shape[1])
            axes = axes.to(patches.device)
            style = [(share, each[level]) for share, each in self.styles]
            made, aim = sorted_projections(patches, style, axes)
            total = total + (made - aim).abs().mean() / aim.abs().mean().clamp_min(1e-6) / LEVELS
        return {"patches": self.weight * total}


def details(images: Tensor) -> list[Tensor]:
    """The patches of images (N, C, H, W) on each level, the finest first: (N, C * 25, 1, places). Raises UserError
    for images below `MIN_SIDE`."""
    height, width = images.shape[2:]
    if min(height, width) < MIN_SIDE:
        raise UserError(f"`patch_weight`: an image of {width} x {height} is below {MIN_SIDE} pixels")
    levels = laplacian_pyramid(images, LEVELS + 1)[:LEVELS]
    return [F.unfold(level, SIDE)[:, :, None] for level in levels]
