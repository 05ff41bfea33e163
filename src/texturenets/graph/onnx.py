"""A graph as an ONNX model of any batch, height and width. No torch.

Each operation has one entry in a table, which writes it through `onnx_writer`. Instance normalization stays one
operation, whose mean and variance every runtime computes in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from google.protobuf.message import Message

from texturenets.graph import Graph, Node
from texturenets.graph import onnx_messages as messages
from texturenets.graph.onnx_messages import FLOAT
from texturenets.graph.onnx_writer import LONGEST, ONNXMap, ONNXWriter
from texturenets.graph.passes import optimize
from texturenets.graph.stage import PICTURE, Stage

OPSET: Final = 17
"""The opset; supported by every ONNX Runtime since 1.12, also in browsers."""
IR_VERSION: Final = 8
"""The version of the file format for that opset."""

_TYPES: Final = {
    "float32": FLOAT,
    "float16": messages.FLOAT16,
    "bfloat16": messages.BFLOAT16,
}


class _Translation:
    """Walks a graph; `maps`: the feature map of each node."""

    def __init__(self, graph: Graph, split: bool, stage: Stage | None = None) -> None:
        self.graph, self.split, self.stage = graph, split, stage
        self.writer = ONNXWriter()
        self.maps: list[ONNXMap] = []
        self.channels_first: dict[int, ONNXMap] = {}
        self.inputs: dict[str, Message] = {}
        self.where: dict[int, list[str]] = {}
        """For a max pooling whose indices an unpooling needs: its four masks (`ONNXWriter.pool_with_places`)."""
        self.unpooled = {node.sources[1] for node in graph.nodes if node.operation == "unpool"}
        # Without a bound on the input's size OpenVINO (2026.4) infers 2^63 - 2 as the side of a feature map after
        # space-to-depth, and circular padding then overflows; so it does after the slices of a pooling with masks.
        kinds = {node.operation for node in graph.nodes}
        wraps = any(node.settings.get("mode") == "circular" for node in graph.nodes)
        self.bounded = wraps and not kinds.isdisjoint(("unshuffle", "unpool")) and stage is None

    def run(self) -> None:
        """Write every node."""
        for number, node in enumerate(self.graph.nodes):
            sources = self._sources(node)
            if not node.sources:
                output = self._input(node)
            elif node.operation == "unpool":
                output = self.writer.unpool(sources[0], self.where[node.sources[1]])
            elif number in self.unpooled:
                output, self.where[number] = self.writer.pool_with_masks(sources[0])
            else:
                output = _TABLE[node.operation](self, number, node, *sources)
                output = replace(output, channels_last=any(x.channels_last for x in sources))
            self.maps.append(output)

    def _sources(self, node: Node) -> list[ONNXMap]:
        """The inputs of `node`: channels last if all of them are and the operation is elementwise, else channels
        first.

        OpenVINO then passes a feature map from a stage's input through normalization to a convolution without a copy.
        """
        sources = [self.maps[source] for source in node.sources]
        if node.operation in _ELEMENTWISE and all(x.channels_last for x in sources):
            return sources
        for source, x in zip(node.sources, sources, strict=True):
            if source not in self.channels_first:
                self.channels_first[source] = self.writer.channels_first(x)
        return [self.channels_first[source] for source in node.sources]

    def _input(self, node: Node) -> ONNXMap:
        symbolic_size = f"height/{node.scale.denominator}", f"width/{node.scale.denominator}"
        if node.operation == "photo":
            name, symbolic_size = "photo", ("height", "width")
        elif node.operation == "noise":
            before = self.graph.nodes[: len(self.maps)]
            name = f"noise{sum(earlier.operation == 'noise' for earlier in before)}"
        else:
            name = node.settings["name"]
        if self.stage is not None:
            return self._input_of(self.stage, node, name)
        size: tuple[Any, Any] = symbolic_size if node.scale else (node.extra_rows, node.extra_columns)
        shape = ["batch", node.channels, *size]
        self.inputs[name] = messages.value_info(name, FLOAT, shape)
        w = self.writer
        source = w.slice(name, [2, 3], [0, 0], [LONGEST] * 2) if self.bounded and node.scale else name
        if node.operation == "photo" and self.split:
            return w.split(source)
        return w.linear(ONNXMap(source), node.settings.get("scale", 1.0), 0.0)

    def _input_of(self, stage: Stage, node: Node, name: str) -> ONNXMap:
        """An input of a stage."""
        if name not in stage.spooled:
            size = [1, node.channels, node.extra_rows, node.extra_columns]
            self.inputs[name] = messages.value_info(name, FLOAT, size)
            return self.writer.split(name) if name in stage.exact and self.split else ONNXMap(name)
        kind, size = _TYPES[stage.type], [1, node.extra_rows, node.extra_columns, node.channels]
        self.inputs[name] = messages.value_info(name, kind, size)
        name = name if kind == FLOAT else self.writer.node("Cast", name, to=FLOAT)
        return ONNXMap(name, channels_last=True)

    def weights(self, number: int) -> dict[str, Any]:
        """The weights of a node, by role."""
        return self.graph.node_weights(number)

    def per_channel(self, number: int, role: str, x: ONNXMap) -> str | None:
        """The name of a weight for each channel of `x`; None if the node has none."""
        value = self.graph.weight(number, role)
        if value is None:
            return None
        return self.writer.constant(value if x.channels_last else value[:, None, None])


Translate = Callable[..., ONNXMap]


def _unary(kind: str) -> Translate:
    """An elementwise operation; it keeps the order of the channels."""
    return lambda t, number, node, x: ONNXMap(t.writer.node(kind, t.writer.merged(x).name), x.order)


def _with(kind: str, **settings: str) -> Translate:
    """As `_unary`, with ONNX attributes, each taken from a setting of the node."""

    def translate(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
        attributes = {key: node.settings[name] for key, name in settings.items()}
        return ONNXMap(t.writer.node(kind, t.writer.merged(x).name, **attributes), x.order)

    return translate


def _joined(kind: str) -> Translate:
    def translate(t: _Translation, number: int, node: Node, *maps: ONNXMap) -> ONNXMap:
        name, *others = map(t.writer.plain, maps)
        for other in others:
            name = t.writer.node(kind, name, other)
        return ONNXMap(name)

    return translate


def _norm(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    weights = t.weights(number)
    weight, bias = (
        weights.get(role, np.full(node.channels, value, np.float32))
        for role, value in (("weight", 1), ("bias", 0))
    )
    if not node.settings["groups"]:
        return t.writer.instance_norm(x, weight, bias, node.settings["eps"])
    normed = t.writer.grouped(x, node.settings["groups"], node.settings["eps"])
    scaled = t.writer.node("Mul", normed.name, t.writer.constant(weight[:, None, None]))
    return ONNXMap(t.writer.node("Add", scaled, t.writer.constant(bias[:, None, None])))


def _batch_norm(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    weights = t.weights(number)
    given = [weights.get("weight", np.ones(node.channels)), weights.get("bias", np.zeros(node.channels))]
    parts = [t.writer.constant(value) for value in (*given, weights["mean"], weights["var"])]
    return ONNXMap(
        t.writer.node("BatchNormalization", t.writer.plain(x), *parts, epsilon=node.settings["eps"])
    )


def _affine(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    name = t.writer.plain(x)
    for kind, role in (("Mul", "weight"), ("Add", "bias")):
        value = t.per_channel(number, role, x)
        name = name if value is None else t.writer.node(kind, name, value)
    return ONNXMap(name)


def _prelu(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    slope = t.per_channel(number, "weight", x)
    assert slope is not None
    return ONNXMap(t.writer.node("PRelu", t.writer.plain(x), slope))


def _silu(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    name = t.writer.merged(x).name
    return ONNXMap(t.writer.node("Mul", name, t.writer.node("Sigmoid", name)), x.order)


def _gelu(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    w = t.writer
    name = w.merged(x).name
    if node.settings["approximate"] == "none":
        share = w.node("Erf", w.node("Mul", name, w.constant(0.5**0.5)))
    else:  # arXiv 1606.08415, section 2
        cubed = w.node("Mul", w.node("Mul", name, name), w.node("Mul", name, w.constant(0.044715)))
        share = w.node("Tanh", w.node("Mul", w.node("Add", name, cubed), w.constant((2 / np.pi) ** 0.5)))
    half = w.node("Mul", name, w.constant(0.5))
    return ONNXMap(w.node("Mul", half, w.node("Add", share, w.constant(1.0))), x.order)


def _clamp(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    bounds = [t.writer.constant(node.settings[key]) for key in ("low", "high")]
    return ONNXMap(t.writer.node("Clip", t.writer.merged(x).name, *bounds), x.order)


def _pool(kind: str) -> Translate:
    def translate(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
        step = node.settings["stride"]
        sizes = {"kernel_shape": list(node.settings["kernel"]), "strides": [step, step]}
        x = x if kind == "AveragePool" else t.writer.merged(x)
        return x.each(lambda name: t.writer.node(kind, name, **sizes))

    return translate


def _global_pool(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    kind = "GlobalAveragePool" if node.settings["mode"] == "average" else "GlobalMaxPool"
    return ONNXMap(t.writer.node(kind, t.writer.plain(x)))


def _select(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    first, count, step = (node.settings[key] for key in ("first", "count", "step"))
    chosen = range(first, first + count * step, step)
    indices = chosen if x.order is None else [x.order[channel] for channel in chosen]
    return ONNXMap(t.writer.gather(t.writer.merged(x).name, indices))


def _conv(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    weights, s = t.weights(number), node.settings
    return t.writer.convolution(
        x, weights["weight"], weights.get("bias"), s["stride"], s["dilation"], s["groups"]
    )


def _deconv(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    weights, s = t.weights(number), node.settings
    return t.writer.transposed(x, weights["weight"], weights.get("bias"), s["stride"], s["crop"])


def _unshuffle(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    return t.writer.unshuffle(x, node.settings["factor"], node.channels, node.settings["order"])


def _upsample_rows(t: _Translation, number: int, node: Node, x: ONNXMap, matrix: ONNXMap) -> ONNXMap:
    wide = t.writer.resize(t.writer.merged(x), (1, node.settings["factor"]), "bilinear_corners")
    return ONNXMap(t.writer.node("MatMul", t.writer.plain(matrix), t.writer.plain(wide)))


def _shuffle(t: _Translation, number: int, node: Node, x: ONNXMap) -> ONNXMap:
    mode = node.settings["order"]
    return ONNXMap(
        t.writer.node("DepthToSpace", t.writer.plain(x), blocksize=node.settings["factor"], mode=mode)
    )


_ELEMENTWISE: Final = frozenset(
    [
        *("affine", "linear", "clamp", "add", "mul", "div"),
        *("relu", "leaky_relu", "prelu", "elu", "silu", "gelu", "tanh", "sigmoid"),
    ]
)
"""Elementwise operations, which take feature maps of either layout."""

_TABLE: Final[dict[str, Translate]] = {
    "pad": lambda t, number, node, x: t.writer.pad(x, node.settings["amount"], node.settings["mode"]),
    "crop": lambda t, number, node, x: t.writer.crop(x, node.settings["amount"]),
    "conv": _conv,
    "deconv": _deconv,
    "norm": _norm,
    "batch_norm": _batch_norm,
    "affine": _affine,
    "relu": _unary("Relu"),
    "leaky_relu": _with("LeakyRelu", alpha="slope"),
    "prelu": _prelu,
    "elu": _with("Elu", alpha="alpha"),
    "silu": _silu,
    "gelu": _gelu,
    "tanh": _unary("Tanh"),
    "sigmoid": _unary("Sigmoid"),
    "clamp": _clamp,
    "linear": lambda t, number, node, x: t.writer.linear(x, node.settings["by"], node.settings["add"]),
    "add": _joined("Add"),
    "mul": _joined("Mul"),
    "div": _joined("Div"),
    "concat": lambda t, number, node, *maps: t.writer.concat(
        maps, [t.graph.nodes[source].channels for source in node.sources]
    ),
    "select": _select,
    "upsample": lambda t, number, node, x: t.writer.resize(
        x, (node.settings["factor"],) * 2, node.settings["mode"]
    ),
    "avg_pool": _pool("AveragePool"),
    "max_pool": _pool("MaxPool"),
    "global_pool": _global_pool,
    "shuffle": _shuffle,
    "unshuffle": _unshuffle,
    "stack": lambda t, number, node, *maps: ONNXMap(
        t.writer.node("Concat", *(t.writer.plain(x) for x in maps), axis=2)
    ),
    "upsample_rows": _upsample_rows,
}


def to_onnx(
    graph: Graph, metadata: Mapping[str, str] | None = None, *, split: bool = False, apply_passes: bool = True
) -> Message:
    """`graph` as an ONNX model of any batch, height and width.

    Inputs are `photo` (batch, 3, height, width), `noise0`... and the graph's further inputs, in this order; the
    output is `picture`. `split`: a photo becomes two feature maps, for computing in bf16 (see `ONNXWriter.split`).
    `apply_passes`: first optimize the graph (`graph.passes`).

    Raises ConversionError for a transposed convolution that ONNX cannot express.
    """
    translation = _Translation(optimize(graph) if apply_passes else graph, split)
    translation.run()
    writer = translation.writer
    writer.finish(writer.plain(translation.maps[-1]), PICTURE)
    output = messages.value_info(PICTURE, FLOAT, ["batch", graph.nodes[-1].channels, "height", "width"])
    model = _model(translation, graph.io_spec.names, [output])
    messages.set_metadata(model, metadata or {})
    return model


def stage_to_onnx(stage: Stage, *, split: bool = False) -> Message:
    """`stage` as an ONNX model with its inputs and outputs.

    `split`: inputs that must stay exact become two feature maps, for computing in bf16.
    """
    translation = _Translation(stage.graph, split, stage)
    translation.run()
    writer, outputs = translation.writer, []
    for name, number in stage.outputs.items():
        node, x = stage.graph.nodes[number], translation.maps[number]
        size, kind = [1, node.channels, node.extra_rows, node.extra_columns], FLOAT
        output = writer.plain(writer.channels_first(x) if name == PICTURE else x)
        if name != PICTURE:
            size, kind = [1, *size[2:], node.channels], _TYPES[stage.type]
            output = output if x.channels_last else writer.node("Transpose", output, perm=[0, 2, 3, 1])
        if kind != FLOAT:
            output = writer.node("Cast", output, to=kind)
        writer.nodes.append(messages.node("Identity", [output], name, name))
        outputs.append(messages.value_info(name, kind, size))
    return _model(translation, list(translation.inputs), outputs)


def _model(translation: _Translation, names: Sequence[str], outputs: list[Message]) -> Message:
    """The model with inputs in the order of `names`."""
    graph = {
        "node": translation.writer.nodes,
        "name": "texturenets",
        "initializer": translation.writer.weights,
        "input": [translation.inputs[name] for name in names],
        "output": outputs,
    }
    return messages.ModelProto(
        ir_version=IR_VERSION,
        producer_name="texturenets",
        graph=graph,
        opset_import=[{"domain": "", "version": OPSET}],
    )
