"""SqueezeNet 1.0 as its authors published it in 675 kB: pruned weights, each an index into a codebook.

The layout follows the published decoder's description (github.com/songhan/SqueezeNet-Deep-Compression;
method: Han et al., arXiv 1510.00149, sections 2 and 3). All numbers are little-endian:

    uint32 x 26             how many weights each layer keeps, first to last convolution
    then for each layer:
    float32 x 256           the codebook (number 0 is the weight of all that was pruned)
    float32 x outputs       the biases
    uint8 x kept            one index into the codebook for each kept weight
    uint8 x ceil(kept / 2)  two gaps of 4 bits each, low half first: zeros between kept weights
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
import torch

from texturenets.readers.layouts import LAYERS
from texturenets.readers.stored import FormatError, Stored

NETWORK: Final = "squeezenet1_0"
_CODES: Final = 256
# All convolutions: those of the descriptor, and the classifier's.
_PLAN: Final = [
    *((layer.key, layer.shape) for layer in LAYERS[NETWORK]),
    ("classifier.1", (1000, 512, 1, 1)),
]
MAX_SIZE: Final = 4 << 20


def _num_bytes(count: int, shape: tuple[int, ...]) -> int:
    return 4 * _CODES + 4 * shape[0] + count + (count + 1) // 2


def matches(path: Path) -> bool:
    """Whether the counts at the start of the file add up to its size. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(4 * len(_PLAN))
    if len(head) < 4 * len(_PLAN) or size > MAX_SIZE:
        return False
    kept = np.frombuffer(head, "<u4").tolist()  # weights of each layer that are not 0
    return size == len(head) + sum(_num_bytes(k, shape) for k, (_, shape) in zip(kept, _PLAN, strict=True))


def read(path: Path) -> dict[str, Stored]:
    """{canonical name: array} of the file. Raises OSError; loading an array raises FormatError for a damaged file."""
    data = path.read_bytes()
    kept = np.frombuffer(data, "<u4", len(_PLAN)).tolist()
    position = 4 * len(_PLAN)
    out: dict[str, Stored] = {}
    for count, (key, shape) in zip(kept, _PLAN, strict=True):
        piece = data[position : position + _num_bytes(count, shape)]
        position += len(piece)
        out[f"{key}.weight"] = Stored(shape, lambda p=piece, c=count, s=shape: _weight(p, c, s))  # type: ignore[misc]
        out[f"{key}.bias"] = Stored(shape[:1], lambda p=piece, n=shape[0]: _bias(p, n))  # type: ignore[misc]
    return out


def _bias(piece: bytes, outputs: int) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(piece, "<f4", outputs, 4 * _CODES).astype(np.float32))


def _weight(piece: bytes, count: int, shape: tuple[int, ...]) -> torch.Tensor:
    codebook = np.frombuffer(piece, "<f4", _CODES)
    start = 4 * _CODES + 4 * shape[0]
    codes = np.frombuffer(piece, np.uint8, count, start)
    pairs = np.frombuffer(piece, np.uint8, (count + 1) // 2, start + count)
    gaps = np.stack([pairs & 15, pairs >> 4], 1).reshape(-1)[:count].astype(np.int64)
    places = np.cumsum(gaps + 1) - 1
    if count and places[-1] >= math.prod(shape):
        raise FormatError("its kept weights reach beyond the layer")
    indices = np.zeros(math.prod(shape), np.uint8)
    indices[places] = codes
    return torch.from_numpy(codebook[indices].astype(np.float32).reshape(shape))
