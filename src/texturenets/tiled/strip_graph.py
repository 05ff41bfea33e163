"""The graph of one pass for one strip, which any engine can compile and run as a stage. No torch.

It has the operations of the network, each for the rows that the strip needs. `plan.plan_steps` has worked these out
backwards from the result, by the receptive field of every operation: a 3 x 3 convolution for rows 8 to 15 needs rows
7 to 16 of its source, of which 7 and 16 are the strip's halo. So convolutions run without padding here. A halo inside
the image is computed, or read from disk, like other rows; only what lies beyond the image's edge is padded, as in the
network. So a pass has few different graphs: that of the first strip, that of the last, and that of all between.

Rows are counted in the feature map of the whole image. A node of the strip's graph may compute more rows than are
needed, and some of them may not be valid, that is, differ from those of the whole image: bilinear upsampling, for
instance, makes its outermost rows without the neighbour outside of the strip. `ComputedRows` says which rows a node
has, `StripGraphBuilder.computed` which of them are valid. A crop costs a copy, so rows that nobody needs stay until
an operation takes several feature maps, pads, or would begin in another phase of its stride (`_windowed`).
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
from texturenets.tiled.plan import ImagePass, PlannedNetwork, plan_steps
from texturenets.tiled.rows import ELEMENTWISE, Interval, before, has_fixed_size, needs

Array = NDArray[np.float32]
Key = tuple[Any, ...]


class ComputedRows(NamedTuple):
    """What node `number` of the strip's graph computes: `rows` of a feature map, valid or not.

    Where the feature map was read with a border, `rows` may begin before 0 or end beyond the feature map, and there
    are `left` and `right` columns of padding.
    """

    rows: Interval
    number: int
    left: int = 0
    right: int = 0


class StripInput(NamedTuple):
    """An input of a strip's graph: `rows` of the network's node `node`, padded by `border` when read."""

    node: int
    rows: Interval
    border: Border | None = None


@dataclass
class StripGraph:
    """`graph` computes the feature maps of a pass for a strip.

    Its inputs by name are `reads`, rows of feature maps, and `matrices`, constants that depend on where the strip is.
    `outputs`: by node of the network, the rows of its feature map that `graph` computes.
    """

    graph: Graph
    reads: dict[str, StripInput] = field(default_factory=dict)
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
    network: PlannedNetwork, image_pass: ImagePass, rows: Interval, weights: Mapping[str, Array]
) -> StripGraph:
    """The graph of pass `image_pass` for the strip `rows` of the image.

    `weights`: those of the network, and for each normalization i that is computed `scale.i` and `shift.i`.
    """
    return StripGraphBuilder(network, image_pass, weights).build(rows)


class StripGraphBuilder:
    def __init__(self, network: PlannedNetwork, image_pass: ImagePass, weights: Mapping[str, Array]) -> None:
        self.network, self.image_pass = network, image_pass
        self.strip = StripGraph(Graph(weights=dict(weights)))
        self.borders: dict[int, Border] = {}
        self.replaced_pads: frozenset[int] = frozenset()
        self.computed: dict[int, list[tuple[Interval, ComputedRows]]] = {}
        """For each node of the network: intervals of valid rows, and the strip's node that computes them."""

    def build(self, rows: Interval) -> StripGraph:
        node_steps = plan_steps(self.network, self.image_pass, rows)
        self.borders, self.replaced_pads = borders(self.network, node_steps, self.image_pass.on_disk)
        for step in node_steps:
            if step.sources:
                results = [
                    self._compute(step.node, interval, source_rows)
                    for interval, source_rows in zip(step.rows, step.sources, strict=True)
                ]
            else:
                results = [self._input(step.node, interval) for interval in step.rows]
            self.computed[step.node] = list(zip(step.rows, results, strict=True))
        targets = {i: self.network.rows_of(i, rows) for i in self.image_pass.targets}
        self.strip.outputs = {i: self._find_rows(i, part) for i, part in targets.items() if part[1] > part[0]}
        return self.strip

    def _add(
        self, operation: str, *sources: int, weights: Mapping[str, str] | None = None, **settings: Any
    ) -> int:
        """Append a new node; returns its number. Sizes may exceed those that a model file may have."""
        rules = OPERATIONS[operation].settings
        known = {key: rule.default for key, rule in rules.items() if isinstance(rule, Number)}
        return self._put(Node(operation, sources, {**known, **settings}, dict(weights or {})), *sources)

    def _put(self, node: Node, *sources: int) -> int:
        """Append `node` of the network with these sources; returns its number."""
        nodes = self.strip.graph.nodes
        nodes.append(shaped(replace(node, sources=sources), nodes))
        return len(nodes) - 1

    def _input(self, i: int, rows: Interval) -> ComputedRows:
        """An input for `rows` of node i: of a feature map on disk, the photo, noise, or a pooled value."""
        node, name = self.network.nodes[i], f"x{len(self.strip.reads)}"
        height, columns = self.network.sizes[i]
        border, left, right = self.borders.get(i), 0, 0
        if border is not None:
            rows = (rows[0] or -border.top, rows[1] + (border.bottom if rows[1] == height else 0))
            left, right = border.left, border.right
        self.strip.reads[name] = StripInput(i, rows, border)
        size: dict[str, Any] = {"rows": rows[1] - rows[0], "columns": left + columns + right}
        number = self._add("input", name=name, channels=node.channels, stride=0, **size)
        scale = node.settings["scale"] if node.operation == "noise" else 1.0
        return ComputedRows(
            rows, number if scale == 1 else self._add("linear", number, by=scale), left, right
        )

    def _find_rows(self, i: int, rows: Interval) -> ComputedRows:
        """The node of the strip's graph whose valid rows of the feature map of node i include `rows`."""
        for valid, part in self.computed[i]:
            if valid[0] <= rows[0] and rows[1] <= valid[1]:
                return part
        raise AssertionError(f"rows {rows} of node {i} were not computed")

    def _crop_rows(self, part: ComputedRows, rows: Interval) -> int:
        """`part` cropped to `rows`, without columns of padding; returns the node's number."""
        amount = rows[0] - part.rows[0], part.rows[1] - rows[1], part.left, part.right
        return self._add("crop", part.number, amount=amount) if any(amount) else part.number

    def _without_border(self, i: int, part: ComputedRows) -> ComputedRows:
        """`part` cropped to what lies inside of the feature map of node i."""
        height = self.network.sizes[i][0]
        rows = max(part.rows[0], 0), min(part.rows[1], height)
        bordered = rows != part.rows or part.left or part.right
        return ComputedRows(rows, self._crop_rows(part, rows)) if bordered else part

    def _compute(self, i: int, rows: Interval, source_rows: Sequence[Sequence[Interval]]) -> ComputedRows:
        """Valid `rows` of the feature map of node i, from `source_rows`: intervals for each of its sources."""
        node, sources = self.network.nodes[i], self.network.sources[i]
        parts = [
            [self._find_rows(s, needed) for needed in by] for s, by in zip(sources, source_rows, strict=True)
        ]
        if node.operation in ELEMENTWISE:
            return self._elementwise(i, rows, [part[0] for part in parts])
        if node.operation == "pad" and (padded := self._read_padded(i, rows, parts[0][0])):
            return padded
        parts = [[self._without_border(s, part) for part in by] for s, by in zip(sources, parts, strict=True)]
        if node.operation == "pad":
            return self._pad(i, rows, parts[0], source_rows[0])
        if node.operation == "unpool":
            low, high = source_rows[0][0]
            pool = self.network.nodes[node.sources[1]]
            pooled = self._put(pool, self._crop_rows(parts[1][0], source_rows[1][0]))
            return ComputedRows(
                (2 * low, 2 * high), self._put(node, self._crop_rows(parts[0][0], (low, high)), pooled)
            )
        return self._windowed(i, rows, parts[0][0], source_rows[0][0])

    def _elementwise(self, i: int, rows: Interval, parts: Sequence[ComputedRows]) -> ComputedRows:
        """An elementwise operation. Its sources must have the same rows: else each is cropped to `rows`."""
        node = self.network.nodes[i]
        large = [
            part
            for part, source in zip(parts, self.network.sources[i], strict=True)
            if has_fixed_size(node) or not has_fixed_size(self.network.nodes[source])
        ]
        same = all(part[0] == large[0][0] and part[2:] == large[0][2:] for part in large)
        numbers = [
            self._crop_rows(part, rows) if part in large and not same else part.number for part in parts
        ]
        if node.operation == "norm":
            names = {"weight": f"scale.{i}", "bias": f"shift.{i}"}
            number = self._put(Node("affine", (), {}, names), *numbers)
        else:
            number = self._put(node, *numbers)
        return large[0]._replace(number=number) if same else ComputedRows(rows, number)

    def _windowed(self, i: int, rows: Interval, source: ComputedRows, source_rows: Interval) -> ComputedRows:
        """An operation with a receptive field of several rows, or one that resizes, crops or rearranges.

        `source`: has at least `source_rows`, which the valid `rows` need.
        """
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
                return ComputedRows(
                    rows, self._upsample_align_corners(i, rows, self._crop_rows(source, source_rows))
                )
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
        # The phase: a window begins at every row that is a multiple of the stride, counted in the whole image. Of a
        # source that begins in between, an engine would begin its first window there. `source_rows` begin at one.
        if low % step or (node.operation == "unshuffle" and high % step):
            source = ComputedRows(source_rows, self._crop_rows(source, source_rows))
            low, high = source_rows
        window = s.get("dilation", 1) * (s["kernel"][0] - 1) + 1 if "kernel" in s else step
        first = low // step
        return ComputedRows(
            (first, first + (high - low - window) // step + 1), self._put(node, source.number)
        )

    def _upsample_align_corners(self, i: int, rows: Interval, source: int) -> int:
        """Bilinear upsampling with `align_corners`. Its matrix is an input: it depends on where the rows are."""
        node, name = self.network.nodes[i], f"m{len(self.strip.matrices)}"
        matrix = align_corners_matrix(node, self.network.sizes[self.network.sources[i][0]][0], rows)
        self.strip.matrices[name] = matrix[None, None]
        size: dict[str, Any] = {"rows": matrix.shape[0], "columns": matrix.shape[1]}
        matrix_node = self._add("input", name=name, channels=1, stride=0, **size)
        return self._add("upsample_rows", source, matrix_node, factor=node.settings["factor"])

    def _read_padded(self, i: int, rows: Interval, part: ComputedRows) -> ComputedRows | None:
        """The result of the `pad` node i where its source was read with that border and has all `rows`; else None."""
        _, _, left, right = self.network.nodes[i].settings["amount"]
        low, high = (row + before(self.network.nodes[i]) for row in part.rows)
        there = low <= rows[0] and rows[1] <= high and (left, right) == (part.left, part.right)
        return ComputedRows((low, high), part.number) if there and i in self.replaced_pads else None

    def _pad(
        self, i: int, rows: Interval, parts: Sequence[ComputedRows], source_rows: Sequence[Interval]
    ) -> ComputedRows:
        """A `pad` node: rows inside the image are in `parts`, and only what lies beyond its edges is padded."""
        node = self.network.nodes[i]
        size = self.network.sizes[self.network.sources[i][0]][0]
        _, _, left, right = node.settings["amount"]
        offset = before(node)
        start, end = rows[0] - offset, rows[1] - offset
        if node.settings["mode"] == "circular":
            numbers = [self._crop_rows(part, needed) for part, needed in zip(parts, source_rows, strict=True)]
            number = self._add("stack", *numbers) if len(numbers) > 1 else numbers[0]
            return ComputedRows(rows, self._padded(node, number, (0, 0, left, right)))
        # Rows of padding; 0 where the halo lies inside the image
        top, bottom = max(0, -start), max(0, end - size)
        low, high = parts[0].rows
        cut = 0 if top else max(low, 0), size if bottom else min(high, size)
        number = self._padded(node, self._crop_rows(parts[0], cut), (top, bottom, left, right))
        return ComputedRows((cut[0] - top + offset, cut[1] + bottom + offset), number)

    def _padded(self, node: Node, number: int, amount: tuple[int, int, int, int]) -> int:
        return self._add("pad", number, amount=amount, mode=node.settings["mode"]) if any(amount) else number


def align_corners_matrix(node: Node, size: int, rows: Interval) -> Array:
    """The interpolation matrix of bilinear upsampling with `align_corners`, along rows: (output rows, source rows).

    For `rows` of the output, and of the source's `size` rows those that `needs` names.
    """
    low, high = needs(node, size, *rows)[0]
    position = np.arange(*rows) * ((size - 1) / max(1, node.settings["factor"] * size - 1))
    above = np.minimum(np.floor(position).astype(np.int64), size - 1)
    matrix = np.zeros((rows[1] - rows[0], high - low), np.float32)
    line = np.arange(len(matrix))
    np.add.at(matrix, (line, above - low), 1 - (position - above))
    np.add.at(matrix, (line, np.minimum(above + 1, size - 1) - low), position - above)
    return matrix
