"""ONNX: the operations of a graph and their arrays, as plain records. No operation is run, no other file is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from texturenets.errors import UserError
from texturenets.graph import onnx_messages as messages
from texturenets.readers.stored import FormatError

MAX_BYTES: Final = 1 << 27
"""Maximum size of a file: the 30 million weights that a converted network may have are 120 MB. A parsed message takes
up to 60 times its size in the file, so larger files are not parsed."""

MAX_NODES: Final = 5000

Array = NDArray[Any]


@dataclass
class ONNXNode:
    """One node: the operation (`op_type`, as "Conv"), the names of its inputs and outputs, and its attributes."""

    op_type: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class Model:
    """`nodes` in an order in which each follows its inputs. `arrays`: the stored weights and constants, by name.
    `inputs`: names of the graph's inputs without stored weights (older files list the weights as inputs, too).
    `outputs`: names of its outputs. `sizes`: the declared shapes of inputs, 0 for undefined dimensions. `metadata`:
    texts stored with the graph (licence, order of colours).
    """

    nodes: list[ONNXNode]
    arrays: dict[str, Array]
    inputs: list[str]
    outputs: list[str]
    sizes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def _array(tensor: Message) -> Array:
    if tensor.external_data or tensor.data_location == messages.EXTERNAL:
        raise FormatError("its arrays lie in other files, which is not supported")
    if tensor.data_type not in messages.DTYPES:
        raise FormatError(f"an array of the unknown type {tensor.data_type}")
    return messages.to_array(tensor)


def _node(node: Message) -> ONNXNode:
    attributes = {
        name: _array(value) if isinstance(value, messages.TensorProto) else value
        for name, value in messages.attributes(node).items()
    }
    return ONNXNode(node.op_type, list(node.input), list(node.output), attributes)


def _shape(value: Message) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def read(path: Path) -> Model:
    """The graph in the ONNX file at `path`. Nothing but shapes and types of arrays is checked: not the operations.

    Raises UserError for a file over `MAX_BYTES` and for one that texturenets exported, FormatError for one that is
    not an ONNX model, has over `MAX_NODES` nodes or arrays in other files or of unknown types, and OSError if it
    cannot be read.
    """
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"it is larger than {MAX_BYTES >> 20} MiB, the most that is read of an ONNX file")
    try:
        model = messages.ModelProto.FromString(path.read_bytes())
    except DecodeError:
        raise FormatError("its bytes are no ONNX model") from None
    if model.producer_name == "texturenets":
        raise UserError(
            "it is an export of texturenets: use the model that it was made of, a .safetensors file"
        )
    graph = model.graph
    if not model.HasField("graph"):
        raise FormatError("it holds no graph")
    if len(graph.node) > MAX_NODES:
        raise FormatError("it has too many operations")
    arrays = {tensor.name: _array(tensor) for tensor in graph.initializer}
    return Model(
        nodes=[_node(node) for node in graph.node],
        arrays=arrays,
        inputs=[value.name for value in graph.input if value.name not in arrays],
        outputs=[value.name for value in graph.output],
        sizes={value.name: _shape(value) for value in graph.input},
        # protobuf gives a text that is no UTF-8 as bytes
        metadata={str(text.key): str(text.value) for text in model.metadata_props},
    )
