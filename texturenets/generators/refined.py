"""A network for a painting that has been enlarged: `texturenets.stroke.blend` as part of the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from texturenets.layers import pad
from texturenets.stroke import bell


class Refined(nn.Module):
    """`network` for a painting that has been enlarged: what is wide stays the painting's, what is fine is new."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.stride = int(getattr(network, "stride", 1))
        self.input_channels = int(getattr(network, "input_channels", 3))
        weights = torch.from_numpy(bell())
        self.amount = len(weights) // 2
        self.blur = nn.Conv2d(3, 3, len(weights), groups=3, bias=False)
        kernel = (weights[:, None] * weights[None]).expand(3, 1, -1, -1)
        self.blur.weight = nn.Parameter(kernel.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Picture (N, 3, H, W), RGB in [0, 1], with the network's noise behind it, to a picture of the same kind."""
        painted = self.network(x).clamp(0, 1)
        y: Tensor = painted + self.blur(pad(x[:, :3] - painted, self.amount, "reflect"))
        return y
