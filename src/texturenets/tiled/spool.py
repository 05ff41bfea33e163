"""Images and feature maps on disk: read and written at offsets, deleted when the process ends, however it ends."""

from __future__ import annotations

import heapq
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import DISK_FULL, UserError, cannot_write
from texturenets.graph.stage import SpoolDtype
from texturenets.tiled.borders import Border
from texturenets.tiled.rows import Interval, Size

MAX_ARRAYS: Final = 1024
"""Maximum number of arrays per call: the limit of Linux (`IOV_MAX`)."""

PAGE: Final = 2**22
"""Bytes of a page of a spool: small beside a feature map of a large image, large beside a call of the system."""

MAX_BYTES_WINDOWS: Final = 2**26
"""Maximum bytes per call on Windows, whose limit is 2 GB."""


_POSITION = threading.Lock()
"""A lock for Windows, where all threads share a file's position."""


def _write(handle: int, parts: Sequence[memoryview], offset: int) -> int:
    """Write `parts`, or the first of them, at `offset`; returns how many bytes. Raises OSError."""
    if sys.platform != "win32":
        return os.pwritev(handle, parts, offset)
    with _POSITION:
        os.lseek(handle, offset, os.SEEK_SET)
        return os.write(handle, parts[0][:MAX_BYTES_WINDOWS])


def _read(handle: int, parts: Sequence[memoryview], offset: int) -> int:
    """Fill `parts`, or the first of them, from `offset`; returns the number of bytes. Raises OSError."""
    if sys.platform != "win32":
        return os.preadv(handle, parts, offset)
    with _POSITION:
        os.lseek(handle, offset, os.SEEK_SET)
        data = os.read(handle, min(len(parts[0]), MAX_BYTES_WINDOWS))
    parts[0][: len(data)] = data
    return len(data)


class OverflowedError(Exception):
    """A value that half precision cannot hold."""


class SpoolFile:
    """A temporary file without a name, or whose name is removed as soon as it is open. The space is freed when the
    process ends, even by a signal. It is not memory-mapped, because mapped memory counts as memory of the process.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise cannot_write(folder, error) from None

    def close(self) -> None:
        """Free the disk space."""
        self._file.close()

    def reserve(self, size: int) -> bool:
        """Take `size` bytes of the disk at once; returns whether the system can. Raises UserError if it has less."""
        if sys.platform == "win32" or not hasattr(os, "posix_fallocate"):
            return False
        try:
            os.posix_fallocate(self._file.fileno(), 0, size)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise cannot_write("what does not fit in memory", error) from None
            return False
        return True

    def put(self, values: Sequence[NDArray[Any]], offset: int) -> None:
        """Write contiguous arrays one after the other. Raises UserError if the disk is full."""
        try:
            self._move(_write, values, offset)
        except OSError as error:
            raise cannot_write("what does not fit in memory", error) from None

    def get(self, values: Sequence[NDArray[Any]], offset: int) -> None:
        """Fill contiguous arrays one after the other."""
        self._move(_read, values, offset)

    def _move(
        self,
        call: Callable[[int, Sequence[memoryview], int], int],
        values: Sequence[NDArray[Any]],
        offset: int,
    ) -> None:
        parts = [memoryview(cast(Any, array)).cast("B") for array in values]
        first = 0
        while first < len(parts):
            moved = call(self._file.fileno(), parts[first : first + MAX_ARRAYS], offset)
            if moved <= 0:
                raise UserError("what was kept on disk has been cut short")
            offset += moved
            while first < len(parts) and moved >= len(parts[first]):
                moved -= len(parts[first])
                first += 1
            if moved:  # the kernel moves at most 2 GB at a time
                parts[first] = parts[first][moved:]


class Spool:
    """A file that feature maps share, divided in pages of `page` bytes. Pages that a map no longer needs become those
    of another: their blocks on disk, and the system's cache of them, are already allocated.
    """

    def __init__(self, folder: Path, page: int = PAGE) -> None:
        self.file, self.page = SpoolFile(folder), page
        self.close = self.file.close
        self._free: list[int] = []
        self._count = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Maximum number of bytes that were in use at once."""
        return self._count * self.page

    def take(self) -> int:
        """The number of a page that is free; its content is undefined."""
        with self._lock:
            if self._free:
                return heapq.heappop(self._free)
            self._count += 1
            return self._count - 1

    def give_back(self, page: int) -> None:
        """Return a page that is no longer needed."""
        with self._lock:
            heapq.heappush(self._free, page)


class SpooledImage:
    """An image of integers, "uint8" or "uint16", `size` (height, width), channels last."""

    def __init__(self, folder: Path, channels: int, size: Size, kind: str) -> None:
        self.file = SpoolFile(folder)
        self.close = self.file.close
        self.channels, self.size, self.type = channels, size, np.dtype(kind)

    def write(self, rows: Interval, values: NDArray[Any]) -> None:
        """`values` (height, W, channels) at `rows`."""
        self.file.put([np.ascontiguousarray(values, self.type)], self._offset(rows[0], 0))

    def read(self, rows: Interval, columns: Interval | None = None) -> NDArray[Any]:
        """(height, width, channels) of `rows` and `columns` (None: all)."""
        left, right = columns or (0, self.size[1])
        values = np.empty((rows[1] - rows[0], right - left, self.channels), self.type)
        if right - left == self.size[1]:
            self.file.get([values], self._offset(rows[0], 0))
        else:
            for k, line in enumerate(values):
                self.file.get([line], self._offset(rows[0] + k, left))
        return values

    def stop(self) -> None:
        """Nothing will be read any more."""

    def _offset(self, row: int, column: int) -> int:
        return (row * self.size[1] + column) * self.channels * self.type.itemsize


Space = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""Gives an array of a shape and type to read into."""


class FeatureMap:
    """A feature map in pages of `spool`, `size` (height, width), channels last."""

    def __init__(self, spool: Spool, channels: int, size: Size, dtype: SpoolDtype) -> None:
        self.spool, self.channels, self.size = spool, channels, size
        self.type = np.dtype({"bfloat16": "uint16"}.get(dtype, dtype))
        self._pages: dict[int, int] = {}
        """By its number in the feature map, the number of the page in the spool."""
        self._released = 0
        self._lock = threading.Lock()

    def write(self, rows: Interval, values: NDArray[Any]) -> None:
        """`values` (1, height, W, C) at `rows`. Raises OverflowedError if half precision does not hold them."""
        stored = np.asarray(values, self.type)
        if self.type == np.float16 and _overflowed(stored):
            raise OverflowedError
        lines = [stored] if stored.flags.c_contiguous else list(stored[0])
        self._move(self.spool.file.put, lines, self._offset(rows[0]))

    def read(self, rows: Interval, border: Border | None = None, space: Space = np.empty) -> NDArray[Any]:
        """(1, height, width, C) of `rows`, in an array from `space`, with the file's dtype. With a `border`, columns
        are added at the sides, and `rows` may be outside of the feature map.
        """
        height, width = self.size
        left, right = (0, 0) if border is None else (border.left, border.right)
        values = space((1, rows[1] - rows[0], left + width + right, self.channels), self.type)
        low, high = max(rows[0], 0), min(rows[1], height)
        inside = values[:, low - rows[0] : high - rows[0], left : left + width]
        lines = [inside] if inside.flags.c_contiguous else list(inside[0])
        self._move(self.spool.file.get, lines, self._offset(low))
        if border is not None:
            # Columns first: the rows that are copied then have theirs.
            _continue(
                inside.swapaxes(1, 2),
                values[:, low - rows[0] : high - rows[0]].swapaxes(1, 2),
                left,
                border.mode,
            )
            _continue(values[:, low - rows[0] : high - rows[0]], values, low - rows[0], border.mode)
        return values

    def release(self, row: int) -> None:
        """Give back the pages that hold only rows before `row`: they are not read again."""
        end = self._offset(row) // self.spool.page if row < self.size[0] else self._page_count
        with self._lock:
            for page in range(self._released, end):
                if page in self._pages:
                    self.spool.give_back(self._pages.pop(page))
            self._released = max(self._released, end)

    @property
    def _page_count(self) -> int:
        return -(-self._offset(self.size[0]) // self.spool.page)

    def _move(
        self,
        call: Callable[[Sequence[NDArray[Any]], int], None],
        values: Sequence[NDArray[Any]],
        offset: int,
    ) -> None:
        """Write or read contiguous arrays one after the other, page by page."""
        page, within = divmod(offset, self.spool.page)
        parts: list[NDArray[Any]] = []
        first = within
        for array in values:
            rest = array.reshape(-1).view(np.uint8)
            while len(rest):
                part, rest = rest[: self.spool.page - within], rest[self.spool.page - within :]
                parts.append(part)
                within += len(part)
                if within == self.spool.page:
                    call(parts, self._place(page) + first)
                    page, within, first, parts = page + 1, 0, 0, []
        if parts:
            call(parts, self._place(page) + first)

    def _place(self, page: int) -> int:
        """Where a page of this feature map lies in the file."""
        with self._lock:
            if page not in self._pages:
                self._pages[page] = self.spool.take()
            return self._pages[page] * self.spool.page

    def _offset(self, row: int) -> int:
        return row * self.size[1] * self.channels * self.type.itemsize


def _continue(inside: NDArray[Any], values: NDArray[Any], first: int, mode: str) -> None:
    """Continue `inside`, which lies at `first` in the second axis of `values`, to both ends of it.

    In place: np.pad would copy the feature map.
    """
    count = inside.shape[1]
    for place in (*range(first), *range(first + count, values.shape[1])):
        beyond = first - place if place < first else place - first - count + 1
        near = beyond if mode == "reflect" else 0
        values[:, place] = inside[:, near if place < first else count - 1 - near]


def _overflowed(values: NDArray[Any]) -> bool:
    """Whether one of `values` (float16) is infinite or NaN: all bits of its exponent are set.

    np.isfinite takes three times as long.
    """
    return bool(values.view(np.int16).max() >= 0x7C00 or values.view(np.uint16).max() >= 0xFC00)


_IN_MEMORY: Final = ("tmpfs", "ramfs")


def _filesystem(folder: Path) -> str:
    """The type of the file system of `folder`; "" if unknown."""
    import psutil

    try:
        mounts = psutil.disk_partitions(all=True)
    except OSError:
        return ""
    path = folder.resolve()
    inside = [(len(m.mountpoint), m.fstype) for m in mounts if path.is_relative_to(m.mountpoint)]
    return max(inside)[1] if inside else ""


def _usual(chosen: Path | None, others: Sequence[Path]) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    for folder in (Path(tempfile.gettempdir()), Path("/var/tmp"), *others):
        if folder.is_dir() and os.access(folder, os.W_OK) and _filesystem(folder) not in _IN_MEMORY:
            yield folder


def choose_folder(needed: int, chosen: Path | None, others: Sequence[Path] = ()) -> Path:
    """A folder on a disk with `needed` bytes free: `chosen`, or else the first of the usual ones with enough space.
    The usual ones are the system's folder for temporary files (unless it is in memory), /var/tmp and `others`. Raises
    UserError with the free space of each.
    """
    if chosen is not None and not chosen.is_dir():
        raise UserError(f"`spool` {chosen} is not a folder")
    too_small: list[str] = []
    for folder in _usual(chosen, others):
        free = shutil.disk_usage(folder).free
        if free >= needed:
            return folder
        too_small.append(f"{folder} has {gigabytes(free)} free")
    there = " and ".join(dict.fromkeys(too_small)) or "no disk is here"
    raise UserError(
        f"this needs at least {gigabytes(needed)} of disk for a while, and {there}: "
        "free space, name another disk with `spool` FOLDER, or ask for a smaller image with `size`"
    )


def gigabytes(count: float) -> str:
    """A number of bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
