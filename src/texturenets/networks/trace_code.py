"""Traces a user's network and compares the graph with its code: code can do things that a trace does not record."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from texturenets import noise
from texturenets.engines.executor import GraphNetwork
from texturenets.engines.network import declared, is_fixed
from texturenets.graph import Graph
from texturenets.networks.trace import evaluating, refusal, trace

TOLERANCE = 1e-3
"""Maximum difference between the images of graph and network; the order of summation causes far less."""


@torch.no_grad()
def trace_code(network: nn.Module) -> Graph:
    """As `trace`, for a user's code: on a small image the output of the graph must be that of the network. Code can
    do things that a trace does not record: draw random numbers, use the whole batch, change a part of a feature map
    in place. Raises ConversionError if the two differ.
    """
    if isinstance(network, GraphNetwork):  # not a user's code
        return trace(network)
    weight = next(network.parameters(), torch.zeros(0))
    with evaluating(network), torch.random.fork_rng(devices=[]):
        # Before tracing, because layers may compute their weights when called
        (photo, maps), expected = example(network)
        graph = trace(network)
        found = GraphNetwork(graph).to(weight).eval()(photo, maps).float()
    difference = (found - expected).abs().mean() / expected.abs().mean().clamp(min=1)
    if not difference < TOLERANCE:
        raise refusal(network, f"its graph draws otherwise than its code, by {difference:.2g} on average")
    return graph


Inputs = tuple[Tensor | None, list[Tensor]]
"""A batch of photos, None for a texture, and noise maps."""


@torch.no_grad()
def example(network: nn.Module) -> tuple[Inputs, Tensor]:
    """Two small random images, or noise, and the network's images of them, in float32 and evaluation mode. Raises
    ConversionError if it fails on them."""
    stride = declared(network, "stride", 1)
    side = -(-64 // stride) * stride
    size = (stride, stride) if is_fixed(network) else (side, side + stride)
    weight = next(network.parameters(), torch.zeros(0))
    with evaluating(network), torch.random.fork_rng(devices=[]):
        photo = torch.rand(2, 3, *size).to(weight) if getattr(network, "photo", True) else None
        maps = [one.to(weight) for one in noise.draw(getattr(network, "noise", ()), [0, 1], *size)]
        try:
            images = network(
                *copy.deepcopy((photo, maps) if maps else (photo,))
            )  # a call may change what it gets
            return (photo, maps), images.float()
        except Exception as error:
            reason = f"it fails on 2 images of {size[0]} x {size[1]}: {' '.join(str(error).split())[:200]}"
            raise refusal(network, reason) from error
