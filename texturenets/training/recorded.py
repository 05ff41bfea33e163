"""A step of training as a CUDA graph: its thousand kernels are launched with one call.

On a graphics card a step of our small networks takes longer to launch than to compute. The first steps run as they
are, while libraries choose their kernels and the optimizer makes its state; the next one is recorded, and from then
on only what a step is fed with changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from texturenets.training.parts import Part

WARM = 3  # steps before the recording; "a few warm-up iterations" (PyTorch's notes on CUDA graphs)

Losses = tuple[dict[str, Tensor], Tensor]
"""Losses by name, and the pictures drawn."""

Step = Callable[[Sequence[Part], float | Tensor], Losses]
"""A whole step: parts, and how much of the lattice penalty counts."""


class Recorder:
    """Calls `step`, by a graph from the fourth call on. All parts have tensors of the first call's shapes."""

    def __init__(self, step: Step) -> None:
        self.step, self.calls = step, 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream: torch.cuda.Stream | None = None
        self.inputs: list[Tensor] = []

    def __call__(self, parts: Sequence[Part], lattice: float) -> Losses:
        """As `step`. The pictures are valid until the next call."""
        self.calls += 1
        if self.calls <= WARM:
            return self._beside(parts, lattice)
        given = [*(x for part in parts for x in _tensors(part)), torch.tensor(lattice)]
        if self.graph is None:
            self._record(parts, lattice)
        for place, x in zip(self.inputs, given, strict=True):
            place.copy_(x, non_blocking=True)
        assert self.graph is not None
        self.graph.replay()
        # What is handed out must outlive the next replay; together, as one copy.
        values = self.values.clone().unbind()
        return dict(zip(self.names, values, strict=True)), self.pictures

    def _beside(self, parts: Sequence[Part], lattice: float) -> Losses:
        """On a stream of its own: what autograd remembers of the default one cannot be recorded."""
        self.stream = self.stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = self.step(parts, lattice)
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def _record(self, parts: Sequence[Part], lattice: float) -> None:
        places = [_copied(part) for part in parts]
        share = torch.tensor(lattice, device=next(_tensors(places[0])).device)
        self.inputs = [*(x for part in places for x in _tensors(part)), share]
        self.graph = torch.cuda.CUDAGraph()
        # "thread_local": a thread that pins memory for the next batch may go on.
        with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
            losses, self.pictures = self.step(places, share)
            self.names, self.values = list(losses), torch.stack(list(losses.values()))


def _tensors(part: Part) -> Iterator[Tensor]:
    if part.x is not None:
        yield part.x
    yield from part.noises
    for level in part.content or []:
        yield from level.values()


def _copied(part: Part) -> Part:
    """With tensors of its own, laid out as those."""
    content = [{k: v.clone() for k, v in level.items()} for level in part.content or []] or None
    return Part(
        part.count, None if part.x is None else part.x.clone(), [m.clone() for m in part.noises], content
    )
