"""Shapes: the channels and size of each operation's feature map, and the shapes of its weights. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from texturenets.errors import UserError
from texturenets.graph.grammar import (
    MAX_ELEMENTS,
    MAX_EXTRA,
    MAX_MAP_CHANNELS,
    MAX_MIN_SIZE,
    MAX_NODES,
    MAX_STRIDE,
    MAX_WEIGHTS,
    Node,
    read,
)

# A size is (scale, extra rows, extra columns): for a photo of H x W pixels the feature map has scale * H + extra rows
# rows and scale * W + extra columns columns.
POINT: Final = (Fraction(0), 1, 1)
"""The size of a feature map of one pixel, whatever the photo's size."""

FULL_SIZE: Final = (Fraction(1), 0, 0)
"""The size of the photo."""


def parse(lines: Sequence[str], *, unnamed: bool = False) -> tuple[Node, ...]:
    """The nodes of a graph. Raises UserError, with the line's number, for a graph that cannot be built.

    It checks the grammar, the ranges, that feature maps combined by one operation have the same size, that the last
    one has the photo's size, that input names are unique, and that there are at most `MAX_WEIGHTS` weights in all.
    `unnamed`: the lines name no weights; all are named by position, as in `grammar.read`.
    """
    if not 1 <= len(lines) <= MAX_NODES:
        raise UserError(f"graph: {len(lines)} nodes are not between 1 and {MAX_NODES}")
    nodes: list[Node] = []
    total = 0
    for text in lines:
        node = parse_node(text, nodes, unnamed=unnamed)
        total += weight_count(node, nodes)
        if total > MAX_WEIGHTS:
            raise UserError(f"graph: more than {MAX_WEIGHTS} weights at node {len(nodes)}")
        nodes.append(node)
    if nodes[-1].size != FULL_SIZE:
        raise UserError("graph: its last node does not give an image of the photo's size")
    if (multiple := stride(nodes)) > MAX_STRIDE:
        raise UserError(
            f"graph: sides would have to be multiples of {multiple} pixels; the maximum is {MAX_STRIDE}"
        )
    if (side := min_side(nodes, multiple)) > MAX_MIN_SIZE:
        raise UserError(f"graph: its minimum side is {side} pixels; the maximum is {MAX_MIN_SIZE}")
    names = [node.settings.get("name", "photo") for node in nodes if node.operation in ("photo", "input")]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"graph: two inputs are named {name}")
    return tuple(nodes)


def parse_node(text: str, nodes: Sequence[Node], *, unnamed: bool = False) -> Node:
    """Parse `text`, the line that follows `nodes`, into a node. Raises UserError if it is invalid."""
    try:
        node = shaped(read(text, len(nodes), unnamed=unnamed), nodes)
        large = node.channels > MAX_MAP_CHANNELS or int(node.channels * node.scale**2) > MAX_ELEMENTS
        if large or max(abs(node.extra_rows), abs(node.extra_columns)) > MAX_EXTRA:
            # Not in `shaped`, which is also used for strips: their sizes are constants and may be larger.
            raise ValueError("the feature map is too large")
        return node
    except ValueError as error:
        raise UserError(f"graph: node {len(nodes)} ({text[:60]!r}): {error}") from None


def shaped(node: Node, nodes: Sequence[Node]) -> Node:
    """`node`, which follows `nodes`, with its channels and size filled in. Raises ValueError if it is invalid."""
    channels, scale, extra_rows, extra_columns = _RULES.get(node.operation, _same)(node, nodes)
    if scale == 0 and min(extra_rows, extra_columns) < 1:
        raise ValueError("the feature map is smaller than the kernel")
    return replace(node, channels=channels, scale=scale, extra_rows=extra_rows, extra_columns=extra_columns)


def weight_shapes(node: Node, nodes: Sequence[Node]) -> dict[str, tuple[int, ...]]:
    """The shape of each weight of `node`, by its role."""
    channels = nodes[node.sources[0]].channels if node.sources else 0
    known: dict[str, tuple[int, ...]] = {}
    if node.operation == "conv":
        known["weight"] = (node.channels, channels // node.settings["groups"], *node.settings["kernel"])
    elif node.operation == "deconv":
        known["weight"] = (channels, node.channels, *node.settings["kernel"])
    return {role: known.get(role, (node.channels,)) for role in node.weights}


def weight_count(node: Node, nodes: Sequence[Node]) -> int:
    """Number of parameters of a node."""
    return sum(math.prod(shape) for shape in weight_shapes(node, nodes).values())


def stride(nodes: Sequence[Node]) -> int:
    """The number that height and width must be divisible by, so that every feature map has an integer size."""
    return math.lcm(*(node.scale.denominator for node in nodes))


def min_side(nodes: Sequence[Node], stride: int) -> int:
    """The smallest multiple of `stride` at which no kernel and no reflection padding exceeds its feature map."""
    needed = Fraction(1)
    for node in nodes:
        if node.scale:
            needed = max(needed, (1 - min(node.extra_rows, node.extra_columns)) / node.scale)
        if node.operation == "pad" and nodes[node.sources[0]].scale:
            source = nodes[node.sources[0]]
            rows, columns = _min_size_before_padding(node)
            short = max(rows - source.extra_rows, columns - source.extra_columns)
            needed = max(needed, short / source.scale)
    return math.ceil(needed / stride) * stride


def _min_size_before_padding(pad: Node) -> tuple[int, int]:
    """Minimum rows and columns of a feature map for `pad`: it must not reflect or wrap a pixel around twice."""
    mode, (top, bottom, left, right) = pad.settings["mode"], pad.settings["amount"]
    if mode not in ("reflect", "circular"):
        return 1, 1
    rows, columns = (
        max(side) + (mode == "reflect" and max(side) > 0) for side in ((top, bottom), (left, right))
    )
    return max(rows, 1), max(columns, 1)


_Shape = tuple[int, Fraction, int, int]


def _photo(node: Node, nodes: Sequence[Node]) -> _Shape:
    return 3, Fraction(1), 0, 0


def _input(node: Node, nodes: Sequence[Node]) -> _Shape:
    if node.settings["stride"] == 0:  # stride 0: an input of fixed size; noise never has it
        return node.settings["channels"], Fraction(0), node.settings["rows"], node.settings["columns"]
    return node.settings["channels"], Fraction(1, node.settings["stride"]), 0, 0


def _noise(node: Node, nodes: Sequence[Node]) -> _Shape:
    waves, channels = node.settings["waves"], node.settings["channels"]
    if (node.settings["distribution"] == "waves") != bool(waves) or (waves and channels != 2 * len(waves)):
        raise ValueError("waves are a setting of the distribution waves, with two channels for each")
    return _input(node, nodes)


def _same(node: Node, nodes: Sequence[Node]) -> _Shape:
    first = nodes[node.sources[0]]
    return first.channels, *first.size


def _norm(node: Node, nodes: Sequence[Node]) -> _Shape:
    shape = _same(node, nodes)
    groups = node.settings["groups"]
    if groups and shape[0] % groups:
        raise ValueError(f"{shape[0]} channels are not divisible into {groups} groups")
    return shape


def _pad_or_crop(node: Node, nodes: Sequence[Node]) -> _Shape:
    channels, scale, extra_rows, extra_columns = _same(node, nodes)
    top, bottom, left, right = node.settings["amount"]
    sign = 1 if node.operation == "pad" else -1
    if sign > 0 and scale == 0:
        rows, columns = _min_size_before_padding(node)
        if extra_rows < rows or extra_columns < columns:
            raise ValueError(
                f"a feature map of {extra_rows} x {extra_columns} pixels is too small for that padding"
            )
    return channels, scale, extra_rows + sign * (top + bottom), extra_columns + sign * (left + right)


def _window(node: Node, nodes: Sequence[Node]) -> _Shape:
    channels, scale, extra_rows, extra_columns = _same(node, nodes)
    (rows, columns), step = node.settings["kernel"], node.settings["stride"]
    if node.operation == "conv":
        out, groups = node.settings["out"], node.settings["groups"]
        if channels % groups or out % groups:
            raise ValueError(f"{channels} and {out} channels are not divisible into {groups} groups")
        dilation = node.settings["dilation"]
        rows, columns, channels = dilation * (rows - 1) + 1, dilation * (columns - 1) + 1, out
    return channels, scale / step, (extra_rows - rows) // step + 1, (extra_columns - columns) // step + 1


def _deconv(node: Node, nodes: Sequence[Node]) -> _Shape:
    _, scale, extra_rows, extra_columns = _same(node, nodes)
    kernel, step = node.settings["kernel"], node.settings["stride"]
    top, bottom, left, right = node.settings["crop"]
    rows = (extra_rows - 1) * step + kernel[0] - top - bottom
    columns = (extra_columns - 1) * step + kernel[1] - left - right
    return node.settings["out"], scale * step, rows, columns


def _upsampled(node: Node, nodes: Sequence[Node]) -> _Shape:
    channels, scale, extra_rows, extra_columns = _same(node, nodes)
    factor = node.settings["factor"]
    if node.operation == "shuffle":
        if channels % factor**2:
            raise ValueError(f"{channels} channels are not a multiple of {factor**2}")
        channels //= factor**2
    return channels, scale * factor, extra_rows * factor, extra_columns * factor


def _unshuffle(node: Node, nodes: Sequence[Node]) -> _Shape:
    channels, scale, extra_rows, extra_columns = _same(node, nodes)
    factor = node.settings["factor"]
    if extra_rows % factor or extra_columns % factor:
        raise ValueError(f"its source's size is not a multiple of {factor}")
    return channels * factor**2, scale / factor, extra_rows // factor, extra_columns // factor


def _concat(node: Node, nodes: Sequence[Node]) -> _Shape:
    maps = [nodes[source] for source in node.sources]
    if any(other.size != maps[0].size for other in maps):
        raise ValueError("its sources have different sizes")
    return sum(other.channels for other in maps), *maps[0].size


def _elementwise(node: Node, nodes: Sequence[Node]) -> _Shape:
    maps = [nodes[source] for source in node.sources]
    sizes = {other.size for other in maps if other.size != POINT} or {POINT}
    if len(sizes) > 1:
        raise ValueError("its sources have different sizes")
    counts = {other.channels for other in maps if other.channels != 1} or {1}
    if len(counts) > 1:
        raise ValueError("its sources have different numbers of channels")
    return counts.pop(), *sizes.pop()


def _select(node: Node, nodes: Sequence[Node]) -> _Shape:
    channels, *size = _same(node, nodes)
    first, count, step = (node.settings[key] for key in ("first", "count", "step"))
    last = first + (count - 1) * step
    if not (step and 0 <= first < channels and 0 <= last < channels):
        raise ValueError(f"channels {first} to {last} are out of range: the source has {channels}")
    return count, *size


def _point(node: Node, nodes: Sequence[Node]) -> _Shape:
    return nodes[node.sources[0]].channels, *POINT


def _unpool(node: Node, nodes: Sequence[Node]) -> _Shape:
    first, pool = (nodes[source] for source in node.sources)
    if pool.operation != "max_pool" or (pool.settings["kernel"], pool.settings["stride"]) != ((2, 2), 2):
        raise ValueError("its second source is not a 2 x 2 max_pool")
    if pool.channels != first.channels or pool.size != first.size:
        raise ValueError("its sources have different shapes")
    before = nodes[pool.sources[0]]
    if before.extra_rows % 2 or before.extra_columns % 2:
        raise ValueError("the feature map that was pooled has an odd size")
    return first.channels, *before.size


def _stack(node: Node, nodes: Sequence[Node]) -> _Shape:
    maps = [nodes[source] for source in node.sources]
    if len({(node.channels, node.extra_columns) for node in maps}) > 1 or any(node.scale for node in maps):
        raise ValueError("its sources have different widths, or no fixed size")
    return maps[0].channels, Fraction(0), sum(node.extra_rows for node in maps), maps[0].extra_columns


def _upsample_rows(node: Node, nodes: Sequence[Node]) -> _Shape:
    first, matrix = (nodes[source] for source in node.sources)
    if first.scale or matrix.scale or matrix.channels != 1 or matrix.extra_columns != first.extra_rows:
        raise ValueError("its second source is not an interpolation matrix for the first source's rows")
    return first.channels, Fraction(0), matrix.extra_rows, first.extra_columns * node.settings["factor"]


_RULES: Final[dict[str, Callable[[Node, Sequence[Node]], _Shape]]] = {
    "photo": _photo,
    "noise": _noise,
    "input": _input,
    "pad": _pad_or_crop,
    "crop": _pad_or_crop,
    "conv": _window,
    "avg_pool": _window,
    "max_pool": _window,
    "deconv": _deconv,
    "norm": _norm,
    "upsample": _upsampled,
    "shuffle": _upsampled,
    "unshuffle": _unshuffle,
    "add": _elementwise,
    "mul": _elementwise,
    "div": _elementwise,
    "concat": _concat,
    "select": _select,
    "global_pool": _point,
    "unpool": _unpool,
    "stack": _stack,
    "upsample_rows": _upsample_rows,
}
