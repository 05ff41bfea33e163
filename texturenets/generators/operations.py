"""Any generator as a list of operations: read off its own code, not written a second time.

The network is run once on a stand-in that records what is done to it (`torch.fx`), and every step becomes a
line of `texturenets.nodes`, which knows each map's size and each operation's reach. A new generator made of
the same layers needs nothing here.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from texturenets import layers
from texturenets.errors import UserError
from texturenets.generators.graph import GraphGenerator
from texturenets.generators.tracing import Tracer
from texturenets.nodes import Node, line, understand
from texturenets.noise import NoiseInput

# What is one step of the list, whatever it consists of.
_STEPS = (layers.InstanceNorm, layers.OutputScale, GraphGenerator)
_FUNCTIONS = (layers.pad, layers.max_pool, layers.max_unpool, layers.channels_last)


_ARITHMETIC = {
    function: name
    for name in ("add", "sub", "mul")
    for function in (getattr(operator, name), getattr(operator, f"i{name}"), getattr(torch, name))
} | dict.fromkeys((operator.truediv, operator.itruediv, torch.div), "div")


class Map(int):
    """The number of a node, told from the numbers that a network computes with."""


@dataclass
class Operations:
    """`nodes` in an order in which each follows its sources, the picture last; their weights by number.

    `weights[i]` has "weight" and "bias" (or not) of node i, as its layer has them, shared and not copied.
    """

    nodes: list[Node] = field(default_factory=list)
    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def append(self, operation: str, *sources: int, **settings: Any) -> Map:
        """Add a node behind the others; its number."""
        self.nodes.append(understand(line(operation, sources, **settings), self.nodes))
        return Map(len(self.nodes) - 1)

    def layer(
        self, weights: Mapping[str, Tensor | None], operation: str, *sources: int, **settings: Any
    ) -> Map:
        """Add a node with weights; its number."""
        number = self.append(operation, *sources, **settings)
        self.weights[number] = {k: v.detach() for k, v in weights.items() if v is not None}
        return number


class _Type:
    """The type of a map's numbers: what a map is turned into, to meet another."""


@dataclass(frozen=True)
class _Where:
    """What `max_pool` gives beside its map, until `max_unpool` takes it: the number of the pool's node."""

    pool: int


def describe(network: nn.Module) -> Operations:
    """The operations of `network`, in evaluation mode. Raises UserError for what has no such form."""
    if isinstance(network, GraphGenerator):
        made = Operations()
        _graph(network, made)
        return made
    if hasattr(network, "size"):
        raise UserError(f"{type(network).__name__} draws pictures of one size, and is not taken apart")
    try:
        steps = Tracer(_FUNCTIONS, _STEPS).trace(network)
    except (fx.proxy.TraceError, TypeError, NameError, RuntimeError) as error:
        raise UserError(
            f"the code of {type(network).__name__} cannot be read step by step: {error}"
        ) from None
    recorder = _Recorder(network)
    for step in steps.nodes:
        recorder.take(step)
    return recorder.made


def _graph(
    network: GraphGenerator, made: Operations, photo: Map | None = None, noises: Sequence[Map] = ()
) -> Map:
    """Add the nodes of a graph, which has them already; `photo` and `noises` stand for its own, if given."""
    number: list[int] = []
    given = iter(noises)
    for node, layer in zip(network.nodes, network.layers, strict=True):
        if node.operation == "photo" and photo is not None:
            number.append(photo)
            continue
        if node.operation == "noise" and noises:
            number.append(made.append("linear", next(given), by=node.settings["scale"]))
            continue
        new = len(made.nodes)
        made.nodes.append(replace(node, sources=tuple(number[s] for s in node.sources)))
        found = {k: v.detach() for k, v in layer.named_parameters(recurse=False)}
        if found:
            made.weights[new] = found
        number.append(new)
    return Map(number[-1])


def _affine(module: nn.BatchNorm2d) -> dict[str, Tensor]:
    """The scale and shift that batch normalization with fixed statistics amounts to."""
    if module.running_mean is None or module.running_var is None:
        raise UserError("a batch normalization that keeps no statistics")
    scale = torch.rsqrt(module.running_var.detach() + module.eps)
    shift = -module.running_mean.detach() * scale
    if module.affine:
        scale, shift = module.weight.detach() * scale, module.bias + shift * module.weight
    return {"weight": scale, "bias": shift.detach()}


def _one(value: Any, what: str) -> Any:
    """The one number that a setting of two equal ones is."""
    if isinstance(value, (tuple, list)):
        if len({*value}) != 1:
            raise UserError(f"{what} {tuple(value)} differs between height and width")
        return value[0]
    return value


def _cut_off(part: slice) -> tuple[int, int]:
    """How much a part of a line, such as 2:-2, leaves out at its ends."""
    start, stop = part.start or 0, part.stop or 0
    if part.step not in (None, 1) or start < 0 or stop > 0:
        raise UserError(f"the step [{part.start}:{part.stop}:{part.step}] cannot be taken apart")
    return start, -stop


class _Recorder:
    """Turns the steps of a trace into nodes."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.made = Operations()
        self.known: dict[
            fx.Node, Any
        ] = {}  # of every step the number of its node, or what else it stands for

    def take(self, step: fx.Node) -> None:
        """Record one step. Raises UserError for one that cannot be."""
        arguments: Any = fx.node.map_arg(step.args, lambda n: self.known[n])
        options: Any = fx.node.map_arg(step.kwargs, lambda n: self.known[n])
        if step.op == "placeholder":
            self.known[step] = self._input(str(step.target))
        elif step.op == "call_module":
            module = self.network.get_submodule(str(step.target))
            self.known[step] = self._module(module, *arguments)
        elif step.op == "call_function":
            self.known[step] = self._function(step.target, arguments, options)
        elif step.op == "call_method":
            self.known[step] = self._method(str(step.target), arguments, options)
        elif step.op == "output":
            if arguments[0] != len(self.made.nodes) - 1:
                raise UserError("the network's last step is not what it gives back")
        else:
            raise UserError(f"a value {step.target!r} of its own in the network's code")

    def _input(self, name: str) -> Map:
        if name == "photo":
            return self.made.append("photo")
        inputs: Any = self.network.noise
        asked: NoiseInput = inputs[int(name.removeprefix("noise"))]
        return self.made.append(
            "noise", channels=asked.channels, stride=asked.stride, distribution=asked.distribution
        )

    # ---- Modules -------------------------------------------------------------------------------------

    def _module(self, module: nn.Module, x: Map, noises: Sequence[Map] = ()) -> Map:  # noqa: PLR0911, PLR0912 (one a kind of layer)
        add, layer = self.made.append, self.made.layer
        match module:
            case nn.Identity() | nn.Dropout() | nn.Dropout2d():
                return x
            case GraphGenerator():
                return _graph(module, self.made, x, noises)
            case nn.Conv2d():
                return self._conv(module, x)
            case nn.ConvTranspose2d():
                return self._deconv(module, x)
            case layers.InstanceNorm():
                weights = {"weight": module.weight, "bias": module.bias}
                return layer(weights, "norm", x, eps=module.eps)
            case nn.InstanceNorm2d() if not module.track_running_stats:
                return layer({"weight": module.weight, "bias": module.bias}, "norm", x, eps=module.eps)
            case nn.BatchNorm2d():
                return layer(_affine(module), "affine", x)
            case layers.OutputScale():
                return self._output(module, x)
            case nn.PReLU():
                weight = module.weight.expand(self.made.nodes[x].channels)
                return layer({"weight": weight}, "prelu", x)
            case nn.ReLU() | nn.Tanh() | nn.Sigmoid():
                return add(type(module).__name__.lower(), x)
            case nn.LeakyReLU():
                return add("leaky_relu", x, slope=module.negative_slope)
            case nn.ELU():
                return add("elu", x, alpha=module.alpha)
            case nn.Upsample():
                return self._interpolate(x, module.scale_factor, module.mode, bool(module.align_corners))
            case nn.AvgPool2d() if not module.padding:
                return self._pool("avg_pool", x, module.kernel_size, module.stride)
            case nn.MaxPool2d() if not module.padding:
                return self._pool("max_pool", x, module.kernel_size, module.stride)
            case nn.PixelShuffle():
                return add("shuffle", x, factor=module.upscale_factor)
            case nn.PixelUnshuffle():
                return add("unshuffle", x, factor=module.downscale_factor)
            case nn.ReflectionPad2d() | nn.ReplicationPad2d() | nn.ZeroPad2d() | nn.CircularPad2d():
                words = {"Reflection": "reflect", "Replication": "replicate", "Zero": "zero"}
                mode = words.get(type(module).__name__.removesuffix("Pad2d"), "circular")
                left, right, top, bottom = module.padding
                return add("pad", x, amount=(top, bottom, left, right), mode=mode)
        raise UserError(f"the layer {type(module).__name__} is not among those that can be taken apart")

    def _conv(self, module: nn.Conv2d, x: Map) -> Map:
        if isinstance(module.padding, str):
            raise UserError(f"a convolution with padding={module.padding!r}")
        rows, columns = module.padding
        if rows or columns:
            mode = {"zeros": "zero"}.get(module.padding_mode, module.padding_mode)
            x = self.made.append("pad", x, amount=(rows, rows, columns, columns), mode=mode)
        return self.made.layer(
            {"weight": module.weight, "bias": module.bias},
            "conv",
            x,
            out=module.out_channels,
            kernel=_one(module.kernel_size, "kernel"),
            stride=_one(module.stride, "stride"),
            dilation=_one(module.dilation, "dilation"),
            groups=module.groups,
        )

    def _deconv(self, module: nn.ConvTranspose2d, x: Map) -> Map:
        crop = _one(module.padding, "padding")
        extra = _one(module.output_padding, "output padding")
        if module.groups != 1 or _one(module.dilation, "dilation") != 1 or extra > crop:
            raise UserError("a transposed convolution with groups, dilation or more padding than it crops")
        return self.made.layer(
            {"weight": module.weight, "bias": module.bias},
            "deconv",
            x,
            out=module.out_channels,
            kernel=_one(module.kernel_size, "kernel"),
            stride=_one(module.stride, "stride"),
            crop=(crop, crop - extra, crop, crop - extra),
        )

    def _output(self, module: layers.OutputScale, x: Map) -> Map:
        if module.kind == "bounded":
            return self.made.append("linear", self.made.append("tanh", x), by=0.5, add=0.5)
        if module.kind == "clamped":
            return self.made.append("clamp", self.made.append("linear", x, by=0.5, add=0.5), low=0, high=1)
        # From BGR, 0..255, minus the mean: a 1 x 1 convolution that turns the channels around.
        weight = torch.eye(3).flip(0)[:, :, None, None] / 255
        bias = torch.tensor(layers.CAFFE_MEAN) / 255
        return self.made.layer({"weight": weight, "bias": bias}, "conv", x, out=3, kernel=1)

    # ---- Functions and methods -----------------------------------------------------------------------

    def _function(  # noqa: PLR0911 (one a kind of step)
        self, function: Any, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        name = getattr(function, "__name__", str(function))
        if function is layers.pad:
            x, amount, mode = arguments
            return self.made.append("pad", x, amount=(amount,) * 4, mode=mode) if amount else x
        if function is layers.channels_last:
            return arguments[0]
        if function is getattr:
            return _Type if arguments[1] == "dtype" else self._method(arguments[1], arguments[:1], {})
        if function is layers.max_pool:
            return self.made.append("max_pool", arguments[0], kernel=2, stride=2)
        if function is layers.max_unpool:
            return self.made.append("unpool", arguments[0], arguments[1].pool)
        if function is operator.getitem:
            return self._item(*arguments)
        if function in _ARITHMETIC:
            return self._arithmetic(_ARITHMETIC[function], *arguments)
        if function is torch.cat:
            maps, dim = arguments[0], options.get("dim", arguments[1] if len(arguments) > 1 else 0)
            if dim == 1:
                return self.made.append("concat", *maps)
        if function is F.pad:
            return self._pad(arguments, options)
        if function is F.interpolate and options.get("scale_factor") is not None:
            corners = bool(options.get("align_corners"))
            return self._interpolate(
                arguments[0], options["scale_factor"], options.get("mode", "nearest"), corners
            )
        return self._method(name, arguments, options)

    def _method(  # noqa: PLR0911 (one a kind of step)
        self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        add = self.made.append
        x, *rest = arguments
        match name:
            case "contiguous" | "clone":
                return x
            case "to" if rest == [_Type] and not options:
                return x
            case "relu" | "tanh" | "sigmoid":
                return add(name, x)
            case "leaky_relu":
                slope = options.get("negative_slope", rest[0] if rest else 0.01)
                return add("leaky_relu", x, slope=slope)
            case "clamp":
                low, high = (*rest, options.get("min"), options.get("max"))[:2]
                if low is not None and high is not None:
                    return add("clamp", x, low=low, high=high)
            case "add" | "sub" | "mul" | "div" if len(rest) == 1 and not options:
                return self._arithmetic(name, x, rest[0])
            case "pixel_shuffle":
                return add("shuffle", x, factor=rest[0])
            case "pixel_unshuffle":
                return add("unshuffle", x, factor=rest[0])
            case "avg_pool2d" | "max_pool2d" if len(rest) <= 2 and not options:
                kernel = rest[0]
                return self._pool(f"{name[:3]}_pool", x, kernel, rest[1] if len(rest) > 1 else kernel)
        raise UserError(f"the step {name!r} is not among those that can be taken apart")

    def _item(self, x: Any, key: Any) -> Any:
        if isinstance(key, int):  # of `max_pool`
            return _Where(x) if key else x
        everything = slice(None)
        if isinstance(key, tuple) and all(isinstance(k, slice) for k in key) and key[0] == everything:
            _, channels, rows, columns = (*key, *[everything] * (4 - len(key)))
            x = self._channels(x, range(self.made.nodes[x].channels)[channels])
            sides = (*_cut_off(rows), *_cut_off(columns))
            return self.made.append("crop", x, amount=sides) if any(sides) else x
        raise UserError(f"the step [{key}] is not among those that can be taken apart")

    def _channels(self, x: Map, chosen: range) -> Map:
        node = self.made.nodes[x]
        if chosen == range(node.channels):
            return x
        if node.operation == "concat" and chosen == range(self.made.nodes[node.sources[0]].channels):
            return Map(node.sources[0])
        weight = torch.eye(node.channels)[list(chosen)][:, :, None, None]
        weights = {"weight": weight, "bias": torch.zeros(len(chosen))}
        return self.made.layer(weights, "conv", x, out=len(chosen), kernel=1)

    def _arithmetic(self, name: str, a: Any, b: Any) -> Map:
        if isinstance(a, Map) and isinstance(b, Map):
            if name == "sub":
                return self.made.append("add", a, self.made.append("linear", b, by=-1))
            if name != "div":
                return self.made.append(name, a, b)
        elif isinstance(a, Map) and isinstance(b, int | float):
            by, plus = {"add": (1, b), "sub": (1, -b), "mul": (b, 0), "div": (1 / (b or 1), 0)}[name]
            return self.made.append("linear", a, by=float(by), add=float(plus))
        elif isinstance(a, int | float) and isinstance(b, Map) and name != "div":
            by, plus = {"add": (1, a), "sub": (-1, a), "mul": (a, 0)}[name]
            return self.made.append("linear", b, by=float(by), add=float(plus))
        raise UserError(f"the step {name!r} with {a!r} and {b!r} cannot be taken apart")

    def _pad(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Map:
        x, sides, *rest = arguments
        mode = options.get("mode", rest[0] if rest else "constant")
        if len(sides) != 4 or options.get("value", 0.0):
            raise UserError("padding of other than height and width, or with other than zeros")
        left, right, top, bottom = sides
        words = {"constant": "zero", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
        return self.made.append("pad", x, amount=(top, bottom, left, right), mode=words[mode])

    def _interpolate(self, x: Map, factor: Any, mode: str, corners: bool) -> Map:
        factor = _one(factor, "factor")
        if factor != int(factor) or mode not in ("nearest", "bilinear"):
            raise UserError(f"interpolation {mode!r} by a factor of {factor}")
        word = "bilinear_corners" if corners and mode == "bilinear" else mode
        return self.made.append("upsample", x, factor=int(factor), mode=word)

    def _pool(self, name: str, x: Map, kernel: Any, stride: Any) -> Map:
        return self.made.append(name, x, kernel=_one(kernel, "kernel"), stride=_one(stride, "stride"))
