"""Masks on the command line: which mask belongs to which style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from texturenets import image
from texturenets.cli.styles import ChosenStyle, within_model
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import check_no_weights, styles_of
from texturenets.stylize.mixing import assigned
from texturenets.stylize.regions import GRADIENTS, MaskFile


def masks_of(
    styles: Sequence[ChosenStyle], masks: Sequence[str] | None, keep: str | None
) -> dict[str, str | MaskFile]:
    """The masks by style name, as `Style.stylize` takes them, read once for all photos.

    `masks`: files or the names of gradients, for the styles in their order. `keep`: a file for the photo. Raises
    UserError for several separate styles, styles with weights, more masks than styles, and for a file that does not
    exist or is not an image.
    """
    if len(styles) > 1:
        raise _several(styles)
    if styles[0].styles:
        check_no_weights(styles[0].given)
    names = [name for name, _ in styles[0].styles] or _only_style(styles[0])
    return {name: read_mask_file(mask) for name, mask in assigned(names, masks or (), keep).items()}


def _only_style(style: ChosenStyle) -> Sequence[str]:
    """The name of the only style in a model, which may differ from the file's name."""
    header = modelfile.read_header(style.model)
    return styles_of(header.rows) or (header.name,)


def _several(styles: Sequence[ChosenStyle]) -> UserError:
    """The error for masks with several results, of one model or of several."""
    names = [style.name for style in styles]
    if len({style.model for style in styles}) == 1 and not any(style.painting for style in styles):
        return UserError(
            f"a mask is for one result: give the styles in one, for example -s {styles[0].model}:{','.join(names)}"
        )
    return UserError(
        f"a mask is for one result, and there are {len(names)} styles, {', '.join(names)}: give one style with "
        f"--mask, --keep or --strength; styles go into one image only {within_model()}; then use -s "
        "MODEL:STYLE,STYLE"
    )


def read_mask_file(name: str) -> str | MaskFile:
    """The mask in the file `name`, or the name itself if it is that of a gradient. Raises UserError for a file that
    does not exist or is not an image."""
    if name in GRADIENTS:
        return name
    if not Path(name).is_file():
        raise UserError(f"no such mask: {name}: name an image, or one of {', '.join(GRADIENTS)}")
    return MaskFile(name, image.read(Path(name)))
