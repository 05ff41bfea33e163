"""What rewriting an ONNX graph takes: weights and makers by name, new nodes in the places of old ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Wraps = dict[str, tuple[str, Sequence[int]]]
"""Maps that are others continued periodically: of which one, and by how much at top, bottom, left and right."""

LONGEST = 2**28
"""Pixels of a side: more than fit anywhere, and no sum of a few of them comes near 2^31, where slices are bounded."""


END = 2**31 - 1
"""Where a slice ends that goes on to the end."""


class Editing:
    """A graph that is being rewritten; `finish` puts the new nodes in."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.replaced: dict[str, list[onnx.NodeProto]] = {}
        """Nodes to stand in the place of the one that had this name."""
        self.bounded = False
        """Whether sides are to be known to be at most `LONGEST`. Without a bound OpenVINO (2026.4) takes that of a
        map in squares of 2 x 2 for 2^63 - 2, and what is continued periodically overflows."""

    def convolutions(self) -> list[onnx.NodeProto]:
        """Those of the graph as it was."""
        return [node for node in self.graph.node if node.op_type == "Conv"]

    def weight(self, name: str, values: NDArray[Any]) -> str:
        """A new tensor."""
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def change(self, node: onnx.NodeProto, place: int, values: NDArray[Any]) -> None:
        """Give the node another weight at `place` of its inputs."""
        name = f"{node.name}_{place}_of_{node.input[place]}"
        self.weights[name] = values
        node.input[place] = self.weight(name, values)

    def take(self, node: onnx.NodeProto, name: str, instead: str) -> None:
        """Let the node take `instead` for `name`."""
        taken = [instead if one == name else one for one in node.input]
        del node.input[:]
        node.input.extend(taken)

    def pad(self, source: str, name: str, amount: int, mode: str) -> onnx.NodeProto:
        """`amount` pixels more on each side."""
        places = self.weight(f"{name}_places", np.array([0, 0, amount, amount] * 2, np.int64))
        return helper.make_node("Pad", [source, places], [name], name, mode=mode)

    def slice(
        self, source: str, name: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int]
    ) -> onnx.NodeProto:
        """A part of a map."""
        parts = [
            self.weight(f"{name}_{what}", np.array(values, np.int64))
            for what, values in (("starts", starts), ("ends", ends), ("axes", axes))
        ]
        return helper.make_node("Slice", [source, *parts], [name], name)

    def spread(self, name: str, squares: str, result: str) -> onnx.NodeProto:
        """What `squares` makes, each square in its place."""
        return helper.make_node(
            "DepthToSpace", [squares], [result], f"{name}_spread", blocksize=2, mode="DCR"
        )

    def squares(
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
            dilations=[1, 1],
            group=1,
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
        if self.bounded:
            kept += [self._bound(one.name, kept) for one in self.graph.input]
            needed.update(name for node in kept for name in node.input)
        weights = [one for one in self.graph.initializer if one.name in needed]
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(reversed(kept))
        self.graph.initializer.extend(weights)

    def _bound(self, name: str, nodes: list[onnx.NodeProto]) -> onnx.NodeProto:
        """`name` as a part of itself that is all of it, for `nodes` to take instead."""
        node = self.slice(name, f"{name}_bounded", (2, 3), (0, 0), (LONGEST,) * 2)
        for other in nodes:
            self.take(other, name, f"{name}_bounded")
        return node


def options_of(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes."""
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def is_plain(options: dict[str, Any]) -> bool:
    """Whether a convolution sees every pixel around a place, at every place, in all channels."""
    return bool(options["strides"] == options["dilations"] == [1, 1] and options["group"] == 1)
