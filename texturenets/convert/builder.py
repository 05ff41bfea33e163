"""Builds a graph spec and its weights node by node, as a converter walks through the published network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texturenets import nodes
from texturenets.errors import UserError
from texturenets.layers import CAFFE_MEAN
from texturenets.nodes import Node
from texturenets.specs import Graph

Array = NDArray[Any]


@dataclass(frozen=True)
class Colours:
    """How a network's numbers y (3 channels) become RGB in [0, 1]: `matrix` y + `shift`."""

    matrix: tuple[tuple[float, float, float], ...]
    shift: tuple[float, float, float]

    @property
    def plain(self) -> bool:
        """Whether all channels stay in their place and are treated alike."""
        scale = self.matrix[0][0]
        same = all(self.matrix[i][j] == (scale if i == j else 0.0) for i in range(3) for j in range(3))
        return same and len(set(self.shift)) == 1


_RED, _GREEN, _BLUE = CAFFE_MEAN
CAFFE = Colours(((0, 0, 1 / 255), (0, 1 / 255, 0), (1 / 255, 0, 0)), (_RED / 255, _GREEN / 255, _BLUE / 255))
"""BGR, 0..255, minus the mean of the Oxford networks."""
RGB255 = Colours(((1 / 255, 0, 0), (0, 1 / 255, 0), (0, 0, 1 / 255)), (0.0, 0.0, 0.0))
"""RGB, 0..255."""
# Mean and deviation of ImageNet's colours for residual networks, RGB in [0, 1] (fb.resnet.torch)
RESNET_MEAN, RESNET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESNET = Colours(((RESNET_STD[0], 0, 0), (0, RESNET_STD[1], 0), (0, 0, RESNET_STD[2])), RESNET_MEAN)
"""RGB in [0, 1], minus the mean, over the deviation."""


def inverse(colours: Colours) -> Colours:
    """From RGB in [0, 1] to the numbers of which `colours` speaks."""
    back = np.linalg.inv(np.asarray(colours.matrix, np.float64))
    shift = -back @ np.asarray(colours.shift, np.float64)
    matrix = tuple((float(a), float(b), float(c)) for a, b, c in back)
    return Colours(matrix, (float(shift[0]), float(shift[1]), float(shift[2])))


@dataclass
class Builder:
    """The lines of a graph so far, what each of them is, and their weights by name in the state_dict."""

    lines: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)

    def add(
        self,
        operation: str,
        sources: Sequence[int] = (),
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        **settings: Any,
    ) -> int:
        """Append a node; its number. Raises UserError where it does not fit what is there or its weights do
        not fit it."""
        text = nodes.line(operation, sources, **settings)
        if len(self.nodes) >= nodes.MAX_NODES:
            raise UserError(f"the network has more than {nodes.MAX_NODES} operations")
        node = nodes.understand(text, self.nodes)
        count = sum(array.size for array in (weight, bias) if array is not None)
        if count != nodes.weights(node, self.nodes):
            raise UserError(
                f"a {operation} layer with {count} weights where its shape takes "
                f"{nodes.weights(node, self.nodes)}"
            )
        number = len(self.nodes)
        self.lines.append(text)
        self.nodes.append(node)
        for name, array in (("weight", weight), ("bias", bias)):
            if array is not None:
                if not np.isfinite(array).all():
                    raise UserError(f"a {operation} layer whose {name} is not finite: the file is damaged")
                self.weights[f"layers.{number}.{name}"] = np.ascontiguousarray(array, np.float32)
        return number

    def channels(self, number: int) -> int:
        """Channels of a node's map."""
        return self.nodes[number].channels

    def conv(
        self, source: int, weight: Array, bias: Array | None = None, *, padding: int = 0, **settings: Any
    ) -> int:
        """Convolution with `weight` (out, in / groups, k, k), zeros around; without bias it gets one of zeros."""
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
            raise UserError(f"a convolution of shape {weight.shape}: only square kernels are supported")
        if weight.shape[1] * settings.get("groups", 1) != self.channels(source):
            raise UserError(
                f"a convolution of {weight.shape[1]} channels is fed with {self.channels(source)}"
            )
        if padding:
            source = self.add("pad", [source], amount=(padding,) * 4, mode="zero")
        out, kernel = weight.shape[0], weight.shape[2]
        bias = np.zeros(out, np.float32) if bias is None else bias
        return self.add("conv", [source], weight=weight, bias=bias, out=out, kernel=kernel, **settings)

    def deconv(
        self, source: int, weight: Array, bias: Array | None, *, stride: int, crop: Sequence[int]
    ) -> int:
        """Transposed convolution with `weight` (in, out, k, k), cropped by top, bottom, left, right."""
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
            raise UserError(f"a convolution of shape {weight.shape}: only square kernels are supported")
        if weight.shape[0] != self.channels(source):
            raise UserError(
                f"a convolution of {weight.shape[0]} channels is fed with {self.channels(source)}"
            )
        if min(crop) < 0:
            raise UserError("a transposed convolution that grows beyond its own size is not supported")
        out = weight.shape[1]
        bias = np.zeros(out, np.float32) if bias is None else bias
        return self.add(
            "deconv",
            [source],
            weight=weight,
            bias=bias,
            out=out,
            kernel=weight.shape[2],
            stride=stride,
            crop=tuple(crop),
        )

    def recolour(self, source: int, colours: Colours) -> int:
        """A map of three channels, multiplied and shifted as `colours` says."""
        if colours.plain:
            by, add = colours.matrix[0][0], colours.shift[0]
            return source if (by, add) == (1, 0) else self.add("linear", [source], by=by, add=add)
        weight = np.asarray(colours.matrix, np.float32)[:, :, None, None]
        return self.conv(source, weight, np.asarray(colours.shift, np.float32))

    def finish(self, colours: Colours) -> None:
        """Make the last map RGB in [0, 1]: in the weights of the last layer where that is a convolution."""
        last = len(self.nodes) - 1
        if last < 0 or self.nodes[last].channels != 3:
            raise UserError("the network does not end in three channels, so it draws no pictures")
        if self.nodes[last].operation != "conv":
            self.recolour(last, colours)
            return
        matrix, name = np.asarray(colours.matrix, np.float64), f"layers.{last}"
        weight = self.weights[f"{name}.weight"]
        self.weights[f"{name}.weight"] = np.einsum("ij,jkyx->ikyx", matrix, weight).astype(np.float32)
        bias = matrix @ self.weights[f"{name}.bias"] + np.asarray(colours.shift, np.float64)
        self.weights[f"{name}.bias"] = bias.astype(np.float32)

    def spec(self) -> Graph:
        """The spec. Raises UserError where the network does not keep the size of its photo."""
        return Graph(nodes=tuple(self.lines))

    def state(self) -> dict[str, torch.Tensor]:
        """The weights for the generator of `spec`."""
        return {name: torch.from_numpy(array) for name, array in self.weights.items()}
