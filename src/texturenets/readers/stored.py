"""What every reader hands back: arrays that are still in their file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


class FormatError(ValueError):
    """The file is not what its first bytes promise; the text says where it fails."""


@dataclass(frozen=True)
class Stored:
    """An array in a file: its shape is known, its numbers are read by `load`.

    `load` allocates what the shape says and raises FormatError or OSError, so look at the shape first.
    """

    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]


def in_memory(tensor: torch.Tensor) -> Stored:
    """An array that is read already."""
    return Stored(tuple(tensor.shape), lambda: tensor)
