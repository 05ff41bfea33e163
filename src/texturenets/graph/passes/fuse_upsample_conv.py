"""Upsampling by 2 (mode "nearest") and the 3 x 3 convolution after it become one convolution at the low resolution.

    before: x (I, H, W) -> upsample -> (I, 2 H, 2 W) -> pad 1 -> conv 3 x 3 -> (O, 2 H, 2 W)
    after:  x (I, H, W) -> pad 1 -> conv 2 x 2 -> (4 O, H + 1, W + 1) -> shuffle -> (O, 2 H + 2, 2 W + 2) -> crop 1

The new convolution has four outputs at a position, which `shuffle` (depth to space) makes a block of 2 x 2 pixels; a
drawing in `space_to_depth` shows why these equal the old outputs. A block takes 4 x 4 multiplications for each input
and output channel instead of 4 x 9, and the upsampled feature map is never materialized.

The input may be a concatenation of upsampled feature maps and others, as in networks with skip connections. The
others then go through `unshuffle` (space to depth) and take 4 x 4 x 4 multiplications a block, 16 / 9 times as many
as before; so the pass is applied only where the total falls. A normalization between upsampling and convolution moves
before the upsampling, as nearest-neighbour upsampling changes neither mean nor variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from texturenets.graph import Graph, Node
from texturenets.graph.passes.space_to_depth import block_input_weights, upsample_folded_weights
from texturenets.graph.rewriting import GraphRewriter, can_compute_blocks, is_plain


@dataclass(frozen=True)
class _ConvInput:
    """Some channels of the convolution's input: the feature map of node `source`, upsampled or as it is.

    `norm`: a normalization between the upsampling and the convolution.
    """

    source: int
    upsampled: bool
    channels: int
    norm: Node | None = None


def fuse_upsample_conv(graph: Graph) -> Graph:
    """Apply the pass to every 3 x 3 convolution after an upsampling where it saves multiplications."""
    work = GraphRewriter(graph)
    for number in range(len(graph.nodes)):
        parts = _parts(graph, number)
        upsampled_channels = sum(part.channels for part in parts if part.upsampled)
        other_channels = sum(part.channels for part in parts if not part.upsampled)
        # Multiplications for each pixel and channel of the output
        before = 9 * (upsampled_channels + other_channels)
        after = 4 * upsampled_channels + 16 * other_channels
        if upsampled_channels and after < before and can_compute_blocks(graph, number):
            work.number[number] = _fused(work, number, parts)
        else:
            work.copy(number)
    return work.finish()


def _parts(graph: Graph, number: int) -> list[_ConvInput]:
    """The parts of a 3 x 3 convolution's input, before its padding by 1; empty for any other node."""
    conv = graph.nodes[number]
    if not is_plain(conv) or conv.settings["kernel"] != (3, 3):
        return []
    pad = graph.nodes[conv.sources[0]]
    if pad.operation != "pad" or pad.settings["amount"] != (1, 1, 1, 1):
        return []
    mode = pad.settings["mode"]
    # With a photo as input circular padding stays as it is: after `unshuffle` OpenVINO needs a bound on the photo's
    # size, and the Slice that gives it (`graph.onnx`) copies the photo.
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


def _fused(work: GraphRewriter, number: int, parts: list[_ConvInput]) -> int:
    """Add the fused convolution of node `number` to the new graph; returns its index there."""
    graph = work.old
    conv = graph.nodes[number]
    mode = graph.nodes[conv.sources[0]].settings["mode"]
    original = graph.node_weights(number)
    maps, weights, begin = [], [], 0
    for part in parts:
        weight = original["weight"][:, begin : begin + part.channels]
        begin += part.channels
        source = work.number[part.source]
        if part.upsampled:
            maps.append(_low_resolution(work, source, part, mode))
            weights.append(upsample_folded_weights(weight))
        else:
            maps.append(_unshuffled(work, source, mode))
            weights.append(block_input_weights(weight))
    source = maps[0] if len(maps) == 1 else work.add("concat", *maps)
    bias = np.tile(original["bias"], 4) if "bias" in original else None
    both = {"weight": np.concatenate(weights, 1), "bias": bias}
    fused = work.add("conv", source, weights=both, out=4 * conv.channels, kernel=2)
    return work.add("crop", work.add("shuffle", fused, factor=2, order="DCR"), amount=(1, 1, 1, 1))


def _low_resolution(work: GraphRewriter, source: int, part: _ConvInput, mode: str) -> int:
    """The feature map before the upsampling, normalized and padded by 1."""
    if part.norm is not None:
        source = work.put(part.norm, source)
    # Reflection of the upsampled p p q q puts the second p before the first: "replicate" at the low resolution.
    return work.add("pad", source, amount=(1,) * 4, mode="replicate" if mode == "reflect" else mode)


def _unshuffled(work: GraphRewriter, source: int, mode: str) -> int:
    """A feature map at full resolution, padded by one 2 x 2 block, then pixel-unshuffled.

    Of the two pixels of padding on a side only the inner one is read by outputs that are not cropped.
    """
    if mode == "circular":
        source = work.add("pad", source, amount=(2,) * 4, mode=mode)
    else:
        source = work.add("pad", work.add("pad", source, amount=(1,) * 4, mode=mode), amount=(1,) * 4)
    return work.add("unshuffle", source, factor=2, order="DCR")
