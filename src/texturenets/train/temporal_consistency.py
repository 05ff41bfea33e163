"""Photos changed a little, for the temporal consistency loss: what a video does from one frame to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from texturenets.image.sizes import mirrored, take
from texturenets.losses.temporal_consistency import BORDER

SHIFT: Final = 4
"""Pixels that a photo is moved by at most, each way: a period of the default network's grid."""

NOISE: Final = 0.01
"""Standard deviation of the noise added to each number in [0, 1], 2.5 of 255: twice what frames of a compressed video
differ by along its motion."""

GRAINS: Final = (1, 2, 4, 8, 16)
"""Sides in pixels of the squares that the noise is made of, each size with the same share.

What a codec leaves has the size of its blocks, and networks answer to grain of 4 pixels twice as much as to that of
single ones. Trained with the latter alone, a model flickered 0.65 times as much as before, and its answer to the
former was 0.63 times as large.
"""

GREY: Final = 0.8
"""Share of the noise, squared, that is the same in all channels, as most of a video's is."""

BRIGHTNESS: Final = 0.05
"""Share by which a photo becomes lighter or darker at most: a camera that sets its exposure anew."""

MIN_SIDE: Final = 2 * (SHIFT + BORDER) + 8
"""Pixels of a side of the photos, at least."""


@dataclass(frozen=True)
class Moved:
    """Photos (N, 3, H, W), and by how many pixels each was moved: (down, right)."""

    photos: Tensor
    shifts: list[tuple[int, int]]

    def __getitem__(self, these: slice) -> Moved:
        """Some of them."""
        return Moved(self.photos[these], self.shifts[these])


def move(photos: Tensor, keys: Sequence[tuple[int, ...]]) -> Moved:
    """Photos (N, 3, H, W), RGB in [0, 1], moved, made lighter or darker, and noisy; each only by its own key."""
    made, shifts = [], []
    for photo, key in zip(photos, keys, strict=True):
        random = np.random.default_rng(key)
        down, right = (int(n) for n in random.integers(-SHIFT, SHIFT + 1, 2))
        factor = 1 + random.uniform(-BRIGHTNESS, BRIGHTNESS)
        moved = photo
        for axis, by in ((-2, down), (-1, right)):
            size = photo.shape[axis]
            moved = take(moved, axis, mirrored(size, by, size))
        made.append((moved * factor + torch.from_numpy(_grain(random, photo.shape)).to(photo)).clamp(0, 1))
        shifts.append((down, right))
    return Moved(torch.stack(made), shifts)


def _grain(random: np.random.Generator, shape: Sequence[int]) -> NDArray[np.float32]:
    """Noise of standard deviation `NOISE` in squares of all sizes, (3, H, W)."""
    channels, height, width = shape
    total = np.zeros((channels, height, width), np.float32)
    for side in GRAINS:
        down, right = random.integers(0, side, 2)
        squares = (channels + 1, height // side + 2, width // side + 2)
        drawn = random.standard_normal(squares, np.float32)
        drawn = GREY**0.5 * drawn[:1] + (1 - GREY) ** 0.5 * drawn[1:]
        spread = drawn.repeat(side, 1).repeat(side, 2)
        total += spread[:, down : down + height, right : right + width]
    return total * np.float32(NOISE / len(GRAINS) ** 0.5)
