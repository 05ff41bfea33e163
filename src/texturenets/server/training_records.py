"""What trainings write down while they learn, read as it grows: each line once."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

KEPT = 64
"""Trainings whose records stay in memory."""


@dataclass
class _Read:
    """What was read of a file: up to which byte, what its last line was, and what was in all of them."""

    upto: int = 0
    last: bytes = b""
    lines: list[dict[str, Any]] = field(default_factory=list)


class Records:
    """The records of files by path. From any thread."""

    def __init__(self) -> None:
        self.known: OrderedDict[Path, _Read] = OrderedDict()
        self.lock = threading.Lock()

    def of(self, path: Path) -> list[dict[str, Any]]:
        """All whole lines of the file at `path` that are JSON objects; none where there is no file."""
        with self.lock:
            try:
                with path.open("rb") as file:
                    return list(self._of(path, file))
            except OSError:
                self.known.pop(path, None)
                return []

    def _of(self, path: Path, file: BinaryIO) -> list[dict[str, Any]]:
        read = self.known.pop(path, _Read())
        file.seek(read.upto - len(read.last))
        if file.read(len(read.last)) != read.last:  # it was written anew, as when a training is resumed
            read = _Read()
            file.seek(0)
        self.known[path] = read
        while len(self.known) > KEPT:
            self.known.popitem(last=False)
        whole, newline, _ = file.read().rpartition(b"\n")  # the last one may be being written
        read.upto += len(whole) + len(newline)
        if whole:
            lines = whole.split(b"\n")
            read.last = lines[-1] + newline
            read.lines += [record for line in lines if (record := _parsed(line))]
        return read.lines


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
