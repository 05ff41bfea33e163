"""Padding that is added while feature maps are read from disk, so that strips need no `pad` operation. No torch.

A strip of a feature map is computed from its rows and from a halo: the rows above and below that lie in the receptive
field of what follows. Inside the image the halo is read from disk along with the strip. At the top and bottom edge
there is nothing to read, and a strip there would need padding in its graph: three different graphs, and compilations,
for one pass (first strip, last strip, all others).

So the padding is filled in while reading, if that gives the same values. Say the feature map x is on disk, and the
pass computes conv(pad(relu(norm(x)))) for rows 0 to 3, with reflection by 1 and a 3 x 3 kernel:

    rows of x read    -1  0  1  2  3  4    row -1 is filled in as a copy of row 1, row 4 is read
    relu(norm(x))     -1  0  1  2  3  4    elementwise: row -1 is still a copy of row 1, as `pad` would make it
    conv                  0  1  2  3       without a `pad` in the graph, as for rows 4 to 7, which read rows 3 to 8

This holds for reflection and repetition ("replicate"), which copy elements, and for elementwise operations between
the feature map that is read and the padding. Zeros would not stay zeros after a normalization.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from texturenets.tiled.plan import NodeStep, PlannedNetwork
from texturenets.tiled.rows import ELEMENTWISE, has_fixed_size

MODES: Final = ("reflect", "replicate")


class Border(NamedTuple):
    """Padding that a feature map is read with: rows and columns beyond its edges, and one of `MODES`."""

    top: int
    bottom: int
    left: int
    right: int
    mode: str


def borders(
    network: PlannedNetwork, steps: Sequence[NodeStep], on_disk: frozenset[int]
) -> tuple[dict[int, Border], frozenset[int]]:
    """The borders with which feature maps in `on_disk` are read, by node, and the `pad` nodes that they replace.

    A `pad` is replaced if every feature map on which it depends is read, and none of them with a different border.
    """
    by_source: dict[int, Border] = {}
    replaced: set[int] = set()
    for step in steps:
        node = network.nodes[step.node]
        if node.operation != "pad" or not step.sources or node.settings["mode"] not in MODES:
            continue
        sources = set(_maps_before_elementwise(network, step.node, on_disk))
        top, bottom, left, right = node.settings["amount"]
        border = Border(top, bottom, left, right, node.settings["mode"])
        if all(source in on_disk and by_source.get(source, border) == border for source in sources):
            by_source |= dict.fromkeys(sources, border)
            replaced.add(step.node)
    return by_source, frozenset(replaced)


def _maps_before_elementwise(network: PlannedNetwork, i: int, on_disk: frozenset[int]) -> Iterable[int]:
    """The nodes from whose feature maps elementwise operations compute the source of node i."""
    for source in network.sources[i]:
        if has_fixed_size(network.nodes[source]):
            continue
        if source in on_disk or network.nodes[source].operation not in ELEMENTWISE:
            yield source
        else:
            yield from _maps_before_elementwise(network, source, on_disk)
