"""The record of a training step."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor


@dataclass
class Record:
    """One step, counted from 1.

    `losses`: weighted, by name, scalars on the device. `seconds`: of training so far, over all resumes;
    `waited`: seconds that this step waited for the data loader. `unreadable`: error messages of photos that could not
    be read, each once. `validation`: losses by name, and whether they are the `best` so far, where the step was
    validated. `pictures` (rows, N, 3, H, W), RGB in [0, 1], N at most 4, every `pictures_every` steps, else None: for
    styles a row of photos and a row of results, for textures one row of samples. `saved`: the checkpoint, if one was
    written.
    """

    step: int
    losses: dict[str, Tensor]
    learning_rate: float
    seconds: float
    waited: float
    unreadable: list[str] = field(default_factory=list)
    validation: dict[str, float] | None = None
    best: bool = False
    pictures: Tensor | None = None
    saved: Path | None = None
