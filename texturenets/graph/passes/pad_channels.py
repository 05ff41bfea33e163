"""Channels of zeros where a map fills its last vector of 16 only in part.

OpenVINO normalizes full maps faster, and a convolution that makes one takes no longer. One that takes it has more to
multiply, which matters less where its window is 1 x 1: only maps that go nowhere else are filled. To take the zeros
off again for others brought nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from texturenets.graph import Graph, Node
from texturenets.graph.passes.rewriting import Rewriting

VECTOR = 16
_BETWEEN = frozenset(("norm", "relu", "leaky_relu", "elu"))


def pad_channels(graph: Graph) -> Graph:
    """Fill what convolutions make, where it pays."""
    work = Rewriting(graph)
    more: dict[int, int] = {}
    """Channels that a node makes beside its own."""
    taken: dict[int, int] = {}
    """Channels that a convolution takes beside its own."""
    for number, node in enumerate(graph.nodes):
        if node.operation != "conv" or node.settings["groups"] != 1:
            continue
        missing = -node.channels % VECTOR
        between, takers = _way(graph, work.users, number)
        if missing and takers and any(graph.nodes[one].operation == "norm" for one in between):
            more |= dict.fromkeys((number, *between), missing)
            taken |= dict.fromkeys(takers, missing)
    for number, node in enumerate(graph.nodes):
        filled = _filled(work, number, node, (more.get(number, 0), taken.get(number, 0)))
        work.number[number] = work.put(filled, *(work.number[source] for source in node.sources))
    return work.finish()


def _filled(work: Rewriting, number: int, node: Node, missing: tuple[int, int]) -> Node:
    """`node` with so many channels more that it makes and that it takes, and zeros in its weights for them."""
    if not any(missing):
        return node
    names = dict(node.weights)
    for role, value in work.old.node_weights(number).items():
        widths = [(0, missing[axis] if axis < 2 else 0) for axis in range(value.ndim)]
        names[role] = work.weight(f"{names[role]}:filled", np.pad(value, widths))
    settings = dict(node.settings)
    if "out" in settings:
        settings["out"] += missing[0]
    return replace(node, weights=names, settings=settings)


def _way(graph: Graph, users: dict[int, list[int]], conv: int) -> tuple[set[int], set[int]]:
    """What lies between `conv` and the 1 x 1 convolutions that take what it makes; nothing where others take it."""
    between: set[int] = set()
    takers: set[int] = set()
    waiting = [conv]
    while waiting:
        number = waiting.pop()
        if number == len(graph.nodes) - 1:
            return set(), set()
        for user in users.get(number, []):
            node = graph.nodes[user]
            if node.operation in _BETWEEN and not node.settings.get("groups"):
                between.add(user)
                waiting.append(user)
            elif (
                node.operation == "conv"
                and node.settings["kernel"] == (1, 1)
                and node.settings["groups"] == 1
            ):
                takers.add(user)
            else:
                return set(), set()
    return between, takers
