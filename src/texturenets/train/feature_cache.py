"""The content feature file: content features of a folder of photos, computed once, in HDF5 (v1's `extract4_2.lua`).

Training from it uses exactly the crops in it, `crops_per_photo` of each, cut, scaled and mirrored at
random when the file was made.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from texturenets import image
from texturenets.errors import DiskFullError, UserError, reason
from texturenets.files import atomic_write, remove_stale
from texturenets.perceptual import Descriptors
from texturenets.train import data

FORMAT = 3
SPARE = 2**20  # bytes: HDF5's own caches of chunks and indices


@dataclass(frozen=True)
class CacheInfo:
    """The options with which a content feature file was made; a training with other ones refuses it."""

    layers: tuple[str, ...]
    image_size: int
    crops_per_photo: int
    train: int  # crops to train on
    val: int  # crops held out
    descriptor: dict[str, Any]  # padding, pool, precision
    digest: str  # of the list of photos
    flip: bool
    val_share: float


def write(
    path: Path,
    photos: data.Photos,
    descriptors: Descriptors,
    layers: tuple[str, ...],
    *,
    image_size: int,
    crops_per_photo: int,
    seed: int,
    flip: bool,
    val_share: float,
    descriptor: dict[str, Any],
    device: torch.device,
    batch: int = 4,
) -> Iterator[tuple[int, int, list[str]]]:
    """Write the content feature file `path`; yields after each batch (crops done, crops in total, messages
    about unreadable photos so far). The file appears only once it is complete.

    Features are stored in half precision, which holds what a bf16 network gives exactly.
    """
    jobs = [(p, True, v) for v in range(crops_per_photo) for p in photos.train] + [
        (p, False, 0) for p in photos.val
    ]
    unreadable: list[str] = []
    sets: dict[str, Any] = {}
    counts = {"train": 0, "val": 0}
    remove_stale(path)
    with atomic_write(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        for start in range(0, len(jobs), batch):
            crops, parts = [], []
            for offset, (photo, training, variant) in enumerate(jobs[start : start + batch]):
                random = np.random.default_rng((seed, 3, start + offset, variant)) if training else None
                try:
                    crops.append(data.crop(image.read(photo).rgb, image_size, random, flip))
                    parts.append("train" if training else "val")
                except UserError as error:
                    if not variant:  # decoded once for all crops of a photo
                        unreadable.append(str(error))
            if crops:
                # The features are those of the stored 8-bit crops, so that a training from the file and one from the
                # folder agree.
                pixels = (torch.stack(crops) * 255).round().to(torch.uint8)
                with torch.no_grad():
                    features = descriptors((pixels.float() / 255).to(device), layers)
                arrays = {
                    "photos": pixels.numpy(),
                    **{k: f.half().cpu().numpy() for k, f in features.items()},
                }
                _check_room(path, sum(array.nbytes for array in arrays.values()))
                _append(file, sets, counts, arrays, parts)
            yield min(start + batch, len(jobs)), len(jobs), unreadable
        if not counts["train"]:
            raise UserError(
                f"no photo can be read of the {len(photos.train)} to train on; the last: {unreadable[-1]}"
            )
        info = {
            "format": FORMAT,
            "layers": layers,
            "image_size": image_size,
            "crops_per_photo": crops_per_photo,
            **counts,
            "descriptor": descriptor,
            "flip": flip,
            "val_share": val_share,
            "digest": hashlib.sha256(
                f"{photos.digest}/{seed}/{flip}/{crops_per_photo}/{counts}".encode()
            ).hexdigest(),
        }
        file.attrs["texturenets"] = json.dumps(info)


def _check_room(path: Path, size: int) -> None:
    """Raise DiskFullError unless the disk has room for `size` bytes more, and for what HDF5 writes at the end: on a
    full disk it fails again when it closes the file, and crashes.
    """
    if shutil.disk_usage(path.absolute().parent).free < size + SPARE:
        raise DiskFullError(f"cannot write {path}: {os.strerror(errno.ENOSPC)}")


def _append(
    file: h5py.File, sets: dict[str, Any], counts: dict[str, int], arrays: dict[str, Any], parts: list[str]
) -> None:
    """Add crops and features, the i-th of each array to the set that `parts[i]` names."""
    for part in ("train", "val"):
        mine = [i for i, p in enumerate(parts) if p == part]
        if not mine:
            continue
        for key, array in arrays.items():
            name, shape = f"{part}/{key}", array.shape[1:]
            if name not in sets:
                sets[name] = file.create_dataset(
                    name,
                    (0, *shape),
                    array.dtype,
                    maxshape=(None, *shape),
                    chunks=(1, *shape),
                    compression="lzf",
                )
            sets[name].resize(counts[part] + len(mine), 0)
            sets[name][counts[part] :] = array[mine]
        counts[part] += len(mine)


def read_info(path: Path) -> CacheInfo:
    """The options with which the file `path` was made. Raises UserError if it is no content feature file."""
    try:
        with h5py.File(path, "r") as file:
            info = json.loads(file.attrs["texturenets"])
        if info.pop("format") != FORMAT:
            raise UserError(f"{path} was written by another version of texturenets; write it again")
        return CacheInfo(**{**info, "layers": tuple(info["layers"])})
    except FileNotFoundError:
        raise UserError(f"no such content feature file: {path}; `texturenets cache` writes one") from None
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not a content feature file ({reason(error)}): give one that `texturenets cache` wrote, or a "
            "folder of photos"
        ) from None


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Raise UserError, with the way out, for what HDF5 raises in the block on reading a damaged file."""
    try:
        yield
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{path} is damaged ({reason(error)}): write it again with `texturenets cache`"
        ) from None


class CachedCrops(Dataset[data.Batch]):
    """The batches of a run from a content feature file, by step; the file is opened in each worker by itself."""

    def __init__(self, path: Path, info: CacheInfo, *, batch: int, slots: range, seed: int) -> None:
        self.path, self.info, self.batch, self.slots = path, info, batch, slots
        self.order = data.Order(info.train, seed)
        self.file: h5py.File | None = None
        self.owner = 0

    def __getitem__(self, step: int) -> data.Batch:
        """The batch of `step`, counted from 0, with its content features."""
        if self.file is None or self.owner != os.getpid():
            self.file, self.owner = h5py.File(self.path, "r"), os.getpid()
        indices = [self.order(step * self.batch + slot) for slot in self.slots]
        with _damaged(self.path):
            photos, content = load(self.file["train"], indices, self.info.layers)
        return data.Batch(step, photos, [], content)


def load(group: Any, indices: list[int], layers: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    """Crops (N, 3, S, S) in [0, 1] and their features by layer."""
    photos = torch.stack([torch.from_numpy(group["photos"][i]) for i in indices]).float() / 255
    return photos, {k: torch.stack([torch.from_numpy(group[k][i]) for i in indices]) for k in layers}


def validation(path: Path, count: int) -> Tensor:
    """The first `count` held-out crops: (n, 3, S, S)."""
    with _damaged(path), h5py.File(path, "r") as file:
        if "val" not in file:
            size = json.loads(file.attrs["texturenets"])["image_size"]
            return torch.zeros(0, 3, size, size)
        return torch.from_numpy(file["val/photos"][:count]).float() / 255
