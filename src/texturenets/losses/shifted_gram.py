"""The shifted Gram loss: products of features with features a few positions away, for brick courses, rows and weaves.

Berger and Memisevic, "Incorporating long-range consistency in CNN-based texture generation", arXiv 1606.01286: the
Gram matrices of translated feature maps, along x and along y. A plain Gram matrix says which features occur at the
same position, but nothing about neighbouring positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from texturenets.errors import UserError
from texturenets.losses.base import Features, LossSettings, Targets, register
from texturenets.losses.gram import mean_products
from texturenets.losses.layer_loss import LayerLoss, added
from texturenets.losses.style import style_distance

Shift = tuple[int, int]
"""(axis of the maps, positions): 2 is down, 3 to the right."""


@register
@dataclass(kw_only=True, eq=False)
class ShiftedGramLoss(LayerLoss):
    """Squared distance of the images' shifted Gram matrices from those of the style, layer by layer.

    Shifts are 1, 2, 4, ... positions of a layer's map, up to `reach`, along both axes; a layer's value is their mean.
    Those that are not smaller than a map are left out.
    """

    name = "shifted"
    compares_style = True
    reach: int
    targets: list[dict[str, dict[Shift, Tensor]]] = field(init=False, default_factory=list)

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None if its weight is 0. Raises UserError for layers that do not exist."""
        return cls.of(settings, "shifted_weight", "structure_layers", reach=settings["max_shift"])

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """The matrices of several style images are averaged, by their shares; shifts that one lacks are left out."""
        self.targets = []
        for share, style in styles:
            matrices = [{k: self._matrices(maps[k], share) for k in self.layers} for maps in style.maps]
            self.targets = added(self.targets, matrices, lambda m, n: {s: m[s] + n[s] for s in m if s in n})

    def _matrices(self, features: Tensor, share: float) -> dict[Shift, Tensor]:
        return {shift: share * shifted_gram(features, *shift) for shift in shifts(features, self.reach)}

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the names are `shifted/network:layer`. Raises UserError if a map is too small to be
        shifted."""
        losses = {}
        for scale, layers in enumerate(self.targets):
            for layer, matrices in layers.items():
                maps = features.maps[scale][layer]
                distances = [
                    style_distance(shifted_gram(maps, *shift), matrices[shift], self.scaling).mean()
                    for shift in shifts(maps, self.reach)
                    if shift in matrices
                ]
                if not distances:
                    raise UserError(
                        f"`structure_layers` {layer}: a map of {maps.shape[3]} x {maps.shape[2]} is too small to "
                        "be shifted; use larger images or an earlier layer"
                    )
                losses[self.key(layer, scale)] = self.weight_at(scale) * torch.stack(distances).mean()
        return losses


def shifts(features: Tensor, reach: int) -> list[Shift]:
    """The shifts of maps (N, C, H, W): powers of two up to `reach` that are smaller than the map, on both axes."""
    return [
        (axis, 2**power)
        for axis in (2, 3)
        for power in range(reach.bit_length())
        if 2**power < features.shape[axis]
    ]


def shifted_gram(features: Tensor, axis: int, shift: int) -> Tensor:
    """Mean products of features (N, C, H, W), shifted by `shift` positions along `axis`, with the unshifted features:
    (N, C, C).

    Entry [i, j] is the mean of channel i at a position that is shifted and channel j at the position itself, over all
    positions that have both; float32 or wider. With shift 0 it is `gram`.
    """
    size = features.shape[axis] - shift
    there, here = features.narrow(axis, shift, size), features.narrow(axis, 0, size)
    there, here = (x.permute(0, 2, 3, 1).flatten(1, 2) for x in (there, here))
    return mean_products(there, here)
