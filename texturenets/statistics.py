"""Statistics of feature maps: pure functions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Gram(torch.autograd.Function):
    """Features to (features, Gram matrices), with one backward for both.

    Features go on to the next layer, so their gradient is a sum of two; adding the Gram matrix's part inside
    the matrix product saves a pass over every map, a tenth of a training step on two cores.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = features.shape
        # Rows of positions: no copy where the map is channels-last.
        rows = features.permute(0, 2, 3, 1).reshape(n, h * w, c)
        if rows.dtype == torch.float16:
            rows = rows.float()  # sums of squares overflow
        product = rows.transpose(1, 2) @ rows
        ctx.save_for_backward(rows)
        ctx.shape = features.shape, features.dtype
        wide = product if product.dtype.itemsize > 4 else product.float()
        return features.view_as(features), wide / (h * w)

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
            total = torch.bmm(rows, both) / (h * w)
        else:
            onto = passed.permute(0, 2, 3, 1).reshape(n, h * w, c).to(rows.dtype)
            total = torch.baddbmm(onto, rows, both, alpha=1.0 / (h * w))
        gradient: Tensor = total.to(dtype).view(n, h, w, c).permute(0, 3, 1, 2)
        return gradient


def with_gram(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, C, H, W), to be used from here on in place of the argument, and their `gram`."""
    result: tuple[Tensor, Tensor] = _Gram.apply(features)  # type: ignore[no-untyped-call]
    return result


def gram(features: Tensor) -> Tensor:
    """Gram matrices F F^T / (H W) of features (N, C, H, W): (N, C, C), float32 or wider.

    Gatys et al., arXiv 1505.07376, equation 1, divided by the number of positions so that pictures of
    different sizes compare. The product of bf16 features runs in bf16, which accumulates in float32.
    """
    return with_gram(features)[1]


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of x (N, C, H, W), a value a picture: (N,).

    The anisotropic total variation of Johnson et al. (arXiv 1603.08155, section 3.2), as a mean over
    pixels and both directions, so that its weight does not depend on the size.
    """
    vertical = (
        (x[:, :, 1:] - x[:, :, :-1]).abs().mean((1, 2, 3)) if x.shape[2] > 1 else x.new_zeros(x.shape[0])
    )
    horizontal = (
        (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().mean((1, 2, 3))
        if x.shape[3] > 1
        else x.new_zeros(x.shape[0])
    )
    return vertical + horizontal


_WINDOW = 16  # pixels: bands a sixteenth wide, as far as a line's neighbourhood in the spectrum goes
# (rows, columns) in quarters of a cycle a pixel: all grids of 2 and of 4 pixels, each once
_LINES = ((0, 1), (0, 2), (1, 0), (2, 0), (1, 1), (1, 3), (1, 2), (2, 1), (2, 2))


_AREA = 4  # squares: a grid is often found in parts of a picture, out of step with that in others
# Sum of |c|^2 over an area whose grid has an amplitude of an eighth of a step of 8 bits, which no file shows
_UNSEEN = _AREA**2 * (_WINDOW**2 / 4 / 8 / 255) ** 2


def _waves(device: torch.device) -> Tensor:
    """Cosines and sines of `_LINES` under a Hann window: (2 * lines, 1, window, window), float32."""
    place = torch.arange(_WINDOW, device=device, dtype=torch.float32)
    bell = torch.sin(torch.pi * (place + 0.5) / _WINDOW).square()  # keeps what lies beside the line out
    bell = bell[:, None] * bell
    phases = torch.stack([(u * place[:, None] + v * place) * (torch.pi / 2) for u, v in _LINES])
    waves = torch.stack([phases.cos(), phases.sin()], 1) * bell
    # Neither a flat area nor, through the window, its brightness is a grid.
    waves = waves - bell * (waves.sum((2, 3), keepdim=True) / bell.sum())
    return waves.flatten(0, 1)[:, None]


def lattice(x: Tensor) -> Tensor:
    """How much of grids of 2 and 4 pixels the pictures x (N, C, H, W) hold: (N, lines), 0 for none.

    Strided and transposed convolutions leave grids that are in step over large parts of the picture; detail of
    the same frequency is not. So each square of 16 pixels is asked for its complex amplitude c at the frequency
    of the grid, and (|sum c|^2 - sum |c|^2) / sum |c|^2, over the 16 squares of an area of 64 pixels, is averaged
    over areas and channels. Without a grid that is zero in the mean, so that it pulls at no detail; a grid alone
    gives 15. The divisor carries no gradient: more detail is no way out. It is the detail around the line and in
    that area: at two pixels a period there is next to none in a picture, and in a calm area the eye sees the
    weakest grid. Pictures below 64 pixels have zeros.
    """
    n, c, h, w = x.shape
    rows, columns = h // _WINDOW, w // _WINDOW
    if min(rows, columns) < _AREA:
        return x.new_zeros(n, len(_LINES))
    rows, columns = rows // _AREA * _AREA, columns // _AREA * _AREA
    maps = x[:, :, : rows * _WINDOW, : columns * _WINDOW].float().reshape(n * c, 1, rows * _WINDOW, -1)
    amplitudes = torch.nn.functional.conv2d(maps, _waves(x.device), stride=_WINDOW)

    def summed(map_: Tensor) -> Tensor:  # over the squares of each area
        return torch.nn.functional.avg_pool2d(map_, _AREA) * _AREA**2

    single = summed(amplitudes.square()).view(n, c, len(_LINES), 2, -1).sum(3)
    together = summed(amplitudes).square().view(n, c, len(_LINES), 2, -1).sum(3)
    return ((together - single) / (single.detach() + _UNSEEN)).mean((1, 3))
