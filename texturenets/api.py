"""The Python interface: `load` a style, call it on a picture."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from texturenets import budget, devices, image, modelfile, sizes, specs
from texturenets.budget import Budget
from texturenets.errors import UserError
from texturenets.modelfile import Header
from texturenets.outofcore.regions import Region
from texturenets.outofcore.run import Sink
from texturenets.outofcore.sources import InMemory, Source
from texturenets.outofcore.staged import Staged, with_noise
from texturenets.stroke import Refined, Stroke, ladder
from texturenets.stroke import parse as parse_stroke

T = TypeVar("T")

SMALLEST = 64
"""Smaller pictures are continued by reflection to this many pixels a side while the network works on them:
instance normalization (arXiv 1607.08022) needs more than a few pixels for its statistics, at the coarsest
scale of the network too."""


SURELY_FITS = 2**20
"""Pixels that no memory is measured for, where no limit is given."""


class Style:
    """A network that repaints photos, from `load`.

    `name` is the style's name, `path` the model file, `header` what the file says of itself, `device` where
    the network runs (always in float32). Pictures that do not fit into `memory` bytes (None: a share of what is
    free) are repainted piece by piece, with the same result, and what does not fit is kept on disk meanwhile, in
    the folder `spool` (None: where the system keeps temporary files). `announce` is told so beforehand, in one
    line, and `progress` the share that is done.
    """

    def __init__(
        self,
        network: nn.Module,
        header: Header,
        path: Path,
        device: torch.device,
        *,
        memory: int | None = None,
        spool: Path | None = None,
    ) -> None:
        self.network = network.eval().to(device)
        self.header, self.path, self.device = header, path, device
        self.memory, self.spool = memory, spool
        self.announce: Callable[[str], None] = lambda _: None
        self.progress: Callable[[float], None] = lambda _: None

    @property
    def name(self) -> str:
        """The style's name, as its header has it."""
        return self.header.name

    def __repr__(self) -> str:
        return f"Style({self.name!r}, {self.header.generator.name}, {self.device})"

    def __call__(
        self,
        picture: T,
        *,
        size: int | None = None,
        strength: float = 1.0,
        preserve_color: bool = False,
        seed: int = 0,
        stroke: Stroke = 1,
    ) -> T:
        """Repaint `picture` and give the same kind back, as large as it was.

        `picture` is one of

        - a PIL image of any mode; RGB or, with transparency, RGBA comes back, turned upright;
        - an array (H, W), (H, W, 1 | 3 | 4): uint8, uint16, or floats in [0, 1]; the same type comes back;
        - a tensor (C, H, W) or (N, C, H, W), C = 1, 3 or 4: uint8, or floats in [0, 1]; the same type comes
          back on the same device. Of a batch every picture is repainted alone: its neighbours do not matter.

        Any size from 1 x 1 will do. A style paints in colour: grey pictures come back with three channels.
        Alpha is kept as it was.

        `size`: longer side of the result in pixels, the shape kept; None keeps the size. `strength`: 0 gives
        the photo, 1 the full style, between them the two are mixed pixel by pixel, in proportion.
        `preserve_color`: the photo's colours with the luminance of the result (arXiv 1606.05897), before
        mixing. `seed`: for the few generators that also take noise. `stroke`: 2 doubles the size of the strokes,
        0.5 halves it, "auto" keeps it relative to the picture; see `texturenets.stroke`.

        Raises UserError for an option out of its range, for what is no picture, and when memory runs out.
        """
        check_options(size, strength, stroke)
        source, kind = image.from_any(picture)
        photo = source.rgb
        if size is not None:
            photo = image.resize(photo, sizes.fit_longer(source.size, size))
        result: T = image.to_kind(
            self.stylize(photo, strength=strength, preserve_color=preserve_color, seed=seed, stroke=stroke),
            kind,
        )
        return result

    def stylize(
        self,
        photos: Tensor,
        *,
        strength: float = 1.0,
        preserve_color: bool = False,
        seed: int = 0,
        stroke: Stroke = 1,
    ) -> Tensor:
        """The same on `photos` (N, 3, H, W), float RGB in [0, 1]; gives (N, 3, H, W) on their device.

        Options and errors as in `__call__`.
        """
        check_options(None, strength, stroke)
        if strength == 0:
            return photos.clone()
        height, width = photos.shape[-2:]
        advice = (
            f"not enough memory on {self.device} for {width} x {height} pixels: ask for a smaller picture, "
            f"as with --size {max(1, max(height, width) // 2)} (in Python size=)"
        )
        with devices.memory_errors(advice):
            # One by one: what a picture becomes does not depend, to the last bit, on what else is asked for.
            painted = torch.cat(
                [self._paint(photo[None], seed, stroke).to(photos.device) for photo in photos]
            )
            painted = painted.clamp(0, 1)  # outside of inference mode, so that autograd takes the result
            if preserve_color:
                painted = image.preserve_color(painted, photos)
            return painted if strength == 1 else torch.lerp(photos, painted, strength)

    def _paint(self, photo: Tensor, seed: int, stroke: Stroke) -> Tensor:
        """(1, 3, H, W) to the same, with strokes of that size: coarse to fine where they are not the network's."""
        size = (photo.shape[2], photo.shape[3])
        first, *finer = ladder(size, stroke)
        y = self._repaint(image.resize(photo, first), seed)
        for stage in finer:
            y = self._repaint(image.resize(y.clamp(0, 1), stage), seed, fine=True)
        return image.resize(y, size)

    @torch.inference_mode()
    def _repaint(self, photo: Tensor, seed: int, *, fine: bool = False) -> Tensor:
        """(1, 3, H, W) to the same, unclamped: padded to what the network takes, and cropped back.

        `fine`: the photo is a painting that has been enlarged.
        """
        if not self.fits((photo.shape[2], photo.shape[3])):
            return self._in_pieces(photo, seed, fine)
        stride = int(getattr(self.network, "stride", 1))
        x, box = sizes.pad_to_multiple(photo.to(self.device, torch.float32), stride, SMALLEST)
        x = with_noise(x, int(getattr(self.header.generator, "noise_depth", 0)), seed)
        y: Tensor = (self.refiner if fine else self.network)(x)
        return sizes.crop_back(y, box)

    @functools.cached_property
    def staged(self) -> Staged | None:
        """The network taken apart; None for code of somebody's own that cannot be."""
        try:
            return Staged(self.network, self.device, SMALLEST)
        except UserError:
            if isinstance(self.header.generator, specs.Custom):
                return None
            raise

    @functools.cached_property
    def refiner(self) -> Refined:
        """The network for paintings that have been enlarged."""
        return Refined(self.network).eval().to(self.device)

    @functools.cached_property
    def staged_refiner(self) -> Staged:
        """That one taken apart."""
        return Staged(self.refiner, self.device, SMALLEST)

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether the network can take a picture of `size` (H, W) at once, as far as can be told."""
        if self.memory is None and size[0] * size[1] <= SURELY_FITS:
            return True
        return self.staged is None or self.staged.whole(size) <= Budget.of(self.device, self.memory).left()

    def _in_pieces(self, photo: Tensor, seed: int, fine: bool) -> Tensor:
        """`_repaint` for what does not fit."""
        painted = torch.empty(photo.shape, dtype=torch.float32)

        def keep(place: Region, y: Tensor) -> None:
            painted[:, :, place.top : place.bottom, place.left : place.right] = y

        beside = painted.nbytes if self.device.type == "cpu" else 0
        size = (photo.shape[2], photo.shape[3])
        self.repaint_source(InMemory(photo), size, keep, seed=seed, beside=beside, fine=fine)
        return painted

    def repaint_source(
        self,
        photo: Source,
        size: tuple[int, int],
        sink: Sink,
        *,
        seed: int = 0,
        fine: bool = False,
        beside: int = 0,
        folders: Sequence[Path] = (),
    ) -> None:
        """Repaint what `photo` gives, `size` (H, W) in all, piece by piece; `sink` takes the pieces, unclamped.

        `fine`: the photo is a painting that has been enlarged. `beside`: bytes that the caller will take for the result. `folders` are other places for what does not
        fit. Raises UserError where memory or disk do not suffice.
        """
        staged = self.staged_refiner if fine else self.staged
        assert staged is not None
        staged.run(
            photo,
            size,
            sink,
            memory=max(0, Budget.of(self.device, self.memory).left() - beside),
            seed=seed,
            spool=self.spool,
            folders=folders,
            announce=self.announce,
            progress=self.progress,
        )


def check_options(size: int | None, strength: float, stroke: Stroke = 1) -> None:
    """Raise UserError for a `size` below 1, a `strength` outside [0, 1] or a `stroke` that is none."""
    parse_stroke(str(stroke))
    if size is not None and size < 1:
        raise UserError(f"size {size} is not a number of pixels: the longer side is at least 1")
    if not 0 <= strength <= 1:  # also for NaN
        raise UserError(f"strength {strength} is not between 0 (the photo) and 1 (the full style)")


def shipped_styles() -> dict[str, Path]:
    """The styles that come with the package, {name: file}, in alphabetical order."""
    models = modelfile.shipped()
    return {name: path for name, path in models.items() if modelfile.read_header(path).kind == "style"}


def find_style(name: str | Path | None = None) -> Path:
    """The model file of a style: a shipped name or a file; None is the first shipped style.

    Raises UserError with the nearest name, or with the way out where no style is shipped.
    """
    # A name, not a file, and there is none to be had: say so rather than what it might be a misspelling of.
    bare = name is None or not (Path(name).suffix or Path(name).is_file() or Path(name).name != str(name))
    styles = shipped_styles() if bare else {}
    if bare and not styles:
        asked = "" if name is None else f", so none called {str(name)!r}"
        raise UserError(
            f"no styles come with this installation{asked}: train one with "
            "`texturenets train style IMAGE --content FOLDER` and give its model file (--style FILE)"
        )
    return next(iter(styles.values())) if name is None else modelfile.find(name, "style")


def load(
    name: str | Path,
    device: str = "auto",
    *,
    generator: Callable[..., Any] | str | None = None,
    memory: str | int | None = None,
    spool: str | Path | None = None,
) -> Style:
    """The style called `name` (a shipped one, or a model file), ready on `device` (auto, cpu, cuda, mps).

    Weights are kept in half precision in the file and used in float32. `generator`: for a model whose network
    is code of somebody's own, that code, which is then run: "FILE.py:CLASS", or the class itself. `memory`: what
    it may take, in bytes or as "2G"; by default a share of what is free. `spool`: a folder for what does not fit.

    Raises UserError for an unknown name or device, a file that is not a style's, code that is not to be run,
    and weights that do not fit in memory.
    """
    path = find_style(name)
    header = modelfile.read_header(path)
    if header.kind != "style":
        raise UserError(
            f"{name} is a {header.kind} model, which draws from noise and repaints nothing: "
            f"use `texturenets sample {name}`"
        )
    where = devices.choose(device)
    with devices.memory_errors(f"not enough memory on {where} for the network of {path}"):
        network, header = modelfile.load(path, generator)
        most = budget.parse(memory) if isinstance(memory, str) else memory
        return Style(network, header, path, where, memory=most, spool=None if spool is None else Path(spool))
