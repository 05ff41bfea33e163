"""Networks as ONNX graphs: traced without sizes, written operation by operation.

`torch.onnx.export` would do it as well, but it reasons about symbolic sizes: half a minute for networks of these
sizes, minutes where padding wraps around. Here a network is recorded (`texturenets.engines.recording`), and each of
its operations has one entry in a table: what `texturenets.engines.writer` makes of it. Instance normalization stays
one operation.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, fx, nn

from texturenets import layers
from texturenets.engines import rewrite
from texturenets.engines.editing import END
from texturenets.engines.facts import ConversionError, Facts
from texturenets.engines.recording import facts, record, shapes
from texturenets.engines.writer import Map, Writer, as_numpy
from texturenets.errors import UserError
from texturenets.generators import fully_connected
from texturenets.generators import graph as graph_generator

OPSET = 17
"""Read by every ONNX Runtime since 1.12, also that of browsers."""
IR_VERSION = 8
"""The file format that goes with it."""

Translate = Callable[..., Any]


def _unary(kind: str, **attributes: Any) -> Translate:
    """An operation on every number alone: the order of the channels stays."""
    return lambda w, x, **_: Map(w.node(kind, w.merged(x).name, **attributes), x.order)


def _binary(kind: str) -> Translate:
    return lambda w, a, b, **_: Map(w.node(kind, w.plain(a), w.plain(b)))


def _clamp(w: Writer, x: Map, min: Any = None, max: Any = None) -> Map:  # noqa: A002 (torch's names)
    bounds = ["" if v is None else w.constant(v) for v in (min, max)]
    return Map(w.node("Clip", w.merged(x).name, *bounds), x.order)


def _interpolate(  # noqa: PLR0917 (torch's arguments)
    w: Writer,
    x: Map,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Map:
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
    def translate(w: Writer, x: Map, kernel_size: Any, stride: Any = None, padding: Any = 0, **_: Any) -> Map:
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
    return Map(name)


def _torch_pad(w: Writer, x: Map, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Map:
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
    fully_connected.as_vectors: lambda w, x, size: Map(w.node("Flatten", w.plain(x), axis=1)),
    getattr: lambda w, x, name: name,  # a type, for `to`
    operator.getitem: _getitem,
    operator.add: lambda w, a, b: w.shifted("Add", a, b),
    operator.sub: lambda w, a, b: w.shifted("Sub", a, b),
    operator.mul: _binary("Mul"),
    operator.truediv: _binary("Div"),
    torch.add: _binary("Add"),
    torch.mul: _binary("Mul"),
    torch.cat: lambda w, parts, dim=0: Map(w.node("Concat", *map(w.plain, parts), axis=dim)),
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
    F.pixel_shuffle: lambda w, x, factor: Map(
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
    "unflatten": lambda w, x, dim, sizes: Map(
        w.node("Reshape", w.plain(x), w.constant([*[0] * dim, *sizes], np.int64))
    ),
}

MODULES: dict[type[nn.Module], Callable[[Writer, Map, Any], Map]] = {
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
    nn.Linear: lambda w, x, m: Map(
        w.node("Gemm", w.plain(x), w.constant(as_numpy(m.weight)), w.constant(as_numpy(m.bias)), transB=1)
    ),
    nn.ReLU: lambda w, x, m: _unary("Relu")(w, x),
    nn.Tanh: lambda w, x, m: _unary("Tanh")(w, x),
    nn.Sigmoid: lambda w, x, m: _unary("Sigmoid")(w, x),
    nn.LeakyReLU: lambda w, x, m: _unary("LeakyRelu", alpha=m.negative_slope)(w, x),
    nn.ELU: lambda w, x, m: _unary("Elu", alpha=m.alpha)(w, x),
    nn.PReLU: lambda w, x, m: Map(w.node("PRelu", w.plain(x), w.constant(as_numpy(m.weight)[:, None, None]))),
    nn.ReflectionPad2d: lambda w, x, m: _torch_pad(w, x, m.padding, "reflect"),
    nn.ReplicationPad2d: lambda w, x, m: _torch_pad(w, x, m.padding, "replicate"),
    nn.ZeroPad2d: lambda w, x, m: _torch_pad(w, x, m.padding),
    nn.Upsample: lambda w, x, m: _interpolate(w, x, m.size, m.scale_factor, m.mode, m.align_corners),
    nn.PixelShuffle: lambda w, x, m: FUNCTIONS[F.pixel_shuffle](w, x, m.upscale_factor),
    layers.InstanceNorm: lambda w, x, m: w.instance_norm(x, m.weight, m.bias, m.eps),
    graph_generator.Affine: lambda w, x, m: Map(
        w.node(
            "Add",
            w.node("Mul", w.plain(x), w.constant(as_numpy(m.weight)[:, None, None])),
            w.constant(as_numpy(m.bias)[:, None, None]),
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
        self.extra_traceback = False  # messages are read by users

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
        return self.writer.split(target) if self.split and target == "photo" else Map(target)

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

    Shapes(recorded).run(*(torch.zeros(shape) for shape in shapes(known, known.least)))
    return found


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
