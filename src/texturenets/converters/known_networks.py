"""Recognises published graphs that are one of this package's generators: returns the spec, and the weights under its
names. A graph is recognised if it equals, line by line, the graph of a spec. Differences in colour encoding are
folded into the first and the last convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from texturenets.converters.builder import recolored
from texturenets.converters.colors import CAFFE, RGB, ColorEncoding
from texturenets.converters.published import Published
from texturenets.engines.primitives import Padding
from texturenets.graph import Node, line
from texturenets.networks import GeneratorSpec
from texturenets.networks.johnson import Johnson
from texturenets.networks.pyramid import Pyramid

Array = NDArray[Any]

_MODES: Final = get_args(Padding)


@dataclass
class _ExpectedGraph:
    """Nodes of a graph, each as a line of text, and the names of each node's weights in this package's generator."""

    previous: int
    """The number of the node just before the first of `lines`; -1 if there is none."""
    lines: list[str] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    def add(self, operation: str, *sources: int, name: str = "", **settings: Any) -> int:
        self.lines.append(line(operation, sources, **settings))
        number = self.previous + len(self.lines)
        if name:
            self.names[number] = name
        return number

    def conv(self, source: int, out: int, kernel: int, stride: int = 1, *, padding: str, name: str) -> int:
        source = self.add("pad", source, amount=(kernel // 2,) * 4, mode=padding)
        return self.add("conv", source, name=f"{name}.conv", out=out, kernel=kernel, stride=stride)


def _johnson(spec: Johnson, entry: int) -> _ExpectedGraph:
    """The graph of `JohnsonGenerator(spec)` after line `entry`, up to its last convolution."""
    expected, c = _ExpectedGraph(entry), spec.channels
    down, norm = spec.down_padding or spec.padding, spec.normalization == "instance"

    def finish(source: int, name: str, normed: bool, activation: bool = True) -> int:
        if normed:
            source = expected.add("norm", source, name=f"{name}.norm")
        return expected.add("relu", source) if activation else source

    def block(
        source: int, name: str, out: int, kernel: int = 3, *, stride: int = 1, padding: str = spec.padding
    ) -> int:
        conv = expected.conv(source, out, kernel, stride, padding=padding, name=f"{name}.conv")
        return finish(conv, name, norm, activation=not name.endswith("second"))

    current = expected.add("norm", entry, name="input_norm") if spec.input_norm else entry
    current = block(current, "encoder.0", c, 9)
    current = block(current, "encoder.1", 2 * c, stride=2, padding=down)
    current = block(current, "encoder.2", 4 * c, stride=2, padding=down)
    for i in range(spec.blocks):
        inner = block(block(current, f"blocks.{i}.first", 4 * c), f"blocks.{i}.second", 4 * c)
        current = expected.add("add", *sorted((current, inner)))
    transposed = spec.upsampling in ("full", "full4")
    normed = norm and (transposed if spec.decoder_norm is None else spec.decoder_norm)
    for i, out in enumerate((2 * c, c)):
        name = f"decoder.{i}"
        if spec.upsampling == "full":
            settings: dict[str, Any] = {"kernel": 3, "stride": 2, "crop": (1, 0, 1, 0)}
            current = expected.add("deconv", current, name=f"{name}.conv.conv", out=out, **settings)
        elif spec.upsampling == "full4":
            # As fast_neural_style has it: pad 2, crop 5. Our `TransposedConv` pads 1 and crops 3: the same result.
            current = expected.add("pad", current, amount=(2,) * 4, mode="replicate")
            settings = {"kernel": 4, "stride": 2, "crop": (5, 5, 5, 5)}
            current = expected.add("deconv", current, name=f"{name}.conv.conv", out=out, **settings)
        else:
            current = expected.add("upsample", current, factor=2)
            current = expected.conv(current, out, 3, padding=spec.padding, name=f"{name}.conv")
        current = finish(current, name, normed)
    expected.conv(current, 3, spec.exit_kernel, padding=spec.padding, name="exit")
    return expected


def _pyramid(spec: Pyramid) -> _ExpectedGraph:
    """The whole graph of `PyramidGenerator(spec)`, in the order in which Torch7's containers visit the layers."""
    expected, c = _ExpectedGraph(-1), spec.channels
    photo = -1
    slope: dict[str, Any] = {"slope": 0.01} if spec.activation == "leaky_relu" else {}

    def fed(stride: int) -> int:
        nonlocal photo
        parts = []
        if spec.photo:
            photo = expected.add("photo") if photo < 0 else photo
            pooled: dict[str, Any] = {"kernel": stride, "stride": stride}
            parts.append(photo if stride == 1 else expected.add("avg_pool", photo, **pooled))
        if spec.noise_depth:
            settings: dict[str, Any] = {
                "channels": spec.noise_depth,
                "stride": stride,
                "distribution": spec.noise,
            }
            parts.append(expected.add("noise", **settings))
        return parts[0] if len(parts) == 1 else expected.add("concat", *parts)

    def block(source: int, out: int, name: str) -> int:
        for i, kernel in enumerate((3, 3, 1)):
            inner = f"{name}.{i}"
            if kernel == 1:
                source = expected.add("conv", source, name=f"{inner}.conv.conv", out=out, kernel=1)
            else:
                source = expected.conv(source, out, kernel, padding=spec.padding, name=f"{inner}.conv")
            source = expected.add("norm", source, name=f"{inner}.norm")
            source = expected.add(spec.activation, source, **slope)
        return source

    current = block(fed(2 ** (spec.scales - 1)), c, "blocks.0")
    for level in range(1, spec.scales):
        join = f"joins.{level - 1}"
        coarse = expected.add("norm", expected.add("upsample", current, factor=2), name=f"{join}.coarse_norm")
        fine = block(fed(2 ** (spec.scales - 1 - level)), c, f"blocks.{level}")
        fine = expected.add("norm", fine, name=f"{join}.fine_norm")
        current = block(expected.add("concat", coarse, fine), c * (level + 1), f"{join}.block")
    expected.add("conv", current, name="exit.conv", out=3, kernel=1)
    return expected


def _candidates(published: Published) -> Iterator[tuple[GeneratorSpec, _ExpectedGraph]]:
    """Specs that the graph might have, guessed from its features, and their graphs."""
    nodes = published.builder.nodes
    convs = [node for node in nodes if node.operation == "conv" and node.settings["kernel"] > (1, 1)]
    pads = [node.settings["mode"] for node in nodes if node.operation == "pad"]
    if len(convs) < 4 or len(pads) < 2 or not {pads[0], pads[1]} <= set(_MODES):
        return
    noises = [node for node in nodes if node.operation == "noise"]
    plain = len({(n.channels, n.settings["distribution"], n.settings["scale"]) for n in noises}) < 2
    channels = convs[0].channels
    if not plain or any(n.channels > 64 or n.settings["scale"] != 1 for n in noises):
        return
    noise: dict[str, Any] = {"noise_depth": noises[0].channels if noises else 0}
    if noises:
        noise["noise"] = noises[0].settings["distribution"]
    photo = any(node.operation == "photo" for node in nodes)
    joined = sum(node.operation == "concat" for node in nodes)
    scales = len(noises) or joined + 1
    if published.colors_in == RGB and 2 <= scales <= 8 and channels <= 128:
        leaky = any(node.operation == "leaky_relu" for node in nodes)
        pyramid = Pyramid(
            padding=pads[0], scales=scales, channels=channels, photo=photo,
            activation="leaky_relu" if leaky else "relu", **noise,
        )  # fmt: skip
        yield pyramid, _pyramid(pyramid)
    deconvs = [node.settings["kernel"][0] for node in nodes if node.operation == "deconv"]
    blocks = sum(node.operation == "add" for node in nodes)
    exit_kernel = convs[-1].settings["kernel"][0]
    if not photo or channels > 256 or blocks > 100 or exit_kernel not in (3, 9) or len(noises) > 1:
        return
    # Number of the network's input node: 0 the photo, 1 the photo in other colours, 2 photo and noise concatenated.
    entry = 2 if noises else int(published.colors_in != RGB)
    for decoder_norm in (True, False):
        default = decoder_norm == bool(deconvs)
        johnson = Johnson(
            padding=pads[0],
            down_padding=None if pads[1] == pads[0] else pads[1],
            channels=channels,
            blocks=blocks,
            exit_kernel=exit_kernel,
            upsampling={3: "full", 4: "full4"}.get(deconvs[0], "full") if deconvs else "nearest",  # type: ignore[arg-type]
            decoder_norm=None if default else decoder_norm,
            input_norm=any(node.operation == "norm" and not node.sources[0] for node in nodes),
            **noise,
        )
        yield johnson, _johnson(johnson, entry)


def _sorted(text: str) -> str:
    """`text`; if it is an `add`, with its sources in ascending order: published networks have them in any order."""
    operation, *words = text.split()
    return " ".join([operation, *sorted(words, key=int)]) if operation == "add" else text


def _folded(conv: Mapping[str, Array], colors_in: ColorEncoding) -> dict[str, Array]:
    """`conv` with the conversion from RGB to `colors_in` folded in."""
    inverse = colors_in.inverse()
    weight = conv["weight"].astype(np.float64)
    bias = conv["bias"] + np.einsum("ojyx,j->o", weight, np.asarray(inverse.shift))
    return {
        "weight": np.einsum("ojyx,ji->oiyx", weight, np.asarray(inverse.matrix)).astype(np.float32),
        "bias": bias.astype(np.float32),
    }


def _first_conv(nodes: list[Node]) -> tuple[int, str]:
    """The number of the node after the first padding, and the mode of that padding; (0, "") if there is none."""
    for number, node in enumerate(nodes):
        if node.operation == "pad":
            return number + 1, str(node.settings["mode"])
    return 0, ""


def recognise(published: Published) -> tuple[GeneratorSpec, dict[str, torch.Tensor]] | None:
    """Spec and weights if the published network is exactly one of this package's generators; else None."""
    builder, colors_in = published.builder, published.colors_in
    for spec, expected in _candidates(published):
        if expected.lines != [_sorted(text) for text in builder.lines[expected.previous + 1 :]]:
            continue
        if expected.previous == 2 and builder.lines[0] != "photo":
            continue
        arrays = {number: builder.arrays[number] for number in expected.names}
        if colors_in != RGB:
            first, mode = _first_conv(builder.nodes)
            normed = isinstance(spec, Johnson) and spec.input_norm
            if normed or (mode == "zero" and not colors_in.inverse().black_is_zero):
                return None  # zero padding would become another colour
            arrays[first] = _folded(arrays[first], colors_in)
        # Our last layer, "caffe", converts Caffe's BGR to RGB.
        last = max(arrays)
        arrays[last] = recolored(arrays[last], CAFFE.inverse().after(published.colors_out))
        state = {
            f"{name}.{part}": torch.from_numpy(array)
            for number, name in expected.names.items()
            for part, array in arrays[number].items()
        }
        return spec, state
    return None
