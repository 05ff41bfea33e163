"""LevelDB's sorted tables, in which TensorFlow keeps its checkpoints.

The layout is described in table_format.md of github.com/google/leveldb: blocks of keys with shared beginnings,
an index block with their positions, and a footer of 48 bytes. TensorFlow writes them uncompressed; compressed ones
are not supported.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from texturenets.readers.protobuf import Wire
from texturenets.readers.stored import FormatError

MAX_ENTRIES: Final = 10_000  # a checkpoint of a style network with its optimizer's state has 200
MAX_FILE: Final = 1 << 28  # 20 MB
FOOTER: Final = 48
MAGIC: Final = struct.pack("<Q", 0xDB4775248B80FB57)


def _block(wire: Wire, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block."""
    data, end = wire.data, start + size
    if size < 4 or end + 5 > len(data):
        raise FormatError("a block lies beyond the end")
    if data[end] != 0:
        raise FormatError("its blocks are compressed, as TensorFlow does not write them")
    end -= 4 * (struct.unpack_from("<I", data, end - 4)[0] + 1)
    key = b""
    while start < end:
        shared, start = wire.varint(start, end)
        fresh, start = wire.varint(start, end)
        length, start = wire.varint(start, end)
        if shared > len(key) or start + fresh + length > end:
            raise FormatError("an entry is longer than its block")
        key = key[:shared] + data[start : start + fresh]
        start += fresh
        yield key, data[start : start + length]
        start += length


def matches(path: Path) -> bool:
    """Whether the file at `path` ends as a table does. Raises OSError."""
    with path.open("rb") as stream:
        if stream.seek(0, 2) < FOOTER:
            return False
        stream.seek(-len(MAGIC), 2)
        return stream.read() == MAGIC


def read(path: Path) -> dict[bytes, bytes]:
    """All entries of the table at `path`. Raises FormatError and OSError."""
    if path.stat().st_size > MAX_FILE:
        raise FormatError("it is larger than a style network can be")
    data = path.read_bytes()
    if len(data) < FOOTER or not data.endswith(MAGIC):
        raise FormatError("it does not end as a checkpoint does")
    wire, position = Wire(data), len(data) - FOOTER
    for _ in range(2):  # position of the metadata block, which is empty
        _, position = wire.varint(position, len(data))
    offset, position = wire.varint(position, len(data))
    size, position = wire.varint(position, len(data))
    entries: dict[bytes, bytes] = {}
    total = 0
    for _, handle in _block(wire, offset, size):
        start, place = Wire(handle).varint(0, len(handle))
        length, _ = Wire(handle).varint(place, len(handle))
        for key, value in _block(wire, start, length):
            entries[key] = value
            total += len(key) + len(value)
            # Overlapping blocks could expand a small file to a huge result.
            if len(entries) > MAX_ENTRIES or total > 2 * len(data) + (1 << 20):
                raise FormatError("it has too many variables")
    return entries
