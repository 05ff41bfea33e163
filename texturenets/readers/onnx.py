"""ONNX: the operations of a graph and their arrays, by the protobuf wire format.

Message and field numbers are those of the published `onnx.proto`. Only what a chain of layers needs is read;
no operation is run.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.readers.caffe import BYTES, FIXED32, VARINT, Field
from texturenets.readers.caffe import _Wire as Wire
from texturenets.readers.stored import DamagedError

MAX_NODES: Final = 5000
MAX_TEXT: Final = 1000

# TensorProto.DataType
_DTYPES: Final = {1: "<f4", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}

Array = NDArray[Any]


@dataclass
class Operation:
    """One node: its kind, the names of what it takes and gives, and its attributes."""

    kind: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Model:
    """`operations` in order, `arrays` by name, names of the `inputs` that are no arrays and of the `outputs`."""

    operations: list[Operation] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


def _text(wire: Wire, part: Field) -> str:
    if part.wire != BYTES or part.end - part.start > MAX_TEXT:
        raise DamagedError("a name is too long")
    return wire.data[part.start : part.end].decode("utf-8", "replace")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _integers(wire: Wire, part: Field, limit: int) -> list[int]:
    if part.wire == VARINT:
        return [_signed(part.value)]
    values: list[int] = []
    position = part.start
    while position < part.end and len(values) <= limit:
        value, position = wire.varint(position, part.end)
        values.append(_signed(value))
    return values


def _floats(wire: Wire, part: Field) -> Array:
    if part.wire not in (BYTES, FIXED32) or (part.end - part.start) % 4:
        raise DamagedError("a list of numbers is damaged")
    return np.frombuffer(wire.data, "<f4", (part.end - part.start) // 4, part.start)


def _tensor(wire: Wire, start: int, end: int) -> tuple[str, Array]:
    dims: list[int] = []
    kind, name = 1, ""
    raw: Field | None = None
    floats: list[Array] = []
    whole: list[int] = []
    for part in wire.message(start, end):
        match part.number:
            case 1:
                dims += _integers(wire, part, 8)
            case 2:
                kind = part.value
            case 4:
                floats.append(_floats(wire, part))
            case 5 | 7:
                whole += _integers(wire, part, 1 << 16)
            case 8:
                name = _text(wire, part)
            case 9:
                raw = part
            case 13 | 14:
                raise DamagedError("its arrays lie in other files, which is not supported")
    if kind not in _DTYPES:
        raise DamagedError(f"an array of the unknown type {kind}")
    if len(dims) > 8 or any(not 0 <= n < 1 << 40 for n in dims):
        raise DamagedError("an array of impossible shape")
    count, dtype = math.prod(dims), np.dtype(_DTYPES[kind])
    if raw is not None and raw.wire == BYTES:
        if raw.end - raw.start != count * dtype.itemsize:
            raise DamagedError("an array whose length does not fit its shape")
        values = np.frombuffer(wire.data, dtype, count, raw.start)
    else:
        values = np.concatenate(floats) if floats else np.array(whole, np.int64)
        if values.size != count:
            raise DamagedError("an array whose length does not fit its shape")
    return name, values.reshape(dims)


def _attribute(wire: Wire, start: int, end: int) -> tuple[str, Any]:
    name, value = "", None
    floats: list[Array] = []
    whole: list[int] = []
    for part in wire.message(start, end):
        match part.number:
            case 1:
                name = _text(wire, part)
            case 2 if part.wire == FIXED32:
                value = struct.unpack_from("<f", wire.data, part.start)[0]
            case 3:
                value = _signed(part.value)
            case 4:
                value = _text(wire, part)
            case 5 if part.wire == BYTES:
                value = _tensor(wire, part.start, part.end)[1]
            case 7:
                floats.append(_floats(wire, part))
            case 8:
                whole += _integers(wire, part, 64)
    if floats:
        value = [float(v) for v in np.concatenate(floats)[:64]]
    return name, whole if whole else value


def _operation(wire: Wire, start: int, end: int) -> Operation:
    operation = Operation()
    for part in wire.message(start, end):
        match part.number:
            case 1:
                operation.inputs.append(_text(wire, part))
            case 2:
                operation.outputs.append(_text(wire, part))
            case 4:
                operation.kind = _text(wire, part)
            case 5 if part.wire == BYTES:
                name, value = _attribute(wire, part.start, part.end)
                operation.attributes[name] = value
    return operation


def _value_name(wire: Wire, part: Field) -> str:
    for inner in wire.message(part.start, part.end):
        if inner.number == 1:
            return _text(wire, inner)
    return ""


def _graph(wire: Wire, start: int, end: int) -> Model:
    model = Model()
    for part in wire.message(start, end):
        if part.wire != BYTES:
            continue
        match part.number:
            case 1:
                model.operations.append(_operation(wire, part.start, part.end))
                if len(model.operations) > MAX_NODES:
                    raise DamagedError("it has too many operations")
            case 5:
                name, array = _tensor(wire, part.start, part.end)
                model.arrays[name] = array
            case 11:
                model.inputs.append(_value_name(wire, part))
            case 12:
                model.outputs.append(_value_name(wire, part))
    model.inputs = [name for name in model.inputs if name not in model.arrays]
    return model


def read(path: Path) -> Model:
    """The graph in the ONNX file at `path`. Raises DamagedError and OSError."""
    with path.open("rb") as stream:
        if not stream.seek(0, 2):
            raise DamagedError("it is empty")
        wire = Wire(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    for part in wire.message(0, len(wire.data)):
        if part.number == 7 and part.wire == BYTES:
            return _graph(wire, part.start, part.end)
    raise DamagedError("it holds no graph")
