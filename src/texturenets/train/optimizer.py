"""Muon for convolutions, Adam for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from texturenets.train.configuration import RunConfig

# Newton-Schulz coefficients of Jordan et al. 2024 ("Muon: An optimizer for hidden layers in neural networks"):
# five rounds bring all singular values near 1.
NEWTON_SCHULZ_STEPS = 5
A, B, C = 3.4445, -4.7750, 2.0315
# Root mean square of a matrix's step over the learning rate. Liu et al. 2025 (arXiv 2502.16982, section 2.2)
# take 0.2 to match Adam; 0.5 with the default rate was the first value tried here, and is sufficient.
MUON_SCALE = 0.5
MAX_RGB_OUTPUTS = (
    3  # convolutions with at most this many output channels compute RGB and are not hidden layers: Adam
)
BETA1, BETA2, EPS = 0.9, 0.99, 1e-8


def make(
    config: RunConfig, network: nn.Module, device: torch.device, cuda_graph: bool
) -> torch.optim.Optimizer:
    """The optimizer of `config`; `cuda_graph`: its steps will be captured, so the rate is a tensor."""
    rate: float | Tensor = (
        torch.tensor(config.learning_rate, device=device) if cuda_graph else config.learning_rate
    )
    if config.optimizer == "muon":
        return Muon(network.parameters(), lr=rate)
    return torch.optim.Adam(network.parameters(), lr=rate, capturable=cuda_graph)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def orthogonalize(matrix: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrices to (N, R, C) of any scale, roughly: singular values 0.7 to 1.2."""
    x: Tensor = matrix / (torch.linalg.vector_norm(matrix, dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    # All iterations are polynomials of the small x x^T, so that x itself takes part in two products only.
    gram = x @ x.mT
    factor = torch.eye(len(gram[0]), dtype=x.dtype, device=x.device).expand_as(gram)
    for _ in range(NEWTON_SCHULZ_STEPS):
        step = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        step.diagonal(dim1=-2, dim2=-1).add_(A)
        factor = step @ factor
        gram = step @ gram @ step
    x = factor @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalized, for the weights of convolutions as matrices; Adam for all other parameters.

    With the default network and losses, in one run each, it reached after 200 steps about the loss of Adam after 400
    (docs/models.md). PyTorch's Muon supports only 2-D parameters.

    `lr`: a number, or a tensor on the parameters' device, which a captured step (`train.cuda_graph`) reads each time.
    """

    def __init__(self, params: Iterable[Tensor], lr: float | Tensor, momentum: float = 0.95) -> None:
        # PyTorch uses this name to decide, when a state is loaded, whether step counts are moved to the device, too.
        capturable = isinstance(lr, Tensor)
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "capturable": capturable})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step from the current gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[Tensor]] = {}
            others = []
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.ndim == 4 and p.shape[0] > MAX_RGB_OUTPUTS:
                    alike.setdefault((p.shape[0], p[0].numel()), []).append(p)
                else:
                    others.append(p)
            for weights in alike.values():
                self._muon(weights, group["lr"], group["momentum"])
            self._adam(others, group["lr"], group["capturable"])
        return loss

    def _muon(self, weights: list[Tensor], lr: float | Tensor, momentum: float) -> None:
        """Weights of the same shape: one matrix product for all of them."""
        grads = [p.grad for p in weights if p.grad is not None]
        for p in weights:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        moments = [self.state[p]["momentum"] for p in weights]
        torch._foreach_lerp_(moments, grads, 1 - momentum)
        ahead = torch._foreach_lerp(grads, moments, momentum)  # Nesterov's
        matrices = torch.stack([one.flatten(1) for one in ahead])
        # An orthogonal R x C matrix has entries of root mean square 1 / sqrt(max(R, C)).
        steps = orthogonalize(matrices) * (lr * MUON_SCALE * max(matrices.shape[1:]) ** 0.5)
        torch._foreach_sub_(weights, [step.view(p.shape) for p, step in zip(weights, steps, strict=True)])

    def _adam(self, others: list[Tensor], lr: float | Tensor, capturable: bool) -> None:
        for p in others:
            if not self.state[p]:
                step = torch.zeros((), device=p.device if capturable else None)
                self.state[p].update(step=step, mean=torch.zeros_like(p), square=torch.zeros_like(p))
        states = [self.state[p] for p in others]
        adam(
            others,
            [p.grad for p in others if p.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=capturable,  # few kernels for all of them
            capturable=capturable,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=lr,
            weight_decay=0.0,
            eps=EPS,
            maximize=False,
        )
