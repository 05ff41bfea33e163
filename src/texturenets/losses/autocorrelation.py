"""The autocorrelation loss: each feature with itself at all distances, for periods of any length and direction.

Gonthier, Gousseau and Ladjal, "High resolution neural texture synthesis with long range constraints", arXiv
2008.01808: the constraint on the autocorrelation of features (after Sendik and Cohen-Or, "Deep correlations for
texture synthesis"), which they compare as the power spectrum of each map. There maps wrap around, and both have one
size. Here they do not wrap around and sizes are free, so the autocorrelation itself is compared, at the distances
that both have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from texturenets.losses.base import Features, LossSettings, Targets, register
from texturenets.losses.layer_loss import LayerLoss, added


@register
@dataclass(kw_only=True, eq=False)
class AutocorrelationLoss(LayerLoss):
    """Squared distance of the autocorrelation of the images' features from that of the style's, layer by layer.

    At distances up to half the side of the smaller map: beyond them few positions have a partner.
    """

    name = "autocorrelation"
    compares_style = True
    targets: list[dict[str, Tensor]] = field(init=False, default_factory=list)

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None if its weight is 0. Raises UserError for layers that do not exist."""
        return cls.of(settings, "autocorrelation_weight", "structure_layers")

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """Compute the autocorrelations of the style images; those of several are averaged, by their shares, at the
        distances that all have."""
        self.targets = []
        for share, style in styles:
            correlations = [
                {k: share * autocorrelation(maps[k], *_half(maps[k])) for k in self.layers}
                for maps in style.maps
            ]
            self.targets = added(self.targets, correlations, lambda m, n: torch.stack(_common(m, n)).sum(0))

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the names are `autocorrelation/network:layer`."""
        losses = {}
        for scale, layers in enumerate(self.targets):
            for layer, target in layers.items():
                maps = features.maps[scale][layer]
                down, right = (min(pair) for pair in zip(_half(maps), _reach(target), strict=True))
                correlation, aim = _common(autocorrelation(maps, down, right), target)
                distance = (correlation - aim).square().mean((1, 2, 3))
                if self.scaling == "relative":
                    distance = distance / aim.square().mean().clamp_min(1e-12)
                losses[self.key(layer, scale)] = self.weight_at(scale) * distance.mean()
        return losses


def autocorrelation(features: Tensor, down: int, right: int) -> Tensor:
    """Mean products of channels of features (N, C, H, W) with themselves at distances: (N, C, down + 1, 2 right + 1).

    Entry [y, x] is that `y` rows below and `x - right` columns to the right; the other half mirrors it. Means are
    over the positions that have a partner there; nothing wraps around. float32 or wider.
    """
    height, width = features.shape[2:]
    x = features if features.dtype.itemsize > 4 else features.float()
    # Zeros as wide as the largest distance: nothing is multiplied with what comes around the edge.
    size = height + down, width + right
    power = torch.view_as_real(torch.fft.rfft2(x.contiguous(), s=size)).square().sum(4)
    sums = torch.fft.irfft2(power, s=size)[:, :, : down + 1]
    sums = torch.cat([sums[..., size[1] - right :], sums[..., : right + 1]], 3)
    rows = height - torch.arange(down + 1, device=x.device)
    columns = width - torch.arange(-right, right + 1, device=x.device).abs()
    return sums / (rows[:, None] * columns)


def _half(features: Tensor) -> tuple[int, int]:
    """The distances compared, (down, right), of maps (N, C, H, W)."""
    return features.shape[2] // 2, features.shape[3] // 2


def _reach(correlations: Tensor) -> tuple[int, int]:
    """The largest distances, (down, right), in the result of `autocorrelation`."""
    return correlations.shape[2] - 1, correlations.shape[3] // 2


def _common(*correlations: Tensor) -> list[Tensor]:
    """Of each result of `autocorrelation` the distances that all of them hold."""
    reaches = [_reach(one) for one in correlations]
    down, right = min(r[0] for r in reaches), min(r[1] for r in reaches)
    return [
        one[:, :, : down + 1, reach - right : reach + right + 1]
        for one, (_, reach) in zip(correlations, reaches, strict=True)
    ]
