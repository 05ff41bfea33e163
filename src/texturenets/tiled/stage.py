"""One pass over one strip as a small graph of its own, for any engine. No torch.

The nodes are those of the network, each for the rows that the strip takes of it. Where a strip lies in the middle
of the image, rows that the network would pad are read instead; at the image's own edge they are padded as the
network does. So a pass has few different graphs: the first strip's, the last one's, and that of all between.

A node may compute more rows than the strip takes of it, some of them wrong: cutting them off would cost more than to
carry them along, so that is done where they would be in the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from texturenets.graph import OPERATIONS, Graph, Node
from texturenets.graph.grammar import Number
from texturenets.graph.shapes import shaped
from texturenets.tiled.borders import Border, borders
from texturenets.tiled.plan import Pass, PlannedNetwork, steps
from texturenets.tiled.rows import POINTWISE, Interval, before, is_point, needs

Array = NDArray[np.float32]
Key = tuple[Any, ...]


class ComputedRows(NamedTuple):
    """Some rows of a feature map, as a stage's node computes them: which ones, and the node.

    With a border there are rows and columns beyond the map's edges: `left` and `right` so many columns.
    """

    rows: Interval
    number: int
    left: int = 0
    right: int = 0


class StageInput(NamedTuple):
    """What an input of a stage is: rows of the map of a node of the network, beyond its edges with `border`."""

    node: int
    rows: Interval
    border: Border | None = None


@dataclass
class Strip:
    """`graph` computes a pass's maps for a strip. Its inputs, by name: `reads`, and `matrices`, which are given.

    `outputs`: nodes of the network, with the part of their feature map that the stage gives.
    """

    graph: Graph
    reads: dict[str, StageInput] = field(default_factory=dict)
    matrices: dict[str, Array] = field(default_factory=dict)
    outputs: dict[int, ComputedRows] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Equal for strips that one compiled graph serves."""
        nodes = tuple(
            (n.operation, n.sources, tuple(n.settings.items()), tuple(n.weights.values()))
            for n in self.graph.nodes
        )
        return nodes, tuple((i, part.number) for i, part in self.outputs.items())


def build(
    network: PlannedNetwork, planned_pass: Pass, strip: Interval, weights: Mapping[str, Array]
) -> Strip:
    """The graph of pass `planned_pass` for `strip` (rows of the image).

    `weights`: those of the network, and for each normalization i that is computed `scale.i` and `shift.i`.
    """
    return _StripBuilder(network, planned_pass, weights).build(strip)


class _StripBuilder:
    def __init__(self, network: PlannedNetwork, planned_pass: Pass, weights: Mapping[str, Array]) -> None:
        self.network, self.planned_pass = network, planned_pass
        self.strip = Strip(Graph(weights=dict(weights)))
        self.borders: dict[int, Border] = {}
        self.bordered: frozenset[int] = frozenset()
        self.computed: dict[int, list[tuple[Interval, ComputedRows]]] = {}
        """For each node of the network: intervals of valid rows, and the part of the stage that holds them."""

    def build(self, strip: Interval) -> Strip:
        work = steps(self.network, self.planned_pass, strip)
        self.borders, self.bordered = borders(self.network, work, self.planned_pass.ready)
        for step in work:
            if step.sources:
                parts_of_node = [
                    self._compute(step.node, rows, source_rows)
                    for rows, source_rows in zip(step.rows, step.sources, strict=True)
                ]
            else:
                parts_of_node = [self._input(step.node, rows) for rows in step.rows]
            self.computed[step.node] = list(zip(step.rows, parts_of_node, strict=True))
        parts = {i: self.network.part(i, strip) for i in self.planned_pass.targets}
        self.strip.outputs = {i: self._part(i, rows) for i, rows in parts.items() if rows[1] > rows[0]}
        return self.strip

    def _add(
        self, operation: str, *sources: int, weights: Mapping[str, str] | None = None, **settings: Any
    ) -> int:
        """A node behind the others, sizes beyond those of a model's file allowed; its number."""
        rules = OPERATIONS[operation].settings
        known = {key: rule.default for key, rule in rules.items() if isinstance(rule, Number)}
        return self._put(Node(operation, sources, {**known, **settings}, dict(weights or {})), *sources)

    def _put(self, node: Node, *sources: int) -> int:
        """`node` of the network with other sources; its number."""
        nodes = self.strip.graph.nodes
        nodes.append(shaped(replace(node, sources=sources), nodes))
        return len(nodes) - 1

    def _input(self, i: int, rows: Interval) -> ComputedRows:
        node, name = self.network.nodes[i], f"x{len(self.strip.reads)}"
        height, columns = self.network.sizes[i]
        border, left, right = self.borders.get(i), 0, 0
        if border is not None:
            rows = (rows[0] or -border.top, rows[1] + (border.bottom if rows[1] == height else 0))
            left, right = border.left, border.right
        self.strip.reads[name] = StageInput(i, rows, border)
        size: dict[str, Any] = {"rows": rows[1] - rows[0], "columns": left + columns + right}
        number = self._add("input", name=name, channels=node.channels, stride=0, **size)
        scale = node.settings["scale"] if node.operation == "noise" else 1.0
        return ComputedRows(
            rows, number if scale == 1 else self._add("linear", number, by=scale), left, right
        )

    def _part(self, i: int, rows: Interval) -> ComputedRows:
        """The part of the feature map of node i in which `rows` are right."""
        for right, part in self.computed[i]:
            if right[0] <= rows[0] and rows[1] <= right[1]:
                return part
        raise AssertionError(f"rows {rows} of node {i} were not computed")

    def _cut(self, part: ComputedRows, rows: Interval) -> int:
        """Just `rows` of a part, without a border at its sides."""
        amount = rows[0] - part.rows[0], part.rows[1] - rows[1], part.left, part.right
        return self._add("crop", part.number, amount=amount) if any(amount) else part.number

    def _without_border(self, i: int, part: ComputedRows) -> ComputedRows:
        """The part of the feature map of node i that lies inside of it."""
        height = self.network.sizes[i][0]
        rows = max(part.rows[0], 0), min(part.rows[1], height)
        bordered = rows != part.rows or part.left or part.right
        return ComputedRows(rows, self._cut(part, rows)) if bordered else part

    def _compute(self, i: int, rows: Interval, source_rows: Sequence[Sequence[Interval]]) -> ComputedRows:
        """Rows of the feature map of node i from the rows `source_rows` of its sources, by source."""
        node, sources = self.network.nodes[i], self.network.sources[i]
        parts = [[self._part(s, needed) for needed in by] for s, by in zip(sources, source_rows, strict=True)]
        if node.operation in POINTWISE:
            return self._pointwise(i, rows, [part[0] for part in parts])
        if node.operation == "pad" and (padded := self._read_padded(i, rows, parts[0][0])):
            return padded
        parts = [[self._without_border(s, part) for part in by] for s, by in zip(sources, parts, strict=True)]
        if node.operation == "pad":
            return self._pad(i, rows, parts[0], source_rows[0])
        if node.operation == "unpool":
            low, high = source_rows[0][0]
            pool = self.network.nodes[node.sources[1]]
            pooled = self._put(pool, self._cut(parts[1][0], source_rows[1][0]))
            return ComputedRows(
                (2 * low, 2 * high), self._put(node, self._cut(parts[0][0], (low, high)), pooled)
            )
        return self._other(i, rows, parts[0][0], source_rows[0][0])

    def _pointwise(self, i: int, rows: Interval, parts: Sequence[ComputedRows]) -> ComputedRows:
        node = self.network.nodes[i]
        large = [
            part
            for part, source in zip(parts, self.network.sources[i], strict=True)
            if is_point(node) or not is_point(self.network.nodes[source])
        ]
        same = all(part[0] == large[0][0] and part[2:] == large[0][2:] for part in large)
        numbers = [self._cut(part, rows) if part in large and not same else part.number for part in parts]
        if node.operation == "norm":
            names = {"weight": f"scale.{i}", "bias": f"shift.{i}"}
            number = self._put(Node("affine", (), {}, names), *numbers)
        else:
            number = self._put(node, *numbers)
        return large[0]._replace(number=number) if same else ComputedRows(rows, number)

    def _other(self, i: int, rows: Interval, source: ComputedRows, source_rows: Interval) -> ComputedRows:
        """An operation on windows of one feature map."""
        node = self.network.nodes[i]
        s = node.settings
        low, high = source.rows
        match node.operation:
            case "crop":
                top, _, left, right = s["amount"]
                number = (
                    self._add("crop", source.number, amount=(0, 0, left, right))
                    if left or right
                    else source.number
                )
                return ComputedRows((low - top, high - top), number)
            case "upsample" if s["mode"] == "bilinear_corners":
                return ComputedRows(rows, self._corners(i, rows, self._cut(source, source_rows)))
            case "deconv":
                first = low * s["stride"] - before(node)
                end = first + (high - low - 1) * s["stride"] + s["kernel"][0]
                crop = (rows[0] - first, end - rows[1], *s["crop"][2:])
                return ComputedRows(
                    rows, self._put(replace(node, settings={**s, "crop": crop}), source.number)
                )
            case "upsample" | "shuffle":
                return ComputedRows((low * s["factor"], high * s["factor"]), self._put(node, source.number))
        step = s["stride"] if "stride" in s else s["factor"]
        if low % step or (node.operation == "unshuffle" and high % step):
            source = ComputedRows(source_rows, self._cut(source, source_rows))
            low, high = source_rows
        reach = s.get("dilation", 1) * (s["kernel"][0] - 1) + 1 if "kernel" in s else step
        first = low // step
        return ComputedRows((first, first + (high - low - reach) // step + 1), self._put(node, source.number))

    def _corners(self, i: int, rows: Interval, source: int) -> int:
        node, name = self.network.nodes[i], f"m{len(self.strip.matrices)}"
        matrix = corner_matrix(node, self.network.sizes[self.network.sources[i][0]][0], rows)
        self.strip.matrices[name] = matrix[None, None]
        size: dict[str, Any] = {"rows": matrix.shape[0], "columns": matrix.shape[1]}
        shares = self._add("input", name=name, channels=1, stride=0, **size)
        return self._add("upsample_rows", source, shares, factor=node.settings["factor"])

    def _read_padded(self, i: int, rows: Interval, part: ComputedRows) -> ComputedRows | None:
        """The map of the padding i, where its source has been read with that border and the rows are there."""
        _, _, left, right = self.network.nodes[i].settings["amount"]
        low, high = (row + before(self.network.nodes[i]) for row in part.rows)
        there = low <= rows[0] and rows[1] <= high and (left, right) == (part.left, part.right)
        return ComputedRows((low, high), part.number) if there and i in self.bordered else None

    def _pad(
        self, i: int, rows: Interval, parts: Sequence[ComputedRows], source_rows: Sequence[Interval]
    ) -> ComputedRows:
        """Rows that lie inside the image are there; what is missing is at its edge, and padded."""
        node = self.network.nodes[i]
        size = self.network.sizes[self.network.sources[i][0]][0]
        _, _, left, right = node.settings["amount"]
        offset = before(node)
        start, end = rows[0] - offset, rows[1] - offset
        if node.settings["mode"] == "circular":
            numbers = [self._cut(part, needed) for part, needed in zip(parts, source_rows, strict=True)]
            number = self._add("stack", *numbers) if len(numbers) > 1 else numbers[0]
            return ComputedRows(rows, self._padded(node, number, (0, 0, left, right)))
        top, bottom = max(0, -start), max(0, end - size)
        low, high = parts[0].rows
        cut = 0 if top else max(low, 0), size if bottom else min(high, size)
        number = self._padded(node, self._cut(parts[0], cut), (top, bottom, left, right))
        return ComputedRows((cut[0] - top + offset, cut[1] + bottom + offset), number)

    def _padded(self, node: Node, number: int, amount: tuple[int, int, int, int]) -> int:
        return self._add("pad", number, amount=amount, mode=node.settings["mode"]) if any(amount) else number


def corner_matrix(node: Node, size: int, rows: Interval) -> Array:
    """Rows of a map of `size` rows enlarged with its corners in place, as sums of the source's rows that `needs`
    names: (rows made, rows of the source)."""
    low, high = needs(node, size, *rows)[0]
    place = np.arange(*rows) * ((size - 1) / max(1, node.settings["factor"] * size - 1))
    above = np.minimum(np.floor(place).astype(np.int64), size - 1)
    matrix = np.zeros((rows[1] - rows[0], high - low), np.float32)
    line = np.arange(len(matrix))
    np.add.at(matrix, (line, above - low), 1 - (place - above))
    np.add.at(matrix, (line, np.minimum(above + 1, size - 1) - low), place - above)
    return matrix
