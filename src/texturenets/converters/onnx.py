"""ONNX style networks whose graph is a chain of known layers, with residual sums and concatenations.

Operations are those of onnx.ai/onnx/operators, and three experimental ones of version 1 that converters from Core ML
write: ImageScaler, Crop and Affine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.converters.builder import GraphBuilder
from texturenets.converters.colors import BGR255, RGB, RGB255, ColorEncoding
from texturenets.converters.onnx_constants import fold, integers, refuse
from texturenets.converters.published import ONNX, Published
from texturenets.errors import UserError
from texturenets.readers import onnx, recognise
from texturenets.readers.onnx import Model, ONNXNode

TITLE: Final = "ONNX"

Array = NDArray[Any]

_PADS: Final = {"constant": "zero", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
_HALF: Final = ("half_pixel", "pytorch_half_pixel")
_UNCHANGED: Final = ("Identity", "Dropout", "Cast")


class Chain:
    """Turns operations into nodes of `builder`; `values` are node numbers, or arrays where constant."""

    def __init__(self, model: Model, colors_in: ColorEncoding) -> None:
        self.model = model
        self.colors_in = colors_in
        self.builder = GraphBuilder()
        self.values: dict[str, int | Array] = dict(model.arrays)
        self.readers: dict[str, list[ONNXNode]] = {}
        for node in model.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)

    def build(self) -> GraphBuilder:
        """Add all nodes. Raises UserError for an unsupported operation."""
        model = self.model
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise UserError(
                f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
                "a network of images to images has one each"
            )
        self.values[model.inputs[0]] = self.builder.photo(self.colors_in)
        for node in model.nodes:
            if not node.outputs or not node.op_type:
                raise UserError("an operation without kind or result")
            if node.outputs[0] not in self.values:
                self.values[node.outputs[0]] = self._one(node)
        last = self.values.get(model.outputs[0])
        if not isinstance(last, int):
            raise UserError("its result does not depend on the photo")
        if last != len(self.builder.nodes) - 1:
            raise UserError("its last operation is not its result")
        return self.builder

    # Inputs of an operation

    def _get(self, node: ONNXNode, i: int) -> int | Array | None:
        if i >= len(node.inputs) or not node.inputs[i]:
            return None
        name = node.inputs[i]
        if name not in self.values:
            raise refuse(node, f"takes {name[:40]!r}, which nothing gives")
        return self.values[name]

    def _map(self, node: ONNXNode, i: int = 0) -> int:
        value = self._get(node, i)
        if not isinstance(value, int):
            raise refuse(node, "takes no feature map where it needs one")
        return value

    def _maps(self, node: ONNXNode) -> list[int]:
        return [self._map(node, i) for i in range(len(node.inputs))]

    def _array(self, node: ONNXNode, i: int) -> Array:
        value = self._get(node, i)
        if not isinstance(value, np.ndarray):
            raise refuse(node, "depends on the photo where it has to be constant")
        return value

    def _optional(self, node: ONNXNode, i: int) -> Array | None:
        return None if self._get(node, i) is None else self._array(node, i)

    def _one(self, node: ONNXNode) -> int | Array:
        values = [self._get(node, i) for i in range(len(node.inputs))]
        if not any(isinstance(value, int) for value in values):
            return fold(node, [value for value in values if isinstance(value, np.ndarray)])
        if node.op_type not in self._LAYERS:
            raise refuse(node, "is not an operation that is known")
        return self._LAYERS[node.op_type](self, node)

    def _add(self, operation: str, *sources: int, **settings: Any) -> int:
        return self.builder.add(operation, sources, settings=settings)

    # Windows

    def _window(self, node: ONNXNode, kernel: int) -> tuple[int, int, list[int]]:
        """Stride, dilation and padding (top, bottom, left, right) of a convolution or pooling."""
        attributes = node.attributes
        strides, dilations = attributes.get("strides") or [1, 1], attributes.get("dilations") or [1, 1]
        pads, auto = attributes.get("pads") or [0, 0, 0, 0], attributes.get("auto_pad") or "NOTSET"
        if len(set(strides)) != 1 or len(set(dilations)) != 1 or len(pads) != 4 or min(pads) < 0:
            raise refuse(node, "differs between its two directions, which is not supported")
        if attributes.get("ceil_mode"):
            raise refuse(node, "rounds up, which is not supported")
        stride, dilation = strides[0], dilations[0]
        top, left, bottom, right = pads
        if auto in ("SAME_UPPER", "SAME_LOWER"):  # of feature maps whose size is a multiple of the stride
            total = max(dilation * (kernel - 1) + 1 - stride, 0)
            less, more = sorted((total // 2, total - total // 2))
            first, last = (less, more) if auto == "SAME_UPPER" else (more, less)
            top, left, bottom, right = first, first, last, last
        elif auto == "VALID":
            top, left, bottom, right = 0, 0, 0, 0
        elif auto != "NOTSET":
            raise refuse(node, f"has auto_pad {str(auto)[:20]}, not supported")
        return stride, dilation, [top, bottom, left, right]

    def _conv(self, node: ONNXNode) -> int:
        weight = self._array(node, 1)
        if weight.ndim != 4:
            raise refuse(node, f"has weights of shape {weight.shape}")
        stride, dilation, sides = self._window(node, weight.shape[2])
        return self.builder.conv(
            self.builder.pad(self._map(node), sides, "zero"),
            weight,
            self._optional(node, 2),
            stride=stride,
            dilation=dilation,
            groups=node.attributes.get("group", 1),
        )

    def _deconv(self, node: ONNXNode) -> int:
        weight, source = self._array(node, 1), self._map(node)
        if weight.ndim != 4:
            raise refuse(node, f"has weights of shape {weight.shape}")
        if node.attributes.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
            raise refuse(node, "has auto_pad SAME, not supported")
        stride, dilation, (top, bottom, left, right) = self._window(node, 0)
        if dilation != 1 or node.attributes.get("group", 1) != 1:
            raise refuse(node, "has groups or dilation, which is not supported")
        down, across = node.attributes.get("output_padding") or [0, 0]
        if node.attributes.get("output_shape"):
            if any((top, bottom, left, right, down, across)):
                raise refuse(node, "has both an output_shape and pads, which is not supported")
            down, across = self._excess(node, source, weight.shape[2], stride)
        crop = [top, bottom - down, left, right - across]
        following = self.readers.get(node.outputs[0], [])
        if min(crop) < 0 and len(following) == 1 and following[0].op_type == "Crop":
            # The additional rows and columns are cropped again at once.
            crop = [a + b for a, b in zip(crop, self._border(following[0]), strict=True)]
            number = self.builder.deconv(source, weight, self._optional(node, 2), stride=stride, crop=crop)
            self.values[following[0].outputs[0]] = number
            return number
        return self.builder.deconv(source, weight, self._optional(node, 2), stride=stride, crop=crop)

    def _excess(self, node: ONNXNode, source: int, kernel: int, stride: int) -> tuple[int, int]:
        """Rows and columns by which the attribute output_shape exceeds the output of the transposed convolution."""
        sizes, shape = self.model.sizes.get(self.model.inputs[0], ()), node.attributes["output_shape"]
        if len(sizes) != 4 or min(sizes[2:]) < 1 or len(shape) < 2:
            raise refuse(node, "has an output_shape, and the photo's size is not known")
        its = self.builder.nodes[source]
        rows = its.scale * sizes[2] + its.extra_rows
        columns = its.scale * sizes[3] + its.extra_columns
        down, across = (shape[i - 2] - ((n - 1) * stride + kernel) for i, n in enumerate((rows, columns)))
        if not (0 <= down < stride and 0 <= across < stride and down == int(down) and across == int(across)):
            raise refuse(node, f"has the output_shape {shape}, which does not fit its input")
        return int(down), int(across)

    @staticmethod
    def _border(node: ONNXNode) -> tuple[int, int, int, int]:
        border = node.attributes.get("border") or []
        if len(border) != 4 or min(border) < 0 or node.attributes.get("scale"):
            raise refuse(node, "to a size of its own is not supported")
        left, top, right, bottom = border
        return top, bottom, left, right

    def _crop(self, node: ONNXNode) -> int:
        return self._add("crop", self._map(node), amount=self._border(node))

    def _padding(self, node: ONNXNode) -> int:
        mode = node.attributes.get("mode") or "constant"
        pads = node.attributes.get("pads")
        if pads is None:
            pads = integers(self._array(node, 1), 9)
        if len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)) or min(pads) < 0:
            raise refuse(node, "pads something else than height and width")
        filler = self._optional(node, 2)
        filled = bool(filler is not None and filler.any()) or bool(node.attributes.get("value"))
        if mode not in _PADS or (filled and mode == "constant"):
            raise refuse(node, f"has the mode {mode[:20]} or a value, not supported")
        return self.builder.pad(self._map(node), (pads[2], pads[6], pads[3], pads[7]), _PADS[mode])

    def _pool(self, node: ONNXNode) -> int:
        kernels = node.attributes.get("kernel_shape") or []
        if len(set(kernels)) != 1:
            raise refuse(node, "has a window that is not square")
        stride, dilation, sides = self._window(node, kernels[0])
        average = node.op_type == "AveragePool"
        if dilation != 1 or (any(sides) and not average):
            raise refuse(node, "has dilation or padding, which is not supported")
        if any(sides) and not node.attributes.get("count_include_pad"):
            raise refuse(node, "leaves its padding out of the mean, which is not supported")
        source = self.builder.pad(self._map(node), sides, "zero")
        return self._add("avg_pool" if average else "max_pool", source, kernel=kernels[0], stride=stride)

    # Normalizations

    def _instance_norm(self, node: ONNXNode) -> int:
        weight, bias = (self._array(node, i).reshape(-1) for i in (1, 2))
        eps = node.attributes.get("epsilon", 1e-5)
        return self.builder.norm(self._map(node), weight, bias, eps)

    def _batch_norm(self, node: ONNXNode) -> int:
        scale, shift, mean, variance = (
            self._array(node, i).reshape(-1).astype(np.float64) for i in range(1, 5)
        )
        channels = self.builder.channels(self._map(node))
        if not scale.size == shift.size == mean.size == variance.size == channels:
            raise refuse(node, f"has values for other than its {channels} channels")
        eps = max(node.attributes.get("epsilon", 1e-5), 1e-12)
        scale = scale / np.sqrt(np.maximum(variance, 0) + eps)
        return self.builder.add("affine", [self._map(node)], weight=scale, bias=shift - mean * scale)

    # Sizes

    def _resize(self, node: ONNXNode) -> int:
        attributes = node.attributes
        scales = attributes.get("scales")
        # The default of Upsample, and of the first version of Resize, whose second input is the scales.
        old = node.op_type == "Upsample" or len(node.inputs) == 2
        if scales is None:
            scales = [float(v) for v in self._array(node, 1 if old else 2).reshape(-1)[:4]]
        mode = attributes.get("mode") or "nearest"
        where = "asymmetric" if old else attributes.get("coordinate_transformation_mode") or "half_pixel"
        even = len(scales) == 4 and scales[:2] == [1, 1] and scales[2] == scales[3] and scales[2] % 1 == 0
        if not even or scales[2] < 1:
            raise refuse(node, f"has the scales {scales}, not a whole number for height and width")
        if mode not in ("nearest", "linear", "bilinear"):
            raise refuse(node, f"has the mode {mode[:20]}, not supported")
        name = "nearest" if mode == "nearest" else "bilinear"
        if name == "bilinear" and where == "align_corners":
            name = "bilinear_corners"
        elif name == "bilinear" and where not in _HALF:
            raise refuse(node, f"places pixels as {where[:30]}, not supported")
        rounding = "floor" if old else attributes.get("nearest_mode") or "round_prefer_floor"
        if name == "nearest" and not _repeats(where, rounding, scales[2]):
            raise refuse(node, f"places pixels as {where[:30]}, {rounding[:30]}, not supported")
        source = self._map(node)
        return source if scales[2] == 1 else self._add("upsample", source, factor=int(scales[2]), mode=name)

    def _shuffle(self, node: ONNXNode) -> int:
        """Depth to space. For the order "DCR" a convolution first sorts the channels to the order "CRD"."""
        source, factor = self._map(node), node.attributes.get("blocksize", 0)
        channels = self.builder.channels(source)
        if not isinstance(factor, int) or factor < 2 or channels % factor**2:
            raise refuse(node, f"of {channels} channels by {factor} is not possible")
        if (node.attributes.get("mode") or "DCR") == "DCR":
            order = np.arange(channels).reshape(factor**2, -1).T.reshape(-1)
            source = self.builder.conv(source, np.eye(channels)[order][:, :, None, None], None)
        return self._add("shuffle", source, factor=factor)

    # Arithmetic

    def _affine(self, source: int, weight: Array, bias: Array, node: ONNXNode) -> int:
        """A feature map times `weight` plus `bias`: numbers for all or for each channel."""
        flat = [np.asarray(array, np.float64).reshape(-1) for array in (weight, bias)]
        if all(array.size == 1 for array in flat):
            return self._add("linear", source, by=float(flat[0][0]), add=float(flat[1][0]))
        channels = self.builder.channels(source)
        for array in (weight, bias):
            if array.size not in (1, channels) or (
                array.size > 1 and array.ndim >= 3 and array.shape[-3] != channels
            ):
                raise refuse(node, f"with a constant of shape {array.shape} is not supported")
        scale, shift = (np.broadcast_to(array, channels) for array in flat)
        return self.builder.add("affine", [source], weight=scale, bias=shift)

    def _arithmetic(self, node: ONNXNode) -> int:
        """Add, Sub, Mul, Div: of two feature maps, or of a feature map and a number for all or for each channel."""
        if len(node.inputs) != 2:
            raise refuse(node, f"of {len(node.inputs)} values is not possible")
        values = [self._get(node, i) for i in range(2)]
        if all(isinstance(value, int) for value in values):
            if node.op_type not in ("Add", "Mul"):
                raise refuse(node, "of two feature maps is not supported")
            return self._add(node.op_type.lower(), *self._maps(node))
        place = 0 if isinstance(values[0], int) else 1
        source, number = self._map(node, place), self._array(node, 1 - place).astype(np.float64)
        if place == 1 and node.op_type in ("Sub", "Div"):
            raise refuse(node, "from a constant is not supported")
        if node.attributes.get("broadcast") and node.attributes.get("axis") == 1:
            number = number.reshape(-1, 1, 1)  # before version 7 of the operators
        if number.size > 1 and number.ndim < 3:
            raise refuse(node, f"with a constant of shape {number.shape} is not supported")
        with np.errstate(all="ignore"):
            number = {"Sub": -number, "Div": 1 / number}.get(node.op_type, number)
        one, zero = np.ones(1), np.zeros(1)
        multiply = node.op_type in ("Mul", "Div")
        return self._affine(source, number if multiply else one, zero if multiply else number, node)

    def _sum(self, node: ONNXNode) -> int:
        maps = self._maps(node)
        return maps[0] if len(maps) == 1 else self._add("add", *maps)

    def _experimental_affine(self, node: ONNXNode) -> int:
        by, add = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 0.0)
        return self._add("linear", self._map(node), by=by, add=add)

    def _scaler(self, node: ONNXNode) -> int:
        """ImageScaler: a scale for all, then a bias for each channel."""
        scale, bias = node.attributes.get("scale", 1.0), node.attributes.get("bias") or [0.0]
        return self._affine(self._map(node), np.array([scale]), np.array(bias), node)

    def _concat(self, node: ONNXNode) -> int:
        if node.attributes.get("axis") not in (1, -3):
            raise refuse(node, "joins something else than channels")
        return self._add("concat", *self._maps(node))

    def _clip(self, node: ONNXNode) -> int:
        limits = []
        for i, (key, default) in enumerate((("min", -1e6), ("max", 1e6)), 1):
            given = self._optional(node, i)
            value = node.attributes.get(key) if given is None else given.reshape(-1)[0]
            limits.append(float(default if value is None else np.clip(value, -1e6, 1e6)))
        return self._add("clamp", self._map(node), low=limits[0], high=limits[1])

    def _prelu(self, node: ONNXNode) -> int:
        source, slope = self._map(node), self._array(node, 1).reshape(-1)
        if slope.size == 1:
            slope = np.repeat(slope, self.builder.channels(source))
        return self.builder.add("prelu", [source], weight=slope)

    def _activation(self, node: ONNXNode) -> int:
        source, attributes = self._map(node), node.attributes
        match node.op_type:
            case "LeakyRelu":
                return self._add("leaky_relu", source, slope=attributes.get("alpha", 0.01))
            case "Elu":
                return self._add("elu", source, alpha=attributes.get("alpha", 1.0))
        return self._add(node.op_type.lower(), source)

    _LAYERS: Final[dict[str, Callable[[Chain, ONNXNode], int]]] = {
        "Conv": _conv,
        "ConvTranspose": _deconv,
        "InstanceNormalization": _instance_norm,
        "BatchNormalization": _batch_norm,
        "Pad": _padding,
        "Crop": _crop,
        "Resize": _resize,
        "Upsample": _resize,
        "AveragePool": _pool,
        "MaxPool": _pool,
        "Add": _arithmetic,
        "Sub": _arithmetic,
        "Mul": _arithmetic,
        "Div": _arithmetic,
        "Sum": _sum,
        "Affine": _experimental_affine,
        "ImageScaler": _scaler,
        "Concat": _concat,
        "DepthToSpace": _shuffle,
        "Clip": _clip,
        "PRelu": _prelu,
        **dict.fromkeys(("Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu"), _activation),
        **dict.fromkeys(_UNCHANGED, _map),
    }


def _repeats(where: str, rounding: str, scale: float) -> bool:
    """Whether "nearest" of these settings repeats each pixel `scale` times."""
    if where in _HALF:
        return rounding in ("round_prefer_floor", "round_prefer_ceil")
    halves = rounding == "round_prefer_floor" and scale <= 2
    return where == "asymmetric" and (rounding == "floor" or halves)


def _colors(model: Model) -> ColorEncoding | None:
    """The colour encodings of input and output that the file states; None if it states none."""
    order = model.metadata.get("Image.BitmapPixelFormat", "")
    if model.metadata.get("Image.NominalPixelRange") == "Normalized_0_1":
        return RGB if order.startswith("Rgb") else None
    if order:
        return BGR255 if order.startswith("Bgr") else RGB255
    for node in model.nodes:
        bias = node.attributes.get("bias") or []
        if node.op_type == "ImageScaler" and len(bias) == 3 and bias[0] != bias[2]:
            # ImageNet's mean has more red than blue.
            return BGR255 if bias[0] > bias[2] else RGB255
    return None


def matches(path: Path) -> Path | None:
    """`path`, where its first field is the version of an ONNX model, or its name says so."""
    if path.is_dir():
        return None
    with path.open("rb") as stream:
        begins = stream.read(1) == b"\x08"  # a number; the first field of a Caffe model has a length
    begins = begins and recognise(path) != "safetensors"  # a safetensors file may begin with such a length
    return path if begins or path.suffix == ".onnx" else None


def read(
    path: Path, colors_in: ColorEncoding | None = None, colors_out: ColorEncoding | None = None
) -> Published:
    """The network in the `.onnx` file at `path`, its colours as stated in the file, else RGB, 0 to 255.

    Raises UserError, FormatError and OSError.
    """
    model = onnx.read(path)
    declared = _colors(model)
    colors_in = colors_in or declared or RGB255
    published = Published(
        ONNX,
        Chain(model, colors_in).build(),
        colors_in=colors_in,
        colors_out=colors_out or declared or RGB255,
    )
    published.licence, published.author = model.metadata.get("license", ""), model.metadata.get("author", "")
    if declared is None and colors_out is None:
        published.notes.append(
            "the file does not say what its colours are: taken as RGB, 0 to 255, in and out; "
            "`colors_in` and `colors_out` say otherwise"
        )
    return published
