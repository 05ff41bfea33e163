"""The kernels against PyTorch in float64: on a GPU where there is one, else by Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from texturenets.engines import kernels

triton = pytest.importorskip("triton", reason="Triton comes with PyTorch for GPUs")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

SIZES = [(2, 5, 9, 7), (1, 64, 33, 20), (3, 16, 8, 8), (1, 70, 40, 65)]


@pytest.mark.skipif(torch.cuda.is_available() or INTERPRETED, reason="runs as it is")
def test_without_a_card_they_run_by_the_interpreter() -> None:
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(asked, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count(".") > 20, done.stdout


here = pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="no GPU, and not interpreted")


def _map(size: tuple[int, ...], offset: float = 0.0) -> torch.Tensor:
    x = torch.randn(size, generator=torch.Generator().manual_seed(0)) + offset
    return x.to(DEVICE).contiguous(memory_format=torch.channels_last)


@here
@pytest.mark.parametrize("size", SIZES)
# Far from zero what float32 rounds away decides on which side of a ReLU a number falls.
@pytest.mark.parametrize(("offset", "relu"), [(0.0, False), (0.0, True), (1000.0, False)])
def test_instance_norm_and_its_gradients(size: tuple[int, ...], relu: bool, offset: float) -> None:
    x = _map(size, offset).requires_grad_()
    random = torch.Generator().manual_seed(1)
    weight, bias = (torch.rand(size[1], generator=random).to(DEVICE).requires_grad_() for _ in range(2))
    y = kernels.instance_norm(x, weight, bias, 1e-5, relu)
    assert y.is_contiguous(memory_format=torch.channels_last)
    grad = _map(size)
    found = torch.autograd.grad(y, (x, weight, bias), grad)
    # Contiguous: of a single map that is channels-last PyTorch's gradients are others' (2.13).
    exact = [t.detach().double().contiguous().requires_grad_() for t in (x, weight, bias)]
    expected = F.instance_norm(exact[0], None, None, exact[1], exact[2], eps=1e-5)
    expected = F.relu(expected) if relu else expected
    wanted = torch.autograd.grad(expected, exact, grad.double().contiguous())
    near = {"atol": 2e-4 if offset == 0 else 2e-2, "rtol": 1e-3}  # float32 at 1000 has steps of 6e-5
    torch.testing.assert_close(y.double(), expected, **near)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, **{**near, "atol": 10 * near["atol"]})


@here
@pytest.mark.parametrize("amount", [1, 4])
@pytest.mark.parametrize("size", SIZES)
def test_reflect_and_its_gradient(size: tuple[int, ...], amount: int) -> None:
    x = _map(size).requires_grad_()
    y = kernels.reflect(x, amount)
    expected = F.pad(x, (amount,) * 4, mode="reflect")
    assert torch.equal(y, expected)
    assert y.is_contiguous(memory_format=torch.channels_last)
    grad = _map(tuple(y.shape))
    (found,), (wanted,) = torch.autograd.grad(y, x, grad), torch.autograd.grad(expected, x, grad)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@here
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [*SIZES, (1, 3, 1, 2)])
def test_double_and_its_gradient(size: tuple[int, ...], mode: str) -> None:
    x = _map(size).requires_grad_()
    y = kernels.upsample2x(x, mode == "bilinear")
    expected = F.interpolate(x, scale_factor=2.0, mode=mode)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last)
    grad = _map(tuple(y.shape))
    (found,), (wanted,) = torch.autograd.grad(y, x, grad), torch.autograd.grad(expected, x, grad)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@here
def test_a_bias_that_was_spared_gets_a_gradient_of_zero() -> None:
    x, weight, bias = _map((2, 8, 6, 6)), torch.ones(8, device=DEVICE), torch.zeros(8, device=DEVICE)
    skipped_bias = torch.ones(8, device=DEVICE, requires_grad=True)
    kernels.instance_norm(x, weight, bias, 1e-5, False, skipped_bias).sum().backward()
    assert skipped_bias.grad is not None
    assert torch.equal(skipped_bias.grad, torch.zeros(8, device=DEVICE))
