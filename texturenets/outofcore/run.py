"""A network on a picture that does not fit: pass after pass, tile after tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from texturenets.graph import Graph
from texturenets.outofcore import plan as planning
from texturenets.outofcore.compute import operate
from texturenets.outofcore.plan import Network, Pass, Step, Tiling
from texturenets.outofcore.regions import Region, Size
from texturenets.outofcore.sources import Source
from texturenets.outofcore.spool import HalfMap, OverflowedError

Stats = dict[str, Tensor]


Sink = Callable[[Region, Tensor], None]
"""Takes the picture, unclamped, in pieces that share it out, row by row from the top and each row of pieces from
the left: where it lies, and (1, 3, height, width) float32 on the device."""

SUMMED: Final = 4096
"""Numbers of a channel that are added up in float32."""

Progress = Callable[[float], None]
"""Called with the share of the work that is done, from 0 to 1."""


@dataclass
class Moments:
    """Sums over a map (float32 or wider), a channel each, in float64."""

    count: int = 0
    total: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        """Take in `x` (1, C, height, width)."""
        rows = x[0].permute(1, 2, 0)
        # Some thousand numbers a channel at once: so few lose no digits in float32. All of them in float64 would be a
        # second copy of the map, twice as large, and take seven times as long.
        for part in torch.split(rows, max(1, SUMMED // rows.shape[1])):
            sums = torch.stack([part.sum((0, 1)), part.square().sum((0, 1))])
            total, squares = sums.to("cpu" if sums.device.type == "mps" else sums.device).double()
            self.total = self.total + total
            self.squares = self.squares + squares
        self.count += x.shape[2] * x.shape[3]

    def scale_and_shift(
        self, weight: Tensor | None, bias: Tensor | None, eps: float, groups: int = 0
    ) -> Stats:
        """Normalization with these statistics and those weights, as x * scale + shift.

        `groups`: of channels that are normalized together; 0, each alone.
        """
        assert isinstance(self.total, Tensor)
        assert isinstance(self.squares, Tensor)
        mean, squares = self.total / self.count, self.squares / self.count
        if groups:
            each = len(mean) // groups
            mean, squares = (v.view(groups, each).mean(1).repeat_interleave(each) for v in (mean, squares))
        variance = (squares - mean.square()).clamp(min=0)
        scale = (variance + eps).rsqrt()
        if weight is not None:
            scale = scale * weight.to(scale)
        shift = -mean * scale
        if bias is not None:
            shift = shift + bias.to(shift)
        return {"scale": scale, "shift": shift}


@dataclass
class Job:
    """All that a run needs to know.

    `inputs` are the sources of the nodes "photo" and "noise", by number. `memory`: bytes for the maps of one
    tile. `precision`: what convolutions compute in. `tile`: height and width of tiles, multiples of the stride,
    instead of those that suit the memory.
    """

    graph: Graph
    picture: Size
    stride: int
    inputs: Mapping[int, Source]
    folder: Path
    memory: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: torch.dtype = torch.float32
    tile: Size | None = None


class Plan:
    """How a network is taken through a picture of a given size: passes, what is kept, bytes on disk.

    `exact`: maps are kept in float32, not in half precision.
    """

    def __init__(self, graph: Graph, picture: Size, *, exact: bool = False) -> None:
        self.network = Network(graph.nodes, picture)
        # Rounding would change which of two pixels a pooling takes, and that choice is used later.
        compares = any(node.operation == "unpool" for node in graph.nodes)
        self.exact = frozenset(range(len(graph.nodes))) if exact or compares else frozenset[int]()
        self.kept = planning.choose(self.network, self.exact)
        self.passes = planning.passes(self.network, self.kept)

    @property
    def disk(self) -> int:
        """The most bytes on disk at once."""
        return planning.disk(self.network, self.passes, self.exact)


def run(job: Job, sink: Sink, progress: Progress = lambda _: None, plan: Plan | None = None) -> None:
    """Take the network through the picture and give the result to `sink`.

    Raises UserError where memory or disk do not suffice.
    """
    try:
        _Run(job, plan or Plan(job.graph, job.picture)).all(sink, progress)
    except OverflowedError:
        # Nothing has reached the sink: the last pass writes no maps.
        _Run(job, Plan(job.graph, job.picture, exact=True)).all(sink, progress)


def _part_of(progress: Progress, done: float, weight: float) -> Progress:
    """The progress of a part that begins at `done` and is `weight` of the whole."""
    return lambda share: progress(done + weight * share)


class _Run:
    def __init__(self, job: Job, plan: Plan) -> None:
        self.job, self.plan, self.network = job, plan, plan.network
        self.maps: dict[int, HalfMap] = {}
        self.stats: dict[int, Stats] = {}
        self.weights = {
            i: {k: self._weight(i, torch.tensor(v)) for k, v in job.graph.node_weights(i).items()}
            for i, node in enumerate(job.graph.nodes)
            if node.weights and not self.network.is_norm(i)
        }

    def _weight(self, i: int, values: Tensor) -> Tensor:
        values = values.to(self.job.device, self._precision(i))
        if values.ndim == 4 and self.job.device.type == "cpu":
            return values.contiguous(memory_format=torch.channels_last)
        return values

    def _precision(self, i: int) -> torch.dtype:
        """What node i computes in: half precision is for convolutions, but not for those that see or give a picture.

        Where a photo is flat, normalization makes of its rounding something that shows.
        """
        node = self.network.nodes[i]
        half = node.operation in ("conv", "deconv") and node.channels > 3 and not self._sees_input(i)
        return self.job.precision if half else torch.float32

    def _sees_input(self, i: int) -> bool:
        """Whether nothing but changes of place and size lies between node i and what the network is given."""
        before = self.network.sources[i]
        return any(
            self.network.is_input(s)
            or (self.network.nodes[s].operation not in _CHANGING and self._sees_input(s))
            for s in before
        )

    @torch.inference_mode()
    def all(self, sink: Sink, progress: Progress) -> None:
        """Every pass."""
        tilings = [self._tiling(one) for one in self.plan.passes]
        work = [
            planning.slowness(self.network, one, tile, self.job.stride)
            for one, tile in zip(self.plan.passes, tilings, strict=True)
        ]
        done = 0.0
        last_read = {i: one.number for one in self.plan.passes for i in one.read}
        try:
            for one, tile, share in zip(self.plan.passes, tilings, work, strict=True):
                weight = share / sum(work)
                self._pass(one, tile, sink, _part_of(progress, done, weight))
                done += weight
                for i in [i for i in self.maps if last_read.get(i, -1) <= one.number]:
                    self.maps.pop(i).close()
            progress(1.0)
        finally:
            for kept in self.maps.values():
                kept.close()

    def _tiling(self, one: Pass) -> Tiling:
        if self.job.tile is not None:
            height, width = (min(a, b) for a, b in zip(self.job.tile, self.job.picture, strict=True))
            return Tiling(height, width, 0)
        return planning.tiling(self.network, one, self.job.stride, self.job.memory)

    def _pass(self, one: Pass, tile: Tiling, sink: Sink, progress: Progress) -> None:
        for i in one.written:
            node, size = self.network.nodes[i], self.network.sizes[i]
            self.maps[i] = HalfMap(self.job.folder, node.channels, size, exact=i in self.plan.exact)
        moments = {i: Moments() for i in one.measured}
        places = list(planning.tiles(self.job.picture, tile))
        works = (
            planning.steps(self.network, {i: self.network.part(i, place) for i in one.targets}, one.ready)
            for place in places
        )
        with _ahead() as ahead:
            for number, (place, work, read) in enumerate(self._read_ahead(places, works, ahead), 1):
                for i, pieces in self._compute(work, read, one):
                    part = self.network.part(i, place)
                    x = _cut(pieces, part)
                    if i in moments:
                        moments[i].add(x)
                    if i in one.written:
                        self.maps[i].write(part, x)
                    if one.number == len(self.plan.passes) - 1 and i == self.network.last:
                        sink(part, x)
                progress(number / len(places))
        for i, node in enumerate(self.network.nodes):
            if self.network.is_norm(i) and node.sources[0] in moments:
                weights = {k: torch.tensor(v) for k, v in self.job.graph.node_weights(i).items()}
                found = moments[node.sources[0]].scale_and_shift(
                    weights.get("weight"), weights.get("bias"), node.settings["eps"], node.settings["groups"]
                )
                self.stats[i] = {k: v.to(self.job.device, torch.float32) for k, v in found.items()}

    def _read_ahead(
        self, places: Sequence[Region], works: Iterator[list[Step]], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[Region, list[Step], dict[int, list[Any]]]]:
        """Tiles with what they read: the next one's is read while one is computed."""
        waiting: tuple[Region, list[Step], Future[dict[int, list[Any]]]] | None = None
        for place, work in zip(places, works, strict=True):
            future = pool.submit(self._read, work)
            if waiting is not None:
                yield waiting[0], waiting[1], waiting[2].result()
            waiting = place, work, future
        if waiting is not None:
            yield waiting[0], waiting[1], waiting[2].result()

    def _read(self, work: Sequence[Step]) -> dict[int, list[Any]]:
        """What the steps that compute nothing give: inputs as tensors, maps as they stand on disk."""
        found: dict[int, list[Any]] = {}
        for step in work:
            if self.network.is_input(step.node):
                found[step.node] = [self.job.inputs[step.node].read(region) for region in step.regions]
            elif not step.sources:
                found[step.node] = [self.maps[step.node].spool.read(region) for region in step.regions]
        return found

    def _compute(
        self, work: Sequence[Step], read: dict[int, list[Any]], one: Pass
    ) -> Iterator[tuple[int, Sequence[tuple[Region, Tensor]]]]:
        """Give the targets of the pass as they are computed, in pieces that hold what is theirs of the tile."""
        used = {s for step in work if step.sources for s in self.network.sources[step.node]}
        pieces: dict[int, list[tuple[Region, Tensor]]] = {}
        for step in work:
            i = step.node
            if not step.sources:
                found = [self._given(i, value) for value in read.pop(i)]
            else:
                found = [
                    self._one(step, region, asked, pieces, one.ready)
                    for region, asked in zip(step.regions, step.sources, strict=True)
                ]
            pieces[i] = list(zip(step.regions, found, strict=True))
            for gone in step.last_use:
                del pieces[gone]
            if i in one.targets:
                yield i, pieces[i]
            del found
            if i not in used:
                del pieces[i]

    def _given(self, i: int, value: Any) -> Tensor:
        """What `_read` gave, as a tensor on the device."""
        if not self.network.is_input(i):
            return self.maps[i].unpack(value, self.job.device)
        x: Tensor = value.to(self.job.device)
        scale = self.network.nodes[i].settings.get("scale", 1.0)
        return x * scale if scale != 1 else x

    def _one(
        self,
        step: Step,
        region: Region,
        asked: Sequence[Sequence[Region]],
        pieces: Mapping[int, Sequence[tuple[Region, Tensor]]],
        ready: frozenset[int],
    ) -> Tensor:
        i = step.node
        node, sources = self.network.nodes[i], self.network.sources[i]
        precision = self._precision(i)
        taken = [
            [_cut(pieces[source], part) for part in parts]
            for source, parts in zip(sources, asked, strict=True)
        ]
        taken = [[part.to(precision) for part in parts] for parts in taken]
        weights = self.stats[i] if self.network.is_norm(i) else self.weights.get(i, {})
        alone = len(step.regions) == 1 and sources[0] in step.last_use and sources.count(sources[0]) == 1
        made = operate(
            node,
            region,
            taken,
            [self.network.sizes[s] for s in sources],
            weights,
            # Only what shares its memory with nothing that lives on
            disposable=alone and (self.network.nodes[sources[0]].operation in _FRESH or sources[0] in ready),
        )
        return made.float()


_CHANGING: Final = frozenset(["conv", "deconv", "norm"])
_FRESH: Final = frozenset(["conv", "deconv", "norm", "add", "affine"])


def _cut(pieces: Sequence[tuple[Region, Tensor]], part: Region) -> Tensor:
    """`part` of a map from the piece that holds it."""
    for place, x in pieces:
        if place == part:
            return x
        if place.holds(part):
            return x[
                :,
                :,
                part.top - place.top : part.bottom - place.top,
                part.left - place.left : part.right - place.left,
            ]
    raise AssertionError(f"{part} was not computed")


@contextmanager
def _ahead() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(1, "texturenets-read")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
