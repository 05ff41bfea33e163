"""A network as a graph: a list of operations over feature maps, and its weights. No torch.

`grammar`: the table of operations. `shapes`: sizes of feature maps. `io_spec`: inputs and output of a graph. `onnx`:
conversion to ONNX. `passes`: rewrites that make a graph faster.

"Stride" has four meanings here. Of a graph, an `IOSpec` and a generator: height and width of the image must be
multiples of it. Of `shapes.stride(nodes)`: the same, as far as the nodes alone need it; the graph's is the least
common multiple of that and its `multiple`. Of an input (`NoiseInput`, `NamedInput`, and the settings of the nodes
`noise` and `input`): the input has 1/stride of the image's height and width. Of a convolution or pooling: the step of
its window, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import lcm, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import UserError
from texturenets.graph import shapes
from texturenets.graph.grammar import MAX_MARGIN, MAX_STRIDE, OPERATIONS, Node, line, text_of
from texturenets.graph.io_spec import IOSpec, NamedInput
from texturenets.graph.periodic import wraps_around
from texturenets.graph.shapes import parse, parse_node, weight_shapes
from texturenets.noise import NoiseInput

__all__ = [
    "OPERATIONS",
    "ConversionError",
    "Graph",
    "IOSpec",
    "NamedInput",
    "Node",
    "line",
    "parse",
    "parse_node",
    "weight_shapes",
]

Array = NDArray[np.float32]


class ConversionError(UserError):
    """A network that cannot be converted to a graph, or a graph that cannot be converted to ONNX: it runs only with
    PyTorch.

    `reason`: the operation, and where in the network it is.
    """

    def __init__(self, network: str, reason: str) -> None:
        super().__init__(f"{network}: {reason}; `engine` torch runs it")
        self.reason = reason


@dataclass
class Graph:
    """`nodes` in an order in which each follows its sources; the last one is the output. `weights` by name, float32.

    `margin`: pixels of reflection padding that a photo needs on each side, cropped from the output. `multiple`:
    height and width must also be multiples of this, besides the stride of the nodes. `fixed_size`: its output is
    always `stride` x `stride` pixels.
    """

    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    margin: int = 0
    multiple: int = 1
    fixed_size: bool = False

    def add(self, operation: str, sources: Sequence[int], names: Mapping[str, str], **settings: Any) -> int:
        """Add a node whose weights have these names; returns its number. Raises UserError for an invalid node."""
        self.nodes.append(parse_node(line(operation, sources, names, **settings), self.nodes))
        return len(self.nodes) - 1

    def lines(self) -> list[str]:
        """The text of every node."""
        return [text_of(node) for node in self.nodes]

    def weight(self, number: int, role: str = "weight") -> Array | None:
        """A weight of a node in the shape that its operation needs; None if it has none."""
        node = self.nodes[number]
        if role not in node.weights:
            return None
        value, shape = self.weights[node.weights[role]], weight_shapes(node, self.nodes)[role]
        return np.broadcast_to(value.reshape(-1), shape) if value.size == 1 else value.reshape(shape)

    def node_weights(self, number: int) -> dict[str, Array]:
        """All weights of a node by their role."""
        weights = {role: self.weight(number, role) for role in self.nodes[number].weights}
        return {role: value for role, value in weights.items() if value is not None}

    def check(self) -> None:
        """Raise UserError unless every weight exists, has the right number of elements, and all are finite."""
        for number, node in enumerate(self.nodes):
            for role, shape in weight_shapes(node, self.nodes).items():
                name = node.weights[role]
                if name not in self.weights:
                    raise UserError(f"weight {name} is missing")
                size, broadcast = self.weights[name].size, len(shape) == 1
                if size != prod(shape) and not (broadcast and size == 1):
                    raise UserError(
                        f"weight {name} has {size} elements where node {number} takes {prod(shape)}"
                    )
                if not np.isfinite(self.weights[name]).all():
                    raise UserError(f"weight {name} is not finite")

    @property
    def stride(self) -> int:
        """Height and width of its input and output images must be multiples of this."""
        return lcm(shapes.stride(self.nodes), self.multiple)

    @property
    def photo(self) -> bool:
        """Whether a photo is one of its inputs."""
        return any(node.operation == "photo" for node in self.nodes)

    @property
    def noise(self) -> tuple[NoiseInput, ...]:
        """Its noise inputs."""
        return tuple(noise_input(node) for node in self.nodes if node.operation == "noise")

    @property
    def io_spec(self) -> IOSpec:
        """Its inputs and output."""
        inputs = tuple(
            NamedInput(node.settings["name"], node.channels, node.settings["stride"])
            for node in self.nodes
            if node.operation == "input"
        )
        stride = self.stride
        return IOSpec(
            stride,
            stride if self.fixed_size else shapes.min_side(self.nodes, stride),
            3 if self.photo else 0,
            self.noise,
            self.fixed_size,
            self.margin,
            self.nodes[-1].channels,
            inputs,
            periodic=wraps_around(self.nodes),
        )

    def to_dict(self) -> dict[str, Any]:
        """All but the weights, ready for JSON."""
        return {
            "nodes": self.lines(),
            "margin": self.margin,
            "multiple": self.multiple,
            "fixed": self.fixed_size,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], weights: Mapping[str, Array] | None = None) -> Graph:
        """The inverse of `to_dict`. Raises UserError for an invalid graph."""
        lines = data.get("nodes")
        if not isinstance(lines, list) or not all(isinstance(text, str) for text in lines):
            raise UserError("graph: its nodes are not a list of strings")
        margin, multiple = (data.get(key, value) for key, value in (("margin", 0), ("multiple", 1)))
        for name, value, low, high in (
            ("margin", margin, 0, MAX_MARGIN),
            ("multiple", multiple, 1, MAX_STRIDE),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise UserError(f"graph: {name}={value!r} is not a whole number from {low} to {high}")
        return cls(list(parse(lines)), dict(weights or {}), margin, multiple, data.get("fixed") is True)


def noise_input(node: Node) -> NoiseInput:
    """The input of a node `noise`."""
    settings = node.settings
    return NoiseInput(node.channels, settings["stride"], settings["distribution"], settings["waves"])


def used(nodes: Sequence[Node], last: int) -> list[int]:
    """The numbers of node `last` and of all nodes that it depends on, in order."""
    needed = {last}
    for number in range(last, -1, -1):
        if number in needed:
            needed.update(nodes[number].sources)
    return sorted(needed)


def names_of(nodes: Iterable[Node]) -> set[str]:
    """The names of all weights."""
    return {name for node in nodes for name in node.weights.values()}


def with_inputs(node: Node, sources: Sequence[int], before: Sequence[Node]) -> Node:
    """`node` with other sources, its shape computed again."""
    return shapes.shaped(replace(node, sources=tuple(sources)), before)
