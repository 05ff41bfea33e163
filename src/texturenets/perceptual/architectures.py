"""The layer plans of the descriptor networks: lists of their layers in the order of evaluation, by the papers' names.
VGG: Simonyan and Zisserman, arXiv 1409.1556, table 1 (D and E); SqueezeNet: Iandola et al., arXiv 1602.07360, table 1
(1.1: the authors' later revision). Indices are torchvision's. `own`: this project's, a narrow VGG-16 up to relu4_3
with linear maps, distilled from it and from SqueezeNet 1.0 (`train/distillation`).
"""

from __future__ import annotations

from dataclasses import dataclass

from texturenets.readers.layouts import OWN_MAPS, OWN_WIDTHS


@dataclass(frozen=True)
class ConvLayer:
    """Convolution and ReLU; its output is the layer `name`."""

    name: str
    key: str  # of the weights, without ".weight"
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True)
class FireModule:
    """SqueezeNet's module: 1 x 1 squeeze, then 1 x 1 and 3 x 3 expansions side by side, ReLU after each."""

    name: str
    key: str


@dataclass(frozen=True)
class PoolLayer:
    """Pooling; its output is the layer `name`."""

    name: str
    kernel: int
    padding: int


@dataclass(frozen=True)
class LinearMap:
    """A convolution without ReLU and padding on a side branch: its output is the layer `name`; the next step does not
    use it. Its kernel is as large as its stride."""

    name: str
    key: str
    stride: int = 1


DescriptorLayer = ConvLayer | FireModule | PoolLayer | LinearMap


def _vgg(blocks: tuple[int, ...]) -> list[DescriptorLayer]:
    steps: list[DescriptorLayer] = []
    index = 0
    for block, convolutions in enumerate(blocks, 1):
        for i in range(1, convolutions + 1):
            steps.append(ConvLayer(f"relu{block}_{i}", f"features.{index}"))
            index += 2
        steps.append(PoolLayer(f"pool{block}", 2, 0))
        index += 1
    return steps


def _fire(number: int, index: int) -> FireModule:
    return FireModule(f"fire{number}", f"features.{index}")


# Caffe pools with ceil: on even feature maps that is a padding of one pixel at the far side. A symmetric padding of
# one keeps feature maps of both parities centred.
_SQUEEZENET1_0: list[DescriptorLayer] = [
    ConvLayer("conv1", "features.0", 2, 3),
    PoolLayer("pool1", 3, 1),
    *(_fire(n, i) for n, i in ((2, 3), (3, 4), (4, 5))),
    PoolLayer("pool4", 3, 1),
    *(_fire(n, i) for n, i in ((5, 7), (6, 8), (7, 9), (8, 10))),
    PoolLayer("pool8", 3, 1),
    _fire(9, 12),
]
_SQUEEZENET1_1: list[DescriptorLayer] = [
    ConvLayer("conv1", "features.0", 2, 1),
    PoolLayer("pool1", 3, 1),
    *(_fire(n, i) for n, i in ((2, 3), (3, 4))),
    PoolLayer("pool3", 3, 1),
    *(_fire(n, i) for n, i in ((4, 6), (5, 7))),
    PoolLayer("pool5", 3, 1),
    *(_fire(n, i) for n, i in ((6, 9), (7, 10), (8, 11), (9, 12))),
]


def _own() -> list[DescriptorLayer]:
    steps: list[DescriptorLayer] = []
    block = "1"
    for name in OWN_WIDTHS:
        if name[0] != block:
            steps.append(PoolLayer(f"pool{block}", 2, 0))
            block = name[0]
        steps.append(ConvLayer(f"conv{name}", f"own{name}"))
        steps += [LinearMap(m.name, m.name, m.stride) for m in OWN_MAPS if m.after == name]
    return steps


PLANS: dict[str, list[DescriptorLayer]] = {
    "vgg16": _vgg((2, 2, 3, 3, 3)),
    "vgg19": _vgg((2, 2, 4, 4, 4)),
    "vgg19_normalised": _vgg((2, 2, 4, 4, 4)),
    "squeezenet1_0": _SQUEEZENET1_0,
    "squeezenet1_1": _SQUEEZENET1_1,
    "own": _own(),
}
