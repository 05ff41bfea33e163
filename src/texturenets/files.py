"""Atomic writes: a file appears under its name complete or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from texturenets.errors import UserError, cannot_write
from texturenets.locks import lock

SUFFIX = ".part"

KEEPS_OPEN: Final = sys.platform != "win32"
"""Whether a temporary file stays open and locked until it is renamed; on Windows open files cannot be renamed."""

STALE_SECONDS: Final = 86400.0
"""Age at which a temporary file without a lock counts as left by a killed process, and is removed."""

# Read once: reading the umask means setting it, which affects all threads of the process.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def _prefix(path: Path) -> str:
    """Prefix of the temporary files for `path`: hidden, and short enough for a suffix to be added."""
    return f".{path.name[:40]}."


@contextmanager
def temporary_sibling(path: Path) -> Iterator[Path]:
    """A new empty temporary file next to `path`, whose parent folders are created; deleted at the end unless it was
    moved.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = _made(path)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)  # releases the lock


def _made(path: Path) -> tuple[int | None, Path]:
    """A new temporary file next to `path`; while its descriptor is open, the lock keeps `_remove` from deleting it.

    The descriptor is None if open files can be neither renamed nor deleted (`KEEPS_OPEN`).
    """
    while True:
        handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=SUFFIX, dir=path.parent)
        if not KEEPS_OPEN:
            os.close(handle)
            return None, Path(name)
        _lock(handle, wait=True)
        if os.fstat(handle).st_nlink:  # else `_remove` of another process deleted it before it was locked
            return handle, Path(name)
        os.close(handle)


def _lock(handle: int, *, wait: bool = False) -> bool:
    """Lock the open file. False if another process holds the lock, or the file system has no locks."""
    try:
        lock(handle, wait=wait)
    except OSError:  # held, or a file system without locks
        return False
    return True


def publish(part: Path, path: Path) -> None:
    """Move the temporary file `part` to `path`, with the permissions of an ordinary new file. Raises OSError."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # else a power cut can leave the name without the bytes
    part.chmod(0o666 & ~_UMASK)  # mkstemp creates it readable by the owner only
    part.replace(path)


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path` with the home folder in place of a leading ~ or ~USER; as it is if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary file to write to; it is renamed to `path` if the block succeeds, else deleted.

    Parent folders are created; of a symbolic link the file that it leads to is written. Raises UserError, with the
    reason, if it cannot be written, and if a file of that name is write-protected.
    """
    check_unprotected(path)
    if path.is_symlink():
        path = path.resolve()
    with _write_errors(path), temporary_sibling(path) as part:
        yield part
        publish(part, path)


@contextmanager
def new_folders(folder: Path) -> Iterator[None]:
    """If the block fails, remove `folder` and its parents again, where they were not there before and are empty."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        with suppress(OSError):  # one that is not empty, or was never made
            for path in new:
                path.rmdir()
        raise


def check_unprotected(*paths: Path) -> None:
    """Raises UserError if one of these files is write-protected: renaming over it would replace it all the same."""
    for path in paths:
        if os.path.exists(path) and not os.access(path, os.W_OK):  # noqa: PTH110 - False for names that are too long
            raise UserError(
                f"cannot write {path}: it is write-protected; give another name, or make it writable"
            )


def check_writable(path: Path) -> None:
    """Raises UserError, with the reason, if the file `path` cannot be written; for the start of long work. It leaves
    no file and creates no folder.
    """
    check_unprotected(path)
    with _write_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        there = next(folder for folder in path.absolute().parents if folder.exists())
        with temporary_sibling(there / path.name):
            pass


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Raise UserError for an OSError in the block, which writes `path`."""
    try:
        yield
    except FileExistsError:
        file = next(folder for folder in path.parents if folder.exists())
        raise UserError(f"cannot write {path}: {file} is a file, not a folder") from None
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_stale(path: Path) -> None:
    """Remove temporary files that killed processes left next to the file `path`, or in the folder `path`. Files that
    a running process is writing are kept.
    """
    if path.is_dir():
        _remove(left for left in path.iterdir() if left.name.startswith("."))
    else:
        remove_all_stale([path])


def remove_all_stale(paths: Iterable[Path]) -> None:
    """`remove_stale` for many files, listing each folder only once."""
    prefixes: dict[Path, set[str]] = {}
    for path in paths:
        prefixes.setdefault(path.parent, set()).add(_prefix(path))
    for folder, mine in prefixes.items():
        if folder.is_dir():
            _remove(path for path in folder.iterdir() if _beginning(path.name) in mine)


def _beginning(name: str) -> str:
    """The `_prefix` in the name of a temporary file."""
    return name.removesuffix(SUFFIX).rpartition(".")[0] + "."


def _remove(left: Iterable[Path]) -> None:
    """Remove those of the files `left` that are temporary files of processes that no longer run."""
    for path in left:
        if not path.name.endswith(SUFFIX):
            continue
        if not KEEPS_OPEN:
            with suppress(OSError):  # it is being written
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()
            continue
        try:
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
        except OSError:  # renamed meanwhile, or owned by another user
            continue
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle):
                path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def opened(path: Path) -> IO[bytes]:
    """Open a regular file for reading: reading a pipe could block, reading a device might never end.

    Raises OSError, and UserError for what is not a regular file.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    file = open(path, "rb", opener=opener)  # noqa: SIM115  Path.open takes no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(f"{path} is not a regular file but a pipe, socket or device: save it as a file first")
    return file


def weights_folders() -> list[Path]:
    """The folders of TEXTURENETS_WEIGHTS. Raises UserError if one is not a folder."""
    listed = os.environ.get("TEXTURENETS_WEIGHTS", "").split(os.pathsep)
    folders = [expanded(folder) for folder in listed if folder]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"TEXTURENETS_WEIGHTS names {folder}, which is not a folder: give folders, separated by {os.pathsep}"
            )
    return folders


def cache_folder() -> Path:
    """Folder of downloads and compiled models: TEXTURENETS_CACHE, else texturenets in XDG_CACHE_HOME or ~/.cache.

    Raises UserError if a file has that name, or if there is no home folder.
    """
    if chosen := os.environ.get("TEXTURENETS_CACHE"):
        folder = expanded(chosen)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"TEXTURENETS_CACHE names {folder}, which is not a folder")
        return folder
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "texturenets"
    except RuntimeError:
        raise UserError("no home folder to keep files in; set TEXTURENETS_CACHE to a folder") from None
