"""The Python interface: `load` a style and call it on a picture, or a texture and draw samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from texturenets import budget, devices, engines, image, modelfile, noise, sizes
from texturenets.arrays import A, is_tensor, like, to_numpy
from texturenets.engines import Engine
from texturenets.errors import UserError
from texturenets.modelfile import Header
from texturenets.outofcore.pieces import Pieces
from texturenets.stroke import Stroke, blend, check, ladder

if TYPE_CHECKING:
    from texturenets.textures import Texture

T = TypeVar("T")

SMALLEST = 64
"""Smaller pictures are continued by reflection to this many pixels a side while the network works on them:
instance normalization (arXiv 1607.08022) needs more than a few pixels for its statistics, at the coarsest
scale of the network too."""


class Style:
    """A network that repaints photos, from `load`.

    `name` is the style's name, `path` the model file, `header` what the file says of itself, `engine` what runs
    the network, with its `name` and `precision`. Pictures that do not fit in memory are repainted by `pieces`, with
    the same result.
    """

    def __init__(
        self,
        engine: Engine,
        header: Header,
        path: Path,
        *,
        generator: Callable[..., Any] | str | None = None,
        memory: int | None = None,
        spool: Path | None = None,
    ) -> None:
        self.engine, self.header, self.path = engine, header, path
        self.between: Callable[[], None] = lambda: None  # called between stages; what it raises ends the work
        self.pieces = Pieces(path, engine, SMALLEST, generator=generator, memory=memory, spool=spool)

    @property
    def name(self) -> str:
        """The style's name, as its header has it."""
        return self.header.name

    def __repr__(self) -> str:
        return f"Style({self.name!r}, {self.header.generator['name']}, {self.engine.name} {self.engine.precision})"

    def __call__(
        self,
        picture: T,
        *,
        size: int | None = None,
        strength: float = 1.0,
        preserve_color: bool = False,
        seed: int = 0,
        noise_level: float = 1.0,
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
        mixing. `seed` and `noise_level` (1 as in training, 0 for none): for generators that also take noise.
        `stroke`: 2 doubles the size of the strokes, 0.5 halves it, "auto" keeps it relative to the picture
        (`texturenets.stroke`).

        Raises UserError for an option out of its range, for what is no picture, and when memory runs out.
        """
        check_options(size, strength, noise_level, stroke)
        source, kind = image.from_any(picture)
        photo: Any = source.pixels
        if size is not None:
            photo = image.resize(photo, sizes.fit_longer(source.size, size))
        result: T = image.to_kind(
            self.stylize(
                photo,
                strength=strength,
                preserve_color=preserve_color,
                seed=seed,
                noise_level=noise_level,
                stroke=stroke,
            ),
            kind,
        )
        return result

    def stylize(
        self,
        photos: A,
        *,
        strength: float = 1.0,
        preserve_color: bool = False,
        seed: int = 0,
        noise_level: float = 1.0,
        stroke: Stroke = 1,
    ) -> A:
        """The same on `photos` (N, 3, H, W), float RGB in [0, 1], an array or a tensor; gives (N, 3, H, W) of the
        same kind, a tensor on their device.

        Options and errors as in `__call__`.
        """
        check_options(None, strength, noise_level, stroke)
        if strength == 0:
            return like(np.copy(photos), photos) if not is_tensor(photos) else photos.clone()
        height, width = photos.shape[-2:]
        advice = (
            f"not enough memory for {width} x {height} pixels: ask for a smaller picture, "
            f"as with --size {max(1, max(height, width) // 2)} (in Python size=)"
        )
        with devices.memory_errors(advice):
            # One by one: what a picture becomes does not depend, to the last bit, on what else is asked for.
            painted = _together(
                [self._paint(photos[i : i + 1], seed, noise_level, stroke) for i in range(len(photos))]
            )
            painted = painted.clip(0, 1)  # outside of inference mode, so that autograd takes the result
            if preserve_color:
                painted = image.preserve_color(painted, photos)
            return painted if strength == 1 else photos + strength * (painted - photos)

    def _paint(self, photo: A, seed: int, level: float, stroke: Stroke) -> A:
        """(1, 3, H, W) to the same, coarse to fine where strokes are to have another size than the network's."""
        size = (int(photo.shape[2]), int(photo.shape[3]))
        first, *finer = ladder(size, stroke)
        y = self._repaint(image.resize(photo, first), seed, level)
        for stage in finer:
            self.between()
            y = self._repaint(image.resize(y.clip(0, 1), stage), seed, level, fine=True)
        return image.resize(y, size)

    def _repaint(self, photo: A, seed: int, level: float, *, fine: bool = False) -> A:
        """(1, 3, H, W) to the same, unclamped: padded to what the network takes, and cropped back.

        `fine`: the photo is a painting that has been enlarged.
        """
        if not self.pieces.fits((int(photo.shape[2]), int(photo.shape[3]))):
            return like(self.pieces.repaint(to_numpy(photo), seed, level, fine=fine), photo)
        facts = self.engine.facts
        x, box = sizes.pad_to_multiple(photo, facts.stride, max(SMALLEST, facts.least), facts.margin)
        maps = noise.draw_arrays(facts.noise, [seed], int(x.shape[-2]), int(x.shape[-1]))
        maps = noise.levelled(maps, facts.noise, [level] * len(maps))
        y = self.engine(x, [like(one, x) for one in maps])
        return sizes.crop_back(blend(x, y) if fine else y, box)


def _together(parts: list[A]) -> A:
    """`parts`, one after the other along their first axis."""
    if is_tensor(parts[0]):
        import torch

        return torch.cat(parts)  # type: ignore[arg-type]
    return np.concatenate(parts)


def check_options(size: int | None, strength: float, noise_level: float = 1.0, stroke: Stroke = 1) -> None:
    """Raise UserError for a `size` below 1, a `strength` outside [0, 1], a `noise_level` below 0, no `stroke`."""
    check(stroke)
    if not 0 <= noise_level < math.inf:
        raise UserError(f"noise level {noise_level} is below 0 or no number")
    if size is not None and size < 1:
        raise UserError(f"size {size} is not a number of pixels: the longer side is at least 1")
    if not 0 <= strength <= 1:  # also for NaN
        raise UserError(f"strength {strength} is not between 0 (the photo) and 1 (the full style)")


def shipped_styles() -> dict[str, Path]:
    """The styles that come with the package, {name: file}, in alphabetical order."""
    models = modelfile.shipped()
    return {
        name: models[name] for name, header in modelfile.headers(models)[0].items() if header.kind == "style"
    }


def models() -> dict[str, Header]:
    """The models that come with the package and what they say of themselves, {name: header}, in alphabetical order.

    A header's `kind` is "style" or "texture"; `load` takes the names.
    """
    return modelfile.headers(modelfile.shipped())[0]


def find_style(name: str | Path | None = None) -> Path:
    """The model file of a style: a shipped name or a file; None is the first shipped style.

    Raises UserError with the nearest name, or with the way out where no style is shipped.
    """
    if name is not None and str(name) in modelfile.shipped():
        return modelfile.find(name, "style")
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
    engine: str = "auto",
    precision: str = "auto",
    generator: Callable[..., Any] | str | None = None,
    memory: str | int | None = None,
    spool: str | Path | None = None,
) -> Style | Texture:
    """The style or texture called `name` (a shipped one, or a model file), on `device` (auto, cpu, cuda, mps).

    A `Style` repaints photos, a `Texture` draws samples.

    `engine` is "torch", "openvino", "onnx", or "auto": the fastest that is installed. `precision` is "float32",
    "bf16", "fp16", as far as the engine has it, or "auto": half precision where the device computes in it, but
    float32 with PyTorch on a processor. In half precision a pixel may differ by some 255ths from float32
    (docs/performance.md). The result's `engine` says what was taken. After `fork()` no engine computes: load it in
    the child (docs/cluster.md).
    `generator`: for a model whose network is code of somebody's own, that code, which is then run:
    "FILE.py:CLASS", or the class itself. Of styles only, `memory`: what may be taken, in bytes or as "2G"; by
    default a share of what is free; `spool`: a folder for what does not fit.

    Raises UserError for an unknown name, device or engine, an engine that is not installed, a file that is no
    model's, code that is not to be run, weights that do not fit in memory, and `memory` or `spool` for a texture.
    """
    path = modelfile.find(name) if modelfile.shipped() else find_style(name)
    if modelfile.read_header(path).kind == "texture":
        for option, value in (("memory", memory), ("spool", spool)):
            if value is not None:
                raise UserError(
                    f"{option}={value!r}: {name} is a texture, whose samples are drawn whole: ask for smaller ones, "
                    "or for tiles"
                )
        return load_texture(path, device, engine=engine, precision=precision, generator=generator)
    return load_style(
        path, device, engine=engine, precision=precision, generator=generator, memory=memory, spool=spool
    )


def load_style(
    name: str | Path,
    device: str = "auto",
    *,
    engine: str = "auto",
    precision: str = "auto",
    generator: Callable[..., Any] | str | None = None,
    memory: str | int | None = None,
    spool: str | Path | None = None,
    threads: int | None = None,
) -> Style:
    """As `load`, of a style; raises UserError for a texture too. `threads`: as in `texturenets.engines.load`."""
    path = find_style(name)
    header = modelfile.read_header(path)
    if header.kind != "style":
        called = path.stem if path.parent == modelfile.ZOO else name
        raise UserError(
            f"{called} is a {header.kind} model, which draws from noise and repaints nothing: "
            f"use `texturenets sample {called}`"
        )
    with devices.memory_errors(f"not enough memory for the network of {path}"):
        return Style(
            engines.load(path, engine, device, precision, generator, threads=threads),
            header,
            path,
            generator=generator,
            memory=budget.parse(memory) if isinstance(memory, str) else memory,
            spool=None if spool is None else Path(spool),
        )


def load_texture(
    name: str | Path,
    device: str = "auto",
    *,
    engine: str = "auto",
    precision: str = "auto",
    generator: Callable[..., Any] | str | None = None,
) -> Texture:
    """As `load`, of a texture; raises UserError for a style too."""
    from texturenets.textures import Texture

    path = modelfile.find(name, "texture")
    header = modelfile.read_header(path)
    if header.kind != "texture":
        raise UserError(
            f"{name} is a {header.kind} model, which repaints photos and draws nothing from noise: "
            f"use `texturenets stylize PHOTO -s {name}`"
        )
    with devices.memory_errors(f"not enough memory for the network of {path}"):
        return Texture(engines.load(path, engine, device, precision, generator), header, path)
