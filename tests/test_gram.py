"""Gram matrices against sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texturenets.losses.gram import gram, with_gram


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


def test_gram_gradient_with_and_without_a_layer_behind() -> None:
    f = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gram, (f,))

    def both(x: torch.Tensor) -> torch.Tensor:
        passed, matrices = with_gram(x)
        return passed.pow(3).sum() + matrices.pow(2).sum()

    assert torch.autograd.gradcheck(both, (f,))


def test_no_map_of_zeros_is_added_where_nothing_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    f = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    monkeypatch.setattr(torch, "baddbmm", None)
    assert torch.autograd.gradcheck(lambda x: with_gram(x)[1], (f,))


def test_a_channels_last_batch_of_one_keeps_its_strides() -> None:
    """Others make pooling and convolutions take it for a contiguous map, and copy it."""
    f = torch.randn(1, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    passed, _ = with_gram(f.requires_grad_())
    assert passed.stride() == f.stride()
    assert torch.nn.functional.max_pool2d(passed, 2).is_contiguous(memory_format=torch.channels_last)
