"""Maps of numbers (N, C, H, W), as numpy arrays or torch tensors.

Importing torch takes longer than stylizing a photo: it is not imported here unless a tensor is passed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs

    Array = NDArray[np.float32] | Tensor

A = TypeVar("A", NDArray[np.float32], "Tensor")


def is_tensor(value: object) -> TypeIs[Tensor]:
    """Whether `value` is a torch tensor."""
    torch = sys.modules.get("torch")  # without it there is no tensor
    return torch is not None and isinstance(value, torch.Tensor)


def to_numpy(x: Array) -> NDArray[np.float32]:
    """`x` as an array of float32; not copied if it is one, or a tensor of that type on the CPU."""
    if is_tensor(x):
        detached: Any = x.detach().float().cpu().numpy()
        return detached  # type: ignore[no-any-return]
    return np.asarray(x, np.float32)


def to_tensor(x: Array) -> Tensor:
    """`x` as a tensor; an array shares its memory with it."""
    if is_tensor(x):
        return x
    import torch

    return torch.from_numpy(np.ascontiguousarray(x))


def like(x: Array, model: A) -> A:
    """`x` converted to the type of `model`: an array, or a tensor on the same device."""
    if is_tensor(model):
        return to_tensor(x).to(model.device)
    return to_numpy(x)


def concatenate(parts: Sequence[A], axis: int = 0) -> A:
    """Arrays, or tensors, joined along `axis`; a single one is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    if is_tensor(parts[0]):
        import torch

        return torch.cat(list(parts), axis)  # type: ignore[arg-type]
    return np.concatenate(parts, axis)
