"""Any feed-forward network as a list of operations: for networks that other programs published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from texturenets.engines.executor import GraphNetwork
from texturenets.errors import UserError
from texturenets.graph import Graph, parse
from texturenets.networks.layers import torch7_init
from texturenets.networks.registry import register
from texturenets.networks.spec import GeneratorSpec


@dataclass(frozen=True, kw_only=True)
class GraphSpec(GeneratorSpec):
    """Any network, as a list of operations: for the networks of other programs. See `texturenets.graph`.

    `normalization` and `padding` mean nothing here. Raises UserError for a list that is not a network.
    """

    name: ClassVar[str] = "graph"

    nodes: tuple[str, ...] = ("photo", "pad 0 amount=1:1:1:1 mode=reflect", "conv 1 out=3 kernel=3")

    def __post_init__(self) -> None:
        super().__post_init__()
        nodes = parse(self.nodes, unnamed=True)
        if nodes[-1].channels != 3:
            raise UserError("graph generator: its last node does not give three channels")


@register(GraphSpec)
class GraphGenerator(GraphNetwork):
    """The operations of a graph, for training: its weights are drawn anew, as Torch7 did."""

    def __init__(self, spec: GraphSpec) -> None:
        super().__init__(Graph(list(parse(spec.nodes, unnamed=True))))
        torch7_init(self)
