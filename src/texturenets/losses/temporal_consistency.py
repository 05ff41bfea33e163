"""The temporal consistency loss, for videos: images change little when their photos change little.

Stability training (Zheng et al., arXiv 1604.04326, equation 3), with the image as the network's output. How photos
are changed: `train/temporal_consistency.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from texturenets.losses.base import Features, Loss, LossSettings, Targets, register

BORDER: Final = 16
"""Pixels from the edge that are not compared: there the network sees pixels that moved in, or its own padding."""


@register
@dataclass(kw_only=True, eq=False)
class TemporalConsistencyLoss(Loss):
    """`temporal_consistency` of the images and of the network's images for the moved photos."""

    name = "temporal"
    weight: float

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None for textures, which have no photo, and where its weight is 0."""
        weight = settings.get("temporal_weight", 0.0)
        return cls(weight=weight) if weight else None

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the name is `temporal`. Empty without moved photos."""
        if targets.moved is None:
            return {}
        change = temporal_consistency(features.images, targets.moved, targets.shifts, BORDER)
        return {"temporal": self.weight * change.mean()}


def temporal_consistency(y: Tensor, moved: Tensor, shifts: Sequence[tuple[int, int]], border: int) -> Tensor:
    """How far images change when their photos change a little: y and moved (N, 3, H, W) to (N,).

    `moved` are the images of photos that were shifted by `shifts`, (down, right) in integer pixels for each image,
    with otherwise invisible changes: ideally they are `y`, shifted by as much. The mean squared difference over all
    pixels but those within `border` of the edge or without a counterpart in the other image, relative to the image's
    variance there: 0 for the same image, 2 for an unrelated one. The divisor has no gradient, so that more contrast
    does not lower the loss. Raises ValueError if nothing is left to compare.
    """
    inset = border + max((abs(n) for shift in shifts for n in shift), default=0)
    height, width = y.shape[2] - 2 * inset, y.shape[3] - 2 * inset
    if min(height, width) < 1:
        raise ValueError(
            f"{y.shape[3]} x {y.shape[2]} pixels less {inset} on each side leave nothing to compare"
        )
    there = moved[:, :, inset : inset + height, inset : inset + width]
    here = torch.stack(
        [
            image[:, inset - down : inset - down + height, inset - right : inset - right + width]
            for image, (down, right) in zip(y, shifts, strict=True)
        ]
    )
    spread = here.detach().var((2, 3), unbiased=False).mean(1)
    # One step of 8 bits: below that an image is of one color.
    return (there - here).square().mean((1, 2, 3)) / spread.clamp_min(1 / 255**2)
