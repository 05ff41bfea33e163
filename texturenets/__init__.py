"""Feed-forward textures and styles: train a network once on a picture, draw with it in one pass.

import texturenets as tn
style = tn.load("wave")
picture = style(photo)          # a PIL image, an array or a tensor; the same kind comes back
texture = tn.load("bark.safetensors")
picture = texture.sample((640, 480), seed=7)
"""

from __future__ import annotations

import os
from typing import Any

from texturenets._version import __version__

# Threads of PyTorch's wait for each other asleep. In a loop, as its OpenMP library would have it, they take the time
# that whatever else runs on the machine needs, and that they need themselves. It is read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # torch takes a second to import: not before it is needed
    if name == "load":
        from texturenets.api import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
