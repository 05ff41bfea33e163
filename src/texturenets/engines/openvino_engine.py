"""Networks run by OpenVINO on the processor, in bf16 where it is supported."""

from __future__ import annotations

import functools
import hashlib
import io
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texturenets.arrays import A, like, to_numpy
from texturenets.engines.cache import CacheEntry, compiled_suffix
from texturenets.engines.feeding import feed
from texturenets.engines.peak import BYTES_PER_ELEMENT, estimate
from texturenets.errors import UserError, install
from texturenets.graph import IOSpec
from texturenets.graph.stage import CompiledStage, SpoolDtype, Stage, Values, streams_for

HINTS = {"float32": "f32", "bf16": "bf16"}

KERNEL_CACHE_CAPACITY = 256
"""Kernels that stay compiled, one per layer and image size. OpenVINO's default of 5000 takes a gigabyte after photos
of many sizes; 256 are enough for alternating between several sizes."""


@contextmanager
def no_telemetry() -> Iterator[None]:
    """In the block, OpenVINO's Python modules do not find the package that reports usage."""
    known = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if known is None:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = known


@functools.cache
def core() -> Any:
    """The process's `openvino.Core`. Raises UserError if OpenVINO is not installed.

    There is only one, and it is never destroyed: each Core installs a separate signal stack for its thread (for AMX)
    and restores the previous one when it is destroyed. If several are not destroyed in reverse order, a freed stack
    stays installed, and the next signal with a handler, such as that of an ended child process, is a segmentation
    fault (OpenVINO 2026.4).
    """
    try:
        with no_telemetry():
            import openvino
    except ImportError:
        raise UserError(f"`engine` openvino: OpenVINO is not installed; {install('openvino')}") from None
    return openvino.Core()


def _tensor() -> Any:
    """The class of OpenVINO's tensors."""
    import openvino

    return openvino.Tensor


def choose_precision(core: Any, precision: str) -> str:
    """The precision to use; "auto" is bf16 where the processor has instructions for it, else float32.

    Raises UserError for one that is not supported.
    """
    native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        return "bf16" if native else "float32"
    if precision not in HINTS:
        raise UserError(f"`precision` {precision}: OpenVINO computes in {' or '.join(HINTS)} here")
    if precision == "bf16" and not native:
        raise UserError("`precision` bf16: this processor has no instructions for it; use float32")
    return precision


def compile_options(precision: str, threads: int | None = None, streams: int = 1) -> dict[str, Any]:
    """Options for compiling graphs: for latency, with `threads` threads (None: one for each core); or for `streams`
    calls at once, which share them."""
    # Processes that share a machine would all pin their threads to its first cores.
    share = {} if threads is None else {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    return share | {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        **({"PERFORMANCE_HINT": "LATENCY"} if streams == 1 else {"NUM_STREAMS": streams}),
        "CPU_RUNTIME_CACHE_CAPACITY": KERNEL_CACHE_CAPACITY,
    }


class _OpenVINOStage:
    """A compiled stage. Each thread that calls it has a request of its own, whose outputs are not copied."""

    def __init__(self, compiled: Any, stage: Stage) -> None:
        import openvino

        self.openvino, self.compiled, self.requests = openvino, compiled, threading.local()
        known = {node.settings["name"] for node in stage.graph.nodes if node.operation == "input"}
        self.inputs = {
            name: port.get_element_type()
            for port in compiled.inputs
            for name in port.get_names()  # a port also has names of conversion nodes that OpenVINO adds
            if name in known
        }
        self.outputs = {
            name: number
            for number, port in enumerate(compiled.outputs)
            for name in port.get_names()
            if name in stage.outputs
        }

    def __call__(self, given: Mapping[str, Values]) -> Mapping[str, Values]:
        """See `texturenets.graph.stage.CompiledStage`."""
        request = getattr(self.requests, "own", None)
        if request is None:
            request = self.requests.own = self.compiled.create_infer_request()
        held = {
            name: np.ascontiguousarray(given[name]) for name in self.inputs
        }  # kept alive while it computes
        for name, values in held.items():
            shape = self.openvino.Shape(values.shape)
            request.set_tensor(name, self.openvino.Tensor(values, shape, self.inputs[name]))
        request.infer(share_outputs=True)
        tensors = {name: request.get_output_tensor(number) for name, number in self.outputs.items()}
        return {name: self._values(tensor) for name, tensor in tensors.items()}

    def _values(self, tensor: Any) -> Values:
        values: Values = tensor.data
        return values.view(np.uint16) if tensor.get_element_type() == self.openvino.Type.bf16 else values


class OpenVINOEngine:
    """A graph on the processor, for images of any size: it is compiled once, and for each new size only its kernels.
    Calls from several threads run one after the other.
    """

    name = "openvino"

    def __init__(
        self,
        onnx_model: bytes,
        io_spec: IOSpec,
        precision: str = "auto",
        entry: CacheEntry | None = None,
        threads: int | None = None,
    ) -> None:
        """`onnx_model`: an ONNX file.

        `entry`: the cache entry for the compiled model. `threads`: maximum number of threads.
        """
        self.core = core()
        self.io_spec, self.precision = io_spec, choose_precision(self.core, precision)
        self.threads = threads
        self.compiled = self._compiled(onnx_model, entry)
        self.tensor = _tensor()
        self.request = self.compiled.create_infer_request()
        self.lock = threading.Lock()

    def _compiled(self, onnx_model: bytes, entry: CacheEntry | None) -> Any:
        import openvino

        options = compile_options(self.precision, self.threads)
        suffix = ""
        if entry is not None:
            processor = self.core.get_property("CPU", "FULL_DEVICE_NAME")
            able = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            digest = hashlib.sha256(onnx_model).hexdigest()
            settings = repr(sorted(options.items()))
            suffix = compiled_suffix([digest, openvino.__version__, processor, *able, settings])
            if cached := entry.read(suffix):
                try:
                    return self.core.import_model(io.BytesIO(cached), "CPU", options)
                except RuntimeError:  # as OpenVINO may refuse what another build of it wrote
                    entry.drop(suffix)
        compiled = self.core.compile_model(self.core.read_model(io.BytesIO(onnx_model)), "CPU", options)
        if entry is not None:
            entry.keep(suffix, compiled.export_model().getvalue())
        return compiled

    @property
    def stage_streams(self) -> int:
        """See `texturenets.engines.Engine`."""
        return streams_for(self.threads)

    @property
    def spool_dtype(self) -> SpoolDtype:
        """See `texturenets.engines.Engine`."""
        return "bfloat16" if self.precision == "bf16" else "float16"

    def compile(self, stage: Stage, streams: int) -> CompiledStage:
        """See `texturenets.engines.Engine`."""
        from texturenets.graph.onnx import stage_to_onnx

        precision = self.precision if stage.type == "bfloat16" else "float32"
        onnx_model = stage_to_onnx(stage, split=precision == "bf16").SerializeToString()
        options = compile_options(precision, self.threads, streams)
        return _OpenVINOStage(
            self.core.compile_model(self.core.read_model(onnx_model), "CPU", options), stage
        )

    def stage_peak(self, live: int, dtype: SpoolDtype) -> int:
        """See `texturenets.engines.Engine`."""
        return live * BYTES_PER_ELEMENT["bf16" if dtype == "bfloat16" else "float32"]

    def peak(self, size: tuple[int, int]) -> int:
        """See `texturenets.engines.Engine`."""
        return estimate(self.name, self.precision, self.io_spec, size)

    def __call__(self, x: A | None, noises: Sequence[A] = (), inputs: Mapping[str, A] | None = None) -> A:
        """See `texturenets.engines.Engine`."""
        given = feed(self.io_spec, x, noises, inputs)
        arrays = {name: np.ascontiguousarray(to_numpy(value)) for name, value in given.items()}
        first: A = next(iter(given.values()))
        with self.lock:
            if not self.io_spec.channels:  # no photo that determines the output's size
                results = self.request.infer(arrays, share_inputs=True, share_outputs=True)
                return like(np.array(results[0]), first)  # a copy: the next sample overwrites the output
            shape = (len(first), self.io_spec.outputs, *first.shape[2:])
            y: NDArray[np.float32] = np.empty(shape, np.float32)
            # OpenVINO writes into y: a copy costs 12 bytes per pixel and fresh memory pages.
            self.request.set_output_tensor(0, self.tensor(y, shared_memory=True))
            self.request.infer(arrays, share_inputs=True, share_outputs=True)
        return like(y, first)
