"""Patch distance: how far the patches of samples are, scale by scale, from those of the exemplar.

Sliced Wasserstein distance of 7 x 7 patches on the levels of a Laplacian pyramid: Karras et al., "Progressive Growing
of GANs", arXiv 1710.10196, section 5, with the filters of its program. Fine levels see grain and edges, coarse levels
the arrangement of large structures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from texturenets.losses.laplacian import laplacian_pyramid

SIDE: Final = 7  # pixels of a patch's side; section 5
LEVELS: Final = 4  # of the pyramid: the whole size, a half, a quarter, an eighth
NAMES: Final = tuple("1" if level == 0 else f"1/{2**level}" for level in range(LEVELS))
MIN_SIDE: Final = (SIDE - 1) * 2 ** (LEVELS - 1) + 1
"""Minimum shorter side in pixels: a patch still fits into the coarsest level."""

PATCHES: Final = 16384
"""Patches sampled from each of the two sets of images at each level. The paper draws 128 from each of 16384 images;
here there is one exemplar, whose 256 x 256 pixels hold four times as many places."""

DIRECTIONS: Final = 512  # random projections; the paper's program takes 4 times 128
SCALE: Final = 1e3  # the paper's tables show distances times 1000


@torch.no_grad()
def patch_distance(samples: Sequence[Tensor], exemplar: Tensor, seed: int = 0) -> dict[str, float]:
    """How far the samples' patches, taken together, are from the exemplar's, times 1000: by level, and their "mean".

    `samples` and `exemplar` are (1, 3, H, W), RGB, of any sizes from `MIN_SIDE` on; values do not change with
    brightness and contrast of a color channel, because the channels of each set are normalized to mean 0 and
    deviation 1. The levels are called "1", "1/2", "1/4" and "1/8" after their sizes. Lower is nearer; the patches of
    each set are sampled independently, so an image against itself has slightly more than 0. `seed`: of the positions
    of patches and of the directions. Raises ValueError if an image is too small.
    """
    if not fits(exemplar, *samples):
        raise ValueError(f"images below {MIN_SIDE} pixels have no patches at all {LEVELS} levels")
    random = torch.Generator().manual_seed(seed % 2**63)
    pyramids, reference = [_levels(sample) for sample in samples], _levels(exemplar)
    values = {}
    for level, name in enumerate(NAMES):
        a = descriptors([pyramid[level] for pyramid in pyramids], random)
        b = descriptors([reference[level]], random)
        values[name] = SCALE * sliced_distance(a, b, random)
    return {**values, "mean": sum(values.values()) / LEVELS}


def fits(*images: Tensor) -> bool:
    """Whether all images (1, 3, H, W) are large enough."""
    return min(min(image.shape[2:]) for image in images) >= MIN_SIDE


def _levels(image: Tensor) -> list[Tensor]:
    return laplacian_pyramid(image.float().cpu(), LEVELS)


def descriptors(images: Sequence[Tensor], random: torch.Generator, count: int = PATCHES) -> Tensor:
    """`count` patches at places drawn from all images (1, C, H, W), channels normalized: (count, C * 49)."""
    places = [(image.shape[2] - SIDE + 1) * (image.shape[3] - SIDE + 1) for image in images]
    drawn = torch.randint(sum(places), (count,), generator=random)
    parts = []
    for image, number in zip(images, places, strict=True):
        windows = image[0].unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # (C, rows, columns, 7, 7)
        here = drawn[(drawn >= 0) & (drawn < number)]
        drawn = drawn - number
        parts.append(windows[:, here // windows.shape[2], here % windows.shape[2]].transpose(0, 1))
    patches = torch.cat(parts)
    spread = patches.std((0, 2, 3), correction=0, keepdim=True)
    patches = (patches - patches.mean((0, 2, 3), keepdim=True)) / spread.clamp_min(1e-8)
    return patches.flatten(1)


def sliced_distance(a: Tensor, b: Tensor, random: torch.Generator, directions: int = DIRECTIONS) -> float:
    """Mean absolute difference of the sorted projections of a and b, both (count, D), on random unit vectors."""
    axes = torch.randn(a.shape[1], directions, generator=random)
    axes = axes / axes.norm(dim=0)
    # numpy sorts ten times as fast when it does not return indices
    rows = [np.sort((side @ axes).T.contiguous().numpy(), axis=1) for side in (a, b)]
    return float(np.abs(rows[0] - rows[1]).mean(dtype=np.float64))
