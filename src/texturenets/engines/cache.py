"""The cache of converted and compiled models on disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from texturenets._version import __version__
from texturenets.errors import UserError
from texturenets.files import atomic_write, cache_folder

FORMAT = 9
"""Version of the files in the cache, and of those that `texturenets.graph.onnx` writes; increase it to invalidate all
cached ones."""

DIGEST_LENGTH = 32
"""Characters of a digest in the name of an entry."""

CHECKSUM_BYTES = 4
"""Length of the CRC-32 at the start of each file: power loss and bad disks leave files of zeros, or parts of files,
which an engine may even load. SHA-256 would take four times as long, on every start."""

MAX_MODELS = 64
"""Maximum number of models in the cache; the least recently used are deleted."""


class CacheEntry:
    """The cached files of one model: ONNX files and compiled models, each after its checksum."""

    def __init__(self, model: Path, variant: str = "") -> None:
        """`model`: the model file. It is identified by its bytes: moving or renaming it changes nothing. `variant`:
        the form of its graph, "" for the graph as in the file."""
        self.folder = cache_folder() / "engines"
        digest = hashlib.sha256(f"{FORMAT} {__version__} {variant} ".encode())
        digest.update(model.read_bytes())
        self.name = digest.hexdigest()[:DIGEST_LENGTH]

    def path(self, suffix: str) -> Path:
        """The path of the file with that suffix; it may not exist."""
        return self.folder / (self.name + suffix)

    def read(self, suffix: str) -> bytes | None:
        """What `keep` was given for that suffix; None if there is no such file, for example because another process
        removed it. A damaged file is removed."""
        try:
            with self.path(suffix).open("rb", buffering=0) as file:  # which copies the data once less
                checksum, data = file.read(CHECKSUM_BYTES), file.readall()
            os.utime(self.path(suffix))  # mark as recently used
        except OSError:
            return None
        if not data or checksum != _checksum(data):
            self.drop(suffix)
            return None
        return data

    def keep(self, suffix: str, data: bytes) -> None:
        """Write a file; if the disk is full, nothing is cached."""
        try:
            with atomic_write(self.path(suffix)) as temporary:
                temporary.write_bytes(_checksum(data) + data)
        except UserError:
            return
        _evict(self.folder, MAX_MODELS)

    def drop(self, suffix: str) -> None:
        """Remove a file that cannot be used; one in a read-only folder stays, and is never used."""
        with contextlib.suppress(OSError):
            self.path(suffix).unlink()


def compiled_suffix(key: Sequence[str]) -> str:
    """The suffix of a model compiled for `key`: a graph, a processor, a precision."""
    return f"-{hashlib.sha256(' '.join(key).encode()).hexdigest()[:16]}.blob"


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(CHECKSUM_BYTES, "little")


def _evict(folder: Path, count: int) -> None:
    """Delete all files but those of the `count` most recently used models."""
    used: dict[str, float] = {}
    for path in folder.iterdir():
        name = path.name[:DIGEST_LENGTH]
        used[name] = max(used.get(name, 0.0), _last_used(path))
    for name in sorted(used, key=lambda name: used[name], reverse=True)[count:]:
        for path in folder.glob(f"{name}*"):
            path.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just dropped it
        return 0.0
