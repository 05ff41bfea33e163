"""What a layer, a function or a tensor's method becomes in a graph. Unknown ones are refused by name."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from texturenets import layers
from texturenets.errors import UserError
from texturenets.generators.fully_connected import as_vectors


class Map(int):
    """The number of a node, told from the numbers that a network computes with."""


class Recorder(Protocol):
    """Where nodes go; see `trace._Recorder`."""

    def add(
        self,
        operation: str,
        *sources: int,
        weights: Mapping[str, Tensor | None] | None = None,
        **settings: Any,
    ) -> Map:
        """Add a node; its number."""

    def channels(self, x: Map) -> int:
        """Of a map."""

    def is_point(self, x: Map) -> bool:
        """Whether a map has one pixel."""

    def ratio(self, large: Map, small: Map) -> Any:
        """By how much one map is larger than another at any size of the picture; None where it is not."""


class _Type:
    """The type of a map's numbers: what a map is turned into, to meet another."""

    of_map = True


@dataclass(frozen=True)
class _Where:
    """What `max_pool` gives beside its map, until `max_unpool` takes it: the number of the pool's node."""

    of_map: int


@dataclass(frozen=True)
class _Size:
    """The size of a map, or its height and width alone."""

    of_map: Map
    whole: bool = True


# The arguments of functions and methods, by their names in PyTorch; "/" begins those that change nothing here.
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
_PADS: Final = {
    "constant": "zero", "zeros": "zero", "reflect": "reflect", "replicate": "replicate", "circular": "circular",
}  # fmt: skip


class Calls:
    """Turns calls into nodes of `recorder`."""

    def __init__(self, recorder: Recorder) -> None:
        self.made = recorder
        self.add = recorder.add

    # ---- Layers ----

    def module(self, module: nn.Module, *given: Any, **options: Any) -> Any:  # noqa: PLR0911, PLR0912 (one a kind)
        """What a layer makes of its map. Raises UserError for a layer that has no counterpart."""
        x = given[0] if given else options["input"]
        weights = {name: getattr(module, name, None) for name in ("weight", "bias")}
        match module:
            case nn.Identity() | nn.Dropout() | nn.Dropout2d() | nn.AlphaDropout():
                return x
            case nn.Conv2d():
                settings = (module.stride, module.padding, module.dilation, module.groups)
                return self._conv(x, module.weight, module.bias, *settings, mode=module.padding_mode)
            case nn.ConvTranspose2d():
                settings = (module.stride, module.padding, module.output_padding, module.groups)
                return self._deconv(x, module.weight, module.bias, *settings, module.dilation)
            case nn.Linear():
                return self._linear(x, module.weight, module.bias)
            case layers.InstanceNorm():
                return self.add("norm", x, weights=weights, eps=module.eps)
            case nn.InstanceNorm2d() if not module.track_running_stats:
                return self.add("norm", x, weights=weights, eps=module.eps)
            case nn.GroupNorm():
                return self.add("norm", x, weights=weights, eps=module.eps, groups=module.num_groups)
            case nn.BatchNorm2d() | nn.InstanceNorm2d():
                if module.running_mean is None:
                    raise UserError("a batch normalization that keeps no statistics")
                known = weights | {"mean": module.running_mean, "var": module.running_var}
                return self.add("batch_norm", x, weights=known, eps=module.eps)
            case layers.OutputScale():
                return self._output(module, x)
            case nn.PReLU():
                return self.add("prelu", x, weights={"weight": module.weight})
            case nn.ReLU() | nn.Tanh() | nn.Sigmoid() | nn.SiLU():
                return self.add(type(module).__name__.lower(), x)
            case nn.GELU():
                return self.add("gelu", x, approximate=module.approximate)
            case nn.ReLU6() | nn.Hardtanh():
                return self.add("clamp", x, low=module.min_val, high=module.max_val)
            case nn.LeakyReLU():
                return self.add("leaky_relu", x, slope=module.negative_slope)
            case nn.ELU():
                return self.add("elu", x, alpha=module.alpha)
            case nn.Upsample():
                corners = module.align_corners
                return self._interpolate(x, module.size, module.scale_factor, module.mode, corners)
            case nn.AvgPool2d():
                rest = (module.ceil_mode, module.count_include_pad, module.divisor_override)
                return self._avg_pool2d(x, module.kernel_size, module.stride, module.padding, *rest)
            case nn.MaxPool2d():
                more = (module.padding, module.dilation, module.ceil_mode, module.return_indices)
                return self._max_pool2d(x, module.kernel_size, module.stride, *more)
            case nn.AdaptiveAvgPool2d() | nn.AdaptiveMaxPool2d():
                return self._global(
                    x, "average" if "Avg" in type(module).__name__ else "max", module.output_size
                )
            case nn.PixelShuffle():
                return self.add("shuffle", x, factor=module.upscale_factor)
            case nn.PixelUnshuffle():
                return self.add("unshuffle", x, factor=module.downscale_factor)
            case nn.ReflectionPad2d() | nn.ReplicationPad2d() | nn.ZeroPad2d() | nn.CircularPad2d():
                words = {"Reflection": "reflect", "Replication": "replicate", "Zero": "zero"}
                return self._pad(
                    x, module.padding, words.get(type(module).__name__.removesuffix("Pad2d"), "circular")
                )
            case nn.Flatten():
                return self._flatten(x, module.start_dim, module.end_dim)
        raise UserError(f"the layer {type(module).__name__} is not among those that can be taken")

    def _output(self, module: layers.OutputScale, x: Map) -> Map:
        if module.kind == "bounded":
            return self.add("linear", self.add("tanh", x), by=0.5, add=0.5)
        if module.kind == "clamped":
            return self.add("clamp", self.add("linear", x, by=0.5, add=0.5), low=0, high=1)
        # From BGR, 0..255, minus the mean
        rgb = self.add("linear", self.add("select", x, first=2, count=3, step=-1), by=1 / 255)
        return self.add("affine", rgb, weights={"bias": torch.tensor(layers.CAFFE_MEAN) / 255})

    # ---- Functions and methods ----

    def function(self, function: Any, given: Sequence[Any], options: Mapping[str, Any]) -> Any:  # noqa: PLR0911 (one a kind)
        """What a function, or the method of that name, makes of maps. Raises UserError for an unknown one."""
        if function is layers.pad:
            x, amount, mode = given
            return self._pad(x, (amount,) * 4, mode)
        if function in (layers.channels_last, as_vectors):
            return given[0]
        if function is layers.max_pool:
            pooled = self.add("max_pool", given[0], kernel=2, stride=2)
            return pooled, _Where(pooled)
        if function is layers.max_unpool:
            return self.add("unpool", given[0], given[1].of_map)
        if function is operator.getitem:
            return self._item(*given)
        name = function if isinstance(function, str) else getattr(function, "__name__", str(function))
        if function is getattr:
            name, given = given[1], given[:1]
            if name == "dtype":
                return _Type()
        name = _SAME.get(name, name)
        if name not in _CALLS:
            raise UserError(f"the step {name!r} is not among those that can be taken")
        return self._call(name, given, options)

    def _call(self, name: str, given: Sequence[Any], options: Mapping[str, Any]) -> Any:  # noqa: PLR0911, PLR0912 (one a kind)
        words = [word for word in _CALLS[name].split() if word != "/"]
        if len(given) > len(words) or not set(options) <= set(words):
            raise UserError(f"the step {name!r} with {', '.join(options) or 'these arguments'}")
        known = dict(zip(words, given, strict=False)) | dict(options)
        idle = _CALLS[name].partition("/")[2].split()
        known = {key: value for key, value in known.items() if key not in idle}
        own: Callable[..., Any] | None = getattr(self, f"_{name}", None)
        if own is not None:
            x = known.pop("input", None)
            return own(x, **known) if x is not None else own(**known)
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
                return self._global(x, "average" if "avg" in name else "max", known["output_size"])
            case "mean" | "amax":
                if sorted(n % 4 for n in known.get("dim", ())) != [2, 3]:
                    raise UserError(f"{name!r} other than over height and width")
                return self._global(x, "average" if name == "mean" else "max", 1)
            case "size" | "shape":
                return _Size(x)
            case "dropout" | "dropout2d" if known.get("training", True):
                raise UserError("a dropout that is not only for training")
            case "to" if not isinstance(known.get("type"), _Type | torch.dtype):
                raise UserError(f"the step 'to' with {known.get('type')}")
        return x

    def _clamp(self, x: Map, min: Any = None, max: Any = None) -> Map:  # noqa: A002 (torch's names)
        low, high = (end if value is None else value for value, end in ((min, -1e6), (max, 1e6)))
        return self.add("clamp", x, low=low, high=high)

    # ---- Arithmetic ----

    def _add(self, a: Any, b: Any) -> Map:
        return self._arithmetic("add", a, b)

    def _sub(self, a: Any, b: Any) -> Map:
        return self._arithmetic("sub", a, b)

    def _mul(self, a: Any, b: Any) -> Map:
        return self._arithmetic("mul", a, b)

    def _div(self, a: Any, b: Any) -> Map:
        return self._arithmetic("div", a, b)

    def _neg(self, a: Map) -> Map:
        return self.add("linear", a, by=-1.0)

    def _arithmetic(self, name: str, a: Any, b: Any) -> Map:
        a, b = (
            float(v) if isinstance(v, Tensor) and v.numel() == 1 and not v.requires_grad else v
            for v in (a, b)
        )
        if isinstance(a, Map) and isinstance(b, Map):
            return self.add("add", a, self._neg(b)) if name == "sub" else self.add(name, a, b)
        if isinstance(a, Map) and isinstance(b, int | float):
            by, plus = {"add": (1, b), "sub": (1, -b), "mul": (b, 0), "div": (1 / (b or 1), 0)}[name]
            return self.add("linear", a, by=float(by), add=float(plus))
        if isinstance(a, int | float) and isinstance(b, Map) and name != "div":
            by, plus = {"add": (1, a), "sub": (-1, a), "mul": (a, 0)}[name]
            return self.add("linear", b, by=float(by), add=float(plus))
        if isinstance(a, Map) and isinstance(b, Tensor):
            b = self._by_channel(a, b)
            role, value = {
                "add": ("bias", b), "sub": ("bias", -b), "mul": ("weight", b), "div": ("weight", 1 / b),
            }[name]  # fmt: skip
            return self.add("affine", a, weights={role: value})
        if isinstance(a, Tensor) and isinstance(b, Map) and name != "div":
            return self._arithmetic("add" if name == "sub" else name, self._neg(b) if name == "sub" else b, a)
        raise UserError(f"the step {name!r} of {_said(a)} and {_said(b)}")

    def _by_channel(self, x: Map, value: Tensor) -> Tensor:
        """`value`, of which there has to be one number a channel, or one for all."""
        shape = (1,) * (4 - value.ndim) + tuple(value.shape)
        if shape[0] != 1 or shape[2:] != (1, 1) or shape[1] not in (1, self.made.channels(x)):
            raise UserError(f"a weight of shape {tuple(value.shape)}, other than one number a channel,")
        return value.reshape(-1) if value.ndim != 1 else value

    # ---- Channels ----

    def _cat(self, tensors: Sequence[Map], dim: int = 0) -> Map:
        if dim % 4 != 1:
            raise UserError(f"maps joined along dimension {dim}")
        return self.add("concat", *tensors) if len(tensors) > 1 else tensors[0]

    def _chunk(self, x: Map, chunks: int, dim: int = 0) -> tuple[Map, ...]:
        return self._split(x, -(-self.made.channels(x) // chunks), dim)

    def _split(self, x: Map, size: int | Sequence[int], dim: int = 0) -> tuple[Map, ...]:
        if dim % 4 != 1:
            raise UserError(f"a map split along dimension {dim}")
        count = self.made.channels(x)
        if isinstance(size, int):
            size = [min(size, count - first) for first in range(0, count, size)]
        starts = [sum(size[:i]) for i in range(len(size))]
        return tuple(self._channels(x, range(a, a + n)) for a, n in zip(starts, size, strict=True))

    def _channels(self, x: Map, chosen: range) -> Map:
        if chosen == range(self.made.channels(x)):
            return x
        return self.add("select", x, first=chosen.start, count=len(chosen), step=chosen.step)

    def _item(self, x: Any, key: Any) -> Any:
        if isinstance(x, tuple):
            return x[key]
        if isinstance(x, _Size):
            if key in (slice(2, None), slice(-2, None)):
                return _Size(x.of_map, False)
            raise UserError(f"the size of a map as a number, [{key}],")
        keys = list(key) if isinstance(key, tuple) else [key]
        if keys[-2:] == [None, None] and len(keys) == 4:  # a vector as a map of one pixel, which it is here
            return x
        if not all(isinstance(one, slice) for one in keys) or keys[0] != slice(None):
            raise UserError(f"the step [{key}]")
        parts: list[slice] = [*keys, *[slice(None)] * 3]
        x = self._channels(x, range(self.made.channels(x))[parts[1]])
        (top, bottom, down), (left, right, across) = map(_ends, parts[2:4])
        if top or bottom or left or right:
            x = self.add("crop", x, amount=(top, bottom, left, right))
        if down != across:
            raise UserError("a step that differs between height and width")
        return self.add("max_pool", x, kernel=1, stride=down) if down > 1 else x

    # ---- Vectors: maps of one pixel ----

    def _flatten(self, x: Map, start_dim: int = 0, end_dim: int = -1) -> Map:
        if start_dim != 1 or end_dim not in (-1, 3) or not self.made.is_point(x):
            raise UserError("a map flattened that is larger than one pixel")
        return x

    def _unflatten(self, x: Map, dim: int, sizes: Sequence[int]) -> Map:
        if dim != 1 or len(sizes) != 3 or sizes[1] != sizes[2] or not self.made.is_point(x):
            raise UserError(f"unflattening to {tuple(sizes)}")
        return self.add("shuffle", x, factor=sizes[1]) if sizes[1] > 1 else x

    def _linear(self, x: Map, weight: Tensor, bias: Tensor | None = None) -> Map:
        if not self.made.is_point(x):
            raise UserError("a fully connected layer over a map of more than one pixel")
        return self.add("conv", x, weights={"weight": weight, "bias": bias}, out=weight.shape[0], kernel=1)

    # ---- Borders, sizes and convolutions ----

    def _pad(self, x: Map, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Map:
        if len(pad) != 4 or value:
            raise UserError("padding of other than height and width, or with other than zeros")
        left, right, top, bottom = pad
        cut = [max(0, -side) for side in (top, bottom, left, right)]
        if any(cut):
            x = self.add("crop", x, amount=cut)
        sides = [max(0, side) for side in (top, bottom, left, right)]
        return self.add("pad", x, amount=sides, mode=_PADS.get(mode, mode)) if any(sides) else x

    def _interpolate(  # noqa: PLR0917 (torch's arguments)
        self, x: Map, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
        align_corners: Any = None, antialias: bool = False,
    ) -> Map:  # fmt: skip
        factor: Any = None if scale_factor is None else _one(scale_factor, "factor")
        if isinstance(size, _Size) and not size.whole:
            factor = self.made.ratio(size.of_map, x)
        if factor is None or factor != int(factor) or mode not in ("nearest", "bilinear") or antialias:
            raise UserError(f"interpolation {mode!r} to {scale_factor or size}")
        word = "bilinear_corners" if align_corners and mode == "bilinear" else mode
        return self.add("upsample", x, factor=int(factor), mode=word) if factor > 1 else x

    def _avg_pool2d(  # noqa: PLR0917 (torch's arguments)
        self,
        x: Map,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Map:
        padded = any(_two(padding))
        if ceil_mode or divisor_override or (padded and not count_include_pad):
            raise UserError(
                "an average pooling with ceil_mode, divisor_override or without count_include_pad"
            )
        x = self._around(x, padding, "zero")
        return self.add("avg_pool", x, kernel=kernel_size, stride=_one(stride or kernel_size, "stride"))

    def _max_pool2d(  # noqa: PLR0917 (torch's arguments)
        self,
        x: Map,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Map:
        if ceil_mode or return_indices or _one(dilation, "dilation") != 1:
            raise UserError("a max pooling with ceil_mode, return_indices or dilation")
        x = self._around(x, padding, "lowest")
        return self.add("max_pool", x, kernel=kernel_size, stride=_one(stride or kernel_size, "stride"))

    def _around(self, x: Map, padding: Any, mode: str) -> Map:
        rows, columns = _two(padding)
        return self.add("pad", x, amount=(rows, rows, columns, columns), mode=mode) if rows or columns else x

    def _global(self, x: Map, mode: str, output_size: Any) -> Map:
        if _one(output_size, "size") != 1:
            raise UserError(f"a pooling to {output_size} pixels")
        return self.add("global_pool", x, mode=mode)

    def _conv2d(  # noqa: PLR0917 (torch's arguments)
        self,
        x: Map,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Map:
        return self._conv(x, weight, bias, stride, padding, dilation, groups)

    def _conv(  # noqa: PLR0917 (torch's arguments)
        self,
        x: Map,
        weight: Tensor,
        bias: Tensor | None,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        mode: str = "zeros",
    ) -> Map:
        out, _, *kernel = weight.shape
        apart = _one(dilation, "dilation")
        if padding == "same":
            total = [apart * (k - 1) for k in kernel]
            sides = [total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2]
        else:
            rows, columns = _two(0 if padding == "valid" else padding)
            sides = [rows, rows, columns, columns]
        if any(sides):
            x = self.add("pad", x, amount=sides, mode=_PADS[mode])
        settings = {"stride": _one(stride, "stride"), "dilation": apart, "groups": groups}
        return self.add(
            "conv", x, weights={"weight": weight, "bias": bias}, out=out, kernel=kernel, **settings
        )

    def _conv_transpose2d(  # noqa: PLR0917 (torch's arguments)
        self,
        x: Map,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Map:
        return self._deconv(x, weight, bias, stride, padding, output_padding, groups, dilation)

    def _deconv(  # noqa: PLR0917 (torch's arguments)
        self,
        x: Map,
        weight: Tensor,
        bias: Tensor | None,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: int,
        dilation: Any,
    ) -> Map:
        (top, left), (down, right) = _two(padding), _two(output_padding)
        if groups != 1 or _one(dilation, "dilation") != 1 or down > top or right > left:
            raise UserError("a transposed convolution with groups, dilation or more padding than it crops")
        _, out, *kernel = weight.shape
        crop = (top, top - down, left, left - right)
        settings = {"stride": _one(stride, "stride"), "crop": crop}
        return self.add(
            "deconv", x, weights={"weight": weight, "bias": bias}, out=out, kernel=kernel, **settings
        )

    # ---- Normalization ----

    def _instance_norm(  # noqa: PLR0917 (torch's arguments)
        self,
        x: Map,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Map:
        if not use_input_stats:
            return self._batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
        return self.add("norm", x, weights={"weight": weight, "bias": bias}, eps=eps)

    def _group_norm(
        self,
        x: Map,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Map:
        return self.add("norm", x, weights={"weight": weight, "bias": bias}, eps=eps, groups=num_groups)

    def _batch_norm(  # noqa: PLR0917 (torch's arguments)
        self,
        x: Map,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Map:
        if training or running_mean is None:
            raise UserError("a batch normalization by the statistics of the batch")
        known = {"weight": weight, "bias": bias, "mean": running_mean, "var": running_var}
        return self.add("batch_norm", x, weights=known, eps=eps)


def _said(value: Any) -> str:
    return (
        "a map"
        if isinstance(value, Map)
        else f"a tensor {tuple(value.shape)}"
        if isinstance(value, Tensor)
        else repr(value)
    )


def _two(value: Any) -> tuple[int, int]:
    """Of height and width."""
    rows, columns = value if isinstance(value, tuple | list) else (value, value)
    return rows, columns


def _one(value: Any, what: str) -> Any:
    """The one number that a setting of two equal ones is."""
    if isinstance(value, tuple | list):
        if len({*value}) != 1:
            raise UserError(f"{what} {tuple(value)} differs between height and width")
        return value[0]
    return value


def _ends(part: slice) -> tuple[int, int, int]:
    """How much a part of a line, such as 2:-2, leaves out at its ends, and its step."""
    start, stop, step = part.start or 0, part.stop or 0, part.step or 1
    if not all(isinstance(v, int) for v in (start, stop, step)) or start < 0 or stop > 0 or step < 1:
        raise UserError(f"the step [{part.start}:{part.stop}:{part.step}]")
    return start, -stop, step
