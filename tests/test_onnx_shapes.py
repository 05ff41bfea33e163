"""The shapes of feature maps are those of ONNX's own shape inference."""

from __future__ import annotations

import onnx
import pytest
import torch
from networks import REST, SPECS, network
from test_graph import CODE, LAYERS, Own

from texturenets.graph import Graph
from texturenets.graph.onnx import to_onnx
from texturenets.graph.onnx_shapes import shapes_of
from texturenets.networks.trace import trace


def compare(graph: Graph, split: bool = False) -> None:
    """The shapes of `to_onnx(graph)` for a batch of two, beside ONNX's."""
    io_spec = graph.io_spec
    height = io_spec.stride * -(-max(io_spec.min_side, 48) // io_spec.stride)
    size = height, height + (0 if io_spec.fixed_size else io_spec.stride)
    strides = [1] * graph.photo + [noise.stride for noise in io_spec.noise]
    strides += [named.stride for named in io_spec.inputs]
    model = to_onnx(graph, split=split)
    theirs, inputs = onnx.load_from_string(model.SerializeToString()), {}
    for value, stride in zip(theirs.graph.input, strides, strict=True):
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_value = 2
        for axis in (2, 3) if stride else ():
            dims[axis].dim_value = size[axis - 2] // stride
        inputs[value.name] = tuple(dim.dim_value for dim in dims)
    theirs.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(
        theirs, check_type=True, strict_mode=True, data_prop=True
    ).graph
    wanted = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.output)
    }
    found = shapes_of(model, inputs)
    assert {node.output[0] for node in model.graph.node} == wanted.keys()
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_of_every_generator(name: str, split: bool) -> None:
    compare(trace(network(SPECS[name])), split)


@pytest.mark.parametrize("name", LAYERS)
def test_of_every_layer(name: str) -> None:
    compare(trace(LAYERS[name][0].eval()))


@pytest.mark.parametrize("name", CODE)
def test_of_code_of_ones_own(name: str) -> None:
    compare(trace(Own(CODE[name])))


def test_of_every_other_operation() -> None:
    compare(trace(network(REST)))
    matrix = [
        "input name=m channels=1 stride=0 rows=3 columns=2",
        "input name=x channels=3 stride=0 rows=2 columns=5",
    ]
    rows = ["photo", *matrix, "upsample_rows 2 1 factor=2", "stack 3 3", "global_pool 4", "add 0 5"]
    compare(Graph.from_dict({"nodes": rows}))


def test_a_bounded_input() -> None:
    """One that is sliced for OpenVINO."""
    lines = [
        "photo",
        "unshuffle 0 factor=2",
        "pad 1 amount=1:1:1:1 mode=circular",
        "conv 2 out=12 kernel=3 weight=w",
    ]
    weights = {"w": torch.rand(12, 12, 3, 3).numpy()}
    compare(Graph.from_dict({"nodes": [*lines, "shuffle 3 factor=2"]}, weights))
