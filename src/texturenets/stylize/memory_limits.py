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


def too_large(style: Style, photo: Path, size: int | None) -> bool:
    """Whether a photo, resized to the longer side `size`, is too large to be processed in memory."""
    header = image.read_header(photo)
    if header is None:
        return False
    stored = header.size[0] * header.size[1]
    made = fit_longer(header.size, size) if size else header.size
    if stored > image.pixel_limit():
        return True
    left = Budget.of(style.tiled.memory if style.tiled.device is None else None).left()
    return _DECODED * stored + _HELD * made[0] * made[1] > left / 2
