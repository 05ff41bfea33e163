"""Convolutions with few channels on one side, for graphics cards: the same sums, by `texturenets.squares`.

The units that multiply matrices take channels by the dozen; a convolution to or from RGB leaves nine tenths of them
idle. Weights are brought into that form once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.layers import PaddedConv, pad
from texturenets.squares import NARROW, of_square, to_few

LARGE = 5  # kernel from which more than half of what squares add to it at the entry is used


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
        return of_square(weight)

    def forward(self, x: Tensor) -> Tensor:
        """As `PaddedConv`."""
        return self._even(x, self.shift) if self._suits(x) else super().forward(x)

    def without_bias(self, x: Tensor) -> Tensor:
        """As `PaddedConv.without_bias`."""
        return self._even(x, None) if self._suits(x) else super().without_bias(x)

    def _suits(self, x: Tensor) -> bool:
        return x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0

    def _even(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return to_few(pad(x, self.amount, self.padding), self.wide, bias)


class _FromFew(_ToFew):
    """From few channels: those of a square side by side."""

    def _weight(self, weight: Tensor) -> Tensor:
        return F.pixel_unshuffle(of_square(weight), 2)

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
