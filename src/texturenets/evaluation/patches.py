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
import torch.nn.functional as F
from torch import Tensor

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
    pyramids, reference = [laplacian_pyramid(sample) for sample in samples], laplacian_pyramid(exemplar)
    values = {}
    for level, name in enumerate(NAMES):
        a = descriptors([pyramid[level] for pyramid in pyramids], random)
        b = descriptors([reference[level]], random)
        values[name] = SCALE * sliced_distance(a, b, random)
    return {**values, "mean": sum(values.values()) / LEVELS}


def fits(*images: Tensor) -> bool:
    """Whether all images (1, 3, H, W) are large enough."""
    return min(min(image.shape[2:]) for image in images) >= MIN_SIDE


def laplacian_pyramid(image: Tensor, levels: int = LEVELS) -> list[Tensor]:
    """The Laplacian pyramid of an image (1, C, H, W): differences of successive sizes, full size first, and last the
    smallest image.

    Burt and Adelson, 1983; odd sides are rounded up when halved.
    """
    rest, pyramid = image.float().cpu(), []
    for _ in range(levels - 1):
        smaller = _smooth(rest)[:, :, ::2, ::2]
        pyramid.append(rest - _double(smaller, (rest.shape[2], rest.shape[3])))
        rest = smaller
    return [*pyramid, rest]


def _smooth(image: Tensor) -> Tensor:
    """The binomial filter of 5 x 5, mirrored at the edges."""
    row = image.new_tensor([1, 4, 6, 4, 1]) / 16
    kernel = (row[:, None] * row).expand(image.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode="reflect"), kernel, groups=image.shape[1])


def _double(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Image (1, C, h, w) at twice its size, cut to `size` (H, W)."""
    n, c, h, w = image.shape
    spread = image.new_zeros(n, c, 2 * h, 2 * w)
    spread[:, :, ::2, ::2] = image
    return 4 * _smooth(spread)[:, :, : size[0], : size[1]]  # a quarter of the pixels is not 0


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
