"""Statistics of feature maps: pure functions."""

from __future__ import annotations

from torch import Tensor


def gram(features: Tensor) -> Tensor:
    """Gram matrices F F^T / (H W) of features (N, C, H, W): (N, C, C), float32 or wider.

    Gatys et al., arXiv 1505.07376, equation 1, divided by the number of positions so that pictures of
    different sizes compare. The product runs in the features' own precision (a matrix product accumulates
    in float32 in any), the result is float32: squares and sums overflow in half precision.
    """
    n, c, h, w = features.shape
    # Rows of positions: no copy where the map is channels-last.
    rows = features.permute(0, 2, 3, 1).reshape(n, h * w, c)
    scaled = rows / float(h * w) ** 0.5  # before the product: sums of half-precision squares overflow
    product: Tensor = scaled.transpose(1, 2) @ scaled
    return product if product.dtype.itemsize > 4 else product.float()


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


def lattice(x: Tensor, period: int = 4) -> Tensor:
    """How much of a grid of `period` pixels the pictures x (N, C, H, W) hold, a value each (N,): 1 for white noise.

    The means over the pixels of each phase (row and column modulo `period`) are compared: their variance,
    times the pixels that a mean is over, divided by the variance inside the cells of the grid. The divisor
    carries no gradient: more detail is no way out. Strided layers leave such grids; a line of 25 dB in the
    spectrum of a picture of 512 x 340 pixels is about 40 here, photos have 1 to 8.
    """
    n, c, h, w = x.shape
    rows, columns = h // period, w // period
    if not rows or not columns:
        return x.new_zeros(n)
    cells = x[:, :, : rows * period, : columns * period].reshape(n, c, rows, period, columns, period)
    phases = cells.mean((2, 4))
    phases = phases - phases.mean((2, 3), keepdim=True)
    inside = (cells - cells.mean((3, 5), keepdim=True)).square().mean((1, 2, 3, 4, 5)).detach()
    return phases.square().mean((1, 2, 3)) * (rows * columns) / (inside + 1e-8)
