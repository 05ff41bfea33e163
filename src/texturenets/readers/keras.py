"""Keras weights in HDF5 (`.h5`): kernels are turned from (k, k, inputs, outputs) to (outputs, inputs, k, k).

Three layouts, told apart by their paths: Keras 1 (`block1_conv1/block1_conv1_W_1:0`), Keras 2
(`block1_conv1/block1_conv1/kernel:0`) and Keras 3 (`layers/conv2d_3/vars/0`, numbered in order).
"""

from __future__ import annotations

from pathlib import Path

import torch

from texturenets.readers import isolated
from texturenets.readers.stored import Stored, in_memory


def read(path: Path) -> dict[str, Stored]:
    """{"<layer>.weight": array, ...} of all convolutions in the file.

    Raises FormatError and OSError, and UserError if h5py is not installed.
    """
    out: dict[str, Stored] = {}
    for name, array in isolated.read("h5py", path).items():
        tensor = torch.from_numpy(array)
        if array.ndim == 4:
            out[f"{_stem(name)}.weight"] = in_memory(tensor.permute(3, 2, 0, 1).contiguous())
        else:
            out[f"{_stem(name)}.bias"] = in_memory(tensor)
    return out


def _stem(path: str) -> str:
    """The layer's path: without the array's own name, and a layer's name repeated counts once."""
    parts = path.strip("/").split("/")[:-1]
    if parts and parts[-1] == "vars":
        parts.pop()
    if len(parts) > 1 and parts[-1] == parts[-2]:
        parts.pop()
    return "/".join(parts)
