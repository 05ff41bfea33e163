"""Our default network: residual blocks at a quarter of the resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.generators.noise_fed import NoiseFed, beside
from texturenets.layers import ConvBlock, PaddedConv, ResidualBlock, channels_last, upsample
from texturenets.noise import NoiseInput
from texturenets.specs import Residual


class ResidualGenerator(NoiseFed):
    """Space-to-depth, `blocks` residual blocks of `channels` channels, two bilinear doublings.

    The decoder narrows to a half and a quarter of the channels. The output is bounded by a tanh, so that
    what is trained is what will be saved.
    """

    stride = 4  # height and width must be multiples of this

    def __init__(self, spec: Residual) -> None:
        super().__init__()
        c, norm, padding = spec.channels, spec.normalization, spec.padding
        self.padding = padding
        self.noise = (NoiseInput(spec.noise_depth, 4, spec.noise),) if spec.noise_depth else ()
        self.entry = ConvBlock(3 * 16 + spec.noise_depth, c, norm=norm, padding=padding)
        self.blocks = nn.Sequential(
            *(ResidualBlock(c, norm=norm, padding=padding) for _ in range(spec.blocks))
        )
        self.up1 = ConvBlock(c, c // 2, norm=norm, padding=padding)
        self.up2 = ConvBlock(c // 2, c // 4, norm=norm, padding=padding)
        self.exit = PaddedConv(c // 4, 3, 3, padding=padding)

    def forward(self, x: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of 4, to a picture of the same kind.

        `noises`: one map (N, `noise_depth`, H / 4, W / 4) where it takes noise; without it that of seed 0.
        """
        maps = self.take(x, noises)
        x = channels_last(beside(F.pixel_unshuffle(x - 0.5, 4), maps[0] if maps else None))
        x = self.blocks(self.entry(x))
        x = self.up2(upsample(self.up1(upsample(x, self.padding)), self.padding))
        return 0.5 + 0.5 * torch.tanh(self.exit(x))
