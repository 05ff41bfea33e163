"""The sum of losses that training and iterative optimization minimize."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.errors import UserError, counted
from texturenets.losses.base import LOSSES, Features, Loss, LossSettings, Maps, Targets
from texturenets.losses.gram import with_gram
from texturenets.perceptual import Descriptors, Tap


def build(settings: LossSettings, names: Collection[str] | None = None) -> list[Loss]:
    """The losses whose weights in a configuration are not 0; with `names` only these.

    Raises UserError for layers that do not exist.
    """
    losses = [loss.from_settings(settings) for loss in LOSSES if names is None or loss.name in names]
    return [loss for loss in losses if loss is not None]


def layers_of(losses: Sequence[Loss]) -> tuple[str, ...]:
    """All "network:layer" that the losses use, each once."""
    return tuple(dict.fromkeys(layer for loss in losses for layer in (*loss.layers, *loss.photo_layers)))


class Objective(nn.Module):
    """Descriptor networks and losses against one style: images to {name: weighted loss}."""

    def __init__(
        self,
        descriptors: Descriptors,
        losses: Sequence[Loss],
        styles: Sequence[Tensor],
        *,
        scales: int = 1,
        shares: Sequence[float] | None = None,
    ) -> None:
        """`styles`: images (1, 3, H, W), RGB in [0, 1]; `shares` of each in the style add up to 1 [equal].
        `scales`: number of scales of the loss pyramid, each half as large as the previous one.

        Raises UserError if a style is too small for the layers, and if there is nothing to learn.
        """
        super().__init__()
        if not styles:
            raise UserError("no style image was given")
        if not losses:
            raise UserError("the weights of all losses are 0: there is nothing to learn")
        self.descriptors, self.losses, self.scales = descriptors, list(losses), scales
        self.photo_layers = tuple(dict.fromkeys(layer for loss in losses for layer in loss.photo_layers))
        parts = [1 / len(styles)] * len(styles) if shares is None else shares
        with torch.no_grad():
            for loss in losses:
                loss.prepare(self._styles(loss, styles, parts))

    @classmethod
    def from_settings(
        cls,
        descriptors: Descriptors,
        settings: LossSettings,
        styles: Sequence[Tensor],
        *,
        names: Collection[str] | None = None,
        shares: Sequence[float] | None = None,
    ) -> Self:
        """With the losses and scales of a configuration; `names` as in `build`."""
        losses = build(settings, names)
        return cls(descriptors, losses, styles, scales=settings["pyramid_loss"], shares=shares)

    def _styles(
        self, loss: Loss, styles: Sequence[Tensor], shares: Sequence[float]
    ) -> Iterator[tuple[float, Features]]:
        # One after the other, and a loss at a time: the features of a large style take much memory.
        for share, style in zip(shares, styles, strict=True):
            yield share, Features(style, self._maps(style, loss.layers))

    def _maps(self, images: Tensor, layers: Sequence[str]) -> list[Maps]:
        check_scales(images, self.scales)
        return [self._at_scale(images, scale, layers) for scale in range(self.scales)]

    def _at_scale(self, images: Tensor, scale: int, layers: Sequence[str], tap: Tap | None = None) -> Maps:
        """The feature maps of the images, halved `scale` times. Raises UserError if they are then too small."""
        try:
            maps: Maps = self.descriptors(shrink(images, 2**scale), layers, tap)
        except UserError as error:
            if not scale:
                raise
            height, width = images.shape[2:]
            raise UserError(
                f"{error}: it is one of {width} x {height} pixels, halved {counted(scale, 'time')}, as "
                f"`pyramid_loss` {self.scales} asks for"
            ) from None
        return maps

    def features(self, images: Tensor, losses: Sequence[Loss]) -> Features:
        """All features that `losses` use, of images (N, 3, H, W), in one pass through the networks for each scale."""
        layers = tuple(dict.fromkeys(layer for loss in losses for layer in loss.layers))
        gram_layers = {layer for loss in losses for layer in loss.gram_layers}
        maps: list[Maps] = []
        grams: list[Maps] = []
        check_scales(images, self.scales)
        for scale in range(self.scales):
            matrices: dict[str, Tensor] = {}
            maps.append(self._at_scale(images, scale, layers, _gram_tap(gram_layers, matrices)))
            grams.append(matrices)
        return Features(images, maps, grams)

    @torch.no_grad()
    def targets(self, photos: Tensor) -> Targets:
        """Photos (N, 3, H, W), RGB in [0, 1], with their features in the losses' `photo_layers`."""
        return Targets(photos, self._maps(photos, self.photo_layers) if self.photo_layers else ())

    def forward(
        self, images: Tensor, targets: Targets | None = None, *, without: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Images (N, 3, H, W), RGB in [0, 1], to {name: weighted loss, a scalar}; `without`: losses to leave out."""
        losses = [loss for loss in self.losses if loss.name not in without]
        features, given = self.features(images, losses), targets or Targets()
        values: dict[str, Tensor] = {}
        for loss in losses:
            values.update(loss(features, given))
        return values


def _gram_tap(layers: Collection[str], matrices: dict[str, Tensor]) -> Tap:
    """Collects Gram matrices during the pass through the descriptor network, so that they share its backward pass."""

    def tap(layer: str, features: Tensor) -> Tensor:
        if layer in layers:
            features, matrices[layer] = with_gram(features)
        return features

    return tap


def shrink(x: Tensor, factor: int) -> Tensor:
    """x (N, C, H, W) averaged over squares of `factor` pixels (the pyramid of `train.lua`, branch master)."""
    return x if factor == 1 else F.avg_pool2d(x, factor)


def check_scales(images: Tensor, scales: int) -> None:
    """Raise UserError if images (N, C, H, W) cannot be halved for that many scales of the loss pyramid."""
    height, width = images.shape[2:]
    if (most := min(height, width).bit_length()) < scales:
        raise UserError(
            f"`pyramid_loss` {scales}: an image of {width} x {height} pixels cannot be halved {scales - 1} times; "
            f"{most} is the most here"
        )
