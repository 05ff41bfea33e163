"""The lock of a run's folder: one process at a time may write to it."""

from __future__ import annotations

import os
from pathlib import Path

from texturenets.errors import UserError, cannot_write
from texturenets.locks import lock

NAME = "lock"


class RunLock:
    """Holds the lock of a run's folder until `release`, or until the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Creates the folder. Raises UserError if another training holds it, or it cannot be made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = (folder / NAME).open("a+", encoding="utf-8")
        except OSError as error:
            raise cannot_write(folder, error) from None
        try:
            lock(self.file)
        except BlockingIOError:
            self.file.seek(0)
            pid = self.file.read(20).strip()
            self.file.close()
            raise UserError(
                f"another training writes to {folder} at this moment"
                + (f" (process {pid})" if pid.isdecimal() else "")
                + ": give this one another `output`, or wait for its end"
            ) from None
        except OSError:  # a file system without locks
            return
        self.file.truncate(0)
        self.file.write(str(os.getpid()))
        self.file.flush()

    def release(self) -> None:
        """Unlock the folder."""
        self.file.close()
