"""Estimates the peak memory of a network for one image, by engine and precision, to decide on whole or strips.

Checked against measured peaks by `benchmarks/speed.py memory`, which also chose the constants here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx
    import torch

    from texturenets.graph import IOSpec

WIDTH: Final = {"float32": 4, "bf16": 2, "fp16": 2}
"""Bytes of one value."""

ONNX: Final = 2.4
"""Memory of ONNX Runtime as a multiple of the maps alive at once: measured 1.6 to 2.9 at 1024 x 1024 and different at
other sizes, as its arena grows by doubling. So estimates are 0.84 to 1.5 times the measured peak."""

TORCH: Final = 1.1
"""Memory of PyTorch on a CPU as a multiple of its allocations: oneDNN makes further copies."""

MOST: Final = 2048
"""Bytes per pixel, more than any network here takes: an image that fits at this rate needs no exact estimate. The
largest measured was 1213, of pyramid in PyTorch (`benchmarks/speed.py memory`)."""

STAGE: Final = 1.6
"""Memory of a stage as a multiple of the maps alive at once: its inputs and copies in convolutions come on top."""

_PROFILER: Final = threading.Lock()
"""PyTorch allows one profiler in a process."""


def of_graph(engine: str, precision: str, io_spec: IOSpec, size: tuple[int, int]) -> int:
    """Estimated peak bytes of a converted network for an image of `size` (H, W), its result included.

    For OpenVINO within 20 %; for ONNX Runtime see `ONNX`. `size` is that of the padded image.
    """
    pixels = size[0] * size[1]
    if engine == "openvino":
        return int(pixels * (io_spec.blocks * WIDTH[precision] + 4 * io_spec.outputs))
    return int(pixels * io_spec.alive * WIDTH[precision] * ONNX)


def asked_for(action: Callable[[], object], device: torch.device) -> float:
    """The most bytes that PyTorch holds on `device` during `action`, beside what it held before, with `TORCH`."""
    import torch

    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        return float(torch.cuda.max_memory_allocated(device) - before)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler prints that it has started
    held = most = 0
    with (
        _PROFILER,
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as p,
    ):
        action()
    events = [one for one in p.profiler.kineto_results.events() if one.name() == "[memory]"]  # type: ignore[union-attr]
    for one in sorted(events, key=lambda one: one.start_ns()):
        held += one.nbytes()
        most = max(most, held)
    return TORCH * most


def numbers(model: onnx.ModelProto, io_spec: IOSpec) -> tuple[float, float]:
    """Numbers a pixel that the feature maps of a graph take: in blocks (`_blocks`), and alive at once at most."""
    lives, length = _lives(model, _sizes(model, io_spec))
    alive = max(sum(size for start, end, size in lives if start <= at <= end) for at in range(length))
    return _blocks(lives), alive


def _blocks(lives: Sequence[tuple[int, int, float]]) -> float:
    """What OpenVINO's plan for graphs of any size comes to: each map goes into the first block that is free for its
    whole life, and a block is as large as its largest feature map."""
    blocks: list[tuple[int, float]] = []  # the end of the last life in it, its size
    for start, end, size in sorted(lives):
        at = next((i for i, (free, _) in enumerate(blocks) if free < start), len(blocks))
        blocks[at : at + 1] = [(end, max(size, blocks[at][1] if at < len(blocks) else 0.0))]
    return sum(size for _, size in blocks)


def _lives(model: onnx.ModelProto, sizes: Mapping[str, float]) -> tuple[list[tuple[int, int, float]], int]:
    """For every computed map the first and last operation that use it and its floats per pixel; and the number of
    operations."""
    lives: dict[str, list[int]] = {}
    for at, node in enumerate(model.graph.node):
        for name in node.output:
            if name in sizes:
                lives[name] = [at, at]
        for name in node.input:
            if name in lives:
                lives[name][1] = at
    return [(start, end, sizes[name]) for name, (start, end) in lives.items()], len(model.graph.node)


def _sizes(model: onnx.ModelProto, io_spec: IOSpec) -> dict[str, float]:
    """Numbers a pixel of the image of every feature map (N, C, H, W) in the graph."""
    import onnx

    side = io_spec.stride * max(1, -(-max(256, io_spec.least) // io_spec.stride))
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    strides = [1] * bool(io_spec.channels) + [one.stride for one in io_spec.noise]
    strides += [one.stride for one in io_spec.inputs]
    for given, stride in zip(fixed.graph.input, strides, strict=True):
        dims, inner = given.type.tensor_type.shape.dim, side // stride if stride else 1
        for axis, value in ((0, 1), (2, inner), (3, inner)):
            dims[axis].dim_value = value
    for made in fixed.graph.output:
        made.type.tensor_type.ClearField("shape")
    known = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    sizes: dict[str, float] = {}
    for one in (*known.value_info, *known.output):
        shape = [dim.dim_value for dim in one.type.tensor_type.shape.dim]
        if len(shape) == 4:
            sizes[one.name] = shape[0] * shape[1] * shape[2] * shape[3] / side**2
    return sizes
