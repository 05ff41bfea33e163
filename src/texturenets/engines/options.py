"""Engine options, passed on by commands, clusters and the service. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EngineOptions:
    """How a model is run; the fields are named like the flags of `texturenets stylize`.

    `engine`: "torch", "openvino", "onnx"; "auto" takes PyTorch if there is a GPU, else OpenVINO, else
    ONNX Runtime, whichever is installed. `device`: "cpu", "cuda", "mps"; "auto" takes the fastest. `precision`:
    "float32", "bf16", "fp16", as far as the engine supports it; "auto" chooses half precision if the device supports
    it, but float32 for PyTorch on a CPU. `threads`: maximum number of CPU threads (None: one for each core); in
    PyTorch it applies to the whole process.

    `generator`: for a model whose network is the user's own code, that code, "FILE.py:CLASS" or the class itself.
    For styles, `memory`: memory that may be used, in bytes or as "2G" (None: a share of the free memory); `spool`:
    folder for feature maps that do not fit.
    """

    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    generator: Callable[..., Any] | str | None = None
    memory: int | str | None = None
    spool: Path | str | None = None
