"""Files of the page while it is open: what was uploaded, and what was made of it."""

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
OLDEST = 3600.0
"""Seconds after which a file goes in any case, as of a browser that was never seen to leave."""


@functools.cache
def folder() -> Path:
    """This process's, nobody else's to read, gone at its end; what killed processes left is removed."""
    _remove_stale()
    made = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    _hold(made)
    return made.resolve()


def _hold(made: Path) -> None:
    """Lock it as long as this process lives."""
    with contextlib.suppress(OSError):  # a file system without locks
        lock(os.open(made / "lock", os.O_CREAT | os.O_RDWR), wait=True)


def _mine(left: Path) -> bool:
    """Whether it belongs to this user; on Windows each has a folder for temporary files. Raises OSError."""
    if sys.platform == "win32":
        return True
    return left.stat().st_uid == os.getuid()


def _remove_stale() -> None:
    """Remove the folders whose processes are gone."""
    for left in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if not _mine(left):
                continue
            with (left / "lock").open("r+", encoding="utf-8") as held:
                lock(held)
            shutil.rmtree(left, ignore_errors=True)


MOST_FILES = 1000
"""Files at once: looking through them takes milliseconds."""


class Store:
    """Files by the session that they belong to; at most `most` bytes and MOST_FILES, the oldest go first."""

    def __init__(self, most: int) -> None:
        self.folder, self.most = folder() / "files", most
        self.folder.mkdir(exist_ok=True)
        self.files: dict[tuple[str, str], list[Path]] = {}
        self.lock = threading.Lock()

    def put(self, session: str, what: str, files: Mapping[str, bytes]) -> list[Path]:
        """Write {name: contents} for `session` in place of what it had as `what`; their paths."""
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
        self.keep(session, what, made)
        return made

    def keep(self, session: str, what: str, paths: list[Path]) -> None:
        """From now on `session` has these files as `what`; those that it had are deleted."""
        with self.lock:
            before = self.files.pop((session, what), [])
            if paths:
                self.files[session, what] = paths
            gone = self._unheld(before)
        _delete(gone)

    def spare(self, session: str, what: str) -> None:
        """What `session` has as `what` stays until the next time: its browser may still be fetching it."""
        with self.lock:
            older = self.files.pop((session, f"{what}, before"), [])
            if (session, what) in self.files:
                self.files[session, f"{what}, before"] = self.files.pop((session, what))
            gone = self._unheld(older)
        _delete(gone)

    def forget(self, session: str) -> None:
        """The page was closed: delete all that was its."""
        with self.lock:
            held = [self.files.pop(key) for key in list(self.files) if key[0] == session]
            gone = self._unheld([path for paths in held for path in paths])
        _delete(gone)

    def _unheld(self, paths: list[Path]) -> list[Path]:
        """Those that nobody has: Gradio keeps the same image given twice as one file."""
        held = {path for kept in self.files.values() for path in kept}
        return [path for path in paths if path not in held]

    def trim(self, more: int = 0) -> None:
        """Delete what is older than OLDEST, and the oldest until `more` bytes have room."""
        found = []
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                if path.is_file():
                    found.append((status.st_mtime, status.st_size, path))
        held, count = sum(size for _, size, _ in found), len(found)
        for when, size, path in sorted(found):
            if when > time.time() - OLDEST and held + more <= self.most and count < MOST_FILES:
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
