"""Channels picked or turned around right behind the convolution that makes them: it makes them so."""

from __future__ import annotations

from texturenets.graph import Graph
from texturenets.graph.passes.rewriting import Rewriting


def fold_select(graph: Graph) -> Graph:
    """Every convolution that nothing but a `select` takes, with that in its weights."""
    work = Rewriting(graph)
    for number, node in enumerate(graph.nodes):
        source = node.sources[0] if node.sources else -1
        conv = graph.nodes[source]
        if (
            node.operation != "select"
            or conv.operation != "conv"
            or conv.settings["groups"] != 1
            or work.users[source] != [number]
        ):
            work.copy(number)
            continue
        first, count, step = (node.settings[key] for key in ("first", "count", "step"))
        chosen = list(range(first, first + count * step, step))
        weights = {role: value[chosen] for role, value in graph.node_weights(source).items()}
        settings = {**conv.settings, "out": count}
        work.number[number] = work.add("conv", work.number[conv.sources[0]], weights=weights, **settings)
    return work.finish()
