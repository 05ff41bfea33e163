"""pytorch/examples' fast_neural_style, and the programs that share its TransformerNet: state dictionaries.

Files of 2017 also hold running statistics next to `in1.weight` and `in1.bias`; that program never used them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets import readers
from texturenets.converters.builder import GraphBuilder
from texturenets.converters.colors import RGB255
from texturenets.converters.published import PYTORCH_EXAMPLES, Published
from texturenets.errors import UserError
from texturenets.readers.stored import Stored

TITLE: Final = "PyTorch"

Array = NDArray[Any]

EPS: Final = 1e-5  # torch.nn.InstanceNorm2d
_OF_NETWORK: Final = re.compile(r"(conv|in|res|deconv)\d")
_UNUSED: Final = ("running_mean", "running_var", "num_batches_tracked")

MAX_ARRAY: Final = 10_000_000  # elements; the largest of the program's own has 147,456


class _StateDict:
    """The arrays of a state dictionary, without the prefix of their names ("module.")."""

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        last = "deconv3.conv2d.weight"  # unique: no block has a weight of this name
        ends = [key.removesuffix(last) for key in stored if key.endswith(last)]
        if not ends:
            some = ", ".join(list(stored)[:3])[:100] or "nothing"
            raise UserError(
                f"it holds no TransformerNet of pytorch/examples: no {last} in it (it has {some})"
            )
        self.prefix = min(ends, key=len)
        self.stored = stored
        self.used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.stored

    def check_all_used(self) -> None:
        """Raises UserError for an array that `build` did not ask for, as of a block after one that is missing."""
        for key in sorted(self.stored.keys() - self.used):
            name = key.removeprefix(self.prefix)
            if key.startswith(self.prefix) and _OF_NETWORK.match(name) and not name.endswith(_UNUSED):
                raise UserError(
                    f"its {name} fits no TransformerNet of pytorch/examples: is part of the file missing?"
                )

    def get(self, name: str, dimensions: int) -> Array:
        self.used.add(self.prefix + name)
        stored = self.stored.get(self.prefix + name)
        if stored is None:
            raise UserError(f"its {name} is missing, so it is not a TransformerNet of pytorch/examples")
        count = int(np.prod(stored.shape, dtype=object)) if stored.shape else 0
        if len(stored.shape) != dimensions or not 0 < count <= MAX_ARRAY:
            raise UserError(f"its {name} has the shape {stored.shape}, which fits no TransformerNet")
        array: Array = stored.load().float().numpy()
        return array


def build(stored: Mapping[str, Stored]) -> GraphBuilder:
    """The network, as published. Raises UserError if names or shapes are not TransformerNet's."""
    state = _StateDict(stored)
    builder = GraphBuilder()

    def conv(source: int, name: str, stride: int = 1) -> int:
        weight, bias = state.get(f"{name}.conv2d.weight", 4), state.get(f"{name}.conv2d.bias", 1)
        padded = builder.pad(source, [weight.shape[2] // 2] * 4, "reflect")
        return builder.conv(padded, weight, bias, stride=stride)

    def norm(source: int, name: str) -> int:
        return builder.norm(source, state.get(f"{name}.weight", 1), state.get(f"{name}.bias", 1), EPS)

    def relu(source: int) -> int:
        return builder.add("relu", [source])

    current = builder.photo(RGB255)
    for i, stride in ((1, 1), (2, 2), (3, 2)):
        current = relu(norm(conv(current, f"conv{i}", stride), f"in{i}"))
    block = 1
    while f"res{block}.conv1.conv2d.weight" in state:
        inner = relu(norm(conv(current, f"res{block}.conv1"), f"res{block}.in1"))
        inner = norm(conv(inner, f"res{block}.conv2"), f"res{block}.in2")
        current = builder.add("add", [inner, current])
        block += 1
    for i in (1, 2):
        doubled = builder.add("upsample", [current], settings={"factor": 2})
        current = relu(norm(conv(doubled, f"deconv{i}"), f"in{i + 3}"))
    conv(current, "deconv3")
    state.check_all_used()
    return builder


def matches(path: Path) -> Path | None:
    """`path` if it is a PyTorch file, or a safetensors file without a header of texturenets; else None."""
    kind = None if path.is_dir() else readers.recognise(path)
    if kind == "torch" or (kind == "safetensors" and "texturenets" not in readers.metadata(path)):
        return path
    return None


def read(path: Path) -> Published:
    """The network in a state dictionary of PyTorch or a safetensors file. Raises UserError if it
    cannot be read or is not such a network."""
    return Published(PYTORCH_EXAMPLES, build(readers.arrays(path)), colors_in=RGB255, colors_out=RGB255)
