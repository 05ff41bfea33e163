"""Makes a graph that runs of one whose normalizations have rows of weights (`modelfiles.conditions`). No torch.

With one component its rows are mixed into the weights: the graph stays as it is. With several the graph gets an input
more, the style map, and a 1 x 1 convolution of it gives each normalization its scales and shifts at every position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import UserError
from texturenets.graph import ConversionError, Graph
from texturenets.graph.grammar import Node

STYLES = "styles"
"""The name of the style map among the inputs."""

Components = Sequence[Sequence[float]]


def conditioned(graph: Graph, components: Components, stride: int | None) -> Graph:
    """`graph` for these components; see `modelfiles.conditions.Mixture`.

    `graph`: its normalizations' weights (rows, C). Raises UserError where the rows are not as many as the shares, and
    ConversionError for a feature map whose size is no simple part of the image's.
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


def _with_style_map(graph: Graph, mixed: dict[str, NDArray[np.float32]], count: int, stride: int) -> Graph:
    made = Graph([], {}, graph.margin, graph.multiple, graph.fixed)
    places: list[int] = []  # where each node of `graph` is in `made`
    map_at: dict[int, int] = {}  # the style map by its stride
    for node in graph.nodes:
        sources = [places[source] for source in node.sources]
        if not any(name in mixed for name in node.weights.values()):
            made.weights |= {name: graph.weights[name] for name in node.weights.values()}
            places.append(made.add(node.operation, sources, node.weights, **node.settings))
            continue
        if not map_at:  # after the photo and the noise, which are inputs too
            map_at[stride] = made.add("input", [], {}, name=STYLES, channels=count, stride=stride)
        styles = _at(made, map_at, node, stride)
        y = made.add("norm", sources, {}, **node.settings)
        for role, operation in (("weight", "mul"), ("bias", "add")):
            if role in node.weights:
                name = node.weights[role]
                made.weights[name] = mixed[name].T[:, :, None, None].copy()
                row = made.add("conv", [styles], {"weight": name}, out=node.channels, kernel=(1, 1))
                y = made.add(operation, [y, row], {})
        places.append(y)
    return made


def _at(made: Graph, map_at: dict[int, int], node: Node, stride: int) -> int:
    """The style map at the resolution of `node`, averaged from the input."""
    if stride == 0:
        return map_at[0]
    wanted = 1 / node.scale
    if node.extra or node.extra_columns or wanted.denominator != 1 or wanted.numerator % stride:
        raise ConversionError(
            "styles by region", f"a normalization at {node.scale} of the image's size plus {node.extra}"
        )
    if wanted.numerator not in map_at:
        factor = wanted.numerator // stride
        map_at[wanted.numerator] = made.add(
            "avg_pool", [map_at[stride]], {}, kernel=(factor, factor), stride=factor
        )
    return map_at[wanted.numerator]
