"""The content loss: distance of features from those of the photo. Johnson et al., arXiv 1603.08155, equation 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from texturenets.losses.base import Features, LossSettings, Scaling, Targets, register
from texturenets.losses.layer_loss import LayerLoss


@register
@dataclass(kw_only=True, eq=False)
class ContentLoss(LayerLoss):
    """Squared distance of the images' features from those of their photos, layer by layer."""

    name = "content"

    def __post_init__(self) -> None:
        self.photo_layers = self.layers

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None for textures, which have no photo, and without layers or weight. Raises UserError for unknown
        layers."""
        return cls.of(settings, "content_weight", "content_layers")

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the names are `content/network:layer`. Empty without photos."""
        losses = {}
        for scale, content in enumerate(targets.content):
            weight = self.weight_at(scale)
            for layer in self.layers:
                distance = content_distance(features.maps[scale][layer], content[layer], self.scaling)
                losses[self.key(layer, scale)] = weight * distance.mean()
        return losses


def content_distance(features: Tensor, target: Tensor, scaling: Scaling) -> Tensor:
    """Squared distance of features (N, C, H, W) to target of the same shape, for each image: (N,).

    "relative": over the target's mean square.
    """
    target = target.to(features.dtype)  # stored features are wider than they were
    distance: Tensor = _MeanSquare.apply(features, target)  # type: ignore[no-untyped-call]
    if scaling == "relative":
        distance = distance / _mean_square(target).clamp_min(1e-12)
    return distance


def _mean_square(x: Tensor) -> Tensor:
    """Mean square of maps (N, C, H, W) for each image: (N,), float32 or wider; bitwise equal in any memory format."""
    rows = x.permute(0, 2, 3, 1).flatten(1)
    wide = torch.promote_types(x.dtype, torch.float32)
    mean: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=wide).square() / rows.shape[1]
    return mean


class _MeanSquare(torch.autograd.Function):
    """Mean squared difference of two feature maps (N, C, H, W), for each image: (N,), float32 or wider. The maps are
    large, so passes over them take the time: here the difference is kept in the maps' precision, and its square is
    never written to memory.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, target: Tensor) -> Tensor:
        difference = features - target
        ctx.save_for_backward(difference)
        return _mean_square(difference)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        factor = (2 / difference[0].numel()) * grads[0]
        return difference * factor.to(difference.dtype)[:, None, None, None], None
