"""Variables of TensorFlow programs: checkpoints of both versions, and folders of raw numbers with a manifest.

A checkpoint of version 1 is one sorted table of slices; of version 2, a table (`.index`) that says where in
`.data-00000-of-00001` each variable lies. Message and field numbers are those of the published
`saved_tensor_slice.proto`, `tensor_bundle.proto`, `tensor_shape.proto` and `tensor.proto`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.readers import leveldb
from texturenets.readers.protobuf import BYTES, VARINT, Wire
from texturenets.readers.stored import FormatError

INDEX: Final = ".index"
DATA: Final = ".data-00000-of-00001"
MANIFEST: Final = "manifest.json"
MAX_MANIFEST: Final = 1 << 20
MAX_VARIABLES: Final = 10_000
_FLOAT: Final = 1  # DT_FLOAT

Array = NDArray[Any]


class _Message:
    """The fields of a message, by number; of several with the same number the last is used; `all` returns all."""

    def __init__(self, data: bytes) -> None:
        wire = Wire(data)
        self.fields = [
            (part.number, part.value if part.wire == VARINT else data[part.start : part.end])
            for part in wire.message(0, len(data))
        ]

    def all(self, number: int) -> list[bytes]:
        return [value for key, value in self.fields if key == number and isinstance(value, bytes)]

    def bytes(self, number: int) -> bytes:
        return (self.all(number) or [b""])[-1]

    def integer(self, number: int) -> int:
        return ([value for key, value in self.fields if key == number and isinstance(value, int)] or [0])[-1]

    def text(self, number: int) -> str:
        return self.bytes(number)[:300].decode("utf-8", "replace")


def _shape(data: bytes) -> tuple[int, ...]:
    """Sizes in a TensorShapeProto."""
    sizes = tuple(_Message(dim).integer(1) for dim in _Message(data).all(2))
    if len(sizes) > 8 or any(n >= 1 << 40 for n in sizes):
        raise FormatError("a variable of impossible shape")
    return sizes


def read_v2(index: Path) -> dict[str, Array]:
    """Variables of single precision by name, of a checkpoint whose `.index` is at `index`.

    Raises FormatError and OSError.
    """
    path = index.with_suffix(DATA)
    if path.stat().st_size > leveldb.MAX_FILE:
        raise FormatError("it is larger than a style network can be")
    data = path.read_bytes()
    variables: dict[str, Array] = {}
    for key, value in leveldb.read(index).items():
        entry = _Message(value)  # BundleEntryProto
        if not key or entry.integer(1) != _FLOAT:
            continue
        if entry.integer(3) != 0:
            raise FormatError("it lies in several files, which is not supported")
        offset, size, shape = entry.integer(4), entry.integer(5), _shape(entry.bytes(2))
        if offset + size > len(data) or size != 4 * math.prod(shape):
            raise FormatError(f"variable {key[:40]!r} lies beyond the end")
        name = key.decode("utf-8", "replace")
        variables[name] = np.frombuffer(data, "<f4", size // 4, offset).reshape(shape)
    return variables


def read_v1(path: Path) -> dict[str, Array]:
    """Variables of single precision by name, of a checkpoint in one file. Raises FormatError and OSError."""
    table = leveldb.read(path)
    shapes: dict[str, tuple[int, ...]] = {}
    # Under the empty key a SavedTensorSlices with `meta`, under the others one with `data` each.
    for tensor in _Message(_Message(table.get(b"", b"")).bytes(1)).all(1):
        meta = _Message(tensor)
        if meta.integer(3) == _FLOAT:
            shapes[meta.text(1)] = _shape(meta.bytes(2))
    variables: dict[str, Array] = {}
    for key, value in table.items():
        saved = _Message(_Message(value).bytes(2))
        name = saved.text(1)
        if not key or name not in shapes:
            continue
        numbers, shape = _numbers(saved.bytes(3)), shapes[name]
        if numbers.size != math.prod(shape):
            raise FormatError(f"variable {name[:40]!r} of shape {shape} has {numbers.size} numbers")
        variables[name] = numbers.reshape(shape)
    return variables


def _numbers(tensor: bytes) -> Array:
    """Single-precision numbers in a TensorProto: as they lie in memory (4), or as a list (5)."""
    wire = Wire(tensor)
    parts: list[Array] = []
    for part in wire.message(0, len(tensor)):
        if part.number in (4, 5) and part.wire == BYTES:
            if (part.end - part.start) % 4:
                raise FormatError("a list of numbers is damaged")
            parts.append(np.frombuffer(tensor, "<f4", (part.end - part.start) // 4, part.start))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def read_manifest(folder: Path) -> dict[str, Array]:
    """Variables by name, of a folder with `manifest.json` and one file of single-precision numbers each.

    Raises FormatError and OSError.
    """
    path = folder / MANIFEST
    if path.stat().st_size > MAX_MANIFEST:
        raise FormatError("its manifest is larger than it can be")
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise FormatError("its manifest is not JSON") from None
    if not isinstance(manifest, dict) or len(manifest) > MAX_VARIABLES:
        raise FormatError("its manifest lists no variables")
    return {name: _raw(folder, name, entry) for name, entry in manifest.items()}


def _raw(folder: Path, name: str, entry: Any) -> Array:
    """The variable that `entry` of the manifest describes: {"filename": ..., "shape": [...]}."""
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
        raise FormatError("its manifest lists no variables")
    file, shape = entry["filename"], entry.get("shape", [])
    # Files of this folder, never of another.
    if file != Path(file).name or file in ("", ".", ".."):
        raise FormatError(f"its manifest names {file[:60]!r}, which is not a file of the folder")
    sizes = isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int for n in shape)
    if not sizes or any(not 0 <= n < 1 << 40 for n in shape):
        raise FormatError(f"variable {name[:40]!r} has an impossible shape")
    count = math.prod(shape)
    if (folder / file).stat().st_size != 4 * count:
        raise FormatError(f"variable {name[:40]!r} has another length than its shape says")
    return np.fromfile(folder / file, "<f4", count).reshape(shape)
