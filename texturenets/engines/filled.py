"""Channels of zeros where a map fills its last vector of 16 only in part.

OpenVINO normalizes full maps faster, and a convolution that makes one takes no longer. One that takes it has more to
multiply, which matters less where its window is 1 x 1: only maps that go nowhere else are filled. To take the zeros
off again for others brought nothing.
"""

from __future__ import annotations

import numpy as np
import onnx

from texturenets.engines.editing import Editing, options_of

VECTOR = 16
_BETWEEN = {"InstanceNormalization", "Relu", "LeakyRelu", "Elu"}


def rewrite_filled(edit: Editing) -> None:
    """Fill what convolutions make, where it pays. Those for which another form has been found stay as they are."""
    for conv in edit.convolutions():
        if conv.name in edit.replaced or options_of(conv)["group"] != 1:
            continue
        missing = -len(edit.weights[conv.input[1]]) % VECTOR
        norms, takers = _way(edit, conv)
        if not (missing and norms and takers):
            continue
        for node in (conv, *norms):
            for place in range(1, len(node.input)):
                _fill(edit, node, place, 0, missing)
        for node in takers:
            _fill(edit, node, 1, 1, missing)


def _fill(edit: Editing, node: onnx.NodeProto, place: int, axis: int, missing: int) -> None:
    values = edit.weights[node.input[place]]
    edit.change(node, place, np.pad(values, [(0, missing if i == axis else 0) for i in range(values.ndim)]))


def _way(edit: Editing, conv: onnx.NodeProto) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """The normalizations of what `conv` makes, and the 1 x 1 convolutions that take it; none if others take it."""
    norms, takers, names = [], [], [conv.output[0]]
    while names:
        name = names.pop()
        for node in edit.graph.node:
            if name not in node.input:
                continue
            if node.op_type in _BETWEEN:
                names.append(node.output[0])
                norms += [node] if node.op_type == "InstanceNormalization" else []
                continue
            if node.op_type != "Conv" or node.name in edit.replaced:
                return [], []
            options = options_of(node)
            if options["kernel_shape"] != [1, 1] or options["group"] != 1:
                return [], []
            takers.append(node)
    return norms, takers
