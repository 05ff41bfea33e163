"""The style (or texture) loss: distance of Gram matrices. Gatys et al., arXiv 1505.07376 and 1508.06576."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from texturenets.losses.base import Features, LossSettings, Scaling, Targets, register
from texturenets.losses.gram import gram
from texturenets.losses.layer_loss import LayerLoss, added


@register
@dataclass(kw_only=True, eq=False)
class StyleLoss(LayerLoss):
    """Squared distance of the images' Gram matrices from those of the style, layer by layer.

    `normalize_gradients`: the gradient of each layer's features is divided by its L1 norm (texture_nets v1); its norm
    is then the weight.
    """

    name = "style"
    compares_style = True
    normalize_gradients: bool
    targets: list[dict[str, Tensor]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.gram_layers = () if self.normalize_gradients else self.layers

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None without layers or weight. Raises UserError for layers that do not exist."""
        normalized = settings["normalize_gradients"]
        return cls.of(settings, "style_weight", "style_layers", normalize_gradients=normalized)

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """The Gram matrices of several style images are averaged, by their shares."""
        self.targets = []
        for share, style in styles:
            matrices = [{k: share * gram(maps[k]) for k in self.layers} for maps in style.maps]
            self.targets = added(self.targets, matrices, torch.add)

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the names are `style/network:layer`."""
        losses = {}
        for scale, style in enumerate(self.targets):
            weight = self.weight_at(scale)
            for layer, target in style.items():
                name = self.key(layer, scale)
                if self.normalize_gradients:
                    normalized = _NormalizedGradient.apply(features.maps[scale][layer], weight)  # type: ignore[no-untyped-call]
                    distance = style_distance(gram(normalized), target, self.scaling).mean()
                    # The weight is already in the gradient: here it is applied only to the value.
                    losses[name] = distance + (weight - 1) * distance.detach()
                else:
                    matrices = features.grams[scale][layer]
                    losses[name] = weight * style_distance(matrices, target, self.scaling).mean()
        return losses


def style_distance(matrices: Tensor, target: Tensor, scaling: Scaling) -> Tensor:
    """Squared distance of Gram matrices (N, C, C) to target (1, C, C), for each image: (N,). Both Gram matrices are
    divided by H W; with "paper" by C H W, hence the division by C.
    """
    difference = matrices - target
    if scaling == "relative":
        return difference.square().mean((1, 2)) / target.square().mean().clamp_min(1e-12)
    return (difference / target.shape[1]).square().mean((1, 2))


class _NormalizedGradient(torch.autograd.Function):
    """Identity whose gradient is divided by its L1 norm over the whole batch (`texture_loss.lua`, branch v1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0].float()
        return (grad * (ctx.weight / (grad.abs().sum() + 1e-8))).to(grads[0].dtype), None
