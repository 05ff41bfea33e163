"""Gram matrices and total variation against sums written out."""

from __future__ import annotations

import numpy as np
import torch

from texturenets.statistics import gram, total_variation


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
