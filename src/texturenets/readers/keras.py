"""Keras weights in HDF5 (`.h5`): kernels are turned from (k, k, inputs, outputs) to (outputs, inputs, k, k).

Three layouts, told apart by their paths: Keras 1 (`block1_conv1/block1_conv1_W_1:0`), Keras 2
(`block1_conv1/block1_conv1/kernel:0`) and Keras 3 (`layers/conv2d_3/vars/0`, numbered in order).
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from texturenets.errors import UserError, install
from texturenets.readers.stored import DamagedError, Stored

_CHILD: Final = Path(__file__).with_name("hdf5_child.py")
_START: Final = 30.0  # seconds for a slow machine to start Python; the child bounds its own processor time


def _run(path: Path) -> bytes:
    command = [sys.executable, "-P", str(_CHILD), str(path.resolve())]
    limit = _START + path.stat().st_size / 10e6
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=limit, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise DamagedError("the HDF5 library did not come to an end") from None
    if done.returncode == 3:
        raise UserError(f"{path} is an HDF5 file, which h5py reads: {install('train')}")
    if done.returncode == 4:
        raise DamagedError(done.stderr.decode(errors="replace") or "the HDF5 library refused it")
    if done.returncode:
        raise DamagedError(f"the HDF5 library failed on it (status {done.returncode})")
    return done.stdout


def read(path: Path) -> dict[str, Stored]:
    """{"<layer>.weight": array, ...} of all convolutions in the file.

    Raises DamagedError and OSError, and UserError where h5py is not installed.
    """
    head, _, body = _run(path).partition(b"\n")
    out: dict[str, Stored] = {}
    position = 0
    for name, shape in json.loads(head):
        count = math.prod(shape)
        data = body[position : position + 4 * count]
        position += 4 * count
        stem = _stem(str(name))
        if len(shape) == 4:
            height, width, inputs, outputs = shape
            turned = (outputs, inputs, height, width)
            out[f"{stem}.weight"] = Stored(turned, lambda d=data, s=tuple(shape): _kernel(d, s))  # type: ignore[misc]
        else:
            out[f"{stem}.bias"] = Stored((count,), lambda d=data: _array(d))  # type: ignore[misc]
    return out


def _array(data: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(data, "<f4").astype(np.float32))


def _kernel(data: bytes, shape: tuple[int, ...]) -> torch.Tensor:
    array: Any = np.frombuffer(data, "<f4").reshape(shape).transpose(3, 2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _stem(path: str) -> str:
    """The layer's path: without the array's own name, and a layer's name repeated counts once."""
    parts = path.strip("/").split("/")[:-1]
    if parts and parts[-1] == "vars":
        parts.pop()
    if len(parts) > 1 and parts[-1] == parts[-2]:
        parts.pop()
    return "/".join(parts)
