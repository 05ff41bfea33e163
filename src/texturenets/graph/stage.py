"""A part of a network that an engine runs on its own: a graph with several inputs and outputs, for one size."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from numpy.typing import NDArray

from texturenets.graph import Graph

SpoolDtype = Literal["float32", "float16", "bfloat16"]
"""The type of feature maps that are spooled to disk; bfloat16 is uint16 in NumPy."""

Values = NDArray[Any]
"""A feature map (1, C, rows, columns); channels last, (1, rows, columns, C), if it is spooled to disk."""

CompiledStage = Callable[[Mapping[str, Values]], Mapping[str, Values]]
"""A stage, ready to run, also by several threads at once: feature maps by the names of inputs to feature maps by the
names of outputs, which stay valid until the same thread's next call."""

MAX_STREAMS: Final = 8
"""Maximum number of strips that are computed at once: each needs memory of its own."""

PICTURE: Final = "picture"
"""The name of the output that is the image: float32 whatever the others are."""


@dataclass
class Stage:
    """`graph`, all of whose feature maps have a fixed size, and `outputs`: its nodes by the names of the outputs.

    Inputs of the names `spooled` and the outputs are `type`, (1, rows, columns, C); other inputs are float32,
    (1, C, rows, columns), and so is the image. `exact`: names of inputs that half precision must not round (the
    photo, which is split in two maps); with the type float32 nothing is computed in half precision.
    """

    graph: Graph
    outputs: Mapping[str, int]
    type: SpoolDtype = "float32"
    spooled: frozenset[str] = frozenset()
    exact: frozenset[str] = frozenset()


def streams_for(threads: int | None) -> int:
    """How many strips an engine with so many threads (None: one for each core) computes at once: one on each."""
    return min(MAX_STREAMS, threads or os.cpu_count() or 1)
