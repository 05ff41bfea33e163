"""Convolutions of an ONNX graph in a form that takes less arithmetic: the same numbers, but for rounding.

Where a map is doubled by repeating its pixels and then convolved 3 x 3, each result sees 2 x 2 different pixels:
four convolutions of 2 x 2 of the small map, one for each place in the square of results, take 4 / 9 of the
multiplications, and the doubled map is never written. The four are one convolution with four times the channels, and
a depth-to-space.

The last convolution makes 3 channels where processors multiply 16 at a time. Squares of 2 x 2 results at once are 12
channels, of a convolution whose window is one larger and moves by 2: more multiplications, but in full vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

FEW = 4
"""Channels up to which a convolution leaves most of a vector of 16 empty."""

_POINTWISE = {
    "Identity",
    "Tanh",
    "Sigmoid",
    "Relu",
    "LeakyRelu",
    "Clip",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Gather",
}
_TAPS = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float32)
"""Of the first and the second result of two: which of three weights fall onto which of two pixels."""


def rewrite(graph: onnx.GraphProto, stride: int) -> None:
    """Rewrite `graph`, whose output is a picture with sides that are multiples of `stride`, in place."""
    work = _Rewriting(graph)
    for node in [node for node in graph.node if node.op_type == "Conv"]:
        work.doubled(node)
    if stride % 2 == 0:
        work.narrow()
    work.finish()


class _Rewriting:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.replaced: dict[str, list[onnx.NodeProto]] = {}
        """Nodes to stand in the place of the one that had this name."""

    def weight(self, name: str, values: NDArray[Any]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def doubled(self, conv: onnx.NodeProto) -> None:
        """A 3 x 3 convolution of a map that was doubled by repetition, if this is one."""
        source = self._before_doubling(conv)
        if source is None:
            return
        name, mode = source
        weight = self.weights[conv.input[1]]
        count = len(weight)
        # Counted from one pixel before the small map, the square at p holds the second result of p - 1 and the first
        # of p: with the places in the square exchanged, they lie beside each other as they should.
        small = np.einsum("ayk,bxl,oikl->aboiyx", _TAPS, _TAPS, weight)[::-1, ::-1]
        small = np.ascontiguousarray(small.reshape(4 * count, weight.shape[1], 2, 2))
        one = conv.name
        places = self.weight(f"{one}_places", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        starts, ends, axes = (
            self.weight(f"{one}_{what}", np.array(values, np.int64))
            for what, values in (("starts", [1, 1]), ("ends", [-1, -1]), ("axes", [2, 3]))
        )
        self.replaced[one] = [
            helper.make_node("Pad", [name, places], [f"{one}_pad"], f"{one}_pad", mode=mode),
            self._squares(conv, f"{one}_pad", small, strides=[1, 1], pads=[0] * 4),
            _depth_to_space(one, f"{one}_squares", f"{one}_whole"),
            helper.make_node("Slice", [f"{one}_whole", starts, ends, axes], list(conv.output), f"{one}_cut"),
        ]

    def _before_doubling(self, conv: onnx.NodeProto) -> tuple[str, str] | None:
        """The map before it was doubled and padded, and how that is to be padded for the same convolution."""
        options = _options(conv)
        if options["kernel_shape"] != [3, 3] or not _plain(options):
            return None
        maker = self.makers.get(conv.input[0])
        if options["pads"] == [1] * 4:
            mode = "constant"
        elif options["pads"] == [0] * 4 and maker is not None and maker.op_type == "Pad":
            # The border mirrors the pixel next to the outermost, which is the outermost once more.
            mode = _options(maker).get("mode", b"constant").decode()
            mode = "edge" if mode == "reflect" else mode
            if list(self.weights[maker.input[1]]) != [0, 0, 1, 1, 0, 0, 1, 1] or len(maker.input) > 2:
                return None
            maker = self.makers.get(maker.input[0])
        else:
            return None
        if maker is None or maker.op_type != "Resize" or mode not in ("constant", "edge"):
            return None
        asked = _options(maker)
        if asked["mode"] != b"nearest" or list(self.weights[maker.input[2]]) != [1, 1, 2, 2]:
            return None
        return maker.input[0], mode

    def narrow(self) -> None:
        """The last convolution, if it makes few channels and all that comes after it takes each number alone."""
        conv, after = self._last()
        if conv is None or conv.name in self.replaced:
            return
        options, weight = _options(conv), self.weights[conv.input[1]]
        count, inner, height, width = weight.shape
        if count > FEW or not _plain(options) or min(height, width) < 2:
            return
        wide = np.zeros((2, 2, count, inner, height + 1, width + 1), np.float32)
        for i in (0, 1):
            for j in (0, 1):
                wide[i, j, :, :, i : i + height, j : j + width] = weight
        wide = wide.reshape(4 * count, inner, height + 1, width + 1)
        squares = self._squares(conv, conv.input[0], wide, strides=[2, 2], pads=options["pads"])
        end = self.makers[self.graph.output[0].name]
        if end.op_type == "Identity" and not any(map(self._by_channel, after)):
            # What comes after takes the channels as they are, and so becomes part of the convolution.
            squares.output[0] = conv.output[0]
            self.replaced[conv.name] = [squares]
            self.replaced[end.name] = [_depth_to_space(end.name, end.input[0], end.output[0])]
        else:
            spread = _depth_to_space(conv.name, squares.output[0], conv.output[0])
            self.replaced[conv.name] = [squares, spread]

    def _by_channel(self, node: onnx.NodeProto) -> bool:
        """Whether a pointwise operation does not do the same in every channel."""
        return node.op_type == "Gather" or any(
            self.weights[name].size > 1 for name in node.input if name in self.weights
        )

    def _last(self) -> tuple[onnx.NodeProto | None, list[onnx.NodeProto]]:
        """The one convolution that the picture is made of, number by number; and what makes the one of the other."""
        names, found = [self.graph.output[0].name], {}
        after = []
        while names:
            node = self.makers.get(names.pop())
            if node is not None and node.op_type == "Conv":
                found[node.name] = node
            elif node is not None and node.op_type in _POINTWISE:
                after.append(node)
                names += [name for name in node.input if name and name not in self.weights]
            else:
                return None, []
        return (next(iter(found.values())) if len(found) == 1 else None), after

    def _squares(
        self, conv: onnx.NodeProto, source: str, weight: NDArray[Any], *, strides: list[int], pads: list[int]
    ) -> onnx.NodeProto:
        """The convolution of `source` that makes `conv`'s results, those of a square one after the other."""
        inputs = [source, self.weight(f"{conv.name}_weight", weight)]
        if len(conv.input) > 2:
            inputs.append(self.weight(f"{conv.name}_bias", np.tile(self.weights[conv.input[2]], 4)))
        return helper.make_node(
            "Conv",
            inputs,
            [f"{conv.name}_squares"],
            f"{conv.name}_squares",
            kernel_shape=list(weight.shape[2:]),
            strides=strides,
            pads=pads,
        )

    def finish(self) -> None:
        """Put the new nodes in the places of the old ones, and drop what nothing takes any more."""
        nodes = [new for node in self.graph.node for new in self.replaced.get(node.name, [node])]
        needed = {one.name for one in self.graph.output}
        kept = []
        for node in reversed(nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        weights = [one for one in self.graph.initializer if one.name in needed]
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(reversed(kept))
        self.graph.initializer.extend(weights)


def _depth_to_space(name: str, squares: str, result: str) -> onnx.NodeProto:
    return helper.make_node("DepthToSpace", [squares], [result], f"{name}_spread", blocksize=2, mode="DCR")


def _options(node: onnx.NodeProto) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _plain(options: dict[str, Any]) -> bool:
    """Whether a convolution sees every pixel around a place, at every place, in all channels."""
    return bool(options["strides"] == options["dilations"] == [1, 1] and options["group"] == 1)
