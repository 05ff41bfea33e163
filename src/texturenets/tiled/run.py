"""A network on an image that does not fit in memory: pass by pass, strip by strip, with any engine. No torch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
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
from texturenets.tiled.release import Releases
from texturenets.tiled.rows import Interval, Size
from texturenets.tiled.sources import RowSource
from texturenets.tiled.spool import FeatureMap, OverflowedError, Spool
from texturenets.tiled.statistics import Moments
from texturenets.tiled.strip_graph import Key, StripGraph, build


class StageEngine(Protocol):
    """The part of an engine that stages need."""

    @property
    def spool_dtype(self) -> SpoolDtype:
        """The type of its input and output feature maps, which are spooled to disk, unless float32 is required."""

    @property
    def stage_streams(self) -> int:
        """The number of strips to compute at once."""

    def compile(self, stage: Stage, streams: int) -> CompiledStage:
        """Compile a stage, for calls from `streams` threads at once."""

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

MAX_STRIPS_BYTES: Final = 512 * 2**20
"""Maximum bytes for the strips that are computed at once, with more than the minimum rows. With half of it an image
of 16384 x 16384 pixels takes a twelfth longer, as more rows are computed twice; with twice as much no less time
(docs/measurements.md)."""

STRIP_COPIES: Final = 2
"""Copies of a strip's inputs and outputs in memory: in the engine, and being read or written to disk."""

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
    """Maximum number of bytes on disk at once, if no value exceeds the range of `spool_dtype_of`. Raises
    TooLittleMemoryError."""
    tiled = _TiledRun(job, spool_dtype_of(job))
    slack = (tiled.streams + 2) * max(tiled.heights) / job.size[0]
    return planning.disk(tiled.network, tiled.image_passes, BYTES[tiled.spool_dtype], slack)


@dataclass
class _Strip:
    """What a strip gives: its share in the statistics of the pass, and in the last pass its rows of the image."""

    moments: dict[int, Moments] = field(default_factory=dict)
    image: NDArray[np.float32] | None = None


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
        self.streams, self.heights = self._heights()
        self.lock = threading.Lock()
        """Of `compiled` and `free`, which all threads use."""

    def all(self, sink: RowSink, progress: ShareProgress) -> None:
        """Every pass."""
        last_read = planning.last_reads(self.image_passes)
        done, shares = 0.0, self._shares()
        with closing(Spool(self.job.folder)) as spool:
            for number, (image_pass, rows) in enumerate(zip(self.image_passes, self.heights, strict=True)):
                start, share = done, shares[number]
                for i in image_pass.written:
                    channels, size = self.network.nodes[i].channels, self.network.sizes[i]
                    self.maps[i] = FeatureMap(spool, channels, size, self.spool_dtype)
                strips = planning.strips(self.job.size[0], rows, self.job.graph.stride)
                leaving = {i: feature_map for i, feature_map in self.maps.items() if last_read[i] == number}
                self.releases = Releases(self.network, image_pass, strips, leaving)
                last = sink if number == len(self.image_passes) - 1 else None
                self._pass(image_pass, strips, last, lambda part: progress(start + share * part))  # noqa: B023
                done += share
                for i in leaving:
                    del self.maps[i]
        progress(1.0)

    def _shares(self) -> list[float]:
        """The estimated share of each pass in the work, by the multiply-adds of a strip."""
        strip = (0, min(self.job.size[0], 16 * self.job.graph.stride))
        steps = [planning.plan_steps(self.network, image_pass, strip) for image_pass in self.image_passes]
        efforts = [planning.effort(self.network, node_steps) for node_steps in steps]
        return [effort / sum(efforts) for effort in efforts]

    def _heights(self) -> tuple[int, list[int]]:
        """How many strips are computed at once, as many as the engine asks for and as fit, and the number of rows of
        the strips in each pass. Raises TooLittleMemoryError with the memory that one at a time needs.
        """
        height, stride, memory = self.job.size[0], self.job.graph.stride, self.job.memory
        fewest = self.job.rows or min(height, -(-MIN_ROWS // stride) * stride)
        least = max(self._needed(image_pass, fewest) for image_pass in self.image_passes)
        if least > memory and not self.job.rows:
            raise TooLittleMemoryError(least)
        streams = max(1, min(self.job.engine.stage_streams, memory // least))
        if self.job.rows:
            return streams, [fewest] * len(self.image_passes)
        most = min(MAX_STRIPS_BYTES, memory) // streams
        return streams, [self._rows(image_pass, fewest, most) for image_pass in self.image_passes]

    def _rows(self, image_pass: ImagePass, rows: int, most: int) -> int:
        """Number of rows of the image in a strip of that pass: `rows`, doubled as long as it needs at most `most`
        bytes."""
        while 2 * rows <= min(self.job.size[0], MAX_ROWS) and self._needed(image_pass, 2 * rows) <= most:
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

    def _pass(
        self, image_pass: ImagePass, strips: Sequence[Interval], sink: RowSink | None, progress: ShareProgress
    ) -> None:
        """One pass. Its strips are independent of each other, so several are in work at once, each by one thread that
        reads, computes and writes; what they give is taken in their order, whichever is ready first.
        """
        moments = {i: self._moments(i) for i in image_pass.measured}
        rest = iter(enumerate(strips))
        with ThreadPoolExecutor(self.streams, "texturenets-strip") as pool:
            ahead: deque[Future[_Strip]] = deque()
            try:
                for strip in islice(rest, self.streams + 1):
                    ahead.append(pool.submit(self._strip, image_pass, *strip))
                for number in range(len(strips)):
                    done = ahead.popleft().result()
                    for strip in islice(rest, 1):
                        ahead.append(pool.submit(self._strip, image_pass, *strip))
                    for i, part in done.moments.items():
                        moments[i].merge(part)
                    if sink is not None and done.image is not None:
                        sink(strips[number], done.image)
                    progress((number + 1) / len(strips))
            except OverflowedError:
                raise  # it is computed again
            except BaseException:
                for source in self.job.inputs.values():
                    source.stop()
                raise
            finally:
                for future in ahead:
                    future.cancel()
        self._normalize(moments)
        self.compiled.clear()
        self.free.clear()

    def _moments(self, i: int) -> Moments:
        users = (node for node in self.job.graph.nodes if i in node.sources)
        most = any(node.operation == "global_pool" and node.settings["mode"] == "max" for node in users)
        return Moments(largest=-np.inf if most else None)

    def _strip(self, image_pass: ImagePass, number: int, rows: Interval) -> _Strip:
        """Read what strip `number`, `rows` of the image, needs, compute it, and write the feature maps that are
        kept."""
        strip = build(self.network, image_pass, rows, self.weights)
        inputs = self._read(strip)
        self.releases.after(number)
        outputs = self._compute(image_pass, strip, inputs)
        done = _Strip()
        for i, given in strip.outputs.items():
            own, values = self.network.rows_of(i, rows), outputs[self._name(i)]
            inside = (
                slice(own[0] - given.rows[0], own[1] - given.rows[0]),
                slice(given.left, given.left + self.network.sizes[i][1]),
            )
            part = values[:, :, *inside] if i == self.network.last else values[:, *inside]
            if i in image_pass.measured:
                done.moments[i] = self._moments(i)
                done.moments[i].add(part)
            if i in self.maps and i in image_pass.written:
                self.maps[i].write(own, part)
            if i == self.network.last:
                done.image = np.array(part)  # a copy: the engine computes the next strip in the same memory
        return done

    def _read(self, strip: StripGraph) -> dict[str, Values]:
        values: dict[str, Values] = {}
        for name, (i, wanted, border) in strip.reads.items():
            if i in self.pooled:
                values[name] = self.pooled[i]
            elif self.network.is_given(i):
                values[name] = self.job.inputs[i].read(wanted)
            else:
                values[name] = self.maps[i].read(wanted, border, self._space)
        return values

    def _space(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
        """An array of that shape, reused if possible."""
        with self.lock:
            for number, array in enumerate(self.free):
                if array.shape == shape and array.dtype == kind:
                    return self.free.pop(number)
        return np.empty(shape, kind)

    def _compute(
        self, image_pass: ImagePass, strip: StripGraph, values: dict[str, Values]
    ) -> Mapping[str, Values]:
        key = strip.key
        with self.lock:
            if key not in self.compiled:
                self.compiled[key] = self.job.engine.compile(self._stage(image_pass, strip), self.streams)
            compiled = self.compiled[key]
        results = compiled(values | strip.matrices)
        with self.lock:
            self.free += [
                values[name] for name, read in strip.reads.items() if read.node in image_pass.on_disk
            ]
        return results

    def _stage(self, image_pass: ImagePass, strip: StripGraph) -> Stage:
        """The stage that computes `strip`, and others of the same key."""
        nodes = self.job.graph.nodes
        spooled = frozenset(name for name, read in strip.reads.items() if read.node in image_pass.on_disk)
        photo = (name for name, read in strip.reads.items() if nodes[read.node].operation == "photo")
        outputs = {self._name(i): part.number for i, part in strip.outputs.items()}
        return Stage(strip.graph, outputs, self.spool_dtype, spooled, frozenset(photo))

    def _name(self, i: int) -> str:
        return PICTURE if i == self.network.last else f"y{i}"

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
