"""A large convolution of few input channels takes and computes blocks of 2 x 2 pixels at a position, on CUDA.

    before: x (3, H, W) -> conv 9 x 9 -> (O, H - 8, W - 8)
    after:  x -> unshuffle (space to depth) -> (12, H / 2, W / 2) -> conv 5 x 5 -> (4 O, H / 2 - 4, W / 2 - 4)
              -> shuffle (depth to space) -> (O, H - 8, W - 8)

Tensor cores multiply 16 channels at a time. The kernel of 10 x 10 that computes blocks with a stride of 2
(`space_to_depth.block_output_weights`) covers 5 x 5 whole blocks of the input, so it is one of 5 x 5 after
`unshuffle`.
"""

from __future__ import annotations

import numpy as np

from texturenets.graph import Graph
from texturenets.graph.passes.space_to_depth import FEW_CHANNELS, block_output_weights
from texturenets.graph.rewriting import GraphRewriter, can_compute_blocks, is_plain

LARGE = 5
"""Smallest kernel: k x k of (k + 1) x (k + 1) weights are not zero, 25 of 36 for 5."""


def few_input_conv(graph: Graph) -> Graph:
    """Apply the pass to every large convolution of few input channels."""
    work = GraphRewriter(graph)
    for number, node in enumerate(graph.nodes):
        rows, columns = node.settings.get("kernel", (0, 0))
        large = min(rows, columns) >= LARGE and rows % 2 == columns % 2 == 1
        few = large and is_plain(node) and graph.nodes[node.sources[0]].channels <= FEW_CHANNELS
        if few and can_compute_blocks(graph, number):
            work.number[number] = _in_blocks(work, number)
        else:
            work.copy(number)
    return work.finish()


def _in_blocks(work: GraphRewriter, number: int) -> int:
    node, original = work.old.nodes[number], work.old.node_weights(number)
    wide = block_output_weights(original["weight"])
    outputs, inputs, height, width = wide.shape
    # As `unshuffle` does it to the input: (channel, row in the block, column in the block) are the new channels
    apart = wide.reshape(outputs, inputs, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 5, 2, 4)
    weights = {"weight": apart.reshape(outputs, 4 * inputs, height // 2, width // 2)}
    if "bias" in original:
        weights["bias"] = np.tile(original["bias"], 4)
    blocks = work.add("unshuffle", work.number[node.sources[0]], factor=2)
    settings = {"out": outputs, "kernel": (height // 2, width // 2)}
    conv = work.add("conv", blocks, weights=weights, **settings)
    return work.add("shuffle", conv, factor=2, order="DCR")
