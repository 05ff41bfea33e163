"""A style's network for pictures that do not fit: read when the first of them comes. No torch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.graph import ConversionError, Graph
from texturenets.image.sizes import padding
from texturenets.memory.budget import Budget
from texturenets.modelfiles import modelfile

if TYPE_CHECKING:
    import torch

    from texturenets.tiled.network import TiledNetwork
    from texturenets.tiled.rows import Interval, Size
    from texturenets.tiled.run import Sink
    from texturenets.tiled.sources import Source

MOST: Final = 2048
"""Bytes a pixel that no network here needs: pictures that fit at this rate are not looked at more closely. The most
was 1213, of pyramid in PyTorch (`benchmarks/speed.py memory`)."""

BESIDE: Final = 48
"""Bytes a pixel that are held while the network computes or after it, with its memory not given back yet: the photo
with its mirrored border, the painting clamped, and as bytes (`benchmarks/accept_megapixels.py`)."""


class Pieces:
    """The network of the model file at `path`, for pictures of any size, by `engine`.

    `smallest`: what pictures are padded to at least. `memory`: bytes
    that may be taken (None: a share of what is free); `spool`: where to keep what does not fit (None: a usual
    place). `announce` is told beforehand what a picture takes, in one line, and `progress` the share that is done.
    """

    def __init__(
        self,
        path: Path,
        engine: Any,
        smallest: int,
        *,
        memory: int | None = None,
        spool: Path | None = None,
    ) -> None:
        self.path = path
        self.smallest, self.memory, self.spool = smallest, memory, spool
        self.announce: Callable[[str], None] = lambda _: None
        self.progress: Callable[[float], None] = lambda _: None
        self._engine = engine

    @property
    def device(self) -> torch.device | None:
        """Where it computes; None is the processor."""
        device: torch.device | None = getattr(self._engine, "device", None)
        return device if device is not None and device.type != "cpu" else None

    @functools.cached_property
    def graph(self) -> Graph | None:
        """The network; None for code of somebody's own that has no form as a graph."""
        with suppress(ConversionError):
            return modelfile.read_graph(self.path)
        return None

    @functools.cached_property
    def network(self) -> TiledNetwork | None:
        """The network strip by strip; None where it cannot be."""
        from texturenets.tiled.network import TiledNetwork  # late: most photos fit

        return None if self.graph is None else TiledNetwork(self.graph, self._engine, self.smallest)

    @functools.cached_property
    def refiner(self) -> TiledNetwork:
        """The network for paintings that have been enlarged, strip by strip."""
        from texturenets.tiled.network import TiledNetwork, refined

        assert self.graph is not None
        return TiledNetwork(refined(self.graph), self._engine, self.smallest)

    def fits(self, size: Size) -> bool:
        """Whether the network can take a picture of `size` (H, W) at once, as far as can be told."""
        left = Budget.of(self.memory, self.device).left()
        if size[0] * size[1] * MOST <= left:
            return True
        io_spec = self._engine.io_spec
        padded, _ = padding(size, io_spec.stride, max(self.smallest, io_spec.least), io_spec.margin)
        beside = BESIDE * size[0] * size[1] if self.device is None else 0
        return self._engine.peak(padded) + beside <= left or self.network is None

    def repaint(
        self, photo: NDArray[np.float32], seed: int, level: float, *, fine: bool
    ) -> NDArray[np.float32]:
        """A photo (1, 3, H, W) repainted, with noise of that seed and level; `fine`: it is a painting, enlarged."""
        from texturenets.tiled.sources import InMemory

        painted = np.empty(photo.shape, np.float32)

        def keep(rows: Interval, y: NDArray[np.float32]) -> None:
            painted[:, :, rows[0] : rows[1]] = y

        source = InMemory(photo)
        beside = painted.nbytes if self.device is None else 0
        size = (photo.shape[2], photo.shape[3])
        self.run(source, size, keep, seed=seed, level=level, fine=fine, beside=beside)
        return painted

    def run(
        self,
        photo: Source,
        size: Size,
        sink: Sink,
        *,
        seed: int = 0,
        level: float = 1.0,
        fine: bool = False,
        beside: int = 0,
        folders: Sequence[Path] = (),
    ) -> None:
        """Repaint what `photo` gives, `size` (H, W) in all; `sink` takes the pieces, unclamped.

        `seed`, `level`: of the noise, if the network takes any. `beside`: bytes that the caller will take for the
        result. `folders`: other places for what does not fit. Raises UserError where memory or disk do not suffice.
        """
        network = self.refiner if fine else self.network
        assert network is not None
        network.run(
            photo,
            size,
            sink,
            memory=max(0, Budget.of(self.memory, self.device).left() - beside),
            seed=seed,
            level=level,
            spool=self.spool,
            folders=folders,
            announce=self.announce,
            progress=self.progress,
        )
