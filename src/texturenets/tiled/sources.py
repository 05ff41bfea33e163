"""Inputs of a network that are read in intervals of rows: arrays, noise, files. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from texturenets.image.sizes import Box, continuation
from texturenets.tiled.rows import Interval, Size
from texturenets.tiled.spool import SpooledImage

Array = NDArray[np.float32]


class RowSource(Protocol):
    """An input of the network, read by several threads at once."""

    def read(self, rows: Interval) -> Array:
        """The given rows as float32 (1, C, height, W)."""
        ...

    def stop(self) -> None:
        """Nothing will be read any more: let reads that wait for their rows fail."""


class InMemory:
    """An array (1, C, H, W)."""

    def __init__(self, values: Array) -> None:
        self.values = values

    def read(self, rows: Interval) -> Array:
        """See `RowSource`."""
        return self.values[:, :, rows[0] : rows[1]]

    def stop(self) -> None:
        """See `RowSource`."""


class Computed:
    """An input computed by a function of (first row, height) to (1, C, height, W), as noise is."""

    def __init__(self, function: Callable[[int, int], Array]) -> None:
        self.function = function

    def read(self, rows: Interval) -> Array:
        """See `RowSource`."""
        return self.function(rows[0], rows[1] - rows[0])

    def stop(self) -> None:
        """See `RowSource`."""


# By EXIF orientation (EXIF 2.3, section 4.6.4, tag 274): whether rows and columns are transposed, and which of
# them are then reversed.
_TURNS: Final = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class OnDisk:
    """A `SpooledImage`, seen upright: `channels` of it, as floats in [0, 1]."""

    def __init__(self, stored: SpooledImage, orientation: int = 1, channels: slice = slice(None)) -> None:
        self.stored, self.channels = stored, channels
        self.swap, self.rows_back, self.columns_back = _TURNS[orientation]
        self.size: Size = (stored.size[1], stored.size[0]) if self.swap else stored.size

    def read(self, rows: Interval) -> Array:
        """See `RowSource`."""
        low, high = (self.size[0] - rows[1], self.size[0] - rows[0]) if self.rows_back else rows
        values: NDArray[Any]
        if self.swap:
            values = self.stored.read((0, self.stored.size[0]), (low, high)).transpose(1, 0, 2)
        else:
            values = self.stored.read((low, high))
        values = values[:: -1 if self.rows_back else 1, :: -1 if self.columns_back else 1, self.channels]
        planes = np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)
        planes /= np.float32(np.iinfo(values.dtype).max)
        return planes

    def stop(self) -> None:
        """See `RowSource`."""
        self.stored.stop()


class Padded:
    """A source continued at its edges to `size`, as `sizes.pad_to_multiple` pads an array: by reflection, and
    periodically along the axes of `wrap`.

    `box` (top, left, H, W) says where the source of H x W pixels lies.
    """

    def __init__(self, source: RowSource, size: Size, box: Box, wrap: str = "") -> None:
        top, left, height, width = box
        self.source = source
        self.rows = continuation(height, top, size[0], wraps="y" in wrap)
        self.columns = continuation(width, left, size[1], wraps="x" in wrap)
        self.left, self.right = left, left + width

    def read(self, rows: Interval) -> Array:
        """See `RowSource`."""
        places = self.rows[rows[0] : rows[1]]
        low, high = int(places.min()), int(places.max()) + 1
        x = self.source.read((low, high))
        if len(places) != high - low or places[0] != low:
            x = x[:, :, places - low]
        if (self.left, self.right) == (0, len(self.columns)):
            return x
        # Only the edges by index: all columns would take many times as long.
        padded = np.empty((*x.shape[:3], len(self.columns)), x.dtype)
        padded[..., self.left : self.right] = x
        padded[..., : self.left] = x[..., self.columns[: self.left]]
        padded[..., self.right :] = x[..., self.columns[self.right :]]
        return padded

    def stop(self) -> None:
        """See `RowSource`."""
        self.source.stop()


class Resized:
    """A source of `size` (H, W) resized as by `image.resize`: bicubic, antialiased."""

    def __init__(self, source: RowSource, size: Size, wanted: Size) -> None:
        self.source, self.size, self.wanted = source, size, wanted
        self.columns = _taps(0, wanted[1], size[1], wanted[1])

    def read(self, rows: Interval) -> Array:
        """See `RowSource`."""
        if self.size == self.wanted:
            return self.source.read(rows)
        index, weight = _taps(*rows, self.size[0], self.wanted[0])
        low, high = int(index.min()), int(index.max()) + 1
        x = _weighted(self.source.read((low, high)), index - low, weight, 2)
        return _weighted(x, *self.columns, 3).clip(0, 1)

    def stop(self) -> None:
        """See `RowSource`."""
        self.source.stop()


def _taps(start: int, end: int, size: int, wanted: int) -> tuple[NDArray[np.int64], Array]:
    """For the output entries `start` to `end` of `wanted`: the input entries (of `size`) that contribute, and their
    weights.

    (end - start, taps) each. Keys' cubic with a = -0.5 (IEEE Trans. ASSP 29, 1981), widened where entries get fewer.
    """
    scale = size / wanted
    wide = max(scale, 1.0)
    centre = (np.arange(start, end, dtype=np.float64) + 0.5) * scale
    first = np.floor(centre - 2 * wide + 0.5).astype(np.int64)
    index = first[:, None] + np.arange(int(4 * wide) + 2)
    past = np.floor(centre + 2 * wide + 0.5).astype(np.int64)[:, None]
    inside = (index >= 0) & (index < size) & (index < past)
    x = np.abs((index + 0.5 - centre[:, None]) / wide)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weight = np.where(x < 1, near, np.where(x < 2, far, 0.0)) * inside
    weight /= weight.sum(1, keepdims=True)
    return index.clip(0, size - 1), weight.astype(np.float32)


def _weighted(x: Array, index: NDArray[np.int64], weight: Array, axis: int) -> Array:
    """Sums of entries of `x` along `axis` (2 or 3)."""
    total: Array | None = None
    for tap in range(index.shape[1]):
        if not weight[:, tap].any():
            continue
        share = weight[:, tap, None] if axis == 2 else weight[:, tap]
        part = np.take(x, index[:, tap], axis) * share
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total
