"""Combines the low frequencies of one image with the high frequencies of another, so that coarse-to-fine stylization
keeps colours."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from texturenets.arrays import A
from texturenets.image.sizes import continuation, take

SIGMA: Final = 2.0
"""Standard deviation, in pixels, of the Gaussian blur that separates low from high frequencies. From 1.5 to 6, on
tubingen.jpg at 1024 with strokes of 4 by `wave`, a reduction to 256 has a structural similarity of 0.90 to 0.78 with
the photo stylized at 256, and 0.91 to 1.00 of the energy in the top octave of plain stylization; without the blend,
colours of even regions drift."""


def gaussian_kernel() -> NDArray[np.float32]:
    """The Gaussian kernel along one axis."""
    reach = math.ceil(3 * SIGMA)
    line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * SIGMA**2))
    weights: NDArray[np.float32] = (line / line.sum()).astype(np.float32)
    return weights


def blend(wide: A, fine: A, wrap: str = "") -> A:
    """The high frequencies of `fine` with the low ones of `wide`, both (N, 3, H, W), RGB in [0, 1]; not clamped.

    `wrap`: the axes along which both wrap around, "x", "y" or "xy".
    """
    fine = fine.clip(0, 1)
    difference = wide - fine
    weights = gaussian_kernel()
    reach = len(weights) // 2
    for axis in (2, 3):
        size = difference.shape[axis]
        places = continuation(size, reach, size + 2 * reach, wraps="yx"[axis - 2] in wrap)
        padded = take(difference, axis - 4, places)
        parts = [
            float(w) * (padded[:, :, i : i + size] if axis == 2 else padded[:, :, :, i : i + size])
            for i, w in enumerate(weights)
        ]
        difference = sum(parts[1:], parts[0])
    return fine + difference
