"""The default network for styles: residual blocks at a quarter of the resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.engines.primitives import channels_last
from texturenets.networks.layers import ConvBlock, PaddedConv, ResidualBlock, upsample_bilinear
from texturenets.networks.noise_input import NoiseFed, concat_channels
from texturenets.networks.registry import register
from texturenets.networks.spec import Distribution, GeneratorSpec, integer
from texturenets.noise import NoiseInput


@dataclass(frozen=True, kw_only=True)
class Residual(GeneratorSpec):
    """The default: a small residual network at a quarter of the image's resolution.

    The photo goes in by space-to-depth, which keeps every pixel, and comes out through bilinear
    upsampling and 3 x 3 convolutions: both phases of a bilinear upsampling by 2 have the same weights, so no
    checkerboard is built in. At 512 x 512 it takes 9.0 G multiply-adds; johnson takes 40.3 in the paper's version
    (arXiv 1603.08155) and 31.3 in that of the reference program.
    """

    name: ClassVar[str] = "residual"

    channels: int = integer(64, 4, 1024)
    blocks: int = integer(5, 0, 100)
    dilation: int = integer(1, 1, 64)
    """Largest dilation of the blocks' first convolutions. It doubles from block to block and halves again towards
    the last: 1, 2, 4, 2, 1 for 5 blocks and 4. It enlarges the receptive field at the same cost."""
    noise_depth: int = integer(0, 0, 64)
    """Channels of the noise input, at a quarter of the photo's resolution."""
    noise: Distribution = "normal"


def _dilations(spec: Residual) -> list[int]:
    """The dilation of each block."""
    from_ends = (min(i, spec.blocks - 1 - i) for i in range(spec.blocks))
    return [min(2**i, spec.dilation) for i in from_ends]


@register(Residual)
class ResidualGenerator(NoiseFed):
    """Space-to-depth, `blocks` residual blocks of `channels` channels, two bilinear upsamplings by 2.

    The decoder narrows to a half and a quarter of the channels. The output is bounded by a tanh, so that training
    sees the image that will be saved.
    """

    stride = 4  # height and width must be multiples of this
    # Every layer pads its own input by reflection, so pixels at the border would be smoother than the rest. The
    # photo is therefore padded by 16 pixels, and these are cropped from the image.
    margin = 16

    def __init__(self, spec: Residual) -> None:
        super().__init__()
        c, norm, padding = spec.channels, spec.normalization, spec.padding
        self.padding = padding
        if padding == "circular":  # has no border: the feature map wraps around
            self.margin = 0
        self.noise = (NoiseInput(spec.noise_depth, 4, spec.noise),) if spec.noise_depth else ()
        self.entry = ConvBlock(3 * 16 + spec.noise_depth, c, norm=norm, padding=padding)
        self.blocks = nn.Sequential(
            *(ResidualBlock(c, norm=norm, padding=padding, dilation=d) for d in _dilations(spec))
        )
        self.up1 = ConvBlock(c, c // 2, norm=norm, padding=padding)
        self.up2 = ConvBlock(c // 2, c // 4, norm=norm, padding=padding)
        self.exit = PaddedConv(c // 4, 3, 3, padding=padding)

    def forward(self, x: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of 4, to an image of the same kind.

        `noises`: one noise map (N, `noise_depth`, H / 4, W / 4) if it has a noise input; the default is that of seed
        0.
        """
        maps = self.noise_maps(x, noises)
        x = channels_last(concat_channels(F.pixel_unshuffle(x - 0.5, 4), maps[0] if maps else None))
        x = self.blocks(self.entry(x))
        x = self.up2(upsample_bilinear(self.up1(upsample_bilinear(x, self.padding)), self.padding))
        return 0.5 + 0.5 * torch.tanh(self.exit(x))
