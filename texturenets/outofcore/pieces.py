"""A style's network for pictures that do not fit: taken apart when the first of them comes. No torch until then."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets import modelfile
from texturenets.budget import Budget
from texturenets.errors import UserError
from texturenets.sizes import padding

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from texturenets.outofcore.regions import Region, Size
    from texturenets.outofcore.run import Sink
    from texturenets.outofcore.sources import Source
    from texturenets.outofcore.staged import Staged

MOST: Final = 2048
"""Bytes a pixel that no network here needs: pictures that fit at this rate are not looked at more closely. The most
was 1213, of pyramid in PyTorch (`benchmarks/speed.py memory`)."""

BESIDE: Final = 48
"""Bytes a pixel that are held while the network computes or after it, with its memory not given back yet: the photo
with its mirrored border, the painting clamped, and as bytes (`benchmarks/accept_megapixels.py`)."""


class Pieces:
    """The network of the model file at `path`, for pictures of any size, on the device of `engine`.

    `generator`: as `network_files.load` takes it. `smallest`: what pictures are padded to at least. `memory`: bytes
    that may be taken (None: a share of what is free); `spool`: where to keep what does not fit (None: a usual
    place). `announce` is told beforehand what a picture takes, in one line, and `progress` the share that is done.
    """

    def __init__(
        self,
        path: Path,
        engine: Any,
        smallest: int,
        *,
        generator: Callable[..., Any] | str | None = None,
        memory: int | None = None,
        spool: Path | None = None,
    ) -> None:
        self.path, self.generator = path, generator
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
    def _network(self) -> nn.Module:
        from texturenets.generators import network_files

        network, _ = network_files.load(self.path, self.generator)
        return network if self.device is None else network.to(self.device)

    def _take_apart(self, network: nn.Module) -> Staged:
        import torch

        from texturenets.outofcore.staged import Staged

        return Staged(network, self.device or torch.device("cpu"), self.smallest)

    @functools.cached_property
    def staged(self) -> Staged | None:
        """The network taken apart; None for code of somebody's own that cannot be."""
        try:
            return self._take_apart(self._network)
        except UserError:
            if modelfile.read_header(self.path).custom:
                return None
            raise

    @functools.cached_property
    def refiner(self) -> Staged:
        """The network for paintings that have been enlarged, taken apart."""
        import torch

        from texturenets.generators.refined import Refined

        return self._take_apart(Refined(self._network).eval().to(self.device or torch.device("cpu")))

    def fits(self, size: Size) -> bool:
        """Whether the network can take a picture of `size` (H, W) at once, as far as can be told."""
        left = Budget.of(self.memory, self.device).left()
        if size[0] * size[1] * MOST <= left:
            return True
        facts = self._engine.facts
        padded, _ = padding(size, facts.stride, max(self.smallest, facts.least), facts.margin)
        beside = BESIDE * size[0] * size[1] if self.device is None else 0
        return self._engine.peak(padded) + beside <= left or self.staged is None

    def repaint(
        self, photo: NDArray[np.float32], seed: int, level: float, *, fine: bool
    ) -> NDArray[np.float32]:
        """A photo (1, 3, H, W) repainted, with noise of that seed and level; `fine`: it is a painting, enlarged."""
        import torch

        from texturenets.outofcore.sources import InMemory

        painted = np.empty(photo.shape, np.float32)

        def keep(place: Region, y: Tensor) -> None:
            painted[:, :, place.top : place.bottom, place.left : place.right] = y.cpu().numpy()

        source = InMemory(torch.from_numpy(photo))
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
        staged = self.refiner if fine else self.staged
        assert staged is not None
        staged.run(
            photo,
            size,
            sink,
            memory=max(0, Budget.of(self.memory, self.device).left() - beside),
            seed=seed,
            level=level,
            precision=self._precision(),
            spool=self.spool,
            folders=folders,
            announce=self.announce,
            progress=self.progress,
        )

    def _precision(self) -> torch.dtype:
        """The engine's, on a graphics card; float32 on the processor."""
        import torch

        precision: torch.dtype = getattr(self._engine, "dtype", torch.float32)
        return precision
