"""A network prepared for images larger than memory: the optimized graph and its inputs, for `run`. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets import noise
from texturenets.errors import UserError
from texturenets.graph import Graph, noise_input
from texturenets.graph.conditional import STYLES
from texturenets.graph.passes import CPU_PASSES, optimize
from texturenets.graph.wrapping import Wrap
from texturenets.image.blend import gaussian_kernel
from texturenets.image.sizes import padding, period
from texturenets.noise import NoiseInput
from texturenets.tiled import plan as planning
from texturenets.tiled.plan import PlannedNetwork
from texturenets.tiled.rows import Interval, Size
from texturenets.tiled.run import (
    RowSink,
    ShareProgress,
    StageEngine,
    TiledJob,
    TooLittleMemoryError,
    disk,
    run,
)
from texturenets.tiled.sources import Computed, Padded, RowSource
from texturenets.tiled.spool import choose_folder, gigabytes

STRIP_SHARE: Final = 0.6
"""Share of the remaining memory that a strip may take; the rest is for buffers of the libraries."""


class TiledNetwork:
    """The network `graph`, strip by strip, on `engine`.

    `smallest`: images are padded to at least this many pixels per side. `wrap`: the axes along which they wrap
    around, as `graph` does (`graph.wrapping`). Raises UserError for a network with a fixed output size, or with
    inputs other than a photo, noise and a style map.
    """

    def __init__(self, graph: Graph, engine: StageEngine, smallest: int = 1, wrap: Wrap = "") -> None:
        if graph.fixed_size:
            raise UserError(f"this network draws only images of {graph.stride} pixels per side, none larger")
        others = [named.name for named in graph.io_spec.inputs if named.name != STYLES or named.stride != 1]
        if others:
            names = ", ".join(others)
            raise UserError(f"this network takes {names} beside a photo: its images have to fit in memory")
        self.stride, self.margin, self.wrap = graph.stride, graph.margin, wrap
        self.smallest = max(smallest, graph.io_spec.min_side)
        self.graph, self.engine = optimize(graph, CPU_PASSES), engine

    def run(
        self,
        photo: RowSource,
        size: Size,
        sink: RowSink,
        *,
        memory: int,
        seed: int = 0,
        level: float = 1.0,
        styles: RowSource | None = None,
        spool: Path | None = None,
        folders: Sequence[Path] = (),
        announce: Callable[[str], None] = lambda _: None,
        progress: ShareProgress = lambda _: None,
    ) -> None:
        """Stylize `photo` of `size` (H, W) and pass the result to `sink`, strip by strip. `seed`, `level`: of the
        noise, if it has noise inputs. `styles`: the style map, if it has that input, of the photo's size. `memory`:
        bytes for everything. `spool`: the folder for feature maps that do not fit; by default a usual one, or one of
        `folders`. `announce` is called with a message about the needed memory and disk. Raises TooLittleMemoryError
        with the `memory` that suffices, and UserError if the disk does not.
        """
        padded, box = padding(size, self.stride, self.smallest, self.margin, self.wrap)
        drawn = period(box, padded, self.wrap)
        inputs = self._inputs(Padded(photo, padded, box, self.wrap), padded, drawn, seed, level)
        if styles is not None:
            number = next(i for i, node in enumerate(self.graph.nodes) if node.operation == "input")
            inputs[number] = Padded(styles, padded, box, self.wrap)
        job = TiledJob(self.graph, padded, inputs, Path(), int(STRIP_SHARE * memory), self.engine)
        top, left, height, width = box

        def cropped(rows: Interval, x: NDArray[np.float32]) -> None:
            low, high = max(rows[0], top), min(rows[1], top + height)
            if high > low:
                sink((low - top, high - top), x[:, :, low - rows[0] : high - rows[0], left : left + width])

        try:
            needed = disk(job)
            job.folder = choose_folder(needed, spool, folders)
            if needed:
                num_passes = len(planning.plan_passes(PlannedNetwork(self.graph.nodes, padded)))
                announce(
                    f"{size[1]} x {size[0]} pixels in {num_passes} passes, within {gigabytes(memory)} for the "
                    f"network and {gigabytes(needed)} of disk in {job.folder}"
                )
            run(job, cropped, progress)
        except TooLittleMemoryError as error:
            raise TooLittleMemoryError(int(error.least / STRIP_SHARE)) from None

    def _inputs(
        self, photo: RowSource, size: Size, drawn: Size, seed: int, level: float
    ) -> dict[int, RowSource]:
        """The inputs by node. `drawn`: the part of `size` for which noise is generated; it repeats to the bottom and
        right."""
        inputs: dict[int, RowSource] = {}
        stream = 0
        for i, node in enumerate(self.graph.nodes):
            if node.operation == "photo":
                inputs[i] = photo
            elif node.operation == "noise":
                stride = node.settings["stride"]
                one = noise.wrapped(noise_input(node), *drawn)
                rows, columns = drawn[0] // stride, drawn[1] // stride
                maps = Computed(_noise(one, seed, stream, level, columns))
                whole = size[0] // stride, size[1] // stride
                inputs[i] = Padded(maps, whole, (0, 0, rows, columns), self.wrap)
                stream += 1
        return inputs


def _noise(
    one: NoiseInput, seed: int, stream: int, level: float, width: int
) -> Callable[[int, int], NDArray[np.float32]]:
    """A function from the first row and the number of rows to that part of a noise map, (1, C, rows, width)."""

    def rows(top: int, height: int) -> NDArray[np.float32]:
        values = noise.array(one, seed, stream, top, 0, height, width)[None]
        return noise.levelled([values], [one], [level])[0]

    return rows


def refined(graph: Graph) -> Graph:
    """`graph` for a stylized image that has been enlarged: followed by `texturenets.image.blend`.

    Low frequencies stay those of the enlarged image, high frequencies are the network's.
    """
    result = Graph(list(graph.nodes), dict(graph.weights), graph.margin, graph.multiple, graph.fixed_size)
    photo = next(i for i, node in enumerate(result.nodes) if node.operation == "photo")
    weights = gaussian_kernel()
    reach = len(weights) // 2
    stylized = _append(result, "clamp", len(result.nodes) - 1, low=0, high=1)
    lost = _append(result, "add", photo, _append(result, "linear", stylized, by=-1))
    wide = _append(result, "pad", lost, amount=(reach,) * 4, mode="reflect")
    for number, kernel in enumerate(((len(weights), 1), (1, len(weights)))):
        name = f"blur.{number}"
        result.weights[name] = np.tile(weights.reshape(1, 1, *kernel), (3, 1, 1, 1))
        wide = result.add("conv", [wide], {"weight": name}, out=3, kernel=kernel, groups=3)
    _append(result, "add", stylized, wide)
    return result


def _append(graph: Graph, operation: str, *sources: int, **settings: Any) -> int:
    return graph.add(operation, sources, {}, **settings)
