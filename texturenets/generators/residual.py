"""Our default network: residual blocks at a quarter of the resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.layers import ConvBlock, PaddedConv, ResidualBlock, channels_last, upsample
from texturenets.specs import Residual


class ResidualGenerator(nn.Module):
    """Space-to-depth, `blocks` residual blocks of `channels` channels, two bilinear doublings.

    The decoder narrows to a half and a quarter of the channels. The output is bounded by a tanh, so that
    what is trained is what will be saved.
    """

    stride = 4  # height and width must be multiples of this

    def __init__(self, spec: Residual) -> None:
        super().__init__()
        c, norm, padding = spec.channels, spec.normalization, spec.padding
        self.entry = ConvBlock(3 * 16, c, norm=norm, padding=padding)
        self.blocks = nn.Sequential(
            *(ResidualBlock(c, norm=norm, padding=padding) for _ in range(spec.blocks))
        )
        self.up1 = ConvBlock(c, c // 2, norm=norm, padding=padding)
        self.up2 = ConvBlock(c // 2, c // 4, norm=norm, padding=padding)
        self.exit = PaddedConv(c // 4, 3, 3, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of 4, to a picture of the same kind."""
        x = channels_last(F.pixel_unshuffle(x - 0.5, 4))
        x = self.blocks(self.entry(x))
        x = self.up2(upsample(self.up1(upsample(x))))
        return 0.5 + 0.5 * torch.tanh(self.exit(x))
