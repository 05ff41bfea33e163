"""Losses, one module each, registered in its own file; `Objective` adds them up.

A new one is a file in this folder with a class derived from `Loss` under the decorator `register`, and a field for
its weight in `train.configuration`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from texturenets.losses.base import LOSSES, Features, Loss, LossSettings, Scaling, Targets, register
from texturenets.losses.objective import Objective, build, layers_of

for _module in pkgutil.iter_modules(__path__):  # each registers its loss
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "LOSSES",
    "Features",
    "Loss",
    "LossSettings",
    "Objective",
    "Scaling",
    "Targets",
    "build",
    "layers_of",
    "register",
]
