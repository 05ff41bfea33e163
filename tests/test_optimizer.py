"""Muon: orthogonal steps for convolutions, Adam's own for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from texturenets.train.optimizer import MUON_SCALE, Muon, orthogonalize


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape) * 1e-3
    values = torch.linalg.svdvals(orthogonalize(matrix[None])[0])
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.3
    # the same row and column spaces: it is the polar factor, not just any orthogonal matrix
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert float(torch.trace(u.T @ orthogonalize(matrix[None])[0] @ v.T)) > 0.5 * min(shape)


def test_orthogonalization_is_newton_schulz() -> None:
    """Jordan et al., Muon (2024), written out for one matrix in float64; singular values 1 to 1e-4."""
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(12, 40, dtype=torch.float64), full_matrices=False)
    matrix = u @ torch.diag(torch.logspace(0, -4, 12, dtype=torch.float64)) @ v
    x = matrix / matrix.norm()
    for _ in range(5):
        y = x @ x.T
        x = 3.4445 * x + (-4.7750 * y + 2.0315 * y @ y) @ x
    torch.testing.assert_close(orthogonalize(matrix[None])[0], x, rtol=0, atol=1e-6)
    torch.testing.assert_close(orthogonalize(matrix[None].float())[0], x.float(), rtol=0, atol=1e-3)


def test_a_step_on_a_convolution_has_the_stated_size() -> None:
    conv = nn.Conv2d(8, 16, 3, bias=False)
    before = conv.weight.detach().clone()
    optimizer = Muon(conv.parameters(), lr=1e-2)
    conv.weight.grad = torch.randn_like(conv.weight) * 1e3
    optimizer.step()
    step = (conv.weight.detach() - before).square().mean().sqrt()
    assert float(step) == pytest.approx(MUON_SCALE * 1e-2, rel=0.3)
    assert float(((conv.weight.detach() - before) * conv.weight.grad).sum()) < 0


def test_other_parameters_step_as_adam() -> None:
    ours, theirs = (nn.Parameter(torch.ones(5)) for _ in range(2))
    a, b = Muon([ours], lr=1e-2), torch.optim.Adam([theirs], lr=1e-2, betas=(0.9, 0.99))
    for _ in range(5):
        gradient = torch.randn(5)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        a.step()
        b.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_it_learns() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    x, target = torch.rand(4, 3, 16, 16), torch.rand(4, 3, 1, 1).expand(4, 3, 16, 16)
    optimizer = Muon(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (net(x) - target).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
