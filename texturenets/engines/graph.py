"""Networks as ONNX graphs: traced without sizes, written operation by operation.

`torch.onnx.export` would do it as well, but it reasons about symbolic sizes: half a minute for networks of these
sizes, minutes where padding wraps around. Here a network is recorded by `torch.fx`, with the layers of
`texturenets.layers` as they are, and each has one entry in a table. Instance normalization stays one operation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn

from texturenets import layers
from texturenets.engines import rewrite
from texturenets.engines.editing import END, Wraps
from texturenets.engines.facts import ConversionError, Facts
from texturenets.engines.torch_engine import facts_of
from texturenets.errors import UserError
from texturenets.generators import fully_connected
from texturenets.generators import graph as graph_generator
from texturenets.generators.tracing import Tracer

OPSET = 17
"""Read by every ONNX Runtime since 1.12, also that of browsers."""
IR_VERSION = 8
"""The file format that goes with it."""

_WHOLE_FUNCTIONS = (
    layers.pad,
    layers.channels_last,
    layers.max_pool,
    layers.max_unpool,
    graph_generator.crop,
    fully_connected.as_vectors,
)
_WHOLE_MODULES = (
    layers.InstanceNorm,
    layers.OutputScale,
    graph_generator.Affine,
    graph_generator.Pad,
    graph_generator.Deconv,
)


def record(network: nn.Module) -> fx.GraphModule:
    """The operations of `network`, in their order. Raises UserError where they depend on the numbers."""
    try:
        recorded = fx.GraphModule(network, Tracer(_WHOLE_FUNCTIONS, _WHOLE_MODULES).trace(network))
        recorded.graph.eliminate_dead_code()
        recorded.recompile()
        return recorded
    except Exception as error:  # the network's own code runs here, on what are no tensors
        reason = " ".join(str(error).split())[:200]
        raise ConversionError(
            f"the network {type(network).__name__} cannot be written down as a graph: {reason}; use --engine torch"
        ) from error


def facts(network: nn.Module) -> Facts:
    """What the converted `network` takes, with the smallest side for which no map is mirrored twice."""
    plain = facts_of(network)
    recorded = record(network)
    side = plain.stride
    while side <= 4096:
        recorder = _Pads(recorded)
        try:
            recorder.run(*(torch.zeros(shape) for shape in _shapes(plain, side)))
        except (RuntimeError, ValueError):  # a map became smaller than a window
            pass
        else:
            if recorder.fits:
                break
        side += plain.stride
    return replace(plain, least=side)


class _Pads(fx.Interpreter):
    """Runs the network and finds out whether every reflected or repeated map is larger than its border."""

    fits = True

    def _check(self, x: Tensor, amount: int, mode: str) -> None:
        if min(x.shape[2:]) < amount + (mode == "reflect") and mode in ("reflect", "circular"):
            self.fits = False

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """As it is, noting paddings."""
        if target is layers.pad:
            self._check(*args, **kwargs)
        return super().call_function(target, args, kwargs)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """As it is, noting paddings."""
        module = self.fetch_attr(target)
        if isinstance(module, graph_generator.Pad):
            self._check(args[0], max(module.sides), module.mode)
        return super().call_module(target, args, kwargs)


@dataclass(frozen=True)
class _Map:
    """A map by its name in the graph. `order`: where channel i of the network lies, if not at i.

    `rest`: a second map; the sum of both is meant. The first holds what bf16 can hold without an error, the
    second what is left: see `Writer.split`.
    """

    name: str
    order: tuple[int, ...] | None = None
    rest: str | None = None

    def each(self, operation: Callable[[str], str]) -> _Map:
        """The map, or both, after an operation that leaves the channels where they are, and is linear."""
        return _Map(operation(self.name), self.order, self.rest and operation(self.rest))


class Writer:
    """Collects the nodes and weights of one ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.count = 0
        self.zeros: dict[str, tuple[str, Sequence[int]]] = {}
        """Maps that are others with zeros around them: what they were, and how many on each side."""
        self.wraps: Wraps = {}

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """The name of a tensor that holds `values`."""
        self.count += 1
        name = f"w{self.count}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The name of what the operation `kind` makes of `inputs`."""
        self.count += 1
        name = f"{kind.lower()}{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def plain(self, x: Any) -> str:
        """The name of a map with its channels in order, or of a constant for a number."""
        if isinstance(x, _Map):
            name = self.merged(x).name
            if x.order is None:
                return name
            return self.node("Gather", name, self.constant(x.order, np.int64), axis=1)
        if isinstance(x, Tensor):
            return self.constant(_numpy(x))
        return self.constant(x)

    def split(self, name: str) -> _Map:
        """A photo as two maps whose sum it is, each exact in bf16 or nearly so.

        bf16 has 8 binary digits: a photo of 8 bits loses the last one or two, and instance normalization makes
        that visible where a photo is flat. Steps of 1/128 fit without an error; what is left is at most 1/256, and
        8 digits of that are enough. The first convolution then takes both, with the same weights.
        """
        steps = self.constant(128.0)
        coarse = self.node("Div", self.node("Round", self.node("Mul", name, steps)), steps)
        return _Map(coarse, None, self.node("Sub", name, coarse))

    def merged(self, x: _Map) -> _Map:
        """`x` as one map."""
        return x if x.rest is None else _Map(self.node("Add", x.name, x.rest), x.order)

    def shifted(self, kind: str, a: Any, b: Any) -> _Map:
        """The sum or difference of a map and a number, or of two maps."""
        if isinstance(a, _Map) and a.rest is not None and isinstance(b, int | float) and abs(b) <= 1:
            return _Map(self.node(kind, a.name, self.constant(b)), a.order, a.rest)
        return _Map(self.node(kind, self.plain(a), self.plain(b)))

    def slice(
        self, x: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int], step: int = 1
    ) -> str:
        """A part of `x`."""
        parts = [self.constant(v, np.int64) for v in (starts, ends, axes, [step] * len(axes))]
        return self.node("Slice", x, *parts)

    # ---- what layers do ----

    def pad(self, x: _Map, amount: int, mode: str) -> _Map:
        """`layers.pad`."""
        return self.sides(x, (amount,) * 4, mode)

    def sides(self, x: _Map, sides: Sequence[int], mode: str) -> _Map:
        """`sides`, top, bottom, left and right, more. Wrapping is slices: OpenVINO has no Pad that wraps."""
        top, bottom, left, right = sides
        if not any(sides):
            return x
        if mode == "circular":
            return x.each(lambda name: self._wrapped(name, sides))
        mode = {"zero": "constant", "replicate": "edge"}.get(mode, mode)
        places = self.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
        padded = x.each(lambda name: self.node("Pad", name, places, mode=mode))
        if mode == "constant" and x.order is None and x.rest is None:
            self.zeros[padded.name] = x.name, sides
        return padded

    def _wrapped(self, name: str, sides: Sequence[int]) -> str:
        top, bottom, left, right = sides
        source = name
        for axis, before, after in ((2, top, bottom), (3, left, right)):
            parts = [self.slice(name, [axis], [-before], [END])] if before else []
            parts += [name]
            parts += [self.slice(name, [axis], [0], [after])] if after else []
            name = self.node("Concat", *parts, axis=axis) if len(parts) > 1 else name
        self.wraps[name] = source, sides
        return name

    def crop(self, x: _Map, sides: Sequence[int]) -> _Map:
        """`sides`, top, bottom, left and right, less."""
        top, bottom, left, right = sides
        if not any(sides):
            return x
        ends = [-bottom or END, -right or END]
        return x.each(lambda name: self.slice(name, [2, 3], [top, left], ends))

    def convolution(self, x: _Map, m: nn.Conv2d) -> _Map:
        """`nn.Conv2d`."""
        weight = _numpy(m.weight)
        if m.groups == 1:
            source = x.name
            if x.order is not None:
                weight = weight[:, np.argsort(x.order)]
            if x.rest is not None:
                source, weight = self.node("Concat", x.name, x.rest, axis=1), np.concatenate([weight] * 2, 1)
        else:
            source = self.plain(x)
        if m.padding_mode != "zeros" or isinstance(m.padding, str):
            raise UserError("a convolution that pads other than with a number of zeros")
        inputs = [source, self.constant(weight)]
        if m.bias is not None:
            inputs.append(self.constant(_numpy(m.bias)))
        return _Map(
            self.node(
                "Conv",
                *inputs,
                kernel_shape=list(m.kernel_size),
                strides=list(m.stride),
                pads=[*m.padding, *m.padding],
                dilations=list(m.dilation),
                group=m.groups,
            )
        )

    def transposed(self, x: _Map, m: nn.ConvTranspose2d) -> _Map:
        """`nn.ConvTranspose2d`.

        Zeros around its input become a smaller crop of its output: OpenVINO would merge the two, and take a
        transposed convolution for a plain one.
        """
        assert isinstance(m.padding, tuple)
        crop = [*m.padding, *m.padding]  # top, left, bottom, right
        source = self.plain(x)
        if source in self.zeros:
            source, (top, bottom, left, right) = self.zeros[source]
            down, across = m.stride
            crop = [
                a - b
                for a, b in zip(crop, (down * top, across * left, down * bottom, across * right), strict=True)
            ]
            if min(crop) < 0:
                raise UserError("a transposed convolution of a map with zeros around it")
        inputs = [source, self.constant(_numpy(m.weight))]
        if m.bias is not None:
            inputs.append(self.constant(_numpy(m.bias)))
        return _Map(
            self.node(
                "ConvTranspose",
                *inputs,
                kernel_shape=list(m.kernel_size),
                strides=list(m.stride),
                pads=crop,
                output_padding=list(m.output_padding),
                dilations=list(m.dilation),
                group=m.groups,
            )
        )

    def instance_norm(self, x: _Map, weight: Tensor, bias: Tensor, eps: float) -> _Map:
        """One operation, whose statistics every runtime takes in float32."""
        parts = [self.constant(_numpy(weight)), self.constant(_numpy(bias))]
        return _Map(self.node("InstanceNormalization", self.plain(x), *parts, epsilon=eps))

    def batch_norm(self, x: _Map, m: nn.BatchNorm2d) -> _Map:
        """`nn.BatchNorm2d` with its running statistics."""
        known = [m.weight, m.bias, m.running_mean, m.running_var]
        parts = [self.constant(_numpy(one)) for one in known if one is not None]
        return _Map(self.node("BatchNormalization", self.plain(x), *parts, epsilon=m.eps))

    def output(self, x: _Map, m: layers.OutputScale, alone: bool) -> _Map:
        """`layers.OutputScale`. `alone`: nothing else takes `x`."""
        name, half = self.plain(x), self.constant(0.5)
        if m.kind == "clamped":
            scaled = self.node("Add", self.node("Mul", name, half), half)
            return _Map(self.node("Clip", scaled, self.constant(0.0), self.constant(1.0)))
        if m.kind == "bounded":
            return _Map(self.node("Add", self.node("Mul", self.node("Tanh", name), half), half))
        mean = np.array(layers.CAFFE_MEAN, np.float32)[:, None, None]
        if not (alone and self._flipped(name)):
            name = self.node("Gather", name, self.constant([2, 1, 0], np.int64), axis=1)
        # In this form runtimes make it part of the convolution, which has its sums in float32.
        scaled = self.node("Mul", name, self.constant(1 / 255))
        return _Map(self.node("Add", scaled, self.constant(mean / 255)))

    def _flipped(self, name: str) -> bool:
        """Turn BGR into RGB in the weights of the convolution that has just made `name`; False where none has."""
        last = self.nodes[-1]
        if last.op_type != "Conv" or list(last.output) != [name]:
            return False
        for weight in self.weights:
            if weight.name in last.input[1:]:
                weight.CopyFrom(
                    numpy_helper.from_array(numpy_helper.to_array(weight)[::-1].copy(), weight.name)
                )
        return True

    def resize(self, x: _Map, factor: float, mode: str, corners: bool) -> _Map:
        """`F.interpolate` by a whole factor."""
        place = "asymmetric" if mode == "nearest" else "align_corners" if corners else "half_pixel"
        kind = "nearest" if mode == "nearest" else "linear"
        scales = self.constant([1, 1, factor, factor])
        rounding = {"nearest_mode": "floor"} if kind == "nearest" else {}
        return x.each(
            lambda name: self.node(
                "Resize", name, "", scales, mode=kind, coordinate_transformation_mode=place, **rounding
            )
        )

    def unshuffle(self, x: _Map, factor: int, channels: int) -> _Map:
        """`F.pixel_unshuffle`, whose channels are (channel, row, column); here (row, column, channel)."""
        order = tuple(k * channels + c for c in range(channels) for k in range(factor * factor))
        if x.order is not None:
            x = _Map(self.plain(x))
        spread = x.each(lambda name: self.node("SpaceToDepth", name, blocksize=factor))
        return _Map(spread.name, order, spread.rest)

    def max_pool(self, x: _Map) -> tuple[_Map, tuple[_Map, ...]]:
        """`layers.max_pool`: the maxima, and four maps of ones and zeros for their places."""
        name = self.plain(x)
        a, b, c, d = (self.slice(name, [2, 3], [i, j], [END, END], 2) for i in (0, 1) for j in (0, 1))
        left_top, left_bottom = self.node("GreaterOrEqual", a, b), self.node("GreaterOrEqual", c, d)
        top_row, bottom_row = self.node("Max", a, b), self.node("Max", c, d)
        top = self.node("GreaterOrEqual", top_row, bottom_row)
        bottom = self.node("Not", top)
        places = [
            self.node("And", row, side)
            for row, left in ((top, left_top), (bottom, left_bottom))
            for side in (left, self.node("Not", left))
        ]
        masks = tuple(_Map(self.node("Cast", place, to=TensorProto.FLOAT)) for place in places)
        return _Map(self.node("Max", top_row, bottom_row)), masks

    def max_unpool(self, x: _Map, where: Sequence[_Map]) -> _Map:
        """`layers.max_unpool`."""
        name = self.plain(x)
        parts = [self.node("Mul", name, mask.name) for mask in where]
        return _Map(self.node("DepthToSpace", self.node("Concat", *parts, axis=1), blocksize=2, mode="DCR"))


def _numpy(x: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = x.detach().float().cpu().numpy()
    return array


# ---- From torch's operations to ONNX's ---------------------------------------------------------------

Translate = Callable[..., Any]


def _unary(kind: str, **attributes: Any) -> Translate:
    """An operation on every number alone: the order of the channels stays."""
    return lambda w, x, **_: _Map(w.node(kind, w.merged(x).name, **attributes), x.order)


def _binary(kind: str) -> Translate:
    return lambda w, a, b, **_: _Map(w.node(kind, w.plain(a), w.plain(b)))


def _clamp(w: Writer, x: _Map, min: Any = None, max: Any = None) -> _Map:  # noqa: A002 (torch's names)
    bounds = ["" if v is None else w.constant(v) for v in (min, max)]
    return _Map(w.node("Clip", w.merged(x).name, *bounds), x.order)


def _interpolate(  # noqa: PLR0917 (torch's arguments)
    w: Writer,
    x: _Map,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> _Map:
    if (
        antialias
        or recompute_scale_factor
        or size is not None
        or not isinstance(scale_factor, int | float)
        or mode not in ("nearest", "bilinear")
    ):
        raise UserError(f"an interpolation to {size or scale_factor}, {mode}")
    return w.resize(x, float(scale_factor), mode, bool(align_corners))


def _pair(value: Any) -> list[int]:
    return list(value) if isinstance(value, tuple | list) else [value, value]


def _pool(kind: str) -> Translate:
    def translate(
        w: Writer, x: _Map, kernel_size: Any, stride: Any = None, padding: Any = 0, **_: Any
    ) -> _Map:
        if padding != 0:
            raise UserError("a pooling with padding")
        sizes = {"kernel_shape": _pair(kernel_size), "strides": _pair(stride or kernel_size)}
        x = x if kind == "AveragePool" else w.merged(x)
        return x.each(lambda name: w.node(kind, name, **sizes))

    return translate


def _getitem(w: Writer, x: Any, key: Any) -> Any:
    if isinstance(x, tuple):
        return x[key]
    keys = key if isinstance(key, tuple) else (key,)
    name = w.plain(x)
    for axis, part in enumerate(keys):
        if part == slice(None):
            continue
        if not isinstance(part, slice) or any(
            not isinstance(v, int | None) for v in (part.start, part.stop, part.step)
        ):
            raise UserError(f"the part {part}")
        stop = END if part.stop is None else part.stop
        name = w.slice(name, [axis], [part.start or 0], [stop], part.step or 1)
    return _Map(name)


def _torch_pad(w: Writer, x: _Map, pad: Sequence[int], mode: str = "constant", value: Any = None) -> _Map:
    if len(pad) != 4 or value:
        raise UserError(f"padding by {pad}")
    left, right, top, bottom = pad
    return w.sides(x, (top, bottom, left, right), "zero" if mode == "constant" else mode)


FUNCTIONS: dict[Any, Translate] = {
    layers.pad: Writer.pad,
    layers.channels_last: lambda w, x: x,
    layers.max_pool: Writer.max_pool,
    layers.max_unpool: Writer.max_unpool,
    graph_generator.crop: Writer.crop,
    fully_connected.as_vectors: lambda w, x, size: _Map(w.node("Flatten", w.plain(x), axis=1)),
    getattr: lambda w, x, name: name,  # a type, for `to`
    operator.getitem: _getitem,
    operator.add: lambda w, a, b: w.shifted("Add", a, b),
    operator.sub: lambda w, a, b: w.shifted("Sub", a, b),
    operator.mul: _binary("Mul"),
    operator.truediv: _binary("Div"),
    torch.add: _binary("Add"),
    torch.mul: _binary("Mul"),
    torch.cat: lambda w, parts, dim=0: _Map(w.node("Concat", *map(w.plain, parts), axis=dim)),
    torch.tanh: _unary("Tanh"),
    torch.sigmoid: _unary("Sigmoid"),
    torch.relu: _unary("Relu"),
    F.relu: _unary("Relu"),
    F.tanh: _unary("Tanh"),
    F.sigmoid: _unary("Sigmoid"),
    F.leaky_relu: lambda w, x, negative_slope=0.01, **_: _unary("LeakyRelu", alpha=negative_slope)(w, x),
    F.elu: lambda w, x, alpha=1.0, **_: _unary("Elu", alpha=alpha)(w, x),
    F.interpolate: _interpolate,
    F.avg_pool2d: _pool("AveragePool"),
    F.max_pool2d: _pool("MaxPool"),
    F.pixel_shuffle: lambda w, x, factor: _Map(
        w.node("DepthToSpace", w.plain(x), blocksize=factor, mode="CRD")
    ),
    F.pad: _torch_pad,
}

METHODS: dict[str, Translate] = {
    "clamp": _clamp,
    "clip": _clamp,
    "relu": _unary("Relu"),
    "tanh": _unary("Tanh"),
    "sigmoid": _unary("Sigmoid"),
    "float": lambda w, x: x,
    "contiguous": lambda w, x, **_: x,
    "to": lambda w, x, dtype: x,
    "unflatten": lambda w, x, dim, sizes: _Map(
        w.node("Reshape", w.plain(x), w.constant([*[0] * dim, *sizes], np.int64))
    ),
}

MODULES: dict[type[nn.Module], Callable[[Writer, _Map, Any], _Map]] = {
    nn.Identity: lambda w, x, m: x,
    nn.Conv2d: Writer.convolution,
    nn.ConvTranspose2d: Writer.transposed,
    nn.BatchNorm2d: Writer.batch_norm,
    nn.InstanceNorm2d: lambda w, x, m: w.instance_norm(
        x,
        torch.ones(m.num_features) if m.weight is None else m.weight,
        torch.zeros(m.num_features) if m.bias is None else m.bias,
        m.eps,
    ),
    nn.Linear: lambda w, x, m: _Map(
        w.node("Gemm", w.plain(x), w.constant(_numpy(m.weight)), w.constant(_numpy(m.bias)), transB=1)
    ),
    nn.ReLU: lambda w, x, m: _unary("Relu")(w, x),
    nn.Tanh: lambda w, x, m: _unary("Tanh")(w, x),
    nn.Sigmoid: lambda w, x, m: _unary("Sigmoid")(w, x),
    nn.LeakyReLU: lambda w, x, m: _unary("LeakyRelu", alpha=m.negative_slope)(w, x),
    nn.ELU: lambda w, x, m: _unary("Elu", alpha=m.alpha)(w, x),
    nn.PReLU: lambda w, x, m: _Map(w.node("PRelu", w.plain(x), w.constant(_numpy(m.weight)[:, None, None]))),
    nn.ReflectionPad2d: lambda w, x, m: _torch_pad(w, x, m.padding, "reflect"),
    nn.ReplicationPad2d: lambda w, x, m: _torch_pad(w, x, m.padding, "replicate"),
    nn.ZeroPad2d: lambda w, x, m: _torch_pad(w, x, m.padding),
    nn.Upsample: lambda w, x, m: _interpolate(w, x, m.size, m.scale_factor, m.mode, m.align_corners),
    nn.PixelShuffle: lambda w, x, m: FUNCTIONS[F.pixel_shuffle](w, x, m.upscale_factor),
    layers.InstanceNorm: lambda w, x, m: w.instance_norm(x, m.weight, m.bias, m.eps),
    graph_generator.Affine: lambda w, x, m: _Map(
        w.node(
            "Add",
            w.node("Mul", w.plain(x), w.constant(_numpy(m.weight)[:, None, None])),
            w.constant(_numpy(m.bias)[:, None, None]),
        )
    ),
    graph_generator.Pad: lambda w, x, m: w.sides(x, m.sides, m.mode),
    graph_generator.Deconv: lambda w, x, m: w.crop(w.transposed(x, m), m.sides),
}


class _Translation(fx.Interpreter):
    """Walks a recorded network; each of its values is the name of a map in the file."""

    def __init__(
        self, recorded: fx.GraphModule, writer: Writer, channels: dict[str, int], split: bool
    ) -> None:
        super().__init__(recorded)
        self.writer, self.channels, self.split = writer, channels, split

    def run_node(self, n: fx.Node) -> Any:
        """One operation."""
        if n.op == "call_function" and n.target is F.pixel_unshuffle:
            (x, factor), _ = self.fetch_args_kwargs_from_env(n)
            assert isinstance(n.args[0], fx.Node)
            return self.writer.unshuffle(x, factor, self.channels[n.args[0].name])
        if n.op == "call_module" and isinstance(module := self.fetch_attr(str(n.target)), layers.OutputScale):
            (x,), _ = self.fetch_args_kwargs_from_env(n)
            assert isinstance(n.args[0], fx.Node)
            return self.writer.output(x, module, alone=len(n.args[0].users) == 1)
        return super().run_node(n)

    def placeholder(self, target: Any, args: Any, kwargs: Any) -> Any:
        """An input."""
        return self.writer.split(target) if self.split and target == "photo" else _Map(target)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A function of torch or of `texturenets.layers`."""
        return self._translate(FUNCTIONS.get(target), getattr(target, "__name__", target), args, kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A tensor's method."""
        return self._translate(METHODS.get(target), target, args, kwargs)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A layer."""
        module = self.fetch_attr(target)
        made = MODULES.get(type(module))
        return self._translate(made, type(module).__name__, (*args, module), kwargs)

    def _translate(self, made: Translate | None, what: object, args: Any, kwargs: Any) -> Any:
        try:
            if made is None:
                raise UserError(f"the operation {what}")
            return made(self.writer, *args, **kwargs)
        except UserError as error:
            raise ConversionError(f"cannot convert {error}; use --engine torch") from None
        except TypeError:
            raise ConversionError(f"cannot convert {what} with these options; use --engine torch") from None


def _channels(recorded: fx.GraphModule, known: Facts) -> dict[str, int]:
    """The channels of every map."""
    found: dict[str, int] = {}

    class Shapes(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, Tensor) and value.ndim == 4:
                found[n.name] = value.shape[1]
            return value

    Shapes(recorded).run(*(torch.zeros(shape) for shape in _shapes(known, known.least)))
    return found


def _shapes(known: Facts, side: int) -> list[tuple[int, int, int, int]]:
    """Of a network's inputs for one picture of `side` x `side` pixels."""
    shapes = [(1, known.channels, side, side)] if known.channels else []
    return shapes + [(1, n.channels, side // n.stride, side // n.stride) for n in known.noise]


@torch.no_grad()
def to_onnx(
    network: nn.Module, metadata: dict[str, str] | None = None, *, split: bool = False
) -> tuple[onnx.ModelProto, Facts]:
    """`network` (float32, evaluation mode) as an ONNX model of any batch, height and width, and what it takes.

    Inputs are `photo` (batch, 3, height, width) and `noise0`...; the output is `picture`. `split`: what
    goes in becomes two maps each, for computing in bf16 (see `Writer.split`). Raises UserError for an operation that
    has no counterpart in the table.
    """
    known = facts(network)
    recorded = record(network)
    writer = Writer()
    result = _Translation(recorded, writer, _channels(recorded, known), split).run(
        *_names(known), enable_io_processing=False
    )
    writer.nodes.append(helper.make_node("Identity", [writer.plain(result)], ["picture"], "output"))

    def value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [value("photo", ["batch", known.channels, "height", "width"])] if known.channels else []
    inputs += [
        value(f"noise{i}", ["batch", n.channels, *(f"{side}/{n.stride}" for side in ("height", "width"))])
        for i, n in enumerate(known.noise)
    ]
    outputs = [value("picture", ["batch", 3, "height", "width"])]
    made = helper.make_graph(writer.nodes, "texturenets", inputs, outputs, writer.weights)
    rewrite.rewrite(made, known.stride, {} if known.channels else writer.wraps)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="texturenets"
    )
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {**(metadata or {}), "facts": known.to_json()})
    onnx.checker.check_model(model, full_check=True)
    return model, known


def _names(known: Facts) -> list[str]:
    return (["photo"] if known.channels else []) + [f"noise{i}" for i in range(len(known.noise))]
