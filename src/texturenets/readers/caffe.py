"""Caffe's `.caffemodel`: the arrays of its layers.

Message and field numbers are those of Caffe's published `caffe.proto`. Files of before 2014 keep their layers
in field 2 (V1), later ones in field 100; old blobs have four sizes, new ones a shape.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Final

import numpy as np
import torch

from texturenets.readers.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Wire
from texturenets.readers.stored import FormatError, Stored

MAX_RUNS: Final = 1000
MAX_NAME: Final = 300

# NetParameter
V1_LAYERS, LAYERS = 2, 100
# field numbers of (name, blobs) in V1LayerParameter and LayerParameter
_FIELDS: Final = {V1_LAYERS: (4, 6), LAYERS: (1, 7)}
# BlobProto
_OLD_SIZES: Final = (1, 2, 3, 4)  # num, channels, height, width
_DATA, _SHAPE, _DOUBLE = 5, 7, 8
_DIM = 1  # BlobShape


def _blob(wire: Wire, start: int, end: int) -> Stored:
    sizes: dict[int, int] = {}
    shape: list[int] | None = None
    runs: list[Field] = []
    for field in wire.message(start, end):
        if field.number in _OLD_SIZES and field.wire == VARINT:
            sizes[field.number] = field.value
        elif field.number == _SHAPE and field.wire == BYTES:
            shape = _shape(wire, field)
        elif field.number in (_DATA, _DOUBLE) and field.wire != VARINT:
            runs.append(field)
            if len(runs) > MAX_RUNS:
                raise FormatError("its numbers are in too many pieces")
    if shape is None:
        shape = [sizes.get(i, 1) for i in _OLD_SIZES]
    if len(shape) > 8 or any(not 0 <= n < 1 << 40 for n in shape):
        raise FormatError("a blob of impossible shape")
    dtypes = {np.dtype("<f4") if run.number == _DATA else np.dtype("<f8") for run in runs}
    if len(dtypes) > 1:
        raise FormatError("a blob has both single and double precision")
    count = sum(_count(run) for run in runs)
    if count != math.prod(shape):
        raise FormatError(f"a blob of shape {tuple(shape)} holds {count} numbers")
    return Stored(tuple(shape), lambda: _load(wire.data, runs, tuple(shape)))


def _count(run: Field) -> int:
    size = 4 if run.number == _DATA else 8
    length = run.end - run.start
    if run.wire == BYTES:
        if length % size:
            raise FormatError("a blob ends inside a number")
        return length // size
    if run.wire != (FIXED32 if size == 4 else FIXED64):
        raise FormatError("a blob's numbers have the wrong kind")
    return (length + 1) // (size + 1)


def _load(data: mmap.mmap | bytes, runs: list[Field], shape: tuple[int, ...]) -> torch.Tensor:
    pieces = []
    for run in runs:
        size = 4 if run.number == _DATA else 8
        if run.wire == BYTES:
            piece = np.frombuffer(data, f"<f{size}", (run.end - run.start) // size, run.start)
        else:
            count = _count(run)  # each number after a tag of one byte; the first tag is before `start`
            rows = np.frombuffer(data, np.uint8, count * (size + 1), run.start - 1).reshape(count, size + 1)
            piece = np.ascontiguousarray(rows[:, 1:]).view(f"<f{size}")[:, 0]
        pieces.append(piece.astype(np.float32))
    numbers = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return torch.from_numpy(numbers.reshape(shape))


def _shape(wire: Wire, field: Field) -> list[int]:
    dims: list[int] = []
    for dim in wire.message(field.start, field.end):
        if dim.number != _DIM:
            continue
        if dim.wire == VARINT:
            dims.append(dim.value)
        elif dim.wire == BYTES:
            position = dim.start
            while position < dim.end and len(dims) <= 8:
                value, position = wire.varint(position, dim.end)
                dims.append(value)
        if len(dims) > 8:
            raise FormatError("a blob of more than eight dimensions")
    return dims


def _layer(wire: Wire, layer: Field, out: dict[str, Stored]) -> None:
    name_field, blob_field = _FIELDS[layer.number]
    name = ""
    blobs: list[Field] = []
    for field in wire.message(layer.start, layer.end):
        if field.wire != BYTES:
            continue
        if field.number == name_field:
            if field.end - field.start > MAX_NAME:
                raise FormatError("a layer's name is too long")
            name = wire.data[field.start : field.end].decode()
        elif field.number == blob_field and len(blobs) < 2:
            blobs.append(field)
    for part, blob in zip(("weight", "bias"), blobs, strict=False):
        out[f"{name}.{part}"] = _blob(wire, blob.start, blob.end)


def read(path: Path) -> dict[str, Stored]:
    """{"conv1_1.weight": array, ...} of a `.caffemodel`; {} where the file has no layers with weights.

    Raises FormatError and OSError.
    """
    with path.open("rb") as stream:
        wire = Wire(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), runs=(_DATA, _DOUBLE))
    out: dict[str, Stored] = {}
    for field in wire.message(0, len(wire.data)):
        if field.number in _FIELDS and field.wire == BYTES:
            _layer(wire, field, out)
    return out
