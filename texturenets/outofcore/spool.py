"""Maps on disk: read and written at offsets, gone with the process however that ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from texturenets.errors import UserError
from texturenets.outofcore.regions import Region, Size

_TYPES: Final = {"float16": np.float16, "float32": np.float32, "uint8": np.uint8, "uint16": np.uint16}


class OverflowedError(Exception):
    """A value that half precision cannot hold."""


class Spool:
    """One map of `channels` channels and `size` (height, width), its channels side by side in the file.

    The file has no name, or loses it as soon as it is opened: when the process ends, by whatever signal, the
    space is free again. Not memory-mapped: what is mapped counts as the process's own memory.
    """

    def __init__(self, folder: Path, channels: int, size: Size, kind: str) -> None:
        self.channels, self.size, self.type = channels, size, np.dtype(_TYPES[kind])
        self.bytes = channels * size[0] * size[1] * self.type.itemsize
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise UserError(f"cannot write in {folder}: {error.strerror}") from None

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def write(self, place: Region, values: NDArray[Any]) -> None:
        """`values` (height, width, channels) at `place`. Raises UserError where the disk is full."""
        values = np.ascontiguousarray(values, self.type)
        try:
            for row, offset in self._lines(values, place):
                done = 0
                while done < len(row):  # the kernel moves at most 2 GB at a time
                    done += os.pwrite(self._file.fileno(), row[done:], offset + done)
        except OSError as error:
            raise UserError(f"cannot keep what does not fit in memory: {error.strerror}") from None

    def read(self, place: Region) -> NDArray[Any]:
        """What stands at `place`: (height, width, channels)."""
        values = np.empty((place.height, place.width, self.channels), self.type)
        for row, offset in self._lines(values, place):
            done = 0
            while done < len(row):
                count = os.preadv(self._file.fileno(), [row[done:]], offset + done)
                if count <= 0:
                    raise UserError("what was kept on disk has been cut short")
                done += count
        return values

    def _lines(self, values: NDArray[Any], place: Region) -> Iterator[tuple[memoryview, int]]:
        """The bytes of `values` that lie side by side in the file, and where they lie."""
        row = self.channels * self.type.itemsize
        start = (place.top * self.size[1] + place.left) * row
        data = memoryview(cast(Any, values)).cast("B")
        if place.width == self.size[1]:
            yield data, start
            return
        length = place.width * row
        for i in range(place.height):
            yield data[i * length : (i + 1) * length], start + i * self.size[1] * row


class HalfMap:
    """A map of activations in a `Spool`, in half precision, or in float32 if `exact`."""

    def __init__(self, folder: Path, channels: int, size: Size, *, exact: bool = False) -> None:
        self.spool = Spool(folder, channels, size, "float32" if exact else "float16")
        self.exact = exact

    def write(self, place: Region, x: Tensor) -> None:
        """`x` (1, C, height, width) at `place`. Raises OverflowedError where half precision does not suffice."""
        x = x[0].permute(1, 2, 0)
        x = x.float() if self.exact else x.half()
        if not self.exact and not torch.isfinite(x.sum(dtype=torch.float32)):
            raise OverflowedError
        self.spool.write(place, x.contiguous().cpu().numpy())

    def unpack(self, values: NDArray[Any], device: torch.device) -> Tensor:
        """What `spool.read` gave, as (1, C, height, width), float32, channels last in memory."""
        # Permuted as a batch: by the stride of a batch added later PyTorch would not see that it is channels-last.
        return torch.from_numpy(values)[None].to(device).float().permute(0, 3, 1, 2)

    def close(self) -> None:
        """Give the space back."""
        self.spool.close()


_IN_MEMORY: Final = ("tmpfs", "ramfs")


def _filesystem(folder: Path) -> str:
    """The kind of file system that `folder` is on, where the system tells."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    path = folder.resolve()
    inside = [(len(m[1]), m[2]) for m in mounts if len(m) > 2 and path.is_relative_to(m[1])]
    return max(inside)[1] if inside else ""


def choose_folder(needed: int, asked: Path | None, others: Sequence[Path] = ()) -> Path:
    """A folder on a disk with `needed` bytes free: `asked`, or the first fitting one of the usual places.

    The usual places are the system's for temporary files, unless that is memory, /var/tmp and `others`.
    Raises UserError that says what is free where.
    """
    if asked is not None and not asked.is_dir():
        raise UserError(f"--spool {asked} is not a folder")
    places = [asked] if asked else [Path(tempfile.gettempdir()), Path("/var/tmp"), *others]
    found: list[str] = []
    for folder in places:
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            continue
        if asked is None and _filesystem(folder) in _IN_MEMORY:
            continue
        free = shutil.disk_usage(folder).free
        if free >= needed:
            return folder
        found.append(f"{folder} has {gigabytes(free)} free")
    there = " and ".join(dict.fromkeys(found)) or "no disk is here"
    raise UserError(
        f"this needs {gigabytes(needed)} of disk for a while, and {there}: "
        "make room, name another disk with --spool FOLDER, or ask for a smaller picture with --size"
    )


def gigabytes(count: float) -> str:
    """A number of bytes as people say it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
