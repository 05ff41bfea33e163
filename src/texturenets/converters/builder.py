"""Builds a graph spec and its weights node by node, while a converter walks through the published network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from texturenets.converters.colors import ColorEncoding
from texturenets.errors import UserError
from texturenets.graph import Node, line, parse_node, weight_shapes
from texturenets.graph.grammar import MAX_NODES
from texturenets.networks.graph import GraphSpec

Array = NDArray[Any]

# The largest published style networks have 7 million; a damaged file must not use more memory than this before it is
# detected.
MAX_WEIGHTS: Final = 30_000_000


@dataclass
class GraphBuilder:
    """The lines of a graph so far, their nodes, and the arrays of each by role ("weight", "bias")."""

    lines: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    arrays: dict[int, dict[str, Array]] = field(default_factory=dict)
    count: int = 0
    """Number of elements of all arrays."""

    def add(
        self,
        operation: str,
        sources: Sequence[int] = (),
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> int:
        """Append a node; returns its number. Raises UserError if it does not fit its sources, or its weights do not
        fit or are not finite.
        """
        text = line(operation, sources, **(settings or {}))
        number = len(self.nodes)
        if number >= MAX_NODES:
            raise UserError(f"the network has more than {MAX_NODES} operations")
        node = parse_node(text, self.nodes, unnamed=True)
        arrays = {name: array for name, array in (("weight", weight), ("bias", bias)) if array is not None}
        shapes = weight_shapes(node, self.nodes)
        for name in (*shapes, *(name for name in arrays if name not in shapes)):
            count = arrays[name].size if name in arrays else 0
            if count != (wanted := math.prod(shapes[name]) if name in shapes else 0):
                raise UserError(
                    f"a {operation} layer whose {name} has {count} elements where it takes {wanted}"
                )
            self.count += count
        if self.count > MAX_WEIGHTS:
            raise UserError(f"the network has more than {MAX_WEIGHTS} weights")
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise UserError(f"a {operation} layer whose {name} is not finite: the file is damaged")
        self.lines.append(text)
        self.nodes.append(node)
        if arrays:
            self.arrays[number] = {
                name: np.array(array, np.float32, order="C") for name, array in arrays.items()
            }
        return number

    def channels(self, number: int) -> int:
        """Channels of a node's feature map."""
        return self.nodes[number].channels

    def photo(self, colors: ColorEncoding) -> int:
        """Add the photo, converted to `colors`."""
        return self.recolor(self.add("photo"), colors.inverse())

    def pad(self, source: int, sides: Sequence[int], mode: str) -> int:
        """Add padding by `sides`: top, bottom, left, right; no node if all are 0."""
        if not any(sides):
            return source
        return self.add("pad", [source], settings={"amount": tuple(sides), "mode": mode})

    def conv(
        self, source: int, weight: Array, bias: Array | None = None, *, padding: int = 0, **settings: int
    ) -> int:
        """Convolution with `weight` (out, in / groups, k, k), zero padding; without a bias it gets one of zeros."""
        self._square(weight)
        if weight.shape[1] * settings.get("groups", 1) != self.channels(source):
            raise UserError(
                f"a convolution of {weight.shape[1]} channels is fed with {self.channels(source)}"
            )
        source = self.pad(source, [padding] * 4, "zero")
        out, kernel = weight.shape[0], weight.shape[2]
        bias = np.zeros(out, np.float32) if bias is None else bias
        words = {"out": out, "kernel": kernel, **settings}
        return self.add("conv", [source], weight=weight, bias=bias, settings=words)

    def deconv(
        self, source: int, weight: Array, bias: Array | None, *, stride: int, crop: Sequence[int]
    ) -> int:
        """Transposed convolution with `weight` (in, out, k, k), cropped by top, bottom, left, right."""
        self._square(weight)
        if weight.shape[0] != self.channels(source):
            raise UserError(
                f"a convolution of {weight.shape[0]} channels is fed with {self.channels(source)}"
            )
        if min(crop) < 0:
            raise UserError("a transposed convolution that grows beyond its own size is not supported")
        out = weight.shape[1]
        bias = np.zeros(out, np.float32) if bias is None else bias
        words = {"out": out, "kernel": weight.shape[2], "stride": stride, "crop": tuple(crop)}
        return self.add("deconv", [source], weight=weight, bias=bias, settings=words)

    @staticmethod
    def _square(weight: Array) -> None:
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
            raise UserError(f"a convolution of shape {weight.shape}: only square kernels are supported")

    def norm(self, source: int, weight: Array, bias: Array, eps: float) -> int:
        """Instance normalization."""
        return self.add("norm", [source], weight=weight, bias=bias, settings={"eps": eps})

    def recolor(self, source: int, colors: ColorEncoding) -> int:
        """A feature map of three channels, multiplied and shifted as `colors` says."""
        if not colors.even:
            weight = np.asarray(colors.matrix, np.float32)[:, :, None, None]
            return self.conv(source, weight, np.asarray(colors.shift, np.float32))
        by, add = colors.matrix[0][0], colors.shift[0]
        if (by, add) == (1, 0):
            return source
        return self.add("linear", [source], settings={"by": by, "add": add})

    def finish(self, colors: ColorEncoding) -> None:
        """Convert the last feature map from `colors` to RGB in [0, 1]: in the weights of the last layer if
        that is a convolution."""
        last = len(self.nodes) - 1
        if last < 0 or self.channels(last) != 3:
            raise UserError("the network does not end in three channels, so it draws no images")
        if self.nodes[last].operation != "conv":
            self.recolor(last, colors)
        else:
            self.arrays[last] = recolored(self.arrays[last], colors)

    def spec(self) -> GraphSpec:
        """The spec. Raises UserError if the network does not keep the size of its photo."""
        return GraphSpec(nodes=tuple(self.lines))

    def state(self) -> dict[str, torch.Tensor]:
        """The weights for the generator of `spec`."""
        return {
            f"layers.{number}.{name}": torch.from_numpy(array)
            for number, arrays in self.arrays.items()
            for name, array in arrays.items()
        }


def recolored(conv: Mapping[str, Array], colors: ColorEncoding) -> dict[str, Array]:
    """Weight and bias of a convolution to three channels in `colors`, changed to give RGB in [0, 1]."""
    matrix = np.asarray(colors.matrix, np.float64)
    weight = np.einsum("ij,jkyx->ikyx", matrix, conv["weight"].astype(np.float64))
    bias = matrix @ conv["bias"].astype(np.float64) + np.asarray(colors.shift, np.float64)
    return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
