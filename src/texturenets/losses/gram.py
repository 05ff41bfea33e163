"""Gram matrices of feature maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Gram(torch.autograd.Function):
    """Features to (features, Gram matrices), with one backward for both.

    Features go on to the next layer, so their gradient is a sum of two; adding the Gram matrix's part inside
    the matrix product saves a pass over every feature map, a tenth of a training step on two cores.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = features.shape
        # Rows of positions: no copy where the feature map is channels-last.
        rows = features.permute(0, 2, 3, 1).reshape(n, h * w, c)
        if rows.dtype == torch.float16:
            rows = rows.float()  # sums of squares overflow
        ctx.save_for_backward(rows)
        ctx.shape = features.shape, features.dtype
        ctx.set_materialize_grads(False)  # no map of zeros where nothing follows
        # Not `view_as`: it changes the first stride of a batch of one, and a channels-last map is then not known as
        # one, and copied before and after each pooling.
        return features.detach(), mean_products(rows, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Tensor | None:
        (rows,) = ctx.saved_tensors
        (n, c, h, w), dtype = ctx.shape
        passed, matrix = grads
        total: Tensor
        if matrix is None:
            return passed
        # d(F F^T) = dG F + dG^T F
        both = (matrix + matrix.transpose(1, 2)).to(rows.dtype)
        if passed is None:
            total = torch.bmm(rows, both / (h * w))
        else:
            onto = passed.permute(0, 2, 3, 1).reshape(n, h * w, c).to(rows.dtype)
            total = torch.baddbmm(onto, rows, both, alpha=1.0 / (h * w))
        gradient: Tensor = total.to(dtype).view(n, h, w, c).permute(0, 3, 1, 2)
        return gradient


def mean_products(one: Tensor, other: Tensor) -> Tensor:
    """Means over positions of the products of channels, (N, P, C) and (N, P, C): (N, C, C), float32 or wider."""
    if one.dtype == torch.float16:
        one, other = one.float(), other.float()  # sums of squares overflow
    if one.device.type == "cpu":  # bmm would first copy the transposed maps
        product = torch.stack([a.t() @ b for a, b in zip(one, other, strict=True)])
    else:
        product = one.transpose(1, 2) @ other
    wide = product if product.dtype.itemsize > 4 else product.float()
    return wide / one.shape[1]


def with_gram(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, C, H, W), to be used from here on in place of the argument, and their `gram`."""
    result: tuple[Tensor, Tensor] = _Gram.apply(features)  # type: ignore[no-untyped-call]
    return result


def gram(features: Tensor) -> Tensor:
    """Gram matrices F F^T / (H W) of features (N, C, H, W): (N, C, C), float32 or wider.

    Gatys et al., arXiv 1505.07376, equation 1, divided by the number of positions so that images of
    different sizes compare. The product of bf16 features runs in bf16, which accumulates in float32.
    """
    return with_gram(features)[1]
