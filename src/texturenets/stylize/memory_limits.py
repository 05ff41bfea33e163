"""Whether a photo can be held in memory as a whole. No torch: most can."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texturenets import image
from texturenets.image.sizes import fit_longer
from texturenets.memory.budget import Budget
from texturenets.stylize.stroke import Stroke

if TYPE_CHECKING:
    from texturenets.stylize.style import Style

# Bytes a pixel that reading, repainting and writing take in memory beside the network: of the source as it is
# decoded (whole numbers and floats), of the result with the photo beside it, mixed, and as bytes.
_DECODED, _HELD = 16, 40


@dataclass(frozen=True)
class StylizeOptions:
    """What `stylize` is asked for, by its flags' names."""

    size: int | None = None
    quality: int | None = None
    strength: float = 1.0
    preserve_color: bool = False
    keep_gps: bool = False
    seed: int = 0
    noise_level: float = 1.0
    stroke: Stroke = 1

    @property
    def painting(self) -> dict[str, Any]:
        """What of it the network's pass is told: keyword arguments of `Style.stylize`."""
        names = ("strength", "preserve_color", "seed", "noise_level", "stroke")
        return {name: getattr(self, name) for name in names}


def too_large(style: Style, photo: Path, size: int | None) -> bool:
    """Whether a photo (`size`: the longer side that it is to have) is too large to be held in memory."""
    header = image.read_header(photo)
    if header is None:
        return False
    stored = header.size[0] * header.size[1]
    made = fit_longer(header.size, size) if size else header.size
    if stored > image.pixel_limit():
        return True
    left = Budget.of(style.pieces.memory if style.pieces.device is None else None).left()
    return _DECODED * stored + _HELD * made[0] * made[1] > left / 2
