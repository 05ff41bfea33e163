"""What each operation must see of its sources to give one region of its map. No torch.

A region is a rectangle; along an axis it is an interval. Everything here is separable: rows and columns have
the same rules, with settings of their own for paddings and crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from typing import Final, NamedTuple

from texturenets.graph import Node

Interval = tuple[int, int]  # from, up to and without
Size = tuple[int, int]  # height, width


class Region(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the latter of each excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def area(self) -> int:
        """Pixels."""
        return self.height * self.width

    def holds(self, other: Region) -> bool:
        """Whether `other` lies inside."""
        return (
            self.top <= other.top
            and other.bottom <= self.bottom
            and self.left <= other.left
            and other.right <= self.right
        )

    def around(self, other: Region) -> Region:
        """The smallest region with both in it."""
        return Region(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )


POINTWISE: Final = frozenset(
    [
        "norm",
        "affine",
        "batch_norm",
        "select",
        "silu",
        "gelu",
        "div",
        "relu",
        "leaky_relu",
        "prelu",
        "elu",
        "tanh",
        "sigmoid",
        "clamp",
        "linear",
        "add",
        "mul",
        "concat",
    ]
)


def map_size(node: Node, picture: Size) -> Size:
    """Height and width of the node's map for a picture of that size, a multiple of the network's stride."""
    height, width = (Fraction(side) * node.scale for side in picture)
    return int(height) + node.extra, int(width) + node.extra_columns


@dataclass(frozen=True)
class Axis:
    """One axis of an operation: its source has `size` entries; `before` is the padding or crop ahead of it."""

    node: Node
    size: int
    before: int
    kernel: int = 1


def axes(node: Node, source: Size) -> tuple[Axis, Axis]:
    """Rows and columns of `node`, whose (first) source is of that size."""
    top, _, left, _ = node.settings.get("amount", node.settings.get("crop", (0, 0, 0, 0)))
    rows, columns = node.settings.get("kernel", (1, 1))
    return Axis(node, source[0], top, rows), Axis(node, source[1], left, columns)


def wrapped(start: int, end: int, size: int) -> list[Interval]:
    """The intervals of a periodic line of `size` entries that `start` to `end` runs through, in this order."""
    cuts = [start, *(k * size for k in range(start // size + 1, -(-end // size))), end]
    return [(a % size, a % size + b - a) for a, b in pairwise(cuts)]


def needs(axis: Axis, start: int, end: int) -> list[Interval]:  # noqa: PLR0911 (one a kind of operation)
    """The intervals of the source that entries `start` to `end` of the map depend on.

    One, but for circular padding, which takes what it needs from both ends, in the order in which it stands.
    """
    operation, s, size = axis.node.operation, axis.node.settings, axis.size
    match operation:
        case "pad":
            return _padded(axis, start - axis.before, end - axis.before)
        case "crop":
            return [(start + axis.before, end + axis.before)]
        case "conv" | "avg_pool" | "max_pool":
            reach = s.get("dilation", 1) * (axis.kernel - 1) + 1
            return [(start * s["stride"], (end - 1) * s["stride"] + reach)]
        case "deconv":
            first, last = start + axis.before, end - 1 + axis.before
            low = max(0, -((axis.kernel - 1 - first) // s["stride"]))
            return [_inside(low, last // s["stride"] + 1, size)]
        case "upsample":
            f = s["factor"]
            if s["mode"] == "nearest":
                return [(start // f, (end - 1) // f + 1)]
            if s["mode"] == "bilinear":
                return [_inside(start // f - 1, (end - 1) // f + 2, size)]
            low = start * (size - 1) // max(1, f * size - 1)
            return [_inside(low, (end - 1) * (size - 1) // max(1, f * size - 1) + 2, size)]
        case "shuffle":
            return [(start // s["factor"], (end - 1) // s["factor"] + 1)]
        case "unshuffle":
            return [(start * s["factor"], end * s["factor"])]
        case "global_pool":
            return [(0, size)]
    return [(start, end)]


def _inside(low: int, high: int, size: int) -> Interval:
    """An interval cut to a line of `size` entries, with at least one entry in it."""
    low = min(max(low, 0), size - 1)
    return low, max(min(high, size), low + 1)


def _padded(axis: Axis, start: int, end: int) -> list[Interval]:
    """As `needs`, for padding; `start` and `end` count from the source's first entry."""
    size, mode = axis.size, axis.node.settings["mode"]
    if mode == "circular":
        return [(0, size)] if end - start >= size else wrapped(start, end, size)
    low, high = _inside(start, end, size)
    if mode == "reflect":
        if start < -(size - 1) or end > 2 * size - 1:
            return [(0, size)]
        if start < 0:
            low, high = 0, max(high, min(size, 1 - start))
        if end > size:
            low, high = min(low, max(0, 2 * size - 1 - end)), size
    return [(low, high)]


def places(axis: Axis, start: int, end: int) -> list[int]:
    """Which entry of the source stands at each place of a padded line; -1 where zeros do."""
    size, mode = axis.size, axis.node.settings["mode"]
    line = range(start - axis.before, end - axis.before)
    match mode:
        case "circular":
            return [i % size for i in line]
        case "replicate":
            return [min(max(i, 0), size - 1) for i in line]
        case "reflect":
            period = max(1, 2 * (size - 1))
            return [min(i % period, period - i % period) if size > 1 else 0 for i in line]
    return [i if 0 <= i < size else -1 for i in line]  # zeros, or what is lowest


def wanted(node: Node, region: Region, sources: Sequence[Size]) -> list[list[Region]]:
    """For each source of `node`, whose maps have those sizes, the regions that `region` of its map takes.

    Several only for circular padding: row by row, those of a row from left to right.
    """
    if node.operation == "unpool":
        # Of the map that was pooled, not of the pooled one: where the largest was is found again.
        rows, columns = (
            (region.top // 2, -(-region.bottom // 2)),
            (region.left // 2, -(-region.right // 2)),
        )
        return [[Region(*rows, *columns)], [Region(*(2 * v for v in rows), *(2 * v for v in columns))]]
    if node.operation in POINTWISE:
        # A map of one pixel goes with one of any size.
        point, several = (1, 1), len(set(sources)) > 1
        return [[Region(0, 1, 0, 1) if several and size == point else region] for size in sources]
    if not sources:
        return []
    vertical, horizontal = axes(node, sources[0])
    rows_, columns_ = (
        needs(vertical, region.top, region.bottom),
        needs(horizontal, region.left, region.right),
    )
    return [[Region(*r, *c) for r, c in product(rows_, columns_)]]


def merge(regions: Sequence[Region]) -> list[Region]:
    """Regions that hold all of `regions`, fewer where that costs nothing."""
    left: list[Region] = []
    for region in regions:
        new = region
        again = True
        while again:
            again = False
            for old in left:
                both = old.around(new)
                if both.area <= old.area + new.area:
                    left.remove(old)
                    new, again = both, True
                    break
        left.append(new)
    return left
