"""The shapes of feature maps in an ONNX model for inputs of a given size. No torch.

For models that `graph.onnx` writes, whose operations `ONNXWriter` adds: convolutions without padding, for instance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf.message import Message

from texturenets.graph.onnx_messages import attributes, to_array

Shape = tuple[int, ...]


@dataclass
class _SizedNode:
    """A node: the shapes of its inputs, their numbers where these are a constant list, and its attributes."""

    shapes: list[Shape]
    numbers: list[list[Any]]
    attributes: dict[str, Any]


def shapes_of(model: Message, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of all tensors of `model`, by name, where its inputs have these shapes."""
    weights = model.graph.initializer
    shapes = dict(inputs) | {tensor.name: tuple(tensor.dims) for tensor in weights}
    lists = {tensor.name: to_array(tensor).tolist() for tensor in weights if len(tensor.dims) == 1}
    for node in model.graph.node:
        operation = _SizedNode(
            [shapes.get(name, ()) for name in node.input],  # "" is an input that is left out
            [lists.get(name, []) for name in node.input],
            attributes(node),
        )
        if node.op_type == "Shape":
            lists[node.output[0]] = list(operation.shapes[0])
        shapes[node.output[0]] = _RULES.get(node.op_type, _elementwise)(operation)
    return shapes


def _elementwise(o: _SizedNode) -> Shape:
    return np.broadcast_shapes(*o.shapes)


def _same(o: _SizedNode) -> Shape:
    return o.shapes[0]


def _window(o: _SizedNode, channels: int) -> Shape:
    settings = zip(
        o.shapes[0][2:],
        o.attributes["kernel_shape"],
        o.attributes["strides"],
        o.attributes.get("dilations", (1, 1)),
        strict=True,
    )
    sides = (
        (side - dilation * (kernel - 1) - 1) // stride + 1 for side, kernel, stride, dilation in settings
    )
    return (o.shapes[0][0], channels, *sides)


def _transposed(o: _SizedNode) -> Shape:
    pads, a = o.attributes["pads"], o.attributes
    settings = zip(o.shapes[0][2:], a["kernel_shape"], a["strides"], pads[:2], pads[2:], strict=True)
    sides = ((side - 1) * stride + kernel - first - last for side, kernel, stride, first, last in settings)
    return (o.shapes[0][0], o.shapes[1][1], *sides)


def _pad(o: _SizedNode) -> Shape:
    pads = o.numbers[1]
    return tuple(side + pads[i] + pads[i + 4] for i, side in enumerate(o.shapes[0]))


def _slice(o: _SizedNode) -> Shape:
    shape = list(o.shapes[0])
    for start, end, axis, step in zip(*o.numbers[1:], strict=True):
        shape[axis] = len(range(shape[axis])[start:end:step])
    return tuple(shape)


def _concat(o: _SizedNode) -> Shape:
    shape, axis = list(o.shapes[0]), o.attributes["axis"]
    shape[axis] = sum(other[axis] for other in o.shapes)
    return tuple(shape)


def _gather(o: _SizedNode) -> Shape:
    batch, _, *sides = o.shapes[0]
    return (batch, *o.shapes[1], *sides)


def _resize(o: _SizedNode) -> Shape:
    return tuple(int(side * scale) for side, scale in zip(o.shapes[0], o.numbers[2], strict=True))


def _depth_to_space(o: _SizedNode) -> Shape:
    batch, channels, *sides = o.shapes[0]
    factor = o.attributes["blocksize"]
    return (batch, channels // factor**2, *(side * factor for side in sides))


def _space_to_depth(o: _SizedNode) -> Shape:
    batch, channels, *sides = o.shapes[0]
    factor = o.attributes["blocksize"]
    return (batch, channels * factor**2, *(side // factor for side in sides))


def _reshape(o: _SizedNode) -> Shape:
    shape = [size or o.shapes[0][axis] for axis, size in enumerate(o.numbers[1])]
    rest = math.prod(o.shapes[0]) // abs(math.prod(shape))
    return tuple(rest if size == -1 else size for size in shape)


_RULES: Final[dict[str, Callable[[_SizedNode], Shape]]] = {
    "Conv": lambda o: _window(o, o.shapes[1][0]),
    "AveragePool": lambda o: _window(o, o.shapes[0][1]),
    "MaxPool": lambda o: _window(o, o.shapes[0][1]),
    "GlobalAveragePool": lambda o: (*o.shapes[0][:2], 1, 1),
    "GlobalMaxPool": lambda o: (*o.shapes[0][:2], 1, 1),
    "ConvTranspose": _transposed,
    "InstanceNormalization": _same,
    "BatchNormalization": _same,
    "Pad": _pad,
    "Slice": _slice,
    "Concat": _concat,
    "Gather": _gather,
    "Resize": _resize,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "MatMul": lambda o: (
        *np.broadcast_shapes(*(shape[:2] for shape in o.shapes)),
        o.shapes[0][2],
        o.shapes[1][3],
    ),
    "Shape": lambda o: (len(o.shapes[0]),),
    "Reshape": _reshape,
}
"""All other operations are elementwise."""
