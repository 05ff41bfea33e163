"""The convolutions of each descriptor network: canonical name, shape, and names in other programs.

VGG: Simonyan and Zisserman, arXiv 1409.1556, table 1 (D and E). SqueezeNet: Iandola et al., arXiv
1602.07360, table 1 (1.1: the authors' later revision). Canonical names are torchvision's. `own`: this project's,
distilled from VGG-16 and SqueezeNet (docs/measurements.md, "A descriptor network of our own").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One convolution: tensors `key`.weight of `shape` (outputs, inputs, k, k) and `key`.bias (outputs,)."""

    key: str
    shape: tuple[int, int, int, int]
    names: tuple[str, ...]  # first Caffe's, which the papers use; then other programs'
    output: str  # the feature of which it is a part, by the papers' name


def _vgg(blocks: tuple[int, ...]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    index, inputs, count = 0, 3, 0
    for block, convolutions in enumerate(blocks, 1):
        outputs = min(64 << (block - 1), 512)
        for i in range(1, convolutions + 1):
            keras3 = "conv2d" if count == 0 else f"conv2d_{count}"  # Keras 3 numbers them in order
            names = (f"conv{block}_{i}", f"block{block}_conv{i}", keras3)
            layers.append(Layer(f"features.{index}", (outputs, inputs, 3, 3), names, f"relu{block}_{i}"))
            index, inputs, count = index + 2, outputs, count + 1
        index += 1  # pooling
    return tuple(layers)


# Squeeze and expand channels of fire2 to fire9 (each expansion has that many), both versions.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def _squeezenet(first: tuple[int, int], indices: tuple[int, ...]) -> tuple[Layer, ...]:
    inputs, kernel = first
    layers = [Layer("features.0", (inputs, 3, kernel, kernel), ("conv1",), "conv1")]
    for fire, (index, (squeeze, expand)) in enumerate(zip(indices, _FIRES, strict=True), 2):
        for part, deep, shape in (
            ("squeeze", ("squeeze1x1", "conv1x1_1"), (squeeze, inputs, 1, 1)),
            ("expand1x1", ("expand1x1", "conv1x1_2"), (expand, squeeze, 1, 1)),
            ("expand3x3", ("expand3x3", "conv3x3_2"), (expand, squeeze, 3, 3)),
        ):
            names = tuple(f"fire{fire}/{name}" for name in deep)
            layers.append(Layer(f"features.{index}.{part}", shape, names, f"fire{fire}"))
        inputs = 2 * expand
    return tuple(layers)


# Outputs of the convolutions of `own` by their names in VGG-16, which are 2.7 to 4 times as wide. Together with the
# maps they are at most a seventh of VGG-16's arithmetic up to relu4_3, and 2 MB in half precision.
OWN_WIDTHS: dict[str, int] = {
    **{"1_1": 16, "1_2": 24},
    **{"2_1": 48, "2_2": 56},
    **{"3_1": 96, "3_2": 96, "3_3": 96},
    **{"4_1": 168, "4_2": 168, "4_3": 168},
}


@dataclass(frozen=True)
class OwnMap:
    """A linear convolution of `own` on a side branch, whose output stands for a layer of a teacher.

    It follows the convolution `after`, has `outputs` channels, and a kernel of `stride` x `stride`.
    """

    teacher: str  # network:layer
    after: str
    outputs: int
    stride: int = 1

    @property
    def layer(self) -> str:
        """The teacher's layer without its network."""
        return self.teacher.rpartition(":")[2]

    @property
    def name(self) -> str:
        """Its name among the layers of `own`, and in the files."""
        return f"map_{self.layer}"


# In the order of evaluation. Fewer outputs than inputs: the least varied directions hardly change distances. As many
# as a seventh of VGG-16's arithmetic and 2 MB leave (benchmarks/perceptual.py prints both).
OWN_MAPS: tuple[OwnMap, ...] = (
    OwnMap("vgg16:relu1_2", "1_2", 20),
    OwnMap("squeezenet1_0:conv1", "1_2", 24, stride=2),
    OwnMap("vgg16:relu2_2", "2_2", 40),
    OwnMap("squeezenet1_0:fire3", "3_1", 48),
    OwnMap("squeezenet1_0:fire4", "3_2", 48),
    OwnMap("vgg16:relu3_3", "3_3", 64),
    OwnMap("squeezenet1_0:fire5", "4_1", 64),
    OwnMap("vgg16:relu4_2", "4_2", 128),
    OwnMap("squeezenet1_0:fire7", "4_2", 64),
    OwnMap("vgg16:relu4_3", "4_3", 128),
)


def _own() -> tuple[Layer, ...]:
    layers: list[Layer] = []
    inputs = 3
    for name, outputs in OWN_WIDTHS.items():
        layers.append(Layer(f"own{name}", (outputs, inputs, 3, 3), (f"own{name}",), f"conv{name}"))
        for made in (m for m in OWN_MAPS if m.after == name):
            shape = (made.outputs, outputs, made.stride, made.stride)
            layers.append(Layer(made.name, shape, (made.name,), made.name))
        inputs = outputs
    return tuple(layers)


LAYERS: dict[str, tuple[Layer, ...]] = {
    "vgg16": _vgg((2, 2, 3, 3, 3)),
    "vgg19": _vgg((2, 2, 4, 4, 4)),
    "vgg19_normalised": _vgg((2, 2, 4, 4, 4)),
    "squeezenet1_0": _squeezenet((96, 7), (3, 4, 5, 7, 8, 9, 10, 12)),
    "squeezenet1_1": _squeezenet((64, 3), (3, 4, 6, 7, 9, 10, 11, 12)),
    "own": _own(),
}


def shapes(network: str) -> dict[str, tuple[int, ...]]:
    """{tensor name: shape} of the convolutions of `network`, in the order of evaluation."""
    out: dict[str, tuple[int, ...]] = {}
    for layer in LAYERS[network]:
        out[f"{layer.key}.weight"] = layer.shape
        out[f"{layer.key}.bias"] = layer.shape[:1]
    return out
