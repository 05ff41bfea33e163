"""Batches of groups from folders of images; a group is a crop and augmented versions of it.

A batch is a function of (seed, step, slot) and of the lists of files, as those of `train.data`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from texturenets import image
from texturenets.errors import UserError, counted
from texturenets.train import data
from texturenets.train.configuration import PerceptualConfig
from texturenets.train.data import Batch
from texturenets.train.distillation.changes import change

MAX_SCALE = 4.0  # maximum ratio of an image's shorter side to its crop's
ZOOMS = (0.5, 2.0)  # range of the crop's side relative to the side to which it is resized


class ImageFolders:
    """Folders of training images; they take turns, so that ten paintings count as much as ten thousand
    photos."""

    def __init__(self, folders: Sequence[Path], config: PerceptualConfig) -> None:
        """Raises UserError for a folder that is missing or holds no image."""
        if not folders:
            raise UserError("give folders of images to learn from: photos, paintings, textures")
        for folder in folders:
            if folder.is_file():
                raise UserError(f"{folder} is a file: give the folder that it is in")
        found = [data.scan(folder, config.val_share, config.seed) for folder in folders]
        self.train = [photos.train for photos in found]
        self.val = [photos.val for photos in found]
        state = hashlib.sha256("\n".join(photos.digest for photos in found).encode())
        self.digest, self.count = state.hexdigest(), sum(map(len, self.train))


class Groups(Dataset[Batch]):
    """The batches by step. `slots`: the places of the global batch that this process fills, whole groups."""

    def __init__(self, folders: Sequence[Sequence[Path]], config: PerceptualConfig, slots: range) -> None:
        self.folders, self.config, self.slots = [list(files) for files in folders], config, slots
        self.orders = [data.Order(len(files), config.seed) for files in self.folders]

    def __getitem__(self, step: int) -> Batch:
        """The batch of `step`, counted from 0. A file that cannot be read gives way to the next one."""
        size = self.config.variants
        images: list[Tensor] = []
        unreadable: list[str] = []
        for group in range(self.slots.start // size, self.slots.stop // size):
            images += self._group(step, group, unreadable)
        return Batch(step, torch.stack(images), unreadable)

    def _group(self, step: int, group: int, unreadable: list[str]) -> list[Tensor]:
        config = self.config
        place = step * (config.batch_size // config.variants) + group
        turn, of = divmod(place, len(self.folders))
        rgb = self._read(of, self.orders[of](turn), unreadable)
        random = np.random.default_rng((config.seed, 5, step, group))
        zoom = float(np.exp(random.uniform(*np.log(ZOOMS))))
        crop = data.crop(rgb, max(8, round(zoom * config.image_size)), random, flip=True, widest=MAX_SCALE)
        crop = image.resize(crop[None], (config.image_size, config.image_size))[0].clamp(0, 1)
        return [crop, *(change(crop, random) for _ in range(config.variants - 1))]

    def _read(self, of: int, index: int, unreadable: list[str]) -> Tensor:
        files = self.folders[of]
        for offset in range(len(files)):
            try:
                return image.read(files[(index + offset) % len(files)]).on_white
            except UserError as error:
                unreadable.append(str(error))
        raise UserError(
            f"none of {counted(len(files), 'image')} in {files[0].parent} can be read; the last: {unreadable[-1]}"
        )
