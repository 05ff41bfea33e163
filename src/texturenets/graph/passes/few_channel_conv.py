"""The last convolution, which has 3 output channels, computes a block of 2 x 2 outputs at a position: 12 channels.

    before: x -> conv k x k -> (3, H, W)
    after:  x -> conv (k + 1) x (k + 1), stride 2 -> (12, H / 2, W / 2) -> shuffle (depth to space) -> (3, H, W)

CPUs multiply 16 channels at a time, so most of the work before is wasted. A drawing in `space_to_depth` shows why the
outputs are the same.
"""

from __future__ import annotations

import numpy as np

from texturenets.graph import Graph
from texturenets.graph.passes.space_to_depth import FEW_CHANNELS, block_output_weights
from texturenets.graph.rewriting import GraphRewriter, can_compute_blocks, is_plain

# Elementwise operations: the same for all channels, which may also run before `shuffle`; and others.
_UNIFORM = frozenset(
    ("linear", "tanh", "sigmoid", "relu", "leaky_relu", "elu", "silu", "gelu", "clamp", "add", "mul", "div")
)
_BY_CHANNEL = frozenset(("affine", "batch_norm", "prelu", "select"))


def few_channel_conv(graph: Graph) -> Graph:
    """Apply the pass to the last convolution where only elementwise operations follow it."""
    conv, after = _last(graph)
    if conv < 0 or not can_compute_blocks(graph, conv):
        return graph
    node = graph.nodes[conv]
    if node.channels > FEW_CHANNELS or not is_plain(node) or max(node.settings["kernel"]) < 2:
        return graph
    uniform = all(graph.nodes[number].operation in _UNIFORM for number in after)
    work = GraphRewriter(graph)
    for number in range(len(graph.nodes)):
        if number != conv:
            work.copy(number)
            continue
        original = graph.node_weights(conv)
        weights = {"weight": block_output_weights(original["weight"])}
        if "bias" in original:
            weights["bias"] = np.tile(original["bias"], 4)
        rows, columns = node.settings["kernel"]
        settings = {"out": 4 * node.channels, "kernel": (rows + 1, columns + 1), "stride": 2}
        work.number[conv] = work.add("conv", work.number[node.sources[0]], weights=weights, **settings)
        if not uniform:
            work.number[conv] = work.add("shuffle", work.number[conv], factor=2, order="DCR")
    if uniform:
        work.add("shuffle", work.number[len(graph.nodes) - 1], factor=2, order="DCR")
    return work.finish()


def _last(graph: Graph) -> tuple[int, list[int]]:
    """The last convolution, or -1 if the image does not depend on it alone; and the elementwise nodes after it."""
    needed, convs, after = {len(graph.nodes) - 1}, set(), []
    for number in range(len(graph.nodes) - 1, -1, -1):
        if number not in needed:
            continue
        node = graph.nodes[number]
        if node.operation == "conv":
            convs.add(number)
        elif node.operation in _UNIFORM or node.operation in _BY_CHANNEL:
            after.append(number)
            needed.update(node.sources)
        else:
            return -1, []
    return (convs.pop() if len(convs) == 1 else -1), after
