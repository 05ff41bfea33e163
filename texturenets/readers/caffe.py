"""Caffe's `.caffemodel`: the arrays of its layers, by a small reader of the protobuf wire format.

Message and field numbers are those of Caffe's published `caffe.proto`; the wire format is described at
protobuf.dev/programming-guides/encoding. Files of before 2014 keep their layers in field 2 (V1), later
ones in field 100; old blobs have four sizes, new ones a shape.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch

from texturenets.readers.stored import DamagedError, Stored

MAX_FIELDS: Final = 200_000  # of all messages in a file that are looked at; VGG-19 has under 2000
MAX_RUNS: Final = 1000
MAX_NAME: Final = 300

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# NetParameter
V1_LAYERS, LAYERS = 2, 100
# field numbers of (name, blobs) in V1LayerParameter and LayerParameter
_FIELDS: Final = {V1_LAYERS: (4, 6), LAYERS: (1, 7)}
# BlobProto
_OLD_SIZES: Final = (1, 2, 3, 4)  # num, channels, height, width
_DATA, _SHAPE, _DOUBLE = 5, 7, 8
_DIM = 1  # BlobShape


class Field(NamedTuple):
    """One field of a message: for VARINT `value` is the number, else bytes `start` to `end` of the file."""

    number: int
    wire: int
    value: int
    start: int
    end: int


class _Wire:
    """Fields out of the bytes of a file; all reading is bounded by the message it is in."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.fields = 0

    def varint(self, position: int, end: int) -> tuple[int, int]:
        value = 0
        for i in range(10):
            if position + i >= end:
                break
            byte = self.data[position + i]
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return value, position + i + 1
        raise DamagedError("a number is cut short")

    def message(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message at `start` to `end`. A run of unpacked floats counts as one field."""
        position = start
        while position < end:
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise DamagedError("it has too many fields for a network")
            begin = position
            tag, position = self.varint(position, end)
            number, wire = tag >> 3, tag & 7
            if not 1 <= number < 1 << 29:
                raise DamagedError("a field without number")
            if wire == VARINT:
                value, position = self.varint(position, end)
                yield Field(number, wire, value, 0, 0)
                continue
            if wire == BYTES:
                length, position = self.varint(position, end)
            elif wire in (FIXED64, FIXED32):
                length = 8 if wire == FIXED64 else 4
                if number in (_DATA, _DOUBLE) and position - begin == 1:
                    length = self._unpacked(begin, end, 1 + length) - 1
            else:
                raise DamagedError("a field of unknown kind")
            if length > end - position:
                raise DamagedError("a field is longer than what holds it")
            yield Field(number, wire, 0, position, position + length)
            position += length

    def _unpacked(self, start: int, end: int, item: int) -> int:
        """Length in bytes of the run of fields of `item` bytes at `start` that share a tag."""
        count = (end - start) // item
        tags = np.frombuffer(self.data, np.uint8, count * item, start)[::item]
        # in growing pieces: most fixed fields stand alone
        done, step = 1, 16
        while done < count:
            piece = tags[done : done + step] == tags[0]
            if not piece.all():
                return (done + int(np.argmin(piece))) * item
            done, step = done + len(piece), step * 4
        return max(count, 1) * item


def _blob(wire: _Wire, start: int, end: int) -> Stored:
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
                raise DamagedError("its numbers are in too many pieces")
    if shape is None:
        shape = [sizes.get(i, 1) for i in _OLD_SIZES]
    if len(shape) > 8 or any(not 0 <= n < 1 << 40 for n in shape):
        raise DamagedError("a blob of impossible shape")
    dtypes = {np.dtype("<f4") if run.number == _DATA else np.dtype("<f8") for run in runs}
    if len(dtypes) > 1:
        raise DamagedError("a blob has both single and double precision")
    count = sum(_count(run) for run in runs)
    if count != math.prod(shape):
        raise DamagedError(f"a blob of shape {tuple(shape)} holds {count} numbers")
    return Stored(tuple(shape), lambda: _load(wire.data, runs, tuple(shape)))


def _count(run: Field) -> int:
    size = 4 if run.number == _DATA else 8
    length = run.end - run.start
    if run.wire == BYTES:
        if length % size:
            raise DamagedError("a blob ends inside a number")
        return length // size
    if run.wire != (FIXED32 if size == 4 else FIXED64):
        raise DamagedError("a blob's numbers have the wrong kind")
    return (length + 1) // (size + 1)


def _load(data: mmap.mmap, runs: list[Field], shape: tuple[int, ...]) -> torch.Tensor:
    pieces = []
    for run in runs:
        size = 4 if run.number == _DATA else 8
        if run.wire == BYTES:
            piece = np.frombuffer(data, f"<f{size}", (run.end - run.start) // size, run.start)
        else:
            count = _count(run)  # each number behind a tag of one byte; the first tag is before `start`
            rows = np.frombuffer(data, np.uint8, count * (size + 1), run.start - 1).reshape(count, size + 1)
            piece = np.ascontiguousarray(rows[:, 1:]).view(f"<f{size}")[:, 0]
        pieces.append(piece.astype(np.float32))
    numbers = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return torch.from_numpy(numbers.reshape(shape))


def _shape(wire: _Wire, field: Field) -> list[int]:
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
            raise DamagedError("a blob of more than eight dimensions")
    return dims


def _layer(wire: _Wire, layer: Field, out: dict[str, Stored]) -> None:
    name_field, blob_field = _FIELDS[layer.number]
    name = ""
    blobs: list[Field] = []
    for field in wire.message(layer.start, layer.end):
        if field.wire != BYTES:
            continue
        if field.number == name_field:
            if field.end - field.start > MAX_NAME:
                raise DamagedError("a layer's name is too long")
            name = wire.data[field.start : field.end].decode()
        elif field.number == blob_field and len(blobs) < 2:
            blobs.append(field)
    for part, blob in zip(("weight", "bias"), blobs, strict=False):
        out[f"{name}.{part}"] = _blob(wire, blob.start, blob.end)


def read(path: Path) -> dict[str, Stored]:
    """{"conv1_1.weight": array, ...} of a `.caffemodel`; {} where the file has no layers with weights.

    Raises DamagedError and OSError.
    """
    with path.open("rb") as stream:
        wire = _Wire(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    out: dict[str, Stored] = {}
    for field in wire.message(0, len(wire.data)):
        if field.number in _FIELDS and field.wire == BYTES:
            _layer(wire, field, out)
    return out
