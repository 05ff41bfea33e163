"""Converted graphs on disk, so that a model is converted once and later runs need no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from texturenets._version import __version__
from texturenets.engines.facts import Facts
from texturenets.errors import UserError
from texturenets.files import cache_folder, whole

FORMAT = 6
"""Of the graphs that `texturenets.engines.graph` writes and the facts beside them: another number, and they are made
anew."""

KEPT = 64
"""Models of which graphs are kept; the ones longest unused go."""


class Entry:
    """What is kept of one model file: `NAME.json`, what it takes; graphs; and compiled forms."""

    def __init__(self, model: Path) -> None:
        """`model`: the model file. It counts by its bytes: moved or renamed it is the same."""
        self.folder = cache_folder() / "engines"
        digest = hashlib.sha256(f"{FORMAT} {__version__} ".encode() + model.read_bytes())
        self.name = digest.hexdigest()[:32]

    def path(self, suffix: str) -> Path:
        """The file of that suffix; it may not be there."""
        return self.folder / (self.name + suffix)

    def facts(self, graph: str) -> Facts | None:
        """What the network takes; None where its graph of the suffix `graph` is not kept, or cannot be read."""
        if not self.path(graph).is_file():
            return None
        try:
            path = self.path(".json")
            os.utime(path)  # used, and not to go yet
            return Facts.from_json(path.read_text())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, suffix: str, data: bytes) -> None:
        """Write a file, if there is room for it; without one it is made anew next time."""
        try:
            with whole(self.path(suffix)) as part:
                part.write_bytes(data)
        except UserError:
            return
        _drop(self.folder, KEPT)

    def drop(self, suffix: str) -> None:
        """Remove a file that turned out to be of no use."""
        self.path(suffix).unlink(missing_ok=True)

    def read(self, suffix: str) -> bytes | None:
        """What is kept under that suffix; None where nothing is, another process having dropped it for instance."""
        try:
            return self.path(suffix).read_bytes()
        except OSError:
            return None


def compiled_suffix(parts: Sequence[str]) -> str:
    """The suffix of a form that was compiled for what `parts` name: a graph, a processor, a precision."""
    return f"-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}.blob"


def _drop(folder: Path, kept: int) -> None:
    """Leave the `kept` entries of `folder` that were used last."""
    used = sorted(folder.glob("*.json"), key=_last_used, reverse=True)
    for old in used[kept:]:
        for path in folder.glob(f"{old.stem}*"):
            path.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has just dropped it
        return 0.0
