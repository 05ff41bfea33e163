"""Statistics of a feature map, gathered strip by strip. No torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.graph import Node

Array = NDArray[np.float32]


BLOCK: Final = 2**17
"""Numbers that are summed at a time: they stay in the processor's cache."""


@dataclass
class Moments:
    """Sums over a feature map, for each channel, in float64, and the largest elements if `largest` is an array."""

    count: int = 0
    total: NDArray[np.float64] | float = 0.0
    squares: NDArray[np.float64] | float = 0.0
    largest: Array | float | None = None

    def add(self, x: NDArray[Any]) -> None:
        """Add `x` (1, height, W, C): float32, float16, or the bits of bfloat16.

        Sums over a block of pixels are in float32, by BLAS; those of all blocks in float64.
        """
        pixels = x.reshape(-1, x.shape[3])
        each = max(1, BLOCK // x.shape[3])
        total, squares = np.zeros(x.shape[3]), np.zeros(x.shape[3])
        largest = np.full(x.shape[3], -np.inf, np.float32)
        ones, space = np.ones(each, np.float32), np.empty((each, x.shape[3]), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is reported when the values are written
            for first in range(0, len(pixels), each):
                for channels, values in unpacked(pixels[first : first + each], space):
                    weights = ones[: len(values)]
                    total[channels] += weights @ values
                    if self.largest is not None:
                        largest[channels] = np.maximum(largest[channels], values.max(0))
                    np.multiply(values, values, out=values)
                    squares[channels] += weights @ values
        self.merge(Moments(len(pixels), total, squares, None if self.largest is None else largest))

    def merge(self, part: Moments) -> None:
        """Add the sums of another part of the feature map."""
        self.count += part.count
        self.total, self.squares = self.total + part.total, self.squares + part.squares
        if self.largest is not None:
            self.largest = np.maximum(np.asarray(self.largest), np.asarray(part.largest))

    def scale_and_shift(self, node: Node, weight: Array | None, bias: Array | None) -> tuple[Array, Array]:
        """The normalization `node` with these statistics and those weights (C,), as x * scale + shift: (C,) each."""
        mean, squares = np.asarray(self.total) / self.count, np.asarray(self.squares) / self.count
        if groups := node.settings["groups"]:
            each = len(mean) // groups
            mean, squares = (v.reshape(groups, each).mean(1).repeat(each) for v in (mean, squares))
        variance = (squares - mean**2).clip(0)
        scale = (1.0 if weight is None else weight) / np.sqrt(variance + node.settings["eps"])
        shift = (0.0 if bias is None else bias) - mean * scale
        return scale.astype(np.float32), np.asarray(shift, np.float32)

    def pooled(self, node: Node) -> Array:
        """The result of the `global_pool` `node`: (1, C, 1, 1)."""
        values = np.asarray(self.total) / self.count if node.settings["mode"] == "average" else self.largest
        return np.asarray(values, np.float32)[None, :, None, None]


def unpacked(x: NDArray[Any], space: Array) -> Iterator[tuple[slice, Array]]:
    """`x` (n, C), float32, float16 or the bits of bfloat16 (the upper half of float32's), as float32: which channels,
    and they, in memory of `space` (at least n, C) that the next ones take."""
    count = x.shape[1]
    if x.dtype == np.uint16 and count % 2 == 0 and sys.byteorder == "little":
        # Words of 32 bits, each of two channels, the first one below: numpy takes half as long as with 16 bits.
        words, bits = x.view(np.uint32), space.reshape(-1).view(np.uint32)[: x.size // 2].reshape(len(x), -1)
        np.left_shift(words, 16, out=bits)
        yield slice(0, None, 2), bits.view(np.float32)
        np.bitwise_and(words, 0xFFFF0000, out=bits)
        yield slice(1, None, 2), bits.view(np.float32)
        return
    values = space[: len(x)]
    if x.dtype == np.uint16:
        np.left_shift(x, 16, out=values.view(np.uint32), dtype=np.uint32)
    else:
        values[:] = x
    yield slice(None), values
