"""Weights of convolutions by squares of 2 x 2 pixels; `engines.space_to_depth_conv` says why, for PyTorch.

A square's four places come one after the other, as `shuffle` and `unshuffle` have it with order=places. Weights are
(outputs, inputs, rows, columns).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def of_square(weight: Array) -> Array:
    """(O, I, h, w) to (4 O, I, h + 1, w + 1), with a stride of 2: the results of a square at once."""
    outputs, inputs, height, width = weight.shape
    wide = np.zeros((2, 2, outputs, inputs, height + 1, width + 1), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            wide[down, right, :, :, down : down + height, right : right + width] = weight
    return wide.reshape(4 * outputs, inputs, height + 1, width + 1)


def of_doubled(weight: Array) -> Array:
    """(O, I, 3, 3) to (4 O, I, 2, 2): what it makes of a doubled feature map, for the map before it was doubled.

    Of the map padded by 1 these make (H + 1) x (W + 1) squares; the outermost results are those of the padding.
    """
    # Counted from one pixel before the small map, the square at p holds the second result of pixel p - 1, which sees
    # that pixel twice and the next one once, and the first of pixel p, which sees the one before once and p twice.
    return np.concatenate([_pair(_pair(weight, 2, down), 3, right) for down in (0, 1) for right in (0, 1)])


def _pair(weight: Array, axis: int, place: int) -> Array:
    """Three weights along `axis` to two: the first two fall onto one pixel at place 0, the last two at place 1."""
    one, two, three = np.moveaxis(weight, axis, 0)
    return np.stack([one + two, three] if place == 0 else [one, two + three], axis)


def of_squares(weight: Array) -> Array:
    """(O, I, 3, 3) to (4 O, 4 I, 2, 2): results in squares of a map in squares that begins a pixel further out."""
    count, inner = weight.shape[:2]
    # Rows, columns; outputs; rows, columns of the input; inputs; y, x
    squares = np.zeros((2, 2, count, 2, 2, inner, 2, 2), np.float32)
    for i in range(2):
        for j in range(2):
            # Of the window's four rows, two squares, result i looks at i to i + 2.
            wide = np.zeros((count, inner, 4, 4), np.float32)
            wide[:, :, i : i + 3, j : j + 3] = weight
            squares[i, j] = wide.reshape(count, inner, 2, 2, 2, 2).transpose(0, 3, 5, 1, 2, 4)
    return squares.reshape(4 * count, 4 * inner, 2, 2)
