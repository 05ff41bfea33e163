"""Padding, upsampling, instance normalization and pooling in PyTorch, for networks and the executor of graphs.

They are here because PyTorch's versions lack something: padding by any amount, the channels-last format, ONNX export.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.engines import kernels

Padding = Literal["reflect", "replicate", "circular", "zero"]


def pad(x: Tensor, amount: int, mode: Padding) -> Tensor:
    """`x` (N, C, H, W) with `amount` pixels more on each side.

    `F.pad` reflects or wraps around by no more than the size of `x`; here more is done in several steps. Circular
    padding is slices and a concatenation: a circular `F.pad` has no counterpart in OpenVINO.
    """
    if amount == 0:
        return x
    if mode == "zero":
        return F.pad(x, (amount,) * 4)
    if mode == "replicate":
        return _pad(x, amount, mode)
    if mode == "circular":
        return _circular_pad(_circular_pad(x, amount, 2), amount, 3)
    return _reflect(x, amount)


def _reflect(x: Tensor, amount: int) -> Tensor:
    if kernels.supports(x) and amount < min(x.shape[2:]):
        return kernels.reflect(x, amount)
    while amount > 0:
        step_h, step_w = min(amount, x.shape[2] - 1), min(amount, x.shape[3] - 1)
        step = min(step_h, step_w)
        if step < 1:
            return _pad(x, amount, "replicate")
        x = _pad(x, step, "reflect")
        amount -= step
    return x


def _pad(x: Tensor, amount: int, mode: str) -> Tensor:
    if x.device.type == "meta" or not torch.is_autocast_enabled(x.device.type):
        return F.pad(x, (amount,) * 4, mode=mode)
    # On CPUs autocast pads in float32: a needless cast to float32 and back for an operation that only copies
    # elements.
    with torch.autocast(x.device.type, enabled=False):
        return F.pad(x, (amount,) * 4, mode=mode)


def _circular_pad(x: Tensor, amount: int, dim: int) -> Tensor:
    """`x` continued periodically by `amount` entries at both ends of `dim`."""
    while amount > 0:
        # Whole periods until the last step, or the enlarged feature map would not be periodic itself.
        step, size = min(amount, x.shape[dim]), x.shape[dim]
        x = torch.cat([x.narrow(dim, size - step, step), x, x.narrow(dim, 0, step)], dim)
        amount -= step
    return x


def channels_last(x: Tensor) -> Tensor:
    """`x` in the channels-last memory format, on devices where convolutions are faster in it."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type in ("cpu", "cuda") else x


def upsample2x(x: Tensor, *, bilinear: bool) -> Tensor:
    """Upsampling by 2, bilinear or nearest: (N, C, H, W) to (N, C, 2 H, 2 W)."""
    if kernels.supports(x):
        return kernels.upsample2x(x, bilinear)
    if bilinear:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class _InstanceNormFunction(torch.autograd.Function):
    """Instance normalization for training on a CPU in the channels-last memory format.

    PyTorch's own copies such feature maps to the other format and back, forward and backward, which takes several
    times as long, and for a batch of one its gradients are wrong (PyTorch 2.13). So the forward pass is group
    normalization with one channel per group: the same function, fast, if less exact where a feature map is almost
    constant. Its backward pass is slow in PyTorch, so that of batch normalization is used, one image at a time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        n, c, h, w = x.shape
        if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
            # A slice of a feature map, as `space_to_depth_conv.conv_after_upsample` returns
            x = x.contiguous(memory_format=torch.channels_last)
        y, mean, rstd = torch.native_group_norm(x, weight, bias, n, c, h * w, c, eps)
        ctx.save_for_backward(x, weight, mean.view(n, c), rstd.view(n, c))
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, rstd = ctx.saved_tensors
        # PyTorch's gradients are wrong where the two are of different memory formats.
        is_last = x.is_contiguous(memory_format=torch.channels_last)
        grad = grads[0].contiguous(memory_format=torch.channels_last if is_last else torch.contiguous_format)
        gradients = [
            torch.ops.aten.native_batch_norm_backward(
                *(grad.narrow(0, i, 1), x.narrow(0, i, 1), weight, None, None),
                *(mean[i], rstd[i], True, ctx.eps, [True, True, True]),
            )
            for i in range(len(x))
        ]
        of_input, of_weight, of_bias = zip(*gradients, strict=True)
        return torch.cat(of_input), torch.stack(of_weight).sum(0), torch.stack(of_bias).sum(0), None


class InstanceNorm(nn.Module):
    """Instance normalization with a learned scale and shift, statistics in float32.

    Each image is normalized by itself, in training and after (arXiv 1607.08022, equation 5). Squares
    overflow in half precision, hence the float32.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same, normalized over H and W. A feature map of one pixel becomes the shift."""
        if kernels.supports(x):
            return kernels.instance_norm(x, self.weight, self.bias, self.eps)
        if x.device.type == "cpu" and torch.is_grad_enabled():
            y: Tensor = _InstanceNormFunction.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
            return y
        # use_input_stats=True; called below the check in F.instance_norm, which refuses 1 x 1 feature maps.
        return torch.instance_norm(
            x, self.weight.to(x.dtype), self.bias.to(x.dtype), None, None, True, 0.0, self.eps, False
        )


def max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """The maximum of every 2 x 2 pixels, and the mask of its position.

    `x` (N, C, 2 H, 2 W) gives (N, C, H, W) and a one-hot (N, C, 4, H, W) over (top left, top right, bottom
    left, bottom right). Of equal values the first in that order wins, as in Torch7. Slices and comparisons
    only: `max_unpool2d` and its indices have no counterpart in OpenVINO, and indices into the whole feature map
    would not survive cutting it into tiles.
    """
    a, b, c, d = (x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))
    left_top, left_bottom = a >= b, c >= d
    top_row, bottom_row = torch.where(left_top, a, b), torch.where(left_bottom, c, d)
    top = top_row >= bottom_row
    argmax_mask = torch.stack([top & left_top, top & ~left_top, ~top & left_bottom, ~top & ~left_bottom], 2)
    return torch.where(top, top_row, bottom_row), argmax_mask.to(x.dtype)


def max_unpool(x: Tensor, argmax_mask: Tensor) -> Tensor:
    """`x` (N, C, H, W) placed where `max_pool` found the maxima, zeros elsewhere: (N, C, 2 H, 2 W)."""
    return F.pixel_shuffle((x.unsqueeze(2) * argmax_mask).flatten(1, 2), 2)
