"""Constant folding for ONNX graphs: exporters compute shapes, paddings and weights from constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import UserError
from texturenets.readers.onnx import ONNXNode

Array = NDArray[Any]

MAX_SIZE: Final = 1 << 16  # most elements of a computed array; weights, which are larger, are only reshaped

_CASTS: Final = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}


def refuse(node: ONNXNode, why: str) -> UserError:
    """The error for an operation that is not supported, or not with its attributes and inputs."""
    return UserError(f"its {node.op_type[:40]} {why}")


def fold(node: ONNXNode, arrays: list[Array]) -> Array:
    """The output of `node` for the constant inputs `arrays`.

    Raises UserError for an unknown operation, invalid inputs and arrays of more than `MAX_SIZE` elements.
    """
    if node.op_type not in _FUNCTIONS:
        raise refuse(node, "of constants is not known")
    views = node.op_type in ("Constant", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose")
    if not views and sum(a.size for a in arrays) > MAX_SIZE:
        raise refuse(node, "of constants is too large")
    try:
        with np.errstate(all="ignore"):
            return np.asarray(_FUNCTIONS[node.op_type](node, arrays))
    except (ValueError, TypeError, IndexError, KeyError, OverflowError):
        raise refuse(node, "of constants cannot be computed") from None


def integers(array: Array, limit: int) -> list[int]:
    """The first `limit` elements of `array`, flattened, as integers."""
    return [int(n) for n in array.reshape(-1)[:limit]]


def _value(node: ONNXNode, _: list[Array]) -> Array:
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if node.attributes.get(key) is not None:
            return np.asarray(node.attributes[key])
    raise refuse(node, "has no value")


def _constant_of_shape(node: ONNXNode, arrays: list[Array]) -> Array:
    shape = integers(arrays[0], 9)
    if len(shape) > 8 or any(n < 0 for n in shape) or np.prod(shape, dtype=object) > MAX_SIZE:
        raise refuse(node, "is too large")
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).reshape(-1)
    return np.full(shape, value[0], value.dtype)


def _slice(node: ONNXNode, arrays: list[Array]) -> Array:
    data = arrays[0]
    lists = [integers(a, 8) for a in arrays[1:]]
    if len(lists) < 2:  # before opset 10 these are attributes
        lists = [node.attributes[key] for key in ("starts", "ends")]
        lists += [node.attributes["axes"]] if "axes" in node.attributes else []
    starts, ends = lists[0], lists[1]
    axes = lists[2] if len(lists) > 2 else list(range(len(starts)))
    steps = lists[3] if len(lists) > 3 else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # With a negative step, an end far below 0 means up to and including the first element.
        index[axis] = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
    return data[tuple(index)]


def _concat(node: ONNXNode, arrays: list[Array]) -> Array:
    return np.concatenate(arrays, node.attributes.get("axis", 0))


def _unsqueeze(node: ONNXNode, arrays: list[Array]) -> Array:
    axes = node.attributes.get("axes") or integers(arrays[1], 8)
    return np.expand_dims(arrays[0], tuple(axes))


_FUNCTIONS: Final[dict[str, Callable[[ONNXNode, list[Array]], Array]]] = {
    "Constant": _value,
    "ConstantOfShape": _constant_of_shape,
    "Slice": _slice,
    "Identity": lambda _, a: a[0],
    "Cast": lambda o, a: a[0].astype(_CASTS[o.attributes.get("to", 1)]),
    "Concat": _concat,
    "Reshape": lambda _, a: a[0].reshape(integers(a[1], 8)),
    "Transpose": lambda o, a: a[0].transpose(o.attributes.get("perm")),
    "Unsqueeze": _unsqueeze,
    "Squeeze": lambda _, a: a[0].reshape([n for n in a[0].shape if n != 1]),
    "Add": lambda _, a: a[0] + a[1],
    "Sub": lambda _, a: a[0] - a[1],
    "Mul": lambda _, a: a[0] * a[1],
    "Div": lambda _, a: a[0] / a[1],
    "Floor": lambda _, a: np.floor(a[0]),
}
