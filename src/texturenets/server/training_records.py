"""Reads the growing records.jsonl of running trainings incrementally: each line once."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

MAX_CACHED = 64
"""Number of trainings whose records stay in memory."""


@dataclass
class _Read:
    """What has been read of a file: the offset of the next byte, the last line read, and all records."""

    upto: int = 0
    last: bytes = b""
    lines: list[dict[str, Any]] = field(default_factory=list)


class Records:
    """Cached records of files, by path. Thread-safe."""

    def __init__(self) -> None:
        self.known: OrderedDict[Path, _Read] = OrderedDict()
        self.lock = threading.Lock()

    def of(self, path: Path) -> list[dict[str, Any]]:
        """All complete lines of the file at `path` that are JSON objects; an empty list if there is no file."""
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
        if file.read(len(read.last)) != read.last:  # the file was rewritten, as when a training is resumed
            read = _Read()
            file.seek(0)
        self.known[path] = read
        while len(self.known) > MAX_CACHED:
            self.known.popitem(last=False)
        whole, newline, _ = file.read().rpartition(b"\n")  # the last line may be incomplete
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
