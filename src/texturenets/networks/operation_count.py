"""Counts the multiply-adds of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from texturenets import noise


def flops(network: nn.Module, height: int, width: int) -> int:
    """Multiply-adds of the convolutions and matrix products in one pass over an image of that size.

    `network` takes (1, 3, height, width), and its noise maps. Nothing is computed: the pass runs on a copy without
    data. A transposed convolution is counted once per pixel of its input. Counting additions and multiplications
    separately would double the number.
    """
    shapes = noise.shapes(getattr(network, "noise", ()), height, width)
    maps = [torch.empty(1, *shape, device="meta") for shape in shapes]
    shadow = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(torch.empty(1, 3, height, width, device="meta"), *([maps] if maps else []))
    # The counter counts a multiply-add as two operations.
    return int(counter.get_total_flops()) // 2
