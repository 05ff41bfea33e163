"""Convolutions in blocks of pixels against the same ones as they are, their gradients too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args
from unittest import mock

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets.engines import space_to_depth_conv
from texturenets.engines.primitives import Padding, pad
from texturenets.networks import build
from texturenets.networks.johnson import Johnson
from texturenets.networks.layers import PaddedConv, upsample
from texturenets.perceptual import build as build_descriptors

PADDINGS: tuple[Padding, ...] = get_args(Padding)


def spy(name: str) -> Any:
    """A patch under which the function `name` of the module still works, and notes its calls."""
    return mock.patch.object(space_to_depth_conv, name, wraps=getattr(space_to_depth_conv, name))


def _conv(inputs: int, outputs: int, kernel: int, padding: Padding, bias: bool = True) -> PaddedConv:
    torch.manual_seed(0)
    return PaddedConv(inputs, outputs, kernel, padding=padding, bias=bias).double()


def _results(y: Tensor, x: Tensor, conv: PaddedConv) -> list[Tensor]:
    """The map and the gradients of a sum that looks at every place of it differently."""
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return [y, *torch.autograd.grad((y * weight).sum(), [x, *conv.parameters()])]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs", "kernel"), [(5, 3, 9), (8, 4, 3), (2, 1, 5)])
def test_conv_to_few_channels(inputs: int, outputs: int, kernel: int, bias: bool, padding: Padding) -> None:
    conv = _conv(inputs, outputs, kernel, padding, bias)
    x = torch.rand(2, inputs, 10, 12, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(pad(x, kernel // 2, padding), conv.conv.weight, conv.conv.bias)
    with spy("conv_to_few_channels") as taken:
        found = conv(x)
    assert taken.called
    for a, b in zip(_results(found, x, conv), _results(expected, x, conv), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(5, 6), (1, 1), (2, 7)])
def test_conv_after_upsample(size: tuple[int, int], bias: bool, padding: Padding) -> None:
    conv = _conv(3, 5, 3, padding, bias)
    x = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(pad(upsample(x, "nearest", padding), 1, padding), conv.conv.weight, conv.conv.bias)
    with spy("conv_after_upsample") as taken:
        found = conv.conv_after_upsample(x)
    assert taken.called
    for a, b in zip(_results(found, x, conv), _results(expected, x, conv), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("upsampling", ["nearest", "full4", "bilinear"])
def test_the_network_is_the_same_function(upsampling: Literal["nearest", "full4", "bilinear"]) -> None:
    torch.manual_seed(0)
    network = build(Johnson(channels=4, blocks=1, exit_kernel=9, padding="reflect", upsampling=upsampling))
    network = network.double()
    x = torch.rand(2, 3, 24, 32, dtype=torch.float64)
    with spy("conv_after_upsample") as taken:
        found = network(x)
    assert taken.called == (upsampling == "nearest")
    with mock.patch.object(space_to_depth_conv, "supports", return_value=False):
        torch.testing.assert_close(network(x), found, atol=1e-12, rtol=1e-9)


def test_odd_sizes_and_strides_are_left_alone() -> None:
    conv = _conv(4, 3, 3, "reflect")
    with mock.patch.object(space_to_depth_conv, "conv_to_few_channels", side_effect=AssertionError):
        assert conv(torch.rand(1, 4, 7, 8, dtype=torch.float64)).shape == (1, 3, 7, 8)
        assert conv(torch.rand(1, 4, 8, 7, dtype=torch.float64)).shape == (1, 3, 8, 7)
        strided = PaddedConv(4, 3, 3, 2).double()
        assert strided(torch.rand(1, 4, 8, 8, dtype=torch.float64)).shape == (1, 3, 4, 4)


@pytest.mark.parametrize("size", [(12, 12), (13, 12), (12, 15), (9, 7)])
@pytest.mark.parametrize(("kernel", "padding"), [(7, 3), (7, 0), (3, 1), (3, 0)])
def test_strided_conv_from_few_channels(kernel: int, padding: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    shapes = ((2, 3, *size), (6, 3, kernel, kernel), (6,))
    x, weight, bias = (torch.rand(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    expected = F.conv2d(x, weight, bias, 2, padding)
    found = space_to_depth_conv.strided_conv_from_few_channels(x, weight, bias, padding)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)
    upstream = torch.rand_like(expected)
    gradients = (torch.autograd.grad(y, (x, weight, bias), upstream) for y in (found, expected))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("half", [False, True])
def test_as_in_training(memory: torch.memory_format, half: bool) -> None:
    """Any layout, and autocast to bf16: as near to float64 as the convolutions as they are."""
    torch.manual_seed(0)
    spec = Johnson(channels=8, blocks=1, exit_kernel=9, padding="reflect", upsampling="nearest")
    network = build(spec).to(memory_format=memory)  # type: ignore[call-overload]
    x = torch.rand(2, 3, 32, 32).to(memory_format=memory)
    with torch.no_grad():
        exact = build(spec).double()
        exact.load_state_dict(network.state_dict())
        right = exact(x.double())
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = network(x).double()
            with mock.patch.object(space_to_depth_conv, "supports", return_value=False):
                plain = network(x).double()
    far, usual = ((y - right).square().mean().sqrt() for y in (found, plain))
    assert far < 2 * usual + 1e-7


def test_the_first_layer_of_squeezenet_is_taken_so(tmp_path: Path) -> None:
    tiny.weights_file(tmp_path, "squeezenet1_0")
    network = build_descriptors(["squeezenet1_0:conv1"], files=[tmp_path], offline=True)
    x = torch.rand(1, 3, 33, 40)
    with spy("strided_conv_from_few_channels") as taken:
        found = network(x)["squeezenet1_0:conv1"]
    assert taken.called
    with mock.patch.object(space_to_depth_conv, "supports", return_value=False):
        torch.testing.assert_close(network(x)["squeezenet1_0:conv1"], found, atol=1e-3, rtol=1e-4)
