"""Graphs in a form that takes less time: the same numbers, but for rounding. A pass makes a graph of a graph.

What each brings is in docs/performance.md; one that brings less than 5 % to every network goes.
"""

from __future__ import annotations

from texturenets.graph import Graph
from texturenets.graph.passes.few_channel_conv import few_channel_conv
from texturenets.graph.passes.fold_select import fold_select
from texturenets.graph.passes.fuse_upsample_conv import fuse_upsample_conv
from texturenets.graph.passes.pad_channels import pad_channels

PASSES = (fold_select, fuse_upsample_conv, few_channel_conv, pad_channels)

__all__ = ["PASSES", "few_channel_conv", "fold_select", "fuse_upsample_conv", "optimize", "pad_channels"]


def optimize(graph: Graph) -> Graph:
    """`graph` after all passes."""
    for one in PASSES:
        graph = one(graph)
    return graph
