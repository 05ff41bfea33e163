"""Our default network for textures: coarse to fine, noise at every scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from texturenets.generators.noise_fed import NoiseFed
from texturenets.layers import ConvBlock, OutputScale, PaddedConv, upsample
from texturenets.noise import NoiseInput
from texturenets.specs import Multiscale


class Scale(nn.Module):
    """Features and noise of one resolution to features: a convolution, and a residual one."""

    def __init__(self, inputs: int, outputs: int, spec: Multiscale) -> None:
        super().__init__()
        norm, padding = spec.normalization, spec.padding
        self.entry = ConvBlock(inputs, outputs, norm=norm, padding=padding)
        self.residual = ConvBlock(outputs, outputs, norm=norm, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        x = self.entry(x)
        y: Tensor = x + self.residual(x)
        return y


class MultiscaleGenerator(NoiseFed):
    """Noise at the coarsest scale, then doublings with new noise beside the features, then the picture."""

    photo = False

    def __init__(self, spec: Multiscale) -> None:
        super().__init__()
        widths, depth = spec.channels, spec.noise_depth
        self.stride = 2 ** (len(widths) - 1)
        self.padding = spec.padding
        self.noise = tuple(NoiseInput(depth, self.stride >> i, spec.noise) for i in range(len(widths)))
        before = (0, *widths)
        self.scales = nn.ModuleList(
            Scale(inputs + depth, outputs, spec) for inputs, outputs in zip(before, widths, strict=False)
        )
        self.exit = PaddedConv(widths[-1], 3, 3, padding=spec.padding)
        self.output = OutputScale(spec.output)

    def forward(self, x: Tensor | None = None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Maps of noise (N, `noise_depth`, H / s, W / s), one a scale, coarsest first, to pictures (N, 3, H, W).

        Shapes as `noise_shapes(H, W)` says, H and W multiples of `stride`; RGB in [0, 1] where bounded. `x`, a
        picture of that size, is not looked at; without `noises` it says the size for those of seed 0.
        """
        first, *finer = self.take(x, noises)
        if first.device.type == "cpu":
            first = first.contiguous(memory_format=torch.channels_last)
        current = self.scales[0](first)
        for scale, fresh in zip(list(self.scales)[1:], finer, strict=True):
            doubled = upsample(current, self.padding)
            current = scale(torch.cat([doubled, fresh.to(doubled.dtype)], 1))
        y: Tensor = self.output(self.exit(current))
        return y
