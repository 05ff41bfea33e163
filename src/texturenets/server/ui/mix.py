"""A second style and a painted mask, as the HTTP API takes them: MODEL:STYLE=WEIGHT,... and `Masks`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from texturenets import image
from texturenets.arrays import to_numpy
from texturenets.errors import UserError
from texturenets.modelfiles.titles import title
from texturenets.server.http_errors import HTTPProblem, refused
from texturenets.server.masks import NO_MASKS, Masks
from texturenets.server.models import Catalogue
from texturenets.server.service import Service
from texturenets.server.ui import gallery
from texturenets.stylize.regions import Array


class Mix(NamedTuple):
    """`second`: a further style, MODEL:STYLE, empty for none; `share`: of it, 0 to 1. `keeps`: the photo stays where
    the mask is painted, else the second style goes there."""

    second: str = ""
    share: float = 0.5
    keeps: bool = True


class PaintedMask(NamedTuple):
    """The file of a mask, white where it is painted, and of the photo that it is for; both empty for none."""

    file: str = ""
    photo: str = ""


def other_styles(catalogue: Catalogue, style: str | None) -> list[str]:
    """What can be mixed with `style`, as MODEL:STYLE: the others of its gallery; none for a model of one style."""
    shown = gallery.names(catalogue, "style")
    model = (style or "").rpartition(":")[0]
    if style not in shown or not model or style in catalogue.models():
        return []
    return [name for name in shown if name != style and name.rpartition(":")[0] == model]


def _second(style: str | None, mix: Mix) -> str:
    """The second style's name within the model of `style`; empty where it is none of that."""
    model, _, first = (style or "").rpartition(":")
    other, _, second = mix.second.rpartition(":")
    return second if model and model == other and second != first else ""


def mixed(style: str | None, mix: Mix) -> str | None:
    """`style` with the share of the second one, as the HTTP API calls a mixture."""
    if second := _second(style, mix):
        return f"{style}={1 - mix.share:g},{second}={mix.share:g}"
    return style


class Chosen(NamedTuple):
    """What photos are stylized in: a style, MODEL or MODEL:STYLE, or None for the first, and what goes with it."""

    style: str | None
    mix: Mix
    mask: PaintedMask

    def caption(self) -> str:
        """The styles as people write them."""
        first, second = title((self.style or "").rpartition(":")[2]), _second(self.style, self.mix)
        return f"{first} with {self.mix.share:.0%} of {title(second)}" if second else first

    async def request(self, service: Service, photo: Path) -> tuple[str | None, Masks]:
        """The style and the masks to ask `service` for, for that file. Raises HTTPProblem."""
        if not self.mask.file or self.mask.photo != str(photo):
            return mixed(self.style, self.mix), NO_MASKS
        try:
            data = await service.queue.in_thread(Path(self.mask.file).read_bytes)
        except OSError:
            raise HTTPProblem(404, "the mask is no longer here: paint it again") from None
        second = _second(self.style, self.mix)
        if not second:
            return self.style, Masks(keep=data)
        first = await service.queue.in_thread(functools.partial(_first, data, self.mix))
        return f"{self.style},{second}", Masks((first,), data if self.mix.keeps else None)


def _first(data: bytes, mix: Mix) -> bytes:
    """The mask of the first style, which leaves the second its share: everywhere, or where `data` is painted."""
    painted = to_numpy(image.from_bytes(data, "the mask").pixels)
    return _written(1 - mix.share * (np.ones_like(painted) if mix.keeps else painted))


async def read_layer(service: Service, path: Path) -> bytes | None:
    """The mask in a layer of the editor, white as far as that is opaque; None where nothing is painted.

    Raises HTTPProblem, as for photos.
    """

    def opaque() -> bytes | None:
        layer = image.from_bytes(data, "the mask", max_pixels=service.limits.pixels)
        if layer.transparency is None:
            return _written(np.ones_like(to_numpy(layer.pixels)))
        alpha = to_numpy(layer.transparency)
        return _written(np.repeat(alpha, 3, 1)) if alpha.any() else None

    try:
        data = await service.queue.in_thread(path.read_bytes)
        await service.check_photo(data)
        made: bytes | None = await service.queue.in_thread(opaque)
    except OSError:
        raise HTTPProblem(404, "the mask is no longer here: paint it again") from None
    except UserError as error:
        raise refused(error) from None
    return made


def _written(values: Array) -> bytes:
    return image.to_bytes(Path("mask.png"), image.Picture(values.astype(np.float32)))
