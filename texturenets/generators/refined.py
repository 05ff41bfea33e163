"""A network for a painting that has been enlarged: `texturenets.stroke.blend` as part of the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from texturenets.engines.primitives import pad
from texturenets.noise import NoiseInput
from texturenets.stroke import bell


class Refined(nn.Module):
    """`network` for a painting that has been enlarged: what is wide stays the painting's, what is fine is new."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.stride, self.margin = (int(getattr(network, *known)) for known in (("stride", 1), ("margin", 0)))
        self.noise: tuple[NoiseInput, ...] = tuple(getattr(network, "noise", ()))
        weights = torch.from_numpy(bell())
        self.amount = len(weights) // 2
        self.blur = nn.Conv2d(3, 3, len(weights), groups=3, bias=False)
        kernel = (weights[:, None] * weights[None]).expand(3, 1, -1, -1)
        self.blur.weight = nn.Parameter(kernel.clone(), requires_grad=False)

    def forward(self, x: Tensor, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Picture (N, 3, H, W), RGB in [0, 1], to a picture of the same kind; `noises` as the network takes them."""
        painted = (self.network(x) if noises is None else self.network(x, noises)).clamp(0, 1)
        y: Tensor = painted + self.blur(pad(x - painted, self.amount, "reflect"))
        return y
