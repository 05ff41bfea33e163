"""A network for images that wrap around: along some axes every kernel continues at the opposite edge. No torch.

Padding the input is not enough: normalization would use the statistics of the padded image. So the graph
itself is rewritten. Along a wrapped axis every feature map of the new graph is one period, `scale` times the image:
`pad` and `crop` only move its origin, and operations that read beyond its edges get a circular `pad`. Up to rounding,
the result does not depend on where the image was cut.

    before: x (H, W) -> pad 1:1:1:1 mode=reflect -> (H + 2, W + 2) -> conv 3 x 3 -> (H, W)
    after:  x (H, W) -> pad 1:1:0:0 mode=reflect -> (H + 2, W) -> pad 0:0:1:1 mode=circular -> conv 3 x 3 -> (H, W)
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from texturenets.errors import UserError
from texturenets.graph import Graph, Node
from texturenets.graph.rewriting import GraphRewriter

Wrap = Literal["", "x", "y", "xy"]
"""The axes along which an image wraps around: x, left and right edge meet; y, top and bottom."""

Origin = tuple[int, int]
"""The row and column of the old feature map at which the new one begins, along the wrapped axes; else 0."""

_WINDOWS: Final = ("conv", "avg_pool", "max_pool")


def check(wrap: object) -> None:
    """Raise UserError unless `wrap` names axes."""
    if not isinstance(wrap, str) or wrap not in get_args(Wrap):
        raise UserError(
            f"`wrap` {wrap!r} is none of 'x' (left and right edge meet), 'y' (top and bottom) and 'xy'"
        )


def wrapped_sides(wrap: Wrap) -> tuple[bool, bool]:
    """Whether the image wraps around vertically, and horizontally."""
    return "y" in wrap, "x" in wrap


def wrapped(graph: Graph, wrap: Wrap) -> Graph:
    """`graph` for images that wrap around along these axes; their sides along them are multiples of its stride.
    Raises UserError for a network that handles edges in other ways than by padding and cropping.
    """
    work = _Wrapping(graph, wrap)
    for number in range(len(graph.nodes)):
        work.add_wrapped(number)
    last = len(graph.nodes) - 1
    return work.finish(work.begun_at(last, (0, 0)))


class _Wrapping(GraphRewriter):
    """Rewrites the graph. `origin`: the origins of the new feature maps by the old numbers."""

    def __init__(self, graph: Graph, wrap: Wrap) -> None:
        super().__init__(graph)
        self.wrap, self.sides = wrap, wrapped_sides(wrap)
        self.origin: dict[int, Origin] = {}

    def add_wrapped(self, number: int) -> None:
        """Add node `number` of the old graph, with edges that wrap around."""
        node = self.old.nodes[number]
        first = node.sources[0] if node.sources else None
        if first is None or self.old.nodes[first].scale == 0 or node.operation == "global_pool":
            if any(self.old.nodes[source].scale for source in node.sources[1:]):
                self._joined(number, node)
                return
            self.origin[number] = (0, 0)
            self.copy(number)
        elif node.operation in ("pad", "crop"):
            self._moved(number, node)
        elif node.operation in _WINDOWS:
            self._window(number, node)
        elif node.operation == "deconv":
            self._deconv(number, node)
        elif node.operation == "unpool":
            self._unpool(number, node)
        elif "factor" in node.settings:
            self._resized(number, node)
        else:
            self._joined(number, node)

    def begun_at(self, number: int, origin: Origin) -> int:
        """The new feature map of the old node `number`, beginning at `origin`."""
        by = [wanted - now for wanted, now in zip(origin, self.origin[number], strict=True)]
        return self._extended(self.number[number], [-by[0], by[0], -by[1], by[1]])

    def _extended(self, new: int, amounts: list[int]) -> int:
        """Feature map `new`, extended or cropped by `amounts` (top, bottom, left, right) along its wrapped axes."""
        more, less = [max(0, a) for a in amounts], [max(0, -a) for a in amounts]
        if any(more):
            new = self.add("pad", new, amount=tuple(more), mode="circular")
        return self.add("crop", new, amount=tuple(less)) if any(less) else new

    def _moved(self, number: int, node: Node) -> None:
        """A pad or crop: along wrapped axes no row or column is added or removed, only the origin moves."""
        (first,) = node.sources
        sign = 1 if node.operation == "pad" else -1
        top, bottom, left, right = node.settings["amount"]
        rows, columns = self.sides
        self.origin[number] = (
            self.origin[first][0] + sign * top * rows,
            self.origin[first][1] + sign * left * columns,
        )
        rest = (0, 0) if rows else (top, bottom), (0, 0) if columns else (left, right)
        amount = (*rest[0], *rest[1])
        new = self.number[first]
        mode = {"mode": node.settings["mode"]} if node.operation == "pad" else {}
        self.number[number] = self.add(node.operation, new, amount=amount, **mode) if any(amount) else new

    def _window(self, number: int, node: Node) -> None:
        """A convolution or pooling: as many outputs as strides fit in the period, from windows around them."""
        (first,) = node.sources
        step, apart = node.settings["stride"], node.settings.get("dilation", 1)
        amounts, origin = [0] * 4, [0, 0]
        for axis in (0, 1):
            if self.sides[axis]:
                beyond = apart * (node.settings["kernel"][axis] - 1) + 1 - step
                old = self.origin[first][axis]
                origin[axis] = (2 * old - beyond + step) // (2 * step)
                before = old - origin[axis] * step
                amounts[2 * axis : 2 * axis + 2] = before, beyond - before
        self.origin[number] = (origin[0], origin[1])
        self.number[number] = self.put(node, self._extended(self.number[first], amounts))

    def _deconv(self, number: int, node: Node) -> None:
        """A transposed convolution: its input is extended by a window on either side, and its output cropped to a
        period."""
        (first,) = node.sources
        step, crop = node.settings["stride"], list(node.settings["crop"])
        amounts, origin = [0] * 4, [0, 0]
        for axis in (0, 1):
            if self.sides[axis]:
                window = node.settings["kernel"][axis]
                more, half = -(-window // step), max(0, window - step) // 2
                origin[axis] = self.origin[first][axis] * step - crop[2 * axis] + half
                amounts[2 * axis : 2 * axis + 2] = more, more
                before = more * step + half
                crop[2 * axis : 2 * axis + 2] = before, (2 * more - 1) * step + window - before
        self.origin[number] = (origin[0], origin[1])
        source = self._extended(self.number[first], amounts)
        names = {role: self.old.nodes[number].weights[role] for role in node.weights}
        settings = {key: node.settings[key] for key in ("out", "kernel", "stride")}
        self.number[number] = self.new.add("deconv", [source], names, **settings, crop=tuple(crop))

    def _unpool(self, number: int, node: Node) -> None:
        """An unpooling: its output begins where the feature map began that was pooled."""
        first, pool = node.sources
        rows, columns = self.origin[pool]
        self.origin[number] = (2 * rows, 2 * columns)
        self.number[number] = self.put(node, self.begun_at(first, self.origin[pool]), self.number[pool])

    def _resized(self, number: int, node: Node) -> None:
        """Upsampling, and space to depth and back."""
        (first,) = node.sources
        factor, (rows, columns) = node.settings["factor"], self.origin[first]
        if node.operation == "unshuffle":
            blocks = rows // factor, columns // factor
            self.origin[number] = blocks
            begin = blocks[0] * factor, blocks[1] * factor
            self.number[number] = self.put(node, self.begun_at(first, begin))
            return
        self.origin[number] = (rows * factor, columns * factor)
        mode = node.settings.get("mode")
        if mode == "bilinear_corners" or node.operation == "upsample_rows":
            raise UserError(
                "this network upsamples with its corners in place (`align_corners`), so that its images cannot "
                "wrap around: leave `wrap` out"
            )
        source = self.number[first]
        beyond = [int(self.sides[i // 2]) if mode == "bilinear" else 0 for i in range(4)]
        new = self.put(node, self._extended(source, beyond))
        self.number[number] = self._extended(new, [-factor * amount for amount in beyond])

    def _joined(self, number: int, node: Node) -> None:
        """An operation on several feature maps, all moved to the origin of the first; those that have one size for
        every image (`global_pool`) have no origin."""
        moving = [source for source in node.sources if self.old.nodes[source].scale]
        self.origin[number] = self.origin[moving[0]]
        self.number[number] = self.put(
            node,
            *(
                self.begun_at(source, self.origin[number]) if source in moving else self.number[source]
                for source in node.sources
            ),
        )
