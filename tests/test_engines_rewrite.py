"""Convolutions in another form give the same numbers, and are rewritten where they should be."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from texturenets import layers
from texturenets.engines import graph
from texturenets.engines.onnx_engine import ONNXEngine


class Doubling(nn.Module):
    """A photo halved, doubled by repetition and convolved; the picture is what the last convolution makes of it."""

    stride = 2

    def __init__(self, mode: str = "nearest", bias: bool = True, **options: Any) -> None:
        super().__init__()
        self.padded = nn.Conv2d(3, 5, 3, 2, 1)
        self.border = {"reflect": nn.ReflectionPad2d(1), "replicate": nn.ReplicationPad2d(1)}.get(
            options.pop("border", ""), nn.Identity()
        )
        self.up = nn.Upsample(scale_factor=2, mode=mode)
        self.conv = nn.Conv2d(5, 6, 3, bias=bias, **options)
        self.exit = nn.Conv2d(6, 3, 5, padding=2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.exit(torch.relu(self.conv(self.border(self.up(self.padded(x))))))
        return 0.5 + 0.5 * torch.tanh(y) + 0.05 * y


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def agrees(net: nn.Module) -> onnx.ModelProto:
    """The graph of `net`, which gives what PyTorch gives in float64."""
    torch.manual_seed(1)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    net.eval()
    model, facts = graph.to_onnx(net)
    engine = ONNXEngine(model.SerializeToString(), facts)
    for height, width in ((8, 8), (6, 14), (34, 22)):
        x = np.random.default_rng(width).random((2, 3, height, width), np.float32)
        expected = net.double()(torch.from_numpy(x).double()).detach().numpy()
        net.float()
        assert np.allclose(engine(x), expected, atol=2e-6)
    return model


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("options", [{"border": "reflect"}, {"border": "replicate"}, {"padding": 1}])
def test_a_doubled_map_is_never_written(options: dict[str, Any], bias: bool) -> None:
    found = kinds(agrees(Doubling(bias=bias, **options)))
    assert "Resize" not in found
    # One for the doubling, one for the narrow exit
    assert found["DepthToSpace"] == 2


@pytest.mark.parametrize(
    "net",
    [
        Doubling("bilinear", border="reflect"),
        Doubling("bilinear", padding=1),
        Doubling(padding=2, dilation=2),
    ],
)
def test_other_convolutions_stay(net: nn.Module) -> None:
    found = kinds(agrees(net))
    assert found["Resize"] == 1
    assert found["DepthToSpace"] == 1


class Scaled(nn.Module):
    """One narrow convolution of a map at the photo's size, and what a spec's `output` makes of it."""

    stride = 2

    def __init__(self, kind: Any, stride: int = 2, channels: int = 3) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.mix = nn.Conv2d(channels, 3, 1) if channels != 3 else nn.Identity()
        self.output = layers.OutputScale(kind)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.output(self.mix(torch.tanh(self.conv(x))))
        return y


@pytest.mark.parametrize("kind", ["bounded", "clamped", "caffe"])
def test_whatever_comes_after_the_last_convolution(kind: str) -> None:
    model = agrees(Scaled(kind))
    assert kinds(model)["DepthToSpace"] == 1
    by_channel = kind == "caffe"  # another mean for each channel: the channels must be in order before it
    assert (model.graph.node[-1].op_type == "DepthToSpace") != by_channel


def test_a_picture_of_odd_sides_has_no_squares() -> None:
    assert kinds(agrees(Scaled("bounded", stride=1)))["DepthToSpace"] == 0


def test_only_the_last_convolution_is_taken_in_squares() -> None:
    found = agrees(Scaled("bounded", channels=2))
    assert [list(helper.get_attribute_value(a)) for node in found.graph.node for a in node.attribute
            if a.name == "kernel_shape"] == [[3, 3], [1, 1]]  # fmt: skip
