"""Which masks can be inpainted. No torch: the command refuses others before it loads PyTorch."""

from __future__ import annotations

from texturenets.errors import UserError
from texturenets.stylize.regions import Array

WHITE = 0.5  # a mask is white from this luminance on
NOTHING_LEFT = "the mask leaves nothing to learn from: paint black what is to stay"


def check_mask(values: Array) -> None:
    """Raise UserError for a mask, values 0 to 1, without white, and for one that is all white."""
    if values.max() < WHITE:
        raise UserError("the mask holds no white pixel: paint white what is to be filled")
    if values.min() >= WHITE:
        raise UserError(NOTHING_LEFT)
