"""The minimum size of an image to learn from. No torch: the service checks it before a training is queued."""

from __future__ import annotations

MIN_TRAINING_SIDE = 32  # pixels of the shorter side: the deepest default layers see two positions


def too_small(height: int, width: int) -> str:
    """An error message if an image of that size is too small to learn from; otherwise ""."""
    if min(height, width) >= MIN_TRAINING_SIDE:
        return ""
    return (
        f"an image of {width} x {height} pixels is too small to learn from: "
        f"the minimum is {MIN_TRAINING_SIDE} x {MIN_TRAINING_SIDE}"
    )
