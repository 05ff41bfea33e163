"""Networks run by PyTorch: in float32 on the processor, in half precision on graphics cards."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from texturenets import noise
from texturenets.arrays import A, like, present, to_tensor
from texturenets.engines.narrow import rewritten
from texturenets.engines.peak import STAGE, asked_for
from texturenets.graph import IOSpec
from texturenets.graph.stage import PICTURE, Kept, Run, Stage, Values

MEASURED = 256
"""Pixels a side of the picture that tells how much memory a pixel takes."""

GRAPHS = 4
"""Sizes for which the kernel launches of a pass stay recorded; each holds the maps of one pass."""

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def facts_of(network: nn.Module, least: int = 1) -> IOSpec:
    """What `network`, one of `texturenets.generators`, takes."""
    noise = tuple(getattr(network, "noise", ()))
    channels = 3 if getattr(network, "photo", True) else 0
    fixed = hasattr(network, "size")
    margin = int(getattr(network, "margin", 0))
    return IOSpec(int(getattr(network, "stride", 1)), least, channels, noise, fixed, margin)


def _tensor(values: Values) -> Tensor:
    if values.dtype == np.uint16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(values))


def _values(x: Tensor, kept: Kept) -> Values:
    x = x.to(getattr(torch, kept)).contiguous().cpu()
    values: Values = x.view(torch.int16).numpy().view(np.uint16) if kept == "bfloat16" else x.numpy()
    return values


@dataclass
class _Recorded:
    """A CUDA graph, the tensors that it reads and the one that it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    output: Tensor


class TorchEngine:
    """A network and a device. `precision`: "float32", "bf16", "fp16"; "auto" is fp16 on a graphics card.

    Statistics of instance normalization are float32 in any precision. On CUDA a size that comes a second time
    is recorded as a graph, which spares the launches of some hundred kernels; the last `GRAPHS` sizes are kept.
    """

    name = "torch"

    def __init__(
        self, network: nn.Module, device: torch.device | str = "cpu", precision: str = "auto"
    ) -> None:
        self.device = torch.device(device)
        if precision == "auto":
            precision = "float32" if self.device.type == "cpu" else "fp16"
        self.precision, self.dtype = precision, DTYPES[precision]
        network = network.eval()
        if self.device.type == "cuda" and self.dtype != torch.float32:
            network = rewritten(network)
        self.network = network.to(self.device, self.dtype)
        if self.device.type != "cpu" or self.dtype != torch.float32:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.facts = facts_of(self.network)
        self._seen: OrderedDict[tuple[torch.Size, ...], _Recorded | None] = OrderedDict()
        self._rate: float | None = None
        self.lock = threading.Lock()

    @torch.inference_mode()
    def __call__(self, x: A | None, noises: Sequence[A] = ()) -> A:
        """See `texturenets.engines.Engine`."""
        given = present(x, noises)
        inputs = [to_tensor(one).to(self.device, self.dtype) for one in given]
        if self.device.type == "cuda":
            with self.lock:  # a recorded graph has one place for what goes in, and one for what comes out
                y = self._recorded(inputs)
        else:
            y = self._pass(inputs)
        return like(y.float(), given[0])

    @property
    def kept(self) -> Kept:
        """See `texturenets.engines.Engine`."""
        return "bfloat16" if self.dtype == torch.bfloat16 else "float16"

    def compile(self, stage: Stage) -> Run:
        """See `texturenets.engines.Engine`."""
        from texturenets.generators.graph import GraphGenerator

        network = GraphGenerator(stage.graph).eval()
        dtype = self.dtype if stage.type != "float32" else torch.float32
        network = network.to(self.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        taken = [node.settings["name"] for node in network.nodes if node.operation == "input"]

        @torch.inference_mode()
        def run(given: Mapping[str, Values]) -> Mapping[str, Values]:
            inputs = {name: _tensor(given[name]).to(self.device, dtype) for name in taken}
            maps = network.maps(None, [], inputs, list(stage.outputs.values()))
            return {
                name: _values(maps[number], "float32" if name == PICTURE else stage.type)
                for name, number in stage.outputs.items()
            }

        return run

    def stage_peak(self, alive: int, kept: Kept) -> int:
        """See `texturenets.engines.Engine`."""
        width = 4 if kept == "float32" else self.dtype.itemsize
        return int(STAGE * width * alive)

    def peak(self, size: tuple[int, int]) -> int:
        """See `texturenets.engines.Engine`. Told by a small picture, the first time."""
        with self.lock:
            if self._rate is None:
                side = self.facts.stride * -(-max(MEASURED, self.facts.least) // self.facts.stride)
                self._rate = asked_for(functools.partial(self._small, side), self.device) / side**2
        return int(self._rate * size[0] * size[1])

    @torch.inference_mode()
    def _small(self, side: int) -> Tensor:
        inputs = noise.draw_arrays(self.facts.noise, [0], side, side)
        if self.facts.channels:
            inputs.insert(0, np.zeros((1, self.facts.channels, side, side), np.float32))
        return self._pass([to_tensor(one).to(self.device, self.dtype) for one in inputs]).float()

    def _pass(self, inputs: Sequence[Tensor]) -> Tensor:
        y: Tensor
        if not self.facts.noise:
            y = self.network(inputs[0])
        elif self.facts.channels:
            y = self.network(inputs[0], list(inputs[1:]))
        else:
            y = self.network(None, list(inputs))
        return y

    def _recorded(self, inputs: list[Tensor]) -> Tensor:
        key = tuple(one.shape for one in inputs)
        first = key not in self._seen
        record = self._seen.pop(key, None)
        if first:
            while len(self._seen) >= GRAPHS:
                self._seen.popitem(last=False)
        self._seen[key] = record
        if first:
            return self._pass(inputs)
        if record is None:
            record = self._seen[key] = self._record(inputs)
        for place, one in zip(record.inputs, inputs, strict=True):
            place.copy_(one)
        record.graph.replay()
        return record.output.clone()

    def _record(self, inputs: list[Tensor]) -> _Recorded:
        places = [one.clone() for one in inputs]
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):  # libraries choose their kernels before, not while it is recorded
            self._pass(places)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = self._pass(places)
        return _Recorded(graph, places, output)
