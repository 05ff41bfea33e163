"""A large convolution of few input channels takes and computes squares of 2 x 2 pixels at a position, on CUDA.

    before: x (3, H, W) -> conv 9 x 9 -> (O, H - 8, W - 8)
    after:  x -> unshuffle (space to depth) -> (12, H / 2, W / 2) -> conv 5 x 5 -> (4 O, H / 2 - 4, W / 2 - 4)
              -> shuffle (depth to space) -> (O, H - 8, W - 8)

Tensor cores multiply 16 channels at a time. The kernel of 10 x 10 that computes squares with a stride of 2
(`space_to_depth.of_square`) covers 5 x 5 whole squares of the input, so it is one of 5 x 5 behind `unshuffle`.
"""

from __future__ import annotations

import numpy as np

from texturenets.graph import Graph
from texturenets.graph.passes.rewriting import FEW, Rewriting, is_plain, may_double
from texturenets.graph.passes.space_to_depth import of_square

LARGE = 5
"""Smallest kernel: k x k of (k + 1) x (k + 1) weights are not zero, 25 of 36 for 5."""


def few_input_conv(graph: Graph) -> Graph:
    """Apply the pass to every large convolution of few input channels."""
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
    # As `unshuffle` does it to the input: (channel, row in the square, column in the square) are the new channels
    apart = wide.reshape(outputs, inputs, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 5, 2, 4)
    weights = {"weight": apart.reshape(outputs, 4 * inputs, height // 2, width // 2)}
    if "bias" in original:
        weights["bias"] = np.tile(original["bias"], 4)
    squares = work.add("unshuffle", work.number[node.sources[0]], factor=2)
    settings = {"out": outputs, "kernel": (height // 2, width // 2)}
    conv = work.add("conv", squares, weights=weights, **settings)
    return work.add("shuffle", conv, factor=2, order="places")
