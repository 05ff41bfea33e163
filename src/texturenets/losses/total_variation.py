"""Total variation: differences of neighbouring pixels. Higher weights give smoother images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from texturenets.losses.base import Features, Loss, LossSettings, Scaling, Targets, register


@register
@dataclass(kw_only=True, eq=False)
class TotalVariation(Loss):
    """`total_variation` of the images, or with the scaling "paper" `reference_variation`."""

    name = "tv"
    weight: float
    scaling: Scaling

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None if its weight is 0."""
        weight = settings["tv_weight"]
        return cls(weight=weight, scaling=settings["loss_scaling"]) if weight else None

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the name is `tv`."""
        variation = reference_variation if self.scaling == "paper" else total_variation
        return {"tv": self.weight * variation(features.images).mean()}


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of x (N, C, H, W), for each image: (N,).

    The anisotropic total variation of Johnson et al. (arXiv 1603.08155, section 3.2), as a mean over
    pixels and both directions, so that its weight does not depend on the size.
    """
    zero = x.new_zeros(x.shape[0])
    vertical = (x[:, :, 1:] - x[:, :, :-1]).abs().mean((1, 2, 3)) if x.shape[2] > 1 else zero
    horizontal = (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().mean((1, 2, 3)) if x.shape[3] > 1 else zero
    return vertical + horizontal


def reference_variation(y: Tensor) -> Tensor:
    """Half the sum of squared differences of neighbours on the 0..255 scale, an image of y (N, 3, H, W) each: (N,).

    Its gradient is what `TVLoss` of the Torch7 program adds (`utils.lua`, branch master): every pixel but the
    last row and column is compared with the ones right of it and below. It is a sum, not a mean: its weight
    means more in larger images. In that program the batch is summed too, here it is averaged.
    """
    y = 255 * y
    corner = y[:, :, :-1, :-1]
    right, below = y[:, :, :-1, 1:] - corner, y[:, :, 1:, :-1] - corner
    return (right.square() + below.square()).sum((1, 2, 3)) / 2
