"""Small changes of photos for the temporal consistency loss, like those from one video frame to the next."""

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
"""Maximum shift of a photo in pixels, in each direction: as large as the stride of the default
generator, so that all its phases occur."""

NOISE: Final = 0.01
"""Standard deviation of the noise added to each number in [0, 1], 2.5 of 255: twice what frames of a compressed video
differ by along its motion."""

GRAINS: Final = (1, 2, 4, 8, 16)
"""Sides in pixels of the squares of noise, each size with the same share. Compression noise has the size of the
codec's blocks, and networks respond twice as strongly to a grain of 4 pixels as to one of single pixels. A model
trained with noise in single pixels alone flickered 0.65 times as much as one trained without this loss, and its
response to grains of 4 pixels was 0.63 times as large: that response predicts flicker, so such grains are trained
with, too (docs/measurements.md, Flicker).
"""

GREY: Final = 0.8
"""Share of the noise's variance that is common to all channels, as in most of a video's noise."""

BRIGHTNESS: Final = 0.05
"""Maximum relative change of brightness: as when a camera adjusts its exposure."""

MIN_SIDE: Final = 2 * (SHIFT + BORDER) + 8
"""Minimum side of the photos in pixels."""


@dataclass(frozen=True)
class Moved:
    """Photos (N, 3, H, W), and the shift of each in pixels: (down, right)."""

    photos: Tensor
    shifts: list[tuple[int, int]]

    def __getitem__(self, these: slice) -> Moved:
        """A part of the batch."""
        return Moved(self.photos[these], self.shifts[these])


def move(photos: Tensor, keys: Sequence[tuple[int, ...]]) -> Moved:
    """Photos (N, 3, H, W), RGB in [0, 1], shifted, made lighter or darker, and noisy; the change of each depends only
    on its key."""
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
