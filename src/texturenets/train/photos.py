"""Sources of photos for training a style: a folder, or a content feature file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from texturenets.errors import UserError, counted
from texturenets.train import data, feature_cache
from texturenets.train.configuration import StyleConfig, flag_text
from texturenets.train.data import Batch
from texturenets.train.setup import Setup, descriptor_fingerprint


class FolderPhotos:
    """A folder of photos; their content features are computed in each step.

    `count`: its photos to train on; `readable`: those that are not known to be unreadable; `held`: those held out.
    """

    def __init__(self, folder: Path, config: StyleConfig) -> None:
        """Raises UserError for a folder that is missing, or holds too few photos."""
        self.config = config
        self.found = data.scan(folder, config.val_share, config.seed)
        self.digest, self.count = self.found.digest, len(self.found.train)
        self.held = len(self.found.val)
        # Of a small set all at once; in a large one, each when its turn comes.
        self.unreadable = data.unreadable(self.found.train) if self.count < data.SMALL_SET else []
        self.readable = self.count - len(self.unreadable)
        if config.texture_photos > self.count:
            raise UserError(
                f"`texture_photos` {config.texture_photos}: the folder holds {counted(self.count, 'photo')}"
            )

    def check(self, setup: Setup, layers: tuple[str, ...]) -> None:
        """Nothing to check: the losses may use any layers."""

    def crops(self, batch: int, slots: range, first: int | None = None) -> Dataset[Batch]:
        """Batches by step, of all photos, or of only the `first` ones."""
        config, chosen = self.config, self.found.train[:first]
        return data.Crops(
            chosen, side=config.image_size, batch=batch, slots=slots, seed=config.seed, flip=config.flip
        )

    def held_out(self, count: int) -> tuple[Tensor, Sequence[str]]:
        """At most `count` crops (n, 3, S, S) that are not trained on, and messages about files that were skipped."""
        crops, problems = data.validation(self.found.val, self.config.image_size, count)
        return crops, [*self.unreadable, *problems]


class CachedPhotos:
    """A content feature file, as `texturenets cache` writes it: crops with their content features.

    `count`: its crops to train on; `readable`: the photos that they are of; `held`: crops held out, one a photo.
    """

    def __init__(self, path: Path, config: StyleConfig) -> None:
        """Raises UserError for another file, and for options that do not go with such a file."""
        self.path, self.config = path, config
        self.info = feature_cache.read_info(path)
        self.digest, self.count = self.info.digest, self.info.train
        self.held = self.info.val
        self.readable = self.info.train // self.info.crops_per_photo
        if config.pyramid_loss > 1:
            raise UserError(
                "`pyramid_loss` takes content features at several scales, and a content feature file holds one: "
                "use a folder"
            )
        if config.texture_photos:
            raise UserError(
                "`texture_photos` chooses among photos: give `content` a folder, not a content feature file"
            )

    def check(self, setup: Setup, layers: tuple[str, ...]) -> None:
        """Raises UserError if the file was made with other options than this training has, or other layers than
        `layers`, those that the losses take of the photos."""
        descriptor = descriptor_fingerprint(self.config, layers, setup)
        wanted: list[tuple[str, Any, Any]] = [
            ("`content_layers`", self.info.layers, layers),
            ("`image_size`", self.info.image_size, self.config.image_size),
            ("`precision` and descriptor", self.info.descriptor, descriptor),
            ("`val_share`", self.info.val_share, self.config.val_share),
        ]
        for name, has, wants in wanted:
            if has != wants:
                raise UserError(
                    f"{self.path} was made with {name} {flag_text(has)}, this training wants "
                    f"{flag_text(wants)}: give it the "
                    "same, or write it again"
                )
        if self.info.flip != self.config.flip:
            made, same = (
                ("with", "leave it out here") if self.info.flip else ("without", "turn `flip` off here")
            )
            raise UserError(f"{self.path} was made {made} mirrored photos: {same} too, or write it again")

    def crops(self, batch: int, slots: range, first: int | None = None) -> Dataset[Batch]:
        """Batches by step, of all crops."""
        return feature_cache.CachedCrops(
            self.path, self.info, batch=batch, slots=slots, seed=self.config.seed
        )

    def held_out(self, count: int) -> tuple[Tensor, Sequence[str]]:
        """At most `count` crops (n, 3, S, S) that are not trained on; the file holds crops of readable photos
        alone."""
        return feature_cache.validation(self.path, count), ()


def workers_for(device: torch.device) -> int:
    """Processes that decode photos: a GPU takes hundreds a second, and decoding one takes 10 ms."""
    return min(8, max(1, (os.cpu_count() or 1) - 1)) if device.type == "cuda" else 1
