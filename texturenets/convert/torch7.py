"""Trees of Torch7 modules as graphs: texture_nets, all its branches, and jcjohnson/fast-neural-style.

Module names are those of nn, cudnn and cunn alike; what each computes is documented at
github.com/torch/nn and, for noise and padding, in the two programs' own files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.convert.builder import CAFFE, RESNET, Builder, Colours, inverse
from texturenets.convert.result import Published
from texturenets.errors import UserError
from texturenets.readers import torch7
from texturenets.readers.stored import DamagedError
from texturenets.readers.torch7 import Record, Tensor

MAX_DEPTH: Final = 100
MAX_MODULES: Final = 20_000

_IDENTITY: Final = frozenset(
    {
        "Identity",
        "Copy",
        "Contiguous",
        "Dropout",
        "SpatialDropout",
        "TVLoss",
        "TotalVariation",
        "ContentLoss",
        "StyleLoss",
        "TextureLoss",
        "DummyGradOutput",
    }
)
_PADDINGS: Final = {
    "SpatialCircularPadding": "circular",
    "SpatialReflectionPadding": "reflect",
    "SpatialReplicationPadding": "replicate",
    "SpatialZeroPadding": "zero",
}
# Modules that only the first branch of texture_nets has. Its programs never leave training mode, so that its
# networks normalize with the statistics of what they draw.
_FIRST_BRANCH: Final = frozenset({"NoiseFill", "GenNoise", "SpatialCircularPadding"})


@dataclass(frozen=True)
class _Input:
    """What the network is fed with, or its average over squares of `pooled` pixels; part of it is noise."""

    pooled: int = 1


Value = int | _Input | list[Any]


def _short(kind: str) -> str:
    return kind.rpartition(".")[2]


def _children(record: Record) -> list[Any]:
    """The modules inside a container, in order."""
    modules = record.get("modules")
    if not isinstance(modules, dict):
        return []
    return [modules[key] for key in sorted(key for key in modules if type(key) is int)]


def _walk(record: Any) -> Iterator[Record]:
    """All modules below `record`, as often as they come. Raises UserError where there is no end of them."""
    count = 0
    pending = [(record, 0)]
    while pending:
        module, depth = pending.pop()
        count += 1
        if count > MAX_MODULES or depth > MAX_DEPTH:
            raise UserError("its modules are nested without end")
        if isinstance(module, Record):
            yield module
            pending.extend((child, depth + 1) for child in reversed(_children(module)))


def _whole(record: Record, key: str, default: int | None = None) -> int:
    value = record.get(key, default)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 30:
        return int(value)
    if type(value) is int:
        return value
    raise UserError(f"{record.kind}: its {key} is {str(value)[:40]!r}, not a whole number")


def _pair(record: Record, first: str, second: str, default: int | None = None) -> int:
    """A setting that is given for both directions and has to be the same in both."""
    a, b = _whole(record, first, default), _whole(record, second, default)
    if a != b:
        raise UserError(f"{record.kind}: {first} {a} and {second} {b} differ, which is not supported")
    return a


def _real(record: Record, key: str, default: float) -> float:
    value = record.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{record.kind}: its {key} is {str(value)[:40]!r}, not a number")
    return float(value)


def _tensor(record: Record, key: str) -> NDArray[Any] | None:
    value = record.get(key)
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise UserError(f"{record.kind}: its {key} is no tensor")
    array = value.array()
    return array if array.size else None


def _needed(record: Record, key: str) -> NDArray[Any]:
    array = _tensor(record, key)
    if array is None:
        raise UserError(f"{record.kind}: its {key} is missing")
    return array


class Modules:
    """Turns a tree of modules into nodes of `builder`.

    `own_statistics`: batch normalization with the statistics of the picture itself, not those in the file.
    """

    def __init__(self, tree: Record, *, own_statistics: bool, before: Colours | None = None) -> None:
        self.tree = tree
        self.own_statistics = own_statistics
        self.before = before
        self.builder = Builder()
        self.depth = 0
        self.pools: list[tuple[Record, int]] = []
        self.photos: dict[int, int] = {}
        self.input_channels = self._input_channels()
        self.overrun = 0
        """Normalizations that read weights beyond their own."""

    def _input_channels(self) -> int:
        for module in _walk(self.tree):
            if _short(module.kind) in ("SpatialConvolution", "SpatialConvolutionMM"):
                return _whole(module, "nInputPlane")
        raise UserError("it has no convolution, so it is no network that draws")

    def build(self) -> Builder:
        """All nodes. Raises UserError for a module that is not known or does not fit."""
        out = self._module(self.tree, _Input())
        number = self._map(out)
        if number != len(self.builder.nodes) - 1:
            raise UserError("the network's last module is not what it gives")
        return self.builder

    # Values

    def _photo(self, pooled: int) -> int:
        """The photo, averaged over squares of `pooled` pixels."""
        if 1 not in self.photos:
            photo = self.builder.add("photo")
            self.photos[1] = self.builder.recolour(photo, self.before) if self.before else photo
        if pooled not in self.photos:
            self.photos[pooled] = self.builder.add("avg_pool", [self.photos[1]], kernel=pooled, stride=pooled)
        return self.photos[pooled]

    def _map(self, value: Value) -> int:
        if isinstance(value, _Input):
            if self.input_channels != 3:
                raise UserError(f"a network of {self.input_channels} channels that are not a photo's")
            return self._photo(value.pooled)
        if isinstance(value, int):
            return value
        raise UserError("a module is fed with several maps and takes one")

    def _noise(self, channels: int, pooled: int, distribution: str, scale: float) -> int:
        return self.builder.add(
            "noise", channels=channels, stride=pooled, distribution=distribution, scale=scale
        )

    # Modules

    def _module(self, module: Any, value: Value) -> Value:
        if not isinstance(module, Record):
            raise UserError("a container holds something that is no module")
        name = _short(module.kind)
        if name in _IDENTITY:
            return value
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UserError("its modules are nested without end")
        try:
            if name in self._CONTAINERS:
                return self._CONTAINERS[name](self, module, value)
            if name in _PADDINGS:
                return self._padding(module, self._map(value), _PADDINGS[name])
            if name in self._ACTIVATIONS:
                operation, settings = self._ACTIVATIONS[name](module)
                return self.builder.add(operation, [self._map(value)], **settings)
            if name in self._LAYERS:
                return self._LAYERS[name](self, module, self._map(value))
        finally:
            self.depth -= 1
        raise UserError(f"its module {module.kind[:60]!r} is not known")

    def _sequential(self, module: Record, value: Value) -> Value:
        for child in _children(module):
            value = self._module(child, value)
        return value

    def _concat(self, module: Record, value: Value) -> Value:
        # Batches have the channels in dimension 2, single pictures in 1.
        if _whole(module, "dimension") not in (1, 2):
            raise UserError("a concatenation of something else than channels")
        maps = [self._map(self._module(child, value)) for child in _children(module)]
        return self.builder.add("concat", maps)

    def _concat_table(self, module: Record, value: Value) -> Value:
        return [self._module(child, value) for child in _children(module)]

    def _parallel_table(self, module: Record, value: Value) -> Value:
        children = _children(module)
        if not isinstance(value, list) or len(value) != len(children):
            raise UserError("a ParallelTable that is not fed with one map for each module")
        return [self._module(child, one) for child, one in zip(children, value, strict=True)]

    def _join(self, operation: str, value: Value) -> Value:
        if not isinstance(value, list):
            raise UserError("maps are to be joined where there is one")
        return self.builder.add(operation, [self._map(one) for one in value])

    def _average(self, module: Record, value: Value) -> Value:
        kernel = _pair(module, "kW", "kH")
        step, padding = _pair(module, "dW", "dH"), _pair(module, "padW", "padH", 0)
        if isinstance(value, _Input) and kernel == step and not padding:
            if not 1 <= value.pooled * kernel <= 1024:
                raise UserError(f"an average over {value.pooled * kernel} pixels")
            return _Input(value.pooled * kernel)
        source = self._map(value)
        if padding:
            source = self.builder.add("pad", [source], amount=(padding,) * 4, mode="zero")
        return self.builder.add("avg_pool", [source], kernel=kernel, stride=step)

    def _noise_fill(self, module: Record, value: Value) -> Value:
        """Puts uniform noise into the last channels of what the network is fed with."""
        if not isinstance(value, _Input):
            raise UserError("noise in the place of channels inside the network is not supported")
        channels = _whole(module, "num_noise_channels")
        photo = self.input_channels - channels
        if photo not in (0, 3):
            raise UserError(f"a network of {self.input_channels} channels, {channels} of them noise")
        if channels < 1:
            return value
        if photo:
            source = self._photo(value.pooled)
            noise = self._noise(channels, value.pooled, "uniform", _real(module, "mult", 1.0))
            return self.builder.add("concat", [source, noise])
        return self._noise(channels, value.pooled, "uniform", _real(module, "mult", 1.0))

    def _gen_noise(self, module: Record, value: Value) -> Value:
        """Noise alone: of what the module says; or, as published first, uniform, behind the photo if any."""
        mult = _real(module, "mult", 1.0)
        if module.get("num_planes") is not None:
            channels = _whole(module, "num_planes")
            if isinstance(value, _Input):
                return self._noise(channels, value.pooled, "normal", mult)
            scale = self.builder.nodes[self._map(value)].scale
            if scale.numerator != 1:
                raise UserError("noise at more than the picture's resolution")
            return self._noise(channels, scale.denominator, "normal", mult)
        if not isinstance(value, _Input):
            raise UserError("noise inside the network that does not say how many channels it has")
        photo = 3 if self.input_channels > 3 else 0
        noise = [self._noise(self.input_channels - photo, value.pooled, "uniform", mult)]
        return self.builder.add("concat", [self._photo(value.pooled), *noise]) if photo else noise[0]

    def _padding(self, module: Record, source: int, mode: str) -> Value:
        left = _whole(module, "pad_l")
        sides = [_whole(module, key, left) for key in ("pad_t", "pad_b", "pad_l", "pad_r")]
        if not any(sides):
            return source
        if all(side <= 0 for side in sides):
            return self.builder.add("crop", [source], amount=tuple(-side for side in sides))
        return self.builder.add("pad", [source], amount=tuple(sides), mode=mode)

    def _conv(self, module: Record, source: int) -> Value:
        kernel, out = _pair(module, "kW", "kH"), _whole(module, "nOutputPlane")
        groups = _whole(module, "groups", 1)
        inputs = _whole(module, "nInputPlane")
        weight = _needed(module, "weight")
        if min(kernel, out, groups, inputs) < 1 or weight.size != out * inputs // groups * kernel**2:
            raise UserError(f"{module.kind}: its weights do not fit its {inputs} and {out} channels")
        return self.builder.conv(
            source,
            weight.reshape(out, inputs // groups, kernel, kernel),
            _tensor(module, "bias"),
            padding=_pair(module, "padW", "padH", 0),
            stride=_pair(module, "dW", "dH"),
            dilation=_pair(module, "dilationW", "dilationH", 1),
            groups=groups,
        )

    def _full_conv(self, module: Record, source: int) -> Value:
        padding, more = _pair(module, "padW", "padH", 0), _pair(module, "adjW", "adjH", 0)
        crop = (padding, padding - more, padding, padding - more)
        return self.builder.deconv(
            source,
            _needed(module, "weight"),
            _tensor(module, "bias"),
            stride=_pair(module, "dW", "dH"),
            crop=crop,
        )

    def _scales(self, module: Record, channels: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Scale and shift of a normalization, from its place on in the flattened parameters.

        Modules made for 8 channels that normalize 16 to 40 are in published models; the GPU read on behind
        their own weights, in the storage that all parameters share, and training made the best of it.
        """
        weight, bias = module.get("weight"), module.get("bias")
        if weight is None and bias is None:
            return np.ones(channels, np.float32), np.zeros(channels, np.float32)
        if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
            raise UserError(f"{module.kind}: its weights are no tensors")
        if weight.shape != (channels,):
            self.overrun += 1
        return weight.onward(channels), bias.onward(channels)

    def _batch_norm(self, module: Record, source: int) -> Value:
        channels = self.builder.channels(source)
        weight, bias = self._scales(module, channels)
        eps = _real(module, "eps", 1e-5)
        if self.own_statistics:
            return self.builder.add("norm", [source], weight=weight, bias=bias, eps=eps)
        mean = _needed(module, "running_mean")
        deviation = _tensor(module, "running_std")
        if deviation is not None:  # before 2015's end: one over the deviation
            inverted = deviation.astype(np.float64)
        else:
            inverted = 1 / np.sqrt(_needed(module, "running_var").astype(np.float64) + eps)
        if mean.size != channels or inverted.size != channels:
            raise UserError(f"{module.kind}: statistics of {mean.size} channels for {channels}")
        scale = weight * inverted
        return self.builder.add("affine", [source], weight=scale, bias=bias - mean * scale)

    def _instance_norm(self, module: Record, source: int) -> Value:
        weight, bias = self._scales(module, self.builder.channels(source))
        eps = _real(module, "eps", 1e-5)
        return self.builder.add("norm", [source], weight=weight, bias=bias, eps=eps)

    def _max_pool(self, module: Record, source: int) -> Value:
        if _pair(module, "padW", "padH", 0) or module.get("ceil_mode", False) is True:
            raise UserError("max pooling with padding or rounded up is not supported")
        number = self.builder.add(
            "max_pool", [source], kernel=_pair(module, "kW", "kH"), stride=_pair(module, "dW", "dH")
        )
        self.pools.append((module, number))
        return number

    def _unpool(self, module: Record, source: int) -> Value:
        """Puts maxima back where the pooling that the module names found them.

        Where a file holds a copy of that pooling, it is the last one of the same shape.
        """
        named = module.get("pooling")
        node = self.builder.nodes[source]
        fits = [
            (pooling, number)
            for pooling, number in self.pools
            if self.builder.channels(number) == node.channels and self.builder.nodes[number].size == node.size
        ]
        same = [number for pooling, number in fits if pooling is named]
        if not fits:
            raise UserError("an unpooling without its pooling")
        pool = same[-1] if same else fits[-1][1]
        return self.builder.add("unpool", [source, pool])

    def _shave(self, module: Record, source: int) -> Value:
        return self.builder.add("crop", [source], amount=(_whole(module, "size"),) * 4)

    def _nearest(self, module: Record, source: int) -> Value:
        return self.builder.add("upsample", [source], factor=_whole(module, "scale_factor"))

    def _bilinear(self, module: Record, source: int) -> Value:
        factor = _whole(module, "scale_factor")
        return self.builder.add("upsample", [source], factor=factor, mode="bilinear_corners")

    def _shuffle(self, module: Record, source: int) -> Value:
        return self.builder.add("shuffle", [source], factor=_whole(module, "upscaleFactor"))

    def _prelu(self, module: Record, source: int) -> Value:
        weight = _needed(module, "weight").reshape(-1)
        if weight.size == 1:
            weight = np.repeat(weight, self.builder.channels(source))
        return self.builder.add("prelu", [source], weight=weight)

    _CONTAINERS: Final[dict[str, Callable[[Modules, Record, Value], Value]]] = {
        "Sequential": _sequential,
        "Concat": _concat,
        "DepthConcat": _concat,
        "ConcatTable": _concat_table,
        "ParallelTable": _parallel_table,
        "CAddTable": lambda self, _, value: self._join("add", value),
        "CMulTable": lambda self, _, value: self._join("mul", value),
        "JoinTable": lambda self, _, value: self._join("concat", value),
        "SpatialAveragePooling": _average,
        "NoiseFill": _noise_fill,
        "GenNoise": _gen_noise,
    }
    _ACTIVATIONS: Final[dict[str, Callable[[Record], tuple[str, dict[str, float]]]]] = {
        "ReLU": lambda _: ("relu", {}),
        "LeakyReLU": lambda m: ("leaky_relu", {"slope": _real(m, "negval", 0.01)}),
        "ELU": lambda m: ("elu", {"alpha": _real(m, "alpha", 1.0)}),
        "Tanh": lambda _: ("tanh", {}),
        "Sigmoid": lambda _: ("sigmoid", {}),
        "HardTanh": lambda m: (
            "clamp",
            {"low": _real(m, "min_val", -1.0), "high": _real(m, "max_val", 1.0)},
        ),
        "MulConstant": lambda m: ("linear", {"by": _real(m, "constant_scalar", 1.0)}),
        "AddConstant": lambda m: ("linear", {"add": _real(m, "constant_scalar", 0.0)}),
    }
    _LAYERS: Final[dict[str, Callable[[Modules, Record, int], Value]]] = {
        "SpatialConvolution": _conv,
        "SpatialConvolutionMM": _conv,
        "SpatialDilatedConvolution": _conv,
        "SpatialFullConvolution": _full_conv,
        "SpatialBatchNormalization": _batch_norm,
        "BatchNormalization": _batch_norm,
        "InstanceNormalization": _instance_norm,
        "SpatialMaxPooling": _max_pool,
        "SpatialMaxUnpooling": _unpool,
        "ShaveImage": _shave,
        "SpatialUpSamplingNearest": _nearest,
        "SpatialUpSamplingBilinear": _bilinear,
        "PixelShuffle": _shuffle,
        "PReLU": _prelu,
    }


def _found(value: Any) -> tuple[Record, dict[Any, Any]]:
    """The network in what a file holds, and the options beside it."""
    if isinstance(value, Record):
        return value, {}
    if isinstance(value, dict):
        options = value.get("opt")
        for key in ("model", "net", "generator", "G"):
            if isinstance(value.get(key), Record):
                return value[key], options if isinstance(options, dict) else {}
    raise UserError("it holds no network of Torch7 modules")


def read(path: Path) -> Published:
    """The network in the `.t7` file at `path`. Raises UserError, without the file's name, and DamagedError."""
    try:
        tree, options = _found(torch7.read(path))
        names = {_short(module.kind) for module in _walk(tree)}
        notes: list[str] = []
        before: Colours | None = None
        colours = CAFFE
        if options or "TotalVariation" in names or "ShaveImage" in names:
            family = "fast-neural-style"
            # "vgg" where the file does not say, as its program has it
            preprocessing = options.get("preprocessing", "vgg")
            if preprocessing not in ("vgg", "resnet"):
                raise UserError(f"its preprocessing {str(preprocessing)[:40]!r} is not known (vgg, resnet)")
            colours = RESNET if preprocessing == "resnet" else CAFFE
            before = inverse(colours)
        else:
            family = "texture_nets v1" if names & _FIRST_BRANCH else "texture_nets"
        modules = Modules(tree, own_statistics=bool(names & _FIRST_BRANCH), before=before)
        builder = modules.build()
    except RecursionError:
        raise DamagedError("it is nested too deeply") from None
    if modules.overrun:
        notes.append(
            f"{modules.overrun} normalizations have fewer weights than channels; the rest is what follows "
            "them in the parameters, as the GPU read it"
        )
    return Published(family, builder, colours, notes)
