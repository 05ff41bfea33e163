"""Masks: which style goes where. No torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texturenets import image
from texturenets.arrays import is_tensor, to_numpy
from texturenets.errors import UserError
from texturenets.modelfiles.conditions import PHOTO

SAME_SHAPE = 0.02
"""How much the aspect ratio of a mask may differ from the photo's: as much as rounding to pixels causes."""

GRADIENTS = {"left-to-right": 1, "top-to-bottom": 0}
"""Masks by name, and the axis along which they fall from white to black."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Regions:
    """The share of each style at each pixel of a photo of H x W pixels.

    `styles`: their names. `shares` (1, styles, H, W): they sum to 1 at every pixel. `photo` (1, 1, H, W): the share
    of the photo itself in the result.
    """

    styles: tuple[str, ...]
    shares: Array
    photo: Array


COLORED = 0.2  # difference of channels above which a pixel counts as coloured; JPEG changes grey by less
SHARE_COLORED = 0.01  # of all pixels
BLACK = 0.05  # brightness below which a mask counts as black


@dataclass(frozen=True)
class MaskFile:
    """A mask that was read once for many photos, from the file `path`, which errors name."""

    path: str
    picture: image.Picture


def _none(size: tuple[int, int]) -> Array:
    return np.zeros(size, np.float32)


def _as_image(mask: Any) -> Any:
    """Convert a mask given as an array or tensor, (H, W), also of bool, to an image."""
    if isinstance(mask, MaskFile):
        return mask.picture
    if is_tensor(mask):
        mask = mask[None] if mask.ndim == 2 else mask
        return mask.float() if str(mask.dtype) == "torch.bool" else mask
    return mask.astype(np.float32) if isinstance(mask, np.ndarray) and mask.dtype == bool else mask


def _check_integers(mask: Any, name: str) -> None:
    """Raise UserError for an array or tensor of whole numbers of 0 and 1: of 255 that is as good as black."""
    if is_tensor(mask):
        whole = not (mask.is_floating_point() or mask.is_complex() or str(mask.dtype) == "torch.bool")
    else:
        whole = isinstance(mask, np.ndarray) and mask.dtype.kind in "iu"
    if whole and min(mask.shape, default=0) and int(mask.max()) == 1:
        raise UserError(
            f"the mask of {name}: its whole numbers are 0 and 1, where white is 255: multiply it by 255, or give bool"
        )


def _called(mask: Any, name: str) -> str:
    """The name of a mask in errors: its file, if it has one, else the name of its style."""
    if isinstance(mask, MaskFile):
        return f"the mask {mask.path}"
    return f"the mask {mask}" if isinstance(mask, str | Path) else f"the mask of {name}"


def read_mask(mask: Any, name: str, size: tuple[int, int], what_for: str = "photo") -> Array:
    """A mask for a photo, or `what_for`, of `size` (H, W): (H, W), 0 to 1. `mask`: any image that a style takes, a
    `MaskFile`, or an array or tensor (H, W), of bool too; its luminance counts, and where it is transparent it is
    black.

    `name`: its style. A mask of another size is scaled, with a warning. Raises UserError for another
    aspect ratio, and for whole numbers of 0 and 1.
    """
    if isinstance(mask, str) and mask in GRADIENTS:
        axis = GRADIENTS[mask]
        line = np.linspace(1, 0, size[axis], dtype=np.float32)
        return np.broadcast_to(line if axis else line[:, None], size)
    _check_integers(mask, name)
    try:
        picture, _ = image.from_any(_as_image(mask))
    except UserError as error:
        raise UserError(f"the mask of {name}: {error}") from None
    pixels = to_numpy(picture.pixels).astype(np.float32)
    stored = int(pixels.shape[2]), int(pixels.shape[3])
    what = _called(mask, name)
    check_shape(what, stored, size, what_for)
    luminance = mask_luminance(picture)
    if isinstance(mask, str | Path | MaskFile):  # made by a person, not computed
        _warn_of_use(pixels[0, :3], luminance[0, 0], what, name)
    if stored != size:
        scaled = f"{stored[1]} x {stored[0]}, is scaled to the {what_for}'s {size[1]} x {size[0]}"
        warnings.warn(f"{what}, {scaled}", stacklevel=4)
        luminance = image.resize(luminance, size)
    result: Array = luminance[0, 0].clip(0, 1).astype(np.float32)
    return result


def mask_luminance(picture: image.Picture) -> Array:
    """The values of a mask, (1, 1, H, W): its luminance, 0 where it is transparent."""
    luminance = image.luminance(to_numpy(picture.pixels).astype(np.float32)[:1, :3])
    if picture.transparency is None:  # not `alpha`, which is a tensor
        return luminance
    return luminance * to_numpy(picture.transparency).astype(np.float32)


def _warn_of_use(rgb: Array, luminance: Array, what: str, name: str) -> None:
    """Warn of a mask (3, H, W) of the style `name` that is likely a mistake: in colour, or without any white."""
    if (np.ptp(rgb, axis=0) > COLORED).mean() > SHARE_COLORED:
        warnings.warn(
            f"{what} is in colour: its brightness counts, white is all of it and black nothing",
            stacklevel=5,
        )
    elif luminance.max() < BLACK:
        nothing = "nothing of the photo is kept" if name == PHOTO else f"there is nothing of {name}"
        warnings.warn(f"{what} is black, so {nothing}: paint white where it is to be", stacklevel=5)


def check_shape(what: str, stored: tuple[int, int], size: tuple[int, int], what_for: str = "photo") -> None:
    """Raise UserError if a mask of `stored` (H, W) has another aspect ratio than a photo of `size`; `what`: how
    errors call it."""
    (height, width), (rows, columns) = stored, size
    if abs(np.log(width / height) - np.log(columns / rows)) > max(SAME_SHAPE, 2 / min(*size, *stored)):
        raise UserError(
            f"{what} has {width} x {height} pixels, of another shape than the {what_for}'s {columns} x {rows}: crop "
            "or draw it again"
        )


def regions(styles: tuple[str, ...], masks: Mapping[str, Any], size: tuple[int, int]) -> Regions:
    """The regions of `styles` ("photo" may be among them), all of which except one must have a mask. The one without
    gets the remaining share; the photo's mask takes precedence. Raises UserError for masks of other styles, and if
    more than one has none.
    """
    for name in masks:
        if name not in styles:
            raise UserError(f"a mask for {name}, which is not among the styles: {', '.join(styles)}")
    if set(styles) == {PHOTO}:
        raise UserError("a mask says where a style goes, and there is only the photo: name a style")
    given = {name: read_mask(mask, name, size) for name, mask in masks.items()}
    without = [name for name in styles if name not in given]
    if len(without) > 1:
        raise UserError(
            f"{' and '.join(without)} have no mask: {len(styles)} styles take {len(styles) - 1} masks or "
            f"{len(styles)}"
        )
    if PHOTO in given:
        given |= {name: mask * (1 - given[PHOTO]) for name, mask in given.items() if name != PHOTO}
    total = sum(given.values(), _none(size))
    if without:
        given[without[0]] = (1 - total).clip(0, 1)
    stack = np.stack([given[name] for name in styles])
    stack /= stack.sum(0).clip(1e-6)
    bare = sum(given.values(), _none(size)) < 1e-6
    learned = tuple(name for name in styles if name != PHOTO)
    photo = stack[styles.index(PHOTO)] if PHOTO in styles else _none(size)
    photo = np.where(bare, 1, photo)  # where all masks are black the photo stays
    shares = np.stack([stack[styles.index(name)] for name in learned])
    rest = shares.sum(0)
    shares = np.where(rest > 1e-3, shares / rest.clip(1e-3), 1 / len(learned))
    return Regions(learned, shares[None].astype(np.float32), photo[None, None].astype(np.float32))
