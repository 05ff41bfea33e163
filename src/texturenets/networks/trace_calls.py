"""Converts functions and methods of tensors to graph nodes. Unknown ones are refused by name."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from texturenets.engines import primitives
from texturenets.errors import UserError
from texturenets.networks.fully_connected import as_vectors
from texturenets.networks.trace_layer_calls import LayerCalls
from texturenets.networks.trace_values import PoolingIndices, TracedDtype, TracedMap, TracedSize

# The arguments of functions and methods, by their names in PyTorch; those after "/" have no effect here.
_CALLS: Final[dict[str, str]] = {
    "relu": "input / inplace",
    "tanh": "input",
    "sigmoid": "input",
    "silu": "input / inplace",
    "gelu": "input approximate",
    "leaky_relu": "input negative_slope / inplace",
    "elu": "input alpha / inplace",
    "prelu": "input weight",
    "relu6": "input / inplace",
    "hardtanh": "input min_val max_val / inplace",
    "clamp": "input min max",
    "dropout": "input p training / inplace",
    "dropout2d": "input p training / inplace",
    "add": "a b",
    "sub": "a b",
    "mul": "a b",
    "div": "a b",
    "neg": "a",
    "cat": "tensors dim",
    "chunk": "input chunks dim",
    "split": "input size dim",
    "pad": "input pad mode value",
    "interpolate": "input size scale_factor mode align_corners antialias / recompute_scale_factor",
    "avg_pool2d": "input kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "max_pool2d": "input kernel_size stride padding dilation ceil_mode return_indices",
    "adaptive_avg_pool2d": "input output_size",
    "adaptive_max_pool2d": "input output_size",
    "mean": "input dim keepdim",
    "amax": "input dim keepdim",
    "pixel_shuffle": "input factor",
    "pixel_unshuffle": "input factor",
    "conv2d": "input weight bias stride padding dilation groups",
    "conv_transpose2d": "input weight bias stride padding output_padding groups dilation",
    "linear": "input weight bias",
    "instance_norm": "input running_mean running_var weight bias use_input_stats momentum eps",
    "group_norm": "input num_groups weight bias eps",
    "batch_norm": "input running_mean running_var weight bias training momentum eps",
    "flatten": "input start_dim end_dim",
    "unflatten": "input dim sizes",
    "contiguous": "input / memory_format",
    "clone": "input / memory_format",
    "detach": "input",
    "float": "input",
    "to": "input type",
    "size": "input",
    "shape": "input",
}
_SAME: Final = {
    "clip": "clamp", "concat": "cat", "truediv": "div", "true_divide": "div", "subtract": "sub", "multiply": "mul",
    "divide": "div", "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "upsample": "interpolate",
    "relu_": "relu", "add_": "add", "sub_": "sub", "mul_": "mul", "div_": "div", "clamp_": "clamp", "negative": "neg",
    "tanh_": "tanh", "sigmoid_": "sigmoid", "leaky_relu_": "leaky_relu",
    "_adaptive_avg_pool2d": "adaptive_avg_pool2d",
}  # fmt: skip
_CHANGING: Final = frozenset(("iadd", "isub", "imul", "itruediv"))


def is_in_place(step: fx.Node, network: nn.Module) -> bool:
    """Whether `step` of the trace of `network` changes its first feature map in place."""
    if step.op == "call_module":
        return bool(getattr(network.get_submodule(str(step.target)), "inplace", False))
    name = str(getattr(step.target, "__name__", step.target))
    if name == "setitem" or name in _CHANGING or (name.endswith("_") and not name.endswith("__")):
        return True
    words = _CALLS.get(_SAME.get(name, name), "").replace("/ ", "").split()
    given = dict(zip(words, step.args, strict=False)) | step.kwargs
    return bool(given.get("inplace", False)) or given.get("out") is not None


class Calls(LayerCalls):
    """Converts calls to nodes."""

    def function(self, function: Any, given: Sequence[Any], options: Mapping[str, Any]) -> Any:  # noqa: PLR0911 (one a kind)
        """Convert a call of a function, or of the method with that name. Raises UserError for an unknown one."""
        if function is primitives.pad:
            x, amount, mode = given
            return self.take_pad(x, (amount,) * 4, mode)
        if function in (primitives.channels_last, as_vectors):
            return given[0]
        if function is primitives.max_pool:
            pooled = self.add("max_pool", given[0], kernel=2, stride=2)
            return pooled, PoolingIndices(pooled)
        if function is primitives.max_unpool:
            return self.add("unpool", given[0], given[1].of_map)
        if function is operator.getitem:
            return self._item(*given)
        name = function if isinstance(function, str) else getattr(function, "__name__", str(function))
        if function is getattr:
            name, given = given[1], given[:1]
            if name == "dtype":
                return TracedDtype()
        name = _SAME.get(name, name)
        if name not in _CALLS:
            raise UserError(f"the step {name!r}")
        return self._call(name, given, options)

    def _call(self, name: str, given: Sequence[Any], options: Mapping[str, Any]) -> Any:  # noqa: PLR0911, PLR0912 (one a kind)
        words = [word for word in _CALLS[name].split() if word != "/"]
        if len(given) > len(words) or not set(options) <= set(words):
            raise UserError(f"the step {name!r} with {', '.join(options) or 'these arguments'}")
        known = dict(zip(words, given, strict=False)) | dict(options)
        idle = _CALLS[name].partition("/")[2].split()
        known = {key: value for key, value in known.items() if key not in idle}
        method: Callable[..., Any] | None = getattr(self, f"take_{name}", None)
        if method is not None:
            x = known.pop("input", None)
            return method(x, **known) if x is not None else method(**known)
        x = known["input"]
        match name:
            case "leaky_relu":
                return self.add(name, x, slope=known.get("negative_slope", 0.01))
            case "elu":
                return self.add(name, x, alpha=known.get("alpha", 1.0))
            case "gelu":
                return self.add(name, x, approximate=known.get("approximate", "none"))
            case "prelu":
                return self.add(name, x, weights={"weight": known["weight"]})
            case "relu" | "tanh" | "sigmoid" | "silu":
                return self.add(name, x)
            case "relu6":
                return self.add("clamp", x, low=0, high=6)
            case "hardtanh":
                return self.add("clamp", x, low=known.get("min_val", -1), high=known.get("max_val", 1))
            case "pixel_shuffle" | "pixel_unshuffle":
                return self.add(name.removeprefix("pixel_"), x, factor=known["factor"])
            case "adaptive_avg_pool2d" | "adaptive_max_pool2d":
                return self.global_pool(x, "average" if "avg" in name else "max", known["output_size"])
            case "mean" | "amax":
                if sorted(n % 4 for n in known.get("dim", ())) != [2, 3]:
                    raise UserError(f"{name!r} other than over height and width")
                return self.global_pool(x, "average" if name == "mean" else "max", 1)
            case "size" | "shape":
                return TracedSize(x)
            case "dropout" | "dropout2d" if known.get("training", True):
                raise UserError("a dropout that is not only for training")
            case "to" if not _keeps_digits(known.get("type")):
                raise UserError(f"the step 'to' with {known.get('type')}")
        return x

    def take_clamp(self, x: TracedMap, min: Any = None, max: Any = None) -> TracedMap:  # noqa: A002 (torch's names)
        low, high = (end if value is None else value for value, end in ((min, -1e6), (max, 1e6)))
        return self.add("clamp", x, low=low, high=high)

    # ---- Arithmetic ----

    def take_add(self, a: Any, b: Any) -> TracedMap:
        return self._arithmetic("add", a, b)

    def take_sub(self, a: Any, b: Any) -> TracedMap:
        return self._arithmetic("sub", a, b)

    def take_mul(self, a: Any, b: Any) -> TracedMap:
        return self._arithmetic("mul", a, b)

    def take_div(self, a: Any, b: Any) -> TracedMap:
        return self._arithmetic("div", a, b)

    def take_neg(self, a: TracedMap) -> TracedMap:
        return self.add("linear", a, by=-1.0)

    def _arithmetic(self, name: str, a: Any, b: Any) -> TracedMap:
        a, b = (
            float(v) if isinstance(v, Tensor) and v.numel() == 1 and not v.requires_grad else v
            for v in (a, b)
        )
        if isinstance(a, TracedMap) and isinstance(b, TracedMap):
            return self.add("add", a, self.take_neg(b)) if name == "sub" else self.add(name, a, b)
        if isinstance(a, TracedMap) and isinstance(b, int | float):
            if name == "div" and b == 0:
                raise UserError("a division by zero")
            by, plus = {"add": (1, b), "sub": (1, -b), "mul": (b, 0), "div": (1 / (b or 1), 0)}[name]
            return self.add("linear", a, by=float(by), add=float(plus))
        if isinstance(a, int | float) and isinstance(b, TracedMap) and name != "div":
            by, plus = {"add": (1, a), "sub": (-1, a), "mul": (a, 0)}[name]
            return self.add("linear", b, by=float(by), add=float(plus))
        if isinstance(a, TracedMap) and isinstance(b, Tensor):
            b = self._by_channel(a, b)
            role, value = {
                "add": ("bias", b), "sub": ("bias", -b), "mul": ("weight", b), "div": ("weight", 1 / b),
            }[name]  # fmt: skip
            return self.add("affine", a, weights={role: value})
        if isinstance(a, Tensor) and isinstance(b, TracedMap) and name != "div":
            return self._arithmetic(
                "add" if name == "sub" else name, self.take_neg(b) if name == "sub" else b, a
            )
        raise UserError(f"the step {name!r} of {_said(a)} and {_said(b)}")

    def _by_channel(self, x: TracedMap, value: Tensor) -> Tensor:
        """`value`, checked to have one number per channel, or one for all."""
        shape = (1,) * (4 - value.ndim) + tuple(value.shape)
        if shape[0] != 1 or shape[2:] != (1, 1) or shape[1] not in (1, self.recorder.channels(x)):
            raise UserError(f"a weight of shape {tuple(value.shape)}, other than one number per channel,")
        return value.reshape(-1) if value.ndim != 1 else value

    # ---- Channels ----

    def take_cat(self, tensors: Sequence[TracedMap], dim: int = 0) -> TracedMap:
        if dim % 4 != 1:
            raise UserError(f"maps joined along dimension {dim}")
        return self.add("concat", *tensors) if len(tensors) > 1 else tensors[0]

    def take_chunk(self, x: TracedMap, chunks: int, dim: int = 0) -> tuple[TracedMap, ...]:
        return self.take_split(x, -(-self.recorder.channels(x) // chunks), dim)

    def take_split(self, x: TracedMap, size: int | Sequence[int], dim: int = 0) -> tuple[TracedMap, ...]:
        if dim % 4 != 1:
            raise UserError(f"a feature map split along dimension {dim}")
        count = self.recorder.channels(x)
        if isinstance(size, int):
            size = [min(size, count - first) for first in range(0, count, size)]
        starts = [sum(size[:i]) for i in range(len(size))]
        return tuple(self._channels(x, range(a, a + n)) for a, n in zip(starts, size, strict=True))

    def _channels(self, x: TracedMap, chosen: range) -> TracedMap:
        if chosen == range(self.recorder.channels(x)):
            return x
        return self.add("select", x, first=chosen.start, count=len(chosen), step=chosen.step)

    def _item(self, x: Any, key: Any) -> Any:
        if isinstance(x, tuple):
            return x[key]
        if isinstance(x, TracedSize):
            if key in (slice(2, None), slice(-2, None)):
                return TracedSize(x.of_map, False)
            raise UserError(f"the size of a feature map as a number, [{key}],")
        keys = list(key) if isinstance(key, tuple) else [key]
        # indexing turns a vector into a feature map of one pixel; here it is one already
        if keys[-2:] == [None, None] and len(keys) == 4:
            return x
        if not all(isinstance(one, slice) for one in keys) or keys[0] != slice(None):
            raise UserError(f"the step [{key}]")
        parts: list[slice] = [*keys, *[slice(None)] * 3]
        x = self._channels(x, range(self.recorder.channels(x))[parts[1]])
        (top, bottom, down), (left, right, across) = map(_ends, parts[2:4])
        if top or bottom or left or right:
            x = self.add("crop", x, amount=(top, bottom, left, right))
        if down != across:
            raise UserError("a step that differs between height and width")
        return self.add("max_pool", x, kernel=1, stride=down) if down > 1 else x

    # ---- Vectors: feature maps of one pixel ----

    def take_flatten(self, x: TracedMap, start_dim: int = 0, end_dim: int = -1) -> TracedMap:
        if start_dim != 1 or end_dim not in (-1, 3) or not self.recorder.has_fixed_size(x):
            raise UserError("a feature map flattened that is larger than one pixel")
        return x

    def take_unflatten(self, x: TracedMap, dim: int, sizes: Sequence[int]) -> TracedMap:
        if dim != 1 or len(sizes) != 3 or sizes[1] != sizes[2] or not self.recorder.has_fixed_size(x):
            raise UserError(f"unflattening to {tuple(sizes)}")
        return self.add("shuffle", x, factor=sizes[1]) if sizes[1] > 1 else x

    def take_linear(self, x: TracedMap, weight: Tensor, bias: Tensor | None = None) -> TracedMap:
        if not self.recorder.has_fixed_size(x):
            raise UserError("a fully connected layer over a feature map of more than one pixel")
        return self.add("conv", x, weights={"weight": weight, "bias": bias}, out=weight.shape[0], kernel=1)


def _keeps_digits(kind: Any) -> bool:
    """Whether a conversion to this type keeps the elements of a feature map, up to rounding."""
    return isinstance(kind, TracedDtype) or (isinstance(kind, torch.dtype) and kind.is_floating_point)


def _said(value: Any) -> str:
    return (
        "a feature map"
        if isinstance(value, TracedMap)
        else f"a tensor {tuple(value.shape)}"
        if isinstance(value, Tensor)
        else repr(value)
    )


def _ends(part: slice) -> tuple[int, int, int]:
    """How much a part of a line, such as 2:-2, leaves out at its ends, and its step."""
    start, stop, step = part.start or 0, part.stop or 0, part.step or 1
    if not all(isinstance(v, int) for v in (start, stop, step)) or start < 0 or stop > 0 or step < 1:
        raise UserError(f"the step [{part.start}:{part.stop}:{part.step}]")
    return start, -stop, step
