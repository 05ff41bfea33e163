"""A style's network for images that do not fit in memory, loaded on first use. No torch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.engines import peak
from texturenets.errors import UserError
from texturenets.graph import ConversionError, Graph
from texturenets.graph.wrapping import wrapped
from texturenets.image.sizes import padding
from texturenets.memory.budget import Budget, note_run
from texturenets.memory.malloc import release_free_memory
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.variant import AS_IT_IS, Variant

if TYPE_CHECKING:
    import torch

    from texturenets.tiled.network import TiledNetwork
    from texturenets.tiled.rows import Interval, Size
    from texturenets.tiled.run import RowSink
    from texturenets.tiled.sources import RowSource

BYTES_OUTSIDE: Final = 48
"""Bytes per pixel held outside the network while its memory is still allocated: the padded photo, the clamped result,
and the result as bytes (`benchmarks/accept_megapixels.py`)."""


class TiledStyle:
    """The network of the model file at `path` on `engine`, for images of any size, computed in strips.

    `smallest`: images are padded to at least this many pixels per side. `memory`: bytes that may be used (None: a
    share of the free memory); `spool`: the folder for feature maps that do not fit (None: a default one). `variant`:
    the variant of the model's graph. Before an image `announce` is called with a message about the needed memory and
    disk; `progress` with the share done, 0 to 1.
    """

    def __init__(
        self,
        path: Path,
        engine: Any,
        smallest: int,
        *,
        memory: int | None = None,
        spool: Path | None = None,
        variant: Variant = AS_IT_IS,
    ) -> None:
        self.path, self.variant = path, variant
        self.smallest, self.memory, self.spool = smallest, memory, spool
        self.announce: Callable[[str], None] = lambda _: None
        self.progress: Callable[[float], None] = lambda _: None
        self._engine = engine

    @property
    def device(self) -> torch.device | None:
        """The GPU; None for the CPU."""
        device: torch.device | None = getattr(self._engine, "device", None)
        return device if device is not None and device.type != "cpu" else None

    @functools.cached_property
    def graph(self) -> Graph | None:
        """The graph of the network, not yet for images that wrap around; None for a user's network that cannot be
        traced."""
        with suppress(ConversionError):
            return modelfile.read_graph(self.path, mixture=self.variant.mixture)
        return None

    @functools.cached_property
    def network(self) -> TiledNetwork | None:
        """The network for strips; None without a graph."""
        return None if self.graph is None else self._network(self.graph)

    @functools.cached_property
    def refiner(self) -> TiledNetwork:
        """The network for strips of a stylized image that was enlarged (`stylize.stroke`)."""
        from texturenets.tiled.network import refined

        assert self.graph is not None
        return self._network(refined(self.graph))

    def _network(self, graph: Graph) -> TiledNetwork:
        from texturenets.tiled.network import TiledNetwork  # late: most photos fit

        wrap = self.variant.wrap
        return TiledNetwork(wrapped(graph, wrap) if wrap else graph, self._engine, self.smallest, wrap)

    def fits(self, size: Size) -> bool:
        """Whether an image of `size` (H, W) is estimated to fit in memory at once."""
        left = Budget.of(self.memory, self.device).left()
        if size[0] * size[1] * peak.MAX_BYTES_PER_PIXEL <= left:
            return True
        io_spec = self._engine.io_spec
        least = max(self.smallest, io_spec.min_side)
        padded, _ = padding(size, io_spec.stride, least, io_spec.margin, self.variant.wrap)
        beside = BYTES_OUTSIDE * size[0] * size[1] if self.device is None else 0
        return self._engine.peak(padded) + beside <= left or self.network is None

    def stylize(
        self,
        photo: NDArray[np.float32],
        seed: int,
        level: float,
        *,
        fine: bool,
        styles: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Stylize a photo (1, 3, H, W), with noise of that seed and level. `fine`: the photo is an enlarged result.
        `styles`: the style map (1, components, H, W), if the network has that input.
        """
        from texturenets.tiled.sources import InMemory

        stylized = np.empty(photo.shape, np.float32)

        def keep(rows: Interval, y: NDArray[np.float32]) -> None:
            stylized[:, :, rows[0] : rows[1]] = y

        source = InMemory(photo)
        beside = stylized.nbytes if self.device is None else 0
        size = (photo.shape[2], photo.shape[3])
        where = None if styles is None else InMemory(styles)
        self.run(source, size, keep, seed=seed, level=level, fine=fine, beside=beside, styles=where)
        return stylized

    def run(
        self,
        photo: RowSource,
        size: Size,
        sink: RowSink,
        *,
        seed: int = 0,
        level: float = 1.0,
        fine: bool = False,
        beside: int = 0,
        folders: Sequence[Path] = (),
        styles: RowSource | None = None,
    ) -> None:
        """Stylize `photo` of `size` (H, W); `sink` receives the result in strips, unclamped. `seed`, `level`: of the
        noise, if the network has noise inputs. `beside`: bytes that the caller needs for the result. `folders`:
        further candidates for the spool. `styles`: the style map, if the network has that input. Raises UserError if
        memory or disk do not suffice.
        """
        from texturenets.tiled.run import TooLittleMemoryError

        network = self.refiner if fine else self.network
        assert network is not None
        release_free_memory()  # so that memory freed by earlier images does not count as used
        budget = Budget.of(self.memory, self.device)
        try:
            network.run(
                photo,
                size,
                sink,
                memory=max(0, budget.left() - beside),
                seed=seed,
                level=level,
                styles=styles,
                spool=self.spool,
                folders=folders,
                announce=self.announce,
                progress=self.progress,
            )
        except TooLittleMemoryError as error:
            needed = budget.needed(beside + error.least)
            raise UserError(
                f"{error}: it takes {needed}, or a smaller image, for example with `size`"
            ) from None
        note_run()
