"""The sliced Wasserstein loss: compares the whole distribution of features, where Gram matrices compare only second
moments.

Heitz et al., "A Sliced Wasserstein Loss for Neural Texture Synthesis", arXiv 2006.07229, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets import noise
from texturenets.losses.base import Features, LossSettings, Scaling, Targets, register
from texturenets.losses.layer_loss import LayerLoss

VALIDATION_STEP = 0xFFFFFFFF
"""The step number used in validation, where the directions must always be the same; larger than in any training."""


@register
@dataclass(kw_only=True, eq=False)
class SlicedWassersteinLoss(LayerLoss):
    """`sliced_wasserstein` of the images' features and those of the style, layer by layer.

    As many directions as the layer has channels, as in the paper's program, drawn in each step of a training from
    `seed` and the number of the step. Validation and iterative optimization always use the same directions:
    validation compares models, and L-BFGS needs the same loss at all points of a line search.
    """

    name = "sliced"
    compares_style = True
    seed: int
    styles: list[tuple[float, list[dict[str, Tensor]]]] = field(init=False, default_factory=list)

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None if its weight is 0. Raises UserError for layers that do not exist."""
        return cls.of(settings, "sliced_weight", "structure_layers", seed=settings["seed"])

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """Keeps the features of the styles: directions are not known yet."""
        self.styles = [
            (share, [{k: maps[k] for k in self.layers} for maps in style.maps]) for share, style in styles
        ]

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the names are `sliced/network:layer`."""
        losses = {}
        for scale, maps in enumerate(features.maps):
            for number, layer in enumerate(self.layers):
                channels = maps[layer].shape[1]
                stream = scale * len(self.layers) + number
                axes = directions(self.seed, targets.step, stream, channels, channels).to(maps[layer].device)
                style = [(share, each[scale][layer]) for share, each in self.styles]
                distance = sliced_wasserstein(maps[layer], style, axes, self.scaling).mean()
                losses[self.key(layer, scale)] = self.weight_at(scale) * distance
        return losses


def sliced_wasserstein(
    features: Tensor, styles: list[tuple[float, Tensor]], axes: Tensor, scaling: Scaling
) -> Tensor:
    """Squared sliced Wasserstein distance of features (N, C, H, W) to those of a style, for each image: (N,).

    Features are projected on `axes` (K, C), unit vectors; the mean squared difference of their sorted projections and
    the sorted ones of the style (equations 4 to 6 of the paper). `styles`: pairs of a share, which add up to 1, and
    features (1, C, h, w); of several the sorted projections are averaged, which is their Wasserstein barycenter on
    each axis. Where the sizes differ, the style's are interpolated. "relative": over the mean square of the style's
    features, which is the distance of features of zero, in the mean over all directions.
    """
    made, aim = sorted_projections(features, styles, axes)
    distance = (made - aim).square().mean((1, 2))
    if scaling == "relative":
        power = sum(share * _wide(style).square().mean() for share, style in styles)
        distance = distance / torch.as_tensor(power).clamp_min(1e-12)
    return distance


def sorted_projections(
    features: Tensor, styles: list[tuple[float, Tensor]], axes: Tensor
) -> tuple[Tensor, Tensor]:
    """The sorted projections of features (N, C, H, W) on `axes` (K, C), and those of the styles, as many: (N, K, H W)
    and (1, K, H W). Arguments as for `sliced_wasserstein`."""
    projected = _projected(features, axes)
    count = projected.shape[2]
    with torch.no_grad():
        aim = torch.stack(
            [share * _resampled(_projected(style, axes).sort(2).values, count) for share, style in styles]
        ).sum(0)
    return projected.sort(2).values, aim


def directions(seed: int, step: Tensor | None, stream: int, count: int, dimensions: int) -> Tensor:
    """Random unit vectors (count, dimensions), float32, on the device of `step`.

    They depend only on the arguments, so that a resumed training continues as if it had not been interrupted.
    `step` is a tensor, (), int64, because a CUDA graph replays kernels, not Python values; None for
    `VALIDATION_STEP`.
    """
    step = torch.tensor(VALIDATION_STEP) if step is None else step
    step = step if step.device.type == "cuda" else step.cpu()  # Apple's GPUs have no float64
    drawn = noise.normal_vectors(seed, step, stream, count, dimensions)
    return F.normalize(drawn, dim=1)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype.itemsize > 4 else x.float()


def _projected(features: Tensor, axes: Tensor) -> Tensor:
    """Features (N, C, H, W) on axes (K, C): (N, K, H W), float32 or wider: bf16 has few values to tell ranks by."""
    rows = _wide(features).flatten(2)
    return axes.to(rows.dtype) @ rows


def _resampled(quantiles: Tensor, count: int) -> Tensor:
    """Sorted values (1, K, M) interpolated to (1, K, count)."""
    if quantiles.shape[2] == count:
        return quantiles
    return F.interpolate(quantiles, count, mode="linear", align_corners=False)
