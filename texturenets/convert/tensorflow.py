"""lengstrom/fast-style-transfer: TensorFlow checkpoints, and the raw variables of its ports to browsers.

The variables have no other names than "Variable", "Variable_1" and so on, in the order in which the program
makes them: for each layer a kernel, a shift and a scale. Optimizer state beside them is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from texturenets.convert.builder import RGB255, Builder, inverse
from texturenets.convert.result import Published
from texturenets.errors import UserError
from texturenets.readers import tensorflow

Array = NDArray[Any]

# transform.py of the program: variance + 0.001, tanh times 150 plus 255 / 2.
EPS = 1e-3
TANH_SCALE, TANH_SHIFT = 150.0, 127.5


def _layers(variables: Mapping[str, Array]) -> list[tuple[Array, Array, Array]]:
    """(kernel, shift, scale) of each layer. Raises UserError where the variables are not those of the program."""
    names = ["Variable", *(f"Variable_{i}" for i in range(1, len(variables)))]
    found: list[Array] = []
    for name in names:
        if name not in variables:
            break
        found.append(variables[name])
    layers = []
    for kernel, shift, scale in zip(found[0::3], found[1::3], found[2::3], strict=False):
        if kernel.ndim != 4 or shift.shape != scale.shape or shift.ndim != 1:
            break
        layers.append((kernel, shift, scale))
    blocks, rest = divmod(len(layers) - 6, 2)
    if len(layers) < 6 or rest or blocks > 100:
        some = ", ".join(list(variables)[:3])[:80] or "nothing"
        raise UserError(
            f"its variables are not those of fast-style-transfer: kernel, shift and scale of each layer, "
            f"called Variable, Variable_1 ... (it has {some})"
        )
    return layers


def _same(builder: Builder, source: int, kernel: int, stride: int) -> int:
    """TensorFlow's "SAME" padding of a map whose size is a multiple of `stride`: the odd pixel at the end."""
    total = kernel - stride
    if total <= 0:
        return source
    before, after = total // 2, total - total // 2
    return builder.add("pad", [source], amount=(before, after, before, after), mode="zero")


def _norm(builder: Builder, source: int, shift: Array, scale: Array) -> int:
    return builder.add("norm", [source], weight=scale, bias=shift, eps=EPS)


def build(variables: Mapping[str, Array]) -> Builder:
    """The network of transform.py. Raises UserError for variables that do not fit it."""
    layers = _layers(variables)
    builder = Builder()

    def conv(source: int, layer: tuple[Array, Array, Array], stride: int = 1) -> int:
        kernel, shift, scale = layer
        padded = _same(builder, source, kernel.shape[0], stride)
        out = builder.conv(padded, kernel.transpose(3, 2, 0, 1), stride=stride)
        return _norm(builder, out, shift, scale)

    def deconv(source: int, layer: tuple[Array, Array, Array]) -> int:
        kernel, shift, scale = layer
        total = max(kernel.shape[0] - 2, 0)
        crop = (total // 2, total - total // 2) * 2
        out = builder.deconv(source, kernel.transpose(3, 2, 0, 1), None, stride=2, crop=crop)
        return _norm(builder, out, shift, scale)

    current = builder.recolour(builder.add("photo"), inverse(RGB255))
    for layer, stride in zip(layers[:3], (1, 2, 2), strict=True):
        current = builder.add("relu", [conv(current, layer, stride)])
    for first, second in zip(layers[3:-3:2], layers[4:-3:2], strict=True):
        inner = builder.add("relu", [conv(current, first)])
        current = builder.add("add", [current, conv(inner, second)])
    for layer in layers[-3:-1]:
        current = builder.add("relu", [deconv(current, layer)])
    current = builder.add("tanh", [conv(current, layers[-1])])
    builder.add("linear", [current], by=TANH_SCALE, add=TANH_SHIFT)
    return builder


def read(path: Path) -> Published:
    """The network in a folder with a manifest, or a checkpoint (one file, or `.index` with `.data-...`).

    Raises UserError, DamagedError and OSError.
    """
    if path.is_dir():
        return Published("fast-style-transfer (raw variables)", build(tensorflow.read_manifest(path)), RGB255)
    if path.suffix == ".index":
        return Published("fast-style-transfer", build(tensorflow.read_v2(path)), RGB255)
    return Published("fast-style-transfer", build(tensorflow.read_v1(path)), RGB255)


__all__ = ["EPS", "build", "read"]
