"""The reference program's encoder-decoders with skip connections: with max unpooling, and with strides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.engines.primitives import Padding, max_pool, max_unpool
from texturenets.networks.layers import (
    ConvBlock,
    OutputScale,
    PaddedConv,
    normalization,
    slope,
    torch7_init,
    upsample,
)
from texturenets.networks.noise_input import NoiseFed, concat_channels
from texturenets.networks.registry import register
from texturenets.networks.spec import (
    Activation,
    Distribution,
    GeneratorSpec,
    Normalization,
    Output,
    PhotoNoiseSpec,
    integer,
)
from texturenets.noise import NoiseInput


class LeakyBlock(ConvBlock):
    """Padded convolution, normalization, leaky ReLU with slope 0.01 (Torch7's default)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, norm: Normalization, padding: Padding
    ) -> None:
        super().__init__(inputs, outputs, kernel, norm=norm, padding=padding, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        return F.leaky_relu(super().forward(x), 0.01)


class Level(nn.Module):
    """One resolution: a skip path with few channels around the pooling, a deep path through it, and their join.

    `channels` are this level's and those of the levels inside it.
    """

    def __init__(
        self, inputs: int, channels: tuple[int, ...], skip: int, *, norm: Normalization, padding: Padding
    ) -> None:
        super().__init__()
        c, inside = channels[0], channels[1:]
        self.skip = LeakyBlock(inputs, skip, 1, norm=norm, padding=padding)
        self.skip_norm = normalization(norm, skip)
        self.before = LeakyBlock(inputs, c, 3, norm=norm, padding=padding)
        self.deep = nn.Sequential(LeakyBlock(c, c, 3, norm=norm, padding=padding))
        if inside:
            self.deep.append(Level(c, inside, skip, norm=norm, padding=padding))
            self.deep.append(ConvBlock(inside[0], c, 3, norm=norm, padding=padding, activation=False))
        self.deep_norm = normalization(norm, c)
        self.after = nn.Sequential(
            LeakyBlock(skip + c, c, 3, norm=norm, padding=padding),
            LeakyBlock(c, c, 3, norm=norm, padding=padding),
            LeakyBlock(c, c, 1, norm=norm, padding=padding),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, channels[0], H, W)."""
        past = self.skip_norm(self.skip(x))
        pooled, where = max_pool(self.before(x))
        through = self.deep_norm(max_unpool(self.deep(pooled), where))
        y: Tensor = self.after(torch.cat([past, through], 1))
        return y


@dataclass(frozen=True, kw_only=True)
class SkipUnpool(GeneratorSpec):
    """The reference's encoder-decoder with max unpooling and skip connections; it adds to the photo.

    Height and width are multiples of 2 to the power of the number of `channels`.
    """

    name: ClassVar[str] = "skip_unpool"

    padding: Padding = "replicate"
    channels: tuple[int, ...] = integer((16, 32, 64, 128), 1, 1024)
    """Channels of each level, the finest first."""
    skip_channels: int = integer(4, 1, 128)
    """Channels of the skip path around each level's pooling."""
    output: Output = "caffe"
    noise_depth: int = integer(0, 0, 64)
    """Channels of noise after the photo's."""
    noise: Distribution = "uniform"


@register(SkipUnpool)
class SkipUnpoolGenerator(NoiseFed):
    """Nested levels, each half the size of the one around it; their output is added to the photo."""

    def __init__(self, spec: SkipUnpool) -> None:
        super().__init__()
        self.stride = 2 ** len(spec.channels)
        self.noise = (NoiseInput(spec.noise_depth, 1, spec.noise),) if spec.noise_depth else ()
        norm, padding = spec.normalization, spec.padding
        self.levels = Level(
            3 + spec.noise_depth, spec.channels, spec.skip_channels, norm=norm, padding=padding
        )
        self.exit = PaddedConv(spec.channels[0], 3, 1, padding=padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to an image of the same kind.

        `noises`: one noise map (N, `noise_depth`, H, W) if it has a noise input; the default is that of seed 0.
        """
        maps = self.noise_maps(x, noises)
        # As in the reference: RGB in [0, 1] is added to BGR in 0..255, so with the "caffe" output the photo
        # counts for a 255th. With the "bounded" output both are RGB.
        y: Tensor = self.output(x + self.exit(self.levels(concat_channels(x, maps[0] if maps else None))))
        return y


class StridedLevel(nn.Module):
    """One resolution of `skip`: a skip path with few channels, with noise, a deep one at half of it, their join."""

    def __init__(self, inputs: int, channels: tuple[int, ...], spec: Skip) -> None:
        """`channels`: this level's and those of the levels inside it."""
        super().__init__()
        c, inside = channels[0], channels[1:]
        block: dict[str, Any] = {
            "norm": spec.normalization,
            "padding": spec.padding,
            "slope": slope(spec.activation),
        }
        self.upsampling, self.padding, self.noisy = spec.upsampling, spec.padding, spec.level_noise > 0
        self.skip = ConvBlock(inputs, spec.skip_channels, 1, **block)
        self.skip_norm = normalization(spec.normalization, spec.skip_channels)
        self.deep = nn.Sequential(ConvBlock(inputs, c, 3, 2, **block), ConvBlock(c, c, 3, **block))
        self.inner = StridedLevel(c, inside, spec) if inside else None
        deepest = inside[0] if inside else c
        self.deep_norm = normalization(spec.normalization, deepest)
        self.after = nn.Sequential(
            ConvBlock(spec.skip_channels + deepest + spec.level_noise, c, 3, **block),
            ConvBlock(c, c, 1, **block),
        )

    def forward(self, x: Tensor, noises: Iterator[Tensor]) -> Tensor:
        """(N, inputs, H, W) to (N, channels[0], H, W); `noises` gives this level's noise map, then those inside."""
        fresh = [next(noises).to(x.dtype)] if self.noisy else []
        past = self.skip_norm(self.skip(x))
        deep = self.deep(x)
        if self.inner is not None:
            deep = self.inner(deep, noises)
        deep = self.deep_norm(upsample(deep, self.upsampling, self.padding))
        y: Tensor = self.after(torch.cat([*fresh, past, deep], 1))
        return y


@dataclass(frozen=True, kw_only=True)
class Skip(PhotoNoiseSpec):
    """The encoder-decoder of branch texture_nets_v1: strided convolutions, skip connections, noise at the entry.

    Height and width are multiples of 2 to the power of the number of `channels`.
    """

    name: ClassVar[str] = "skip"

    padding: Padding = "circular"
    channels: tuple[int, ...] = integer((16, 32, 64, 128, 128), 1, 1024)
    """Channels of each level, the finest first."""
    skip_channels: int = integer(4, 1, 128)
    """Channels of the skip path around each level."""
    level_noise: int = integer(0, 0, 64)
    """Channels of normal noise concatenated with those, at every level."""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    activation: Activation = "leaky_relu"
    output: Output = "caffe"
    photo: bool = False
    noise_depth: int = integer(3, 0, 64)
    """Channels of noise at the entry, after the photo's."""


@dataclass(frozen=True, kw_only=True)
class SkipNoise(Skip):
    """`skip` with noise at every level too: the reference's skip_noise."""

    name: ClassVar[str] = "skip_noise"

    level_noise: int = integer(2, 0, 64)


@register(Skip, SkipNoise)
class SkipGenerator(NoiseFed):
    """Nested levels, each at half the resolution of the one around it; a 1 x 1 convolution makes the image."""

    def __init__(self, spec: Skip) -> None:
        super().__init__()
        self.stride = 2 ** len(spec.channels)
        self.photo, self.entry_noise = spec.photo, spec.noise_depth > 0
        entry = [NoiseInput(spec.noise_depth, 1, spec.noise)] if spec.noise_depth else []
        levels = range(len(spec.channels)) if spec.level_noise else ()
        self.noise = (*entry, *(NoiseInput(spec.level_noise, 2**level, "normal") for level in levels))
        self.levels = StridedLevel(3 * spec.photo + spec.noise_depth, spec.channels, spec)
        self.exit = PaddedConv(spec.channels[0], 3, 1, padding=spec.padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to an image of the same kind.

        `noises`: that of the entry, then one for each level, the finest first, if it has noise inputs; shapes: see
        `noise_shapes(H, W)`. The default is those of seed 0.
        """
        maps = iter(self.noise_maps(x, noises))
        fed = concat_channels(x if self.photo else None, next(maps) if self.entry_noise else None)
        y: Tensor = self.output(self.exit(self.levels(fed, maps)))
        return y
