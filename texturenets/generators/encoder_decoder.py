"""The reference program's encoder-decoder with max unpooling and skip connections."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.layers import (
    ConvBlock,
    OutputScale,
    PaddedConv,
    max_pool,
    max_unpool,
    normalization,
    torch7_init,
)
from texturenets.specs import Normalization, Padding, SkipUnpool


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
    """One resolution: a narrow path past the pooling, a deep one through it, and what joins them.

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


class SkipUnpoolGenerator(nn.Module):
    """Nested levels, each half the size of the one around it; what they draw is added to the photo."""

    def __init__(self, spec: SkipUnpool) -> None:
        super().__init__()
        self.stride = 2 ** len(spec.channels)
        self.input_channels = 3 + spec.noise_depth
        norm, padding = spec.normalization, spec.padding
        self.levels = Level(
            self.input_channels, spec.channels, spec.skip_channels, norm=norm, padding=padding
        )
        self.exit = PaddedConv(spec.channels[0], 3, 1, padding=padding)
        self.output = OutputScale(spec.output)
        torch7_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to a picture of the same kind.

        With a noise depth of K the input is (N, 3 + K, H, W), the noise behind the photo.
        """
        # As in the reference: RGB in [0, 1] is added to BGR in 0..255, so with the "caffe" output the photo
        # counts for a 255th. With the "bounded" output both are RGB.
        y: Tensor = self.output(x[:, :3] + self.exit(self.levels(x)))
        return y
