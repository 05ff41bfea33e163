"""A large convolution of 3 channels where graphics cards multiply 16 at a time: it takes squares of 2 x 2 pixels."""

from __future__ import annotations

import numpy as np

from texturenets.graph import Graph
from texturenets.graph.passes.rewriting import FEW, Rewriting, is_plain, may_double
from texturenets.graph.passes.space_to_depth import of_square

LARGE = 5
"""Kernel from which more than half of what squares add to it is used."""


def few_input_conv(graph: Graph) -> Graph:
    """Every large convolution of few channels, by squares in and out."""
    work = Rewriting(graph)
    for number, node in enumerate(graph.nodes):
        rows, columns = node.settings.get("kernel", (0, 0))
        large = min(rows, columns) >= LARGE and rows % 2 == columns % 2 == 1
        few = large and is_plain(node) and graph.nodes[node.sources[0]].channels <= FEW
        if few and may_double(graph, number):
            work.number[number] = _by_squares(work, number)
        else:
            work.copy(number)
    return work.finish()


def _by_squares(work: Rewriting, number: int) -> int:
    node, original = work.old.nodes[number], work.old.node_weights(number)
    wide = of_square(original["weight"])
    outputs, inputs, height, width = wide.shape
    # A square's pixels as channels, in the order of `unshuffle`: channel, row, column
    apart = wide.reshape(outputs, inputs, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 5, 2, 4)
    weights = {"weight": apart.reshape(outputs, 4 * inputs, height // 2, width // 2)}
    if "bias" in original:
        weights["bias"] = np.tile(original["bias"], 4)
    squares = work.add("unshuffle", work.number[node.sources[0]], factor=2)
    settings = {"out": outputs, "kernel": (height // 2, width // 2)}
    conv = work.add("conv", squares, weights=weights, **settings)
    return work.add("shuffle", conv, factor=2, order="places")
