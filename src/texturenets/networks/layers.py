"""Layers of generators: padded convolution, normalization, upsampling."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.engines import kernels, space_to_depth_conv
from texturenets.engines.primitives import InstanceNorm, Padding, pad, upsample2x
from texturenets.graph.passes.space_to_depth import FEW_CHANNELS
from texturenets.networks.spec import Activation, Normalization, Output


def normalization(kind: Normalization, channels: int) -> nn.Module:
    """The layer that `kind` names, for feature maps of `channels` channels."""
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.Identity()


class PaddedConv(nn.Module):
    """Padding that keeps the size, then convolution (kernel odd; the size over `stride`, rounded up)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        padding: Padding = "reflect",
        bias: bool = True,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, bias=bias, dilation=dilation)
        self.padding = padding
        self.amount = dilation * (kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        if self._has_few_outputs(x):
            padded = pad(x, self.amount, self.padding)
            return space_to_depth_conv.conv_to_few_channels(padded, self.conv.weight, self.conv.bias)
        y: Tensor = self.conv(pad(x, self.amount, self.padding))
        return y

    def _has_few_outputs(self, x: Tensor) -> bool:
        """Whether `space_to_depth_conv.conv_to_few_channels` can be used, and is faster."""
        conv = self.conv
        few = (
            conv.out_channels <= FEW_CHANNELS
            and conv.stride == conv.dilation == (1, 1)
            and conv.kernel_size[0] > 1
        )
        return few and space_to_depth_conv.supports(x) and x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0

    def conv_after_upsample(self, x: Tensor) -> Tensor:
        """As `forward`, of x upsampled by 2 ("nearest"): (N, inputs, H, W) to (N, outputs, 2 H, 2 W).

        The kernel has to be 3 x 3, the stride 1.
        """
        if space_to_depth_conv.supports(x):
            mode: Padding = "replicate" if self.padding == "reflect" else self.padding
            return space_to_depth_conv.conv_after_upsample(pad(x, 1, mode), self.conv.weight, self.conv.bias)
        return self.forward(upsample(x, "nearest", self.padding))

    def without_bias(self, x: Tensor) -> Tensor:
        """As `forward`, without the bias: for a following normalization, which would cancel it."""
        conv = self.conv
        padded = pad(x, self.amount, self.padding)
        return F.conv2d(padded, conv.weight, None, conv.stride, dilation=conv.dilation)


class ConvBlock(nn.Module):
    """Padded convolution, normalization, and a ReLU unless `activation` is off."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        norm: Normalization,
        padding: Padding,
        activation: bool = True,
        slope: float = 0.0,
        dilation: int = 1,
    ) -> None:
        """`slope`: of the ReLU below zero; a leaky one if it is not 0."""
        super().__init__()
        self.conv = PaddedConv(inputs, outputs, kernel, stride, padding=padding, dilation=dilation)
        self.norm = normalization(norm, outputs)
        self.activation, self.slope = activation, slope

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        if isinstance(self.norm, InstanceNorm) and kernels.supports(x):
            relu = self.activation and not self.slope
            norm, conv = self.norm, self.conv
            x = kernels.instance_norm(
                conv.without_bias(x), norm.weight, norm.bias, norm.eps, relu, conv.conv.bias
            )
            if relu:
                return x
        else:
            x = self.norm(self.conv(x))
        if not self.activation:
            return x
        return F.leaky_relu(x, self.slope) if self.slope else F.relu(x)


class ResidualBlock(nn.Module):
    """x + normalized convolutions of x (arXiv 1603.08155, supplementary: no ReLU after the sum).

    `dilation`: of the first of the two convolutions.
    """

    def __init__(self, channels: int, *, norm: Normalization, padding: Padding, dilation: int = 1) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, norm=norm, padding=padding, dilation=dilation)
        self.second = ConvBlock(channels, channels, norm=norm, padding=padding, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        y: Tensor = x + self.second(self.first(x))
        return y


def upsample_bilinear(x: Tensor, padding: Padding = "replicate") -> Tensor:
    """Twice the height and width, bilinear: (N, C, H, W) to (N, C, 2 H, 2 W).

    Weights 3/4 and 1/4 in both phases, so that neighbouring output pixels have the same variance and there is no
    checkerboard of period 2, as with nearest-neighbour upsampling or transposed convolution. With `padding`
    "circular" the feature map wraps around, else its outermost pixels are repeated.
    """
    if padding == "circular":
        return upsample2x(pad(x, 1, "circular"), bilinear=True)[:, :, 2:-2, 2:-2]
    return upsample2x(x, bilinear=True)


def upsample(x: Tensor, mode: str, padding: Padding) -> Tensor:
    """Twice the height and width, `mode` "nearest" or "bilinear" (`upsample_bilinear`)."""
    if mode == "bilinear":
        return upsample_bilinear(x, padding)
    return upsample2x(x, bilinear=False)


def slope(activation: Activation) -> float:
    """Negative slope of the activation: 0.01 for LeakyReLU, as in Torch7, 0 for ReLU."""
    return 0.01 if activation == "leaky_relu" else 0.0


class TransposedConv(nn.Module):
    """Transposed convolution of stride 2 that doubles the size exactly.

    Kernel 3 crops one pixel and adds one at the far end (the reference's master branch). Kernel 4 pads
    first (its diversity branch, which pads by 2 and crops 5: the outer pixel never reaches the output, so
    here it is 1 and 3).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: Padding) -> None:
        super().__init__()
        if kernel not in (3, 4):
            raise ValueError(f"a transposed convolution has kernel 3 or 4, not {kernel}")
        self.amount = 1 if kernel == 4 else 0
        self.padding = padding
        crop, extra = (3, 0) if kernel == 4 else (1, 1)
        self.conv = nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding=crop, output_padding=extra)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, 2 H, 2 W)."""
        y: Tensor = self.conv(pad(x, self.amount, self.padding))
        return y


CAFFE_MEAN = (123.68, 116.779, 103.939)
"""Mean of ImageNet's red, green and blue, 0..255, which the Oxford networks subtract (arXiv 1409.1556)."""


class _Clamp(torch.autograd.Function):
    """Clamping to [0, 1] that keeps gradients pointing back into the range."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,), (grad,) = ctx.saved_tensors, grads
        return grad.masked_fill(((x < 0) & (grad > 0)) | ((x > 1) & (grad < 0)), 0)


class OutputScale(nn.Module):
    """Converts the output of a generator's last convolution to RGB in [0, 1].

    "caffe": the convolution's output is BGR, 0..255, minus the mean, as in the reference's networks, for which
    published learning rates are meant; the result is not clamped. "bounded": 0.5 + 0.5 tanh(x), so that training sees
    the image that will be saved. "clamped": 0.5 + 0.5 x, clamped to [0, 1], for the same reason; outside the range
    the gradient back into it is kept, while that of a tanh vanishes.
    """

    def __init__(self, kind: Output) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the same shape; half precision becomes float32."""
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        if self.kind == "bounded":
            return 0.5 + 0.5 * torch.tanh(x)
        if self.kind == "clamped":
            y: Tensor = 0.5 + 0.5 * x
            return _Clamp.apply(y) if y.requires_grad else y.clamp(0, 1)  # type: ignore[no-untyped-call, no-any-return]
        # Slices and numbers, not a flip and a buffer: all converters support them, and so does the meta device.
        red, green, blue = CAFFE_MEAN
        return torch.cat([(x[:, 2:] + red) / 255, (x[:, 1:2] + green) / 255, (x[:, :1] + blue) / 255], 1)


def torch7_init(network: nn.Module) -> None:
    """Reinitialize the weights of `network` where Torch7's initialization differs from PyTorch's. Convolutions are
    the same: uniform in +-1 / sqrt(fan-in), weights and biases. Transposed convolutions differ (Torch7 counts their
    inputs, PyTorch their outputs), and so do scales of normalizations (uniform in [0, 1) against one).
    """
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            bound = 1 / math.sqrt(module.in_channels * math.prod(module.kernel_size))
            nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, InstanceNorm | nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
