"""Which window of a hole is filled next: the one that is best known and that a strong edge runs into, so that edges
are continued before the areas at their sides. Criminisi, Perez and Toyama, "Region filling and object removal by
exemplar-based image inpainting" (2004), section 3.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from texturenets import image

FLAT = 1e-3  # added to the edge's strength, so that where there is none the best known window comes first


def next_window(picture: Tensor, known: Tensor, confidence: Tensor, side: int) -> tuple[int, float]:
    """The index of the middle of that window among the pixels, row by row, and its confidence, the mean of theirs.

    `picture` (1, 3, H, W): RGB in [0, 1]. `known` (1, 1, H, W): 1 or 0, some of each. `confidence` (1, 1, H, W): of
    each pixel, 0 where it is unknown. `side`: of a window, odd.
    """
    rim = (F.max_pool2d(known, 3, 1, 1) > 0) & (known == 0)
    mean = F.avg_pool2d(confidence, side, 1, side // 2)
    priority = mean * (_edge_strength(picture, known, side) + FLAT)
    best = int(priority.masked_fill(~rim, -1).argmax())
    return best, float(mean.flatten()[best])


def _edge_strength(picture: Tensor, known: Tensor, side: int) -> Tensor:
    """How strongly the strongest edge in each window runs into the hole, (1, 1, H, W): the paper's data term."""
    down, right = _gradient(image.luminance(picture))
    inner = F.max_pool2d(1 - known, 3, 1, 1) == 0  # at the rim the gradient is that of the hole
    down, right = down * inner, right * inner
    _, strongest = F.max_pool2d(down.square() + right.square(), side, 1, side // 2, return_indices=True)
    down, right = down.flatten()[strongest], right.flatten()[strongest]
    front_down, front_right = _gradient(F.avg_pool2d(F.pad(known, (2,) * 4, mode="replicate"), 5, 1))
    length = (front_down.square() + front_right.square()).sqrt().clamp_min(1e-6)
    # The edge is at right angles to the gradient.
    return (down * front_right - right * front_down).abs() / length


def _gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of (1, 1, H, W) down and to the right, of the same size."""
    down = F.pad(x[:, :, 2:] - x[:, :, :-2], (0, 0, 1, 1))
    right = F.pad(x[:, :, :, 2:] - x[:, :, :, :-2], (1, 1, 0, 0))
    return down, right
