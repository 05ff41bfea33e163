"""Converts layers to graph nodes. Unknown ones are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from texturenets.engines import primitives
from texturenets.errors import UserError
from texturenets.networks import layers
from texturenets.networks.trace_calls import Calls
from texturenets.networks.trace_values import TracedMap

Take = Callable[[Calls, Any, TracedMap], TracedMap]
"""Adds the node of a layer, (calls, layer, input) to its output; `calls` translates calls of PyTorch's functions."""


def take(calls: Calls, layer: nn.Module, input: TracedMap) -> TracedMap:  # noqa: A002 (torch's name)
    """Convert a call of `layer`. Raises UserError for a layer without counterpart in the graph; its text is a noun,
    of which the tracer makes a sentence."""
    for kind in type(layer).__mro__:
        if kind in _LAYERS:
            return _LAYERS[kind](calls, layer, input)
    raise UserError(f"the layer {type(layer).__name__}")


def _unary(name: str, **settings: str) -> Take:
    """For a layer that is the operation `name`; `settings`: each setting of it, by the layer's attribute."""
    return lambda calls, layer, x: calls.add(
        name, x, **{key: getattr(layer, value) for key, value in settings.items()}
    )


def _conv(calls: Calls, layer: nn.Conv2d, x: TracedMap) -> TracedMap:
    settings = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return calls.take_conv2d(x, layer.weight, layer.bias, *settings, mode=layer.padding_mode)


def _deconv(calls: Calls, layer: nn.ConvTranspose2d, x: TracedMap) -> TracedMap:
    settings = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
    return calls.take_conv_transpose2d(x, layer.weight, layer.bias, *settings)


def _norm(calls: Calls, layer: Any, x: TracedMap) -> TracedMap:
    """Instance and group normalization."""
    weights = {"weight": layer.weight, "bias": layer.bias}
    return calls.add("norm", x, weights=weights, eps=layer.eps, groups=getattr(layer, "num_groups", 0))


def _batch_norm(calls: Calls, layer: Any, x: TracedMap) -> TracedMap:
    if layer.running_mean is None:
        raise UserError("a batch normalization that keeps no statistics")
    kept = (layer.running_mean, layer.running_var)
    return calls.take_batch_norm(x, *kept, layer.weight, layer.bias, eps=layer.eps)


def _instance_norm(calls: Calls, layer: nn.InstanceNorm2d, x: TracedMap) -> TracedMap:
    return (_batch_norm if layer.track_running_stats else _norm)(calls, layer, x)


def _output(calls: Calls, layer: layers.OutputScale, x: TracedMap) -> TracedMap:
    if layer.kind == "bounded":
        return calls.add("linear", calls.add("tanh", x), by=0.5, add=0.5)
    if layer.kind == "clamped":
        return calls.add("clamp", calls.add("linear", x, by=0.5, add=0.5), low=0, high=1)
    # From BGR, 0..255, minus the mean
    rgb = calls.add("linear", calls.add("select", x, first=2, count=3, step=-1), by=1 / 255)
    return calls.add("affine", rgb, weights={"bias": torch.tensor(layers.CAFFE_MEAN) / 255})


def _average(calls: Calls, layer: nn.AvgPool2d, x: TracedMap) -> TracedMap:
    rest = (layer.ceil_mode, layer.count_include_pad, layer.divisor_override)
    return calls.take_avg_pool2d(x, layer.kernel_size, layer.stride, layer.padding, *rest)


def _maximum(calls: Calls, layer: nn.MaxPool2d, x: TracedMap) -> TracedMap:
    rest = (layer.padding, layer.dilation, layer.ceil_mode, layer.return_indices)
    return calls.take_max_pool2d(x, layer.kernel_size, layer.stride, *rest)


def _padded(mode: str) -> Take:
    return lambda calls, layer, x: calls.take_pad(x, layer.padding, mode)


_LAYERS: Final[dict[type[nn.Module], Take]] = {
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout), lambda calls, layer, x: x),
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _deconv,
    nn.Linear: lambda calls, layer, x: calls.take_linear(x, layer.weight, layer.bias),
    primitives.InstanceNorm: _norm,
    nn.InstanceNorm2d: _instance_norm,
    nn.GroupNorm: _norm,
    nn.BatchNorm2d: _batch_norm,
    layers.OutputScale: _output,
    nn.ReLU: _unary("relu"),
    nn.Tanh: _unary("tanh"),
    nn.Sigmoid: _unary("sigmoid"),
    nn.SiLU: _unary("silu"),
    nn.GELU: _unary("gelu", approximate="approximate"),
    nn.Hardtanh: _unary("clamp", low="min_val", high="max_val"),  # ReLU6 as well
    nn.LeakyReLU: _unary("leaky_relu", slope="negative_slope"),
    nn.ELU: _unary("elu", alpha="alpha"),
    nn.PReLU: lambda calls, layer, x: calls.add("prelu", x, weights={"weight": layer.weight}),
    nn.Upsample: lambda calls, layer, x: calls.take_interpolate(
        x, layer.size, layer.scale_factor, layer.mode, layer.align_corners
    ),
    nn.AvgPool2d: _average,
    nn.MaxPool2d: _maximum,
    nn.AdaptiveAvgPool2d: lambda calls, layer, x: calls.global_pool(x, "average", layer.output_size),
    nn.AdaptiveMaxPool2d: lambda calls, layer, x: calls.global_pool(x, "max", layer.output_size),
    nn.PixelShuffle: _unary("shuffle", factor="upscale_factor"),
    nn.PixelUnshuffle: _unary("unshuffle", factor="downscale_factor"),
    nn.ReflectionPad2d: _padded("reflect"),
    nn.ReplicationPad2d: _padded("replicate"),
    nn.ZeroPad2d: _padded("zero"),
    nn.CircularPad2d: _padded("circular"),
    nn.Flatten: lambda calls, layer, x: calls.take_flatten(x, layer.start_dim, layer.end_dim),
}
