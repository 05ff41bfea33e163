"""Gram matrices and total variation against sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texturenets.statistics import gram, lattice, total_variation, with_gram


def test_gram_is_the_mean_of_outer_products() -> None:
    f = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    expected = np.zeros((2, 3, 3))
    for n in range(2):
        for y in range(4):
            for x in range(5):
                v = f[n, :, y, x].numpy()
                expected[n] += np.outer(v, v) / 20
    assert gram(f).dtype == torch.float64
    np.testing.assert_allclose(gram(f).numpy(), expected, rtol=1e-12)


def test_gram_of_large_half_precision_features_is_finite() -> None:
    f = torch.full((1, 2, 64, 64), 250.0, dtype=torch.float16)
    result = gram(f)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, torch.full((1, 2, 2), 62500.0), rtol=2e-2, atol=0)


def test_total_variation_by_hand() -> None:
    x = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    # vertical differences 0 and 1, horizontal 1 and 0, each a mean of two
    assert total_variation(x).tolist() == [1.0]
    assert total_variation(x[:, :, :1, :1]).tolist() == [0.0]


def test_gram_gradient_with_and_without_a_layer_behind() -> None:
    f = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gram, (f,))

    def both(x: torch.Tensor) -> torch.Tensor:
        passed, matrices = with_gram(x)
        return passed.pow(3).sum() + matrices.pow(2).sum()

    assert torch.autograd.gradcheck(both, (f,))


def test_lattice_of_noise_is_one_and_a_grid_is_seen() -> None:
    noise = torch.randn(4, 3, 128, 128)
    assert float(lattice(noise).mean()) == pytest.approx(1, abs=0.2)
    grid = torch.zeros(4, 4)
    grid[::2, ::2] = 0.2
    gridded = noise + grid.repeat(32, 32)
    # the grid's variance, times the 32 x 32 cells, over that of the noise (and the grid's own)
    expected = 1 + float(grid.var(correction=0)) * 1024
    assert float(lattice(gridded).mean()) == pytest.approx(expected, rel=0.2)
    odd = torch.zeros(130, 131)
    odd[:, ::3] = 1.0  # a period of 3 is not a grid of 4
    assert float(lattice(noise[:, :, :, :] + odd[:128, :128]).mean()) < 3
    assert lattice(torch.rand(1, 3, 3, 3)).tolist() == [0.0]
