"""Temporary files of open pages: uploads and results."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from texturenets.locks import lock

PREFIX = "texturenets-page-"
MAX_AGE_SECONDS = 3600.0
"""Age at which any file is deleted: the closing of a browser may go unnoticed."""


@functools.cache
def folder() -> Path:
    """This process's folder, private to the user and removed at exit. Also removes folders of killed processes."""
    _remove_stale()
    made = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    _hold(made)
    return made.resolve()


def _hold(made: Path) -> None:
    """Lock the folder until this process ends."""
    with contextlib.suppress(OSError):  # a file system without locks
        lock(os.open(made / "lock", os.O_CREAT | os.O_RDWR), wait=True)


def _mine(left: Path) -> bool:
    """Whether the folder belongs to this user; on Windows users have separate temporary folders. Raises OSError."""
    if sys.platform == "win32":
        return True
    return left.stat().st_uid == os.getuid()


def _remove_stale() -> None:
    """Remove folders of processes that have ended."""
    for left in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if not _mine(left):
                continue
            with (left / "lock").open("r+", encoding="utf-8") as held:
                lock(held)
            shutil.rmtree(left, ignore_errors=True)


MAX_FILES = 1000
"""Maximum number of files: `trim` lists them all, which takes milliseconds."""


class Store:
    """Files by session; at most `max_bytes` and MAX_FILES, beyond which the oldest are deleted."""

    def __init__(self, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder() / "files", max_bytes
        self.folder.mkdir(exist_ok=True)
        self.files: dict[tuple[str, str], list[Path]] = {}
        self.lock = threading.Lock()

    def put(self, session: str, what: str, files: Mapping[str, bytes]) -> list[Path]:
        """Write files {name: contents}, in place of those of `session` under the key `what`; returns their paths."""
        self.trim(sum(map(len, files.values())))
        place = self.folder / uuid.uuid4().hex
        place.mkdir(parents=True)
        made = []
        try:
            for name, data in files.items():
                path = place / name
                path.write_bytes(data)
                made.append(path)
        except OSError:  # the disk is full
            shutil.rmtree(place, ignore_errors=True)
            raise
        self.replace(session, what, made)
        return made

    def replace(self, session: str, what: str, paths: list[Path]) -> None:
        """Store `paths` under the key `what` of `session`; the files stored there before are deleted."""
        with self.lock:
            before = self.files.pop((session, what), [])
            if paths:
                self.files[session, what] = paths
            gone = self._unheld(before)
        _delete(gone)

    def spare(self, session: str, what: str) -> None:
        """Keep the files under the key `what` of `session` until the next call: the browser may still load them."""
        with self.lock:
            older = self.files.pop((session, f"{what}, before"), [])
            if (session, what) in self.files:
                self.files[session, f"{what}, before"] = self.files.pop((session, what))
            gone = self._unheld(older)
        _delete(gone)

    def forget(self, session: str) -> None:
        """Delete all files of `session`, whose page was closed."""
        with self.lock:
            held = [self.files.pop(key) for key in list(self.files) if key[0] == session]
            gone = self._unheld([path for paths in held for path in paths])
        _delete(gone)

    def _unheld(self, paths: list[Path]) -> list[Path]:
        """Those of `paths` that no session has: Gradio stores an image that was uploaded twice as one file."""
        held = {path for kept in self.files.values() for path in kept}
        return [path for path in paths if path not in held]

    def trim(self, more: int = 0) -> None:
        """Delete what is older than MAX_AGE_SECONDS, and the oldest files until `more` bytes fit."""
        found = []
        # Not `Path.rglob`, which fails where another request deletes a folder meanwhile.
        for folder, _, names in os.walk(self.folder):
            for path in (Path(folder, name) for name in names):
                with contextlib.suppress(OSError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        held, count = sum(size for _, size, _ in found), len(found)
        for when, size, path in sorted(found):
            if when > time.time() - MAX_AGE_SECONDS and held + more <= self.max_bytes and count < MAX_FILES:
                break
            _delete([path])
            held, count = held - size, count - 1
        with self.lock:
            for key in [k for k, paths in self.files.items() if not any(path.exists() for path in paths)]:
                del self.files[key]


def _delete(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
            path.parent.rmdir()
