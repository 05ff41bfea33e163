"""Masks on the command line: which file says where which style goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from texturenets.cli.styles import ChosenStyle
from texturenets.errors import UserError
from texturenets.stylize.regions import GRADIENTS, PHOTO


def masks_of(styles: Sequence[ChosenStyle], masks: Sequence[str] | None, keep: str | None) -> dict[str, str]:
    """The masks by the names of the styles that they are for, as `Style.stylize` takes them.

    `masks`: files or the names of gradients, for the styles in their order. `keep`: a file for the photo. Raises
    UserError for several separate styles, more masks than styles, and a file that is not there.
    """
    given = [*(masks or ()), *([keep] if keep else [])]
    for name in given:
        if name not in GRADIENTS and not Path(name).is_file():
            raise UserError(f"no such mask: {name}: name an image, or one of {', '.join(GRADIENTS)}")
    if len(styles) > 1:
        raise UserError("a mask is for one result: give the styles in one, as -s gallery:wave,udnie")
    names = [name for name, _ in styles[0].styles] or [_name(styles[0].model)]
    made = {PHOTO: keep} if keep else {}
    if keep and PHOTO in names:
        raise UserError(f"--keep is the mask of {PHOTO}, which is among the styles: give it as --mask")
    if len(masks or ()) > len(names):
        raise UserError(f"{len(masks or ())} masks, and there are {len(names)} styles: {', '.join(names)}")
    return made | dict(zip(names, masks or (), strict=False))


def _name(model: Path) -> str:
    from texturenets.modelfiles import modelfile

    return modelfile.read_header(model).name
