"""Where a network's inputs come from, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from texturenets.outofcore.regions import Region, Size
from texturenets.outofcore.spool import Spool
from texturenets.sizes import Box


class Source(Protocol):
    """An input of the network."""

    def read(self, place: Region) -> Tensor:
        """`place` of it, float32 (1, C, height, width), on the CPU."""
        ...


class InMemory:
    """A tensor (1, C, H, W)."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def read(self, place: Region) -> Tensor:
        """See `Source`."""
        return self.values[:, :, place.top : place.bottom, place.left : place.right].float().cpu().clone()


class Computed:
    """What a function of (top, left, height, width) gives: (1, C, height, width), as noise by position is."""

    def __init__(self, function: Callable[[int, int, int, int], Tensor]) -> None:
        self.function = function

    def read(self, place: Region) -> Tensor:
        """See `Source`."""
        return self.function(place.top, place.left, place.height, place.width)


# By EXIF orientation (EXIF 2.3, section 4.6.4, tag 274): whether rows and columns change places, and which of
# them then run backwards.
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
    """Whole numbers in a `Spool`, seen upright: `first` to `last` of its channels, as floats in [0, 1]."""

    def __init__(self, spool: Spool, orientation: int = 1, channels: slice = slice(None)) -> None:
        self.spool, self.channels = spool, channels
        self.swap, self.rows_back, self.columns_back = _TURNS[orientation]
        self.size: Size = (spool.size[1], spool.size[0]) if self.swap else spool.size

    def read(self, place: Region) -> Tensor:
        """See `Source`."""
        top, bottom, left, right = place
        if self.rows_back:
            top, bottom = self.size[0] - bottom, self.size[0] - top
        if self.columns_back:
            left, right = self.size[1] - right, self.size[1] - left
        stored = Region(left, right, top, bottom) if self.swap else Region(top, bottom, left, right)
        values: NDArray[Any] = self.spool.read(stored)[:, :, self.channels]
        if self.swap:
            values = values.transpose(1, 0, 2)
        if self.rows_back:
            values = values[::-1]
        if self.columns_back:
            values = values[:, ::-1]
        most = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
        scaled = values.astype(np.float32)
        if most != 1:
            scaled /= np.float32(most)
        return torch.from_numpy(scaled).permute(2, 0, 1)[None]


class Padded:
    """A source continued by reflection at its edges, as `sizes.pad_to_multiple` pads a tensor.

    `box` (top, left, H, W) says where the source of H x W pixels lies.
    """

    def __init__(self, source: Source, box: Box) -> None:
        self.source, self.box = source, box

    def read(self, place: Region) -> Tensor:
        """See `Source`."""
        top, left, height, width = self.box
        rows, columns = (
            _mirrored(range(place.top - top, place.bottom - top), height),
            _mirrored(range(place.left - left, place.right - left), width),
        )
        inside = Region(min(rows), max(rows) + 1, min(columns), max(columns) + 1)
        x = self.source.read(inside)
        if len(rows) != inside.height or rows[0] != inside.top:
            x = x[:, :, torch.tensor(rows) - inside.top]
        if len(columns) != inside.width or columns[0] != inside.left:
            x = x[:, :, :, torch.tensor(columns) - inside.left]
        return x


def _mirrored(line: Sequence[int], size: int) -> Sequence[int]:
    if line[0] >= 0 and line[-1] < size:
        return line
    period = max(1, 2 * (size - 1))
    return [min(i % period, period - i % period) if size > 1 else 0 for i in line]


class Resized:
    """A source of `size` (H, W) at another size, as `image.resize` makes it of a tensor: bicubic, antialiased."""

    def __init__(self, source: Source, size: Size, wanted: Size) -> None:
        self.source, self.size, self.wanted = source, size, wanted

    def read(self, place: Region) -> Tensor:
        """See `Source`."""
        if self.size == self.wanted:
            return self.source.read(place)
        rows = _taps(place.top, place.bottom, self.size[0], self.wanted[0])
        columns = _taps(place.left, place.right, self.size[1], self.wanted[1])
        inside = Region(
            int(rows[0].min()), int(rows[0].max()) + 1, int(columns[0].min()), int(columns[0].max()) + 1
        )
        x = self.source.read(inside)
        x = _weighted(x, rows[0] - inside.top, rows[1], 2)
        return _weighted(x, columns[0] - inside.left, columns[1], 3).clamp_(0, 1)


def _taps(start: int, end: int, size: int, wanted: int) -> tuple[Tensor, Tensor]:
    """For each of `wanted` entries from `start` to `end`: which entries of `size` it is made of, and their weights.

    (end - start, taps) each. Keys' cubic with a = -0.5 (IEEE Trans. ASSP 29, 1981), widened where entries get
    fewer.
    """
    scale = size / wanted
    wide = max(scale, 1.0)
    centre = (torch.arange(start, end, dtype=torch.float64) + 0.5) * scale
    first = (centre - 2 * wide + 0.5).floor().long()
    index = first[:, None] + torch.arange(int(4 * wide) + 2)
    inside = (index >= 0) & (index < size) & (index < (centre + 2 * wide + 0.5).floor().long()[:, None])
    x = ((index + 0.5 - centre[:, None]) / wide).abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weight = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x))) * inside
    weight /= weight.sum(1, keepdim=True)
    return index.clamp(0, size - 1), weight.float()


def _weighted(x: Tensor, index: Tensor, weight: Tensor, dim: int) -> Tensor:
    """Sums of entries of `x` along `dim` (2 or 3)."""
    total: Tensor | None = None
    for tap in range(index.shape[1]):
        if not weight[:, tap].any():
            continue
        share = weight[:, tap, None] if dim == 2 else weight[:, tap]
        part = x.index_select(dim, index[:, tap]) * share
        total = part if total is None else total.add_(part)
    assert total is not None
    return total
