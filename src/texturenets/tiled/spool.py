"""Pictures and feature maps on disk: read and written at offsets, gone with the process however that ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import UserError
from texturenets.graph.stage import Kept
from texturenets.tiled.rows import Interval, Size


class OverflowedError(Exception):
    """A value that half precision cannot hold."""


class _File:
    """A file without a name, or one that loses it as soon as it is opened.

    When the process ends, by whatever signal, the space is free again. Not memory-mapped: what is mapped counts as
    the process's own memory.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise UserError(f"cannot write in {folder}: {error.strerror}") from None

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def put(self, values: NDArray[Any], offset: int) -> None:
        """Write a contiguous array. Raises UserError where the disk is full."""
        data = memoryview(cast(Any, values)).cast("B")
        try:
            done = 0
            while done < len(data):  # the kernel moves at most 2 GB at a time
                done += os.pwrite(self._file.fileno(), data[done:], offset + done)
        except OSError as error:
            raise UserError(f"cannot keep what does not fit in memory: {error.strerror}") from None

    def get(self, values: NDArray[Any], offset: int) -> None:
        """Fill a contiguous array."""
        data = memoryview(cast(Any, values)).cast("B")
        done = 0
        while done < len(data):
            count = os.preadv(self._file.fileno(), [data[done:]], offset + done)
            if count <= 0:
                raise UserError("what was kept on disk has been cut short")
            done += count


class SpooledImage(_File):
    """A picture of whole numbers, `size` (height, width), the channels of a pixel side by side: "uint8" or
    "uint16"."""

    def __init__(self, folder: Path, channels: int, size: Size, kind: str) -> None:
        super().__init__(folder)
        self.channels, self.size, self.type = channels, size, np.dtype(kind)

    def write(self, rows: Interval, values: NDArray[Any]) -> None:
        """`values` (height, W, channels) at `rows`."""
        self.put(np.ascontiguousarray(values, self.type), self._offset(rows[0], 0))

    def read(self, rows: Interval, columns: Interval | None = None) -> NDArray[Any]:
        """(height, width, channels) of `rows` and `columns` (None: all)."""
        left, right = columns or (0, self.size[1])
        values = np.empty((rows[1] - rows[0], right - left, self.channels), self.type)
        if right - left == self.size[1]:
            self.get(values, self._offset(rows[0], 0))
        else:
            for k, line in enumerate(values):
                self.get(line, self._offset(rows[0] + k, left))
        return values

    def _offset(self, row: int, column: int) -> int:
        return (row * self.size[1] + column) * self.channels * self.type.itemsize


Space = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""Gives an array of a shape and type to read into."""


class FeatureMap(_File):
    """A feature map, `size` (height, width), one channel after the other."""

    def __init__(self, folder: Path, channels: int, size: Size, kept: Kept) -> None:
        super().__init__(folder)
        self.channels, self.size = channels, size
        self.type = np.dtype({"bfloat16": "uint16"}.get(kept, kept))

    def write(self, rows: Interval, values: NDArray[Any]) -> None:
        """`values` (1, C, height, W) at `rows`. Raises OverflowedError where half precision does not hold them."""
        for channel, plane in enumerate(values[0]):
            stored = np.ascontiguousarray(plane, self.type)
            if self.type == np.float16 and _overflowed(stored):
                raise OverflowedError
            self.put(stored, self._offset(channel, rows[0]))

    def read(self, rows: Interval, space: Space = np.empty) -> NDArray[Any]:
        """(1, C, height, W) of `rows`, in an array that `space` gives, as it is kept."""
        values = space((1, self.channels, rows[1] - rows[0], self.size[1]), self.type)
        for channel, plane in enumerate(values[0]):
            self.get(plane, self._offset(channel, rows[0]))
        return values

    def _offset(self, channel: int, row: int) -> int:
        return (channel * self.size[0] + row) * self.size[1] * self.type.itemsize


def _overflowed(values: NDArray[Any]) -> bool:
    """Whether one of `values` (float16) is an infinity or no number: all bits of its exponent are set."""
    return bool(values.view(np.int16).max() >= 0x7C00 or values.view(np.uint16).max() >= 0xFC00)


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


def _usual(asked: Path | None, others: Sequence[Path]) -> Iterator[Path]:
    if asked is not None:
        yield asked
        return
    for folder in (Path(tempfile.gettempdir()), Path("/var/tmp"), *others):
        if folder.is_dir() and os.access(folder, os.W_OK) and _filesystem(folder) not in _IN_MEMORY:
            yield folder


def choose_folder(needed: int, asked: Path | None, others: Sequence[Path] = ()) -> Path:
    """A folder on a disk with `needed` bytes free: `asked`, or the first fitting one of the usual places.

    The usual places are the system's for temporary files, unless that is memory, /var/tmp and `others`.
    Raises UserError that says what is free where.
    """
    if asked is not None and not asked.is_dir():
        raise UserError(f"`spool` {asked} is not a folder")
    found: list[str] = []
    for folder in _usual(asked, others):
        free = shutil.disk_usage(folder).free
        if free >= needed:
            return folder
        found.append(f"{folder} has {gigabytes(free)} free")
    there = " and ".join(dict.fromkeys(found)) or "no disk is here"
    raise UserError(
        f"this needs {gigabytes(needed)} of disk for a while, and {there}: "
        "make room, name another disk with `spool` FOLDER, or ask for a smaller picture with `size`"
    )


def gigabytes(count: float) -> str:
    """A number of bytes as people say it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
