"""Gram matrices and total variation against sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texturenets.statistics import _LINES, gram, lattice, total_variation, with_gram


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


def test_lattice_of_noise_is_zero_and_grids_are_seen() -> None:
    torch.manual_seed(0)
    noise = torch.randn(32, 3, 128, 128)
    assert lattice(noise).mean(0).abs().max() < 0.15  # deviation of the mean: about 0.05
    row, column = torch.arange(128)[:, None], torch.arange(128)[None]
    quarter = torch.pi / 2
    for line, (u, v) in enumerate(_LINES):
        grid = torch.cos(quarter * (u * row + v * column) + 0.3)
        found = lattice(0.5 + 0.1 * grid.expand(1, 3, -1, -1))[0]
        assert float(found[line]) == pytest.approx(15, abs=0.1)  # 16 squares, all in step
        alone = torch.cat([found[:line], found[line + 1 :]])
        assert alone.max() < 1  # and seen as no other grid
        assert lattice(noise[:4] + grid).mean(0)[line] > 10


def test_lattice_sees_a_grid_out_of_step_from_area_to_area_and_no_other_period() -> None:
    torch.manual_seed(0)
    signs = torch.tensor([1.0, -1.0]).repeat(2).repeat_interleave(64)  # next areas are of opposite sign
    stripes = torch.tensor([0.2, 0.0]).repeat(128) * signs
    noise = 0.1 * torch.randn(4, 3, 256, 256)
    assert lattice(noise + stripes).mean(0)[1] > 10
    thirds = torch.zeros(256)
    thirds[::3] = 0.2
    assert lattice(noise + thirds).mean(0).max() < 0.5
    assert lattice(torch.full((1, 3, 64, 64), 0.7)).abs().max() < 1e-3  # a flat area is no grid
    assert not lattice(torch.rand(1, 3, 63, 64)).any()


def test_lattice_pulls_at_grids_alone() -> None:
    torch.manual_seed(0)
    x = (0.1 * torch.randn(16, 3, 128, 128)).requires_grad_()
    (gradient,) = torch.autograd.grad(lattice(x).sum(), x)
    # Along x itself the gradient says whether less detail of any kind would help: it would not.
    assert abs(float((gradient * x.detach()).sum())) / 16 < 0.5
    grid = torch.tensor([0.05, -0.05]).repeat(64)
    y = (x.detach() + grid).requires_grad_()
    (gradient,) = torch.autograd.grad(lattice(y).sum(), y)
    assert float((gradient * grid).sum()) / 16 > 5
