"""The diversity loss: images of one batch should differ. Texture Networks II, arXiv 1701.02096, section 3."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from texturenets.losses.base import Features, Loss, LossSettings, Scaling, Targets, register
from texturenets.perceptual import full_names

PIXELS = "pixels"
"""Instead of a layer: compares the images themselves."""

# Added to the squared distance in the paper's logarithm: `EstimatedEntropyMaximizer.lua`, branch diversity
PAPER_GUARD = 0.1
# The same where distances are relative: independent samples of a texture are about 2 apart
RELATIVE_GUARD = 1e-3


@register
@dataclass(kw_only=True, eq=False)
class DiversityLoss(Loss):
    """`diversity` of the images, in pixels or in the features of a layer."""

    name = "diversity"
    layer: str
    weight: float
    scaling: Scaling
    spread: float = field(init=False, default=1.0)

    def __post_init__(self) -> None:
        self.layers = () if self.layer == PIXELS else (self.layer,)

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None if its weight is 0. Raises UserError for a layer that does not exist."""
        layer, weight = settings["diversity_layer"], settings["diversity_weight"]
        # Before the weight is looked at: a wrong name is an error without one, too.
        layer = layer if layer == PIXELS else full_names([layer])[0]
        if not weight:
            return None
        return cls(layer=layer, weight=weight, scaling=settings["loss_scaling"])

    def _compared(self, features: Features) -> Tensor:
        return features.images if self.layer == PIXELS else features.maps[0][self.layer]

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """`spread` is the standard deviation of the first style image where images are to differ."""
        _, style = next(styles)
        variance = float(self._compared(style).float().flatten(2).var(2).mean())
        self.spread = max(math.sqrt(variance), 1e-6)

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the name is `diversity`."""
        compared = self._compared(features)
        if self.layer == PIXELS and self.scaling == "paper":
            compared = 255 * compared
        return {"diversity": self.weight * diversity(compared, self.scaling, self.spread)}


def diversity(features: Tensor, scaling: Scaling, spread: float = 1.0) -> Tensor:
    """How alike the images of a batch are, features (N, ...) each: a scalar, lower where they differ more.

    Minus the nearest-neighbour estimate of their entropy (Kozachenko and Leonenko), up to a constant and a factor:
    arXiv 1701.02096, section 3, equation 6. "relative": minus the mean logarithm of the distance to the nearest
    other image, as root mean square over `spread`, the features' own standard deviation; "paper": minus the
    sum of the logarithms of squared distances plus 0.1, whose gradient is that of the Torch7 program (branch
    diversity), where distances are of pixels on the 0..255 scale. Raises ValueError for a single image.
    """
    if len(features) < 2:
        raise ValueError("diversity compares at least two images")
    rows = features.float().flatten(1)
    with torch.no_grad():
        apart = torch.stack([(rows - row).square().sum(1) for row in rows])
        nearest = apart.fill_diagonal_(float("inf")).argmin(1)
    squared = (rows - rows[nearest]).square()
    if scaling == "paper":
        return -torch.log(squared.sum(1) + PAPER_GUARD).sum()
    return -0.5 * torch.log(squared.mean(1) / spread**2 + RELATIVE_GUARD).mean()
