"""The size of brush strokes: coarse to fine, a result enlarged and stylized again.

A network's strokes have a fixed size in pixels, so on a large photo they are relatively small. Here the photo is
stylized at a low resolution, where strokes are relatively large; the result is enlarged by at most 2 and stylized
again, and so on up to the wanted size. The network takes the enlarged strokes for contours and gives them sharp edges
and fine strokes. The photo itself is used only in the first step: later its details would show through the strokes.
Colours and other low frequencies stay those of the coarser result (`image.blend`).
"""

from __future__ import annotations

import math
import numbers
from typing import Final, Literal

from texturenets.errors import UserError

Stroke = float | Literal["auto"]

AUTO: Final = 512
"""Pixels of the longer side up to which `auto` leaves strokes as they are. On a larger image it enlarges them in
proportion, so that an image of this size previews the result."""

MIN_COARSEST_SIDE: Final = 32
"""Minimum shorter side of the coarsest stage in pixels."""


def parse(text: str) -> Stroke:
    """Parse a stroke size from the command line. Raises UserError if it is invalid."""
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"`stroke` {text!r} is neither a number nor auto") from None
    check(value)
    return value


def check(stroke: Stroke) -> None:
    """Raise UserError for an invalid stroke size."""
    if stroke == "auto":
        return
    if (
        isinstance(stroke, bool) or not isinstance(stroke, numbers.Real) or not 0.1 <= stroke <= 1000
    ):  # also for NaN
        raise UserError(f"stroke {stroke} is neither a number between 0.1 and 1000 nor auto")


def stylization_sizes(size: tuple[int, int], stroke: Stroke) -> list[tuple[int, int]]:
    """The sizes (H, W) at which an image of `size` is stylized, one after the other, the coarsest first.

    The last is `size`, except for strokes below 1: there the one size is larger, and the result is reduced. Raises
    UserError if strokes are so large that nothing of the image is left.
    """
    factor = max(1.0, max(size) / AUTO) if stroke == "auto" else stroke
    if factor < 1:
        return [_scaled(size, 1 / factor)]
    coarsest = _scaled(size, 1 / factor)
    if stroke != "auto" and factor > 1 and min(coarsest) < MIN_COARSEST_SIDE:
        raise UserError(
            f"`stroke` {stroke:g} leaves {coarsest[1]} x {coarsest[0]} pixels of {size[1]} x {size[0]}: use strokes "
            f"of at most {max(1, min(size) / MIN_COARSEST_SIDE):.3g}, or a larger image with `size`"
        )
    steps = math.ceil(math.log2(factor) - 1e-9)
    return [_scaled(size, factor ** (i / steps - 1)) for i in range(steps)] + [size]


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    height, width = (max(1, round(side * factor)) for side in size)
    return height, width
