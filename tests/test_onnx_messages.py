"""ONNX files beside those of the package onnx: what either writes, the other reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import SPECS, network
from onnx import TensorProto, helper, numpy_helper

from texturenets.export import style_input
from texturenets.graph import Graph, onnx_messages
from texturenets.graph.onnx import to_onnx
from texturenets.networks.trace import trace
from texturenets.readers.onnx import read

ATTRIBUTES: dict[str, Any] = {
    "axis": -3,
    "alpha": 0.5,
    "mode": "ä",
    "sizes": [1, 2**40],
    "scales": [0.5, 2.0],
}


def test_fields_are_those_of_onnx() -> None:
    """Names, numbers, types, repetition and packing."""
    renamed = {"TensorTypeProto": onnx.TypeProto.Tensor, "DimensionProto": onnx.TensorShapeProto.Dimension}
    for name, ours in onnx_messages._CLASSES.items():
        theirs = renamed.get(name) or getattr(onnx, name)
        for field in ours.DESCRIPTOR.fields:
            other = theirs.DESCRIPTOR.fields_by_name[field.name]
            assert (field.number, field.is_repeated) == (other.number, other.is_repeated), (name, field.name)
            kind = field.TYPE_INT32 if other.type == other.TYPE_ENUM else other.type
            assert field.type == kind, (name, field.name)
            assert field.is_packed == other.is_packed, (name, field.name)
            if field.message_type is not None and field.message_type.name not in renamed:
                assert field.message_type.name == other.message_type.name


@pytest.mark.parametrize("name", SPECS)
def test_onnx_accepts_what_is_written(name: str) -> None:
    graph = trace(network(SPECS[name]))
    for options in ({}, {"split": True}, {"apply_passes": False}):
        data = to_onnx(graph, {"name": name, "licence": "€"}, **options).SerializeToString()
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
        assert model.SerializeToString() == data  # no field that onnx does not know, or writes otherwise
        assert {one.key: one.value for one in model.metadata_props} == {"name": name, "licence": "€"}


def test_messages_are_those_that_onnx_makes() -> None:
    ours = onnx_messages.node("Conv", ["x", "", "w"], "y", "n", **ATTRIBUTES)
    theirs = helper.make_node("Conv", ["x", "", "w"], ["y"], "n", **ATTRIBUTES)
    assert ours.SerializeToString() == theirs.SerializeToString()
    shape = ["batch", 3, 0, "width/2"]
    ours, theirs = (
        make("x", TensorProto.FLOAT16, shape)
        for make in (onnx_messages.value_info, helper.make_tensor_value_info)
    )
    assert ours.SerializeToString() == theirs.SerializeToString()


@pytest.mark.parametrize("dtype", onnx_messages.DTYPES.values())
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_arrays(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.asarray(np.random.default_rng(0).normal(0, 2, shape)).astype(dtype)
    ours, theirs = onnx_messages.to_tensor(array, "a"), numpy_helper.from_array(array, "a")
    assert ours.SerializeToString() == theirs.SerializeToString()
    # as raw bytes, and as a list of numbers
    listed = helper.make_tensor("a", theirs.data_type, array.shape, array.reshape(-1).tolist())
    for data in (theirs.SerializeToString(), listed.SerializeToString()):
        found = onnx_messages.to_array(onnx_messages.TensorProto.FromString(data))
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_a_turned_array_is_written_row_by_row() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(onnx_messages.to_array(onnx_messages.to_tensor(array, "a")), array)


def test_what_onnx_writes_is_read(tmp_path: Path) -> None:
    """With fields that are not read: subgraphs, texts, documentation."""
    pictures = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "h", 8]) for name in ("x", "y")]
    value = np.arange(4, dtype=np.int64)
    branch = helper.make_graph([], "g", [], [])
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(value)),
        helper.make_node("Relu", ["x"], ["y"], doc_string="d", branch=branch, names=["a", "b"], **ATTRIBUTES),
    ]
    weight = numpy_helper.from_array(np.ones((2, 3), np.float16), "w")
    graph = helper.make_graph(nodes, "g", pictures[:1], pictures[1:], [weight], doc_string="d")
    model = helper.make_model(graph)
    helper.set_model_props(model, {"licence": "free"})
    onnx.save(model, tmp_path / "a.onnx")
    found = read(tmp_path / "a.onnx")
    assert [(node.op_type, node.inputs, node.outputs) for node in found.nodes] == [
        ("Constant", [], ["c"]),
        ("Relu", ["x"], ["y"]),
    ]
    np.testing.assert_array_equal(found.nodes[0].attributes["value"], value)
    assert found.nodes[1].attributes == {**ATTRIBUTES, "branch": None, "names": None}
    assert (found.inputs, found.outputs, found.sizes) == (["x"], ["y"], {"x": (1, 3, 0, 8)})
    assert found.metadata == {"licence": "free"}
    assert found.arrays["w"].dtype == np.float16


def test_onnx_accepts_constant_styles() -> None:
    lines = [
        "photo",
        "input name=styles channels=2",
        "avg_pool 1 kernel=4 stride=4",
        "conv 2 out=3 kernel=1 weight=w",
    ]
    graph = Graph.from_dict(
        {"nodes": [*lines, "upsample 3 factor=4", "add 0 4"]}, {"w": np.ones((3, 2, 1, 1), np.float32)}
    )
    model = to_onnx(graph)
    style_input.constant_too(model)
    onnx.checker.check_model(onnx.load_from_string(model.SerializeToString()), full_check=True)


@pytest.mark.parametrize("first", ["import onnx", ""])
def test_onnx_can_be_imported_as_well(first: str) -> None:
    program = (
        f"{first}\nfrom texturenets.graph import onnx_messages\nimport onnx\n"
        "onnx.load_from_string(onnx_messages.ModelProto(ir_version=8).SerializeToString())"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
