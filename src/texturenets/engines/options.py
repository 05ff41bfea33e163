"""What runs a network: the options that commands, clusters and the service hand down to an engine. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EngineOptions:
    """How a model is run, named as the flags of `texturenets stylize`.

    `engine`: "torch", "openvino", "onnx"; "auto" takes PyTorch where there is a GPU, else OpenVINO, else
    ONNX Runtime, as they are installed. `device`: "cpu", "cuda", "mps"; "auto" takes the fastest. `precision`:
    "float32", "bf16", "fp16", as far as the engine has it; "auto" takes half precision where the device computes in
    it, but float32 with PyTorch on a processor. `threads`: of the processor, at most (None: one for each core);
    PyTorch has one number for the whole process.

    `generator`: for a model whose network is code of somebody's own, that code, "FILE.py:CLASS" or the class itself.
    For styles, `memory`: what may be taken, in bytes or as "2G" (None: a share of what is free); `spool`: a folder
    for what does not fit.
    """

    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    generator: Callable[..., Any] | str | None = None
    memory: int | str | None = None
    spool: Path | str | None = None
