"""What a graph takes and gives, for those who feed it. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from texturenets.graph.grammar import Node
from texturenets.noise import NoiseInput

LARGEST = 4096
"""Pixels of a side up to which the smallest one is looked for."""


@dataclass(frozen=True)
class NamedInput:
    """An input that is neither photo nor noise: `channels` channels at 1/`stride` of the picture's resolution.

    A `stride` of 0: one pixel, whatever the picture's size.
    """

    name: str
    channels: int
    stride: int = 1


@dataclass(frozen=True)
class IOSpec:
    """What a network takes and gives.

    `stride`: what height and width are multiples of. `least`: the smallest height and width; below it a map would
    have to be mirrored more than once. `channels`: of the first input, 3 for a photo, or 0 for a network that draws
    from noise alone. `noise`: the maps of noise that it takes besides. `fixed`: it draws `stride` x `stride` pixels
    and no other size. `margin`: pixels by which a photo is to be mirrored on each side at least, and the picture cut,
    for a border like the rest. `outputs`: channels of the picture. `inputs`: what else it takes. `blocks`, `alive`:
    of an ONNX file, numbers a pixel that its maps take (`texturenets.engines.peak`).
    """

    stride: int = 1
    least: int = 1
    channels: int = 3
    noise: tuple[NoiseInput, ...] = ()
    fixed: bool = False
    margin: int = 0
    outputs: int = 3
    inputs: tuple[NamedInput, ...] = ()
    blocks: float = 0.0
    alive: float = 0.0


def least(nodes: Sequence[Node], stride: int) -> int:
    """The smallest multiple of `stride` for which no map is mirrored twice or smaller than a window."""
    side = stride
    while side < LARGEST and not _fits(nodes, side):
        side += stride
    return side


def sides(node: Node, side: int) -> tuple[int, int]:
    """Height and width of the node's map for a picture of `side` x `side` pixels."""
    whole = Fraction(side) * node.scale
    return int(whole) + node.extra, int(whole) + node.extra_columns


def _fits(nodes: Sequence[Node], side: int) -> bool:
    for node in nodes:
        if min(sides(node, side)) < 1:
            return False
        if node.operation != "pad" or node.settings["mode"] not in ("reflect", "circular"):
            continue
        smallest = min(sides(nodes[node.sources[0]], side))
        if smallest < max(node.settings["amount"]) + (node.settings["mode"] == "reflect"):
            return False
    return True
