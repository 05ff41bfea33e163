"""The input `styles` of an exported network with several styles: the weight of each style, for each pixel or for the
whole image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from texturenets.graph.conditional import STYLES

if TYPE_CHECKING:
    from google.protobuf.message import Message


def described(styles: Sequence[str]) -> str:
    """The description of that input in the metadata."""
    return (
        f"(batch, {len(styles)}, height, width), how much of {', '.join(styles)} at each pixel; they sum to 1"
    )


def constant_too(model: Message) -> None:
    """Let the style map of `model`, (batch, S, H, W), also be (batch, S, 1, 1): the same weights everywhere.

    1 x 1 convolutions and elementwise operations take that as it is. Before a pooling of f x f pixels, a single pixel
    is repeated f x f times, so that the pooling gives it back; a whole map is not changed. So constant weights cost
    almost nothing. Not for OpenVINO (2026.4), which fuses the convolutions with additions as if both had one size.
    """
    from texturenets.graph import onnx_messages as messages

    nodes = [messages.node("Shape", [STYLES], f"{STYLES}.shape")]
    for node in model.graph.node:
        if node.op_type == "AveragePool" and node.input[0] == STYLES:
            kernel = messages.attributes(node)["kernel_shape"]
            name = f"{STYLES}.{kernel[0]}"
            least = messages.to_tensor(np.array([1, 1, *kernel], np.int64), f"{name}.least")
            model.graph.initializer.append(least)
            nodes.append(messages.node("Max", [f"{STYLES}.shape", least.name], f"{name}.shape"))
            nodes.append(messages.node("Expand", [STYLES, f"{name}.shape"], name))
            node.input[0] = name
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    (styles,) = (one for one in model.graph.input if one.name == STYLES)
    for dimension, side in zip(styles.type.tensor_type.shape.dim[2:], ("height", "width"), strict=True):
        dimension.dim_param = f"{STYLES} {side}"
