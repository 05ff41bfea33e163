"""The texture generator of Improved Texture Networks (arXiv 1701.02096, section 5): from a vector, with a fixed
size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.engines.primitives import Padding
from texturenets.networks.johnson import UpsampleBlock
from texturenets.networks.layers import OutputScale, PaddedConv, torch7_init
from texturenets.networks.noise_input import NoiseFed
from texturenets.networks.registry import register
from texturenets.networks.spec import Distribution, GeneratorSpec, Output, Upsampling, integer
from texturenets.noise import NoiseInput

START = 4  # pixels of a side of the feature map that the fully connected layers make: section 5 of the paper


def as_vectors(noise: Tensor, size: int) -> Tensor:
    """(N, C, 1, 1) to (N, C). Raises ValueError for other shapes: noise for more than `size` pixels."""
    if noise.shape[2:] != (1, 1):
        raise ValueError(f"this network draws {size} x {size} pixels and no other size")
    return noise.flatten(1)


@dataclass(frozen=True, kw_only=True)
class FullyConnected(GeneratorSpec):
    """The texture generator of arXiv 1701.02096, section 5: a vector of noise, two linear layers, upsamplings by 2.

    Its size is 4 times 2 to the power of the number of `channels`. The paper gives the vector's length, the
    4 x 4 feature map and the fractionally strided convolutions; the numbers of channels are this package's.
    """

    name: ClassVar[str] = "fully_connected"

    padding: Padding = "zero"
    noise_depth: int = integer(256, 1, 4096)
    """Length of the vector of noise."""
    noise: Distribution = "uniform"
    hidden: int = integer(256, 1, 8192)
    """Outputs of the first fully connected layer."""
    channels: tuple[int, ...] = integer((128, 128, 64, 64, 32, 16), 1, 1024)
    """Channels from the 4 x 4 feature map on, one before each doubling."""
    upsampling: Upsampling = "full4"
    output: Output = "caffe"


@register(FullyConnected)
class FullyConnectedGenerator(NoiseFed):
    """Two fully connected layers to a 4 x 4 feature map, then upsamplings by 2, each normalized; images of one size.

    `size` is that size in pixels, and so is `stride`.
    """

    photo = False

    def __init__(self, spec: FullyConnected) -> None:
        super().__init__()
        widths = spec.channels
        self.size = self.stride = START * 2 ** len(widths)
        self.noise = (NoiseInput(spec.noise_depth, self.size, spec.noise),)
        self.first = nn.Linear(spec.noise_depth, spec.hidden)
        self.second = nn.Linear(spec.hidden, widths[0] * START * START)
        self.doublings = nn.Sequential(
            *(
                UpsampleBlock(
                    inputs, outputs, upsampling=spec.upsampling, norm=spec.normalization, padding=spec.padding
                )
                for inputs, outputs in zip(widths, (*widths[1:], widths[-1]), strict=True)
            )
        )
        self.exit = PaddedConv(widths[-1], 3, 3, padding=spec.padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """One noise map (N, `noise_depth`, 1, 1) to images (N, 3, `size`, `size`).

        Of `x` nothing is used. Raises ValueError for noise of another size.
        """
        (vector,) = self.noise_maps(x, noises)
        hidden = F.relu(self.first(as_vectors(vector, self.size)))
        start = F.relu(self.second(hidden)).unflatten(1, (-1, START, START))  # type: ignore[no-untyped-call]
        y: Tensor = self.output(self.exit(self.doublings(start)))
        return y
