"""A step of training as a CUDA graph: its thousand kernels are launched with one call.

On a GPU a step of these small networks takes longer to launch than to compute. The first steps run normally, while
libraries choose their kernels and the optimizer creates its state; the next one is captured, and from then on only
its inputs change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from texturenets.train.microbatch import Microbatch
from texturenets.train.progress import Progress

WARM_UP = 3  # steps before the capture; "a few warm-up iterations" (PyTorch's notes on CUDA graphs)

Result = tuple[dict[str, Tensor], Tensor]
"""Losses by name, and the images that the network made."""

StepFunction = Callable[[Sequence[Microbatch], Progress], Result]
"""A whole step: from microbatches and the progress of the training to losses and images."""


class CudaGraphStep:
    """Calls `step`, by a CUDA graph from the fourth call on. All inputs have the shapes of the first call's."""

    def __init__(self, step: StepFunction) -> None:
        self.step, self.calls = step, 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream: torch.cuda.Stream | None = None
        self.inputs: list[Tensor] = []

    def __call__(self, microbatches: Sequence[Microbatch], progress: Progress) -> Result:
        """As `step`. The images are valid until the next call."""
        self.calls += 1
        if self.calls <= WARM_UP:
            return self._warm_up(microbatches, progress)
        given = [*(x for one in microbatches for x in one.tensors()), *progress.tensors()]
        if self.graph is None:
            self._capture(microbatches, progress)
        for place, x in zip(self.inputs, given, strict=True):
            place.copy_(x, non_blocking=True)
        assert self.graph is not None
        self.graph.replay()
        # The results must stay valid after the next replay: one copy of all of them.
        values = self.values.clone().unbind()
        return dict(zip(self.names, values, strict=True)), self.images

    def _warm_up(self, microbatches: Sequence[Microbatch], progress: Progress) -> Result:
        """On a separate stream: autograd's records of the default stream cannot be captured."""
        self.stream = self.stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = self.step(microbatches, progress)
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def _capture(self, microbatches: Sequence[Microbatch], progress: Progress) -> None:
        places = [one.clone() for one in microbatches]
        tensors = [x for one in places for x in one.tensors()]
        far = progress.clone(tensors[0].device)
        self.inputs = [*tensors, *far.tensors()]
        self.graph = torch.cuda.CUDAGraph()
        # "thread_local": a thread that pins memory for the next batch may go on.
        with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
            losses, self.images = self.step(places, far)
            self.names, self.values = list(losses), torch.stack(list(losses.values()))
