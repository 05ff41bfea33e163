"""Feed-forward textures and styles: train a network once on a picture, draw with it in one pass.

import texturenets as tn
style = tn.load("wave")
picture = style(photo)          # a PIL image, an array or a tensor; the same kind comes back
texture = tn.load("bark.safetensors")
picture = texture.sample((640, 480), seed=7)
style = tn.train_style("painting.jpg", "photos/", "mine.safetensors")
"""

from __future__ import annotations

import os
from importlib import import_module

from texturenets._version import __version__

TYPE_CHECKING = False  # true for type checkers; importing `typing` takes as long as starting Python

# Makes PyTorch's threads sleep while they wait for each other, after a short spin. By default its OpenMP library lets
# them spin for long, which takes time from other programs and from PyTorch itself. Read when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # chosen in docs/measurements.md, "Threads that wait"

if TYPE_CHECKING:
    from typing import Any

    from texturenets.converters import convert
    from texturenets.errors import UserError
    from texturenets.evaluation import EvaluationOptions, evaluate
    from texturenets.loading import load, load_module, models
    from texturenets.materials.material import Material
    from texturenets.resynthesis.calls import inpaint, tile
    from texturenets.stylize.style import Style
    from texturenets.textures import Texture
    from texturenets.train.configuration import StyleConfig, TextureConfig
    from texturenets.train.start import train_style, train_texture
    from texturenets.train.trainer_config import TrainerConfig

    __all__ = [
        "EvaluationOptions",
        "Material",
        "Style",
        "StyleConfig",
        "Texture",
        "TextureConfig",
        "TrainerConfig",
        "UserError",
        "__version__",
        "convert",
        "evaluate",
        "inpaint",
        "load",
        "load_module",
        "models",
        "tile",
        "train_style",
        "train_texture",
    ]

# importing torch takes a second: only when it is needed
_WHERE = {
    "EvaluationOptions": "evaluation",
    "Material": "materials.material",
    "Style": "stylize.style",
    "StyleConfig": "train.configuration",
    "Texture": "textures",
    "TextureConfig": "train.configuration",
    "TrainerConfig": "train.trainer_config",
    "UserError": "errors",
    "convert": "converters",
    "evaluate": "evaluation",
    "inpaint": "resynthesis.calls",
    "load": "loading",
    "load_module": "loading",
    "models": "loading",
    "tile": "resynthesis.calls",
    "train_style": "train.start",
    "train_texture": "train.start",
}


if not TYPE_CHECKING:  # with it a type checker would take any name for one of these

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return __dir__()
        if name in _WHERE:
            try:
                return getattr(import_module(f"texturenets.{_WHERE[name]}"), name)
            except ModuleNotFoundError as error:
                if error.name != "torch":
                    raise
                from texturenets.errors import MissingError, install

                raise MissingError(f"{name} needs PyTorch: {install('train')}") from None
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, without those that need packages which are not installed; `from texturenets import *` imports
    these."""
    from importlib.util import find_spec

    from texturenets.train import lacking

    without = (
        {"EvaluationOptions", "convert", "evaluate", "inpaint", "tile"}
        if find_spec("torch") is None
        else set()
    )
    if lacking():
        without |= {"train_style", "train_texture"}
    return sorted({"__version__", *_WHERE} - without)
