"""Passes: each rewrites a graph into one that runs faster and gives the same results but for rounding.

Their speedups are in docs/measurements.md; a pass that speeds no network up by 5 % or more is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from texturenets.graph import Graph
from texturenets.graph.passes.drop_bias import drop_bias
from texturenets.graph.passes.few_channel_conv import few_channel_conv
from texturenets.graph.passes.few_input_conv import few_input_conv
from texturenets.graph.passes.fuse_upsample_conv import fuse_upsample_conv
from texturenets.graph.rewriting import pruned

GraphPass = Callable[[Graph], Graph]

CPU_PASSES: Final[tuple[GraphPass, ...]] = (fuse_upsample_conv, few_channel_conv)
"""For OpenVINO and ONNX Runtime on processors."""
CUDA_PASSES: Final[tuple[GraphPass, ...]] = (drop_bias, few_input_conv, few_channel_conv)
"""For PyTorch on GPUs in half precision."""

__all__ = [
    "CPU_PASSES",
    "CUDA_PASSES",
    "drop_bias",
    "few_channel_conv",
    "few_input_conv",
    "fuse_upsample_conv",
    "optimize",
]


def optimize(graph: Graph, passes: Sequence[GraphPass] = CPU_PASSES) -> Graph:
    """`graph` after `passes`, without nodes that the image does not depend on."""
    graph = pruned(graph, len(graph.nodes) - 1)
    for graph_pass in passes:
        graph = graph_pass(graph)
    return graph
