"""lengstrom/fast-style-transfer: TensorFlow checkpoints, and the raw variables of its ports to browsers. The
variables are named "Variable", "Variable_1" and so on, in the order of their creation: for each layer a kernel, a
shift and a scale. The optimizer's state in the file is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from texturenets.converters.builder import GraphBuilder
from texturenets.converters.colors import RGB255
from texturenets.converters.published import LENGSTROM, LENGSTROM_RAW, Published
from texturenets.errors import UserError
from texturenets.readers import leveldb, tensorflow

TITLE: Final = "TensorFlow"

Array = NDArray[Any]

# src/transform.py of the program: variance + 0.001, and tanh times 150 plus 255 / 2
EPS: Final = 1e-3
TANH_SCALE, TANH_SHIFT = 150.0, 127.5


def _layers(variables: Mapping[str, Array]) -> list[tuple[Array, Array, Array]]:
    """(kernel, shift, scale) of each layer. Raises UserError if they are not those of the program."""
    names = ["Variable", *(f"Variable_{i}" for i in range(1, len(variables)))]
    arrays: list[Array] = []
    for name in names:
        if name not in variables:
            break
        arrays.append(variables[name])
    layers = []
    for kernel, shift, scale in zip(arrays[0::3], arrays[1::3], arrays[2::3], strict=False):
        if kernel.ndim != 4 or shift.shape != scale.shape or shift.ndim != 1:
            break
        layers.append((kernel, shift, scale))
    if len(layers) < 6 or len(layers) % 2:
        some = ", ".join(list(variables)[:3])[:80] or "nothing"
        raise UserError(
            "its variables are not those of fast-style-transfer: kernel, shift and scale of each layer, "
            f"called Variable, Variable_1 and so on (it has {some})"
        )
    return layers


def _halves(total: int) -> tuple[int, int, int, int]:
    """Where TensorFlow's "SAME" puts `total` pixels: the odd one at the bottom and at the right."""
    total = max(total, 0)
    return (total // 2, total - total // 2) * 2


def build(variables: Mapping[str, Array]) -> GraphBuilder:
    """The network of transform.py. Raises UserError for variables that do not fit it."""
    layers = _layers(variables)
    builder = GraphBuilder()

    def norm(source: int, shift: Array, scale: Array) -> int:
        return builder.norm(source, scale, shift, EPS)

    def relu(source: int) -> int:
        return builder.add("relu", [source])

    def conv(source: int, layer: tuple[Array, Array, Array], stride: int = 1) -> int:
        kernel, shift, scale = layer
        # Valid for feature maps whose size is a multiple of the stride, as all are here.
        padded = builder.pad(source, _halves(kernel.shape[0] - stride), "zero")
        return norm(builder.conv(padded, kernel.transpose(3, 2, 0, 1), stride=stride), shift, scale)

    def deconv(source: int, layer: tuple[Array, Array, Array]) -> int:
        kernel, shift, scale = layer
        crop = _halves(kernel.shape[0] - 2)
        out = builder.deconv(source, kernel.transpose(3, 2, 0, 1), None, stride=2, crop=crop)
        return norm(out, shift, scale)

    current = builder.photo(RGB255)
    for layer, stride in zip(layers[:3], (1, 2, 2), strict=True):
        current = relu(conv(current, layer, stride))
    for first, second in zip(layers[3:-3:2], layers[4:-3:2], strict=True):
        inner = conv(relu(conv(current, first)), second)
        current = builder.add("add", [current, inner])
    for layer in layers[-3:-1]:
        current = relu(deconv(current, layer))
    current = builder.add("tanh", [conv(current, layers[-1])])
    builder.add("linear", [current], settings={"by": TANH_SCALE, "add": TANH_SHIFT})
    return builder


def matches(path: Path) -> Path | None:
    """The folder of raw variables, or the file of the checkpoint to which `path` belongs. Raises UserError for any
    other folder."""
    if path.is_dir():
        return _folder(path)
    checkpoint = _checkpoint(path)
    if checkpoint is not None:
        return checkpoint
    return path if leveldb.matches(path) else None


def _folder(path: Path) -> Path:
    if (path / tensorflow.MANIFEST).is_file():
        return path
    indices = sorted(path.glob(f"*{tensorflow.INDEX}"))
    if len(indices) == 1:
        return indices[0]
    raise UserError(
        f"{path} is a folder without {tensorflow.MANIFEST}, as published raw variables have it"
        + (": name one of its checkpoints" if indices else "")
    )


def _checkpoint(path: Path) -> Path | None:
    """The `.index` file of a checkpoint of version 2, if `path` is its name or one of its files."""
    name = path.name.removesuffix(tensorflow.DATA).removesuffix(tensorflow.INDEX)
    index = path.with_name(name + tensorflow.INDEX)
    return index if index.is_file() and (path.name != name or not path.exists()) else None


def read(path: Path) -> Published:
    """The network in a folder with a manifest, or a checkpoint (one file, or `.index` with `.data-...`).

    Raises UserError, FormatError and OSError.
    """
    if path.is_dir():
        family, variables = LENGSTROM_RAW, tensorflow.read_manifest(path)
    else:
        family = LENGSTROM
        v2 = path.suffix == tensorflow.INDEX
        variables = tensorflow.read_v2(path) if v2 else tensorflow.read_v1(path)
    return Published(family, build(variables), colors_in=RGB255, colors_out=RGB255)
