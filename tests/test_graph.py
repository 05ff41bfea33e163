"""Any network as a graph: what is executed is what the network computes, and what cannot be taken is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import SPECS, network
from torch import Tensor, nn

from texturenets import noise
from texturenets.engines.executor import GraphNetwork
from texturenets.errors import UserError
from texturenets.graph import OPERATIONS, ConversionError, Graph, NamedInput
from texturenets.networks import build
from texturenets.networks.residual import Residual
from texturenets.networks.trace import trace
from texturenets.networks.trace_code import trace_code


def same(net: nn.Module, side: int = 32, atol: float = 1e-5) -> Graph:
    """The graph of `net`, which as a file would hold it gives what `net` gives."""
    net.eval()
    traced = trace(net)
    graph = Graph.from_dict(traced.to_dict(), traced.weights)
    graph.check()
    executed = GraphNetwork(graph).eval()
    height = max(2 * graph.stride, side)
    size = (graph.stride, graph.stride) if graph.fixed_size else (height, height + graph.stride)
    x = torch.rand(2, 3, *size) if graph.photo else None
    maps = noise.draw(graph.noise, [0, 1], *size)
    with torch.no_grad():
        want = net(x, maps) if maps else net(x)
        found = executed(x, maps)
    assert torch.allclose(found, want, atol=atol), (found - want).abs().max()
    return graph


@pytest.mark.parametrize("name", SPECS)
def test_every_generator_is_its_graph(name: str) -> None:
    net = network(SPECS[name])
    graph = same(net)
    assert graph.stride == net.stride
    own = {key for key, value in net.state_dict().items() if value.is_floating_point()}
    assert own <= set(graph.weights)  # by the names of the network's own
    assert trace_code(net).lines() == graph.lines()


def layered(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(*modules)


LAYERS: dict[str, tuple[nn.Module, set[str]]] = {
    "rectangular": (layered(nn.Conv2d(3, 5, (3, 5), padding=(1, 2)), nn.Conv2d(5, 3, (1, 3), 1, (0, 1))), {"conv"}),
    "same": (layered(nn.Conv2d(3, 4, 4, padding="same"), nn.Conv2d(4, 3, 3, padding="same", dilation=2)), {"conv"}),
    "no bias": (layered(nn.Conv2d(3, 3, 1, bias=False)), {"conv"}),
    "silu": (layered(nn.Conv2d(3, 3, 1), nn.SiLU()), {"silu"}),
    "gelu": (layered(nn.Conv2d(3, 3, 1), nn.GELU(), nn.GELU("tanh")), {"gelu"}),
    "relu6": (layered(nn.Conv2d(3, 3, 1), nn.ReLU6(), nn.Hardtanh(-0.5, 0.5)), {"clamp"}),
    "group norm": (layered(nn.Conv2d(3, 6, 1), nn.GroupNorm(2, 6), nn.Conv2d(6, 3, 1)), {"norm"}),
    "layer norm of all": (layered(nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3, affine=False)), {"norm"}),
    "instance norm": (layered(nn.InstanceNorm2d(3), nn.InstanceNorm2d(3, affine=True)), {"norm"}),
    "kept statistics": (layered(nn.InstanceNorm2d(3, track_running_stats=True), nn.BatchNorm2d(3)), {"batch_norm"}),
    "padded pooling": (layered(nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(5, 1, 2)), {"max_pool", "avg_pool", "pad"}),
    "transposed": (layered(nn.AvgPool2d(2), nn.ConvTranspose2d(3, 3, (4, 2), 2, (1, 0))), {"deconv"}),
    "prelu of one": (layered(nn.Conv2d(3, 3, 1), nn.PReLU()), {"prelu"}),
    "weight norm": (layered(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1))), {"conv"}),
    "padding of less": (layered(nn.ZeroPad2d((-1, 1, 2, -2))), {"pad", "crop"}),
    "dropout": (layered(nn.Dropout2d(), nn.Conv2d(3, 3, 1), nn.AlphaDropout()), {"conv"}),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    net, operations = LAYERS[name]
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    assert operations <= {node.operation for node in same(net).nodes}


class Own(nn.Module):
    """Parameters, a buffer and a constant of its own, used by `how`."""

    def __init__(self, how: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.back = nn.Conv2d(6, 3, 1)
        self.gain = nn.Parameter(torch.rand(1, 3, 1, 1))
        self.shift = nn.Parameter(torch.rand(3))
        self.one = nn.Parameter(torch.tensor(0.7))
        self.squeeze, self.excite = nn.Linear(3, 2), nn.Linear(2, 3)
        self.register_buffer("mean", torch.rand(3, 1, 1))
        self.register_buffer("passing", torch.rand(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x)


def _attention(net: Any, x: Tensor) -> Tensor:
    y = F.adaptive_avg_pool2d(x, 1).flatten(1)
    y = torch.sigmoid(net.excite(F.relu(net.squeeze(y))))
    return x * y[:, :, None, None]


def _gated(net: Any, x: Tensor) -> Tensor:
    a, b = net.conv(x).chunk(2, dim=1)
    return a * torch.sigmoid(b)


def _small(net: Any, x: Tensor) -> Tensor:
    y = F.max_pool2d(x, 2)
    return F.interpolate(y, size=x.shape[2:], mode="bilinear") + F.interpolate(y, x.size()[-2:])


def _forgotten(net: Any, x: Tensor) -> Tensor:
    y = net.conv(x)
    y.relu_()
    F.leaky_relu(y, 0.1, True)
    return net.back(y)


def _used_again(net: Any, x: Tensor) -> Tensor:
    y = net.back(net.conv(x))
    z = y
    changed = F.relu(y, inplace=True) + 1
    z *= 0.5
    return changed + y + z


CODE: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "parameters": lambda net, x: x * net.gain + net.shift.view(1, 3, 1, 1) - net.mean,
    "one number": lambda net, x: net.one * x / (net.mean + 1.5) + 0.5 - net.one,
    "computed": lambda net, x: (x - net.passing) / (net.gain**2 + 1).sqrt() * torch.exp(net.shift)[:, None, None],
    "a parameter first": lambda net, x: net.gain - x,
    "functional": lambda net, x: F.conv2d(x, net.back.weight.transpose(0, 1), padding="same")[:, 0:3] + x,
    "division of maps": lambda net, x: x / (x.abs() if False else torch.sigmoid(x) + 1),
    "global": lambda net, x: x - x.mean((2, 3), keepdim=True) + x.amax(dim=(-1, -2), keepdim=True),
    "one channel": lambda net, x: x * torch.sigmoid(x[:, 1:2]),
    "attention": _attention,
    "gated": _gated,
    "split": lambda net, x: torch.cat([net.conv(x).split([2, 1, 3], 1)[i] for i in (1, 0)], 1),
    "a size of another map": _small,
    "every fourth": lambda net, x: F.interpolate(x, scale_factor=4.0)[:, :, ::4, ::4],
    "turned": lambda net, x: torch.cat([x[:, 2:], x[:, 1:2], x[:, :1]], 1).clamp(min=0.25),
    "in place": lambda net, x: torch.relu_(x * 2).mul_(0.5).add_(-x),
    "in place, and forgotten": _forgotten,
    "in place, and used again": _used_again,
    "unused": lambda net, x: (torch.fft.fft2(x), x + 1)[1],
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_code_of_ones_own(name: str) -> None:
    net = Own(CODE[name])
    before = set(vars(net))
    graph = same(net)
    assert set(vars(net)) == before  # no trace of it
    if name == "parameters":
        assert {"gain", "shift"} <= set(graph.weights)


class Standardized(nn.Conv2d):
    """A layer that inherits from one of PyTorch's, and computes something else."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(input, weight, self.bias)


class Wider(nn.Conv2d):
    """One that is no other than PyTorch's."""

    def __init__(self) -> None:
        super().__init__(3, 3, 3, padding=1)


@pytest.mark.parametrize("layer", [Standardized(3, 3, 3, padding=1), Wider()])
def test_layers_that_inherit(layer: nn.Module) -> None:
    same(layered(nn.ReLU(), layer))


@pytest.mark.parametrize("size", [7, (7, 7), 64])
def test_an_attribute_of_somebody_elses_is_not_the_size_of_all_pictures(size: Any) -> None:
    net = layered(nn.Conv2d(3, 3, 1))
    net.size = size
    assert not same(net).fixed_size


def test_a_network_is_left_as_it_was() -> None:
    net = build(Residual(channels=8, blocks=1, normalization="batch")).train()
    net.entry.eval()
    modes = [module.training for module in net.modules()]
    trace(net)
    assert [module.training for module in net.modules()] == modes


class Inner(nn.Module):
    """What no graph holds, inside another network."""

    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return self.how(x)


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (Inner(lambda x: x.sort(dim=3).values), r"the step 'sort' at 1\.0 \(Inner\)"),
        (nn.Softmax2d(), r"the layer Softmax2d at 1\.0 \(Softmax2d\)"),
        (
            Inner(lambda x: x if x.mean() > 0 else -x),
            r"its code at 1\.0 \(Inner\) cannot be read step by step: .*",
        ),
    ],
)
def test_where_it_cannot_be_taken_is_said(inner: nn.Module, said: str) -> None:
    net = layered(nn.ReLU(), layered(inner))
    said = f"^the network Sequential cannot be taken into a graph: {said}; `engine` torch runs it$"
    with pytest.raises(ConversionError, match=said):
        trace(net)


class Drawing(nn.Module):
    """Draws numbers of its own: a trace sees those of one call."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rand(1, 3, 1, 1)


class InPart(nn.Module):
    """Changes a part of a map in place: a trace does not see what else shows that part."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 1.0
        y[:, :1].mul_(0.5)
        return y


class Square(nn.Module):
    """Takes images that are as high as wide alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.transpose(2, 3)


def test_code_that_fails_is_refused_in_one_line() -> None:
    with pytest.raises(ConversionError, match=r"it fails on 2 images of 64 x 65: .*`engine` torch") as caught:
        trace_code(Square())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("net", [Drawing(), InPart()])
def test_a_graph_that_draws_otherwise_is_refused(net: nn.Module) -> None:
    before = torch.random.get_rng_state()
    with pytest.raises(ConversionError, match=r"draws otherwise than its code, by .*`engine` torch"):
        trace_code(net)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_weight_that_a_hook_works_out_is_taken_as_it_will_be() -> None:
    net = layered(nn.utils.weight_norm(nn.Conv2d(3, 3, 1)))
    with torch.no_grad():
        net[0].weight_g.mul_(3)  # as a step of training does, after the last call
    x = torch.rand(1, 3, 8, 8)
    graph = trace_code(net)
    assert torch.allclose(GraphNetwork(graph)(x), net(x), atol=1e-6)


def _set(net: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, :1] = 0
    return y


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "branches": (lambda net, x: x if x.mean() > 0.5 else -x, "step by step"),
    "fft": (lambda net, x: torch.fft.fft2(x).real, "fft_fft2"),
    "a map of weights": (lambda net, x: x + torch.ones(1, 1, 4, 4), r"shape \(1, 1, 4, 4\)"),
    "stride by side": (lambda net, x: F.avg_pool2d(x, 2, (1, 2)), "differs between height and width"),
    "an image half as large": (lambda net, x: x[:, :, ::2, ::2], "1/2 H"),
    "to a size": (lambda net, x: F.interpolate(x, (64, 64)), "interpolation"),
    "dropout": (lambda net, x: F.dropout(x), "dropout"),
    "whole numbers": (lambda net, x: x.to(torch.uint8).to(x.dtype), "the step 'to'"),
    "by zero": (lambda net, x: x / 0, "division by zero"),
    "set": (_set, "item assignment"),
    "vector of a map": (lambda net, x: net.squeeze(x.flatten(1)), "larger than one pixel"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_named(name: str) -> None:
    how, said = REFUSED[name]
    with pytest.raises(
        ConversionError,
        match=rf"network Own cannot be taken into a graph: .*{said}.*; `engine` torch runs",
    ) as caught:
        trace(Own(how))
    assert "\n" not in str(caught.value)


def test_inputs_have_names_channels_and_strides() -> None:
    inputs = ["input name=styles channels=3 stride=0", "input name=mask channels=1 stride=2"]
    graph = Graph.from_dict({"nodes": ["photo", *inputs, "upsample 2 factor=2", "mul 0 1 3"]})
    assert graph.io_spec.inputs == (NamedInput("styles", 3, 0), NamedInput("mask", 1, 2))
    assert graph.io_spec.stride == 2
    x, s, m = torch.rand(2, 3, 8, 6), torch.rand(2, 3, 1, 1), torch.rand(2, 1, 4, 3)
    y = GraphNetwork(graph)(x, inputs={"styles": s, "mask": m})
    assert torch.equal(y, x * s * F.interpolate(m, scale_factor=2.0))


INPUTS = (
    (("input name=photo channels=1", "mul 0 1"), "name of the photo"),
    (("input name=picture channels=1", "mul 0 1"), "name of the photo, of the output"),
    (("input name=noise0 channels=1", "mul 0 1"), "noise map"),
    (("input name=a channels=1", "input name=a channels=1", "mul 0 1 2"), "two inputs are named a"),
    (("photo", "add 0 1"), "two inputs are named photo"),
)


@pytest.mark.parametrize(("lines", "said"), INPUTS)
def test_inputs_have_names_of_their_own(lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Graph.from_dict({"nodes": ["photo", *lines]})


LARGE = (
    (["photo", *(f"concat {i} {i}" for i in range(40)), "select 40 count=3"], "too large"),
    (["photo", *(f"upsample {i} factor=64" for i in range(3)), "avg_pool 3 kernel=64 stride=64"], "too large"),
    (["photo", *(f"pad {i} amount=1024:1024:1024:1024" for i in range(9)), "crop 9"], "too large"),
    (
        ["photo", *(f"crop {i} amount=1024:1024:0:0" for i in range(5)),
         *(f"pad {i} amount=1024:1024:0:0" for i in range(5, 10))],
        "10241 pixels",
    ),
    (["photo", "global_pool 0", "pad 1 amount=1:1:1:1 mode=reflect", "crop 2 amount=1:1:1:1", "add 0 3"], "small"),
)  # fmt: skip


@pytest.mark.parametrize(("lines", "said"), LARGE)
def test_what_no_memory_holds_is_refused(lines: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Graph.from_dict({"nodes": lines})


def test_the_smallest_size_of_many_nodes_is_found() -> None:
    mirrored = ["pad 0 amount=1024:0:0:0 mode=reflect", "crop 1991 amount=1024:0:0:0"]
    graph = Graph.from_dict({"nodes": ["photo", *["relu 0"] * 1990, *mirrored]})
    assert graph.io_spec.min_side == 1025


def test_a_picture_may_have_any_number_of_channels() -> None:
    graph = same(nn.Conv2d(3, 5, 1))
    assert graph.io_spec.outputs == 5


def test_lines_name_their_weights() -> None:
    graph = trace(build(Residual(channels=8, blocks=0)))
    assert "conv 3 out=8 kernel=3 weight=entry.conv.conv.weight bias=entry.conv.conv.bias" in graph.lines()
    with pytest.raises(UserError, match="it names no weight"):
        Graph.from_dict({"nodes": ["photo", "conv 0 out=3 kernel=1"]})
    odd = nn.Sequential()
    odd.add_module("a b", nn.Conv2d(3, 3, 1))
    with pytest.raises(UserError, match="without spaces"):
        trace(odd)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes": "photo"}, "not a list"),
        ({"nodes": [1]}, "not a list"),
        ({"nodes": ["photo", "relu 1"]}, "is not an earlier node"),
        ({"nodes": ["photo", "pad 0 amount=1:1:1:1"]}, "photo's size"),
        ({"margin": -1}, "margin=-1"),
        ({"margin": 5000}, "margin=5000"),
        ({"multiple": 50000}, "multiple=50000"),
        ({"multiple": True}, "multiple=True"),
    ],
)
def test_what_is_no_graph_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Graph.from_dict({"nodes": ["photo"], **change})


@pytest.mark.parametrize(
    ("weights", "said"),
    [({}, "w is missing"), ({"w": np.zeros(5)}, "5 elements"), ({"w": np.full(9, np.nan)}, "not finite")],
)
def test_weights_are_checked(weights: dict[str, Any], said: str) -> None:
    graph = Graph.from_dict({"nodes": ["photo", "conv 0 out=3 kernel=1 weight=w"]}, weights)
    with pytest.raises(UserError, match=said):
        graph.check()


def test_every_operation_is_executed() -> None:
    found = {node.operation for name in SPECS for node in trace(network(SPECS[name])).nodes}
    for net, _ in LAYERS.values():
        found |= {node.operation for node in trace(net.eval()).nodes}
    for how in CODE.values():
        found |= {node.operation for node in trace(Own(how)).nodes}
    # The rest: in tests/test_generators_graph.py, inputs above, and parts of strips in tests/test_tiled.py
    assert set(OPERATIONS) - found <= {
        *("input", "leaky_relu", "elu", "shuffle", "unshuffle"),
        *("stack", "upsample_rows"),
    }


def test_a_graph_needs_no_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from texturenets.graph import Graph; "
        "lines = ['photo', 'pad 0 amount=5:5:5:5 mode=reflect', 'crop 1 amount=5:5:5:5'];"
        "print(Graph.from_dict({'nodes': lines}).io_spec.min_side)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "6\n"
