"""The reference program's residual networks (after arXiv 1603.08155), all variants."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.generators.noise_fed import NoiseFed, beside
from texturenets.layers import (
    ConvBlock,
    InstanceNorm,
    OutputScale,
    PaddedConv,
    ResidualBlock,
    TransposedConv,
    normalization,
    pad,
    torch7_init,
    upsample,
)
from texturenets.noise import NoiseInput
from texturenets.specs import Johnson, Normalization, Padding, Upsampling


class AveragePool(nn.Module):
    """The mean of every 4 x 4 pixels, after one pixel of padding, as "small_down" begins.

    The padding moves the windows up and left by a pixel, and that is how the reference has it.
    """

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), H and W multiples of 4, to (N, C, H / 4, W / 4)."""
        return F.avg_pool2d(pad(x, 1, self.padding), 4)


class Doubling(nn.Module):
    """Twice the height and width, a normalization where wanted, and a ReLU."""

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
            return F.relu(self.norm(self.conv.of_doubled(x)))
        if self.upsampling == "bilinear":
            x = upsample(x, self.padding)
        return F.relu(self.norm(self.conv(x)))


class JohnsonGenerator(NoiseFed):
    """9 x 9 convolution, two of stride 2, residual blocks at a quarter of the resolution, two doublings.

    Every convolution has a bias; normalization stands between it and the ReLU; no ReLU follows a block's
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
            Doubling(inner, 2 * c, upsampling=spec.upsampling, norm=last, padding=padding),
            Doubling(2 * c, c, upsampling=spec.upsampling, norm=last, padding=padding),
        )
        self.exit = PaddedConv(c, 3, spec.exit_kernel, padding=padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of 4, to a picture of the same kind.

        `noises`: one map (N, `noise_depth`, H, W) where it takes noise; without it that of seed 0.
        """
        maps = self.take(x, noises)
        x = beside(x if self.photo else None, maps[0] if maps else None)
        x = self.decoder(self.blocks(self.encoder(self.input_norm(x))))
        y: Tensor = self.output(self.exit(x))
        return y
