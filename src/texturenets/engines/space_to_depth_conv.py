"""Convolutions that compute a block of 2 x 2 outputs at one position, in PyTorch: the same outputs, faster.
`pixel_unshuffle` (space to depth) turns a block of pixels into one position with four times the channels;
`pixel_shuffle` reverses that. A drawing in `graph.passes.space_to_depth` shows which weights give the same outputs.

- Vector instructions compute 16 channels at a time. A convolution to or from 3 channels leaves most of them empty; in
  blocks it has 12, for a kernel one pixel larger.
- A 3 x 3 convolution of a feature map that was upsampled by 2 ("nearest") sees only 2 x 2 different pixels. In blocks
  it is a 2 x 2 convolution at the low resolution with 4 / 9 of the multiplications, and the upsampled feature map is
  never materialized.

Weights are (outputs, inputs, rows, columns) throughout; gradients pass through all functions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def supports(x: Tensor) -> bool:
    """Whether to use the functions here for `x`: on CPUs, where they are faster.

    Not for a proxy of torch.fx: a traced network has the plain convolution, which `texturenets.graph.passes`
    rewrites, on CUDA in half precision too (`engines.torch_engine`).
    """
    return isinstance(x, Tensor) and x.device.type == "cpu"


def block_output_weights(weight: Tensor) -> Tensor:
    """Weights (O, I, k, k) to (4 O, I, k + 1, k + 1), for a stride of 2: outputs in the order of `pixel_shuffle`."""
    outputs, inputs, height, width = weight.shape
    wide = weight.new_zeros(outputs, 2, 2, inputs, height + 1, width + 1)
    for down in (0, 1):
        for right in (0, 1):
            wide[:, down, right, :, down : down + height, right : right + width] = weight
    return wide.flatten(0, 2)


def conv_to_few_channels(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of x (N, I, H, W), already padded, with weights (O, I, k, k): (N, O, H - k + 1, W - k + 1).

    `O` is small. Both sizes of the output must be even.
    """
    bias = None if bias is None else bias.repeat_interleave(4)
    return F.pixel_shuffle(F.conv2d(x, block_output_weights(weight), bias, 2), 2)


def strided_conv_from_few_channels(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """`F.conv2d` with a stride of 2 and zero padding, of a small `I`: input and kernel go through `pixel_unshuffle`.

    x (N, I, H, W) of any size, an odd kernel. Its step of 2 is one block. For I = 3 the gradient takes less than
    half the time.
    """
    height, width = (size + 2 * padding for size in x.shape[2:])
    maps = F.pad(x, (padding, padding + width % 2, padding, padding + height % 2))
    maps = F.pixel_unshuffle(maps, 2).contiguous(memory_format=torch.channels_last)
    return F.conv2d(maps, F.pixel_unshuffle(F.pad(weight, (0, 1, 0, 1)), 2), bias)


def conv_after_upsample(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 3 x 3 convolution of x upsampled by 2 ("nearest"): (N, I, H + 2, W + 2), padded by 1, to (N, O, 2 H, 2 W).

    The caller pads `x`. Where the upsampled map is to be padded by reflection, `x` is padded by "replicate":
    reflection of the upsampled p p q q puts the second p before the first.
    """
    n, _, height, width = x.shape
    outputs = weight.shape[0]
    bias = None if bias is None else bias.repeat(4)
    y = F.conv2d(x, upsample_folded_weights(weight), bias)
    # Depth to space for channels counted (row and column in the block, channel)
    y = y.permute(0, 2, 3, 1).reshape(n, height - 1, width - 1, 2, 2, outputs).permute(0, 1, 3, 2, 4, 5)
    y = y.reshape(n, 2 * height - 2, 2 * width - 2, outputs)
    # The outermost outputs are beyond the upsampled feature map.
    return y[:, 1:-1, 1:-1].permute(0, 3, 1, 2)


def upsample_folded_weights(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) to (4 O, I, 2, 2), as `graph.passes.space_to_depth.upsample_folded_weights` does it to arrays.

    Of the low resolution padded by 1 they make (H + 1) x (W + 1) blocks.
    """
    return torch.cat([_pair(_pair(weight, 2, down), 3, right) for down in (0, 1) for right in (0, 1)])


def _pair(weight: Tensor, dim: int, position: int) -> Tensor:
    """Three weights (a, b, c) along `dim` to (a + b, c) for the first of a pair, (a, b + c) for the second."""
    a, b, c = weight.unbind(dim)
    return torch.stack([a + b, c] if position == 0 else [a, b + c], dim)
