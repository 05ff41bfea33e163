"""Locks of files between processes, released when the process ends, however it ends."""

from __future__ import annotations

import os
import sys
from typing import IO, Final

INHERITED: Final = sys.platform != "win32"
"""Whether a process that inherits an open file also holds its lock; on Windows a lock belongs to one process."""

FAR: Final = 2**31 - 2
"""The offset of the byte that is locked on Windows, where a locked byte cannot be read or written: beyond the end of
every locked file."""


def lock(file: int | IO[str], *, wait: bool = False, shared: bool = False) -> None:
    """Lock an open file until it is closed; `shared`: other shared locks are allowed; no effect on Windows.

    Raises BlockingIOError if another process holds it, unless `wait`, and OSError if there are no locks.
    """
    if sys.platform == "win32":
        _lock_byte(file if isinstance(file, int) else file.fileno(), wait)
        return
    import fcntl

    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)


def _lock_byte(handle: int, wait: bool) -> None:
    """As `lock`, on Windows."""
    if sys.platform != "win32":  # for type checkers
        return
    import msvcrt

    place = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, FAR, os.SEEK_SET)
    try:
        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError as error:
                if not wait:  # else it has failed only because it gave up after ten seconds
                    raise BlockingIOError(error.errno, "it is locked") from None
            else:
                return
    finally:
        os.lseek(handle, place, os.SEEK_SET)
