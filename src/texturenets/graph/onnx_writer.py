"""Operations as nodes of an ONNX graph. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from texturenets.graph import ConversionError
from texturenets.graph import onnx_messages as messages

Array = NDArray[Any]

END: Final = 2**31 - 1
"""The end index of a slice up to the end."""

LONGEST: Final = 2**28
"""An upper bound of a side in pixels, for OpenVINO (`_Translation.bounded`): larger than any image, and small enough
that sums of padded sides do not overflow 2^31."""


@dataclass(frozen=True)
class ONNXMap:
    """A feature map by its name in the file. `order`: the index of channel i of the graph, if not i. `rest`: a second
    feature map; the value is the sum of both. The first holds the part that bf16 represents exactly, the second the
    remainder: see `ONNXWriter.split`. `channels_last`: it is (N, H, W, C) in the file.
    """

    name: str
    order: tuple[int, ...] | None = None
    rest: str | None = None
    channels_last: bool = False

    def each(self, operation: Callable[[str], str]) -> ONNXMap:
        """Apply a linear operation that keeps the order of channels to the feature map, or to both."""
        return ONNXMap(operation(self.name), self.order, self.rest and operation(self.rest))


class ONNXWriter:
    """Collects the nodes and weights of one ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[Message] = []
        self.weights: list[Message] = []
        self.count = 0
        self.zeros: dict[str, tuple[str, Sequence[int]]] = {}
        """Names of zero-padded feature maps: the unpadded map's name, and the padding (top, bottom, left, right)."""

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """The name of a tensor that holds `values`."""
        self.count += 1
        name = f"weight.{self.count}"  # with a dot: inputs have names without
        self.weights.append(messages.to_tensor(np.asarray(values, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation `kind` of `inputs`; returns the name of its output."""
        self.count += 1
        name = f"{kind.lower()}.{self.count}"
        self.nodes.append(messages.node(kind, inputs, name, name, **attributes))
        return name

    def finish(self, last: str, name: str) -> None:
        """Make the feature map `last` the output, called `name`."""
        if self.nodes and list(self.nodes[-1].output) == [last]:
            self.nodes[-1].output[0] = name
        else:
            self.nodes.append(messages.node("Identity", [last], name, "output"))

    def plain(self, x: ONNXMap) -> str:
        """The name of a feature map with its channels in order."""
        name = self.merged(x).name
        return name if x.order is None else self.gather(name, x.order)

    def gather(self, name: str, channels: Sequence[int]) -> str:
        """Some channels of a feature map, in this order."""
        return self.node("Gather", name, self.constant(list(channels), np.int64), axis=1)

    def split(self, name: str) -> ONNXMap:
        """A photo as two feature maps whose sum it is, each exact in bf16 or nearly so.

        bf16 has 8 binary digits: a photo of 8 bits loses the last one or two, and instance normalization makes
        that visible where a photo is flat. Steps of 1/128 fit without an error; what is left is at most 1/256, and
        8 digits of that are enough. The first convolution then takes both, with the same weights.
        """
        steps = self.constant(128.0)
        coarse = self.node("Div", self.node("Round", self.node("Mul", name, steps)), steps)
        return ONNXMap(coarse, None, self.node("Sub", name, coarse))

    def merged(self, x: ONNXMap) -> ONNXMap:
        """`x` as one feature map."""
        return x if x.rest is None else ONNXMap(self.node("Add", x.name, x.rest), x.order)

    def channels_first(self, x: ONNXMap) -> ONNXMap:
        """`x` as (N, C, H, W)."""
        return ONNXMap(self.node("Transpose", x.name, perm=[0, 3, 1, 2])) if x.channels_last else x

    def linear(self, x: ONNXMap, by: float, add: float) -> ONNXMap:
        """`x` * `by` + `add`."""
        if x.rest is not None and (by != 1 or abs(add) > 1):  # no longer exact
            x = self.merged(x)
        name = x.name if by == 1 else self.node("Mul", x.name, self.constant(by))
        name = name if add == 0 else self.node("Add", name, self.constant(add))
        return ONNXMap(name, x.order, x.rest)

    def concat(self, maps: Sequence[ONNXMap], channels: Sequence[int]) -> ONNXMap:
        """Feature maps concatenated along channels; `channels`: the number of each."""
        maps = [self.merged(x) for x in maps]
        order: list[int] = []
        for x, count in zip(maps, channels, strict=True):
            first = len(order)
            order += [first + channel for channel in (x.order or range(count))]
        name = self.node("Concat", *(x.name for x in maps), axis=1)
        return ONNXMap(name, None if order == list(range(len(order))) else tuple(order))

    def slice(
        self, x: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int], step: int = 1
    ) -> str:
        """A part of `x`."""
        parts = [self.constant(v, np.int64) for v in (starts, ends, axes, [step] * len(axes))]
        return self.node("Slice", x, *parts)

    # ---- Borders ----

    def pad(self, x: ONNXMap, sides: Sequence[int], mode: str) -> ONNXMap:
        """Pad by `sides`: top, bottom, left, right. Circular padding uses slices: OpenVINO has no circular Pad."""
        top, bottom, left, right = sides
        if not any(sides):
            return x
        if mode == "circular":
            return x.each(lambda name: self._wrapped(name, sides))
        x = self.merged(x) if mode == "lowest" else x
        pads = self.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
        value = [self.constant(-np.inf)] if mode == "lowest" else []
        kind = {"reflect": "reflect", "replicate": "edge"}.get(mode, "constant")
        padded = x.each(lambda name: self.node("Pad", name, pads, *value, mode=kind))
        if mode == "zero" and x.order is None and x.rest is None:
            self.zeros[padded.name] = x.name, sides
        return padded

    def _wrapped(self, name: str, sides: Sequence[int]) -> str:
        top, bottom, left, right = sides
        for axis, before, after in ((2, top, bottom), (3, left, right)):
            parts = [self.slice(name, [axis], [-before], [END])] if before else []
            parts += [name]
            parts += [self.slice(name, [axis], [0], [after])] if after else []
            name = self.node("Concat", *parts, axis=axis) if len(parts) > 1 else name
        return name

    def crop(self, x: ONNXMap, sides: Sequence[int]) -> ONNXMap:
        """Crop by `sides`: top, bottom, left, right."""
        top, bottom, left, right = sides
        if not any(sides):
            return x
        ends = [-bottom or END, -right or END]
        return x.each(lambda name: self.slice(name, [2, 3], [top, left], ends))

    # ---- Convolutions ----

    def convolution(  # noqa: PLR0917 (a layer's settings)
        self, x: ONNXMap, weight: Array, bias: Array | None, stride: int, dilation: int, groups: int
    ) -> ONNXMap:
        """A convolution without padding; its input may have its channels in any order, and may be a split feature
        map."""
        if groups == 1:
            source = x.name
            if x.order is not None:
                weight = weight[:, np.argsort(x.order)]
            if x.rest is not None:
                source, weight = self.node("Concat", x.name, x.rest, axis=1), np.concatenate([weight] * 2, 1)
        else:
            source = self.plain(x)
        inputs = [source, self.constant(weight), *([] if bias is None else [self.constant(bias)])]
        return ONNXMap(
            self.node(
                "Conv",
                *inputs,
                kernel_shape=list(weight.shape[2:]),
                strides=[stride, stride],
                pads=[0] * 4,
                dilations=[dilation, dilation],
                group=groups,
            )
        )

    def transposed(
        self, x: ONNXMap, weight: Array, bias: Array | None, stride: int, sides: Sequence[int]
    ) -> ONNXMap:
        """A transposed convolution, cropped by top, bottom, left and right.

        Zero padding of its input is folded into a smaller crop of its output, because OpenVINO would fuse the Pad
        into the ConvTranspose as if that were a Conv.
        """
        source, crop = self.plain(x), list(sides)
        if source in self.zeros:
            source, around = self.zeros[source]
            crop = [a - stride * b for a, b in zip(crop, around, strict=True)]
            if min(crop) < 0:
                raise ConversionError(
                    "cannot be written as ONNX",
                    "a transposed convolution of a feature map with zeros around it",
                )
        top, bottom, left, right = crop
        inputs = [source, self.constant(weight), *([] if bias is None else [self.constant(bias)])]
        return ONNXMap(
            self.node(
                "ConvTranspose",
                *inputs,
                kernel_shape=list(weight.shape[2:]),
                strides=[stride, stride],
                pads=[top, left, bottom, right],
            )
        )

    # ---- Normalization ----

    def instance_norm(self, x: ONNXMap, weight: Array, bias: Array, eps: float) -> ONNXMap:
        """One operation, whose mean and variance every runtime computes in float32."""
        parts = [self.constant(weight), self.constant(bias)]
        return ONNXMap(self.node("InstanceNormalization", self.plain(x), *parts, epsilon=eps))

    def grouped(self, x: ONNXMap, groups: int, eps: float) -> ONNXMap:
        """Normalization of `groups` groups of channels, each as one long channel."""
        name = self.plain(x)
        rows = self.node("Reshape", name, self.constant([0, groups, -1], np.int64))
        parts = [self.constant(np.full(groups, value)) for value in (1, 0)]
        normed = self.node("InstanceNormalization", rows, *parts, epsilon=eps)
        return ONNXMap(self.node("Reshape", normed, self.node("Shape", name)))

    # ---- Sizes ----

    def resize(self, x: ONNXMap, factors: tuple[int, int], mode: str) -> ONNXMap:
        """Upsample rows and columns by integer factors."""
        coordinates = {"nearest": "asymmetric", "bilinear_corners": "align_corners"}.get(mode, "half_pixel")
        kind = "nearest" if mode == "nearest" else "linear"
        scales = self.constant([1, 1, *factors])
        rounding = {"nearest_mode": "floor"} if kind == "nearest" else {}
        return x.each(
            lambda name: self.node(
                "Resize", name, "", scales, mode=kind, coordinate_transformation_mode=coordinates, **rounding
            )
        )

    def unshuffle(self, x: ONNXMap, factor: int, channels: int, order: str) -> ONNXMap:
        """Space to depth, to `channels` channels. ONNX orders them as (row, column, channel), whatever the
        `order`."""
        if x.order is not None:
            x = ONNXMap(self.plain(x))
        spread = x.each(lambda name: self.node("SpaceToDepth", name, blocksize=factor))
        if order == "DCR":  # (row, column, channel)
            return spread
        inner = channels // factor**2
        positions = tuple(k * inner + c for c in range(inner) for k in range(factor * factor))
        return ONNXMap(spread.name, positions, spread.rest)

    def pool_with_masks(self, x: ONNXMap) -> tuple[ONNXMap, list[str]]:
        """2 x 2 max pooling, and for its indices four masks (1 where that pixel of the window is the maximum)."""
        name = self.plain(x)
        a, b, c, d = (self.slice(name, [2, 3], [i, j], [END, END], 2) for i in (0, 1) for j in (0, 1))
        left_top, left_bottom = self.node("GreaterOrEqual", a, b), self.node("GreaterOrEqual", c, d)
        top_row, bottom_row = self.node("Max", a, b), self.node("Max", c, d)
        top = self.node("GreaterOrEqual", top_row, bottom_row)
        bottom = self.node("Not", top)
        winners = [
            self.node("And", row, side)
            for row, left in ((top, left_top), (bottom, left_bottom))
            for side in (left, self.node("Not", left))
        ]
        masks = [self.node("Cast", winner, to=messages.FLOAT) for winner in winners]
        return ONNXMap(self.node("Max", top_row, bottom_row)), masks

    def unpool(self, x: ONNXMap, masks: Sequence[str]) -> ONNXMap:
        """Max unpooling with these masks, as OpenVINO has no MaxUnpool."""
        name = self.plain(x)
        parts = [self.node("Mul", name, mask) for mask in masks]
        return ONNXMap(
            self.node("DepthToSpace", self.node("Concat", *parts, axis=1), blocksize=2, mode="DCR")
        )
