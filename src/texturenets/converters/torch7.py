"""Converter of Torch7 files (`.t7`): all branches of texture_nets, and jcjohnson/fast-neural-style."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from texturenets.converters.colours import CAFFE, IMAGENET, RGB
from texturenets.converters.published import FAST_NEURAL_STYLE, TEXTURE_NETS, TEXTURE_NETS_V1, Published
from texturenets.converters.torch7_modules import Modules, short, walk
from texturenets.errors import UserError
from texturenets.readers import torch7
from texturenets.readers.torch7 import TorchObject

TITLE: Final = "Torch7"

# The first version of texture_nets never calls evaluate(), so its batch normalization uses the statistics of the
# current image. It is recognized by modules that only it uses; later versions have instance normalization.
_FIRST: Final = frozenset({"NoiseFill", "GenNoise", "SpatialCircularPadding"})
_LATER: Final = frozenset({"InstanceNormalization", "TVLoss"})
_JOHNSON: Final = frozenset({"TotalVariation", "ShaveImage"})
# opt.preprocessing of fast-neural-style; its program's default is "vgg"
_PREPROCESSING: Final = {"vgg": CAFFE, "resnet": IMAGENET}


def _found(value: Any) -> tuple[TorchObject, dict[Any, Any]]:
    """The network in the object that a file holds, and the training options stored with it, if any."""
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
    """The network in the `.t7` file at `path`. Raises UserError, DamagedError and OSError."""
    tree, options = _found(torch7.read(path))
    names = {short(module.kind) for module in walk(tree)}
    if options or names & _JOHNSON:
        preprocessing = options.get("preprocessing", "vgg")
        if preprocessing not in _PREPROCESSING:
            raise UserError(f"unknown preprocessing {str(preprocessing)[:40]!r} (known: vgg, resnet)")
        colours = _PREPROCESSING[preprocessing]
        builder = Modules(tree, before=colours, own_statistics=False).build()
        return Published(FAST_NEURAL_STYLE, builder, before=colours, after=colours)
    first = bool(names & _FIRST) and not names & _LATER
    modules = Modules(tree, before=RGB, own_statistics=first)
    published = Published(
        TEXTURE_NETS_V1 if first else TEXTURE_NETS, modules.build(), before=RGB, after=CAFFE
    )
    if modules.overrun:
        published.notes.append(
            f"{modules.overrun} normalizations have fewer weights than channels: the others are read from "
            "the parameters stored after them, as the GPU did in training"
        )
    return published
