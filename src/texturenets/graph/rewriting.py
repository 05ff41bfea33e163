"""Tools for passes: copying a graph node by node, and replacing some nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texturenets.graph import Graph, Node, names_of, used, with_inputs
from texturenets.graph.grammar import MAX_CHANNELS, MAX_MAP_CHANNELS, MAX_WINDOW

Array = NDArray[np.float32]


class GraphRewriter:
    """Builds the graph `new` from `old`, node by node; `number`: indices of nodes in `new` by those in `old`."""

    def __init__(self, old: Graph) -> None:
        self.old = old
        self.new = replace(old, nodes=[], weights=dict(old.weights), multiple=old.stride)
        self.number: dict[int, int] = {}
        self.users: dict[int, list[int]] = {}
        for user, node in enumerate(old.nodes):
            for source in node.sources:
                self.users.setdefault(source, []).append(user)

    def copy(self, number: int) -> int:
        """Copy node `number` of the old graph; returns its index in the new one."""
        node = self.old.nodes[number]
        self.number[number] = self.put(node, *(self.number[source] for source in node.sources))
        return self.number[number]

    def put(self, node: Node, *sources: int) -> int:
        """Add `node` with other `sources`, indices in the new graph; returns its index."""
        self.new.nodes.append(with_inputs(node, sources, self.new.nodes))
        return len(self.new.nodes) - 1

    def add(
        self,
        operation: str,
        *sources: int,
        weights: Mapping[str, Array | None] | None = None,
        **settings: Any,
    ) -> int:
        """Add a new node, whose `sources` are indices in the new graph; returns its index."""
        given = {role: value for role, value in (weights or {}).items() if value is not None}
        names = {role: self.weight(f"{len(self.new.nodes)}.{role}", value) for role, value in given.items()}
        return self.new.add(operation, sources, names, **settings)

    def weight(self, name: str, value: Array) -> str:
        """Add a weight under a unique name; returns the name."""
        while name in self.new.weights:
            name += "'"
        self.new.weights[name] = np.asarray(value, np.float32)
        return name

    def finish(self, last: int | None = None) -> Graph:
        """The new graph, pruned to what node `last` depends on [the last node]; inputs stay."""
        last = len(self.new.nodes) - 1 if last is None else last
        return pruned(self.new, last)


def pruned(graph: Graph, last: int) -> Graph:
    """`graph` without the nodes that `last` does not depend on; all inputs stay, as callers feed them by position."""
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
    sides = {graph.stride * node.scale + extra for extra in (node.extra_rows, node.extra_columns)}
    in_bounds = (
        4 * node.channels <= MAX_CHANNELS and 4 * graph.nodes[node.sources[0]].channels <= MAX_MAP_CHANNELS
    )
    return in_bounds and max(node.settings["kernel"]) < MAX_WINDOW and all(side % 2 == 0 for side in sides)


def is_plain(node: Node) -> bool:
    """Whether a node is a convolution without stride, dilation and groups."""
    s = node.settings
    return node.operation == "conv" and s["stride"] == s["dilation"] == s["groups"] == 1
