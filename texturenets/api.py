"""The Python interface: `load` a style, call it on a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from texturenets import devices, image, modelfile, noise, sizes
from texturenets.errors import UserError
from texturenets.modelfile import Header

T = TypeVar("T")

SMALLEST = 64
"""Smaller pictures are continued by reflection to this many pixels a side while the network works on them:
instance normalization (arXiv 1607.08022) needs more than a few pixels for its statistics, at the coarsest
scale of the network too."""


class Style:
    """A network that repaints photos, from `load`.

    `name` is the style's name, `path` the model file, `header` what the file says of itself, `device` where
    the network runs (always in float32).
    """

    def __init__(self, network: nn.Module, header: Header, path: Path, device: torch.device) -> None:
        self.network = network.eval().to(device)
        self.header, self.path, self.device = header, path, device

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
        mixing. `seed`: for the few generators that also take noise.

        Raises UserError for an option out of its range, for what is no picture, and when memory runs out.
        """
        check_options(size, strength)
        source, kind = image.from_any(picture)
        photo = source.rgb
        if size is not None:
            photo = image.resize(photo, sizes.fit_longer(source.size, size))
        result: T = image.to_kind(
            self.stylize(photo, strength=strength, preserve_color=preserve_color, seed=seed), kind
        )
        return result

    def stylize(
        self, photos: Tensor, *, strength: float = 1.0, preserve_color: bool = False, seed: int = 0
    ) -> Tensor:
        """The same on `photos` (N, 3, H, W), float RGB in [0, 1]; gives (N, 3, H, W) on their device.

        Options and errors as in `__call__`.
        """
        check_options(None, strength)
        if strength == 0:
            return photos.clone()
        height, width = photos.shape[-2:]
        advice = (
            f"not enough memory on {self.device} for {width} x {height} pixels: ask for a smaller picture, "
            f"as with --size {max(1, max(height, width) // 2)} (in Python size=)"
        )
        with devices.memory_errors(advice):
            # One by one: what a picture becomes does not depend, to the last bit, on what else is asked for.
            painted = torch.cat([self._repaint(photo[None], seed).to(photos.device) for photo in photos])
            painted = painted.clamp(0, 1)  # outside of inference mode, so that autograd takes the result
            if preserve_color:
                painted = image.preserve_color(painted, photos)
            return painted if strength == 1 else torch.lerp(photos, painted, strength)

    @torch.inference_mode()
    def _repaint(self, photo: Tensor, seed: int) -> Tensor:
        """(1, 3, H, W) to the same, unclamped: padded to what the network takes, and cropped back."""
        stride = int(getattr(self.network, "stride", 1))
        x, box = sizes.pad_to_multiple(photo.to(self.device, torch.float32), stride, SMALLEST)
        depth = int(getattr(self.header.generator, "noise_depth", 0))
        if depth:
            # Drawn on the CPU, whose numbers are the same on every machine.
            more = torch.rand(
                (1, depth, *x.shape[-2:]), generator=torch.Generator().manual_seed(seed), dtype=x.dtype
            )
            x = torch.cat([x, more.to(x.device)], 1)
        inputs = getattr(self.network, "noise", ())
        maps = noise.draw(inputs, [seed], *x.shape[-2:], device=x.device) if inputs else None
        y: Tensor = self.network(x) if maps is None else self.network(x, maps)
        return sizes.crop_back(y, box)


def check_options(size: int | None, strength: float) -> None:
    """Raise UserError for a `size` below 1 or a `strength` outside [0, 1]."""
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
    name: str | Path, device: str = "auto", *, generator: Callable[..., Any] | str | None = None
) -> Style:
    """The style called `name` (a shipped one, or a model file), ready on `device` (auto, cpu, cuda, mps).

    Weights are kept in half precision in the file and used in float32. `generator`: for a model whose network
    is code of somebody's own, that code, which is then run: "FILE.py:CLASS", or the class itself.

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
        return Style(network, header, path, where)
