"""Convolutions with few channels on one side, for graphics cards: the same sums, by squares of 2 x 2 pixels.

The units that multiply matrices take channels by the dozen; a convolution to or from RGB leaves nine tenths of them
idle. Of a square's four pixels it has four times the channels, for a kernel one pixel larger.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.layers import PaddedConv, pad

NARROW = 4  # channels
LARGE = 5  # kernel from which more than half of what squares add to it at the entry is used


def squares(weight: Tensor) -> Tensor:
    """Weights (O, I, k, k) to (4 O, I, k + 1, k + 1): of a square's four pixels, in the order of `pixel_shuffle`."""
    outputs, inputs, height, width = weight.shape
    wide = weight.new_zeros(outputs, 2, 2, inputs, height + 1, width + 1)
    for down in (0, 1):
        for right in (0, 1):
            wide[:, down, right, :, down : down + height, right : right + width] = weight
    return wide.flatten(0, 2)


class _ToFew(PaddedConv):
    """To few channels: a stride of two pixels."""

    wide: Tensor
    shift: Tensor | None

    def __init__(self, original: PaddedConv) -> None:
        nn.Module.__init__(self)
        self.conv, self.padding, self.amount = original.conv, original.padding, original.amount
        bias = original.conv.bias
        self.register_buffer("wide", self._weight(original.conv.weight.detach()))
        self.register_buffer("shift", None if bias is None else bias.detach().repeat_interleave(4))

    def _weight(self, weight: Tensor) -> Tensor:
        return squares(weight)

    def forward(self, x: Tensor) -> Tensor:
        """As `PaddedConv`."""
        return self._even(x, self.shift) if self._suits(x) else super().forward(x)

    def without_bias(self, x: Tensor) -> Tensor:
        """As `PaddedConv.without_bias`."""
        return self._even(x, None) if self._suits(x) else super().without_bias(x)

    def _suits(self, x: Tensor) -> bool:
        return x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0

    def _even(self, x: Tensor, bias: Tensor | None) -> Tensor:
        y = F.conv2d(pad(x, self.amount, self.padding), self.wide, bias, 2)
        return F.pixel_shuffle(y, 2)


class _FromFew(_ToFew):
    """From few channels: those of a square side by side."""

    def _weight(self, weight: Tensor) -> Tensor:
        return F.pixel_unshuffle(squares(weight), 2)

    def _even(self, x: Tensor, bias: Tensor | None) -> Tensor:
        maps = F.pixel_unshuffle(pad(x, self.amount, self.padding), 2)
        y = F.conv2d(maps.contiguous(memory_format=torch.channels_last), self.wide, bias)
        return F.pixel_shuffle(y, 2)


def rewritten(network: nn.Module) -> nn.Module:
    """`network`, changed in place: its convolutions of stride 1 to few channels, and large ones from few."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is not PaddedConv or child.conv.stride != (1, 1):
                continue
            if child.conv.out_channels <= NARROW:
                setattr(module, name, _ToFew(child))
            elif child.conv.in_channels <= NARROW and child.conv.kernel_size[0] >= LARGE:
                setattr(module, name, _FromFew(child))
    return network
