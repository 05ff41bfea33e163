"""The style (or texture) loss: distance of Gram matrices. Gatys et al., arXiv 1505.07376 and 1508.06576."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from texturenets.losses.base import Features, Loss, LossSettings, Scaling, Targets, at_scale, register
from texturenets.losses.gram import gram
from texturenets.perceptual import full_names


@register
@dataclass(kw_only=True, eq=False)
class StyleLoss(Loss):
    """Squared distance of the images' Gram matrices from those of the style, layer by layer.

    `decay`: weight of each scale of the loss pyramid over that of the one before. `normalize_gradients`: the gradient
    of each layer's features is divided by its L1 norm (texture_nets v1), and the weight is the norm that it then has.
    """

    name = "style"
    compares_style = True
    layers: tuple[str, ...]
    weight: float
    scaling: Scaling
    decay: float
    normalize_gradients: bool
    targets: list[dict[str, Tensor]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.gram_layers = () if self.normalize_gradients else self.layers

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None without layers or weight. Raises UserError for layers that do not exist."""
        layers = full_names(settings["style_layers"])
        if not layers or not settings["style_weight"]:
            return None
        return cls(
            layers=layers,
            weight=settings["style_weight"],
            scaling=settings["loss_scaling"],
            decay=settings["pyramid_decay"],
            normalize_gradients=settings["normalize_gradients"],
        )

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """The Gram matrices of several style images are averaged, by their shares."""
        self.targets = []
        for share, style in styles:
            matrices = [{k: share * gram(maps[k]) for k in self.layers} for maps in style.maps]
            self.targets = (
                [
                    {k: before[k] + matrix for k, matrix in more.items()}
                    for before, more in zip(self.targets, matrices, strict=True)
                ]
                if self.targets
                else matrices
            )

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """`style/network:layer`."""
        losses = {}
        for scale, style in enumerate(self.targets):
            weight = self.weight * self.decay**scale
            for layer, target in style.items():
                name = at_scale(f"style/{layer}", scale)
                if self.normalize_gradients:
                    normalized = _NormalizedGradient.apply(features.maps[scale][layer], weight)  # type: ignore[no-untyped-call]
                    distance = style_distance(gram(normalized), target, self.scaling).mean()
                    # The weight came in with the gradient: here it belongs only to the value.
                    losses[name] = distance + (weight - 1) * distance.detach()
                else:
                    matrices = features.grams[scale][layer]
                    losses[name] = weight * style_distance(matrices, target, self.scaling).mean()
        return losses


def style_distance(matrices: Tensor, target: Tensor, scaling: Scaling) -> Tensor:
    """Squared distance of Gram matrices (N, C, C) to target (1, C, C), an image each: (N,).

    Both Gram matrices are divided by H W; "paper" wants them over C H W, hence the division by C.
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
