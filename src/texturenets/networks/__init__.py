"""Generators: one file each, with its spec and its class, which registers itself."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

from torch import nn

from texturenets.errors import UserError
from texturenets.networks.custom import Custom, build_custom, make_spec
from texturenets.networks.registry import BUILDERS, SPECS, from_dict
from texturenets.networks.spec import GeneratorSpec, to_dict

__all__ = [
    "SPECS",
    "GeneratorSpec",
    "build",
    "from_dict",
    "make_spec",
    "to_dict",
]


def build(spec: GeneratorSpec, *, custom: Callable[..., Any] | str | None = None) -> nn.Module:
    """The network that `spec` describes, freshly initialised from torch's random state.

    Every generator converts RGB images (N, 3, H, W) in [0, 1] to images of the same shape. Height and width must be
    multiples of its attribute `stride`; `margin`: pixels by which photos must be reflection-padded on each side, and
    the image cropped. Generators with noise inputs (`NoiseFed`, and `graph`) list them in `noise`, for the second
    argument; `photo`: whether the first argument is a photo. `custom` is for a spec of the user's own code: the
    user's consent to run it, as "PATH.py:NAME", "PATH.py", an entry point's name, or the class or function itself.
    Without it only an installed entry point is run. Raises UserError for code that is not to be run or fails.
    """
    if isinstance(spec, Custom):
        return build_custom(spec, custom)
    if custom is not None:
        raise UserError(
            f"this model's generator is {spec.name}, which needs no code of your own: leave `generator` out"
        )
    return BUILDERS[spec.name](spec)


for _module in pkgutil.iter_modules(
    __path__
):  # each registers its networks; those that need `build` find it by now
    import_module(f"{__name__}.{_module.name}")
