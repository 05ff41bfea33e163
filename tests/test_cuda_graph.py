"""Captured steps, with a stand-in for the GPU: a graph that runs the step anew on the tensors it was made with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from texturenets.train import cuda_graph
from texturenets.train.cuda_graph import WARM_UP, CudaGraphStep
from texturenets.train.microbatch import Microbatch
from texturenets.train.progress import Progress


class _Stream:
    def wait_stream(self, other: object) -> None: ...


class _Graph:
    """Replays by calling what was called while it was captured, and writes into what that gave."""

    replays = 0

    def replay(self) -> None:
        self.replays += 1
        losses, images = self.step(*self.given)
        for old, new in zip(self.losses.values(), losses.values(), strict=True):
            old.copy_(new)
        self.images.copy_(images)


class _Step:
    """Losses that depend on all that goes in; remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.graph: _Graph | None = None

    def __call__(self, microbatches: Any, progress: Progress) -> tuple[dict[str, Tensor], Tensor]:
        self.calls.append((microbatches, progress))
        total = sum(p.photos.sum() + p.noise[0].sum() + p.content[0]["a"].sum() for p in microbatches)
        total = total + progress.step
        result = {"style": total, "checkerboard": total * progress.share}, microbatches[0].photos * 2
        if self.graph is not None:
            graph, self.graph = self.graph, None
            graph.step, graph.given = self, (microbatches, progress)
            graph.losses, graph.images = result
        return result


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> _Step:
    made = _Step()

    @contextlib.contextmanager
    def graph(graph: _Graph, **_: object) -> Iterator[None]:
        made.graph = graph
        yield

    monkeypatch.setattr(cuda_graph.torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(cuda_graph.torch.cuda, "current_stream", _Stream)
    monkeypatch.setattr(cuda_graph.torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(cuda_graph.torch.cuda, "CUDAGraph", _Graph)
    monkeypatch.setattr(cuda_graph.torch.cuda, "graph", graph)
    # What the graph stacks must follow the losses when they are replayed.
    monkeypatch.setattr(cuda_graph.torch, "stack", _Stacked)
    return made


class _Stacked:
    def __init__(self, values: list[Tensor]) -> None:
        self.values = values

    def clone(self) -> Tensor:
        return torch.cat([v.detach().clone().reshape(1) for v in self.values])


def _microbatches(number: int) -> list[Microbatch]:
    x = torch.full((2, 3, 4, 4), float(number))
    return [Microbatch(2, x + i, [x + 1], [{"a": x - 1}]) for i in range(2)]


def _far(number: int) -> Progress:
    return Progress(number / 10, torch.tensor(number))


def test_each_step_gives_what_it_would_have_given(step: _Step) -> None:
    captured, plain = CudaGraphStep(step), _Step()
    kept = []
    for number in range(WARM_UP + 4):
        losses, images = captured(_microbatches(number), _far(number))
        expected, drawn = plain(_microbatches(number), _far(number))
        assert {k: float(v) for k, v in losses.items()} == pytest.approx(
            {k: float(v) for k, v in expected.items()}
        )
        assert torch.equal(images, drawn)
        kept.append((losses, expected))
    assert isinstance(captured.graph, _Graph)
    assert captured.graph.replays == 4
    for losses, expected in kept:  # what was handed out stays as it was
        assert float(losses["style"]) == pytest.approx(float(expected["style"]))


def test_the_captured_tensors_are_its_own(step: _Step) -> None:
    captured = CudaGraphStep(step)
    given = [_microbatches(n) for n in range(WARM_UP + 1)]
    for microbatches in given:
        captured(microbatches, _far(0))
    assert isinstance(captured.graph, _Graph)
    captured(_microbatches(9), _far(10))
    assert float(given[-1][0].photos[0, 0, 0, 0]) == WARM_UP  # type: ignore[index]
