"""A network ready for pictures of any size: what `run` needs, worked out once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from texturenets import noise
from texturenets.errors import UserError
from texturenets.generators.trace import trace
from texturenets.noise import NoiseInput
from texturenets.outofcore.regions import Region, Size
from texturenets.outofcore.run import Job, Plan, Progress, Sink, run
from texturenets.outofcore.sources import Computed, InMemory, Padded, Source
from texturenets.outofcore.spool import choose_folder, gigabytes
from texturenets.sizes import padding

_TILE: Final = 768 * 2**20
"""More for a tile is no quicker, and what is read ahead and written comes on top."""

_SHARE: Final = 0.6
"""Of the memory that is left, what the maps of one tile may take: the rest is for the next tile's input, for
what is on its way to disk, and for the copies that convolutions make."""


class Staged:
    """`network` (evaluation mode, on `device`) taken apart. Raises UserError where it cannot be.

    `smallest`: what pictures are padded to at least, as `api.SMALLEST`.
    """

    def __init__(self, network: nn.Module, device: torch.device, smallest: int = 1) -> None:
        self.graph = trace(network)
        if self.graph.fixed:
            raise UserError(f"{type(network).__name__} draws pictures of one size, and is not taken apart")
        self.stride, self.margin = (int(getattr(network, *known)) for known in (("stride", 1), ("margin", 0)))
        self.device, self.smallest = device, smallest
        self._check(network)

    def run(
        self,
        photo: Source,
        size: Size,
        sink: Sink,
        *,
        memory: int,
        seed: int = 0,
        level: float = 1.0,
        precision: torch.dtype = torch.float32,
        spool: Path | None = None,
        folders: Sequence[Path] = (),
        announce: Callable[[str], None] = lambda _: None,
        progress: Progress = lambda _: None,
    ) -> None:
        """Repaint `photo` of `size` (H, W) and give the result to `sink`, piece by piece.

        `seed`, `level`: of the noise, if it takes any. `memory`: bytes for all of it. `spool`: where to keep what
        does not fit; else a usual place or one of `folders`. What it takes is announced before. Raises UserError
        where memory or disk do not suffice.
        """
        padded, box = padding(size, self.stride, self.smallest, self.margin)
        plan = Plan(self.graph, padded)
        needed = plan.disk
        folder = choose_folder(needed, spool, folders)
        if needed:
            announce(
                f"{size[1]} x {size[0]} pixels in {len(plan.passes)} passes, within {gigabytes(memory)} for the "
                f"network and {gigabytes(needed)} of disk in {folder}"
            )
        top, left, height, width = box

        def cropped(place: Region, x: Tensor) -> None:
            inside = Region(
                max(place.top, top),
                min(place.bottom, top + height),
                max(place.left, left),
                min(place.right, left + width),
            )
            if inside.height > 0 and inside.width > 0:
                rows = slice(inside.top - place.top, inside.bottom - place.top)
                columns = slice(inside.left - place.left, inside.right - place.left)
                moved = Region(inside.top - top, inside.bottom - top, inside.left - left, inside.right - left)
                sink(moved, x[:, :, rows, columns])

        job = Job(
            self.graph,
            padded,
            self.stride,
            self._inputs(Padded(photo, box), seed, level),
            folder,
            min(_TILE, int(_SHARE * memory)),
            self.device,
            precision,
        )
        run(job, cropped, progress, plan)

    def _inputs(self, photo: Source, seed: int, level: float = 1.0) -> dict[int, Source]:
        inputs: dict[int, Source] = {}
        stream = 0
        for i, node in enumerate(self.graph.nodes):
            if node.operation == "photo":
                inputs[i] = photo
            elif node.operation == "noise":
                s = node.settings
                asked = NoiseInput(node.channels, s["stride"], s["distribution"])
                inputs[i] = Computed(functools.partial(_noise, asked, seed, stream, level))
                stream += 1
        return inputs

    def _check(self, network: nn.Module) -> None:
        """That the operations give what the network gives. Raises UserError where they do not."""
        side = max(64, 2 * self.stride)
        x = torch.rand(1, 3, side, side + self.stride, generator=torch.Generator().manual_seed(0))
        found = torch.empty_like(x)

        def keep(place: Region, y: Tensor) -> None:
            found[:, :, place.top : place.bottom, place.left : place.right] = y.cpu()

        inputs = self._inputs(InMemory(x), 0)
        size = (x.shape[2], x.shape[3])
        plan = Plan(self.graph, size, exact=True)
        run(
            Job(
                self.graph,
                size,
                self.stride,
                inputs,
                choose_folder(plan.disk, None),
                1 << 30,
                self.device,
            ),
            keep,
            plan=plan,
        )
        with torch.inference_mode():
            maps = noise.draw(getattr(network, "noise", ()), [0], *size, device=self.device)
            photo = x.to(self.device) if getattr(network, "photo", True) else None
            y = network(photo, *([maps] if maps else [])).float().cpu()
        if not torch.allclose(found, y, atol=2e-3, rtol=1e-3):
            raise UserError(
                f"taken apart, the network {type(network).__name__} gives another picture than whole (by "
                f"{float((found - y).abs().max()):.3g}): it can only be used on pictures that fit in memory"
            )


def _noise(  # noqa: PLR0917 (a place and a size)
    asked: NoiseInput, seed: int, stream: int, level: float, top: int, left: int, height: int, width: int
) -> Tensor:
    """The part at a place of one map of noise: (1, channels, height, width)."""
    make = noise.uniform if asked.distribution == "uniform" else noise.normal
    return noise.levelled(
        [make(seed, stream, top, left, height, width, asked.channels)[None]], [asked], [level]
    )[0]
