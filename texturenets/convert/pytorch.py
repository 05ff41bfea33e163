"""pytorch/examples' fast_neural_style, and the programs that share its TransformerNet: state dictionaries.

Newer files hold `in1.weight` and `in1.bias`, older ones running statistics beside them, which that program
never used; abhiskk/fast-neural-style, where it comes from, calls them `in1.scale` and `in1.shift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texturenets.convert.builder import RGB255, Builder, Colours, inverse
from texturenets.convert.result import Published
from texturenets.errors import UserError
from texturenets.readers import pickled
from texturenets.readers.stored import Stored

Array = NDArray[Any]

EPS = 1e-5  # torch.nn.InstanceNorm2d
OLD_EPS = 1e-9  # abhiskk's InstanceNormalization
_K = 1 / 255
BGR255 = Colours(((0, 0, _K), (0, _K, 0), (_K, 0, 0)), (0.0, 0.0, 0.0))
"""BGR, 0..255: abhiskk's program turns the channels around before and after the network."""

MAX_WEIGHTS = 100_000_000


class _State:
    """The arrays of a state dictionary; every one may be asked for by name."""

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        first = [key for key in stored if key.endswith("conv1.conv2d.weight") and ".res" not in f".{key}"]
        if not first:
            some = ", ".join(list(stored)[:3])[:100] or "nothing"
            raise UserError(f"it holds no TransformerNet: no conv1.conv2d.weight (it has {some})")
        self.prefix = min(first, key=len).removesuffix("conv1.conv2d.weight")
        self.stored = stored

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.stored

    def get(self, name: str, dimensions: int) -> Array:
        found = self.stored.get(self.prefix + name)
        if found is None:
            raise UserError(f"its {name} is missing")
        count = int(np.prod(found.shape, dtype=object)) if found.shape else 0
        if len(found.shape) != dimensions or not 0 < count <= MAX_WEIGHTS:
            raise UserError(f"its {name} has the shape {found.shape}, which fits no TransformerNet")
        array: Array = found.load().float().numpy()
        return array


def build(stored: Mapping[str, Stored]) -> tuple[Builder, Colours]:
    """The network and its colours. Raises UserError where the names or shapes are not TransformerNet's."""
    state = _State(stored)
    old = "in1.scale" in state
    colours = BGR255 if old else RGB255
    builder = Builder()

    def conv(source: int, name: str, stride: int = 1) -> int:
        weight = state.get(f"{name}.conv2d.weight", 4)
        amount = weight.shape[2] // 2
        if amount:
            source = builder.add("pad", [source], amount=(amount,) * 4, mode="reflect")
        return builder.conv(source, weight, state.get(f"{name}.conv2d.bias", 1), stride=stride)

    def norm(source: int, name: str) -> int:
        weight, bias = ("scale", "shift") if old else ("weight", "bias")
        return builder.add(
            "norm",
            [source],
            weight=state.get(f"{name}.{weight}", 1),
            bias=state.get(f"{name}.{bias}", 1),
            eps=OLD_EPS if old else EPS,
        )

    current = builder.recolour(builder.add("photo"), inverse(colours))
    for i, stride in ((1, 1), (2, 2), (3, 2)):
        current = builder.add("relu", [norm(conv(current, f"conv{i}", stride), f"in{i}")])
    block = 1
    while f"res{block}.conv1.conv2d.weight" in state:
        inner = builder.add("relu", [norm(conv(current, f"res{block}.conv1"), f"res{block}.in1")])
        inner = norm(conv(inner, f"res{block}.conv2"), f"res{block}.in2")
        current = builder.add("add", [inner, current])
        block += 1
    for i in (1, 2):
        up = builder.add("upsample", [current], factor=2)
        current = builder.add("relu", [norm(conv(up, f"deconv{i}"), f"in{i + 3}")])
    conv(current, "deconv3")
    return builder, colours


def read(path: Path) -> Published:
    """The network in a `.pth` or `.model` file. Raises UserError, DamagedError and OSError."""
    with path.open("rb") as stream:
        is_zip = stream.read(4) == b"PK\x03\x04"
    builder, colours = build(pickled.read_zip(path) if is_zip else pickled.read_legacy(path))
    return Published("pytorch/examples fast_neural_style", builder, colours)
