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

from texturenets.readers.protobuf import BYTES, FIXED32, VARINT, Field, Wire
from texturenets.readers.stored import DamagedError

MAX_NODES: Final = 5000
MAX_TEXT: Final = 1000
MAX_CONSTANT: Final = 1 << 16  # whole numbers in one array: shapes and paddings have eight
MAX_METADATA: Final = 64

# TensorProto.DataType
_DTYPES: Final = {1: "<f4", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
_HALF: Final = 10

Array = NDArray[Any]


@dataclass
class ONNXNode:
    """One node: its kind, the names of what it takes and gives, and its attributes."""

    kind: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Model:
    """`operations` in order, `arrays` by name, names of the `inputs` that are no arrays and of the `outputs`.

    `sizes`: the shapes that inputs say they have, 0 for what is left open. `metadata`: the texts that its maker
    put beside the graph (licence, order of colours).
    """

    operations: list[ONNXNode] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


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


@dataclass
class _Raw:
    """The fields of a TensorProto."""

    dims: list[int] = field(default_factory=list)
    kind: int = 1
    name: str = ""
    raw: Field | None = None
    floats: list[Array] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)


def _tensor(wire: Wire, start: int, end: int) -> tuple[str, Array]:
    found = _Raw()
    for part in wire.message(start, end):
        match part.number:
            case 1:
                found.dims += _integers(wire, part, 8)
            case 2:
                found.kind = part.value
            case 4:
                found.floats.append(_floats(wire, part))
            case 5 | 7:
                found.whole += _integers(wire, part, MAX_CONSTANT)
            case 8:
                found.name = _text(wire, part)
            case 9:
                found.raw = part
            case 13 | 14:
                raise DamagedError("its arrays lie in other files, which is not supported")
    return found.name, _numbers(wire, found)


def _numbers(wire: Wire, found: _Raw) -> Array:
    if found.kind not in _DTYPES:
        raise DamagedError(f"an array of the unknown type {found.kind}")
    if len(found.dims) > 8 or any(not 0 <= n < 1 << 40 for n in found.dims):
        raise DamagedError("an array of impossible shape")
    count, dtype, raw = math.prod(found.dims), np.dtype(_DTYPES[found.kind]), found.raw
    if raw is not None and raw.wire == BYTES:
        if raw.end - raw.start != count * dtype.itemsize:
            raise DamagedError("an array whose length does not fit its shape")
        return np.frombuffer(wire.data, dtype, count, raw.start).reshape(found.dims)
    if found.floats:
        values = np.concatenate(found.floats)
    elif found.kind == _HALF:  # the bits, each in a number of its own
        values = np.array(found.whole, np.int64).astype(np.uint16).view("<f2")
    else:
        values = np.array(found.whole, np.int64)
    if values.size != count:
        raise DamagedError("an array whose length does not fit its shape")
    return values.reshape(found.dims)


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


def _operation(wire: Wire, start: int, end: int) -> ONNXNode:
    operation = ONNXNode()
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


def _inside(wire: Wire, part: Field, *numbers: int) -> Field | None:
    """The message in a message, down the path `numbers`; None where it is not there."""
    for number in numbers:
        inner = [f for f in wire.message(part.start, part.end) if f.number == number and f.wire == BYTES]
        if not inner:
            return None
        part = inner[-1]
    return part


def _value(wire: Wire, part: Field) -> tuple[str, tuple[int, ...]]:
    """Name and shape in a ValueInfoProto: type (2), tensor_type (1), shape (2), dim (1), dim_value (1)."""
    name, shape = _inside(wire, part, 1), _inside(wire, part, 2, 1, 2)
    sizes: list[int] = []
    for dim in wire.message(shape.start, shape.end) if shape else ():
        if dim.number == 1 and dim.wire == BYTES and len(sizes) < 8:
            given = [f.value for f in wire.message(dim.start, dim.end) if f.number == 1 and f.wire == VARINT]
            sizes.append(min((given or [0])[-1], 1 << 20))
    return _text(wire, name) if name else "", tuple(sizes)


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
                name, sizes = _value(wire, part)
                model.inputs.append(name)
                model.sizes[name] = sizes
            case 12:
                model.outputs.append(_value(wire, part)[0])
    model.inputs = [name for name in model.inputs if name not in model.arrays]
    return model


def _entry(wire: Wire, start: int, end: int) -> tuple[str, str]:
    texts = {part.number: _text(wire, part) for part in wire.message(start, end) if part.number in (1, 2)}
    return texts.get(1, ""), texts.get(2, "")


def read(path: Path) -> Model:
    """The graph in the ONNX file at `path`. Raises DamagedError and OSError."""
    with path.open("rb") as stream:
        if not stream.seek(0, 2):
            raise DamagedError("it is empty")
        wire = Wire(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    model: Model | None = None
    metadata: dict[str, str] = {}
    for part in wire.message(0, len(wire.data)):
        if part.number == 7 and part.wire == BYTES and model is None:
            model = _graph(wire, part.start, part.end)
        elif part.number == 14 and part.wire == BYTES and len(metadata) < MAX_METADATA:
            key, value = _entry(wire, part.start, part.end)
            metadata[key] = value
    if model is None:
        raise DamagedError("it holds no graph")
    model.metadata = metadata
    return model
