"""Borders that are added while feature maps are read from disk, so that a pass over a strip need not pad. No torch.

Mirroring and repeating rows and columns may be done before an operation on single numbers as well as behind it. So
where a padding follows such operations on maps that are read, the maps are read with the border. The strips of the
top and the bottom then are like any other, and one compiled stage does for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from texturenets.tiled.plan import PlannedNetwork, Step
from texturenets.tiled.rows import POINTWISE, is_point

MODES: Final = ("reflect", "replicate")


class Border(NamedTuple):
    """Rows and columns beyond the edges of a feature map: how many, and one of `MODES`."""

    top: int
    bottom: int
    left: int
    right: int
    mode: str


def borders(
    network: PlannedNetwork, work: Sequence[Step], ready: frozenset[int]
) -> tuple[dict[int, Border], frozenset[int]]:
    """The borders with which maps are read in a pass, by node of the network, and the paddings that they spare."""
    by_source: dict[int, Border] = {}
    spared: set[int] = set()
    for step in work:
        node = network.nodes[step.node]
        if node.operation != "pad" or not step.sources or node.settings["mode"] not in MODES:
            continue
        sources = set(_read(network, step.node, ready))
        top, bottom, left, right = node.settings["amount"]
        border = Border(top, bottom, left, right, node.settings["mode"])
        if all(source in ready and by_source.get(source, border) == border for source in sources):
            by_source |= dict.fromkeys(sources, border)
            spared.add(step.node)
    return by_source, frozenset(spared)


def _read(network: PlannedNetwork, i: int, ready: frozenset[int]) -> Iterable[int]:
    """The nodes that node i is made of by operations on single numbers; those in `ready` are read."""
    for source in network.sources[i]:
        if is_point(network.nodes[source]):
            continue
        if source in ready or network.nodes[source].operation not in POINTWISE:
            yield source
        else:
            yield from _read(network, source, ready)
