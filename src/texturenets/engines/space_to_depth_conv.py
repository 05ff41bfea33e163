"""Convolutions by squares of 2 x 2 pixels: the same sums as those of single pixels, with less work.

Libraries compute channels by the dozen. A convolution to or from few channels has four times as many where a square
is taken for a pixel, for a kernel one pixel larger. And a 3 x 3 convolution of a map that was doubled by repeating
pixels looks at no more than 2 x 2 different ones: by squares it is one convolution of the small map, with 4 / 9 of
the multiplications, and the doubled feature map is never made.

Weights are (outputs, inputs, rows, columns) throughout; gradients pass through all functions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NARROW = 4
"""Channels up to which a convolution leaves most of a vector of 16 empty."""


def suit(x: Tensor) -> bool:
    """Whether the functions here are to be taken for `x`: on processors, where they are quicker.

    Not for what stands for a feature map while torch.fx traces a network: graphs have the plain convolution, and
    `texturenets.graph.passes` rewrites it. On graphics cards it is, too, in half precision (`engines.torch_engine`).
    """
    return isinstance(x, Tensor) and x.device.type == "cpu"


def of_square(weight: Tensor) -> Tensor:
    """Weights (O, I, k, k) to (4 O, I, k + 1, k + 1): of a square's four pixels, in the order of `pixel_shuffle`."""
    outputs, inputs, height, width = weight.shape
    wide = weight.new_zeros(outputs, 2, 2, inputs, height + 1, width + 1)
    for down in (0, 1):
        for right in (0, 1):
            wide[:, down, right, :, down : down + height, right : right + width] = weight
    return wide.flatten(0, 2)


def to_few(x: Tensor, wide: Tensor, shift: Tensor | None) -> Tensor:
    """The convolution of x (N, I, H, W), already padded, by weights of `of_square`, to (N, O, H - k + 1, W - k + 1).

    Both sizes of the result must be even. `shift`: the bias, four times each (`repeat_interleave`).
    """
    return F.pixel_shuffle(F.conv2d(x, wide, shift, 2), 2)


def strided_from_few(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """`F.conv2d` with a stride of 2 and zero padding; what it sees is squares, of four times the channels.

    x (N, I, H, W) of any size, an odd kernel. The gradient takes less than half the time for I = 3.
    """
    height, width = (size + 2 * padding for size in x.shape[2:])
    maps = F.pad(x, (padding, padding + width % 2, padding, padding + height % 2))
    maps = F.pixel_unshuffle(maps, 2).contiguous(memory_format=torch.channels_last)
    return F.conv2d(maps, F.pixel_unshuffle(F.pad(weight, (0, 1, 0, 1)), 2), bias)


def of_doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 3 x 3 convolution of a doubled map: x (N, I, H + 2, W + 2), the small map padded by 1, to (N, O, 2 H, 2 W).

    Where the doubled map is to be padded by reflection, that is the outermost pixel once more ("replicate") here.
    """
    n, _, height, width = x.shape
    outputs = weight.shape[0]
    shift = None if bias is None else bias.repeat(4)
    y = F.conv2d(x, merged(weight), shift)
    # (rows, columns, place in the square, channels) to rows and columns of pixels
    y = y.permute(0, 2, 3, 1).reshape(n, height - 1, width - 1, 2, 2, outputs).permute(0, 1, 3, 2, 4, 5)
    y = y.reshape(n, 2 * height - 2, 2 * width - 2, outputs)
    # The outermost results are those of the padding.
    return y[:, 1:-1, 1:-1].permute(0, 3, 1, 2)


def merged(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) to (4 O, I, 2, 2), for the map before it was doubled: places in the square one after the other.

    Of the map padded by 1 these make (H + 1) x (W + 1) squares; the outermost results are those of the padding.
    """
    # Counted from one pixel before the small map, the square at p holds the second result of pixel p - 1, which sees
    # that pixel twice and the next one once, and the first of pixel p, which sees the one before once and p twice.
    return torch.cat([_pair(_pair(weight, 2, down), 3, right) for down in (0, 1) for right in (0, 1)])


def _pair(weight: Tensor, dim: int, place: int) -> Tensor:
    """Three weights along `dim` to two: the first two fall onto one pixel at place 0, the last two at place 1."""
    one, two, three = weight.unbind(dim)
    return torch.stack([one + two, three] if place == 0 else [one, two + three], dim)
