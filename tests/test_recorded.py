"""Recorded steps, with a stand-in for the card: a graph that runs the step anew on the tensors it was made with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from texturenets.training import recorded
from texturenets.training.parts import Part
from texturenets.training.recorded import WARM, Recorder


class _Stream:
    def wait_stream(self, other: object) -> None: ...


class _Graph:
    """Replays by calling what was called while it was recorded, and writes into what that gave."""

    replays = 0

    def replay(self) -> None:
        self.replays += 1
        losses, pictures = self.step(*self.given)
        for old, new in zip(self.losses.values(), losses.values(), strict=True):
            old.copy_(new)
        self.pictures.copy_(pictures)


class _Step:
    """Losses that depend on all that goes in; remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.graph: _Graph | None = None

    def __call__(self, parts: Any, lattice: float | Tensor) -> tuple[dict[str, Tensor], Tensor]:
        self.calls.append((parts, lattice))
        total = sum(p.x.sum() + p.noises[0].sum() + p.content[0]["a"].sum() for p in parts)
        result = {"style": total, "lattice": total * lattice}, parts[0].x * 2
        if self.graph is not None:
            graph, self.graph = self.graph, None
            graph.step, graph.given = self, (parts, lattice)
            graph.losses, graph.pictures = result
        return result


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> _Step:
    made = _Step()

    @contextlib.contextmanager
    def graph(graph: _Graph, **_: object) -> Iterator[None]:
        made.graph = graph
        yield

    monkeypatch.setattr(recorded.torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(recorded.torch.cuda, "current_stream", _Stream)
    monkeypatch.setattr(recorded.torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(recorded.torch.cuda, "CUDAGraph", _Graph)
    monkeypatch.setattr(recorded.torch.cuda, "graph", graph)
    # What the recorder stacks must follow the losses when they are replayed.
    monkeypatch.setattr(recorded.torch, "stack", _Stacked)
    return made


class _Stacked:
    def __init__(self, values: list[Tensor]) -> None:
        self.values = values

    def clone(self) -> Tensor:
        return torch.cat([v.detach().clone().reshape(1) for v in self.values])


def _parts(number: int) -> list[Part]:
    x = torch.full((2, 3, 4, 4), float(number))
    return [Part(2, x + i, [x + 1], [{"a": x - 1}]) for i in range(2)]


def test_each_step_gives_what_it_would_have_given(step: _Step) -> None:
    recorder, plain = Recorder(step), _Step()
    kept = []
    for number in range(WARM + 4):
        losses, pictures = recorder(_parts(number), number / 10)
        expected, drawn = plain(_parts(number), number / 10)
        assert {k: float(v) for k, v in losses.items()} == pytest.approx(
            {k: float(v) for k, v in expected.items()}
        )
        assert torch.equal(pictures, drawn)
        kept.append((losses, expected))
    assert isinstance(recorder.graph, _Graph)
    assert recorder.graph.replays == 4
    for losses, expected in kept:  # what was handed out stays as it was
        assert float(losses["style"]) == pytest.approx(float(expected["style"]))


def test_the_recorded_tensors_are_its_own(step: _Step) -> None:
    recorder = Recorder(step)
    given = [_parts(n) for n in range(WARM + 1)]
    for parts in given:
        recorder(parts, 0.0)
    assert isinstance(recorder.graph, _Graph)
    recorder(_parts(9), 1.0)
    assert float(given[-1][0].x[0, 0, 0, 0]) == WARM  # type: ignore[index]
