"""This package's default network for textures: noise at every scale, most of the weights at a quarter of the
resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.engines.primitives import Padding, channels_last
from texturenets.errors import UserError
from texturenets.networks.layers import ConvBlock, PaddedConv, ResidualBlock, upsample
from texturenets.networks.noise_input import NoiseFed, concat_channels
from texturenets.networks.registry import register
from texturenets.networks.spec import Distribution, PhotoNoiseSpec, integer
from texturenets.noise import NoiseInput

# Slope of every ReLU below zero, and of the image where the tanh saturates. Otherwise samples had patches of one
# saturated colour, where all channels were zero or the tanh was saturated and there was no gradient.
SLOPE, LEAK = 0.1, 0.05


@dataclass(frozen=True, kw_only=True)
class Multiscale(PhotoNoiseSpec):
    """The default for textures: noise at every scale, joined from the coarsest to the finest.

    A 3 x 3 convolution takes the result of the coarser scale, upsampled bilinearly, and the noise of its scale; two
    residual blocks work at a quarter of the resolution, one convolution more at full. Padding is circular, so that
    samples tile; normalization is that of the image itself. Height and width are multiples of 2 to the power of (the
    number of `channels` - 1).
    """

    name: ClassVar[str] = "multiscale"

    padding: Padding = "circular"
    channels: tuple[int, ...] = integer((40, 40, 40, 40, 32, 32), 1, 512)
    """Channels of each scale, the coarsest first."""
    blocks: int = integer(2, 0, 100)
    """Residual blocks at a quarter of the resolution, or at the coarsest."""
    upsampling: Literal["nearest", "bilinear"] = "bilinear"
    photo: bool = False
    noise_depth: int = integer(3, 0, 64)
    """Channels of noise at every scale, after the photo's."""
    noise: Distribution = "normal"
    waves: tuple[float, ...] = ()
    """Waves that the network gets as a further input, with random phases: cycles a pixel down and to the right, in
    pairs. `train texture` finds those of an exemplar that repeats."""
    outputs: int = integer(3, 1, 32)
    """Channels of the image: 3, or those of all maps of a material."""

    def __post_init__(self) -> None:
        """Raises UserError also for waves that are not pairs of frequencies."""
        super().__post_init__()
        if len(self.waves) % 2 or not all(abs(number) <= 0.5 for number in self.waves):
            raise UserError(
                f"multiscale generator: waves={self.waves} are not pairs of numbers from -0.5 to 0.5, cycles a pixel"
            )


@register(Multiscale)
class MultiscaleGenerator(NoiseFed):
    """Starts from the coarsest noise; at each further scale the result is upsampled by 2 and concatenated with that
    scale's noise; see `Multiscale`."""

    def __init__(self, spec: Multiscale) -> None:
        super().__init__()
        self.upsampling, self.padding, self.photo = spec.upsampling, spec.padding, spec.photo
        scales = len(spec.channels)
        self.stride = 2 ** (scales - 1)
        strides = [self.stride >> level for level in range(scales)]
        self.noise = tuple(
            NoiseInput(spec.noise_depth, stride, spec.noise) for stride in strides if spec.noise_depth
        )
        depth = 3 * spec.photo + spec.noise_depth
        self.quarter = max(scales - 3, 0)  # the scale at a quarter of the image's resolution, or the coarsest
        pairs = tuple(zip(spec.waves[0::2], spec.waves[1::2], strict=True))
        if pairs:
            self.noise += (NoiseInput(2 * len(pairs), strides[self.quarter], "waves", pairs),)

        def block(inputs: int, outputs: int) -> ConvBlock:
            return ConvBlock(inputs, outputs, norm=spec.normalization, padding=spec.padding, slope=SLOPE)

        coarser = (0, *spec.channels[:-1])
        self.joins = nn.ModuleList(
            block(coarse + depth + 2 * len(pairs) * (level == self.quarter), width)
            for level, (coarse, width) in enumerate(zip(coarser, spec.channels, strict=True))
        )
        self.waves = bool(pairs)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(spec.channels[self.quarter], norm=spec.normalization, padding=spec.padding)
                for _ in range(spec.blocks)
            )
        )
        last = spec.channels[-1]
        self.finish = block(last, last)
        self.outputs = spec.outputs
        self.exit = PaddedConv(last, spec.outputs, 3, padding=spec.padding)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to an image (N, `outputs`, H, W).

        `noises`: one noise map (N, `noise_depth`, H / s, W / s) for each scale, coarsest first, if it has noise
        inputs; see `noise_shapes(H, W)`. Without them those of seed 0 are used. A network without photo input uses
        `x` only for the size of these. Values may leave [0, 1] a little.
        """
        maps = self.noise_maps(x, noises)
        current: Tensor | None = None
        for level, join in enumerate(self.joins):
            small = F.avg_pool2d(x, self.stride >> level) if self.photo and x is not None else None
            fed = concat_channels(small, maps[level] if self.noise else None)
            if self.waves and level == self.quarter:
                fed = concat_channels(fed, maps[-1])
            if current is not None:
                fed = torch.cat([upsample(current, self.upsampling, self.padding), fed], 1)
            current = join(channels_last(fed))
            if level == self.quarter:
                current = self.blocks(current)
        z = self.exit(self.finish(current))
        y: Tensor = 0.5 + 0.5 * torch.tanh(z) + LEAK * z
        return y
