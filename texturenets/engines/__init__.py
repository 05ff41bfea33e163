"""Run a model: PyTorch, OpenVINO or ONNX Runtime behind one call.

Converted graphs are kept in the cache (`texturenets.engines.cache`): from the second run on, OpenVINO and ONNX
Runtime need neither torch nor the conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from texturenets import devices, modelfile, specs
from texturenets.arrays import A
from texturenets.engines import peak
from texturenets.engines.cache import Entry
from texturenets.engines.facts import ConversionError, Facts
from texturenets.errors import UserError, install, unknown

ENGINES: Final = ("auto", "torch", "openvino", "onnx")
PRECISIONS: Final = ("auto", "float32", "bf16", "fp16", "int8")
STRIDE: Final = 2**13
"""Pixels a side of the smallest picture that a network may ask for."""
EIGHT_BITS: Final = (".int8.xml", ".int8.bin")
"""Suffixes of what `keep_eight_bits` keeps: a description and its weights."""

__all__ = ["ENGINES", "PRECISIONS", "Engine", "Facts", "load"]


class Engine(Protocol):
    """A network, ready to run. `name` is that of the engine, `precision` what it computes in."""

    name: str
    precision: str
    facts: Facts

    def __call__(self, x: A | None, noises: Sequence[A] = ()) -> A:
        """Photos (N, 3, H, W), RGB in [0, 1], to pictures of the same kind, unclamped; arrays or tensors alike.

        H and W are multiples of `facts.stride` and at least `facts.least`. `noises` are maps (N, channels,
        H / stride, W / stride), as `facts.noise` says and `texturenets.noise.draw` makes them; `x` is None where
        `facts.channels` is 0. What comes back is an array where the first input is one, else a tensor on its
        device.
        """

    def peak(self, size: tuple[int, int]) -> int:
        """About how many bytes of memory a picture of `size` (H, W) takes while it is computed, its result included.

        `size`: as what is given to the engine, multiples of the stride.
        """


def load(
    path: Path,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    generator: Callable[..., Any] | str | None = None,
    *,
    threads: int | None = None,
) -> Engine:
    """The network of the model file at `path` on an engine and a device.

    "auto" takes PyTorch where there is a graphics card, else OpenVINO, else ONNX Runtime, else PyTorch, as they
    are installed; PyTorch where the network is code of the user's own or cannot be converted. `precision`: "auto",
    "float32", "bf16", "fp16", as far as the engine has it; "int8" is OpenVINO's, for a style that
    `texturenets.export.export_eight_bits` has written on this machine. `generator`: as in `texturenets.load`.
    `threads`: of the processor, at most (None: one for each core); PyTorch has one number for the whole process.

    Raises UserError for unknown names, what is not installed or not to be had on this machine, and whatever is
    wrong with the file.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    on_cpu = device == "cpu" or (device == "auto" and devices.only_cpu())
    if engine == "auto" and precision == "int8":
        engine = "openvino"
    auto = engine == "auto"
    if auto:
        own = isinstance(modelfile.read_header(path).generator, specs.Custom)
        engine = "torch" if own or precision == "fp16" else _fastest(device, on_cpu)
        if engine == "onnx" and precision == "bf16":
            engine = "torch"
    elif engine != "torch" and device not in ("auto", "cpu"):
        raise UserError(f"--engine {engine} runs on the processor: leave out --device {device}")
    if engine != "torch":
        try:
            return _converted(path, engine, precision, generator, threads)
        except ConversionError:
            if not auto:
                raise
    return _torch(path, "cpu" if on_cpu else device, precision, generator, threads)


def _fastest(device: str, on_cpu: bool) -> str:
    """The engine that is installed and fastest on that device."""
    if not on_cpu and (device != "auto" or devices.choose("auto").type != "cpu"):
        return "torch"
    if find_spec("onnx") is None:  # nothing to convert with
        return "torch"
    for name, package in (("openvino", "openvino"), ("onnx", "onnxruntime")):
        if find_spec(package) is not None:
            return name
    return "torch"


def _torch(
    path: Path,
    device: str,
    precision: str,
    generator: Callable[..., Any] | str | None,
    threads: int | None,
) -> Engine:
    import torch

    from texturenets.engines.torch_engine import TorchEngine

    if threads is not None:
        torch.set_num_threads(threads)
    where = devices.choose(device)
    network, _ = modelfile.load(path, generator)
    _check_stride(path, int(getattr(network, "stride", 1)))
    return TorchEngine(network, where, precision)


def _check_stride(path: Path, stride: int) -> None:
    """Raise UserError for a network whose smallest picture could be computed nowhere."""
    if stride > STRIDE:
        raise UserError(
            f"{path}: its network takes pictures of multiples of {stride} pixels alone; {STRIDE} is the most here"
        )


def _converted(
    path: Path,
    engine: str,
    precision: str,
    generator: Callable[..., Any] | str | None,
    threads: int | None,
) -> Engine:
    if precision == "int8" and engine == "openvino":
        return _in_eight_bits(path, threads)
    header = modelfile.read_header(path)
    # Code of the user's own is run each time, as it may have changed.
    entry = None if isinstance(header.generator, specs.Custom) else Entry(path)
    split = engine == "openvino"  # which may compute in bf16
    suffix = ".split.onnx" if split else ".onnx"
    facts = entry.facts(suffix) if entry else None
    graph = entry.read(suffix) if entry and facts else None
    if graph is None or facts is None:
        graph, facts = convert(path, generator, split=split)
        if entry is not None:
            entry.keep(suffix, graph)
            entry.keep(".json", facts.to_json().encode())
    if engine == "openvino":
        from texturenets.engines.openvino_engine import OpenVINOEngine

        return OpenVINOEngine(graph, facts, precision, entry, threads)
    from texturenets.engines.onnx_engine import ONNXEngine

    return ONNXEngine(graph, facts, precision, threads)


def keep_eight_bits(path: Path, facts: Facts, description: bytes, weights: bytes) -> None:
    """Keep OpenVINO's two files of the model at `path` in 8 bits, for `load` with the precision "int8"."""
    if isinstance(modelfile.read_header(path).generator, specs.Custom):
        return
    entry = Entry(path)
    for suffix, data in zip(EIGHT_BITS, (description, weights), strict=True):
        entry.keep(suffix, data)
    entry.keep(".json", facts.to_json().encode())


def _in_eight_bits(path: Path, threads: int | None) -> Engine:
    header = modelfile.read_header(path)
    if isinstance(header.generator, specs.Custom) or header.kind == "texture":
        raise UserError(
            f"--precision int8: {path.stem} is no style by a network of texturenets; leave it out"
        )
    from texturenets.engines.openvino_engine import OpenVINOEngine, core

    core()  # says so where OpenVINO is missing
    entry = Entry(path)
    facts = entry.facts(EIGHT_BITS[0])
    graph, weights = map(entry.read, EIGHT_BITS)
    if facts is None or graph is None or weights is None:
        raise UserError(
            f"--precision int8: {path.stem} has not been quantized here; once, with photos to take ranges from: "
            f"texturenets export {path.stem if path in modelfile.shipped().values() else path} --to openvino "
            "--calibrate PHOTOS"
        )
    return OpenVINOEngine(graph, facts, "int8", entry, threads, weights=weights)


def convert(
    path: Path, generator: Callable[..., Any] | str | None = None, *, split: bool = False
) -> tuple[bytes, Facts]:
    """The model file at `path` as an ONNX file, and what its network takes. Raises UserError.

    `split`: made for computing in bf16, as `texturenets.engines.graph.to_onnx` says.
    """
    if find_spec("onnx") is None:
        raise UserError(
            f"converting a model needs onnx: {install('onnx')}, or with OpenVINO {install('openvino')}"
        )
    from texturenets.engines.graph import to_onnx

    network, _ = modelfile.load(path, generator)
    _check_stride(path, int(getattr(network, "stride", 1)))
    model, facts = to_onnx(network, split=split)
    blocks, alive = peak.numbers(model, facts)
    return model.SerializeToString(), replace(facts, blocks=blocks, alive=alive)
