"""The multi-scale network of Texture Networks (arXiv 1603.03417, section 3.2), for stylization."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.layers import ConvBlock, OutputScale, PaddedConv, normalization, torch7_init, upsample
from texturenets.specs import Normalization, Padding, Pyramid


def _block(inputs: int, outputs: int, norm: Normalization, padding: Padding) -> nn.Sequential:
    """The paper's block: 3 x 3, 3 x 3 and 1 x 1 convolutions, each normalized, each with a ReLU."""
    return nn.Sequential(
        ConvBlock(inputs, outputs, 3, norm=norm, padding=padding),
        ConvBlock(outputs, outputs, 3, norm=norm, padding=padding),
        ConvBlock(outputs, outputs, 1, norm=norm, padding=padding),
    )


class Join(nn.Module):
    """Twice the size of what is coarse, beside what is fine, both normalized; then a block."""

    def __init__(self, coarse: int, fine: int, spec: Pyramid) -> None:
        super().__init__()
        self.upsampling = spec.upsampling
        self.coarse_norm = normalization(spec.normalization, coarse)
        self.fine_norm = normalization(spec.normalization, fine)
        self.block = _block(coarse + fine, coarse + fine, spec.normalization, spec.padding)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(N, coarse, H, W) and (N, fine, 2 H, 2 W) to (N, coarse + fine, 2 H, 2 W)."""
        if self.upsampling == "bilinear":
            coarse = upsample(coarse)
        else:
            coarse = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        y: Tensor = self.block(torch.cat([self.coarse_norm(coarse), self.fine_norm(fine)], 1))
        return y


class PyramidGenerator(nn.Module):
    """The photo at `scales` resolutions, each half the one before; a block on each, joined coarsest first.

    Each scale adds `channels` channels; a 1 x 1 convolution makes the picture.
    """

    def __init__(self, spec: Pyramid) -> None:
        super().__init__()
        c, scales = spec.channels, spec.scales
        self.stride = 2 ** (scales - 1)
        # Coarsest first, in both lists.
        self.blocks = nn.ModuleList(_block(3, c, spec.normalization, spec.padding) for _ in range(scales))
        self.joins = nn.ModuleList(Join(c * n, c, spec) for n in range(1, scales))
        self.exit = PaddedConv(c * scales, 3, 1, padding=spec.padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to a picture of the same kind."""
        current = self.blocks[0](F.avg_pool2d(x, self.stride))
        for level, join in enumerate(self.joins, 1):
            current = join(current, self.blocks[level](F.avg_pool2d(x, self.stride >> level)))
        y: Tensor = self.output(self.exit(current))
        return y
