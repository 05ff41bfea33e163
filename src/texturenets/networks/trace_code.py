"""Somebody else's network as a graph, tried against its code: code can do what no trace sees."""

from __future__ import annotations

import copy

import torch
from torch import nn

from texturenets import noise
from texturenets.engines.executor import GraphNetwork
from texturenets.engines.network import declared, is_fixed
from texturenets.graph import Graph
from texturenets.networks.trace import evaluating, refusal, trace

TOLERANCE = 1e-3
"""By how much of the image's values a graph may differ from its network: the order of sums makes far less."""


@torch.no_grad()
def trace_code(network: nn.Module) -> Graph:
    """As `trace`, for somebody else's code: on a small image the graph has to draw what the network does.

    Code can do what no trace sees: draw numbers of its own, look at the whole batch, change a part of a feature map
    in place. Raises ConversionError where the two differ.
    """
    if isinstance(network, GraphNetwork):  # nobody's code
        return trace(network)
    stride = declared(network, "stride", 1)
    side = -(-64 // stride) * stride
    size = (stride, stride) if is_fixed(network) else (side, side + stride)
    weight = next(network.parameters(), torch.zeros(0))
    with evaluating(network), torch.random.fork_rng(devices=[]):
        photo = torch.rand(2, 3, *size).to(weight) if getattr(network, "photo", True) else None
        maps = [one.to(weight) for one in noise.draw(getattr(network, "noise", ()), [0, 1], *size)]
        given = (photo, maps) if maps else (photo,)
        try:
            # First, as layers may work out their weights when they are called; of a copy, which it may change
            expected = network(*copy.deepcopy(given)).float()
        except Exception as error:
            reason = f"it fails on 2 images of {size[0]} x {size[1]}: {' '.join(str(error).split())[:200]}"
            raise refusal(network, reason) from error
        graph = trace(network)
        found = GraphNetwork(graph).to(weight).eval()(photo, maps).float()
    difference = (found - expected).abs().mean() / expected.abs().mean().clamp(min=1)
    if not difference < TOLERANCE:
        raise refusal(network, f"its graph draws otherwise than its code, by {difference:.2g} on average")
    return graph
