"""The receptive field of each operation: which rows of its sources some rows of its result depend on. No torch.

Large images are computed in strips that are as wide as the image, so columns need no arithmetic: every operation
treats them as it does for a whole image. An interval is (first row, last row + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from texturenets.graph import Node

Interval = tuple[int, int]
Size = tuple[int, int]  # height, width

ELEMENTWISE: Final = frozenset(
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
"""Operations whose pixel depends only on the same pixel of their sources."""


def map_size(node: Node, image: Size) -> Size:
    """Height and width of the node's feature map for an image of the size `image`, a multiple of the network's
    stride."""
    height, width = (int(side * node.scale) for side in image)
    return height + node.extra_rows, width + node.extra_columns


def before(node: Node) -> int:
    """Rows at the top that the node adds to its source (`pad`) or removes (`crop`, `deconv`)."""
    return int(node.settings.get("amount", node.settings.get("crop", (0,)))[0])


def needs(node: Node, size: int, start: int, end: int) -> list[Interval]:  # noqa: PLR0911 (one a kind of operation)
    """The rows of the first source that rows `start` to `end` of the node's feature map depend on.

    `size`: the source's number of rows. Usually one interval; for circular padding at the edge, which needs rows from
    both ends, several, in the order in which they are stacked.
    """
    s = node.settings
    match node.operation:
        case "pad":
            return _padded(s["mode"], size, start - before(node), end - before(node))
        case "crop":
            return [(start + before(node), end + before(node))]
        case "conv" | "avg_pool" | "max_pool":
            window = s.get("dilation", 1) * (s["kernel"][0] - 1) + 1
            return [(start * s["stride"], (end - 1) * s["stride"] + window)]
        case "deconv":
            first, last = start + before(node), end - 1 + before(node)
            low = max(0, -((s["kernel"][0] - 1 - first) // s["stride"]))
            return [_inside(low, last // s["stride"] + 1, size)]
        case "upsample":
            return [_upsampled(s["factor"], s["mode"], size, start, end)]
        case "shuffle":
            return [(start // s["factor"], (end - 1) // s["factor"] + 1)]
        case "unshuffle":
            return [(start * s["factor"], end * s["factor"])]
    return [(start, end)]


def _upsampled(factor: int, mode: str, size: int, start: int, end: int) -> Interval:
    if mode == "nearest":
        return start // factor, (end - 1) // factor + 1
    if mode == "bilinear":
        return _inside(start // factor - 1, (end - 1) // factor + 2, size)
    last = max(1, factor * size - 1)  # corners stay in place
    return _inside(start * (size - 1) // last, (end - 1) * (size - 1) // last + 2, size)


def _inside(low: int, high: int, size: int) -> Interval:
    """The interval cut to rows 0 to `size`, but never empty: at least the nearest row."""
    low = min(max(low, 0), size - 1)
    return low, max(min(high, size), low + 1)


def _padded(mode: str, size: int, start: int, end: int) -> list[Interval]:
    """As `needs`, for padding; `start` and `end` count from the source's first row."""
    if mode == "circular":
        return wrapped(start, end, size)
    low, high = _inside(start, end, size)
    if mode == "reflect":
        if start < 0:
            low, high = 0, max(high, min(size, 1 - start))
        if end > size:
            low, high = min(low, max(0, 2 * size - 1 - end)), size
    return [(low, high)]


def wrapped(start: int, end: int, size: int) -> list[Interval]:
    """The intervals, in order, of rows 0 to `size` that `start` to `end` runs through if they repeat endlessly."""
    cuts = [start, *(k * size for k in range(start // size + 1, -(-end // size))), end]
    return [(a % size, a % size + b - a) for a, b in pairwise(cuts)]


def wanted(node: Node, rows: Interval, sources: Sequence[Node], sizes: Sequence[int]) -> list[list[Interval]]:
    """For each source of `node`, whose feature maps have `sizes` rows, the intervals that `rows` of `node` take."""
    if node.operation == "unpool":
        # Rows of the feature map before pooling, not of the pooled one: the positions of the maxima are computed
        # again.
        low, high = rows[0] // 2, -(-rows[1] // 2)
        return [[(low, high)], [(2 * low, 2 * high)]]
    if node.operation in ELEMENTWISE:
        # A feature map of one pixel is broadcast.
        return [
            [(0, 1)] if has_fixed_size(source) and not has_fixed_size(node) else [rows] for source in sources
        ]
    return [needs(node, sizes[0], *rows)] if sizes else []


def has_fixed_size(node: Node) -> bool:
    """Whether the node's feature map has one size, whatever the image's."""
    return node.scale == 0


def merge(intervals: Sequence[Interval]) -> list[Interval]:
    """Intervals that hold all of `intervals`, joined where they touch."""
    joined: list[Interval] = []
    for low, high in sorted(intervals):
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined
