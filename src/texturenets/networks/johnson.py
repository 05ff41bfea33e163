"""The reference program's residual networks (after arXiv 1603.08155), all variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.engines.primitives import InstanceNorm, Padding, pad
from texturenets.networks.layers import (
    ConvBlock,
    OutputScale,
    PaddedConv,
    ResidualBlock,
    TransposedConv,
    normalization,
    torch7_init,
    upsample_bilinear,
)
from texturenets.networks.noise_input import NoiseFed, concat_channels
from texturenets.networks.registry import register
from texturenets.networks.spec import (
    Normalization,
    Output,
    PhotoNoiseSpec,
    Upsampling,
    integer,
)
from texturenets.noise import NoiseInput


class AveragePool(nn.Module):
    """The mean of every 4 x 4 pixels, after one pixel of padding, as "small_down" begins.

    The padding moves the windows up and left by a pixel, as in the reference.
    """

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), H and W multiples of 4, to (N, C, H / 4, W / 4)."""
        return F.avg_pool2d(pad(x, 1, self.padding), 4)


class UpsampleBlock(nn.Module):
    """Upsampling by 2, an optional normalization, and a ReLU."""

    def __init__(
        self, inputs: int, outputs: int, *, upsampling: Upsampling, norm: Normalization, padding: Padding
    ) -> None:
        super().__init__()
        self.upsampling, self.padding = upsampling, padding
        self.conv: nn.Module
        if upsampling in ("full", "full4"):
            self.conv = TransposedConv(inputs, outputs, 4 if upsampling == "full4" else 3, padding)
        else:
            self.conv = PaddedConv(inputs, outputs, 3, padding=padding)
        self.norm = normalization(norm, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, 2 H, 2 W)."""
        if self.upsampling == "nearest" and isinstance(self.conv, PaddedConv):
            return F.relu(self.norm(self.conv.conv_after_upsample(x)))
        if self.upsampling == "bilinear":
            x = upsample_bilinear(x, self.padding)
        return F.relu(self.norm(self.conv(x)))


@dataclass(frozen=True, kw_only=True)
class Johnson(PhotoNoiseSpec):
    """The residual network of arXiv 1603.08155 in the version of the reference program. It differs from the paper: 3
    x 3 at the exit instead of 9 x 9, replication padding, and a third of the sizes named here. `REFERENCE` maps the
    reference's files to options; `Johnson(upsampling="nearest", decoder_norm=True, exit_kernel=9, padding="reflect")`
    is the network of most later programs.
    """

    name: ClassVar[str] = "johnson"

    padding: Padding = "replicate"
    upsampling: Upsampling = "full"
    """How the decoder upsamples by 2: "full" is a 3 x 3 transposed convolution, "full4" a 4 x 4 one after padding,
    "bilinear" and "nearest" an interpolation and a 3 x 3 convolution."""
    size: Literal["standard", "small", "small_down"] = "standard"
    """"small" has half the channels in its blocks; "small_down" also replaces the two strided convolutions
    by averaging 4 x 4 pixels before the first layer."""
    channels: int = integer(32, 1, 256)
    """Channels at full resolution; twice as many at half, and four times as many at a quarter (twice if small)."""
    blocks: int = integer(5, 0, 100)
    input_norm: bool = False
    """Instance normalization of the photo itself."""
    down_padding: Padding | None = None
    """Padding of the two strided convolutions; None is `padding`. Some files of the reference have zeros."""
    decoder_norm: bool | None = None
    """Normalization in the decoder. None is the reference's: after transposed convolutions only."""
    exit_kernel: Literal[3, 9] = 3
    output: Output = "caffe"


@register(Johnson)
class JohnsonGenerator(NoiseFed):
    """9 x 9 convolution, two of stride 2, residual blocks at a quarter of the resolution, two upsamplings by 2.

    Every convolution has a bias; normalization is between it and the ReLU; no ReLU follows a block's
    sum.
    """

    stride = 4  # height and width must be multiples of this

    def __init__(self, spec: Johnson) -> None:
        super().__init__()
        c, norm, padding = spec.channels, spec.normalization, spec.padding
        inner = 4 * c if spec.size == "standard" else 2 * c
        down = spec.down_padding or padding
        self.photo = spec.photo
        self.noise = (NoiseInput(spec.noise_depth, 1, spec.noise),) if spec.noise_depth else ()
        inputs = 3 * spec.photo + spec.noise_depth
        self.input_norm = InstanceNorm(inputs) if spec.input_norm else nn.Identity()
        if spec.size == "small_down":
            first = ConvBlock(inputs, inner, 9, norm=norm, padding=padding)
            self.encoder = nn.Sequential(AveragePool(padding), first)
        else:
            self.encoder = nn.Sequential(
                ConvBlock(inputs, c, 9, norm=norm, padding=padding),
                ConvBlock(c, 2 * c, 3, 2, norm=norm, padding=down),
                ConvBlock(2 * c, inner, 3, 2, norm=norm, padding=down),
            )
        self.blocks = nn.Sequential(
            *(ResidualBlock(inner, norm=norm, padding=padding) for _ in range(spec.blocks))
        )
        transposed = spec.upsampling in ("full", "full4")
        normed = transposed if spec.decoder_norm is None else spec.decoder_norm
        last: Normalization = norm if normed else "none"
        self.decoder = nn.Sequential(
            UpsampleBlock(inner, 2 * c, upsampling=spec.upsampling, norm=last, padding=padding),
            UpsampleBlock(2 * c, c, upsampling=spec.upsampling, norm=last, padding=padding),
        )
        self.exit = PaddedConv(c, 3, spec.exit_kernel, padding=padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of 4, to an image of the same kind.

        `noises`: one noise map (N, `noise_depth`, H, W) if it has a noise input; the default is that of seed 0.
        """
        maps = self.noise_maps(x, noises)
        x = concat_channels(x if self.photo else None, maps[0] if maps else None)
        x = self.decoder(self.blocks(self.encoder(self.input_norm(x))))
        y: Tensor = self.output(self.exit(x))
        return y
