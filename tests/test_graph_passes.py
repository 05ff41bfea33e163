"""Convolutions in another form give the same numbers, and are rewritten where they should be."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf.message import Message
from networks import SPECS, network
from torch import Tensor, nn

from texturenets import noise
from texturenets.engines import kernels
from texturenets.engines.executor import GraphNetwork
from texturenets.engines.onnx_engine import ONNXEngine
from texturenets.engines.openvino_engine import OpenVINOEngine
from texturenets.engines.torch_engine import TorchEngine, executed
from texturenets.graph import Graph
from texturenets.graph.onnx import to_onnx
from texturenets.graph.onnx_messages import attributes
from texturenets.graph.passes import CPU_PASSES, CUDA_PASSES, few_channel_conv, few_input_conv, optimize
from texturenets.networks import GeneratorSpec, build, layers
from texturenets.networks.pyramid import Pyramid
from texturenets.networks.trace import trace


class Upsampling(nn.Module):
    """A photo halved, upsampled ("nearest") and convolved; the image is what the last convolution makes of it."""

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


def kinds(model: Message) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def agrees(net: nn.Module) -> Message:
    """The graph of `net`, which gives what PyTorch gives in float64."""
    torch.manual_seed(1)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    net.eval()
    graph = trace(net)
    model, io_spec = to_onnx(graph), graph.io_spec
    engine = ONNXEngine(model.SerializeToString(), io_spec)
    for height, width in ((8, 8), (6, 14), (34, 22)):
        x = np.random.default_rng(width).random((2, 3, height, width), np.float32)
        expected = net.double()(torch.from_numpy(x).double()).detach().numpy()
        net.float()
        assert np.allclose(engine(x), expected, atol=2e-6)
    return model


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("options", [{"border": "reflect"}, {"border": "replicate"}, {"padding": 1}])
def test_an_upsampled_map_is_never_materialized(options: dict[str, Any], bias: bool) -> None:
    found = kinds(agrees(Upsampling(bias=bias, **options)))
    assert "Resize" not in found
    # One for the upsampling, one for the last convolution
    assert found["DepthToSpace"] == 2


@pytest.mark.parametrize(
    "net",
    [
        Upsampling("bilinear", border="reflect"),
        Upsampling("bilinear", padding=1),
        Upsampling(padding=2, dilation=2),
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


def test_an_image_of_odd_sides_is_not_computed_in_blocks() -> None:
    assert kinds(agrees(Scaled("bounded", stride=1)))["DepthToSpace"] == 0


def test_only_the_last_convolution_computes_blocks() -> None:
    found = agrees(Scaled("bounded", channels=2))
    kernels = [attributes(node).get("kernel_shape") for node in found.graph.node if node.op_type == "Conv"]
    assert kernels == [[3, 3], [1, 1]]


def drawn(spec: GeneratorSpec, sizes: tuple[tuple[int, int], ...], engine: Any) -> Message:
    """The graph of a network fed by noise alone; `engine` gives with it what PyTorch gives in float64."""
    torch.manual_seed(1)
    net = build(spec).eval()
    graph = trace(net)
    model, io_spec = to_onnx(graph), graph.io_spec
    made = engine(model.SerializeToString(), io_spec)
    net.double()
    for height, width in sizes:
        maps = noise.draw_arrays(io_spec.noise, [0, 1], height, width)
        expected = net(None, [torch.from_numpy(one).double() for one in maps]).detach().numpy()
        assert np.allclose(made(None, maps), expected, atol=2e-6)
    return model


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("padding", ["circular", "zero", "reflect", "replicate"])
def test_an_upsampled_map_beside_one_that_is_not(padding: Any, engine: str) -> None:
    """In the second join 8 channels of 12 are upsampled: that pays. In the first 4 of 8 are: that does not."""
    if engine == "openvino":
        pytest.importorskip("openvino")
    spec = Pyramid(photo=False, noise_depth=2, scales=3, channels=4, padding=padding)
    made = ONNXEngine if engine == "onnx" else lambda *given: OpenVINOEngine(*given, precision="float32")
    least = 4 if padding != "reflect" else 8
    found = kinds(drawn(spec, ((least, least), (8, 20), (36, 24)), made))
    assert found["Resize"] == 1
    assert found["SpaceToDepth"] == found["DepthToSpace"] == 1


@pytest.mark.parametrize("passes", [CPU_PASSES, CUDA_PASSES])
@pytest.mark.parametrize("name", SPECS)
def test_every_generator_is_the_same_function_after_all_passes(name: str, passes: Any) -> None:
    net = network(SPECS[name]).double()
    graph = trace(net)
    executed = GraphNetwork(optimize(graph, passes)).double().eval()
    side = max(2 * graph.stride, graph.io_spec.min_side, 16)
    size = (graph.stride, graph.stride) if graph.fixed_size else (side, side + graph.stride)
    x = torch.rand(2, 3, *size, dtype=torch.float64) if graph.photo else None
    maps = [one.double() for one in noise.draw(graph.noise, [0, 1], *size)]
    assert executed.io_spec.stride == graph.stride
    # The image may be of any size, below 1 or in hundreds; weights of the graph have single precision.
    found, want = executed(x, maps), net(x, maps) if maps else net(x)
    assert torch.allclose(found, want, atol=1e-5 * float(want.abs().max()) + 1e-5, rtol=1e-4)


def wide(graph: Graph) -> list[tuple[str, int]]:
    """Operations and channels."""
    return [(node.operation, node.channels) for node in graph.nodes]


@pytest.mark.parametrize("sides", [(8, 8), (6, 14)])
@pytest.mark.parametrize(("inputs", "kernel"), [(3, 9), (1, 5), (4, 7)])
def test_a_large_convolution_of_few_channels_takes_blocks(
    inputs: int, kernel: int, sides: tuple[int, int]
) -> None:
    lines = [
        "photo",
        f"select 0 count={min(inputs, 3)}",
        *(["concat 1 1", f"select 2 count={inputs}"] if inputs > 3 else []),
    ]
    last = len(lines) - 1
    lines += [f"pad {last} amount={':'.join(4 * [str(kernel // 2)])} mode=reflect"]
    lines += [
        f"conv {last + 1} out=16 kernel={kernel} weight=w bias=b",
        f"norm {last + 2}",
        f"relu {last + 3}",
    ]
    lines += [f"conv {last + 4} out=3 kernel=1 weight=v"]
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(16, inputs, kernel, kernel)), "b": random.normal(size=16)}
    weights["v"] = random.normal(size=(3, 16, 1, 1))
    graph = Graph.from_dict(
        {"nodes": lines, "multiple": 2}, {k: v.astype(np.float32) for k, v in weights.items()}
    )
    made = optimize(graph, [few_input_conv])
    assert ("conv", 64) in wide(made)
    x = torch.rand(2, 3, *sides, dtype=torch.float64)
    nets = [GraphNetwork(one).double().eval() for one in (graph, made, optimize(graph, CUDA_PASSES))]
    with torch.no_grad():
        want, *found = [net(x) for net in nets]
    for y in found:
        torch.testing.assert_close(y, want, atol=1e-5, rtol=1e-5)


def test_maps_whose_sides_may_be_odd_are_not_computed_in_blocks() -> None:
    """A part of a network may end at a map that is smaller than its image: of 4 rows are 2, of 6 three."""
    halved = Graph(weights={"w": np.ones((3, 3, 3, 3), np.float32)})
    number = halved.add("photo", (), {})
    for stride in (2, 1):
        number = halved.add("pad", [number], {}, amount=(1, 1, 1, 1))
        number = halved.add("conv", [number], {"weight": "w"}, out=3, kernel=3, stride=stride)
    assert few_channel_conv(halved) is halved


def test_windows_that_the_grammar_cannot_hold_stay() -> None:
    lines = ["photo", "pad 0 amount=32:31:32:31", "conv 1 out=3 kernel=64 weight=w"]
    graph = Graph.from_dict({"nodes": lines, "multiple": 2}, {"w": np.ones((3, 3, 64, 64), np.float32)})
    assert optimize(graph).lines() == graph.lines()


def test_what_leads_nowhere_is_in_nobodys_way() -> None:
    lines = ["photo", "pad 0 amount=1:1:1:1", "conv 1 out=3 kernel=3 weight=w", "concat 0 2", "relu 2"]
    graph = Graph.from_dict({"nodes": lines, "multiple": 2}, {"w": np.ones((3, 3, 3, 3), np.float32)})
    assert wide(optimize(graph))[-1] == ("shuffle", 3)
    assert "concat" not in {node.operation for node in optimize(graph).nodes}


def test_sums_of_sums_are_walked_through_once() -> None:
    lines = ["photo", "conv 0 out=3 kernel=1 weight=w", *(f"add {i} {i}" for i in range(1, 60))]
    graph = Graph.from_dict({"nodes": lines, "multiple": 2}, {"w": np.ones((3, 3, 1, 1), np.float32)})
    assert len(optimize(graph).nodes) == len(graph.nodes)


@pytest.mark.parametrize("name", ["residual", "johnson", "johnson full4", "pyramid", "photo and noise"])
def test_on_a_card_networks_are_their_graphs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of the GPU are stood in for by PyTorch's own; half precision is bf16, as on a processor."""
    net = network(SPECS[name])
    graph = trace(net)
    x = torch.rand(1, 3, 32, 40)
    maps = noise.draw(graph.noise, [0], 32, 40)
    want = TorchEngine(net)(x, maps)

    def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool = False) -> Tensor:
        rectified.append(relu)
        y = torch.instance_norm(x.float(), weight.float(), bias.float(), None, None, True, 0.0, eps, False)
        return (torch.relu(y) if relu else y).to(x.dtype)

    rectified: list[bool] = []
    on_gpu = executed(graph, on_gpu=True)
    monkeypatch.setattr(kernels, "supports", lambda x: isinstance(x, Tensor))
    monkeypatch.setattr(kernels, "instance_norm", norm)
    monkeypatch.setattr(
        kernels, "reflect", lambda x, amount: torch.nn.functional.pad(x, (amount,) * 4, "reflect")
    )
    monkeypatch.setattr(
        kernels,
        "upsample2x",
        lambda x, bilinear: torch.nn.functional.interpolate(
            x, scale_factor=2.0, mode="bilinear" if bilinear else "nearest"
        ),
    )
    found = TorchEngine(on_gpu)(x, maps)
    assert torch.allclose(found, want, atol=1e-4 * float(want.abs().max()) + 1e-5)
    assert True in rectified
    half = on_gpu.to(torch.bfloat16)(x.bfloat16(), [one.bfloat16() for one in maps])
    assert half.dtype == torch.float32  # what follows the last convolution
    assert (half - want).abs().mean() < 0.05 * want.abs().max()
