"""What generators are made of: padded convolution, normalization, upsampling."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets import kernels, squares
from texturenets.specs import Activation, Normalization, Output, Padding


def pad(x: Tensor, amount: int, mode: Padding) -> Tensor:
    """`x` (N, C, H, W) with `amount` pixels more on each side.

    Reflection needs more pixels than it mirrors, so a map smaller than that is mirrored as often as it
    takes, and likewise wrapped around as often as it takes. Circular padding is slices and a
    concatenation: a circular `F.pad` has no counterpart in OpenVINO.
    """
    if amount == 0:
        return x
    if mode == "zero":
        return F.pad(x, (amount,) * 4)
    if mode == "replicate":
        return _pad(x, amount, mode)
    if mode == "circular":
        return _wrap(_wrap(x, amount, 2), amount, 3)
    return _reflect(x, amount)


def _reflect(x: Tensor, amount: int) -> Tensor:
    if kernels.suit(x) and amount < min(x.shape[2:]):
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
    # Autocast would pad in float32 (on the processor), and a copy needs no digits.
    with torch.autocast(x.device.type, enabled=False):
        return F.pad(x, (amount,) * 4, mode=mode)


def _wrap(x: Tensor, amount: int, dim: int) -> Tensor:
    """`x` continued periodically by `amount` entries at both ends of `dim`."""
    while amount > 0:
        # Whole periods until the last step, or the enlarged map would not be periodic itself.
        step, size = min(amount, x.shape[dim]), x.shape[dim]
        x = torch.cat([x.narrow(dim, size - step, step), x, x.narrow(dim, 0, step)], dim)
        amount -= step
    return x


def channels_last(x: Tensor) -> Tensor:
    """`x` with its channels side by side in memory, where convolutions are faster that way."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type in ("cpu", "cuda") else x


class _InstanceNorm(torch.autograd.Function):
    """Instance normalization for training on the processor, without leaving the memory format.

    PyTorch's own rearranges maps that are channels-last, forward and backward, which takes several times as long, and
    its gradients of a single such map are those of another (2.13). Forward, groups of one channel are the same thing
    and quick, if less exact where a map hardly varies; backward, they are slow.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        n, c, h, w = x.shape
        if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
            # A part of a map, as `squares.of_doubled` gives it
            x = x.contiguous(memory_format=torch.channels_last)
        y, mean, scale = torch.native_group_norm(x, weight, bias, n, c, h * w, c, eps)
        ctx.save_for_backward(x, weight, mean.view(n, 1, c), scale.view(n, 1, c))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, scale = ctx.saved_tensors
        n, c, h, w = x.shape
        # Rows of positions: no copy where the map is channels-last.
        grad = grads[0].permute(0, 2, 3, 1).reshape(n, h * w, c)
        centred = x.permute(0, 2, 3, 1).reshape(n, h * w, c) - mean.to(x.dtype)
        # Sums as products with ones: those of bf16 are accumulated in float32, and a plain sum takes longer.
        ones = grad.new_ones(n, 1, h * w)
        of_grad = (ones @ grad).to(mean.dtype)
        of_both = (ones @ (grad * centred)).to(mean.dtype) * scale  # gradient times normalized map
        factor = scale * weight
        # arXiv 1502.03167, section 3, its three gradients of x put together
        slope, offset = -factor * scale * of_both / (h * w), -factor * of_grad / (h * w)
        onto = torch.addcmul(offset.to(x.dtype), slope.to(x.dtype), centred)
        onto.addcmul_(factor.to(x.dtype), grad)
        return (
            onto.view(n, h, w, c).permute(0, 3, 1, 2),
            of_both.sum((0, 1)).to(weight.dtype),
            of_grad.sum((0, 1)).to(weight.dtype),
            None,
        )


class InstanceNorm(nn.Module):
    """Instance normalization with a learned scale and shift, statistics in float32.

    Each picture is normalized alone, in training and after (arXiv 1607.08022, equation 5). Squares
    overflow in half precision, hence the float32.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same, normalized over H and W. A map of one pixel becomes the shift."""
        if kernels.suit(x):
            return kernels.instance_norm(x, self.weight, self.bias, self.eps)
        if x.device.type == "cpu" and torch.is_grad_enabled():
            y: Tensor = _InstanceNorm.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
            return y
        # use_input_stats=True; called below the check in F.instance_norm, which refuses 1 x 1 maps.
        return torch.instance_norm(
            x, self.weight.to(x.dtype), self.bias.to(x.dtype), None, None, True, 0.0, self.eps, False
        )


def normalization(kind: Normalization, channels: int) -> nn.Module:
    """The layer that `kind` names, for maps of `channels` channels."""
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
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, bias=bias)
        self.padding = padding
        self.amount = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        if self._to_few(x):
            bias = None if self.conv.bias is None else self.conv.bias.repeat_interleave(4)
            return squares.to_few(
                pad(x, self.amount, self.padding), squares.of_square(self.conv.weight), bias
            )
        y: Tensor = self.conv(pad(x, self.amount, self.padding))
        return y

    def _to_few(self, x: Tensor) -> bool:
        """Whether `squares.to_few` can be had, and is quicker."""
        conv = self.conv
        small = conv.out_channels <= squares.NARROW and conv.stride == (1, 1) and conv.kernel_size[0] > 1
        return small and squares.suit(x) and x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0

    def of_doubled(self, x: Tensor) -> Tensor:
        """The same of x doubled by repeating its pixels: (N, inputs, H, W) to (N, outputs, 2 H, 2 W).

        The kernel has to be 3 x 3, the stride 1.
        """
        if squares.suit(x):
            mode: Padding = "replicate" if self.padding == "reflect" else self.padding
            return squares.of_doubled(pad(x, 1, mode), self.conv.weight, self.conv.bias)
        return self.forward(double(x, "nearest", self.padding))

    def without_bias(self, x: Tensor) -> Tensor:
        """As `forward`, without the bias: for a normalization, which would take it away again."""
        return F.conv2d(pad(x, self.amount, self.padding), self.conv.weight, None, self.conv.stride)


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
    ) -> None:
        """`slope`: of the ReLU below zero; a leaky one where it is not 0."""
        super().__init__()
        self.conv = PaddedConv(inputs, outputs, kernel, stride, padding=padding)
        self.norm = normalization(norm, outputs)
        self.activation, self.slope = activation, slope

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        if isinstance(self.norm, InstanceNorm) and kernels.suit(x):
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
    """x + normalized convolutions of x (arXiv 1603.08155, supplementary: no ReLU after the sum)."""

    def __init__(self, channels: int, *, norm: Normalization, padding: Padding) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, norm=norm, padding=padding)
        self.second = ConvBlock(channels, channels, norm=norm, padding=padding, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        y: Tensor = x + self.second(self.first(x))
        return y


def upsample(x: Tensor, padding: Padding = "replicate") -> Tensor:
    """Twice the height and width, bilinear: (N, C, H, W) to (N, C, 2 H, 2 W).

    Weights 3/4 and 1/4 in both phases, so that neighbouring output pixels have the same variance and no
    lattice of period 2 follows, as nearest and transposed convolution leave one. With `padding` "circular"
    the map goes on at its other end, else with its outermost pixels.
    """
    if padding == "circular":
        return twice(pad(x, 1, "circular"), bilinear=True)[:, :, 2:-2, 2:-2]
    return twice(x, bilinear=True)


def twice(x: Tensor, *, bilinear: bool) -> Tensor:
    """Twice the height and width, by repetition or between the pixels: (N, C, H, W) to (N, C, 2 H, 2 W)."""
    if kernels.suit(x):
        return kernels.double(x, bilinear)
    if bilinear:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def double(x: Tensor, how: str, padding: Padding) -> Tensor:
    """Twice the height and width, `how` "nearest" or "bilinear" (`upsample`)."""
    if how == "bilinear":
        return upsample(x, padding)
    return twice(x, bilinear=False)


def slope(activation: Activation) -> float:
    """Of a ReLU below zero; Torch7's leaky one has a hundredth."""
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


def max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of every 2 x 2 pixels, and where it was.

    `x` (N, C, 2 H, 2 W) gives (N, C, H, W) and a one-hot (N, C, 4, H, W) over (top left, top right, bottom
    left, bottom right). Of equal values the first in that order wins, as in Torch7. Slices and comparisons
    only: `max_unpool2d` and its indices have no counterpart in OpenVINO, and indices into the whole map
    would not survive cutting it into tiles.
    """
    a, b, c, d = (x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))
    left_top, left_bottom = a >= b, c >= d
    top_row, bottom_row = torch.where(left_top, a, b), torch.where(left_bottom, c, d)
    top = top_row >= bottom_row
    where = torch.stack([top & left_top, top & ~left_top, ~top & left_bottom, ~top & ~left_bottom], 2)
    return torch.where(top, top_row, bottom_row), where.to(x.dtype)


def max_unpool(x: Tensor, where: Tensor) -> Tensor:
    """`x` (N, C, H, W) put where `max_pool` found the largest, zeros elsewhere: (N, C, 2 H, 2 W)."""
    return F.pixel_shuffle((x.unsqueeze(2) * where).flatten(1, 2), 2)


# Mean of ImageNet's red, green and blue, 0..255, which the Oxford networks subtract (arXiv 1409.1556).
CAFFE_MEAN = (123.68, 116.779, 103.939)


class _Clamp(torch.autograd.Function):
    """Clamping to [0, 1] that keeps the gradient of what a step would bring back inside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,), (grad,) = ctx.saved_tensors, grads
        return grad.masked_fill(((x < 0) & (grad > 0)) | ((x > 1) & (grad < 0)), 0)


class OutputScale(nn.Module):
    """From what a generator's last convolution gives to RGB in [0, 1], without clamping.

    "caffe": the last convolution gives BGR, 0..255, minus the mean, as the reference's networks do, and
    published learning rates are meant for that. "bounded": 0.5 + 0.5 tanh, so that what is trained is what
    will be saved. "clamped": 0.5 + 0.5 x, clamped, for the same; a value outside keeps the gradient that leads
    back in, where that of a tanh dies away.
    """

    def __init__(self, kind: Output) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the same; half precision becomes float32."""
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        if self.kind == "bounded":
            return 0.5 + 0.5 * torch.tanh(x)
        if self.kind == "clamped":
            y: Tensor = 0.5 + 0.5 * x
            return _Clamp.apply(y) if y.requires_grad else y.clamp(0, 1)  # type: ignore[no-untyped-call, no-any-return]
        # Slices and numbers, not a flip and a buffer: they convert anywhere, and survive the meta device.
        red, green, blue = CAFFE_MEAN
        return torch.cat([(x[:, 2:] + red) / 255, (x[:, 1:2] + green) / 255, (x[:, :1] + blue) / 255], 1)


def torch7_init(network: nn.Module) -> None:
    """Draw the weights of `network` anew where Torch7 begins otherwise than PyTorch.

    Convolutions begin alike: uniform in +-1 / sqrt(fan-in), weights and biases. Transposed convolutions
    differ (Torch7 counts their inputs, PyTorch their outputs), and so do scales of normalizations (uniform
    in [0, 1) against one).
    """
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            bound = 1 / math.sqrt(module.in_channels * math.prod(module.kernel_size))
            nn.init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, InstanceNorm | nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
