"""Layers against numpy, PyTorch's own operations and hand-worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from texturenets.engines import primitives
from texturenets.engines.primitives import Padding
from texturenets.networks import layers

NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap", "zero": "constant"}


@pytest.mark.parametrize("mode", list(NUMPY_MODES))
@pytest.mark.parametrize(
    ("size", "amount"), [((5, 7), 1), ((5, 7), 4), ((2, 2), 4), ((3, 3), 7), ((4, 4), 0)]
)
def test_pad_is_numpys(mode: Padding, size: tuple[int, int], amount: int) -> None:
    x = torch.rand(2, 3, *size)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (amount, amount), (amount, amount)), mode=NUMPY_MODES[mode])  # type: ignore[call-overload]
    np.testing.assert_array_equal(primitives.pad(x, amount, mode).numpy(), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 9)])
@pytest.mark.parametrize("mode", list(NUMPY_MODES))
def test_pad_takes_maps_smaller_than_itself(mode: Padding, size: tuple[int, int]) -> None:
    x = torch.rand(1, 2, *size)
    y = primitives.pad(x, 4, mode)
    assert y.shape[2:] == (size[0] + 8, size[1] + 8)
    assert torch.equal(y[:, :, 4:-4, 4:-4], x)
    assert set(y.flatten().tolist()) <= set(x.flatten().tolist()) | {0.0}


def test_circular_padding_of_a_narrow_map_is_numpys() -> None:
    x = torch.rand(1, 1, 3, 8)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (7, 7), (7, 7)), mode="wrap")
    np.testing.assert_array_equal(primitives.pad(x, 7, "circular").numpy(), expected)


def test_instance_norm_is_the_formula() -> None:
    norm = primitives.InstanceNorm(3).double()
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    mean = x.sum((2, 3), keepdim=True) / 20
    variance = (x - mean).square().sum((2, 3), keepdim=True) / 20
    expected = (x - mean) / (variance + 1e-5).sqrt() * norm.weight.view(1, 3, 1, 1) + norm.bias.view(
        1, 3, 1, 1
    )
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_of_instance_norm(batch: int, order: torch.memory_format, dtype: torch.dtype) -> None:
    # A batch of one has a reason: PyTorch's own gradients of one map that is channels-last are wrong.
    norm = primitives.InstanceNorm(8).to(torch.float64 if dtype == torch.float64 else torch.float32)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (2 * torch.randn(batch, 8, 9, 7) + 3).to(dtype).to(memory_format=order).requires_grad_()
    back = torch.randn(batch, 8, 9, 7).to(dtype).to(memory_format=order)
    close = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 8e-3}[dtype]
    y = norm(x)
    y.backward(back)
    assert y.dtype == dtype
    assert y.stride() == x.stride()
    exact, weight, bias = (t.detach().double().requires_grad_() for t in (x, norm.weight, norm.bias))
    mean, variance = exact.mean((2, 3), keepdim=True), exact.var((2, 3), correction=0, keepdim=True)
    expected = (exact - mean) / (variance + 1e-5).sqrt() * weight[:, None, None] + bias[:, None, None]
    expected.backward(back.double())
    for found, wanted in (
        (y, expected),
        (x.grad, exact.grad),
        (norm.weight.grad, weight.grad),
        (norm.bias.grad, bias.grad),
    ):
        assert found is not None
        assert wanted is not None
        error = (found.double() - wanted).norm() / wanted.norm()
        assert float(error.detach()) < close


def test_instance_norm_of_a_part_of_a_map() -> None:
    norm, whole = primitives.InstanceNorm(4), torch.rand(2, 4, 9, 8).to(memory_format=torch.channels_last)
    part = whole[:, :, 1:-2, 2:]
    torch.testing.assert_close(norm(part), norm(part.contiguous()))


@pytest.mark.parametrize("mode", list(NUMPY_MODES))
def test_padding_of_shapes_alone(mode: Padding) -> None:
    assert primitives.pad(torch.empty(1, 2, 6, 6, device="meta"), 2, mode).shape == (1, 2, 10, 10)


@pytest.mark.parametrize("mode", list(NUMPY_MODES))
def test_padding_keeps_half_precision(mode: Padding) -> None:
    x = torch.rand(1, 2, 6, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = primitives.pad(x, 2, mode)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, primitives.pad(x.float(), 2, mode).bfloat16())


def test_instance_norm_of_one_pixel_is_the_shift() -> None:
    norm = primitives.InstanceNorm(2)
    nn.init.uniform_(norm.bias)
    torch.testing.assert_close(norm(torch.rand(1, 2, 1, 1)).flatten(), norm.bias)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 9])
def test_padded_convolution_keeps_the_size(kernel: int, stride: int) -> None:
    conv = layers.PaddedConv(2, 3, kernel, stride, padding="zero")
    x = torch.rand(1, 2, 11, 12)
    expected = F.conv2d(x, conv.conv.weight, conv.conv.bias, stride, kernel // 2)
    torch.testing.assert_close(conv(x), expected)
    assert conv(x).shape[2:] == (math.ceil(11 / stride), math.ceil(12 / stride))


def test_upsampling_weighs_a_quarter_and_three_quarters() -> None:
    x = torch.tensor([[0.0, 4.0]]).view(1, 1, 1, 2)
    assert layers.upsample_bilinear(x)[0, 0, 0].tolist() == [0.0, 1.0, 3.0, 4.0]


def test_transposed_convolution_with_kernel_3_is_its_definition() -> None:
    layer = layers.TransposedConv(2, 3, 3, "replicate").double()
    x = torch.rand(1, 2, 4, 5, dtype=torch.float64)
    # Each input pixel (i, j) adds its weights at (2 i - 1 + u, 2 j - 1 + v).
    canvas = torch.zeros(1, 3, 10, 12, dtype=torch.float64)
    for i in range(4):
        for j in range(5):
            canvas[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += torch.einsum(
                "nc,couv->nouv", x[:, :, i, j], layer.conv.weight
            )
    assert layer.conv.bias is not None
    torch.testing.assert_close(layer(x), canvas[:, :, 1:9, 1:11] + layer.conv.bias.view(1, 3, 1, 1))


def test_transposed_convolution_with_kernel_4_is_the_diversity_branchs() -> None:
    layer = layers.TransposedConv(2, 3, 4, "replicate").double()
    x = torch.rand(2, 2, 1, 5, dtype=torch.float64)
    # The reference pads by 2, then crops 5 on each side.
    expected = F.conv_transpose2d(
        F.pad(x, (2,) * 4, mode="replicate"), layer.conv.weight, layer.conv.bias, 2, padding=5
    )
    assert expected.shape == (2, 3, 2, 10)
    torch.testing.assert_close(layer(x), expected)
    with pytest.raises(ValueError, match="3 or 4"):
        layers.TransposedConv(2, 3, 5, "replicate")


def test_max_pooling_and_unpooling_are_pytorchs_ties_included() -> None:
    # Few values, so that most of the squares have ties; indices of PyTorch take the first, as Torch7's do.
    x = torch.randint(0, 3, (2, 3, 8, 6)).double()
    pooled, where = primitives.max_pool(x)
    expected, indices = F.max_pool2d(x, 2, return_indices=True)
    assert torch.equal(pooled, expected)
    assert torch.equal(where.sum(2), torch.ones_like(pooled))
    y = torch.rand_like(pooled)
    assert torch.equal(primitives.max_unpool(y, where), F.max_unpool2d(y, indices, (2, 2)))
    square = torch.tensor([[5.0, 5.0], [5.0, 5.0]]).view(1, 1, 2, 2)
    assert primitives.max_pool(square)[1].flatten().tolist() == [1, 0, 0, 0]


def test_max_pooling_has_pytorchs_gradient_ties_included() -> None:
    x = torch.randint(0, 3, (2, 3, 8, 6)).double().requires_grad_()
    g = torch.rand(2, 3, 4, 3, dtype=torch.float64)
    (ours,) = torch.autograd.grad(primitives.max_pool(x)[0], x, g)
    (theirs,) = torch.autograd.grad(F.max_pool2d(x, 2), x, g)
    assert torch.equal(ours, theirs)


def test_caffe_output_is_rgb_by_hand() -> None:
    # Blue, green, red of a pixel that is (255, 127.5, 0) in red, green, blue.
    bgr = torch.tensor([0 - 103.939, 127.5 - 116.779, 255 - 123.68]).view(1, 3, 1, 1)
    out = layers.OutputScale("caffe")(bgr)
    torch.testing.assert_close(out.flatten(), torch.tensor([1.0, 0.5, 0.0]), atol=1e-6, rtol=0)


def test_bounded_output_is_a_tanh_and_float32() -> None:
    x = torch.tensor([0.0, 1.0, -100.0]).view(1, 3, 1, 1)
    out = layers.OutputScale("bounded")(x)
    torch.testing.assert_close(out.flatten(), torch.tensor([0.5, 0.5 + 0.5 * math.tanh(1), 0.0]))
    assert layers.OutputScale("bounded")(x.bfloat16()).dtype == torch.float32
    assert layers.OutputScale("caffe")(x.half()).dtype == torch.float32


def test_torch7_init_and_pytorchs_default_for_convolutions() -> None:
    conv, transposed, norm = (
        nn.Conv2d(32, 64, 3),
        nn.ConvTranspose2d(64, 16, 3),
        primitives.InstanceNorm(4000),
    )
    layers.torch7_init(nn.Sequential(conv, transposed, norm))
    for layer, fan_in in ((conv, 32 * 9), (transposed, 64 * 9)):
        bound = 1 / math.sqrt(fan_in)
        assert layer.bias is not None
        for values in (layer.weight, layer.bias):
            assert values.abs().max() <= bound
        assert layer.weight.abs().max() > 0.99 * bound
        # Of a uniform distribution over +-bound.
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert 0 <= norm.weight.min() < 0.01
    assert 0.99 < norm.weight.max() <= 1
    assert not norm.bias.any()
