"""The result of every reader: arrays that are not loaded yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


class FormatError(ValueError):
    """The file does not have the format of its first bytes; the text says what is wrong."""


@dataclass(frozen=True)
class Stored:
    """An array in a file: its shape is known, its numbers are read by `load`.

    `load` allocates memory for the shape and raises FormatError or OSError, so check the shape first.
    """

    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]


def in_memory(tensor: torch.Tensor) -> Stored:
    """An array that is already loaded."""
    return Stored(tuple(tensor.shape), lambda: tensor)
