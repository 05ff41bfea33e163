"""Decides whether a photo is processed in memory or in strips. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from texturenets import image
from texturenets.image.sizes import fit_longer
from texturenets.memory.budget import Budget

if TYPE_CHECKING:
    from texturenets.stylize.style import Style

# Bytes per pixel that reading, stylizing and writing take in addition to the network: for the decoded photo
# (integers and floats), and for the result (with the photo, their mix, and the result as bytes).
_DECODED, _HELD = 16, 40
_DEEP = 48  # for the decoded photo where a channel has more than 8 bits: it is decoded twice


def too_large(style: Style, photo: Path, size: int | None) -> bool:
    """Whether a photo, resized to the longer side `size`, is too large to be processed in memory."""
    header = image.read_header(photo)
    if header is None:
        return False
    if header.size[0] * header.size[1] > image.pixel_limit():
        return True
    left = Budget.of(style.tiled.memory if style.tiled.device is None else None).left()
    return _memory_needed(header, size) > left


def _memory_needed(photo: image.ImageInfo, size: int | None) -> int:
    """Bytes of free memory needed to process a photo as a whole; half of them are for the network."""
    stored, decoded = photo.size, _DECODED if photo.bits == 8 else _DEEP
    made = fit_longer(stored, size) if size else stored
    return 2 * (decoded * stored[0] * stored[1] + _HELD * made[0] * made[1])


def way_out(photo: image.ImageInfo, size: int | None) -> str:
    """The end of an error message: what to change so that a photo that is too large can be processed in memory."""
    if photo.size[0] * photo.size[1] > image.pixel_limit():
        return f"or in memory where {image.MAX_PIXELS_ENV_VAR} allows so many pixels"
    return f"or give {Budget.of().needed(_memory_needed(photo, size))}"
