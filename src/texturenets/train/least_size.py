"""How large an image has to be to be learned. No torch: the service asks before a training is queued."""

from __future__ import annotations

MIN_TRAINING_SIDE = 32  # pixels of the shorter side: the deepest default layers see two positions


def too_small(height: int, width: int) -> str:
    """A sentence about an image of that many pixels that is too small to be learned, "" for one that is not."""
    if min(height, width) >= MIN_TRAINING_SIDE:
        return ""
    return (
        f"an image of {width} x {height} pixels holds too little to learn, "
        f"{MIN_TRAINING_SIDE} x {MIN_TRAINING_SIDE} is the least"
    )
