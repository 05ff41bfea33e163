"""A network with conditional instance normalization, for training (Dumoulin et al., arXiv 1610.07629, section 2)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn
from torch.func import functional_call

from texturenets.engines.primitives import InstanceNorm
from texturenets.errors import UserError


class ConditionalNetwork(nn.Module):
    """`network` with a row of scales and shifts for each of `count` conditions in every instance normalization.

    The network itself is unchanged, except for the shape of these weights: (count, C) instead of (C,). All other
    weights are shared. Raises UserError for a network without instance normalization.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count
        self.rows = tuple(f"{name}.{role}" for name, norm in _norms(network) for role in ("weight", "bias"))
        if not self.rows:
            raise UserError(
                f"{type(network).__name__} has no instance normalization, whose scales and shifts are what makes a "
                "style: take another `generator`"
            )
        for _, norm in _norms(network):
            norm.weight = nn.Parameter(norm.weight.detach().expand(count, -1).clone())
            norm.bias = nn.Parameter(norm.bias.detach().expand(count, -1).clone())
        for attribute in ("stride", "margin", "noise", "photo", "size"):  # `engines.network.Network`
            if hasattr(network, attribute):
                setattr(self, attribute, getattr(network, attribute))

    def set_rows(self, name: str, rows: Tensor) -> None:
        """Replace the rows (count, C) of one normalization's scales or shifts, to be trained."""
        owner, _, role = name.rpartition(".")
        setattr(self.network.get_submodule(owner), role, nn.Parameter(rows.detach().clone()))

    def forward(self, x: Tensor | None, noises: Sequence[Tensor] | None = None, condition: int = 0) -> Tensor:
        """As the network's; `condition`: number of the row to use."""
        row = {name: self.network.get_parameter(name)[condition] for name in self.rows}
        given = (x,) if noises is None else (x, noises)
        y: Tensor = functional_call(self.network, row, given)
        return y


def with_first_condition(network: nn.Module) -> nn.Module:
    """A copy of the network inside a `ConditionalNetwork`, with the first condition's scales and shifts."""
    made = copy.deepcopy(network)
    for _, norm in _norms(made):
        norm.weight, norm.bias = nn.Parameter(norm.weight[0]), nn.Parameter(norm.bias[0])
    return made


def _norms(network: nn.Module) -> list[tuple[str, InstanceNorm]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, InstanceNorm)]
