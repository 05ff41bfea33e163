"""Variables of TensorFlow programs: checkpoints of both versions, and folders of raw numbers with a manifest.

A checkpoint of version 1 is one sorted table (the format of LevelDB) of slices; of version 2, a table
(`.index`) that says where in `.data-00000-of-00001` each variable lies. Field numbers are those of the
published `saved_tensor_slice.proto`, `tensor_bundle.proto` and `tensor.proto`; the table is described in
LevelDB's table_format.md. TensorFlow writes both uncompressed, and no other tables are read.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.readers.caffe import BYTES, VARINT
from texturenets.readers.caffe import _Wire as Wire
from texturenets.readers.stored import DamagedError

MAX_ENTRIES: Final = 10_000
MAX_FILE: Final = 1 << 30
MAX_MANIFEST: Final = 1 << 20
_MAGIC: Final = 0xDB4775248B80FB57
_FLOAT: Final = 1  # DT_FLOAT

Array = NDArray[Any]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if position + i >= len(data):
            break
        byte = data[position + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position + i + 1
    raise DamagedError("a number is cut short")


def _block(data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block of a table."""
    end = start + size
    if not 4 <= size or end + 5 > len(data):
        raise DamagedError("a block lies beyond the end")
    if data[end] != 0:
        raise DamagedError("its blocks are compressed, as TensorFlow does not write them")
    restarts = struct.unpack_from("<I", data, end - 4)[0]
    end -= 4 * (restarts + 1)
    key = b""
    while start < end:
        shared, start = _varint(data, start)
        fresh, start = _varint(data, start)
        length, start = _varint(data, start)
        if shared > len(key) or start + fresh + length > end:
            raise DamagedError("an entry is longer than its block")
        key = key[:shared] + data[start : start + fresh]
        start += fresh
        yield key, data[start : start + length]
        start += length


def is_table(path: Path) -> bool:
    """Whether the file at `path` ends as a table does."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        if size < 48:
            return False
        stream.seek(-8, 2)
        return stream.read(8) == struct.pack("<Q", _MAGIC)


def _table(path: Path) -> dict[bytes, bytes]:
    if path.stat().st_size > MAX_FILE:
        raise DamagedError("it is larger than a style network can be")
    data = path.read_bytes()
    if len(data) < 48 or struct.unpack_from("<Q", data, len(data) - 8)[0] != _MAGIC:
        raise DamagedError("it does not end as a checkpoint does")
    position = len(data) - 48
    for _ in range(2):  # where the block of meta data lies, which is empty
        _, position = _varint(data, position)
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    entries: dict[bytes, bytes] = {}
    for _, handle in _block(data, offset, size):
        start, place = _varint(handle, 0)
        length, _ = _varint(handle, place)
        for key, value in _block(data, start, length):
            entries[key] = value
            if len(entries) > MAX_ENTRIES:
                raise DamagedError("it has too many variables")
    return entries


class _Message(Wire):
    """Fields of a message in memory."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)  # type: ignore[arg-type]

    def all(self) -> list[tuple[int, int | bytes]]:
        """(number, value) of every field."""
        return [
            (part.number, part.value if part.wire == VARINT else self.data[part.start : part.end])
            for part in self.message(0, len(self.data))
        ]


def _fields(data: int | bytes) -> list[tuple[int, int | bytes]]:
    if not isinstance(data, bytes):
        raise DamagedError("a message is a number")
    return _Message(data).all()


def _one(fields: list[tuple[int, int | bytes]], number: int, default: int | bytes) -> int | bytes:
    found = [value for key, value in fields if key == number]
    if found and type(found[-1]) is not type(default):
        raise DamagedError("a field of the wrong kind")
    return found[-1] if found else default


def _shape(data: int | bytes) -> tuple[int, ...]:
    """Sizes in a TensorShapeProto."""
    dims = [_one(_fields(value), 1, 0) for number, value in _fields(data) if number == 2]
    if len(dims) > 8 or any(not isinstance(n, int) or n >= 1 << 40 for n in dims):
        raise DamagedError("a variable of impossible shape")
    return tuple(int(n) for n in dims)


def _checked(values: Array, shape: tuple[int, ...]) -> Array:
    if values.size != math.prod(shape):
        raise DamagedError(f"a variable of shape {shape} has {values.size} numbers")
    return values.reshape(shape)


def read_v2(index: Path) -> dict[str, Array]:
    """Variables of single precision by name, of a checkpoint whose `.index` is at `index`.

    Raises DamagedError and OSError.
    """
    data = index.with_suffix(".data-00000-of-00001").read_bytes()
    variables: dict[str, Array] = {}
    for key, value in _table(index).items():
        if not key:
            continue
        fields = _fields(value)
        if _one(fields, 1, 0) != _FLOAT:
            continue
        if _one(fields, 3, 0) != 0:
            raise DamagedError("it lies in several files, which is not supported")
        offset, size = int(_one(fields, 4, 0)), int(_one(fields, 5, 0))
        shape = _shape(_one(fields, 2, b""))
        if offset + size > len(data) or size != 4 * math.prod(shape):
            raise DamagedError(f"variable {key[:40]!r} lies beyond the end")
        values = np.frombuffer(data, "<f4", size // 4, offset)
        variables[key.decode("utf-8", "replace")] = values.reshape(shape)
    return variables


def read_v1(path: Path) -> dict[str, Array]:
    """Variables of single precision by name, of a checkpoint in one file. Raises DamagedError and OSError."""
    table = _table(path)
    shapes: dict[str, tuple[int, ...]] = {}
    for number, meta in _fields(_one(_fields(table.get(b"", b"")), 1, b"")):
        if number == 1:
            fields = _fields(meta)
            if _one(fields, 3, 0) == _FLOAT:
                shapes[_name(_one(fields, 1, b""))] = _shape(_one(fields, 2, b""))
    variables: dict[str, Array] = {}
    for key, value in table.items():
        if not key:
            continue
        saved = _fields(_one(_fields(value), 2, b""))
        name = _name(_one(saved, 1, b""))
        if name in shapes:
            variables[name] = _checked(_numbers(_one(saved, 3, b"")), shapes[name])
    return variables


def _name(data: int | bytes) -> str:
    assert isinstance(data, bytes)
    return data[:300].decode("utf-8", "replace")


def _numbers(tensor: int | bytes) -> Array:
    """Single-precision numbers in a TensorProto: packed, or as they lie in memory."""
    assert isinstance(tensor, bytes)
    wire = _Message(tensor)
    parts: list[Array] = []
    for part in wire.message(0, len(tensor)):
        if part.number in (4, 5) and part.wire == BYTES:
            if (part.end - part.start) % 4:
                raise DamagedError("a list of numbers is damaged")
            parts.append(np.frombuffer(tensor, "<f4", (part.end - part.start) // 4, part.start))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def read_manifest(folder: Path) -> dict[str, Array]:
    """Variables by name, of a folder with `manifest.json` and one file of single-precision numbers each.

    Raises DamagedError and OSError.
    """
    path = folder / "manifest.json"
    if path.stat().st_size > MAX_MANIFEST:
        raise DamagedError("its manifest is larger than it can be")
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise DamagedError("its manifest is no JSON") from None
    if not isinstance(manifest, dict) or len(manifest) > MAX_ENTRIES:
        raise DamagedError("its manifest lists no variables")
    variables: dict[str, Array] = {}
    for name, entry in manifest.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
            raise DamagedError("its manifest lists no variables")
        file, shape = entry["filename"], entry.get("shape", [])
        # Files of this folder, never of another.
        if file != Path(file).name or file in ("", ".", ".."):
            raise DamagedError(f"its manifest names {file[:60]!r}, which is no file of the folder")
        sizes = isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int for n in shape)
        if not sizes or any(not 0 <= n < 1 << 40 for n in shape):
            raise DamagedError(f"variable {name[:40]!r} has an impossible shape")
        count = math.prod(shape)
        if (folder / file).stat().st_size != 4 * count:
            raise DamagedError(f"variable {name[:40]!r} has another length than its shape says")
        variables[name] = np.fromfile(folder / file, "<f4", count).reshape(shape)
    return variables
