"""What passes have in common: copying a graph node by node, with others in place of some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texturenets.graph import Graph, Node, names_of, used, with_inputs
from texturenets.graph.grammar import MAX_CHANNELS, MAX_MAP_CHANNELS, MAX_WINDOW

Array = NDArray[np.float32]


class Rewriting:
    """A copy of `old` that grows node by node in `new`; `number` has the new numbers by the old ones."""

    def __init__(self, old: Graph) -> None:
        self.old = old
        self.new = replace(old, nodes=[], weights=dict(old.weights), multiple=old.stride)
        self.number: dict[int, int] = {}
        self.users: dict[int, list[int]] = {}
        for user, node in enumerate(old.nodes):
            for source in node.sources:
                self.users.setdefault(source, []).append(user)

    def copy(self, number: int) -> int:
        """Node `number` of the old graph as it is."""
        node = self.old.nodes[number]
        self.number[number] = self.put(node, *(self.number[source] for source in node.sources))
        return self.number[number]

    def put(self, node: Node, *sources: int) -> int:
        """`node` with other sources, numbers of the new graph; its number."""
        self.new.nodes.append(with_inputs(node, sources, self.new.nodes))
        return len(self.new.nodes) - 1

    def add(
        self,
        operation: str,
        *sources: int,
        weights: Mapping[str, Array | None] | None = None,
        **settings: Any,
    ) -> int:
        """A new node, its sources numbers of the new graph; its number."""
        given = {role: value for role, value in (weights or {}).items() if value is not None}
        names = {role: self.weight(f"{len(self.new.nodes)}.{role}", value) for role, value in given.items()}
        return self.new.add(operation, sources, names, **settings)

    def weight(self, name: str, value: Array) -> str:
        """A new weight, under a name that nothing else has."""
        while name in self.new.weights:
            name += "'"
        self.new.weights[name] = np.asarray(value, np.float32)
        return name

    def finish(self, last: int | None = None) -> Graph:
        """The new graph, without what does not lead to node `last` [the last one]; inputs stay."""
        last = len(self.new.nodes) - 1 if last is None else last
        return pruned(self.new, last)


def pruned(graph: Graph, last: int) -> Graph:
    """`graph` up to node `last`, without what does not lead there; inputs stay, as those who feed it count them."""
    inputs = [i for i, node in enumerate(graph.nodes) if not node.sources]
    remaining = sorted({*inputs, *used(graph.nodes, last)} - set(range(last + 1, len(graph.nodes))))
    number = {old: new for new, old in enumerate(remaining)}
    nodes: list[Node] = []
    for old in remaining:
        node = graph.nodes[old]
        nodes.append(with_inputs(node, [number[source] for source in node.sources], nodes))
    names = names_of(nodes)
    return replace(graph, nodes=nodes, weights={k: v for k, v in graph.weights.items() if k in names})


def can_compute_blocks(graph: Graph, number: int) -> bool:
    """Whether convolution `number` can compute blocks of 2 x 2 outputs (`space_to_depth`).

    Its feature map must have even sides for every image, and four times its channels and a window one pixel larger
    must be within the bounds of the grammar.
    """
    node = graph.nodes[number]
    sides = {graph.stride * node.scale + extra for extra in (node.extra, node.extra_columns)}
    room = 4 * node.channels <= MAX_CHANNELS and 4 * graph.nodes[node.sources[0]].channels <= MAX_MAP_CHANNELS
    return room and max(node.settings["kernel"]) < MAX_WINDOW and all(side % 2 == 0 for side in sides)


def is_plain(node: Node) -> bool:
    """Whether a node is a convolution without stride, dilation and groups."""
    s = node.settings
    return node.operation == "conv" and s["stride"] == s["dilation"] == s["groups"] == 1
