"""Networks run by ONNX Runtime on the processor, in float32."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from texturenets.arrays import A, like, present, to_numpy
from texturenets.engines.facts import Facts
from texturenets.errors import UserError


class ONNXEngine:
    """A graph in an ONNX Runtime session; any size."""

    name = "onnx"

    def __init__(
        self, graph: bytes, facts: Facts, precision: str = "auto", threads: int | None = None
    ) -> None:
        """`graph`: an ONNX file. `threads`: at most (None: one for each core).

        Raises UserError where ONNX Runtime is not installed.
        """
        try:
            import onnxruntime
        except ImportError:
            raise UserError(
                "--engine onnx: ONNX Runtime is not installed; pip install 'texturenets[onnx]'"
            ) from None
        if precision not in ("auto", "float32"):
            raise UserError(f"--precision {precision}: ONNX Runtime computes in float32 here")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        if threads is not None:
            options.intra_op_num_threads = threads
        options.enable_mem_pattern = False  # a plan of memory for each size, and never forgotten
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        # The arena gives back what a large picture took, else the largest decides for good.
        self.run = onnxruntime.RunOptions()
        self.run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.names = [one.name for one in self.session.get_inputs()]
        self.facts, self.precision = facts, "float32"
        self.lock = threading.Lock()

    def __call__(self, x: A | None, noises: Sequence[A] = ()) -> A:
        """See `texturenets.engines.Engine`."""
        given = present(x, noises)
        inputs = [np.ascontiguousarray(to_numpy(one)) for one in given]
        with self.lock:
            (y,) = self.session.run(None, dict(zip(self.names, inputs, strict=True)), self.run)
        return like(y, given[0])
