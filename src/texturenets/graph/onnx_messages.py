"""The messages of ONNX files, as far as this package writes and reads them. A file is one `ModelProto`.

Their names, fields and numbers are those of onnx/onnx.proto (github.com/onnx/onnx); fields that are not listed here
are skipped in a file. Protobuf, which ONNX Runtime depends on, makes classes of them: of the package onnx, which has
30 MB, nothing else would be used. Their descriptor pool is their own, so that onnx can be imported beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from numpy.typing import NDArray

_SCHEMA: Final = """
message ModelProto
    optional int64 ir_version = 1
    optional string producer_name = 2
    optional string doc_string = 6
    optional GraphProto graph = 7
    repeated OperatorSetIdProto opset_import = 8
    repeated StringStringEntryProto metadata_props = 14
message OperatorSetIdProto
    optional string domain = 1
    optional int64 version = 2
message StringStringEntryProto
    optional string key = 1
    optional string value = 2
message GraphProto
    repeated NodeProto node = 1
    optional string name = 2
    repeated TensorProto initializer = 5
    repeated ValueInfoProto input = 11
    repeated ValueInfoProto output = 12
message NodeProto
    repeated string input = 1
    repeated string output = 2
    optional string name = 3
    optional string op_type = 4
    repeated AttributeProto attribute = 5
message AttributeProto
    optional string name = 1
    optional float f = 2
    optional int64 i = 3
    optional bytes s = 4
    optional TensorProto t = 5
    repeated float floats = 7
    repeated int64 ints = 8
    optional int32 type = 20
message TensorProto
    repeated int64 dims = 1
    optional int32 data_type = 2
    repeated float float_data = 4 [packed]
    repeated int32 int32_data = 5 [packed]
    repeated int64 int64_data = 7 [packed]
    optional string name = 8
    optional bytes raw_data = 9
    repeated double double_data = 10 [packed]
    repeated StringStringEntryProto external_data = 13
    optional int32 data_location = 14
message ValueInfoProto
    optional string name = 1
    optional TypeProto type = 2
message TypeProto
    optional TensorTypeProto tensor_type = 1
message TensorTypeProto
    optional int32 elem_type = 1
    optional TensorShapeProto shape = 2
message TensorShapeProto
    repeated DimensionProto dim = 1
message DimensionProto
    optional int64 dim_value = 1
    optional string dim_param = 2
"""
"""Enumerations are int32, which is the same in a file. `TensorTypeProto` and `DimensionProto` are called
`TypeProto.Tensor` and `TensorShapeProto.Dimension` there."""


def _classes() -> dict[str, Any]:
    """The class of each message."""
    file = FileDescriptorProto(name="texturenets/onnx.proto", package="onnx")
    scalars = FieldDescriptorProto.Type.keys()
    for line in _SCHEMA.split("\n")[1:-1]:
        if line.startswith("message"):
            message = file.message_type.add(name=line.split()[1])
            continue
        label, kind, name, _, number, *packed = line.split()
        field = message.field.add(name=name, number=int(number))
        field.label = FieldDescriptorProto.Label.Value(f"LABEL_{label.upper()}")
        if f"TYPE_{kind.upper()}" in scalars:
            field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
        else:
            field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".onnx.{kind}"
        if packed:
            field.options.packed = True
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    names = [message.name for message in file.message_type]
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"onnx.{name}")) for name in names}


_CLASSES: Final = _classes()
ModelProto: Final = _CLASSES["ModelProto"]
NodeProto: Final = _CLASSES["NodeProto"]
TensorProto: Final = _CLASSES["TensorProto"]
ValueInfoProto: Final = _CLASSES["ValueInfoProto"]

# TensorProto.DataType and TensorProto.DataLocation
FLOAT: Final = 1
INT64: Final = 7
FLOAT16: Final = 10
DOUBLE: Final = 11
BFLOAT16: Final = 16
EXTERNAL: Final = 1

DTYPES: Final[dict[int, type[np.generic]]] = {
    FLOAT: np.float32,
    6: np.int32,
    INT64: np.int64,
    9: np.bool_,
    FLOAT16: np.float16,
    DOUBLE: np.float64,
}
"""The types of arrays that are read and written."""

_LISTS: Final = {FLOAT: "float_data", INT64: "int64_data", DOUBLE: "double_data"}
"""The fields of numbers that are listed, not in `raw_data`; of all other types it is `int32_data`."""

_ATTRIBUTE_TYPES: Final = {"f": 1, "i": 2, "s": 3, "floats": 6, "ints": 7}  # AttributeProto.AttributeType


def node(
    kind: str, inputs: Sequence[str], output: str, name: str | None = None, **attributes: Any
) -> Message:
    """An operation with one output. Attributes are numbers, texts, and lists of one or more numbers."""
    return NodeProto(
        op_type=kind,
        input=inputs,
        output=[output],
        name=name,
        attribute=[_attribute(key, attributes[key]) for key in sorted(attributes)],
    )


def _attribute(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        field, value = "s", value.encode()
    elif isinstance(value, list):
        field = "floats" if any(isinstance(number, float) for number in value) else "ints"
    else:
        field = "f" if isinstance(value, float) else "i"
    return {"name": name, field: value, "type": _ATTRIBUTE_TYPES[field]}


def attributes(node: Message) -> dict[str, Any]:
    """The attributes of a node: numbers, texts, lists of numbers, a `TensorProto`; None for any other kind.

    A value is in whichever field is present: old files do not state its type.
    """
    return {attribute.name: _value(attribute) for attribute in node.attribute}


def _value(attribute: Message) -> Any:
    for field, value in attribute.ListFields():
        match field.name:
            case "f" | "i" | "t":
                return value
            case "s":
                return value.decode("utf-8", "replace")
            case "floats" | "ints":
                return list(value)
    return None


def value_info(name: str, dtype: int, shape: Sequence[int | str]) -> Message:
    """An input or output of a graph. `shape`: a dimension of any size is a name."""
    dims = [{"dim_param" if isinstance(size, str) else "dim_value": size} for size in shape]
    return ValueInfoProto(name=name, type={"tensor_type": {"elem_type": dtype, "shape": {"dim": dims}}})


def to_tensor(array: NDArray[Any], name: str) -> Message:
    """An array, of one of `DTYPES`, under a name."""
    (dtype,) = (number for number, dtype in DTYPES.items() if dtype == array.dtype)
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return TensorProto(name=name, dims=array.shape, data_type=dtype, raw_data=raw)


def to_array(tensor: Message) -> NDArray[Any]:
    """The array in a tensor. Raises KeyError if its type is not in `DTYPES`, ValueError if its numbers do not fit its
    shape."""
    dtype = np.dtype(DTYPES[tensor.data_type])
    if tensor.HasField("raw_data"):
        array = np.frombuffer(tensor.raw_data, dtype.newbyteorder("<"))
    elif tensor.data_type == FLOAT16:
        array = np.array(tensor.int32_data, np.int32).astype(np.uint16).view(dtype)
    else:
        numbers = getattr(tensor, _LISTS.get(tensor.data_type, "int32_data"))
        array = np.array(numbers).astype(dtype)
    return array.reshape(tensor.dims)


def set_metadata(model: Message, entries: Mapping[str, str]) -> None:
    """Replace the metadata of a model."""
    del model.metadata_props[:]
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
