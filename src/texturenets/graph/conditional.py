"""Converts a graph whose normalizations have rows of weights (`modelfiles.conditions`) to one that can be run. No
torch.

With one component its rows are mixed into the weights, and the graph stays the same. With several the graph gets
another input, the style map; a 1 x 1 convolution of it gives each normalization its scales and shifts at every
position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import UserError
from texturenets.graph import Graph
from texturenets.graph.grammar import Node
from texturenets.graph.rewriting import GraphRewriter

STYLES = "styles"
"""The name of the style map among the inputs."""

Components = Sequence[Sequence[float]]


def conditioned(graph: Graph, components: Components, stride: int | None) -> Graph:
    """`graph` for these components; see `modelfiles.conditions.Mixture`.

    `graph`: its normalizations' weights (rows, C). Raises UserError if the number of rows is not that of the shares,
    and for a feature map whose size is not the image's divided by an integer.
    """
    mixed = {
        name: _mixed(name, graph.weights[name], components)
        for node in graph.nodes
        if node.operation == "norm"
        for name in node.weights.values()
        if name in graph.weights and graph.weights[name].ndim == 2
    }
    if stride is None:
        weights = graph.weights | {name: table[0] for name, table in mixed.items()}
        return replace(graph, nodes=list(graph.nodes), weights=weights)
    return _with_style_map(graph, mixed, len(components), stride)


def _mixed(name: str, table: NDArray[np.float32], components: Components) -> NDArray[np.float32]:
    """(components, C) of (rows, C)."""
    shares = np.asarray(components, np.float32)
    if shares.shape[1] != len(table):
        raise UserError(
            f"weight {name} has {len(table)} rows where the model has {shares.shape[1]} conditions"
        )
    result: NDArray[np.float32] = shares @ table
    return result


class _StyleMap(GraphRewriter):
    """Rewrites the graph. `mixed`: the weights of the normalizations, (components, C). `at`: the style map by
    stride."""

    def __init__(self, graph: Graph, mixed: dict[str, NDArray[np.float32]], count: int, stride: int) -> None:
        super().__init__(graph)
        self.mixed, self.count, self.stride = mixed, count, stride
        self.at: dict[int, int] = {}

    def normalized(self, number: int) -> None:
        """Add a normalization whose scales and shifts come from the style map."""
        node = self.old.nodes[number]
        if not self.at:  # after the other inputs: photo and noise
            self.at[self.stride] = self.add("input", name=STYLES, channels=self.count, stride=self.stride)
        styles = self._map_for(node)
        y = self.add("norm", *(self.number[source] for source in node.sources), **node.settings)
        for role, operation in (("weight", "mul"), ("bias", "add")):
            if role in node.weights:
                weight = self.mixed[node.weights[role]].T[:, :, None, None]
                row = self.add("conv", styles, weights={"weight": weight}, out=node.channels, kernel=(1, 1))
                y = self.add(operation, y, row)
        self.number[number] = y

    def _map_for(self, node: Node) -> int:
        """The style map at the resolution of `node`, averaged from the input."""
        if self.stride == 0:
            return self.at[0]
        wanted = 1 / node.scale
        if node.extra_rows or node.extra_columns or wanted.denominator != 1 or wanted.numerator % self.stride:
            raise UserError(
                f"its styles cannot go by region, for a normalization at {node.scale} of the image's size plus "
                f"{node.extra_rows}: name one of them, as MODEL:STYLE, or a mixture, and no mask"
            )
        if wanted.numerator not in self.at:
            factor = wanted.numerator // self.stride
            self.at[wanted.numerator] = self.add(
                "avg_pool", self.at[self.stride], kernel=(factor, factor), stride=factor
            )
        return self.at[wanted.numerator]


def _with_style_map(graph: Graph, mixed: dict[str, NDArray[np.float32]], count: int, stride: int) -> Graph:
    work = _StyleMap(graph, mixed, count, stride)
    for number, node in enumerate(graph.nodes):
        if any(name in mixed for name in node.weights.values()):
            work.normalized(number)
        else:
            work.copy(number)
    return work.finish()
