"""Networks run by PyTorch: in float32 on the processor, in half precision on GPUs."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from texturenets import noise
from texturenets.arrays import A, like, to_tensor
from texturenets.engines.executor import GraphNetwork
from texturenets.engines.feeding import feed
from texturenets.engines.network import io_spec_of
from texturenets.engines.peak import STAGE_OVERHEAD, measure_peak
from texturenets.graph import Graph
from texturenets.graph.passes import CUDA_PASSES, optimize
from texturenets.graph.stage import PICTURE, CompiledStage, SpoolDtype, Stage, Values

MEASURED_SIDE = 256
"""Side in pixels of the image with which the memory per pixel is measured."""

MAX_CUDA_GRAPHS = 4
"""Input sizes whose CUDA graphs are kept; each holds the feature maps of one forward pass."""

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def executed(graph: Graph, *, on_gpu: bool) -> nn.Module:
    """`graph` as a module in evaluation mode; `on_gpu`: after the passes that make it faster on a GPU."""
    return GraphNetwork(optimize(graph, CUDA_PASSES) if on_gpu else graph).eval().requires_grad_(False)


def _tensor(values: Values) -> Tensor:
    if values.dtype == np.uint16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(values))


def _values(x: Tensor, dtype: SpoolDtype) -> Values:
    x = x.to(getattr(torch, dtype)).contiguous().cpu()
    values: Values = x.view(torch.int16).numpy().view(np.uint16) if dtype == "bfloat16" else x.numpy()
    return values


@dataclass
class _CapturedGraph:
    """A CUDA graph, its input tensors and its output tensor."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    output: Tensor


class TorchEngine:
    """A network and a device. `precision`: "float32", "bf16", "fp16"; "auto" is fp16 on a GPU.

    Statistics of instance normalization are float32 in any precision. On CUDA the forward pass of an input size is
    captured as a CUDA graph when that size is used a second time: one launch instead of several hundred. The graphs
    of the last `MAX_CUDA_GRAPHS` sizes are kept.
    """

    name = "torch"
    stage_streams = 2
    """One computes while the other reads or writes: PyTorch's threads cannot be divided."""

    def __init__(
        self, network: Graph | nn.Module, device: torch.device | str = "cpu", precision: str = "auto"
    ) -> None:
        """`network`: a graph, or the user's own module (`texturenets.engines.network.Network`), which is run as it
        is."""
        self.device = torch.device(device)
        if precision == "auto":
            precision = "float32" if self.device.type == "cpu" else "fp16"
        self.precision, self.dtype = precision, DTYPES[precision]
        if isinstance(network, Graph):
            self.io_spec = network.io_spec
            on_gpu = self.device.type == "cuda" and self.dtype != torch.float32
            network = executed(network, on_gpu=on_gpu)
        else:
            network = network.eval()
            self.io_spec = io_spec_of(network)
        self.network = network.to(self.device, self.dtype)
        if self.device.type != "cpu" or self.dtype != torch.float32:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._seen: OrderedDict[tuple[torch.Size, ...], _CapturedGraph | None] = OrderedDict()
        self._rate: float | None = None
        self.lock = threading.Lock()

    @torch.inference_mode()
    def __call__(self, x: A | None, noises: Sequence[A] = (), inputs: Mapping[str, A] | None = None) -> A:
        """See `texturenets.engines.Engine`."""
        given = list(feed(self.io_spec, x, noises, inputs).values())
        tensors = [to_tensor(value).to(self.device, self.dtype) for value in given]
        if self.device.type == "cuda":
            with self.lock:  # a CUDA graph has one input buffer and one output buffer
                y = self._replay(tensors)
        else:
            y = self._pass(tensors)
        return like(y.float(), given[0])

    @property
    def spool_dtype(self) -> SpoolDtype:
        """See `texturenets.engines.Engine`."""
        return "bfloat16" if self.dtype == torch.bfloat16 else "float16"

    def compile(self, stage: Stage, streams: int) -> CompiledStage:
        """See `texturenets.engines.Engine`."""
        network = GraphNetwork(stage.graph).eval()
        dtype = self.dtype if stage.type != "float32" else torch.float32
        network = network.to(self.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        taken = [node.settings["name"] for node in network.nodes if node.operation == "input"]

        @torch.inference_mode()
        def run(given: Mapping[str, Values]) -> Mapping[str, Values]:
            inputs = {name: _tensor(given[name]).to(self.device, dtype) for name in taken}
            inputs |= {name: inputs[name].permute(0, 3, 1, 2) for name in stage.spooled}
            maps = network.maps(None, [], inputs, list(stage.outputs.values()))
            return {
                name: _values(maps[number], "float32")
                if name == PICTURE
                else _values(maps[number].permute(0, 2, 3, 1), stage.type)
                for name, number in stage.outputs.items()
            }

        return run

    def stage_peak(self, live: int, dtype: SpoolDtype) -> int:
        """See `texturenets.engines.Engine`."""
        width = 4 if dtype == "float32" else self.dtype.itemsize
        return int(STAGE_OVERHEAD * width * live)

    def peak(self, size: tuple[int, int]) -> int:
        """See `texturenets.engines.Engine`. Measured on a small image, the first time."""
        with self.lock:
            if self._rate is None:
                side = self.io_spec.stride * -(
                    -max(MEASURED_SIDE, self.io_spec.min_side) // self.io_spec.stride
                )
                self._rate = measure_peak(functools.partial(self._small, side), self.device) / side**2
        return int(self._rate * size[0] * size[1])

    @torch.inference_mode()
    def _small(self, side: int) -> Tensor:
        inputs = noise.draw_arrays(self.io_spec.noise, [0], side, side)
        if self.io_spec.channels:
            inputs.insert(0, np.zeros((1, self.io_spec.channels, side, side), np.float32))
        for spec in self.io_spec.inputs:
            inputs.append(np.zeros((1, spec.channels, *spec.size(side, side)), np.float32))
        return self._pass([to_tensor(array).to(self.device, self.dtype) for array in inputs]).float()

    def _pass(self, inputs: Sequence[Tensor]) -> Tensor:
        """Run the network on its inputs, in the order of `IOSpec.names`."""
        first = int(self.io_spec.channels > 0)
        last = first + len(self.io_spec.noise)
        given: list[Any] = [inputs[0] if first else None]
        if self.io_spec.noise or self.io_spec.inputs:
            given.append(list(inputs[first:last]))
        if self.io_spec.inputs:
            given.append({spec.name: x for spec, x in zip(self.io_spec.inputs, inputs[last:], strict=True)})
        y: Tensor = self.network(*given)
        return y

    def _replay(self, inputs: list[Tensor]) -> Tensor:
        """A forward pass by the CUDA graph for the inputs' shapes, which is captured when they are used a second
        time."""
        key = tuple(tensor.shape for tensor in inputs)
        first = key not in self._seen
        captured = self._seen.pop(key, None)
        if first:
            while len(self._seen) >= MAX_CUDA_GRAPHS:
                self._seen.popitem(last=False)
        self._seen[key] = captured
        if first:
            return self._pass(inputs)
        if captured is None:
            captured = self._seen[key] = self._capture(inputs)
        for buffer, tensor in zip(captured.inputs, inputs, strict=True):
            buffer.copy_(tensor)
        captured.graph.replay()
        return captured.output.clone()

    def _capture(self, inputs: list[Tensor]) -> _CapturedGraph:
        buffers = [tensor.clone() for tensor in inputs]
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):  # warm-up: libraries choose kernels now; they cannot during capture
            self._pass(buffers)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self._pass(buffers)
        return _CapturedGraph(graph, buffers, output)
