"""Run a model: PyTorch, OpenVINO or ONNX Runtime behind one call.

OpenVINO and ONNX Runtime run the graph that the model file holds, without torch. Converted and compiled models are
kept in the cache (`texturenets.engines.cache`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from texturenets.arrays import A
from texturenets.engines import devices, peak
from texturenets.engines.cache import CacheEntry
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError, unknown
from texturenets.graph import ConversionError, Graph, IOSpec
from texturenets.modelfiles.variant import AS_IT_IS, Variant

if TYPE_CHECKING:
    from torch import nn

    from texturenets.graph.stage import CompiledStage, SpoolDtype, Stage

PRECISIONS: Final = ("auto", "float32", "bf16", "fp16")
MAX_STRIDE: Final = 2**13
"""Maximum stride of a network: its smallest image has sides of that length."""

__all__ = ["BACKENDS", "PRECISIONS", "Engine", "EngineOptions", "IOSpec", "convert", "load"]


class Engine(Protocol):
    """A network, ready to run. `name`: the engine's name. `precision`: the precision in which it computes."""

    name: str
    precision: str
    io_spec: IOSpec

    @property
    def spool_dtype(self) -> SpoolDtype:
        """The type of feature maps that are spooled to disk between stages, unless float32 is required."""

    def __call__(self, x: A | None, noises: Sequence[A] = (), inputs: Mapping[str, A] | None = None) -> A:
        """Photos (N, 3, H, W), RGB in [0, 1], to images of the same shape, unclamped; arrays or tensors.

        H and W are multiples of `io_spec.stride` and at least `io_spec.min_side`. `noises` are noise maps (N,
        channels, H / stride, W / stride), as `io_spec.noise` says and `texturenets.noise.draw` makes them; `x` is
        None if `io_spec.channels` is 0. `inputs`: the feature maps of `io_spec.inputs` by their names, (N,
        channels, H / stride, W / stride), or (N, channels, 1, 1) for a stride of 0. The result is an array if the
        first input is one, else a tensor on its device. Raises UserError for a missing or unknown input.
        """

    @property
    def stage_streams(self) -> int:
        """The number of strips to compute at once, for the highest speed if memory suffices."""

    def compile(self, stage: Stage, streams: int) -> CompiledStage:
        """Compile a part of a network, for strips of images that do not fit in memory; for calls from `streams`
        threads at once."""

    def stage_peak(self, live: int, dtype: SpoolDtype) -> int:
        """Estimated peak memory in bytes of a stage with at most `live` elements of feature maps live at once.

        `dtype`: the type of its inputs and outputs.
        """

    def peak(self, size: tuple[int, int]) -> int:
        """Estimated peak memory in bytes for an image of `size` (H, W), its result included. `size`: of the input to
        the engine, multiples of the stride.
        """


def load(
    path: Path,
    options: EngineOptions = EngineOptions(),
    code: Callable[[], nn.Module] | None = None,
    variant: Variant = AS_IT_IS,
) -> Engine:
    """The network of the model file at `path`, ready to run.

    `variant`: which variant of the graph is run; not with `code`. `engine` "auto" also chooses PyTorch if there is
    `code`, or if the model has no graph or one that cannot be converted. `code` builds the network of the user's own
    code; only PyTorch runs it, the others take the graph.

    Raises UserError for unknown names, for engines and devices that are not available on this machine, and for an
    unusable file.
    """
    engine, device, precision, threads = options.engine, options.device, options.precision, options.threads
    if engine not in (*BACKENDS, "auto", "torch"):
        raise unknown("engine", engine, ("auto", "torch", *BACKENDS))
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    on_cpu = device == "cpu" or (device == "auto" and devices.only_cpu())
    auto = engine == "auto"
    if auto:
        engine = "torch" if precision == "fp16" or code is not None else _fastest(device, on_cpu)
        if engine == "onnx" and precision == "bf16":
            engine = "torch"
    elif engine != "torch" and device not in ("auto", "cpu"):
        raise UserError(f"`engine` {engine} runs on the processor: leave out `device` {device}")
    if engine != "torch":
        try:
            return _converted(path, engine, precision, threads, variant)
        except ConversionError:
            if not auto:
                raise
    if device not in ("auto", "cpu"):
        devices.require_torch(f"`device` {device}", "cuda")
    flags = {"`engine` torch": not auto, f"`precision` {precision}": precision in ("bf16", "fp16")}
    devices.require_torch(next((flag for flag, given in flags.items() if given), f"the network of {path}"))
    network = code or functools.partial(variant.read, path)
    return _torch(path, "cpu" if on_cpu else device, precision, network, threads)


def _fastest(device: str, on_cpu: bool) -> str:
    """The fastest installed engine for that device."""
    if not on_cpu and (device != "auto" or devices.choose("auto").type != "cpu"):
        return "torch"
    return "onnx" if find_spec("openvino") is None else "openvino"


def _torch(
    path: Path,
    device: str,
    precision: str,
    made: Callable[[], nn.Module | Graph],
    threads: int | None,
) -> Engine:
    import torch

    from texturenets.engines.torch_engine import TorchEngine

    if threads is not None:
        torch.set_num_threads(threads)
    where = devices.choose(device)
    network = made()
    _check_stride(
        path, network.io_spec.stride if isinstance(network, Graph) else getattr(network, "stride", 1)
    )
    return TorchEngine(network, where, precision)


def _check_stride(path: Path, stride: int) -> None:
    """Raise UserError for a network whose smallest image is too large."""
    if stride > MAX_STRIDE:
        raise UserError(
            f"{path}: its network takes images of only multiples of {stride} pixels; {MAX_STRIDE} is the most here"
        )


def _openvino(
    model: bytes, io_spec: IOSpec, precision: str, entry: CacheEntry, threads: int | None
) -> Engine:
    from texturenets.engines.openvino_engine import OpenVINOEngine

    return OpenVINOEngine(model, io_spec, precision, entry, threads)


def _onnx(model: bytes, io_spec: IOSpec, precision: str, entry: CacheEntry, threads: int | None) -> Engine:
    from texturenets.engines.onnx_engine import ONNXEngine

    return ONNXEngine(model, io_spec, precision, threads)


BACKENDS: Final[dict[str, Callable[[bytes, IOSpec, str, CacheEntry, int | None], Engine]]] = {
    "openvino": _openvino,
    "onnx": _onnx,
}
"""The engines that run an ONNX file, called with: the file, the `IOSpec`, the requested precision, the model's entry
in the cache, and the number of threads."""


def _converted(path: Path, engine: str, precision: str, threads: int | None, variant: Variant) -> Engine:
    entry = CacheEntry(path, "" if variant == AS_IT_IS else repr(variant))
    split = engine == "openvino"  # which may compute in bf16
    name = ".split" if split else ".plain"
    model, counts = entry.read(f"{name}.onnx"), entry.read(f"{name}.json")
    if model is None or counts is None:
        model, io_spec = convert(path, split=split, variant=variant)
        entry.keep(f"{name}.onnx", model)
        entry.keep(f"{name}.json", json.dumps([io_spec.buffers, io_spec.live]).encode())
    else:
        io_spec = variant.read(path, weights=False).io_spec
        buffers, live = json.loads(counts)
        io_spec = replace(io_spec, buffers=buffers, live=live)
    return BACKENDS[engine](model, io_spec, precision, entry, threads)


def convert(
    path: Path, *, split: bool = False, apply_passes: bool = True, variant: Variant = AS_IT_IS
) -> tuple[bytes, IOSpec]:
    """The model file at `path` as an ONNX file, and its `IOSpec`. Raises UserError for a model that is damaged,
    holds no graph, or has a graph that ONNX cannot express.

    `variant`: as in `load`. `split`: for computing in bf16; `apply_passes`: optimized by the passes
    (`texturenets.graph.onnx.to_onnx`).
    """
    from texturenets.graph.onnx import to_onnx

    graph = variant.read(path)
    _check_stride(path, graph.io_spec.stride)
    model = to_onnx(graph, split=split, apply_passes=apply_passes)
    buffers, live = peak.peak_elements(model, graph.io_spec)
    return model.SerializeToString(), replace(graph.io_spec, buffers=buffers, live=live)
