"""The progress of a training, which some losses depend on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """`share` of the training that is done, 0 to 1; a tensor inside a CUDA graph. `step`: number of the step, (),
    int64, on the device; None in validation."""

    share: float | Tensor = 1.0
    step: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Both as tensors, in a fixed order."""
        return [torch.as_tensor(self.share), *([] if self.step is None else [self.step])]

    def clone(self, device: torch.device) -> Progress:
        """A copy whose tensors are its own, on `device`."""
        share = torch.as_tensor(self.share).clone().to(device)
        return Progress(share, None if self.step is None else self.step.clone().to(device))
