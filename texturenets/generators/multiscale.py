"""Our default network for textures: noise at every scale, joined coarse to fine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from texturenets.generators.noise_fed import NoiseFed
from texturenets.layers import ConvBlock, OutputScale, PaddedConv, normalization, slope, torch7_init, upsample
from texturenets.noise import NoiseInput
from texturenets.specs import Multiscale


def _block(inputs: int, outputs: int, spec: Multiscale) -> nn.Sequential:
    """3 x 3, 3 x 3 and 1 x 1 convolutions, each normalized (arXiv 1603.03417, section 3.2)."""
    widths = zip((inputs, outputs, outputs), (3, 3, 1), strict=True)
    return nn.Sequential(
        *(
            ConvBlock(
                width,
                outputs,
                kernel,
                norm=spec.normalization,
                padding=spec.padding,
                slope=slope(spec.activation),
            )
            for width, kernel in widths
        )
    )


class Join(nn.Module):
    """Twice the size of what is coarse, beside the noise of the finer scale, both normalized; then a block."""

    def __init__(self, coarse: int, outputs: int, spec: Multiscale) -> None:
        super().__init__()
        self.padding = spec.padding
        self.noise = _block(spec.noise_depth, spec.noise_channels, spec)
        self.coarse_norm = normalization(spec.normalization, coarse)
        self.noise_norm = normalization(spec.normalization, spec.noise_channels)
        self.block = _block(coarse + spec.noise_channels, outputs, spec)

    def forward(self, coarse: Tensor, fresh: Tensor) -> Tensor:
        """(N, coarse, H, W) and noise (N, `noise_depth`, 2 H, 2 W) to (N, outputs, 2 H, 2 W)."""
        doubled = self.coarse_norm(upsample(coarse, self.padding))
        y: Tensor = self.block(torch.cat([doubled, self.noise_norm(self.noise(fresh))], 1))
        return y


class MultiscaleGenerator(NoiseFed):
    """A block on the noise of the coarsest scale, then a join for each finer one, then the picture."""

    photo = False

    def __init__(self, spec: Multiscale) -> None:
        super().__init__()
        widths, depth = spec.channels, spec.noise_depth
        self.stride = 2 ** (len(widths) - 1)
        self.noise = tuple(NoiseInput(depth, self.stride >> i, spec.noise) for i in range(len(widths)))
        self.first = _block(depth, widths[0], spec)
        self.joins = nn.ModuleList(Join(coarse, fine, spec) for coarse, fine in itertools.pairwise(widths))
        self.exit = PaddedConv(widths[-1], 3, 1, padding=spec.padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Maps of noise (N, `noise_depth`, H / s, W / s), one a scale, coarsest first, to pictures (N, 3, H, W).

        Shapes as `noise_shapes(H, W)` says, H and W multiples of `stride`; RGB in [0, 1] where bounded. `x`, a
        picture of that size, is not looked at; without `noises` it says the size for those of seed 0.
        """
        coarsest, *finer = self.take(x, noises)
        current = self.first(coarsest)
        for join, fresh in zip(self.joins, finer, strict=True):
            current = join(current, fresh)
        y: Tensor = self.output(self.exit(current))
        return y
