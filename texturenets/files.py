"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from texturenets.errors import UserError

SUFFIX = ".part"


def _prefix(path: Path) -> str:
    """What the names begin with of files written aside for `path`: hidden, and short enough to add to."""
    return f".{path.name[:40]}."


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A new empty file beside `path` to write to, with its parent folders; it goes at the end unless moved.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=SUFFIX, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def publish(part: Path, path: Path) -> None:
    """Give what was written aside its name, and the rights of a file made in the open. Raises OSError."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # else a power cut can leave the name without the bytes
    umask = os.umask(0)
    os.umask(umask)
    part.chmod(0o666 & ~umask)  # mkstemp makes it private
    part.replace(path)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to; it takes the name `path` when the block ends well, else it goes.

    Parent folders are made. Raises UserError, with the reason, where the disk does not let it be written.
    """
    try:
        with aside(path) as part:
            yield part
            publish(part, path)
    except FileExistsError:
        raise UserError(f"cannot write {path}: {path.parent} is a file, not a folder") from None
    except OSError as error:
        reason = " ".join((error.strerror or str(error)).split())
        raise UserError(f"cannot write {path}: {reason or type(error).__name__}") from error


def sweep(path: Path) -> None:
    """Remove what writers of `path` that were killed have left beside it; of a folder, in it.

    Only for files that nobody else writes at this moment.
    """
    folder, prefix = (path, ".") if path.is_dir() else (path.parent, _prefix(path))
    if not folder.is_dir():
        return
    for left in folder.iterdir():
        if left.name.startswith(prefix) and left.name.endswith(SUFFIX):
            left.unlink(missing_ok=True)


def sweep_all(paths: Iterable[Path]) -> None:
    """`sweep` for many files, each folder looked through once."""
    prefixes: dict[Path, list[str]] = {}
    for path in paths:
        prefixes.setdefault(path.parent, []).append(_prefix(path))
    for folder, mine in prefixes.items():
        if not folder.is_dir():
            continue
        left = [path for path in folder.iterdir() if path.name[0] == "." and path.name.endswith(SUFFIX)]
        for path in left:
            if any(map(path.name.startswith, mine)):
                path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where weights and graphs are kept: TEXTURENETS_CACHE, else texturenets in XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("TEXTURENETS_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "texturenets"
    except RuntimeError:
        raise UserError("no home folder to keep files in; set TEXTURENETS_CACHE to a folder") from None
