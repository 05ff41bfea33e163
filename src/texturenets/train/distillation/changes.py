"""Augmentations, so that a distillation sees more than photos: colors, blurs, noise, grids, shifts. All convert an
image (3, S, S), RGB in [0, 1], to another; the random generator determines the change.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Random = np.random.Generator
Change = Callable[[Tensor, Random], Tensor]


def change(image: Tensor, random: Random) -> Tensor:
    """One to three changes, one after the other."""
    for _ in range(int(random.integers(1, 4))):
        image = CHANGES[int(random.integers(len(CHANGES)))](image, random).clamp(0, 1)
    return image


def recolor(image: Tensor, random: Random) -> Tensor:
    """Mix the channels: usually slightly, sometimes arbitrarily; then change contrast and brightness."""
    amount = 0.15 if random.random() < 0.6 else 0.6
    matrix = np.eye(3) + amount * random.standard_normal((3, 3))
    middle = image.mean((1, 2), keepdim=True)
    mixed = torch.einsum("ij,jhw->ihw", torch.tensor(matrix, dtype=image.dtype), image - middle)
    offset = torch.tensor(0.1 * random.standard_normal((3, 1, 1)), dtype=image.dtype)
    made: Tensor = mixed * float(np.exp(0.3 * random.standard_normal())) + middle + offset
    return made


def grey(image: Tensor, random: Random) -> Tensor:
    """Reduce or remove color."""
    share = float(random.uniform(0.3, 1))
    return image + share * (image.mean(0, keepdim=True) - image)


def blur(image: Tensor, random: Random) -> Tensor:
    """Blur with a Gaussian of 0.5 to 3 pixels."""
    sigma = float(random.uniform(0.5, 3))
    radius = min(int(3 * sigma) + 1, image.shape[1] - 1)
    at = torch.arange(-radius, radius + 1, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    padded = F.pad(image[:, None], (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel), kernel.transpose(2, 3))[:, 0]


def grain(image: Tensor, random: Random) -> Tensor:
    """Add noise with a grain of one or several pixels."""
    size, side = int(2 ** random.integers(0, 4)), image.shape[1]
    coarse = torch.tensor(
        random.standard_normal((1, 3, -(-side // size), -(-side // size))), dtype=image.dtype
    )
    noise = F.interpolate(coarse, scale_factor=size, mode="nearest" if random.random() < 0.5 else "bilinear")
    return image + float(np.exp(random.uniform(-4.5, -1.2))) * noise[0, :, :side, :side]


def grid(image: Tensor, random: Random) -> Tensor:
    """Add a checkerboard or stripes of 2, 4 or 8 pixels, as strided layers cause them."""
    period, side = int(2 ** random.integers(1, 4)), image.shape[1]
    cell = torch.tensor(random.standard_normal((3, period, period)), dtype=image.dtype)
    if random.random() < 0.5:
        cell = cell.mean(int(random.integers(1, 3)), keepdim=True).expand(-1, period, period)
    times = -(-side // period)
    tiled = cell.repeat(1, times, times)[:, :side, :side]
    return image + float(np.exp(random.uniform(-4.5, -2))) * tiled


def coarsen(image: Tensor, random: Random) -> Tensor:
    """Reduce the resolution and enlarge again."""
    side = image.shape[1]
    small = F.interpolate(image[None], size=max(4, int(side / random.uniform(1.5, 6))), mode="area")
    mode = ("nearest", "bilinear", "bicubic")[int(random.integers(3))]
    return F.interpolate(small, size=side, mode=mode)[0]


def shift(image: Tensor, random: Random) -> Tensor:
    """Shift circularly by up to 8 pixels."""
    down, right = (int(n) for n in random.integers(-8, 9, 2))
    return image.roll((down, right), (1, 2))


def flatten(image: Tensor, random: Random) -> Tensor:
    """Blend with the mean color: less contrast."""
    share = float(random.uniform(0.3, 0.95))
    return image + share * (image.mean((1, 2), keepdim=True) - image)


CHANGES: tuple[Change, ...] = (
    recolor,
    recolor,
    grey,
    blur,
    blur,
    grain,
    grain,
    grid,
    coarsen,
    shift,
    flatten,
)
"""All changes; those listed twice are twice as frequent."""
