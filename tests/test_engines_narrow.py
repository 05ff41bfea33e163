"""Convolutions by squares of pixels against the same ones as they are."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from texturenets import squares
from texturenets.engines.narrow import rewritten
from texturenets.generators import build
from texturenets.layers import PaddedConv
from texturenets.specs import Johnson, Residual


@pytest.mark.parametrize(
    "spec",
    [Residual(channels=8, blocks=1), Johnson(channels=4, blocks=1, exit_kernel=9, padding="reflect")],
    ids=["residual", "johnson"],
)
def test_networks_are_the_same_function(spec: Residual | Johnson) -> None:
    torch.manual_seed(0)
    network = build(spec).double().eval()
    x = torch.rand(2, 3, 24, 32, dtype=torch.float64)
    with torch.no_grad():
        with mock.patch.object(squares, "suit", return_value=False):
            before = network(x)
        kinds = {type(m) for m in rewritten(network).modules() if isinstance(m, PaddedConv)}
        after = network(x)
    assert len(kinds) > 1, "nothing was rewritten"
    torch.testing.assert_close(after, before, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("size", [(7, 8), (8, 9), (10, 6)])
@pytest.mark.parametrize(("inputs", "outputs", "kernel"), [(3, 16, 9), (16, 3, 3), (16, 4, 9), (1, 8, 5)])
def test_any_size(inputs: int, outputs: int, kernel: int, size: tuple[int, int]) -> None:
    conv = torch.nn.Sequential(PaddedConv(inputs, outputs, kernel).double())
    x = torch.rand(1, inputs, *size, dtype=torch.float64)
    with torch.no_grad():
        with mock.patch.object(squares, "suit", return_value=False):
            before, bare = conv(x), conv[0].without_bias(x)
        rewritten(conv)
        assert type(conv[0]) is not PaddedConv
        torch.testing.assert_close(conv(x), before, atol=1e-12, rtol=1e-9)
        torch.testing.assert_close(conv[0].without_bias(x), bare, atol=1e-12, rtol=1e-9)
