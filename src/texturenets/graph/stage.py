"""A part of a network that an engine runs on its own: a graph with several inputs and outputs, for one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from numpy.typing import NDArray

from texturenets.graph import Graph

SpoolDtype = Literal["float32", "float16", "bfloat16"]
"""A type of numbers on disk; those of bfloat16 are uint16 to numpy."""

Values = NDArray[Any]
"""A feature map of numbers of such a type, (1, C, rows, columns); one that is kept on disk has its channels last."""

CompiledStage = Callable[[Mapping[str, Values]], Mapping[str, Values]]
"""A stage, ready: maps by the names of its inputs to maps by the names of its outputs. What it gives stands until the
call after the next."""

PICTURE: Final = "picture"
"""The name of the output that is an image, float32 whatever is kept."""


@dataclass
class Stage:
    """`graph`, all of whose maps have a size of their own, and `outputs`: nodes by the names of what is given.

    Inputs of the names `spooled` and the outputs are `type`, (1, rows, columns, C); other inputs are float32,
    (1, C, rows, columns), and so is the image. `exact`: names of inputs that are to lose as little as can be where
    it is computed in half precision; with the type float32 nothing is.
    """

    graph: Graph
    outputs: Mapping[str, int]
    type: SpoolDtype = "float32"
    spooled: frozenset[str] = frozenset()
    exact: frozenset[str] = frozenset()
