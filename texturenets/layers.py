"""What generators are made of: padded convolution, normalization, upsampling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.specs import Normalization, Padding


def pad(x: Tensor, amount: int, mode: Padding) -> Tensor:
    """`x` (N, C, H, W) with `amount` pixels more on each side.

    Reflection needs more pixels than it mirrors, so a map smaller than that is mirrored as often as it
    takes. Circular padding is slices and a concatenation: a circular `F.pad` has no counterpart in
    OpenVINO.
    """
    if amount == 0:
        return x
    if mode == "zero":
        return F.pad(x, (amount,) * 4)
    if mode == "replicate":
        return F.pad(x, (amount,) * 4, mode="replicate")
    if mode == "circular":
        if min(x.shape[2:]) < amount:
            raise ValueError(f"a map of {tuple(x.shape[2:])} is too small to wrap {amount} pixels around")
        x = torch.cat([x[:, :, -amount:], x, x[:, :, :amount]], 2)
        return torch.cat([x[:, :, :, -amount:], x, x[:, :, :, :amount]], 3)
    while amount > 0:
        step_h, step_w = min(amount, x.shape[2] - 1), min(amount, x.shape[3] - 1)
        step = min(step_h, step_w)
        if step < 1:
            return F.pad(x, (amount,) * 4, mode="replicate")
        x = F.pad(x, (step,) * 4, mode="reflect")
        amount -= step
    return x


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
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: Padding = "reflect", bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, bias=bias)
        self.padding = padding
        self.amount = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        return self.conv(pad(x, self.amount, self.padding))


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
    ) -> None:
        super().__init__()
        self.conv = PaddedConv(inputs, outputs, kernel, stride, padding)
        self.norm = normalization(norm, outputs)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        x = self.norm(self.conv(x))
        return F.relu(x) if self.activation else x


class ResidualBlock(nn.Module):
    """x + normalized convolutions of x (arXiv 1603.08155, supplementary: no ReLU after the sum)."""

    def __init__(self, channels: int, *, norm: Normalization, padding: Padding) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, norm=norm, padding=padding)
        self.second = ConvBlock(channels, channels, norm=norm, padding=padding, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return x + self.second(self.first(x))


def upsample(x: Tensor) -> Tensor:
    """Twice the height and width, bilinear: (N, C, H, W) to (N, C, 2 H, 2 W).

    Weights 3/4 and 1/4 in both phases, so that neighbouring output pixels have the same variance and no
    lattice of period 2 follows, as nearest and transposed convolution leave one.
    """
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
