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
