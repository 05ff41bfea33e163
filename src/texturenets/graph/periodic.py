"""Whether a network's output is periodic, so that its images tile seamlessly. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from texturenets.graph.grammar import Node

Edges = tuple[int, ...]
"""Pixels at the top, bottom, left and right that differ from the periodic continuation of the feature map."""

NONE: Edges = (0, 0, 0, 0)


def wraps_around(nodes: Sequence[Node]) -> bool:
    """Whether the output is periodic at every size that is a multiple of the stride, given periodic inputs."""
    edges: list[Edges | None] = []
    for node in nodes:
        sources = [edges[source] for source in node.sources]
        known = [source for source in sources if source is not None]
        edges.append(_edges(node, known, nodes) if len(known) == len(sources) else None)
    return edges[-1] == NONE


def _edges(node: Node, sources: list[Edges], nodes: Sequence[Node]) -> Edges | None:  # noqa: PLR0911 (one a kind)
    """The edges of a node's feature map; None if it is not periodic."""
    s = node.settings
    of_source = sources[0] if sources else NONE
    match node.operation:
        case "pad":
            if not any(s["amount"]):
                return of_source
            if s["mode"] != "circular":
                return tuple(e + a for e, a in zip(of_source, s["amount"], strict=True))
            source = nodes[node.sources[0]]
            periodic = of_source == NONE and source.extra_rows == source.extra_columns == 0
            return NONE if periodic else None
        case "crop":
            return tuple(max(0, e - a) for e, a in zip(of_source, s["amount"], strict=True))
        case "conv" | "avg_pool" | "max_pool":
            return tuple(-(-e // s["stride"]) for e in of_source)
        case "deconv":
            return None
        case "upsample":
            if s["mode"] == "bilinear_corners":
                return None
            beyond = s["factor"] // 2 if s["mode"] == "bilinear" else 0  # if there is nothing to go over to
            return tuple(e * s["factor"] + beyond for e in of_source)
        case "shuffle":
            return tuple(e * s["factor"] for e in of_source)
        case "unshuffle":
            return tuple(-(-e // s["factor"]) for e in of_source)
        case "unpool":
            return tuple(2 * max(side) for side in zip(*sources, strict=True))
        case "global_pool":
            return NONE
    return tuple(max(side) for side in zip(*sources, strict=True)) if sources else NONE
