"""`Style`: a loaded style, called on an image; options, padding, strokes, colours and memory are handled here."""

from __future__ import annotations

import math
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from texturenets import arguments, image, noise
from texturenets.arrays import A, concatenate, is_tensor, like, to_numpy
from texturenets.engines import Engine, devices
from texturenets.errors import UserError
from texturenets.graph import wrapping
from texturenets.graph.conditional import STYLES
from texturenets.graph.wrapping import Wrap
from texturenets.image import sizes
from texturenets.image.blend import blend
from texturenets.memory.budget import note_run
from texturenets.modelfiles.conditions import styles_of
from texturenets.modelfiles.modelfile import Header
from texturenets.modelfiles.variant import AS_IT_IS, Variant
from texturenets.stylize.mixing import Selection, check_mixture, choose
from texturenets.stylize.stroke import Stroke, check, stylization_sizes
from texturenets.tiled.tiled_style import TiledStyle

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
MakeEngine = Callable[[Variant], Engine]

MAX_VARIANTS = 4
"""Maximum number of mixtures whose engines are kept, for a model with several styles: the last used ones."""

MIN_NETWORK_SIDE = 64
"""Smaller images are padded by reflection to this many pixels per side: instance normalization (arXiv 1607.08022)
needs more than a few pixels for its statistics, also at the network's lowest resolution."""


class Style:
    """A network that stylizes photos, from `load`.

    `name` is the style's name, `path` the model file, `header` its header, `engine` the engine that runs the network,
    with its `name` and `precision`. Images that do not fit in memory are stylized in strips by `tiled`, with the
    same result.
    """

    def __init__(
        self,
        engine: Engine,
        header: Header,
        path: Path,
        *,
        memory: int | None = None,
        spool: Path | None = None,
        mix: Mapping[str, float] | None = None,
        make: MakeEngine | None = None,
        variant: Variant = AS_IT_IS,
    ) -> None:
        """`mix`: for a model with several styles, the default mixture of calls. `make`: function that returns the
        engine for another variant of the model. `variant`: the variant that `engine` runs."""
        self.engine, self.header, self.path = engine, header, path
        self.mix, self._make = mix, make
        self._variants: OrderedDict[Variant, Style] = OrderedDict()
        self.between: Callable[[], None] = lambda: (
            None
        )  # called between the sizes of `_coarse_to_fine`; may raise to cancel
        self.tiled = TiledStyle(path, engine, MIN_NETWORK_SIDE, memory=memory, spool=spool, variant=variant)

    @property
    def name(self) -> str:
        """The style's name, from its header; for a model with several styles, the names in its mixture."""
        return "+".join(self.mix) if self.mix else self.header.name

    @property
    def styles(self) -> tuple[str, ...]:
        """The names of its styles."""
        return styles_of(self.header.rows) or (self.header.name,)

    def __repr__(self) -> str:
        return f"Style({self.name!r}, {self.header.generator['name']}, {self.engine.name} {self.engine.precision})"

    def sample(self, *_: Any, **__: Any) -> NoReturn:
        """A style cannot generate samples: raises UserError."""
        raise UserError(
            f"{self.name} is a style, which generates nothing by itself: call it on a photo, for example "
            "`style(photo)`, or load "
            "a texture to draw samples"
        )

    @overload
    def __call__(
        self,
        picture: str | Path,
        *,
        size: int | None = None,
        strength: float = 1.0,
        preserve_color: bool = False,
        seed: int = 0,
        noise_level: float = 1.0,
        stroke: Stroke = 1,
        wrap: Wrap = "",
        mix: Mapping[str, float] | None = None,
        masks: Mapping[str, Any] | None = None,
    ) -> Image: ...

    @overload
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
        wrap: Wrap = "",
        mix: Mapping[str, float] | None = None,
        masks: Mapping[str, Any] | None = None,
    ) -> T: ...

    def __call__(
        self,
        picture: Any,
        *,
        size: int | None = None,
        strength: float = 1.0,
        preserve_color: bool = False,
        seed: int = 0,
        noise_level: float = 1.0,
        stroke: Stroke = 1,
        wrap: Wrap = "",
        mix: Mapping[str, float] | None = None,
        masks: Mapping[str, Any] | None = None,
    ) -> Any:
        """Stylize `picture`; the result has the same type and size.

        `picture` is one of

        - the path of a file, str or Path; a PIL image comes back;
        - a `Picture`, as `texturenets.image.read` gives it; its metadata stay with it;
        - a PIL image of any mode; RGB or, with transparency, RGBA comes back, turned upright;
        - an array (H, W), (H, W, 1 | 3 | 4): uint8, uint16, or floats in [0, 1]; the same type comes back;
        - a tensor (C, H, W) or (N, C, H, W), C = 1, 3 or 4: uint8, or floats in [0, 1]; the same type comes
          back on the same device. Each image of a batch is stylized independently.

        Any size from 1 x 1 is allowed. Grey images come back with three channels, because styles have colours. Alpha
        is kept unchanged. A warning says if the resulting PIL image cannot hold everything in the file: more than 8
        bits per channel, several frames.

        `size`: longer side of the result in pixels, with the same aspect ratio; None keeps the size. `strength`: 0
        gives the photo, 1 the full style, between them a linear mix of both. `preserve_color`: the photo's colours
        with the luminance of the result (arXiv 1606.05897), before mixing. `seed` and `noise_level` (1 as in
        training, 0 for none): for generators that also have noise inputs; a warning says if they change nothing. All
        images of a batch (N, C, H, W) get the same noise, that of `seed`, so that each result is the same as alone;
        for different noise call once for each seed. `stroke`: 2 doubles the size of the strokes, 0.5 halves it,
        "auto" scales it with the image (`texturenets.stylize.stroke`). `wrap`: the axes along which the image wraps
        around: "xy" for a tile, which repeats in both directions, "x" for a 360 degree panorama, whose left and right
        edges meet. The result wraps around in the same way, and does not depend on where the image was cut. Sides
        along these axes that are no multiple of `engine.io_spec.stride` are resampled to one and back. `mix`: for a
        model with several styles, their weights, such as {"wave": 0.6, "udnie": 0.4}; "photo" is the photo itself.
        `masks`: instead or in addition, where each style goes: images by style name, white where the style is; soft
        edges stay soft; one of the styles, or the photo, may have no mask and gets the rest. A single mask leaves the
        rest of the photo unchanged, also for a model with one style. Statistics of instance normalization are those
        of the whole image.

        Raises UserError for an option out of its range, an argument that is not an image, and when memory runs out.
        """
        check_options(size, strength, noise_level, stroke, wrap)
        arguments.flag("preserve_color", preserve_color)
        source, kind = image.from_any(picture)
        if kind.container == "pil":  # of 8 bits, and one image
            name = picture if isinstance(picture, str | Path) else "the image"
            for what in image.lost_by_stylizing(source):
                warnings.warn(f"{name} holds {what}", stacklevel=2)
        photo: Any = source.pixels
        if size is not None:
            with devices.memory_errors(f"not enough memory for `size` {size}: ask for a smaller image"):
                photo = image.resize_picture(source, sizes.fit_longer(source.size, size), wrap).pixels
        return image.to_kind(
            self.stylize(
                photo,
                strength=strength,
                preserve_color=preserve_color,
                seed=seed,
                noise_level=noise_level,
                stroke=stroke,
                wrap=wrap,
                mix=mix,
                masks=masks,
            ),
            kind,
        )

    def stylize(
        self,
        photos: A,
        *,
        strength: float = 1.0,
        preserve_color: bool = False,
        seed: int = 0,
        noise_level: float = 1.0,
        stroke: Stroke = 1,
        wrap: Wrap = "",
        mix: Mapping[str, float] | None = None,
        masks: Mapping[str, Any] | None = None,
    ) -> A:
        """Stylize `photos` (N, 3, H, W), float RGB in [0, 1], an array or a tensor; returns (N, 3, H, W) of the same
        type, a tensor on the same device.

        Options and errors as in `__call__`.
        """
        check_options(None, strength, noise_level, stroke, wrap)
        arguments.flag("preserve_color", preserve_color)
        check_mixture(mix, masks)
        image.check_batch(photos)
        seed = arguments.integer("seed", seed)
        note_noise(self.path.stem, seed, noise_level, takes_noise=bool(self.engine.io_spec.noise))
        if strength == 0:
            return like(np.copy(photos), photos) if not is_tensor(photos) else photos.clone()
        height, width = int(photos.shape[-2]), int(photos.shape[-1])
        choice, variant = self.chosen(
            (height, width), mix, masks, strength=strength, stroke=stroke, wrap=wrap
        )
        advice = (
            f"not enough memory for {width} x {height} pixels: ask for a smaller image, "
            f"as with `size` {max(1, max(height, width) // 2)}"
        )
        with devices.memory_errors(advice):
            # One by one, so that a result does not depend in any bit on the rest of the batch.
            result = concatenate(
                [
                    variant._coarse_to_fine(photos[i : i + 1], seed, noise_level, choice)
                    for i in range(len(photos))
                ]
            )
            result = result.clip(0, 1)  # outside of inference mode, so that autograd accepts the result
            if preserve_color:
                result = image.preserve_color(result, photos)
            share: Any = (
                choice.stylized if isinstance(choice.stylized, float) else like(choice.stylized, photos)
            )
            return result if _is_all(choice.stylized) else photos + share * (result - photos)

    def chosen(
        self,
        size: tuple[int, int],
        mix: Mapping[str, float] | None,
        masks: Mapping[str, Any] | None,
        *,
        strength: float,
        stroke: Stroke,
        wrap: Wrap = "",
    ) -> tuple[Selection, Style]:
        """The selection for a photo of `size` (H, W), and the style that computes it: usually this one. Other
        variants are cached, the last used ones. Raises UserError as `mixing.choose`, and for a network that cannot
        wrap around.
        """
        choice = choose(self.header, mix or self.mix, masks, strength=strength, stroke=stroke, size=size)
        variant = Variant(choice.mixture, wrap)
        if variant == AS_IT_IS:
            return choice, self
        made = self._variants.pop(variant, None)
        if made is None:
            assert self._make is not None
            memory, spool = self.tiled.memory, self.tiled.spool
            engine = self._make(variant)
            made = Style(engine, self.header, self.path, memory=memory, spool=spool, variant=variant)
            while len(self._variants) >= MAX_VARIANTS:
                self._variants.popitem(last=False)
        made.between = self.between
        made.tiled.announce, made.tiled.progress = self.tiled.announce, self.tiled.progress
        self._variants[variant] = made
        return choice, made

    def _coarse_to_fine(self, photo: A, seed: int, level: float, choice: Selection) -> A:
        """Stylize (1, 3, H, W); with a stroke other than 1 at several sizes, coarse to fine (`stylize.stroke`)."""
        size = (int(photo.shape[2]), int(photo.shape[3]))
        wrap, stride = self.tiled.variant.wrap, self.engine.io_spec.stride
        first, *finer = (
            sizes.whole_periods(step, stride, wrap) for step in stylization_sizes(size, choice.stroke)
        )
        y = self._run_network(image.resize_wrapped(photo, first, wrap), seed, level, choice.styles)
        for larger in finer:
            self.between()
            wide = image.resize_wrapped(y.clip(0, 1), larger, wrap)
            y = self._run_network(wide, seed, level, choice.styles, fine=True)
        return image.resize_wrapped(y, size, wrap)

    def _run_network(self, photo: A, seed: int, level: float, styles: Any = None, *, fine: bool = False) -> A:
        """Run the network on (1, 3, H, W), padded as its `IOSpec` requires, and crop the result; unclamped.

        `styles`: the style map, of any size, if the network has that input. `fine`: the input is an enlarged stylized
        image.
        """
        size = (int(photo.shape[2]), int(photo.shape[3]))
        wrap = self.tiled.variant.wrap
        where = None if styles is None else image.resize_wrapped(styles, size, wrap)
        if not self.tiled.fits(size):
            return like(self.tiled.stylize(to_numpy(photo), seed, level, fine=fine, styles=where), photo)
        io_spec = self.engine.io_spec
        padding = io_spec.stride, max(MIN_NETWORK_SIDE, io_spec.min_side), io_spec.margin, wrap
        x, box = sizes.pad_to_multiple(photo, *padding)
        total = int(x.shape[-2]), int(x.shape[-1])
        drawn = noise.draw_arrays(io_spec.noise, [seed], *sizes.period(box, total, wrap))
        maps = [
            sizes.repeated(one, (total[0] // source.stride, total[1] // source.stride))
            for one, source in zip(drawn, io_spec.noise, strict=True)
        ]
        maps = noise.levelled(maps, io_spec.noise, [level] * len(maps))
        given = {} if where is None else {STYLES: like(sizes.pad_to_multiple(where, *padding)[0], x)}
        y = self.engine(x, [like(one, x) for one in maps], given)
        note_run()
        return sizes.crop_back(blend(x, y, wrap) if fine else y, box)


def _is_all(share: float | NDArray[np.float32]) -> bool:
    """Whether the share is 1 everywhere, so that nothing of the photo remains."""
    return isinstance(share, float) and share == 1


def note_noise(name: str, seed: int, noise_level: float, *, takes_noise: bool) -> None:
    """Warn if `seed` or `noise_level` is given for a style `name` without noise input; once for each name."""
    if not takes_noise and (seed != 0 or noise_level != 1):
        warnings.warn(f"{name} takes no noise: `seed` and `noise_level` change nothing", stacklevel=1)


def check_options(
    size: int | None, strength: float, noise_level: float = 1.0, stroke: Stroke = 1, wrap: Wrap = ""
) -> None:
    """Raise UserError for a `size` below 1, a `strength` outside [0, 1], a `noise_level` below 0, an invalid
    `stroke`, and a `wrap` that names no axes."""
    check(stroke)
    wrapping.check(wrap)
    arguments.number("strength", strength)
    arguments.number("noise_level", noise_level)
    if size is not None:
        arguments.integer("size", size)
    if not 0 <= noise_level < math.inf:
        raise UserError(f"noise level {noise_level} is below 0 or no number")
    if size is not None and size < 1:
        raise UserError(f"size {size} is not a number of pixels: the longer side is at least 1")
    if not 0 <= strength <= 1:  # also for NaN
        raise UserError(f"strength {strength} is not between 0 (the photo) and 1 (the full style)")
