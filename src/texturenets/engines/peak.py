"""Estimates the peak memory of a network for one image, which decides whether it is computed whole or in strips.

Most of the memory is feature maps; weights are small in comparison. A feature map is live from the operation that
computes it to the last one that reads it. In a residual block, these are live while an operation runs:

    number, operation      live         buffer
    0  a = conv(photo)     a            a: 0
    1  b = relu(a)         a  b         b: 1
    2  c = conv(b)         a  b  c      c: 2
    3  d = add(c, a)       a     c  d   d: 1, as b is not live any more

1. `_sizes`: how many elements each feature map has, for each pixel of the image: 32 channels at half the height and
   width are 32 / 4 = 8. So one calculation serves images of any size.
2. `_lifetimes`: the first and the last operation of each.
3. `live`, the most elements live at once: what an allocator would take that frees every feature map after its last
   use. ONNX Runtime does so, but from an arena that grows in large steps, hence the factor `ONNX_OVERHEAD`.
4. `buffers`: OpenVINO plans before it runs. It assigns each feature map the first buffer whose earlier feature maps
are no longer live, or a new buffer; a buffer is as large as its largest feature map, and all are allocated at once.
Their sum
   is what it takes.
5. `estimate`: times the bytes of an element and the pixels of the image.

PyTorch runs whatever module it is given, so there an image of a small size is run and measured (`measured`).
`benchmarks/speed.py memory` compares the estimates with measured peaks, and chose the constants here.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from texturenets.memory.budget import note_run

if TYPE_CHECKING:
    import torch
    from google.protobuf.message import Message

    from texturenets.graph import IOSpec

BYTES_PER_ELEMENT: Final = {"float32": 4, "bf16": 2, "fp16": 2}

ONNX_OVERHEAD: Final = 2.4
"""Memory of ONNX Runtime as a multiple of the feature maps live at once: measured 1.6 to 2.9 at 1024 x 1024 and
different at other sizes, as its arena grows by doubling. So estimates are 0.84 to 1.5 times the measured peak."""

TORCH_OVERHEAD: Final = 1.1
"""Memory of PyTorch on a CPU as a multiple of its allocations: oneDNN makes further copies."""

MAX_BYTES_PER_PIXEL: Final = 2048
"""More bytes per pixel than any network of this package needs: an image that fits at this rate needs no exact
estimate. The largest measured was 1213, of pyramid in PyTorch (`benchmarks/speed.py memory`)."""

STAGE_OVERHEAD: Final = 1.6
"""Memory of a stage (`texturenets.graph.stage`) in PyTorch as a multiple of the feature maps live at once: its
inputs and copies in convolutions come on top."""

Lifetime = tuple[int, int, float]
"""For a feature map: the numbers of the operation that computes it and of the last one that reads it, and its
size."""

_PROFILER: Final = threading.Lock()
"""PyTorch allows one profiler in a process."""


def estimate(engine: str, precision: str, io_spec: IOSpec, size: tuple[int, int]) -> int:
    """Estimated peak bytes of `engine` ("openvino" or "onnx") for an image of `size` (H, W), its result included.

    `size`: that of the padded image. Within 20 % for OpenVINO; for ONNX Runtime see `ONNX_OVERHEAD`.
    """
    pixels = size[0] * size[1]
    if engine == "openvino":
        result = 4 * io_spec.outputs  # float32
        return int(pixels * (io_spec.buffers * BYTES_PER_ELEMENT[precision] + result))
    return int(pixels * io_spec.live * BYTES_PER_ELEMENT[precision] * ONNX_OVERHEAD)


def measure_peak(action: Callable[[], object], device: torch.device) -> float:
    """Peak bytes that PyTorch allocates on `device` during `action`, beyond those that were allocated before.

    On a CPU the profiler's record of allocations is added up, times `TORCH_OVERHEAD`.
    """
    import torch

    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        return float(torch.cuda.max_memory_allocated(device) - before)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler prints that it has started
    # Not `torch.profiler.profile`, which imports the compiler: 900 modules and 150 MB that stay.
    with _PROFILER, torch.autograd.profiler.profile(profile_memory=True) as profiler:
        action()
    note_run()
    events = profiler.kineto_results.events()
    # In bytes, negative where memory is freed
    changes = [event for event in events if event.name() == "[memory]"]
    allocated = most = 0
    for change in sorted(changes, key=lambda change: change.start_ns()):
        allocated += change.nbytes()
        most = max(most, allocated)
    return TORCH_OVERHEAD * most


def peak_elements(model: Message, io_spec: IOSpec) -> tuple[float, float]:
    """`buffers` and `live` of a graph (see above), in elements for each pixel of the image."""
    lifetimes = _lifetimes(model, _sizes(model, io_spec))
    return _buffers(lifetimes), most_live(lifetimes)


def most_live(lifetimes: Sequence[Lifetime]) -> float:
    """The most elements that are live at once."""
    changes = [0.0] * (2 + max((end for _, end, _ in lifetimes), default=0))
    for start, end, size in lifetimes:
        changes[start] += size
        changes[end + 1] -= size
    return max(accumulate(changes))


def _buffers(lifetimes: Sequence[Lifetime]) -> float:
    """The sizes of all buffers together, where feature maps that are not live at the same time share one."""
    buffers: list[tuple[int, float]] = []  # (last operation that uses the buffer, its size)
    for start, end, size in sorted(lifetimes):
        free = next((i for i, (last, _) in enumerate(buffers) if last < start), None)
        if free is None:
            buffers.append((end, size))
        else:
            buffers[free] = end, max(size, buffers[free][1])
    return sum(size for _, size in buffers)


def _lifetimes(model: Message, sizes: Mapping[str, float]) -> list[Lifetime]:
    """The lifetimes of all computed feature maps."""
    lifetimes: dict[str, list[int]] = {}
    for number, node in enumerate(model.graph.node):
        for name in node.output:
            if name in sizes:
                lifetimes[name] = [number, number]
        for name in node.input:
            if name in lifetimes:
                lifetimes[name][1] = number
    return [(start, end, sizes[name]) for name, (start, end) in lifetimes.items()]


def _sizes(model: Message, io_spec: IOSpec) -> dict[str, float]:
    """How many elements every feature map (N, C, H, W) of the graph has for each pixel of the image.

    From their shapes for one square image, of some 256 pixels per side, that the network can take.
    """
    from texturenets.graph.onnx_shapes import shapes_of

    side = io_spec.stride * max(1, -(-max(256, io_spec.min_side) // io_spec.stride))
    # In the order of the inputs; 0 is an input of one pixel, or of a size of its own.
    strides = [1] * bool(io_spec.channels) + [noise.stride for noise in io_spec.noise]
    strides += [named.stride for named in io_spec.inputs]
    given = {}
    for model_input, stride in zip(model.graph.input, strides, strict=True):
        dims, inner = model_input.type.tensor_type.shape.dim, side // stride if stride else 1
        given[model_input.name] = tuple(
            dim.dim_value or size for dim, size in zip(dims, (1, 0, inner, inner), strict=True)
        )
    shapes = shapes_of(model, given)
    return {name: math.prod(shape) / side**2 for name, shape in shapes.items() if len(shape) == 4}
