"""A second style and a painted mask, as the HTTP API takes them: MODEL:STYLE=WEIGHT,... and `Masks`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from texturenets import image, loading
from texturenets.arrays import to_numpy
from texturenets.errors import UserError
from texturenets.modelfiles.titles import title
from texturenets.server.http_errors import HTTPProblem, refused
from texturenets.server.masks import NO_MASKS, Masks
from texturenets.server.models import Catalogue
from texturenets.server.service import Service
from texturenets.server.ui import gallery
from texturenets.stylize import regions
from texturenets.stylize.regions import Array

COLOR = "#c8553d"
"""Colour in which masks are shown."""
PAINT = [int(COLOR[i : i + 2], 16) / 255 for i in (1, 3, 5)]


class Mix(NamedTuple):
    """`second`: a second style, MODEL:STYLE, empty for none; `share`: its share, 0 to 1.

    `keeps`: the painted part of the mask keeps the photo; if False, it gets the second style.
    """

    second: str = ""
    share: float = 0.5
    keeps: bool = True


class PaintedMask(NamedTuple):
    """`file`: the mask's file, white where it is painted. `photo`: the file of its photo. Both are empty without a
    mask.

    `uploaded`: the file of an uploaded mask, to which strokes are added.
    """

    file: str = ""
    photo: str = ""
    uploaded: str = ""


def other_styles(catalogue: Catalogue, style: str | None) -> list[str]:
    """The styles that can be mixed with `style`, as MODEL:STYLE: the others of the model of several that has it."""
    models = catalogue.models()
    if not style or style not in gallery.names(catalogue, "style"):
        return []
    model, first = _of_several(style).rpartition(":")[::2]
    if model not in models:
        return []
    return [f"{model}:{name}" for name in models[model].styles if name != first]


def _of_several(style: str) -> str:
    """`style` as MODEL:STYLE. One with a model of its own is looked for in the shipped models of several."""
    several = loading.shipped_galleries().items() if ":" not in style else ()
    return next((f"{name}:{style}" for name, known in several if style in known), style)


def _pair(style: str | None, mix: Mix) -> tuple[str, str]:
    """`style` as MODEL:STYLE, and the name of the second style within that model; that is empty, and `style` as it
    is, without a second or with one of another model."""
    style = style or ""
    if mix.second:
        model, first = (several := _of_several(style)).rpartition(":")[::2]
        other, second = mix.second.rpartition(":")[::2]
        if model and model == other and second != first:
            return several, second
    return style, ""


def mixed(style: str | None, mix: Mix) -> str | None:
    """The mixture of `style` and the second style in the HTTP API's notation."""
    several, second = _pair(style, mix)
    return f"{several}={1 - mix.share:g},{second}={mix.share:g}" if second else style


class StyleChoice(NamedTuple):
    """How to stylize: a style (MODEL or MODEL:STYLE, None for the first one), a second style and a mask."""

    style: str | None
    mix: Mix
    mask: PaintedMask

    def caption(self) -> str:
        """The names of the styles, for the message below the result."""
        first, (_, second) = title((self.style or "").rpartition(":")[2]), _pair(self.style, self.mix)
        return f"{first} with {self.mix.share:.0%} of {title(second)}" if second else first

    async def request(self, service: Service, photo: Path) -> tuple[str | None, Masks]:
        """The arguments `style` and `masks` of `service.stylize` for that photo. Raises HTTPProblem."""
        if not self.mask.file or self.mask.photo != str(photo):
            return mixed(self.style, self.mix), NO_MASKS
        try:
            data = await service.queue.in_thread(Path(self.mask.file).read_bytes)
        except OSError:
            raise HTTPProblem(404, "the mask is no longer here: paint it again") from None
        several, second = _pair(self.style, self.mix)
        if not second:
            return self.style, Masks(keep=data)
        first = await service.queue.in_thread(functools.partial(_first, data, self.mix))
        return f"{several},{second}", Masks((first,), data if self.mix.keeps else None)


def _first(data: bytes, mix: Mix) -> bytes:
    """The mask of the first style: 1 minus the second style's share, everywhere or where the mask `data` is white."""
    painted = to_numpy(image.from_bytes(data, "the mask").pixels)[:, :1]
    return _written(1 - mix.share * (np.ones_like(painted) if mix.keeps else painted))


async def read_layer(service: Service, path: Path, uploaded: str = "") -> bytes | None:
    """The mask in a layer of the editor, white where the layer is opaque; None if nothing is painted.

    `uploaded`: the file of an uploaded mask, to which it is added. Raises HTTPProblem, as for photos.
    """

    def opaque() -> bytes | None:
        layer = image.from_bytes(data, "the mask", max_pixels=service.limits.pixels)
        alpha = np.ones_like(to_numpy(layer.pixels)[:, :1])
        if layer.transparency is not None:
            alpha = to_numpy(layer.transparency)
        if not alpha.any():
            return Path(uploaded).read_bytes() if uploaded else None
        if uploaded:
            other = to_numpy(image.read(uploaded).pixels)[:, :1]
            alpha = np.maximum(image.resize(alpha, other.shape[2:]), other)
        return _written(alpha)

    try:
        data = await service.queue.in_thread(path.read_bytes)
        await service.check_photo(data)
        made: bytes | None = await service.queue.in_thread(opaque)
    except OSError:
        raise HTTPProblem(404, "the mask is no longer here: paint it again") from None
    except UserError as error:
        raise refused(error) from None
    return made


class UploadedMask(NamedTuple):
    """An uploaded mask: `data`: its file, as PNG. `note`: a message about it. `shown`: an image of it over the
    photo."""

    data: bytes
    note: str
    shown: bytes


async def read_mask(service: Service, path: Path, photo: str, preview: str) -> UploadedMask:
    """Read a mask, white where a brush would paint, from the image at `path`, for the photo in the file `photo`.

    `preview`: the file of a small image of the photo. Raises HTTPProblem if the mask is not an image, is too large,
    or has another aspect ratio than the photo.
    """

    def made() -> UploadedMask:
        of_photo, small = image.read_header(photo), image.read(preview)
        if of_photo is None:
            raise OSError
        picture = image.from_bytes(data, path.name, max_pixels=service.limits.pixels)
        size, wanted = picture.size, of_photo.upright
        regions.check_shape(path.name, size, wanted)
        values = regions.read_mask(picture, "the photo", size)[None, None]
        note = f"The mask is {path.name}."
        if values.max() < regions.BLACK:
            note = f"{path.name} is black, so nothing is painted: white counts as painted."
        elif size != wanted:
            scaled = f"{size[1]} × {size[0]} pixels, is scaled to the photo's {wanted[1]} × {wanted[0]}"
            note = f"The mask, {path.name}, {scaled}."
        opacity = 0.7 * image.resize(values, small.size)
        shown = to_numpy(small.pixels) * (1 - opacity) + np.reshape(PAINT, (1, 3, 1, 1)) * opacity
        return UploadedMask(_written(values), note, image.to_bytes(Path("shown.jpg"), image.Picture(shown)))

    try:
        data = await service.queue.in_thread(path.read_bytes)
        await service.check_photo(data)
        found: UploadedMask = await service.queue.in_thread(made)
    except OSError:
        raise HTTPProblem(404, "the photo or its mask is no longer here: choose it again") from None
    except UserError as error:
        raise refused(error) from None
    return found


def _written(values: Array) -> bytes:
    """The file of a mask (1, 1, H, W)."""
    return image.to_bytes(Path("mask.png"), image.Picture(np.repeat(values.astype(np.float32), 3, 1)))
