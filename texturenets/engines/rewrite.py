"""Convolutions of an ONNX graph in a form that takes less time: the same numbers, but for rounding.

Those of a doubled map are `texturenets.engines.doubled`'s, those that leave vectors partly empty
`texturenets.engines.filled`'s. The last convolution makes 3 channels where processors multiply 16 at a time: it makes
squares of 2 x 2 results at once (`texturenets.squares`).
"""

from __future__ import annotations

import onnx
import torch

from texturenets.engines.doubled import rewrite_doubled
from texturenets.engines.editing import Editing, Wraps, is_plain, options_of
from texturenets.engines.filled import rewrite_filled
from texturenets.squares import NARROW, of_square

_POINTWISE = {
    "Identity",
    "Tanh",
    "Sigmoid",
    "Relu",
    "LeakyRelu",
    "Clip",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Gather",
}


def rewrite(graph: onnx.GraphProto, stride: int, wraps: Wraps) -> None:
    """Rewrite `graph`, whose output is a picture with sides that are multiples of `stride`, in place."""
    edit = Editing(graph)
    rewrite_doubled(edit, wraps)
    if stride % 2 == 0:
        _narrow(edit)
    rewrite_filled(edit)
    edit.finish()


def _narrow(edit: Editing) -> None:
    """The last convolution, if it makes few channels and all that comes after it takes each number alone."""
    conv, after = _last(edit)
    if conv is None or conv.name in edit.replaced:
        return
    options, weight = options_of(conv), edit.weights[conv.input[1]]
    count, _, height, width = weight.shape
    if count > NARROW or not is_plain(options) or min(height, width) < 2:
        return
    wide = of_square(torch.tensor(weight))
    # Places in the square one after the other
    wide = wide.view(count, 4, *wide.shape[1:]).transpose(0, 1).flatten(0, 1)
    squares = edit.squares(conv, conv.input[0], wide.numpy(), strides=[2, 2], pads=options["pads"])
    end = edit.makers[edit.graph.output[0].name]
    if end.op_type == "Identity" and not any(_by_channel(edit, node) for node in after):
        # What comes after takes the channels as they are, and so becomes part of the convolution.
        squares.output[0] = conv.output[0]
        edit.replaced[conv.name] = [squares]
        edit.replaced[end.name] = [edit.spread(end.name, end.input[0], end.output[0])]
    else:
        edit.replaced[conv.name] = [squares, edit.spread(conv.name, squares.output[0], conv.output[0])]


def _by_channel(edit: Editing, node: onnx.NodeProto) -> bool:
    """Whether a pointwise operation does not do the same in every channel."""
    return node.op_type == "Gather" or any(
        edit.weights[name].size > 1 for name in node.input if name in edit.weights
    )


def _last(edit: Editing) -> tuple[onnx.NodeProto | None, list[onnx.NodeProto]]:
    """The one convolution that the picture is made of, number by number; and what makes the one of the other."""
    names, found = [edit.graph.output[0].name], {}
    after = []
    while names:
        node = edit.makers.get(names.pop())
        if node is not None and node.op_type == "Conv":
            found[node.name] = node
        elif node is not None and node.op_type in _POINTWISE:
            after.append(node)
            names += [name for name in node.input if name and name not in edit.weights]
        else:
            return None, []
    return (next(iter(found.values())) if len(found) == 1 else None), after
