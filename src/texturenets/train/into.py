"""Adding a style to a model with several styles (`--into`): the model and the training's configuration. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from texturenets.errors import UserError, naming
from texturenets.train.configuration import INTO_LEARNING_RATE, INTO_STEPS, GalleryConfig

_ANEW = frozenset(
    {
        *("generator", "set", "noise_depth"),
        *("steps", "batch_size", "accumulate", "minutes", "optimizer", "learning_rate", "schedule", "decay"),
        *("decay_every", "warmup", "seed", "precision", "val_share"),
    }
)
"""Options of the model's training that are not used for an added style: its network exists, and a training of a
minute needs other settings than one of hours."""


def defaults(given: Collection[str], *, unfreeze: bool) -> dict[str, Any]:
    """The options of a training into a model that are others than those of a training from nothing, but for those in
    `given`, which the user gave. `unfreeze`: whether the whole network is trained."""
    fields: dict[str, Any] = {} if {"steps", "minutes"} & set(given) else {"steps": INTO_STEPS}
    return fields if unfreeze or "learning_rate" in given else fields | {"learning_rate": INTO_LEARNING_RATE}


def find(name: str | Path) -> Path:
    """The file of the model called `name`, which must hold several styles. Raises UserError if it has one style."""
    from texturenets.modelfiles import modelfile  # numpy, which --help does without

    file = modelfile.find(name)
    if not modelfile.read_header(file).rows or modelfile.base_of(file) is not None:
        raise UserError(f"`into` {name}: a model of one style; train into one of several (`train gallery`)")
    return file


def configuration(base: Path, minutes: float) -> GalleryConfig:
    """The configuration for adding a painting to the model at `base` in `minutes`: with the losses of that model's
    training.

    No photo is held out. Raises UserError for a model whose header has no such options, or whose network is code of
    somebody's own.
    """
    from texturenets.modelfiles import modelfile

    header = modelfile.read_header(base)
    if header.custom:
        raise UserError(f"`into` {base}: its network is code of its own, which takes no further style")
    known = {field.name for field in dataclasses.fields(GalleryConfig)} - _ANEW
    run = {key: value for key, value in header.training.get("run", {}).items() if key in known}
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in run.items()
    }
    with naming(base):
        return GalleryConfig(
            **options,
            generator=header.generator["name"],
            minutes=minutes,
            learning_rate=INTO_LEARNING_RATE,
            val_share=0.0,
        )
