"""Photos disturbed a little, for the stability loss: what a film does from one frame to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from texturenets.sizes import mirrored, take

SHIFT: Final = 4
"""Pixels that a photo is moved by at most, each way: a period of the default network's grid."""

NOISE: Final = 0.02
"""Standard deviation of the noise added to each number in [0, 1]: 5 of 255, that of a film in dim light."""

BRIGHTNESS: Final = 0.05
"""Share by which a photo becomes lighter or darker at most: a camera that sets its exposure anew."""

BORDER: Final = 16
"""Pixels from the edge that are not compared: there a network sees what moved in, or its own padding."""

LEAST: Final = 2 * (SHIFT + BORDER) + 8
"""Pixels of a side of the photos, at least."""


@dataclass(frozen=True)
class Disturbed:
    """Photos (N, 3, H, W), and by how many pixels each was moved: (down, right)."""

    photos: Tensor
    shifts: list[tuple[int, int]]

    def part(self, these: slice) -> Disturbed:
        """Some of them."""
        return Disturbed(self.photos[these], self.shifts[these])


def disturb(photos: Tensor, keys: Sequence[tuple[int, ...]]) -> Disturbed:
    """Photos (N, 3, H, W), RGB in [0, 1], moved, made lighter or darker, and noisy; each by its own key alone."""
    made, shifts = [], []
    for photo, key in zip(photos, keys, strict=True):
        random = np.random.default_rng(key)
        down, right = (int(n) for n in random.integers(-SHIFT, SHIFT + 1, 2))
        factor = 1 + random.uniform(-BRIGHTNESS, BRIGHTNESS)
        noise = random.standard_normal(photo.shape, np.float32) * np.float32(NOISE)
        moved = photo
        for axis, by in ((-2, down), (-1, right)):
            size = photo.shape[axis]
            moved = take(moved, axis, mirrored(size, by, size))
        made.append((moved * factor + torch.from_numpy(noise).to(photo)).clamp(0, 1))
        shifts.append((down, right))
    return Disturbed(torch.stack(made), shifts)
