"""Muon for convolutions, Adam for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# Newton-Schulz coefficients of Jordan et al. 2024 ("Muon: An optimizer for hidden layers in neural networks"):
# five rounds bring all singular values near 1.
ROUNDS = 5
A, B, C = 3.4445, -4.7750, 2.0315
# Root mean square of a matrix's step over the learning rate. Liu et al. 2025 (arXiv 2502.16982, section 2.2)
# take 0.2 to match Adam; 0.5 with the default rate was the first value tried here, and serves.
STEP = 0.5
NARROW = 3  # outputs; a convolution to RGB is no hidden layer and goes to Adam
BETA1, BETA2, EPS = 0.9, 0.99, 1e-8


def orthogonalize(matrix: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrix to one (R, C) of any scale, roughly: singular values 0.7 to 1.2."""
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalized, for the weights of convolutions as matrices; Adam for all other parameters.

    On our default network and losses, in one run each, it was after 200 steps about where Adam was after 400
    (docs/models.md).
    PyTorch's own takes matrices alone.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step from the gradients at hand."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.ndim == 4 and p.shape[0] > NARROW:
                    self._muon(p, p.grad, self.state[p], group["lr"], group["momentum"])
                else:
                    self._adam(p, p.grad, self.state[p], group["lr"])
        return loss

    @staticmethod
    def _muon(p: Tensor, grad: Tensor, state: dict[str, Any], lr: float, momentum: float) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(grad, 1 - momentum)
        matrix = grad.lerp(state["momentum"], momentum).flatten(1)  # Nesterov's
        # An orthogonal R x C matrix has entries of root mean square 1 / sqrt(max(R, C)).
        scale = STEP * max(matrix.shape) ** 0.5
        p.add_(orthogonalize(matrix).view(p.shape), alpha=-lr * scale)

    @staticmethod
    def _adam(p: Tensor, grad: Tensor, state: dict[str, Any], lr: float) -> None:
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        step = float(state["step"])
        state["mean"].lerp_(grad, 1 - BETA1)
        state["square"].lerp_(grad.square(), 1 - BETA2)
        mean, square = state["mean"] / (1 - BETA1**step), state["square"] / (1 - BETA2**step)
        p.addcdiv_(mean, square.sqrt() + EPS, value=-lr)
