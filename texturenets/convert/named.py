"""Published graphs that are one of our own generators: the spec, and its weights under our names.

A graph is recognised where it equals, line by line, the graph of a spec. What differs in colours is folded into
the first and the last convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from texturenets import nodes
from texturenets.convert.builder import Builder, recoloured
from texturenets.convert.colours import CAFFE, RGB, Colours
from texturenets.convert.published import Published
from texturenets.nodes import Node
from texturenets.specs import GeneratorSpec, Johnson, Padding

Array = NDArray[Any]

_MODES: Final = get_args(Padding)


@dataclass
class _Sketch:
    """Lines of a graph, and the name that a line's weights have in our generator, by the line's number."""

    start: int
    """The number of the last line before."""
    lines: list[str] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    def add(self, operation: str, *sources: int, name: str = "", **settings: Any) -> int:
        self.lines.append(nodes.line(operation, sources, **settings))
        number = self.start + len(self.lines)
        if name:
            self.names[number] = name
        return number

    def conv(self, source: int, out: int, kernel: int, stride: int = 1, *, padding: str, name: str) -> int:
        source = self.add("pad", source, amount=(kernel // 2,) * 4, mode=padding)
        return self.add("conv", source, name=f"{name}.conv", out=out, kernel=kernel, stride=stride)


def _johnson(spec: Johnson, entry: int) -> _Sketch:
    """The graph of `JohnsonGenerator(spec)` behind line `entry`, up to its last convolution."""
    sketch, c = _Sketch(entry), spec.channels
    down, norm = spec.down_padding or spec.padding, spec.normalization == "instance"

    def finish(source: int, name: str, normed: bool, activation: bool = True) -> int:
        if normed:
            source = sketch.add("norm", source, name=f"{name}.norm")
        return sketch.add("relu", source) if activation else source

    def block(
        source: int, name: str, out: int, kernel: int = 3, *, stride: int = 1, padding: str = spec.padding
    ) -> int:
        made = sketch.conv(source, out, kernel, stride, padding=padding, name=f"{name}.conv")
        return finish(made, name, norm, activation=not name.endswith("second"))

    current = sketch.add("norm", entry, name="input_norm") if spec.input_norm else entry
    current = block(current, "encoder.0", c, 9)
    current = block(current, "encoder.1", 2 * c, stride=2, padding=down)
    current = block(current, "encoder.2", 4 * c, stride=2, padding=down)
    for i in range(spec.blocks):
        inner = block(block(current, f"blocks.{i}.first", 4 * c), f"blocks.{i}.second", 4 * c)
        current = sketch.add("add", *sorted((current, inner)))
    transposed = spec.upsampling in ("full", "full4")
    normed = norm and (transposed if spec.decoder_norm is None else spec.decoder_norm)
    for i, out in enumerate((2 * c, c)):
        name = f"decoder.{i}"
        if spec.upsampling == "full":
            settings: dict[str, Any] = {"kernel": 3, "stride": 2, "crop": (1, 0, 1, 0)}
            current = sketch.add("deconv", current, name=f"{name}.conv.conv", out=out, **settings)
        elif spec.upsampling == "full4":
            # As the reference has it; `TransposedConv` says why less will do.
            current = sketch.add("pad", current, amount=(2,) * 4, mode="replicate")
            settings = {"kernel": 4, "stride": 2, "crop": (5, 5, 5, 5)}
            current = sketch.add("deconv", current, name=f"{name}.conv.conv", out=out, **settings)
        else:
            current = sketch.add("upsample", current, factor=2)
            current = sketch.conv(current, out, 3, padding=spec.padding, name=f"{name}.conv")
        current = finish(current, name, normed)
    sketch.conv(current, 3, spec.exit_kernel, padding=spec.padding, name="exit")
    return sketch


def _candidates(builder: Builder) -> Iterator[Johnson]:
    """Specs that the graph might be, by what stands out in it."""
    convs = [node for node in builder.nodes if node.operation == "conv" and node.settings["kernel"] > 1]
    pads = [node.settings["mode"] for node in builder.nodes if node.operation == "pad"]
    deconvs = [node.settings["kernel"] for node in builder.nodes if node.operation == "deconv"]
    if len(convs) < 4 or len(pads) < 2 or not {pads[0], pads[1]} <= set(_MODES):
        return
    channels, exit_kernel = convs[0].channels, convs[-1].settings["kernel"]
    blocks = sum(node.operation == "add" for node in builder.nodes)
    if not 1 <= channels <= 256 or blocks > 100 or exit_kernel not in (3, 9):
        return
    for decoder_norm in (True, False):
        default = decoder_norm == bool(deconvs)
        yield Johnson(
            padding=pads[0],
            down_padding=None if pads[1] == pads[0] else pads[1],
            channels=channels,
            blocks=blocks,
            exit_kernel=exit_kernel,
            upsampling={3: "full", 4: "full4"}.get(deconvs[0], "full") if deconvs else "nearest",  # type: ignore[arg-type]
            decoder_norm=None if default else decoder_norm,
            input_norm=any(node.operation == "norm" and node.channels == 3 for node in builder.nodes),
        )


def _sorted(line: str) -> str:
    """A line of a sum with its sources in order: they come as the program had them."""
    operation, *words = line.split()
    return " ".join([operation, *sorted(words, key=int)]) if operation == "add" else line


def _folded(conv: Mapping[str, Array], before: Colours) -> dict[str, Array]:
    """A convolution fed with the photo that does what `conv` does fed with `before` of it."""
    inverse = before.inverse()
    weight = conv["weight"].astype(np.float64)
    bias = conv["bias"] + np.einsum("ojyx,j->o", weight, np.asarray(inverse.shift))
    return {
        "weight": np.einsum("ojyx,ji->oiyx", weight, np.asarray(inverse.matrix)).astype(np.float32),
        "bias": bias.astype(np.float32),
    }


def _first_conv(found: list[Node]) -> tuple[int, str]:
    """Where the first convolution behind a padding is, and how that pads."""
    for number, node in enumerate(found):
        if node.operation == "pad":
            return number + 1, str(node.settings["mode"])
    return 0, ""


def recognise(published: Published) -> tuple[GeneratorSpec, dict[str, torch.Tensor]] | None:
    """Our spec and weights where the published network is one of our generators, exactly; else None."""
    builder = published.builder
    if not builder.nodes or builder.nodes[0].operation != "photo":
        return None
    entry = int(published.before != RGB)  # the line behind which the network itself begins
    lines = [_sorted(line) for line in builder.lines[entry + 1 :]]
    for spec in _candidates(builder):
        sketch = _johnson(spec, entry)
        if sketch.lines != lines:
            continue
        first, mode = _first_conv(builder.nodes)
        if entry and (spec.input_norm or (mode == "zero" and not published.before.inverse().centred)):
            return None  # zeros around the picture would become another colour
        arrays = {number: builder.arrays[number] for number in sketch.names}
        last = max(arrays)
        arrays[first] = _folded(arrays[first], published.before)
        # `Johnson.output` "caffe" makes RGB of what the last convolution gives.
        arrays[last] = recoloured(arrays[last], CAFFE.inverse().after(published.after))
        state = {
            f"{name}.{part}": torch.from_numpy(array)
            for number, name in sketch.names.items()
            for part, array in arrays[number].items()
        }
        return spec, state
    return None
