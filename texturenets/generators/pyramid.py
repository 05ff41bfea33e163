"""The multi-scale networks of Texture Networks (arXiv 1603.03417, section 3.2), for photos and for noise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.generators.noise_fed import NoiseFed, beside
from texturenets.layers import ConvBlock, OutputScale, PaddedConv, double, normalization, slope, torch7_init
from texturenets.noise import NoiseInput
from texturenets.specs import Pyramid, Pyramid2


def _block(inputs: int, outputs: int, spec: Pyramid | Pyramid2, first: int = 3) -> nn.Sequential:
    """The paper's block: 3 x 3 (or larger), 3 x 3 and 1 x 1 convolutions, each normalized, each with a ReLU."""
    widths = zip((inputs, outputs, outputs), (first, 3, 1), strict=True)
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
    """Twice the size of what is coarse, beside what is fine, both normalized; then a block."""

    def __init__(
        self, coarse: int, fine: int, outputs: int, spec: Pyramid | Pyramid2, first: int = 3
    ) -> None:
        super().__init__()
        self.upsampling, self.padding = spec.upsampling, spec.padding
        self.coarse_norm = normalization(spec.normalization, coarse)
        self.fine_norm = normalization(spec.normalization, fine)
        self.block = _block(coarse + fine, outputs, spec, first)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(N, coarse, H, W) and (N, fine, 2 H, 2 W) to (N, outputs, 2 H, 2 W)."""
        coarse = self.coarse_norm(double(coarse, self.upsampling, self.padding))
        y: Tensor = self.block(torch.cat([coarse, self.fine_norm(fine)], 1))
        return y


class _Multi(NoiseFed):
    """Photo and noise at several resolutions, each half the one before; a block on each, joined coarsest first."""

    def __init__(self, spec: Pyramid | Pyramid2, widths: Sequence[int], kernel: int) -> None:
        """`widths`: channels of the block of each scale, the coarsest first."""
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        self.photo = spec.photo
        strides = [self.stride >> level for level in range(len(widths))]
        self.noise = tuple(
            NoiseInput(spec.noise_depth, stride, spec.noise) for stride in strides if spec.noise_depth
        )
        depth = 3 * spec.photo + spec.noise_depth
        # Coarsest first, in both lists.
        self.blocks = nn.ModuleList(_block(depth, width, spec, kernel) for width in widths)

    def inputs(self, x: Tensor | None, noises: Sequence[Tensor] | None) -> list[Tensor]:
        """What the block of each scale is fed with."""
        maps = self.take(x, noises)
        made = []
        for level in range(len(self.blocks)):
            small = None if x is None or not self.photo else F.avg_pool2d(x, self.stride >> level)
            made.append(beside(small, maps[level] if self.noise else None))
        return made


class PyramidGenerator(_Multi):
    """Each scale adds `channels` channels; a 1 x 1 convolution makes the picture."""

    def __init__(self, spec: Pyramid) -> None:
        c, scales = spec.channels, spec.scales
        super().__init__(spec, [c] * scales, 3)
        self.joins = nn.ModuleList(Join(c * n, c, c * n + c, spec) for n in range(1, scales))
        self.exit = PaddedConv(c * scales, 3, 1, padding=spec.padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to a picture of the same kind.

        `noises`: one map (N, `noise_depth`, H / s, W / s) a scale, coarsest first, where it takes noise; as
        `noise_shapes(H, W)` says. Without them those of seed 0 are used.
        """
        fed = self.inputs(x, noises)
        current = self.blocks[0](fed[0])
        for level, join in enumerate(self.joins, 1):
            current = join(current, self.blocks[level](fed[level]))
        y: Tensor = self.output(self.exit(current))
        return y


class Pyramid2Generator(_Multi):
    """As the pyramid, with as many channels at each scale as the spec says, and 5 x 5 first convolutions."""

    def __init__(self, spec: Pyramid2) -> None:
        widths = spec.channels
        super().__init__(spec, widths, 5)
        self.joins = nn.ModuleList(
            Join(coarse, fine, fine, spec, 5) for coarse, fine in itertools.pairwise(widths)
        )
        self.exit = PaddedConv(widths[-1], 3, 1, padding=spec.padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """As `PyramidGenerator.forward`."""
        fed = self.inputs(x, noises)
        current = self.blocks[0](fed[0])
        for level, join in enumerate(self.joins, 1):
            current = join(current, self.blocks[level](fed[level]))
        y: Tensor = self.output(self.exit(current))
        return y
