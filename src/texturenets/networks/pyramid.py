"""The multi-scale networks of Texture Networks (arXiv 1603.03417, section 3.2), for photos and for noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.engines.primitives import Padding
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
from texturenets.networks.spec import Activation, Output, PhotoNoiseSpec, integer
from texturenets.noise import NoiseInput


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
    """Concatenates the upsampled coarse feature map with the fine one, both normalized; then a block."""

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
        coarse = self.coarse_norm(upsample(coarse, self.upsampling, self.padding))
        y: Tensor = self.block(torch.cat([coarse, self.fine_norm(fine)], 1))
        return y


class MultiResolution(NoiseFed):
    """Photo and noise at several resolutions, each half the previous one; a block on each, joined coarsest first. A 1
    x 1 convolution computes the image.
    """

    def __init__(
        self, spec: Pyramid | Pyramid2, fed: Sequence[int], joined: Sequence[int], kernel: int = 3
    ) -> None:
        """`fed`: channels of the block of each scale, `joined`: those after its join, the coarsest first."""
        super().__init__()
        self.stride = 2 ** (len(fed) - 1)
        self.photo = spec.photo
        strides = [self.stride >> level for level in range(len(fed))]
        self.noise = tuple(
            NoiseInput(spec.noise_depth, stride, spec.noise) for stride in strides if spec.noise_depth
        )
        depth = 3 * spec.photo + spec.noise_depth
        # Coarsest first, in both lists; there is nothing to join to the coarsest.
        self.blocks = nn.ModuleList(_block(depth, width, spec, kernel) for width in fed)
        coarser = (fed[0], *joined[1:])
        self.joins = nn.ModuleList(
            Join(coarse, fine, outputs, spec, kernel)
            for coarse, fine, outputs in zip(coarser, fed[1:], joined[1:], strict=False)
        )
        self.exit = PaddedConv(coarser[len(fed) - 1], 3, 1, padding=spec.padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to an image of the same kind.

        `noises`: one noise map (N, `noise_depth`, H / s, W / s) for each scale, coarsest first, if it has noise
        inputs; see `noise_shapes(H, W)`. Without them those of seed 0 are used. A network without photo input uses
        `x` only for the size of these.
        """
        maps = self.noise_maps(x, noises)
        current: Tensor | None = None
        for level, block in enumerate(self.blocks):
            small = F.avg_pool2d(x, self.stride >> level) if self.photo and x is not None else None
            fresh = block(concat_channels(small, maps[level] if self.noise else None))
            current = fresh if current is None else self.joins[level - 1](current, fresh)
        y: Tensor = self.output(self.exit(current))
        return y


@dataclass(frozen=True, kw_only=True)
class Pyramid(PhotoNoiseSpec):
    """The multi-scale network of arXiv 1603.03417, section 3.2, fed with photo or noise at every scale.

    Height and width are multiples of 2 to the power of (`scales` - 1). The variant of the reference's branch
    texture_nets_v1 for textures: `REFERENCE["texture_nets_v1/pyramid"]`.
    """

    name: ClassVar[str] = "pyramid"

    padding: Padding = "replicate"
    scales: int = integer(6, 2, 8)
    channels: int = integer(8, 1, 128)
    """Channels that each scale adds."""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    activation: Activation = "relu"
    output: Output = "caffe"


@register(Pyramid)
class PyramidGenerator(MultiResolution):
    """Each scale adds `channels` channels."""

    def __init__(self, spec: Pyramid) -> None:
        c, scales = spec.channels, spec.scales
        super().__init__(spec, [c] * scales, [c * n for n in range(1, scales + 1)])


@dataclass(frozen=True, kw_only=True)
class Pyramid2(PhotoNoiseSpec):
    """The reference's second pyramid: more channels at low resolution, 5 x 5 convolutions.

    Height and width are multiples of 2 to the power of (the number of `channels` - 1).
    """

    name: ClassVar[str] = "pyramid2"

    padding: Padding = "circular"
    channels: tuple[int, ...] = integer((128, 128, 64, 32, 16, 8), 1, 512)
    """Channels of each scale, the coarsest first."""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    activation: Activation = "leaky_relu"
    output: Output = "caffe"
    photo: bool = False
    noise_depth: int = integer(16, 0, 64)
    """Channels of noise at every scale; the reference advises 16 for this network."""


@register(Pyramid2)
class Pyramid2Generator(MultiResolution):
    """As many channels at each scale, of its block and after its join, as the spec says; 5 x 5 first convolutions."""

    def __init__(self, spec: Pyramid2) -> None:
        super().__init__(spec, spec.channels, spec.channels, 5)
