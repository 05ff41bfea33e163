"""The checkerboard penalty, on grids with periods of 2 and 4 pixels, which strided and transposed convolutions
cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from texturenets.losses.base import Features, Loss, LossSettings, Targets, register


@register
@dataclass(kw_only=True, eq=False)
class CheckerboardPenalty(Loss):
    """`checkerboard` of the images, added up over all grids.

    Its weight is 0 in the first half of the training, then rises (`share`). Values below 0 count as 0: they belong to
    a grid of the opposite sign in each next window of 16 pixels, which is not an aim either.
    """

    name = "checkerboard"
    weight: float

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """None if its weight is 0."""
        weight = settings["checkerboard_weight"]
        return cls(weight=weight) if weight else None

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`; the name is `checkerboard`."""
        part = share(targets.progress)
        if isinstance(part, float) and not part:  # not known for a tensor without waiting for the GPU
            return {"checkerboard": features.images.new_zeros(())}
        strength = checkerboard(features.images).clamp_min(0).sum(1).mean()
        return {"checkerboard": self.weight * strength * part}


def share(progress: float | Tensor) -> float | Tensor:
    """The share of the weight that is applied after `progress` of the training: 0 in the first half, then rising to
    1.

    While the image still changes with every step the penalty's gradient is noise to the other losses. 200 steps of
    the wave with its full weight throughout: validation losses 0.588 (VGG-16), 0.677 (SqueezeNet), 1.465 (content);
    without it 0.475, 0.562, 1.405. After 3000 steps the wave's grids were not above those of the photos; after 1000
    from another style, udnie's were by 4.8 dB on one photo of four.
    """
    if isinstance(progress, Tensor):
        return (2 * progress - 1).clamp(0, 1)
    return min(1.0, max(0.0, 2 * progress - 1))


WINDOW = 16  # pixels: tells apart frequencies a sixteenth of a cycle a pixel apart; little else is taken for a grid
# (rows, columns) in quarters of a cycle a pixel: all grids of 2 and of 4 pixels, each once
GRIDS = ((0, 1), (0, 2), (1, 0), (2, 0), (1, 1), (1, 3), (1, 2), (2, 1), (2, 2))
AREA = 4  # windows: a grid is often found in parts of an image, out of phase with that in others
# Sum of |c|^2 over an area whose grid has an amplitude of an eighth of a step of 8 bits, which no file shows
INVISIBLE = AREA**2 * (WINDOW**2 / 4 / 8 / 255) ** 2


def checkerboard(x: Tensor) -> Tensor:
    """The strength of grids with periods of 2 and 4 pixels in the images x (N, C, H, W): (N, grids), 0 for none.

    Strided and transposed convolutions leave grids that are in phase over large parts of the image; detail of
    the same frequency is not. So for each window of 16 pixels the complex amplitude c at the frequency of the grid
    is computed, and (|sum c|^2 - sum |c|^2) / sum |c|^2, over the 16 windows of an area of 64 pixels, is averaged
    over areas and channels. Without a grid that is zero in the mean, so that it does not act on detail; a grid alone
    gives 15. The divisor carries no gradient: more detail is no way out. It is the detail at that frequency in that
    area: at two pixels a period there is next to none in an image, and in a calm area the eye sees the
    weakest grid. Images below 64 pixels have zeros.
    """
    n, c, h, w = x.shape
    rows, columns = h // WINDOW, w // WINDOW
    if min(rows, columns) < AREA:
        return x.new_zeros(n, len(GRIDS))
    rows, columns = rows // AREA, columns // AREA  # of areas
    part = x[:, :, : rows * AREA * WINDOW, : columns * AREA * WINDOW].float()
    # A product of matrices, each window a row: a convolution with such a step takes three times as long.
    windows = part.reshape(n, c, rows * AREA, WINDOW, columns * AREA, WINDOW).transpose(3, 4).flatten(4)
    amplitudes = (windows @ _waves(x.device)).view(n, c, rows, AREA, columns, AREA, len(GRIDS), 2)
    single = amplitudes.square().sum((3, 5, 7))
    together = amplitudes.sum((3, 5)).square().sum(5)
    return ((together - single) / (single.detach() + INVISIBLE)).mean((1, 2, 3))


def _waves(device: torch.device) -> Tensor:
    """Cosines and sines of `GRIDS` under a Hann window, as columns: (window * window, 2 * grids), float32."""
    place = torch.arange(WINDOW, device=device, dtype=torch.float32)
    hann = torch.sin(torch.pi * (place + 0.5) / WINDOW).square()  # attenuates neighbouring frequencies
    hann = hann[:, None] * hann
    phases = torch.stack([(u * place[:, None] + v * place) * (torch.pi / 2) for u, v in GRIDS])
    waves = torch.stack([phases.cos(), phases.sin()], 1) * hann
    # Orthogonal to the window itself, so that the brightness of a flat area is not taken for a grid.
    waves = waves - hann * (waves.sum((2, 3), keepdim=True) / hann.sum())
    return waves.flatten(2).flatten(0, 1).T
