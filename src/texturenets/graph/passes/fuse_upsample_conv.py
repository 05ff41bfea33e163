"""Convolutions of a feature map that was doubled by repeating its pixels, as convolutions of the small map.

Convolved 3 x 3, each result sees 2 x 2 different pixels: by squares of results it is one convolution of the small map
with four times the channels, and the doubled map is never made.

Channels beside the doubled ones that are not doubled take part as squares of 2 x 2 pixels in four times the channels,
which costs 16 / 9 of theirs: done where it is less in all. Normalizing a doubled map is doubling a normalized one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from texturenets.graph import Graph, Node
from texturenets.graph.passes.rewriting import Rewriting, is_plain, may_double
from texturenets.graph.passes.space_to_depth import of_doubled, of_squares


@dataclass(frozen=True)
class _ConvInput:
    """Some channels of the convolution's input: node `source` doubled, or as it is. `norm`: yet to be done to it."""

    source: int
    doubled: bool
    channels: int
    norm: Node | None = None


def fuse_upsample_conv(graph: Graph) -> Graph:
    """Every 3 x 3 convolution that sees a doubled feature map, where that is less work."""
    work = Rewriting(graph)
    for number in range(len(graph.nodes)):
        parts = _parts(graph, number)
        small = sum(part.channels for part in parts if part.doubled)
        large = sum(part.channels for part in parts if not part.doubled)
        if small and 4 * (small + 4 * large) < 9 * (small + large) and may_double(graph, number):
            work.number[number] = _fused(work, number, parts)
        else:
            work.copy(number)
    return work.finish()


def _parts(graph: Graph, number: int) -> list[_ConvInput]:
    """What a 3 x 3 convolution with a border of one pixel sees; nothing for any other node."""
    conv = graph.nodes[number]
    if not is_plain(conv) or conv.settings["kernel"] != (3, 3):
        return []
    pad = graph.nodes[conv.sources[0]]
    if pad.operation != "pad" or pad.settings["amount"] != (1, 1, 1, 1):
        return []
    mode = pad.settings["mode"]
    # Where a photo goes in, what wraps around stays as it is: OpenVINO would have to copy the photo for a bound.
    if mode == "lowest" or (mode == "circular" and graph.photo):
        return []
    inner = graph.nodes[pad.sources[0]]
    sources = inner.sources if inner.operation == "concat" else pad.sources
    return [_part(graph, source) for source in sources]


def _part(graph: Graph, number: int) -> _ConvInput:
    node, norm = graph.nodes[number], None
    channels = node.channels
    if node.operation == "norm":
        node, norm = graph.nodes[node.sources[0]], node
    if node.operation == "upsample" and (node.settings["mode"], node.settings["factor"]) == ("nearest", 2):
        return _ConvInput(node.sources[0], True, channels, norm)
    return _ConvInput(number, False, channels)


def _fused(work: Rewriting, number: int, parts: list[_ConvInput]) -> int:
    """The convolution in its other form."""
    graph = work.old
    conv = graph.nodes[number]
    mode = graph.nodes[conv.sources[0]].settings["mode"]
    original = graph.node_weights(number)
    maps, weights, begin = [], [], 0
    for part in parts:
        weight = original["weight"][:, begin : begin + part.channels]
        begin += part.channels
        source = work.number[part.source]
        if part.doubled:
            maps.append(_small(work, source, part, mode))
            weights.append(of_doubled(weight))
        else:
            maps.append(_squares(work, source, mode))
            weights.append(of_squares(weight))
    source = maps[0] if len(maps) == 1 else work.add("concat", *maps)
    bias = np.tile(original["bias"], 4) if "bias" in original else None
    both = {"weight": np.concatenate(weights, 1), "bias": bias}
    fused = work.add("conv", source, weights=both, out=4 * conv.channels, kernel=2)
    # The outermost results are those of the border.
    return work.add("crop", work.add("shuffle", fused, factor=2, order="places"), amount=(1, 1, 1, 1))


def _small(work: Rewriting, source: int, part: _ConvInput, mode: str) -> int:
    """The feature map before it was doubled, normalized and continued by a pixel."""
    if part.norm is not None:
        source = work.put(part.norm, source)
    # A border that mirrors the doubled feature map mirrors the pixel next to the outermost: the outermost once more.
    return work.add("pad", source, amount=(1,) * 4, mode="replicate" if mode == "reflect" else mode)


def _squares(work: Rewriting, source: int, mode: str) -> int:
    """The map, continued by a square of 2 x 2, in squares. Nothing but the square's inner pixels is looked at."""
    if mode == "circular":
        source = work.add("pad", source, amount=(2,) * 4, mode=mode)
    else:
        source = work.add("pad", work.add("pad", source, amount=(1,) * 4, mode=mode), amount=(1,) * 4)
    return work.add("unshuffle", source, factor=2, order="places")
