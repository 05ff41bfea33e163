"""Convolutions of a map that was doubled by repeating its pixels, as convolutions of the small map.

Convolved 3 x 3, each result sees 2 x 2 different pixels: by squares of results (`texturenets.squares`) it is one
convolution of the small map with four times the channels, and a depth-to-space.

Channels beside the doubled ones that are not doubled (`generators.pyramid.Join`) take part as squares of 2 x 2 pixels
in four times the channels, which costs 16 / 9 of theirs: done where it is less in all. Normalizing a doubled map
is doubling a normalized one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper

from texturenets.engines.editing import END, Editing, Wraps, is_plain, options_of
from texturenets.squares import merged


@dataclass(frozen=True)
class _Part:
    """Some channels of the convolution's input: `name` doubled, or as it is. `norm` is yet to be done to it."""

    name: str
    doubled: bool
    channels: int
    norm: onnx.NodeProto | None = None


class _Kernel3:
    """A 3 x 3 convolution, what it sees, and how that is continued beyond its edges."""

    def __init__(self, edit: Editing, wraps: Wraps, conv: onnx.NodeProto) -> None:
        self.edit, self.conv = edit, conv
        self.weight = edit.weights[conv.input[1]]
        self.parts: list[_Part] = []
        self.mode = ""
        options = options_of(conv)
        if options["kernel_shape"] == [3, 3] and is_plain(options):
            source = self._inside(wraps, options["pads"])
            self.parts = self._parts(source) if source else []

    def _inside(self, wraps: Wraps, pads: list[int]) -> str:
        """The map without its border of one pixel, whose kind becomes `mode`; "" where there is no such border."""
        name: str = self.conv.input[0]
        if pads == [1] * 4:
            self.mode = "constant"
            return name
        maker = self.edit.makers.get(name)
        if pads != [0] * 4 or maker is None:
            return ""
        if name in wraps:
            self.mode = "wrap"
            source, sides = wraps[name]
            return source if list(sides) == [1] * 4 else ""
        if maker.op_type != "Pad" or len(maker.input) > 2:
            return ""
        self.mode = options_of(maker).get("mode", b"constant").decode()
        around = [0, 0, 1, 1, 0, 0, 1, 1]
        return maker.input[0] if list(self.edit.weights[maker.input[1]]) == around else ""

    def _parts(self, name: str) -> list[_Part]:
        inner = self.weight.shape[1]
        maker = self.edit.makers.get(name)
        if maker is None or maker.op_type != "Concat" or options_of(maker)["axis"] != 1:
            return [self._part(name, inner)]
        parts = [self._part(one, 0) for one in maker.input]
        return (
            parts if sum(part.channels for part in parts) == inner and all(p.channels for p in parts) else []
        )

    def _part(self, name: str, channels: int) -> _Part:
        maker, norm = self.edit.makers.get(name), None
        if maker is not None and maker.op_type == "InstanceNormalization":
            channels = len(self.edit.weights[maker.input[1]])
            norm, maker = maker, self.edit.makers.get(maker.input[0])
        if maker is not None and maker.op_type == "Resize":
            asked = options_of(maker)
            if asked["mode"] == b"nearest" and list(self.edit.weights[maker.input[2]]) == [1, 1, 2, 2]:
                return _Part(maker.input[0], True, channels, norm)
        return _Part(name, False, channels)

    def pays(self) -> bool:
        """Whether there is something doubled, and the other form has fewer multiplications."""
        small = sum(part.channels for part in self.parts if part.doubled)
        large = sum(part.channels for part in self.parts if not part.doubled)
        return small > 0 and 4 * (small + 4 * large) < 9 * (small + large)

    def nodes(self) -> list[onnx.NodeProto]:
        """The convolution in its other form."""
        made: list[onnx.NodeProto] = []
        names, weights, begin = [], [], 0
        for number, part in enumerate(self.parts):
            label = f"{self.conv.name}_{number}"
            weight = self.weight[:, begin : begin + part.channels]
            begin += part.channels
            if part.doubled:
                names.append(self._small(made, part, label))
                weights.append(merged(torch.tensor(weight)).numpy())
            else:
                names.append(self._squares(made, part, label))
                weights.append(_square_weight(weight))
        one = self.conv.name
        if len(names) > 1:
            made.append(helper.make_node("Concat", names, [f"{one}_beside"], f"{one}_beside", axis=1))
        source = f"{one}_beside" if len(names) > 1 else names[0]
        squares = self.edit.squares(
            self.conv, source, np.concatenate(weights, 1), strides=[1, 1], pads=[0] * 4
        )
        # The outermost results are those of the border.
        made += [squares, self.edit.spread(one, squares.output[0], f"{one}_whole")]
        made.append(self.edit.slice(f"{one}_whole", f"{one}_cut", (2, 3), (1, 1), (-1, -1)))
        made[-1].output[0] = self.conv.output[0]
        return made

    def _small(self, made: list[onnx.NodeProto], part: _Part, label: str) -> str:
        """The map before it was doubled, normalized and continued by a pixel."""
        name = part.name
        if part.norm is not None:
            made.append(onnx.NodeProto())
            made[-1].CopyFrom(part.norm)
            made[-1].name = made[-1].output[0] = f"{label}_norm"
            made[-1].input[0] = name
            name = f"{label}_norm"
        # A border that mirrors the doubled map mirrors the pixel next to the outermost: the outermost once more.
        return self._continued(made, name, label, 1, "edge" if self.mode == "reflect" else self.mode)

    def _squares(self, made: list[onnx.NodeProto], part: _Part, label: str) -> str:
        """The map, continued by a square of 2 x 2, in squares. Nothing but the square's inner pixels is looked at."""
        if self.mode == "wrap":
            name = self._continued(made, part.name, label, 2, "wrap")
        else:
            name = self._continued(made, part.name, f"{label}_inner", 1, self.mode)
            name = self._continued(made, name, label, 1, "constant")
        made.append(
            helper.make_node("SpaceToDepth", [name], [f"{label}_split"], f"{label}_split", blocksize=2)
        )
        return f"{label}_split"

    def _continued(self, made: list[onnx.NodeProto], name: str, label: str, amount: int, mode: str) -> str:
        if mode != "wrap":
            made.append(self.edit.pad(name, f"{label}_pad", amount, mode))
            return f"{label}_pad"
        for axis in (2, 3):
            before, after = f"{label}_before{axis}", f"{label}_after{axis}"
            made.append(self.edit.slice(name, before, (axis,), (-amount,), (END,)))
            made.append(self.edit.slice(name, after, (axis,), (0,), (amount,)))
            wrapped = f"{label}_wrapped{axis}"
            made.append(helper.make_node("Concat", [before, name, after], [wrapped], wrapped, axis=axis))
            name = wrapped
        return name


def _square_weight(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C, 3, 3) for a map in squares of 2 x 2: (4 N, 4 C, 2, 2)."""
    count, inner = weight.shape[:2]
    # Rows, columns; n; rows, columns of the input; c; y, x
    squares = np.zeros((2, 2, count, 2, 2, inner, 2, 2), np.float32)
    for i in range(2):
        for j in range(2):
            # Of the window's four rows, two squares, result i looks at i to i + 2.
            wide = np.zeros((count, inner, 4, 4), np.float32)
            wide[:, :, i : i + 3, j : j + 3] = weight
            squares[i, j] = wide.reshape(count, inner, 2, 2, 2, 2).transpose(0, 3, 5, 1, 2, 4)
    return squares.reshape(4 * count, 4 * inner, 2, 2)


def rewrite_doubled(edit: Editing, wraps: Wraps) -> None:
    """Every 3 x 3 convolution that sees a doubled map, where that is less work."""
    for conv in edit.convolutions():
        kernel = _Kernel3(edit, wraps, conv)
        if kernel.pays():
            edit.replaced[conv.name] = kernel.nodes()
            edit.bounded |= kernel.mode == "wrap"
