"""The input preprocessing of the descriptor networks, and where their weights are published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from texturenets import readers


@dataclass(frozen=True)
class Convention:
    """Input preprocessing of a network: (x * scale - mean) / std for x in [0, 1], channels in `order`.

    `mean` and `std` have one value a channel, in that order.
    """

    order: Literal["bgr", "rgb"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


ONES: Final = (1.0, 1.0, 1.0)

# The means of the ImageNet training set, as the two groups published them.
_VGG: Final = Convention("bgr", 255.0, (103.939, 116.779, 123.68), ONES)

_SQUEEZENET: Final = Convention("bgr", 255.0, (104.0, 117.0, 123.0), ONES)

# For weights that torchvision itself published (`recognition` tells them): torchvision.models, "All pre-trained
# models expect input images normalized in the same way".
TORCHVISION: Final = Convention("rgb", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

SHIPPED_FOLDER: Final = Path(__file__).parents[1]
"""The folder of the weights that come with the package: those of `own`."""

CONVENTIONS: Final[dict[str, Convention]] = {
    "vgg16": _VGG,
    "vgg19": _VGG,
    "vgg19_normalised": _VGG,
    "squeezenet1_0": _SQUEEZENET,
    "squeezenet1_1": _SQUEEZENET,
    "own": _VGG,  # its teacher's
}
"""For each network the preprocessing that its weights in `SOURCES` expect. Weights from elsewhere may expect another:
`recognition.convention_of` tells."""


@dataclass(frozen=True)
class WeightsSource:
    """Where a network's weights are published.

    `digests`: "algorithm:hex"; a file that matches any of them is accepted ("git": the hash of its Git blob). `size`:
    in bytes, 0 if unknown. `format`, `licence`: of that file. `prefixes`: beginnings of the names of files that hold
    this network. Without `urls` there is nothing to download: only a file called `file` in this package's
    `SHIPPED_FOLDER`, or one that the user gives.
    """

    title: str
    urls: tuple[str, ...]
    file: str
    digests: tuple[str, ...]
    size: int
    format: readers.WeightsFormat
    licence: str
    prefixes: tuple[str, ...]


_KERAS: Final = "https://storage.googleapis.com/tensorflow/keras-applications"

_KERAS_OLD: Final = "https://github.com/fchollet/deep-learning-models/releases/download/v0.1"

_RAW: Final = "https://raw.githubusercontent.com"

SOURCES: Final[dict[str, WeightsSource]] = {
    # MD5 sums: keras/applications/vgg16.py and vgg19.py.
    "vgg16": WeightsSource(
        title="VGG-16, the Oxford group's original weights as published with Keras",
        urls=(
            f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            f"{_KERAS_OLD}/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        file="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        digests=("md5:6d6bbae143d832006294945121d1f1fc",),
        size=58_889_256,
        format="keras",
        licence="CC BY 4.0",
        prefixes=("vgg16", "vgg_ilsvrc_16_layers"),
    ),
    "vgg19": WeightsSource(
        title="VGG-19, the Oxford group's original weights as published with Keras",
        urls=(
            f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            f"{_KERAS_OLD}/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        file="vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        digests=("md5:253f8cb515780f3b799900260a226db6",),
        size=80_134_624,
        format="keras",
        licence="CC BY 4.0",
        prefixes=("vgg19", "vgg_ilsvrc_19_layers"),
    ),
    # SHA-256: recorded for the first address by nixpkgs' package fast-neural-doodle. The second address is a copy in
    # a repository, at a fixed commit; the hash of its Git blob there is the second digest.
    "vgg19_normalised": WeightsSource(
        title="VGG-19 rescaled to a mean activation of 1 a channel, by Gatys et al. (arXiv 1505.07376)",
        urls=(
            "https://bethgelab.org/media/uploads/deeptextures/vgg_normalised.caffemodel",
            f"{_RAW}/paulu/deepfeatinterp/76b72e0a3b683a8cdeb13ed35b932680dc159ed1"
            "/models/VGG_CNN_19/vgg_normalised.caffemodel",
        ),
        file="vgg_normalised.caffemodel",
        digests=(
            "sha256:2e0fb14efd38e98c6889e288d81a6382a2da1f5716587507e5fc4c46779b0c87",
            "git:ca7ac268742c67ac31284cc23b781108891a9083",
        ),
        size=0,
        format="caffe",
        licence="CC BY 4.0 (Oxford VGG); the rescaled file published for academic and non-commercial use",
        prefixes=("vgg19_normalised", "vgg19_normalized", "vgg_normalised", "vgg_normalized"),
    ),
    "squeezenet1_0": WeightsSource(
        title="SqueezeNet 1.0, compressed, by its authors (songhan/SqueezeNet-Deep-Compression)",
        urls=(
            f"{_RAW}/songhan/SqueezeNet-Deep-Compression/fb13faa2cf121ced9999f8a9d538ec6c56084733"
            "/compressed_SqueezeNet.net",
        ),
        file="compressed_SqueezeNet.net",
        digests=("sha256:e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261",),
        size=675_763,
        format="compressed",
        licence="BSD-2-Clause",
        prefixes=("squeezenet1_0", "squeezenet_v1.0", "squeezenet1.0", "compressed_squeezenet"),
    ),
    # SHA-256 and size: Open Model Zoo, models/public/squeezenet1.1/model.yml.
    "squeezenet1_1": WeightsSource(
        title="SqueezeNet 1.1, by its authors (DeepScale; forresti/SqueezeNet)",
        urls=(
            f"{_RAW}/forresti/SqueezeNet/a47b6f13d30985279789d08053d37013d67d131b"
            "/SqueezeNet_v1.1/squeezenet_v1.1.caffemodel",
        ),
        file="squeezenet_v1.1.caffemodel",
        digests=(
            "sha256:72b912ace512e8621f8ff168a7d72af55910d3c7c9445af8dfbff4c2ee960142",
            "git:9d2fc33abf653a6e8b2ee6cc63ede0e72ec67f44",
        ),
        size=4_950_080,
        format="caffe",
        licence="BSD-2-Clause",
        prefixes=("squeezenet1_1", "squeezenet_v1.1", "squeezenet1.1"),
    ),
    "own": WeightsSource(
        title="own, this project's, distilled from VGG-16 and SqueezeNet 1.0",
        urls=(),
        file="own.safetensors",
        digests=(),
        size=0,
        format="safetensors",
        licence="distilled from VGG-16, whose weights are CC BY 4.0, and SqueezeNet 1.0, BSD-2-Clause",
        prefixes=("own.",),
    ),
}
