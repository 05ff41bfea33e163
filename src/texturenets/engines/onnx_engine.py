"""Networks run by ONNX Runtime on the processor, in float32."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from texturenets.arrays import A, like, to_numpy
from texturenets.engines.feeding import feed
from texturenets.engines.peak import ONNX_OVERHEAD, estimate
from texturenets.errors import UserError
from texturenets.graph import IOSpec
from texturenets.graph.stage import CompiledStage, SpoolDtype, Stage, Values, streams_for

KEPT_PIXELS = 2**20
"""Up to this many pixels the memory of a call stays allocated for the next one. A larger call frees its memory;
otherwise the largest image would determine the memory in use from then on. Freeing and allocating again takes a third
of the time of 16 textures of 256 x 256 (`benchmarks/speed.py sample`)."""

SPINNING = "0"
"""Whether threads spin while they wait for each other. They do not: on a busy machine spinning takes time from other
programs (`benchmarks/speed.py busy`)."""


class ONNXEngine:
    """A graph in an ONNX Runtime session; any size."""

    name = "onnx"
    spool_dtype: SpoolDtype = "float16"

    def __init__(
        self, graph: bytes, io_spec: IOSpec, precision: str = "auto", threads: int | None = None
    ) -> None:
        """`graph`: an ONNX file. `threads`: maximum number of threads (None: one for each core)."""
        import onnxruntime

        if precision not in ("auto", "float32"):
            raise UserError(f"`precision` {precision}: ONNX Runtime computes in float32 here")
        self.threads = threads
        self.session = self._session(graph, threads)
        self.shrinking = onnxruntime.RunOptions()  # of calls after which memory is freed
        self.shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.io_spec, self.precision = io_spec, "float32"
        self.lock = threading.Lock()  # one call at a time: each takes all threads, and `peak` bytes

    def _session(self, graph: bytes, threads: int | None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # only errors
        if threads is not None:
            options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", SPINNING)
        options.enable_mem_pattern = False  # else a memory plan for each size is kept forever
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @property
    def stage_streams(self) -> int:
        """See `texturenets.engines.Engine`."""
        return streams_for(self.threads)

    def compile(self, stage: Stage, streams: int) -> CompiledStage:
        """See `texturenets.engines.Engine`."""
        from texturenets.graph.onnx import stage_to_onnx

        threads = max(1, (self.threads or os.cpu_count() or 1) // streams)
        session = self._session(stage_to_onnx(stage).SerializeToString(), threads)
        taken = [argument.name for argument in session.get_inputs()]
        names = list(stage.outputs)

        def run(given: Mapping[str, Values]) -> Mapping[str, Values]:
            inputs = {name: np.ascontiguousarray(given[name]) for name in taken}
            return dict(zip(names, session.run(names, inputs), strict=True))

        return run

    def stage_peak(self, live: int, dtype: SpoolDtype) -> int:
        """See `texturenets.engines.Engine`."""
        return int(ONNX_OVERHEAD * 4 * live)

    def peak(self, size: tuple[int, int]) -> int:
        """See `texturenets.engines.Engine`."""
        return estimate(self.name, self.precision, self.io_spec, size)

    def __call__(self, x: A | None, noises: Sequence[A] = (), inputs: Mapping[str, A] | None = None) -> A:
        """See `texturenets.engines.Engine`."""
        given = feed(self.io_spec, x, noises, inputs)
        arrays = {name: np.ascontiguousarray(to_numpy(value)) for name, value in given.items()}
        pixels = max(array.size // array.shape[1] for array in arrays.values())
        with self.lock:
            options = self.shrinking if pixels > KEPT_PIXELS else None
            (y,) = self.session.run(None, arrays, options)
        return like(y, next(iter(given.values())))
