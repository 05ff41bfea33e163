"""Convolutions that compute a square of 2 x 2 results at one position, in PyTorch: the same results, sooner.

A square of pixels is taken for one position with four times the channels, as `pixel_unshuffle` does it (space to
depth), and `pixel_shuffle` takes it apart again. `graph.passes.space_to_depth` draws which weights make the same
results.

- Vector instructions compute 16 channels at a time. A convolution to or from 3 channels leaves most of them empty; by
  squares it has 12, for a kernel one pixel larger.
- A 3 x 3 convolution of a map that was upsampled by 2 ("nearest", here: doubled) sees only 2 x 2 different pixels. By
  squares it is a 2 x 2 convolution of the small map with 4 / 9 of the multiplications, and the doubled map is never
  made.

Weights are (outputs, inputs, rows, columns) throughout; gradients pass through all functions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NARROW = 4
"""Channels up to which a convolution leaves most of a vector of 16 empty."""


def suit(x: Tensor) -> bool:
    """Whether to use the functions here for `x`: on CPUs, where they are faster.

    Not for a proxy of torch.fx: a traced network has the plain convolution, which `texturenets.graph.passes`
    rewrites, on CUDA in half precision too (`engines.torch_engine`).
    """
    return isinstance(x, Tensor) and x.device.type == "cpu"


def of_square(weight: Tensor) -> Tensor:
    """Weights (O, I, k, k) to (4 O, I, k + 1, k + 1), for a stride of 2: results in the order of `pixel_shuffle`."""
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
    """`F.conv2d` with a stride of 2 and zero padding, of a small `I`: input and kernel go through `pixel_unshuffle`.

    x (N, I, H, W) of any size, an odd kernel. Its step of 2 is one square. For I = 3 the gradient takes less than
    half the time.
    """
    height, width = (size + 2 * padding for size in x.shape[2:])
    maps = F.pad(x, (padding, padding + width % 2, padding, padding + height % 2))
    maps = F.pixel_unshuffle(maps, 2).contiguous(memory_format=torch.channels_last)
    return F.conv2d(maps, F.pixel_unshuffle(F.pad(weight, (0, 1, 0, 1)), 2), bias)


def of_doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 3 x 3 convolution of a doubled map: x (N, I, H + 2, W + 2), the small map padded by 1, to (N, O, 2 H, 2 W).

    Reflection of the doubled map p p q q puts the second p before the first: on the small map that is "replicate".
    """
    n, _, height, width = x.shape
    outputs = weight.shape[0]
    shift = None if bias is None else bias.repeat(4)
    y = F.conv2d(x, merged(weight), shift)
    # Depth to space for channels counted (row and column in the square, channel)
    y = y.permute(0, 2, 3, 1).reshape(n, height - 1, width - 1, 2, 2, outputs).permute(0, 1, 3, 2, 4, 5)
    y = y.reshape(n, 2 * height - 2, 2 * width - 2, outputs)
    # The outermost results do not belong to the doubled map.
    return y[:, 1:-1, 1:-1].permute(0, 3, 1, 2)


def merged(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) to (4 O, I, 2, 2), as `graph.passes.space_to_depth.of_doubled` does it to arrays.

    Of the small map padded by 1 they make (H + 1) x (W + 1) squares.
    """
    return torch.cat([_pair(_pair(weight, 2, down), 3, right) for down in (0, 1) for right in (0, 1)])


def _pair(weight: Tensor, dim: int, place: int) -> Tensor:
    """Three weights (a, b, c) along `dim` to (a + b, c) for the first place of a pair, (a, b + c) for the second."""
    a, b, c = weight.unbind(dim)
    return torch.stack([a + b, c] if place == 0 else [a, b + c], dim)
