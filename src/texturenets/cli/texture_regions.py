"""The textures of `texturenets sample`: one or several, each at a scale, and the masks that say where each goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from texturenets.cli.styles import check_no_exemplar, note_shipped
from texturenets.errors import UserError, counted

if TYPE_CHECKING:
    from texturenets.engines.options import EngineOptions
    from texturenets.texture_blending import TextureRegions
    from texturenets.textures import Texture

DEFAULT_SIZE = 256  # default --size in pixels, unless the network has a fixed size


def load(names: Sequence[str], scale: str | None, how: EngineOptions) -> list[Texture]:
    """The textures called `names`, each at its scale of `scale`; a single one may be a material. Raises UserError as
    `loading.load`, and for scales that do not fit."""
    from texturenets import loading

    scales = _scales(scale, len(names))
    found: list[Texture] = []
    for name, by in zip(names, scales, strict=True):
        check_no_exemplar(name)
        note_shipped(name)
        one = loading.load_texture(name, how) if found else loading.load_drawn(name, how)
        found.append(one if scale is None else one.scaled(by))
    return found


def source(
    textures: Sequence[Texture], masks: Sequence[str], transition: float | None
) -> tuple[Texture | TextureRegions, str, tuple[int, int]]:
    """What draws the samples, one texture or several by masks, its name, and its default size (H, W)."""
    first = textures[0]
    size = (int(first.fixed * first.scale) if first.fixed else DEFAULT_SIZE,) * 2
    if len(textures) == 1:
        return first, first.path.stem, size
    from texturenets.cli.masks import read_mask_file
    from texturenets.stylize.regions import MaskFile
    from texturenets.texture_blending import TRANSITION, TextureRegions

    found = [read_mask_file(mask) for mask in masks]
    source = TextureRegions(textures, found, TRANSITION if transition is None else transition)
    sizes = (mask.picture.size for mask in found if isinstance(mask, MaskFile))
    return source, source.name, next(sizes, size)


def check_masks(
    others: Sequence[str], masks: Sequence[str], transition: float | None, *, alone: bool
) -> None:
    """Raise UserError for masks without several textures and the reverse, and for flags that exclude both."""
    if others and not masks:
        raise UserError(
            f"{others[0]}: a second texture goes where a mask says: give --mask, an image that is white for the "
            "first and black for the second, or left-to-right"
        )
    if masks and not others:
        raise UserError(f"--mask {masks[0]} is for several textures: name a second one after the first")
    if others and len(masks) not in (len(others), len(others) + 1):
        raise UserError(
            f"{counted(len(masks), 'mask')} for {len(others) + 1} textures: give --mask {len(others)} or "
            f"{len(others) + 1} times, for each texture an image that is white where it goes"
        )
    if transition is not None and not masks:
        raise UserError(f"--transition {transition:g} has an effect only with --mask")
    if masks and alone:
        raise UserError("--mask is for single samples: leave out --sheet and --to-seed")


def _scales(text: str | None, count: int) -> list[float]:
    """The scale of each of `count` textures. Raises UserError for another number of them."""
    try:
        scales = [float(part) for part in text.split(",")] if text is not None else [1.0] * count
    except ValueError:
        raise UserError(f"--scale {text}: give a number, or one for each texture, as 1,0.5") from None
    if len(scales) != count:
        raise UserError(
            f"--scale {text}: {counted(len(scales), 'number')} for {counted(count, 'texture')}: give one for each"
        )
    return scales
