"""Converts trees of Torch7 modules to graphs.

Module names are those of nn, cudnn and cunn alike. Their computations are documented at github.com/torch/nn, those of
noise, padding and normalization in the Lua files of texture_nets and jcjohnson/fast-neural-style.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.converters.builder import GraphBuilder
from texturenets.converters.colors import ColorEncoding
from texturenets.errors import UserError
from texturenets.readers.torch7 import Tensor, TorchObject

MAX_DEPTH: Final = 100
MAX_MODULES: Final = 20_000

IDENTITY: Final = frozenset(
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
"""Modules that are the identity after training."""

_PADDINGS: Final = {
    "SpatialCircularPadding": "circular",
    "SpatialReflectionPadding": "reflect",
    "SpatialReplicationPadding": "replicate",
    "SpatialZeroPadding": "zero",
}
NOISE: Final = frozenset({"NoiseFill", "GenNoise"})


@dataclass(frozen=True)
class Input:
    """The network's input, or its average over squares of `pooled` pixels; part of it is noise."""

    pooled: int = 1


Value = int | Input | list[Any]
"""A value between modules: a node's number, the network's input, or a table of such values."""


def short(kind: str) -> str:
    """ "nn.ReLU" or "cudnn.ReLU" as "ReLU"."""
    return kind.rpartition(".")[2]


def children(record: TorchObject) -> list[Any]:
    """The modules inside a container, in order."""
    modules = record.get("modules")
    if not isinstance(modules, dict):
        return []
    return [modules[key] for key in sorted(key for key in modules if type(key) is int)]


def walk(record: Any) -> Iterator[TorchObject]:
    """All modules below `record`, repeated ones included. Raises UserError for endless nesting."""
    count = 0
    pending = [(record, 0)]
    while pending:
        module, depth = pending.pop()
        count += 1
        if count > MAX_MODULES or depth > MAX_DEPTH:
            raise UserError("its modules are nested without end")
        if isinstance(module, TorchObject):
            yield module
            pending.extend((child, depth + 1) for child in reversed(children(module)))


# Settings of a module


def _integer(record: TorchObject, key: str, default: int | None = None) -> int:
    value = record.get(key, default)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 30:
        return int(value)
    if type(value) is int:
        return value
    raise UserError(f"{record.kind}: its {key} is {str(value)[:40]!r}, not a whole number")


def _pair(record: TorchObject, first: str, second: str, default: int | None = None) -> int:
    """A setting for both directions, which must be the same."""
    a, b = _integer(record, first, default), _integer(record, second, default)
    if a != b:
        raise UserError(f"{record.kind}: {first} {a} and {second} {b} differ, which is not supported")
    return a


def _real(record: TorchObject, key: str, default: float) -> float:
    value = record.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{record.kind}: its {key} is {str(value)[:40]!r}, not a number")
    return float(value)


def _tensor(record: TorchObject, key: str) -> NDArray[Any] | None:
    value = record.get(key)
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise UserError(f"{record.kind}: its {key} is not a tensor")
    array = value.array()
    return array if array.size else None


def _needed(record: TorchObject, key: str) -> NDArray[Any]:
    array = _tensor(record, key)
    if array is None:
        raise UserError(f"{record.kind}: its {key} is missing")
    return array


class Modules:
    """Converts the tree of modules `tree` to a graph; `build` returns it. `colors_in`: colour encoding of the
    network's input. `own_statistics`: batch normalization uses the statistics of the image itself, as in training,
    not those in the file; its weights may reach beyond their tensor, see `_scales`.
    """

    def __init__(self, tree: TorchObject, *, colors_in: ColorEncoding, own_statistics: bool) -> None:
        self.tree = tree
        self.colors_in = colors_in
        self.own_statistics = own_statistics
        self.builder = GraphBuilder()
        self.overrun = 0
        """Number of normalizations that read weights beyond their own; counted by `build`."""
        self.depth = 0
        self.pools: list[tuple[TorchObject, int]] = []
        self.photos: dict[int, int] = {}
        self.inputs = self._input_channels()

    def _input_channels(self) -> int:
        for module in walk(self.tree):
            if short(module.kind) in ("SpatialConvolution", "SpatialConvolutionMM"):
                return _integer(module, "nInputPlane")
        raise UserError("it has no convolution, so it is not a network that draws")

    def build(self) -> GraphBuilder:
        """Add all nodes. Raises UserError for a module that is unknown or does not fit."""
        number = self._map(self._module(self.tree, Input()))
        if number != len(self.builder.nodes) - 1:
            raise UserError("the network's last module is not what it gives")
        return self.builder

    # Inputs

    def _photo(self, pooled: int) -> int:
        """The photo, averaged over squares of `pooled` pixels."""
        if 1 not in self.photos:
            self.photos[1] = self.builder.photo(self.colors_in)
        if pooled not in self.photos:
            self.photos[pooled] = self._add("avg_pool", self.photos[1], kernel=pooled, stride=pooled)
        return self.photos[pooled]

    def _noise(self, channels: int, pooled: int, distribution: str, scale: float) -> int:
        return self._add("noise", channels=channels, stride=pooled, distribution=distribution, scale=scale)

    def _behind_photo(self, channels: int, pooled: int, scale: float) -> int:
        """`channels` channels of uniform noise, after the photo if the network has three more input channels."""
        photo = self.inputs - channels
        if photo not in (0, 3) or channels < 1:
            raise UserError(f"a network of {self.inputs} channels, {channels} of them noise")
        if not photo:
            return self._noise(channels, pooled, "uniform", scale)
        return self._add("concat", self._photo(pooled), self._noise(channels, pooled, "uniform", scale))

    def _map(self, value: Value) -> int:
        if isinstance(value, Input):
            if self.inputs == 3:
                return self._photo(value.pooled)
            # The branch `diversity` of texture_nets passes the noise to its networks separately from the photo.
            return self._behind_photo(self.inputs - 3, value.pooled, 1.0)
        if isinstance(value, int):
            return value
        raise UserError("a module is fed with several feature maps and takes one")

    def _add(self, operation: str, *sources: int, **settings: Any) -> int:
        return self.builder.add(operation, sources, settings=settings)

    # Modules

    def _module(self, module: Any, value: Value) -> Value:
        if not isinstance(module, TorchObject):
            raise UserError("a container holds something that is not a module")
        name = short(module.kind)
        if name in IDENTITY:
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
                return self._add(operation, self._map(value), **settings)
            if name in self._LAYERS:
                return self._LAYERS[name](self, module, self._map(value))
        finally:
            self.depth -= 1
        raise UserError(f"its module {module.kind[:60]!r} is not known")

    def _sequential(self, module: TorchObject, value: Value) -> Value:
        for child in children(module):
            value = self._module(child, value)
        return value

    def _copies(self, module: TorchObject, value: Value) -> Value:
        """Copies of the network, one for each GPU."""
        copies = children(module)
        return self._module(copies[0], value) if copies else value

    def _concat(self, module: TorchObject, value: Value) -> Value:
        # Batches have the channels in dimension 2, single images in 1.
        if _integer(module, "dimension") not in (1, 2):
            raise UserError("a concatenation of something else than channels")
        return self._join("concat", [self._module(child, value) for child in children(module)])

    def _concat_table(self, module: TorchObject, value: Value) -> Value:
        return [self._module(child, value) for child in children(module)]

    def _parallel_table(self, module: TorchObject, value: Value) -> Value:
        inner = children(module)
        if not isinstance(value, list) or len(value) != len(inner):
            raise UserError("a ParallelTable that is not fed with one feature map for each module")
        return [self._module(child, item) for child, item in zip(inner, value, strict=True)]

    def _join(self, operation: str, value: Value) -> Value:
        if not isinstance(value, list):
            raise UserError("maps are to be joined where there is one")
        maps = [self._map(item) for item in value]
        return maps[0] if len(maps) == 1 else self._add(operation, *maps)

    def _average(self, module: TorchObject, value: Value) -> Value:
        kernel, step = _pair(module, "kW", "kH"), _pair(module, "dW", "dH")
        padding = _pair(module, "padW", "padH", 0)
        if module.get("ceil_mode", False) is True or (
            padding and module.get("count_include_pad", True) is False
        ):
            raise UserError("an average rounded up, or without its padding, is not supported")
        if isinstance(value, Input) and kernel == step and not padding:
            if not 1 <= value.pooled * kernel <= 1024:
                raise UserError(f"an average over {value.pooled * kernel} pixels")
            return Input(value.pooled * kernel)
        source = self.builder.pad(self._map(value), [padding] * 4, "zero")
        return self._add("avg_pool", source, kernel=kernel, stride=step)

    def _noise_fill(self, module: TorchObject, value: Value) -> Value:
        """Replaces the last channels of the network's input by uniform noise."""
        if not isinstance(value, Input):
            raise UserError("noise in the place of channels inside the network is not supported")
        channels = _integer(module, "num_noise_channels")
        return self._behind_photo(channels, value.pooled, _real(module, "mult", 1.0)) if channels else value

    def _gen_noise(self, module: TorchObject, value: Value) -> Value:
        """Only noise, with the module's number of channels. If it has none, as in the first published version:
        uniform noise in all input channels, or in the last three of six."""
        mult = _real(module, "mult", 1.0)
        if module.get("num_planes") is not None:
            channels = _integer(module, "num_planes")
            if isinstance(value, Input):
                return self._noise(channels, value.pooled, "normal", mult)
            scale = self.builder.nodes[self._map(value)].scale
            if scale.numerator != 1:
                raise UserError("noise at more than the image's resolution")
            return self._noise(channels, scale.denominator, "normal", mult)
        if not isinstance(value, Input):
            raise UserError("noise inside the network that does not say how many channels it has")
        return self._behind_photo(self.inputs - 3 if self.inputs > 3 else self.inputs, value.pooled, mult)

    def _padding(self, module: TorchObject, source: int, mode: str) -> Value:
        left = _integer(module, "pad_l")
        sides = [_integer(module, key, left) for key in ("pad_t", "pad_b", "pad_l", "pad_r")]
        if any(sides) and all(side <= 0 for side in sides):
            return self._add("crop", source, amount=tuple(-side for side in sides))
        return self.builder.pad(source, sides, mode)

    def _conv(self, module: TorchObject, source: int) -> Value:
        kernel, out = _pair(module, "kW", "kH"), _integer(module, "nOutputPlane")
        groups, inputs = _integer(module, "groups", 1), _integer(module, "nInputPlane")
        weight = _needed(module, "weight")
        if min(kernel, out, groups, inputs) < 1 or weight.size != out * (inputs // groups) * kernel**2:
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

    def _full_conv(self, module: TorchObject, source: int) -> Value:
        padding, more = _pair(module, "padW", "padH", 0), _pair(module, "adjW", "adjH", 0)
        return self.builder.deconv(
            source,
            _needed(module, "weight"),
            _tensor(module, "bias"),
            stride=_pair(module, "dW", "dH"),
            crop=(padding, padding - more) * 2,
        )

    def _scales(self, module: TorchObject, channels: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Scale and shift of a normalization.

        In the models of texture_nets' first version there are modules made for 8 channels that normalize 16
        to 40. The GPU read beyond their weights, in the storage in which the parameters of all layers follow each
        other, and training adapted to that. Here the same weights are read.
        """
        weight, bias = module.get("weight"), module.get("bias")
        if weight is None and bias is None:
            return np.ones(channels, np.float32), np.zeros(channels, np.float32)
        if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
            raise UserError(f"{module.kind}: its weights are not tensors")
        if weight.shape == bias.shape == (channels,):
            return weight.array(), bias.array()
        if not self.own_statistics:
            raise UserError(f"{module.kind}: weights of shape {weight.shape} for {channels} channels")
        self.overrun += 1
        return weight.onward(channels), bias.onward(channels)

    def _batch_norm(self, module: TorchObject, source: int) -> Value:
        if self.own_statistics:
            return self._instance_norm(module, source)
        channels = self.builder.channels(source)
        weight, bias = self._scales(module, channels)
        mean, eps = _needed(module, "running_mean").astype(np.float64), _real(module, "eps", 1e-5)
        deviation = _tensor(
            module, "running_std"
        )  # files from before the end of 2015: 1 / standard deviation
        if deviation is not None:
            inverted = deviation.astype(np.float64)
        else:
            variance = _needed(module, "running_var").astype(np.float64)
            inverted = 1 / np.sqrt(np.maximum(variance, 0) + max(eps, 1e-12))
        if mean.size != channels or inverted.size != channels:
            raise UserError(f"{module.kind}: statistics of {mean.size} channels for {channels}")
        scale = weight * inverted
        return self.builder.add("affine", [source], weight=scale, bias=bias - mean * scale)

    def _instance_norm(self, module: TorchObject, source: int) -> Value:
        weight, bias = self._scales(module, self.builder.channels(source))
        return self.builder.norm(source, weight, bias, _real(module, "eps", 1e-5))

    def _max_pool(self, module: TorchObject, source: int) -> Value:
        if _pair(module, "padW", "padH", 0) or module.get("ceil_mode", False) is True:
            raise UserError("max pooling with padding or rounded up is not supported")
        kernel, step = _pair(module, "kW", "kH"), _pair(module, "dW", "dH")
        number = self._add("max_pool", source, kernel=kernel, stride=step)
        self.pools.append((module, number))
        return number

    def _unpool(self, module: TorchObject, source: int) -> Value:
        """Puts maxima back to the positions of the pooling that the module refers to. If the file holds a copy of
        that pooling, the last pooling of the same shape is used.
        """
        node = self.builder.nodes[source]
        fits = [
            (pooling is module.get("pooling"), number)
            for pooling, number in self.pools
            if self.builder.channels(number) == node.channels and self.builder.nodes[number].size == node.size
        ]
        if not fits:
            raise UserError("an unpooling without its pooling")
        return self._add("unpool", source, max(fits)[1])

    def _shave(self, module: TorchObject, source: int) -> Value:
        return self._add("crop", source, amount=(_integer(module, "size"),) * 4)

    def _larger(self, module: TorchObject, source: int, mode: str) -> Value:
        factor = _integer(module, "scale_factor")
        return source if factor == 1 else self._add("upsample", source, factor=factor, mode=mode)

    def _shuffle(self, module: TorchObject, source: int) -> Value:
        return self._add("shuffle", source, factor=_integer(module, "upscaleFactor"))

    def _prelu(self, module: TorchObject, source: int) -> Value:
        weight = _needed(module, "weight").reshape(-1)
        if weight.size == 1:
            weight = np.repeat(weight, self.builder.channels(source))
        return self.builder.add("prelu", [source], weight=weight)

    _CONTAINERS: Final[dict[str, Callable[[Modules, TorchObject, Value], Value]]] = {
        "Sequential": _sequential,
        "DataParallelTable": _copies,
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
    _ACTIVATIONS: Final[dict[str, Callable[[TorchObject], tuple[str, dict[str, float]]]]] = {
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
    _LAYERS: Final[dict[str, Callable[[Modules, TorchObject, int], Value]]] = {
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
        "SpatialUpSamplingNearest": lambda self, module, source: self._larger(module, source, "nearest"),
        # Torch7 aligns the corners of the two feature maps.
        "SpatialUpSamplingBilinear": lambda self, m, source: self._larger(m, source, "bilinear_corners"),
        "PixelShuffle": _shuffle,
        "PReLU": _prelu,
    }
