"""Triton kernels for the operations between convolutions, for GPUs; Triton is installed with PyTorch for CUDA.

PyTorch's own instance normalization and reflection padding do not keep the channels-last layout that convolutions
need, and they normalize with one block of threads per channel: they take most of the time of an image. Maps here are
(N, C, H, W) with their channels side by side in memory; statistics are float32 in any precision.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

_PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


def supports(x: Tensor) -> bool:
    """Whether the functions here support `x`: a tensor, not a proxy during tracing."""
    return isinstance(x, Tensor) and x.is_cuda and x.dtype in _PRECISIONS and _triton()


@functools.cache
def _triton() -> bool:
    return find_spec("triton") is not None


class _FusedInstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool, skipped_bias: Tensor | None
    ) -> Tensor:
        from texturenets.engines.kernels import launch

        x = x.contiguous(memory_format=torch.channels_last)
        mean, scale = launch.moments(x, eps)
        ctx.save_for_backward(x, weight, bias, mean, scale)
        ctx.relu, ctx.skipped_bias = relu, skipped_bias
        return launch.normalized(x, mean, scale, weight, bias, relu)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, Tensor | None]:
        from texturenets.engines.kernels import launch

        grad = grads[0].contiguous(memory_format=torch.channels_last)
        x, weight, bias, mean, scale = ctx.saved_tensors
        dx, dw, db = launch.normalized_backward(grad, x, weight, bias, mean, scale, ctx.relu)
        skipped_bias = None if ctx.skipped_bias is None else torch.zeros_like(ctx.skipped_bias)
        return dx, dw.sum(0).to(weight.dtype), db.sum(0).to(bias.dtype), None, None, skipped_bias


def instance_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    relu: bool = False,
    skipped_bias: Tensor | None = None,
) -> Tensor:
    """Instance normalization of x (N, C, H, W) with scale and shift (C,), and with `relu` a ReLU after it.

    `skipped_bias`: the bias that the convolution before it left out, as normalization cancels it. Its gradient is
    zero.
    """
    y: Tensor = _FusedInstanceNorm.apply(x, weight, bias, eps, relu, skipped_bias)  # type: ignore[no-untyped-call]
    return y


class _Reflect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, amount: int) -> Tensor:
        from texturenets.engines.kernels import launch

        ctx.amount = amount
        return launch.reflected(x.contiguous(memory_format=torch.channels_last), amount)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        from texturenets.engines.kernels import launch

        grad = grads[0].contiguous(memory_format=torch.channels_last)
        return launch.reflected_backward(grad, ctx.amount), None


def reflect(x: Tensor, amount: int) -> Tensor:
    """x (N, C, H, W) reflection-padded by `amount` pixels on each side; H and W are larger than that."""
    y: Tensor = _Reflect.apply(x, amount)  # type: ignore[no-untyped-call]
    return y


class _Upsample2x(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bilinear: bool) -> Tensor:
        from texturenets.engines.kernels import launch

        ctx.bilinear = bilinear
        return launch.upsampled2x(x.contiguous(memory_format=torch.channels_last), bilinear)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        from texturenets.engines.kernels import launch

        grad = grads[0].contiguous(memory_format=torch.channels_last)
        return launch.upsampled2x_backward(grad, ctx.bilinear), None


def upsample2x(x: Tensor, bilinear: bool) -> Tensor:
    """x (N, C, H, W) with twice the height and width, as `F.interpolate` "bilinear", or else "nearest", gives it."""
    y: Tensor = _Upsample2x.apply(x, bilinear)  # type: ignore[no-untyped-call]
    return y
