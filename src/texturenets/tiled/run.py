"""A network on an image that does not fit in memory: pass by pass, strip by strip, with any engine. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from texturenets.engines.peak import most_live
from texturenets.errors import UserError
from texturenets.graph import Graph
from texturenets.graph.stage import PICTURE, CompiledStage, SpoolDtype, Stage, Values
from texturenets.tiled import plan as planning
from texturenets.tiled.plan import ImagePass, PlannedNetwork
from texturenets.tiled.rows import Interval, Size
from texturenets.tiled.sources import RowSource
from texturenets.tiled.spool import FeatureMap, OverflowedError, SpoolFiles
from texturenets.tiled.statistics import Moments
from texturenets.tiled.strip_graph import Key, StripGraph, build


class StageEngine(Protocol):
    """The part of an engine that stages need."""

    @property
    def spool_dtype(self) -> SpoolDtype:
        """The type of its input and output feature maps, which are spooled to disk, unless float32 is required."""

    def compile(self, stage: Stage) -> CompiledStage:
        """Compile a stage."""

    def stage_peak(self, live: int, dtype: SpoolDtype) -> int:
        """Estimated peak memory in bytes of a stage with at most `live` elements of feature maps live at once."""


RowSink = Callable[[Interval, NDArray[np.float32]], None]
"""Receives the image from the top, unclamped: the rows, and (1, 3, height, W) float32."""

ShareProgress = Callable[[float], None]
"""Called with the share of the work that is done, from 0 to 1."""

MIN_ROWS: Final = 16
"""Minimum rows of the image in a strip: with fewer, most rows are computed twice, in the overlap of strips."""

MAX_ROWS: Final = 1024
"""Maximum rows of the image in a strip: more are not faster."""

MAX_STRIP_BYTES: Final = 768 * 2**20
"""Maximum bytes for a strip with more than the minimum rows; larger strips are not faster."""

STRIP_COPIES: Final = 4
"""Copies of a strip's inputs and outputs in memory: in the engine, read ahead, and being written to disk."""

BYTES: Final[dict[SpoolDtype, int]] = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of an element on disk."""


@dataclass
class TiledJob:
    """The parameters of a run over one large image.

    `size`: height and width of the image, multiples of the graph's stride. `inputs` are the sources of the nodes
    "photo" and "noise", by number. `memory`: bytes for a strip. `rows`: rows of a strip, a multiple of the stride;
    None: as many as fit. `exact`: compute, and keep feature maps, in float32.
    """

    graph: Graph
    size: Size
    inputs: Mapping[int, RowSource]
    folder: Path
    memory: int
    engine: StageEngine
    rows: int | None = None
    exact: bool = False


class TooLittleMemoryError(UserError):
    """Not even the smallest strips fit: they take `least` bytes."""

    def __init__(self, least: int) -> None:
        super().__init__(f"not enough memory even for small strips, which take {least / 1e6 + 1:.0f} MB")
        self.least = least


def run(job: TiledJob, sink: RowSink, progress: ShareProgress = lambda _: None) -> None:
    """Compute the network on the image, strip by strip, and pass the result to `sink`.

    Raises UserError if memory or disk do not suffice.
    """
    try:
        _TiledRun(job, spool_dtype_of(job)).all(sink, progress)
    except OverflowedError:
        # It is safe to start again: only the last pass, which spools no feature maps, writes to the sink.
        _TiledRun(job, "float32").all(sink, progress)


def spool_dtype_of(job: TiledJob) -> SpoolDtype:
    """The type in which feature maps are spooled to disk."""
    # Max pooling with indices: rounding could change which pixel is the maximum, and unpooling uses the index later.
    if job.exact or any(node.operation == "unpool" for node in job.graph.nodes):
        return "float32"
    return job.engine.spool_dtype


def disk(job: TiledJob) -> int:
    """Maximum number of bytes on disk at once, if no value exceeds the range of `spool_dtype_of`."""
    network = PlannedNetwork(job.graph.nodes, job.size)
    return planning.disk(network, planning.plan_passes(network), BYTES[spool_dtype_of(job)])


@dataclass
class _Work:
    """One strip of a pass, with its inputs."""

    rows: Interval
    strip: StripGraph
    values: dict[str, Values] = field(default_factory=dict)


class _TiledRun:
    def __init__(self, job: TiledJob, dtype: SpoolDtype) -> None:
        self.job, self.spool_dtype = job, dtype
        self.network = PlannedNetwork(job.graph.nodes, job.size)
        self.image_passes = planning.plan_passes(self.network)
        self.maps: dict[int, FeatureMap] = {}
        self.weights = dict(job.graph.weights)
        self.pooled: dict[int, Values] = {}
        self.compiled: dict[Key, CompiledStage] = {}
        self.free: list[NDArray[Any]] = []
        """Arrays of finished strips, for reuse: allocating new memory is slow."""

    def all(self, sink: RowSink, progress: ShareProgress) -> None:
        """Every pass."""
        heights = self._heights()
        last_read = planning.last_reads(self.image_passes)
        most = planning.disk(self.network, self.image_passes, BYTES[self.spool_dtype])
        done, shares = 0.0, self._shares()
        with closing(SpoolFiles(self.job.folder, most)) as files:
            for number, (image_pass, rows) in enumerate(zip(self.image_passes, heights, strict=True)):
                start, share = done, shares[number]
                for i in image_pass.written:
                    channels, size = self.network.nodes[i].channels, self.network.sizes[i]
                    file = files.take(BYTES[self.spool_dtype] * self.network.num_elements(i))
                    self.maps[i] = FeatureMap(file, channels, size, self.spool_dtype)
                last = sink if number == len(self.image_passes) - 1 else None
                self._pass(image_pass, rows, last, lambda part: progress(start + share * part))  # noqa: B023
                done += share
                for i in [i for i in self.maps if last_read[i] == number]:
                    files.give_back(self.maps.pop(i).file)
        progress(1.0)

    def _shares(self) -> list[float]:
        """The estimated share of each pass in the work, by the multiply-adds of a strip."""
        strip = (0, min(self.job.size[0], 16 * self.job.graph.stride))
        steps = [planning.plan_steps(self.network, image_pass, strip) for image_pass in self.image_passes]
        efforts = [planning.effort(self.network, node_steps) for node_steps in steps]
        return [effort / sum(efforts) for effort in efforts]

    def _heights(self) -> list[int]:
        """Number of rows of the strips in each pass. Raises TooLittleMemoryError with the memory that all of them
        need."""
        if self.job.rows:
            return [self.job.rows] * len(self.image_passes)
        height, stride = self.job.size[0], self.job.graph.stride
        fewest = min(height, -(-MIN_ROWS // stride) * stride)
        if (
            least := max(self._needed(image_pass, fewest) for image_pass in self.image_passes)
        ) > self.job.memory:
            raise TooLittleMemoryError(least)
        return [self._rows(image_pass, fewest) for image_pass in self.image_passes]

    def _rows(self, image_pass: ImagePass, rows: int) -> int:
        """Number of rows of the image in a strip of that pass: `rows`, doubled as long as memory suffices."""
        height = self.job.size[0]
        while 2 * rows <= min(height, MAX_ROWS) and self._needed(image_pass, 2 * rows) <= min(
            MAX_STRIP_BYTES, self.job.memory
        ):
            rows *= 2
        return rows

    def _needed(self, image_pass: ImagePass, rows: int) -> int:
        """Memory in bytes that a strip of `rows` rows needs."""
        stride = self.job.graph.stride
        middle = (self.job.size[0] - rows) // 2 // stride * stride
        strip = build(self.network, image_pass, (middle, middle + rows), self.weights)
        nodes = strip.graph.nodes
        size = [node.channels * node.extra_rows * node.extra_columns for node in nodes]
        last = {source: number for number, node in enumerate(nodes) for source in node.sources}
        last.update({part.number: len(nodes) for part in strip.outputs.values()})
        live = int(most_live([(n, last.get(n, n), size[n]) for n in range(len(nodes))]))
        ends = sum(size[n] for n, node in enumerate(nodes) if not node.sources)
        ends += sum(size[part.number] for part in strip.outputs.values())
        return (
            self.job.engine.stage_peak(live, self.spool_dtype) + STRIP_COPIES * ends * BYTES[self.spool_dtype]
        )

    def _pass(self, image_pass: ImagePass, rows: int, sink: RowSink | None, progress: ShareProgress) -> None:
        moments = {i: self._moments(i) for i in image_pass.measured}
        strips = planning.strips(self.job.size[0], rows, self.job.graph.stride)
        with (
            ThreadPoolExecutor(1, "texturenets-read") as reader,
            ThreadPoolExecutor(1, "texturenets-keep") as keeper,
        ):
            ahead: Future[_Work] = reader.submit(self._read, image_pass, strips[0])
            behind: Future[None] | None = None
            try:
                for number in range(len(strips)):
                    work = ahead.result()
                    if number + 1 < len(strips):
                        ahead = reader.submit(self._read, image_pass, strips[number + 1])
                    outputs = self._compute(image_pass, work)
                    if behind is not None:
                        behind.result()
                    behind = keeper.submit(self._keep, work, outputs, moments, sink)
                    progress((number + 1) / len(strips))
                if behind is not None:
                    behind.result()
            finally:
                ahead.cancel()
        self._normalize(moments)
        self.compiled.clear()
        self.free.clear()

    def _moments(self, i: int) -> Moments:
        users = (node for node in self.job.graph.nodes if i in node.sources)
        most = any(node.operation == "global_pool" and node.settings["mode"] == "max" for node in users)
        return Moments(largest=-np.inf if most else None)

    def _read(self, image_pass: ImagePass, rows: Interval) -> _Work:
        work = _Work(rows, build(self.network, image_pass, rows, self.weights))
        for name, (i, wanted, border) in work.strip.reads.items():
            if i in self.pooled:
                work.values[name] = self.pooled[i]
            elif self.network.is_given(i):
                work.values[name] = self.job.inputs[i].read(wanted)
            else:
                work.values[name] = self.maps[i].read(wanted, border, self._space)
        return work

    def _space(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
        """An array of that shape, reused if possible."""
        for number, array in enumerate(self.free):
            if array.shape == shape and array.dtype == kind:
                return self.free.pop(number)
        return np.empty(shape, kind)

    def _compute(self, image_pass: ImagePass, work: _Work) -> Mapping[str, Values]:
        strip = work.strip
        if strip.key not in self.compiled:
            spooled = frozenset(name for name, read in strip.reads.items() if read.node in image_pass.on_disk)
            photo = (
                name
                for name, read in strip.reads.items()
                if self.job.graph.nodes[read.node].operation == "photo"
            )
            outputs = {self._name(i): part.number for i, part in strip.outputs.items()}
            stage = Stage(strip.graph, outputs, self.spool_dtype, spooled, frozenset(photo))
            self.compiled[strip.key] = self.job.engine.compile(stage)
        results = self.compiled[strip.key](work.values | strip.matrices)
        self.free += [
            work.values[name] for name, read in strip.reads.items() if read.node in image_pass.on_disk
        ]
        work.values.clear()
        return results

    def _name(self, i: int) -> str:
        return PICTURE if i == self.network.last else f"y{i}"

    def _keep(
        self, work: _Work, outputs: Mapping[str, Values], moments: Mapping[int, Moments], sink: RowSink | None
    ) -> None:
        for i, given in work.strip.outputs.items():
            rows, values = self.network.rows_of(i, work.rows), outputs[self._name(i)]
            inside = (
                slice(rows[0] - given.rows[0], rows[1] - given.rows[0]),
                slice(given.left, given.left + self.network.sizes[i][1]),
            )
            part = values[:, :, *inside] if i == self.network.last else values[:, *inside]
            if i in moments:
                moments[i].add(part)
            if i in self.maps:
                self.maps[i].write(rows, part)
            if sink is not None and i == self.network.last:
                sink(rows, part)

    def _normalize(self, moments: Mapping[int, Moments]) -> None:
        """Convert statistics to the inputs of the nodes that wait for them."""
        for i, node in enumerate(self.network.nodes):
            if not self.network.waits(i) or node.sources[0] not in moments:
                continue
            statistics = moments[node.sources[0]]
            if node.operation == "global_pool":
                self.pooled[i] = statistics.pooled(node)
                continue
            weight, bias = (self.job.graph.weight(i, role) for role in ("weight", "bias"))
            scale, shift = statistics.scale_and_shift(node, weight, bias)
            self.weights[f"scale.{i}"], self.weights[f"shift.{i}"] = scale, shift
