"""Base of losses that compare images layer by layer, on a pyramid of scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from texturenets.losses.base import Loss, LossSettings, Scaling, at_scale
from texturenets.perceptual import full_names

T = TypeVar("T")


@dataclass(kw_only=True, eq=False)
class LayerLoss(Loss):
    """A distance at each of `layers`, "network:layer", of each scale of the loss pyramid.

    `weight`: of the whole loss; `decay`: ratio of each scale's weight to that of the previous scale. `scaling`: see
    `Scaling`.
    """

    layers: tuple[str, ...]
    weight: float
    scaling: Scaling
    decay: float

    @classmethod
    def of(cls, settings: LossSettings, weight: str, layers: str, **more: Any) -> Self | None:
        """The loss by the settings called `weight` and `layers`, with `more` fields; None if one is missing or 0.

        Raises UserError for layers that do not exist.
        """
        if not settings.get(weight) or not settings.get(layers):
            return None
        return cls(
            layers=full_names(settings[layers]),
            weight=settings[weight],
            scaling=settings["loss_scaling"],
            decay=settings["pyramid_decay"],
            **more,
        )

    def weight_at(self, scale: int) -> float:
        """The weight of a scale of the loss pyramid, 0 being full size."""
        return self.weight * self.decay**scale

    def key(self, layer: str, scale: int) -> str:
        """The name of the loss at a layer and a scale."""
        return at_scale(f"{self.name}/{layer}", scale)


def added(
    totals: list[dict[str, T]], more: list[dict[str, T]], add: Callable[[T, T], T]
) -> list[dict[str, T]]:
    """Targets by layer, a mapping for each scale, of one style image more; `totals` is empty before the first."""
    if not totals:
        return more
    return [{k: add(a[k], b[k]) for k in b} for a, b in zip(totals, more, strict=True)]
