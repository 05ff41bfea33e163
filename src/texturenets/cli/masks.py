"""Masks on the command line: which file says where which style goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from texturenets import image
from texturenets.cli.styles import ChosenStyle
from texturenets.errors import UserError
from texturenets.image import Picture
from texturenets.modelfiles import modelfile
from texturenets.stylize.mixing import assigned
from texturenets.stylize.regions import GRADIENTS


def masks_of(
    styles: Sequence[ChosenStyle], masks: Sequence[str] | None, keep: str | None
) -> dict[str, str | Picture]:
    """The masks by the names of the styles that they are for, as `Style.stylize` takes them, read once for all
    photos.

    `masks`: files or the names of gradients, for the styles in their order. `keep`: a file for the photo. Raises
    UserError for several separate styles, more masks than styles, and a file that is not there or no image.
    """
    if len(styles) > 1:
        raise UserError("a mask is for one result: give the styles in one, as -s gallery:wave,udnie")
    names = [name for name, _ in styles[0].styles] or [modelfile.read_header(styles[0].model).name]
    return {name: _read(mask) for name, mask in assigned(names, masks or (), keep).items()}


def _read(name: str) -> str | Picture:
    if name in GRADIENTS:
        return name
    if not Path(name).is_file():
        raise UserError(f"no such mask: {name}: name an image, or one of {', '.join(GRADIENTS)}")
    return image.read(Path(name))
