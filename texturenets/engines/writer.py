"""Layers as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from texturenets import layers
from texturenets.engines.editing import END, Wraps
from texturenets.errors import UserError


@dataclass(frozen=True)
class Map:
    """A map by its name in the graph. `order`: where channel i of the network lies, if not at i.

    `rest`: a second map; the sum of both is meant. The first holds what bf16 can hold without an error, the
    second what is left: see `Writer.split`.
    """

    name: str
    order: tuple[int, ...] | None = None
    rest: str | None = None

    def each(self, operation: Callable[[str], str]) -> Map:
        """The map, or both, after an operation that leaves the channels where they are, and is linear."""
        return Map(operation(self.name), self.order, self.rest and operation(self.rest))


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
        if isinstance(x, Map):
            name = self.merged(x).name
            if x.order is None:
                return name
            return self.node("Gather", name, self.constant(x.order, np.int64), axis=1)
        if isinstance(x, Tensor):
            return self.constant(as_numpy(x))
        return self.constant(x)

    def split(self, name: str) -> Map:
        """A photo as two maps whose sum it is, each exact in bf16 or nearly so.

        bf16 has 8 binary digits: a photo of 8 bits loses the last one or two, and instance normalization makes
        that visible where a photo is flat. Steps of 1/128 fit without an error; what is left is at most 1/256, and
        8 digits of that are enough. The first convolution then takes both, with the same weights.
        """
        steps = self.constant(128.0)
        coarse = self.node("Div", self.node("Round", self.node("Mul", name, steps)), steps)
        return Map(coarse, None, self.node("Sub", name, coarse))

    def merged(self, x: Map) -> Map:
        """`x` as one map."""
        return x if x.rest is None else Map(self.node("Add", x.name, x.rest), x.order)

    def shifted(self, kind: str, a: Any, b: Any) -> Map:
        """The sum or difference of a map and a number, or of two maps."""
        if isinstance(a, Map) and a.rest is not None and isinstance(b, int | float) and abs(b) <= 1:
            return Map(self.node(kind, a.name, self.constant(b)), a.order, a.rest)
        return Map(self.node(kind, self.plain(a), self.plain(b)))

    def slice(
        self, x: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int], step: int = 1
    ) -> str:
        """A part of `x`."""
        parts = [self.constant(v, np.int64) for v in (starts, ends, axes, [step] * len(axes))]
        return self.node("Slice", x, *parts)

    # ---- what layers do ----

    def pad(self, x: Map, amount: int, mode: str) -> Map:
        """`layers.pad`."""
        return self.sides(x, (amount,) * 4, mode)

    def sides(self, x: Map, sides: Sequence[int], mode: str) -> Map:
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

    def crop(self, x: Map, sides: Sequence[int]) -> Map:
        """`sides`, top, bottom, left and right, less."""
        top, bottom, left, right = sides
        if not any(sides):
            return x
        ends = [-bottom or END, -right or END]
        return x.each(lambda name: self.slice(name, [2, 3], [top, left], ends))

    def convolution(self, x: Map, m: nn.Conv2d) -> Map:
        """`nn.Conv2d`."""
        left, right, top, bottom = m._reversed_padding_repeated_twice  # numbers, for padding="same" as well
        zeros = m.padding_mode == "zeros"
        if not zeros:
            x = self.sides(x, (top, bottom, left, right), m.padding_mode)
        weight = as_numpy(m.weight)
        if m.groups == 1:
            source = x.name
            if x.order is not None:
                weight = weight[:, np.argsort(x.order)]
            if x.rest is not None:
                source, weight = self.node("Concat", x.name, x.rest, axis=1), np.concatenate([weight] * 2, 1)
        else:
            source = self.plain(x)
        inputs = [source, self.constant(weight)]
        if m.bias is not None:
            inputs.append(self.constant(as_numpy(m.bias)))
        return Map(
            self.node(
                "Conv",
                *inputs,
                kernel_shape=list(m.kernel_size),
                strides=list(m.stride),
                pads=[top, left, bottom, right] if zeros else [0] * 4,
                dilations=list(m.dilation),
                group=m.groups,
            )
        )

    def transposed(self, x: Map, m: nn.ConvTranspose2d) -> Map:
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
        inputs = [source, self.constant(as_numpy(m.weight))]
        if m.bias is not None:
            inputs.append(self.constant(as_numpy(m.bias)))
        return Map(
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

    def instance_norm(self, x: Map, weight: Tensor, bias: Tensor, eps: float) -> Map:
        """One operation, whose statistics every runtime takes in float32."""
        parts = [self.constant(as_numpy(weight)), self.constant(as_numpy(bias))]
        return Map(self.node("InstanceNormalization", self.plain(x), *parts, epsilon=eps))

    def batch_norm(self, x: Map, m: nn.BatchNorm2d) -> Map:
        """`nn.BatchNorm2d` with its running statistics."""
        known = [m.weight, m.bias, m.running_mean, m.running_var]
        parts = [self.constant(as_numpy(one)) for one in known if one is not None]
        return Map(self.node("BatchNormalization", self.plain(x), *parts, epsilon=m.eps))

    def output(self, x: Map, m: layers.OutputScale, alone: bool) -> Map:
        """`layers.OutputScale`. `alone`: nothing else takes `x`."""
        name, half = self.plain(x), self.constant(0.5)
        if m.kind == "clamped":
            scaled = self.node("Add", self.node("Mul", name, half), half)
            return Map(self.node("Clip", scaled, self.constant(0.0), self.constant(1.0)))
        if m.kind == "bounded":
            return Map(self.node("Add", self.node("Mul", self.node("Tanh", name), half), half))
        mean = np.array(layers.CAFFE_MEAN, np.float32)[:, None, None]
        if not (alone and self._flipped(name)):
            name = self.node("Gather", name, self.constant([2, 1, 0], np.int64), axis=1)
        # In this form runtimes make it part of the convolution, which has its sums in float32.
        scaled = self.node("Mul", name, self.constant(1 / 255))
        return Map(self.node("Add", scaled, self.constant(mean / 255)))

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

    def resize(self, x: Map, factor: float, mode: str, corners: bool) -> Map:
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

    def unshuffle(self, x: Map, factor: int, channels: int) -> Map:
        """`F.pixel_unshuffle`, whose channels are (channel, row, column); here (row, column, channel)."""
        order = tuple(k * channels + c for c in range(channels) for k in range(factor * factor))
        if x.order is not None:
            x = Map(self.plain(x))
        spread = x.each(lambda name: self.node("SpaceToDepth", name, blocksize=factor))
        return Map(spread.name, order, spread.rest)

    def max_pool(self, x: Map) -> tuple[Map, tuple[Map, ...]]:
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
        masks = tuple(Map(self.node("Cast", place, to=TensorProto.FLOAT)) for place in places)
        return Map(self.node("Max", top_row, bottom_row)), masks

    def max_unpool(self, x: Map, where: Sequence[Map]) -> Map:
        """`layers.max_unpool`."""
        name = self.plain(x)
        parts = [self.node("Mul", name, mask.name) for mask in where]
        return Map(self.node("DepthToSpace", self.node("Concat", *parts, axis=1), blocksize=2, mode="DCR"))


def as_numpy(x: Tensor) -> NDArray[Any]:
    """`x` in float32, wherever it lies."""
    array: NDArray[Any] = x.detach().float().cpu().numpy()
    return array
