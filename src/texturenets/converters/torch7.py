"""Converter of Torch7 files (`.t7`): all branches of texture_nets, and jcjohnson/fast-neural-style."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from texturenets.converters.colors import CAFFE, IMAGENET, RGB
from texturenets.converters.published import FAST_NEURAL_STYLE, TEXTURE_NETS, TEXTURE_NETS_V1, Published
from texturenets.converters.torch7_modules import Modules, short, walk
from texturenets.errors import UserError
from texturenets.readers import torch7
from texturenets.readers.torch7 import TorchObject

TITLE: Final = "Torch7"

# The first version of texture_nets never calls evaluate(), so its batch normalization uses the statistics of the
# current image. It is recognized by modules that only it uses; later versions have instance normalization.
_V1_MODULES: Final = frozenset({"NoiseFill", "GenNoise", "SpatialCircularPadding"})
_LATER_MODULES: Final = frozenset({"InstanceNormalization", "TVLoss"})
_FAST_NEURAL_STYLE_MODULES: Final = frozenset({"TotalVariation", "ShaveImage"})
# By the option `preprocessing` of fast-neural-style, whose default is "vgg"
_PREPROCESSING: Final = {"vgg": CAFFE, "resnet": IMAGENET}


def _network_and_options(value: Any) -> tuple[TorchObject, dict[Any, Any]]:
    """The network in a deserialized file, and the training options stored with it ({} if none).

    Raises UserError if there is no network.
    """
    if isinstance(value, TorchObject):
        return value, {}
    if isinstance(value, dict):
        options = value.get("opt")
        for key in ("model", "net", "generator", "G"):
            if isinstance(value.get(key), TorchObject):
                return value[key], options if isinstance(options, dict) else {}
    raise UserError("the file contains no network of Torch7 modules")


def matches(path: Path) -> Path | None:
    """`path` if its first bytes are those of a serialized Lua object, else None."""
    if path.is_dir():
        return None
    with path.open("rb") as stream:
        return path if torch7.matches(stream.read(64)) else None


def read(path: Path) -> Published:
    """Convert the network in the `.t7` file at `path`.

    Raises UserError for a network that cannot be converted, FormatError for a damaged file, and OSError.
    """
    tree, options = _network_and_options(torch7.read(path))
    names = {short(module.kind) for module in walk(tree)}
    if options or names & _FAST_NEURAL_STYLE_MODULES:
        preprocessing = options.get("preprocessing", "vgg")
        if preprocessing not in _PREPROCESSING:
            raise UserError(f"unknown preprocessing {str(preprocessing)[:40]!r} (known: vgg, resnet)")
        colors = _PREPROCESSING[preprocessing]
        builder = Modules(tree, colors_in=colors, own_statistics=False).build()
        return Published(FAST_NEURAL_STYLE, builder, colors_in=colors, colors_out=colors)
    v1 = bool(names & _V1_MODULES) and not names & _LATER_MODULES
    modules = Modules(tree, colors_in=RGB, own_statistics=v1)
    published = Published(
        TEXTURE_NETS_V1 if v1 else TEXTURE_NETS, modules.build(), colors_in=RGB, colors_out=CAFFE
    )
    if modules.overrun:
        published.notes.append(
            f"{modules.overrun} normalizations have fewer weights than channels: the others are read from "
            "the parameters stored after them, as the GPU did in training"
        )
    return published
