"""The Laplacian pyramid: an image as its details, octave by octave. Burt and Adelson, "The Laplacian Pyramid as a
Compact Image Code", 1983; with the filters of the program of arXiv 1710.10196."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def laplacian_pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """The pyramid of images (N, C, H, W), float32: differences of successive sizes, full size first, and last the
    smallest images. Odd sides are rounded up when halved."""
    rest, pyramid = images.float(), []
    for _ in range(levels - 1):
        smaller = _smooth(rest)[:, :, ::2, ::2]
        pyramid.append(rest - _double(smaller, (rest.shape[2], rest.shape[3])))
        rest = smaller
    return [*pyramid, rest]


def _smooth(images: Tensor) -> Tensor:
    """The binomial filter of 5 x 5, mirrored at the edges."""
    row = images.new_tensor([1, 4, 6, 4, 1]) / 16
    kernel = (row[:, None] * row).expand(images.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=images.shape[1])


def _double(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (N, C, h, w) at twice their size, cut to `size` (H, W)."""
    n, c, h, w = images.shape
    spread = images.new_zeros(n, c, 2 * h, 2 * w)
    spread[:, :, ::2, ::2] = images
    return 4 * _smooth(spread)[:, :, : size[0], : size[1]]  # a quarter of the pixels is not 0
