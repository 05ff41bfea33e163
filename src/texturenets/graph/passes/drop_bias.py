"""Drops biases before a normalization, which subtracts the mean and so removes them."""

from __future__ import annotations

from dataclasses import replace

from texturenets.graph import Graph
from texturenets.graph.rewriting import GraphRewriter


def drop_bias(graph: Graph) -> Graph:
    """Apply the pass: remove the bias of every convolution whose only consumers are instance normalizations."""
    work = GraphRewriter(graph)
    for number, node in enumerate(graph.nodes):
        users = [graph.nodes[user] for user in work.users.get(number, ())]
        normed = all(user.operation == "norm" and not user.settings["groups"] for user in users)
        if node.operation in ("conv", "deconv") and users and normed:
            weights = {role: name for role, name in node.weights.items() if role != "bias"}
            sources = (work.number[source] for source in node.sources)
            work.number[number] = work.put(replace(node, weights=weights), *sources)
        else:
            work.copy(number)
    return work.finish()
