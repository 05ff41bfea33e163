"""ONNX style networks whose graph is a chain of known layers, with residual sums and concatenations.

Operations are those of onnx.ai/onnx/operators. What a program that exports such a network computes with
shapes and paddings is constant; it is worked out here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.convert.builder import RGB255, Builder, inverse
from texturenets.convert.result import Published
from texturenets.errors import UserError
from texturenets.readers import onnx
from texturenets.readers.onnx import Operation

Array = NDArray[Any]

MAX_CONSTANT: Final = 1 << 16  # numbers in an array that is worked out; weights are only reshaped

_CASTS: Final = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}
_PADS: Final = {"constant": "zero", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _refuse(operation: Operation, why: str) -> UserError:
    return UserError(f"its {operation.kind[:40]} {why}")


class Chain:
    """Turns operations into nodes of `builder`; `values` are node numbers, or arrays where constant."""

    def __init__(self, model: onnx.Model) -> None:
        self.model = model
        self.builder = Builder()
        self.values: dict[str, int | Array] = dict(model.arrays)

    def build(self) -> Builder:
        """All nodes. Raises UserError for an operation that is not known."""
        if len(self.model.inputs) != 1 or len(self.model.outputs) != 1:
            raise UserError(
                f"it has {len(self.model.inputs)} inputs and {len(self.model.outputs)} outputs; "
                "a network of pictures to pictures has one each"
            )
        photo = self.builder.recolour(self.builder.add("photo"), inverse(RGB255))
        self.values[self.model.inputs[0]] = photo
        for operation in self.model.operations:
            if len(operation.outputs) < 1 or not operation.kind:
                raise UserError("an operation without kind or result")
            self.values[operation.outputs[0]] = self._one(operation)
        last = self.values.get(self.model.outputs[0])
        if not isinstance(last, int):
            raise UserError("its result does not depend on the photo")
        if last != len(self.builder.nodes) - 1:
            raise UserError("its last operation is not its result")
        return self.builder

    def _get(self, operation: Operation, i: int) -> int | Array | None:
        if i >= len(operation.inputs) or not operation.inputs[i]:
            return None
        name = operation.inputs[i]
        if name not in self.values:
            raise _refuse(operation, f"takes {name[:40]!r}, which nothing gives")
        return self.values[name]

    def _map(self, operation: Operation, i: int = 0) -> int:
        value = self._get(operation, i)
        if not isinstance(value, int):
            raise _refuse(operation, "takes no map where it needs one")
        return value

    def _array(self, operation: Operation, i: int) -> Array:
        value = self._get(operation, i)
        if not isinstance(value, np.ndarray):
            raise _refuse(operation, "depends on the photo where it has to be constant")
        return value

    def _optional(self, operation: Operation, i: int) -> Array | None:
        return None if self._get(operation, i) is None else self._array(operation, i)

    def _one(self, operation: Operation) -> int | Array:
        if all(isinstance(self._get(operation, i), np.ndarray | None) for i in range(len(operation.inputs))):
            return self._constant(operation)
        if operation.kind not in self._LAYERS:
            raise _refuse(operation, "is not an operation that is known")
        return self._LAYERS[operation.kind](self, operation)

    # Constants

    def _constant(self, operation: Operation) -> Array:
        arrays = [self._array(operation, i) for i in range(len(operation.inputs))]
        if operation.kind not in self._CONSTANTS:
            raise _refuse(operation, "of constants is not known")
        if operation.kind != "Reshape" and sum(a.size for a in arrays) > MAX_CONSTANT:
            raise _refuse(operation, "of constants is too large")
        result = np.asarray(self._CONSTANTS[operation.kind](operation, arrays))
        if operation.kind != "Reshape" and result.size > MAX_CONSTANT and operation.kind != "Constant":
            raise _refuse(operation, "of constants is too large")
        return result

    @staticmethod
    def _value(operation: Operation, _: list[Array]) -> Array:
        for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
            if operation.attributes.get(key) is not None:
                return np.asarray(operation.attributes[key])
        raise _refuse(operation, "has no value")

    @staticmethod
    def _filled(operation: Operation, arrays: list[Array]) -> Array:
        shape = [int(n) for n in arrays[0].reshape(-1)[:9]]
        if len(shape) > 8 or any(n < 0 for n in shape) or np.prod(shape, dtype=object) > MAX_CONSTANT:
            raise _refuse(operation, "is too large")
        value = np.asarray(operation.attributes.get("value", np.zeros(1, np.float32))).reshape(-1)
        return np.full(shape, value[0], value.dtype)

    @staticmethod
    def _slice(operation: Operation, arrays: list[Array]) -> Array:
        data = arrays[0]
        lists = [[int(v) for v in a.reshape(-1)[:8]] for a in arrays[1:]]
        if len(lists) < 2:
            lists = [operation.attributes[key] for key in ("starts", "ends")] + (
                [operation.attributes["axes"]] if "axes" in operation.attributes else []
            )
        starts, ends = lists[0], lists[1]
        axes = lists[2] if len(lists) > 2 else list(range(len(starts)))
        steps = lists[3] if len(lists) > 3 else [1] * len(starts)
        index = [slice(None)] * data.ndim
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            # An end before the first of a reversed list is written as a very negative number.
            index[axis] = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
        return data[tuple(index)]

    _CONSTANTS: Final[dict[str, Callable[[Operation, list[Array]], Array]]] = {
        "Constant": _value,
        "ConstantOfShape": _filled,
        "Slice": _slice,
        "Identity": lambda _, a: a[0],
        "Cast": lambda o, a: a[0].astype(_CASTS[o.attributes.get("to", 1)]),
        "Concat": lambda o, a: np.concatenate(a, o.attributes.get("axis", 0)),
        "Reshape": lambda _, a: a[0].reshape([int(n) for n in a[1].reshape(-1)[:8]]),
        "Transpose": lambda o, a: a[0].transpose(o.attributes.get("perm")),
        "Unsqueeze": lambda o, a: np.expand_dims(a[0], tuple(o.attributes.get("axes") or a[1].tolist())),
        "Squeeze": lambda o, a: a[0].reshape([n for n in a[0].shape if n != 1]),
        "Add": lambda _, a: a[0] + a[1],
        "Sub": lambda _, a: a[0] - a[1],
        "Mul": lambda _, a: a[0] * a[1],
        "Div": lambda _, a: a[0] / a[1],
        "Floor": lambda _, a: np.floor(a[0]),
    }

    # Layers

    def _window(self, operation: Operation, kernel: int) -> tuple[int, int, list[int]]:
        """Stride, dilation and padding (top, left, bottom, right) of a convolution or pooling."""
        attributes = operation.attributes
        strides, dilations = attributes.get("strides") or [1, 1], attributes.get("dilations") or [1, 1]
        pads = attributes.get("pads") or [0, 0, 0, 0]
        if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            raise _refuse(operation, f"has auto_pad {str(attributes['auto_pad'])[:20]}, not supported")
        if len(set(strides)) != 1 or len(set(dilations)) != 1 or len(pads) != 4 or min(pads) < 0:
            raise _refuse(operation, "differs between its two directions, which is not supported")
        if operation.attributes.get("ceil_mode"):
            raise _refuse(operation, "rounds up, which is not supported")
        del kernel
        return strides[0], dilations[0], pads

    def _pad(self, source: int, pads: list[int]) -> int:
        top, left, bottom, right = pads
        if not any(pads):
            return source
        return self.builder.add("pad", [source], amount=(top, bottom, left, right), mode="zero")

    def _conv(self, operation: Operation) -> int:
        weight = self._array(operation, 1)
        if weight.ndim != 4:
            raise _refuse(operation, f"has weights of shape {weight.shape}")
        stride, dilation, pads = self._window(operation, weight.shape[2])
        return self.builder.conv(
            self._pad(self._map(operation), pads),
            weight,
            self._optional(operation, 2),
            stride=stride,
            dilation=dilation,
            groups=operation.attributes.get("group", 1),
        )

    def _deconv(self, operation: Operation) -> int:
        weight = self._array(operation, 1)
        stride, dilation, (top, left, bottom, right) = self._window(operation, 0)
        if dilation != 1 or operation.attributes.get("group", 1) != 1:
            raise _refuse(operation, "has groups or dilation, which is not supported")
        down, across = operation.attributes.get("output_padding") or [0, 0]
        return self.builder.deconv(
            self._map(operation),
            weight,
            self._optional(operation, 2),
            stride=stride,
            crop=(top, bottom - down, left, right - across),
        )

    def _instance_norm(self, operation: Operation) -> int:
        return self.builder.add(
            "norm",
            [self._map(operation)],
            weight=self._array(operation, 1).reshape(-1),
            bias=self._array(operation, 2).reshape(-1),
            eps=operation.attributes.get("epsilon", 1e-5),
        )

    def _batch_norm(self, operation: Operation) -> int:
        scale, shift, mean, variance = (
            self._array(operation, i).reshape(-1).astype(np.float64) for i in range(1, 5)
        )
        scale = scale / np.sqrt(variance + operation.attributes.get("epsilon", 1e-5))
        return self.builder.add("affine", [self._map(operation)], weight=scale, bias=shift - mean * scale)

    def _padding(self, operation: Operation) -> int:
        mode = operation.attributes.get("mode") or "constant"
        pads = operation.attributes.get("pads")
        if pads is None:
            pads = [int(n) for n in self._array(operation, 1).reshape(-1)[:9]]
        if len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)) or min(pads) < 0:
            raise _refuse(operation, "pads something else than height and width")
        constant = self._optional(operation, 2)
        filled = bool(constant is not None and constant.any()) or bool(operation.attributes.get("value"))
        if mode not in _PADS or filled:
            raise _refuse(operation, f"has the mode {mode[:20]} or a value, not supported")
        amount = (pads[2], pads[6], pads[3], pads[7])
        source = self._map(operation)
        return self.builder.add("pad", [source], amount=amount, mode=_PADS[mode]) if any(amount) else source

    def _resize(self, operation: Operation) -> int:
        scales = operation.attributes.get("scales")
        if scales is None:
            # Upsample and the first Resize have the scales second, later ones third
            place = 1 if len(operation.inputs) == 2 else 2
            scales = [float(v) for v in self._array(operation, place).reshape(-1)[:4]]
        mode = operation.attributes.get("mode") or "nearest"
        where = operation.attributes.get("coordinate_transformation_mode") or "half_pixel"
        whole = len(scales) == 4 and scales[:2] == [1, 1] and scales[2] == scales[3] and scales[2] % 1 == 0
        if not whole or scales[2] < 1:
            raise _refuse(operation, f"has the scales {scales}, not a whole number for height and width")
        if scales[2] == 1:
            return self._map(operation)
        names = {"nearest": "nearest", "linear": "bilinear", "bilinear": "bilinear"}
        if mode not in names:
            raise _refuse(operation, f"has the mode {mode[:20]}, not supported")
        name = names[mode]
        if name == "bilinear" and where == "align_corners":
            name = "bilinear_corners"
        elif name == "bilinear" and where not in ("half_pixel", "pytorch_half_pixel"):
            raise _refuse(operation, f"places pixels as {where[:30]}, not supported")
        return self.builder.add("upsample", [self._map(operation)], factor=int(scales[2]), mode=name)

    def _pool(self, operation: Operation) -> int:
        kernels = operation.attributes.get("kernel_shape") or []
        if len(set(kernels)) != 1:
            raise _refuse(operation, "has a window that is not square")
        stride, dilation, pads = self._window(operation, kernels[0])
        if dilation != 1 or (any(pads) and operation.kind == "MaxPool"):
            raise _refuse(operation, "has dilation or padding, which is not supported")
        if any(pads) and not operation.attributes.get("count_include_pad"):
            raise _refuse(operation, "leaves its padding out of the mean, which is not supported")
        kind = "avg_pool" if operation.kind == "AveragePool" else "max_pool"
        source = self._pad(self._map(operation), pads)
        return self.builder.add(kind, [source], kernel=kernels[0], stride=stride)

    def _arithmetic(self, operation: Operation) -> int:
        """Add, Sub, Mul, Div: of two maps, or of a map and a number for all or for each channel."""
        values = [self._get(operation, i) for i in range(2)]
        if all(isinstance(value, int) for value in values):
            if operation.kind not in ("Add", "Mul"):
                raise _refuse(operation, "of two maps is not supported")
            return self.builder.add(operation.kind.lower(), [self._map(operation, i) for i in range(2)])
        place = 0 if isinstance(values[0], int) else 1
        source, number = self._map(operation, place), self._array(operation, 1 - place).astype(np.float64)
        if place == 1 and operation.kind in ("Sub", "Div"):
            raise _refuse(operation, "from a constant is not supported")
        if operation.kind in ("Sub", "Div"):
            number = -number if operation.kind == "Sub" else 1 / number
        multiply = operation.kind in ("Mul", "Div")
        if number.size == 1:
            amount = float(number.reshape(-1)[0])
            return self.builder.add("linear", [source], **{"by" if multiply else "add": amount})  # type: ignore[arg-type]
        channels = self.builder.channels(source)
        if number.size != channels or number.ndim < 3 or number.shape[-3] != channels:
            raise _refuse(operation, f"with a constant of shape {number.shape} is not supported")
        flat = number.reshape(-1)
        ones, zeros = np.ones(channels), np.zeros(channels)
        weight, bias = (flat, zeros) if multiply else (ones, flat)
        return self.builder.add("affine", [source], weight=weight, bias=bias)

    def _concat(self, operation: Operation) -> int:
        if operation.attributes.get("axis") not in (1, -3):
            raise _refuse(operation, "joins something else than channels")
        return self.builder.add("concat", [self._map(operation, i) for i in range(len(operation.inputs))])

    def _shuffle(self, operation: Operation) -> int:
        """Depth to space. In the order "DCR" channels are first sorted as "CRD" has them, by a convolution."""
        source, factor = self._map(operation), operation.attributes.get("blocksize", 0)
        channels = self.builder.channels(source)
        if not isinstance(factor, int) or factor < 2 or channels % factor**2:
            raise _refuse(operation, f"of {channels} channels by {factor} is not possible")
        if (operation.attributes.get("mode") or "DCR") == "DCR":
            order = np.arange(channels).reshape(factor**2, -1).T.reshape(-1)
            source = self.builder.conv(source, np.eye(channels)[order][:, :, None, None], None)
        return self.builder.add("shuffle", [source], factor=factor)

    def _clip(self, operation: Operation) -> int:
        limits = []
        for i, (key, default) in enumerate((("min", -1e6), ("max", 1e6)), 1):
            given = self._optional(operation, i)
            value = operation.attributes.get(key) if given is None else given.reshape(-1)[0]
            limits.append(float(default if value is None else np.clip(value, -1e6, 1e6)))
        return self.builder.add("clamp", [self._map(operation)], low=limits[0], high=limits[1])

    def _prelu(self, operation: Operation) -> int:
        source, slope = self._map(operation), self._array(operation, 1).reshape(-1)
        if slope.size == 1:
            slope = np.repeat(slope, self.builder.channels(source))
        return self.builder.add("prelu", [source], weight=slope)

    def _simple(self, operation: Operation) -> int:
        source = self._map(operation)
        match operation.kind:
            case "Relu" | "Tanh" | "Sigmoid":
                return self.builder.add(operation.kind.lower(), [source])
            case "LeakyRelu":
                slope = operation.attributes.get("alpha", 0.01)
                return self.builder.add("leaky_relu", [source], slope=slope)
            case "Elu":
                return self.builder.add("elu", [source], alpha=operation.attributes.get("alpha", 1.0))
        return source  # Identity, Dropout

    _LAYERS: Final[dict[str, Callable[[Chain, Operation], int]]] = {
        "Conv": _conv,
        "ConvTranspose": _deconv,
        "InstanceNormalization": _instance_norm,
        "BatchNormalization": _batch_norm,
        "Pad": _padding,
        "Resize": _resize,
        "Upsample": _resize,
        "AveragePool": _pool,
        "MaxPool": _pool,
        "Add": _arithmetic,
        "Sub": _arithmetic,
        "Mul": _arithmetic,
        "Div": _arithmetic,
        "Concat": _concat,
        "DepthToSpace": _shuffle,
        "Clip": _clip,
        "PRelu": _prelu,
        **dict.fromkeys(("Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "Identity", "Dropout"), _simple),
    }


def read(path: Path) -> Published:
    """The network in the `.onnx` file at `path`. Raises UserError, DamagedError and OSError."""
    builder = Chain(onnx.read(path)).build()
    note = "ONNX does not say what its colours are: taken as RGB, 0 to 255, in and out"
    return Published("ONNX", builder, RGB255, [note])
