"""Input preprocessing of the descriptor networks: channel order, scale, mean and standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from texturenets.perceptual.weights import Convention


class Preprocessing(nn.Module):
    """Converts RGB in [0, 1] (N, 3, H, W) to the input convention of a network, in float32 or wider."""

    def __init__(self, convention: Convention) -> None:
        super().__init__()
        self.flip, self.scale = convention.order == "bgr", convention.scale
        self.register_buffer("mean", torch.tensor(convention.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(convention.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        x = x.float() if x.dtype.itemsize < 4 else x
        if self.flip:
            x = x.flip(1)
        made: Tensor = (x * self.scale - self.get_buffer("mean")) / self.get_buffer("std")
        return made
