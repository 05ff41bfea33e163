"""An engine with some inputs bound to constants: a network of several styles with a mixture of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from texturenets.arrays import A, like
from texturenets.engines import Engine
from texturenets.graph import IOSpec
from texturenets.graph.stage import CompiledStage, SpoolDtype, Stage


class BoundEngine:
    """`engine` with these `inputs`, (1, channels, h, w) each; `inputs` of a call are ignored."""

    def __init__(self, engine: Engine, inputs: Mapping[str, NDArray[np.float32]]) -> None:
        self.engine, self.inputs = engine, inputs
        self.name, self.precision = engine.name, engine.precision
        self.device = getattr(
            engine, "device", None
        )  # only the PyTorch engine has one; the memory budget asks for it
        self.io_spec: IOSpec = replace(engine.io_spec, inputs=())

    @property
    def spool_dtype(self) -> SpoolDtype:
        """See `texturenets.engines.Engine`."""
        return self.engine.spool_dtype

    def __call__(self, x: A | None, noises: Sequence[A] = (), inputs: Mapping[str, A] | None = None) -> A:
        """See `texturenets.engines.Engine`; `inputs` are ignored."""
        first = x if x is not None else noises[0]
        count = int(first.shape[0])
        given = {name: like(value.repeat(count, 0), first) for name, value in self.inputs.items()}
        return self.engine(x, noises, given)

    @property
    def stage_streams(self) -> int:
        """See `texturenets.engines.Engine`."""
        return self.engine.stage_streams

    def compile(self, stage: Stage, streams: int) -> CompiledStage:
        """See `texturenets.engines.Engine`."""
        return self.engine.compile(stage, streams)

    def stage_peak(self, live: int, dtype: SpoolDtype) -> int:
        """See `texturenets.engines.Engine`."""
        return self.engine.stage_peak(live, dtype)

    def peak(self, size: tuple[int, int]) -> int:
        """See `texturenets.engines.Engine`."""
        return self.engine.peak(size)
