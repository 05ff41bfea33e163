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

from texturenets import layers, noise, specs
from texturenets.engines.onnx_engine import ONNXEngine
from texturenets.engines.openvino_engine import OpenVINOEngine
from texturenets.generators import build
from texturenets.generators.trace import trace
from texturenets.graph.onnx import to_onnx


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
    graph = trace(net)
    model, facts = to_onnx(graph), graph.io_spec
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


def kernels(model: onnx.ModelProto) -> list[tuple[int, ...]]:
    """Shapes of the convolutions' weights."""
    weights = {one.name: tuple(one.dims) for one in model.graph.initializer}
    return [weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]


def drawn(spec: specs.GeneratorSpec, sizes: tuple[tuple[int, int], ...], engine: Any) -> onnx.ModelProto:
    """The graph of a network fed by noise alone; `engine` gives with it what PyTorch gives in float64."""
    torch.manual_seed(1)
    net = build(spec).eval()
    graph = trace(net)
    model, facts = to_onnx(graph), graph.io_spec
    made = engine(model.SerializeToString(), facts)
    net.double()
    for height, width in sizes:
        maps = noise.draw_arrays(facts.noise, [0, 1], height, width)
        expected = net(None, [torch.from_numpy(one).double() for one in maps]).detach().numpy()
        assert np.allclose(made(None, maps), expected, atol=2e-6)
    return model


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("padding", ["circular", "zero", "reflect", "replicate"])
def test_a_doubled_map_beside_one_that_is_not(padding: Any, engine: str) -> None:
    """In the second join 8 channels of 12 are doubled: that pays. In the first 4 of 8 are: that does not."""
    if engine == "openvino":
        pytest.importorskip("openvino")
    spec = specs.Pyramid(photo=False, noise_depth=2, scales=3, channels=4, padding=padding)
    made = ONNXEngine if engine == "onnx" else lambda *given: OpenVINOEngine(*given, precision="float32")
    least = 4 if padding != "reflect" else 8
    found = kinds(drawn(spec, ((least, least), (8, 20), (36, 24)), made))
    assert found["Resize"] == 1
    assert found["SpaceToDepth"] == found["DepthToSpace"] == 1


def test_maps_for_convolutions_of_1_x_1_fill_their_vectors() -> None:
    spec = specs.Pyramid(photo=False, noise_depth=3, scales=3, channels=8, padding="circular")
    found = kernels(drawn(spec, ((8, 8), (12, 20)), ONNXEngine))
    fresh = [(8, 3, 3, 3), (16, 8, 3, 3), (8, 16, 1, 1)]
    first_join = [(16, 16, 3, 3), (16, 16, 3, 3), (16, 16, 1, 1)]
    last_join = [(96, 16 + 4 * 8, 2, 2), (32, 24, 3, 3), (32, 32, 1, 1)]
    assert found == [*fresh, *fresh, *first_join, *fresh, *last_join, (3, 32, 1, 1)]


class TakenTwice(nn.Module):
    """A map that goes into a convolution of 1 x 1, and elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.InstanceNorm2d(5, affine=True)
        self.exit = nn.Conv2d(5, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.enter(x)))
        return (self.exit(y) + y)[:, :3]


def test_a_map_that_goes_elsewhere_is_not_filled() -> None:
    assert kernels(agrees(TakenTwice())) == [(5, 3, 3, 3), (5, 5, 1, 1)]
