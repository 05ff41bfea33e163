"""Devices that networks run on, and how their out-of-memory errors are recognized."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from texturenets.errors import MissingError, UserError, install, unknown

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


def require_torch(feature: str, extra: str = "train") -> None:
    """Raise MissingError if PyTorch, which `feature` needs, is not installed; `extra`: the extra that installs it."""
    if find_spec("torch") is None:
        raise MissingError(f"{feature} needs PyTorch: {install(extra)}")


def check_name(name: str) -> None:
    """Raise UserError for an unknown device name; whether the device exists is not checked. No torch."""
    kind, _, number = name.partition(":")
    if kind not in DEVICES or (number and not number.isdigit()):
        raise unknown("device", name, DEVICES)


def choose(name: str) -> torch.device:
    """The device that "auto", "cpu", "cuda", "cuda:1" or "mps" stands for; "auto" is the fastest available one.

    Raises UserError if there is no such device.
    """
    import torch

    check_name(name)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    kind, _, number = name.partition(":")
    if not available[kind] or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        raise UserError(f"device {name!r}: PyTorch finds none here; use `device` cpu")
    return torch.device(name)


def only_cpu() -> bool:
    """Whether it is certain, without asking torch, that the CPU is the only device.

    Only PyTorch uses other devices. An NVIDIA driver or an Apple machine may mean a GPU; `choose` finds out, but
    takes a second.
    """
    if find_spec("torch") is None:
        return True
    if sys.platform == "darwin":
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return True
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is an out-of-memory error of any device.

    CUDA has an exception for it; the CPU's and Apple's allocators raise a plain RuntimeError.
    """
    if isinstance(error, MemoryError):
        return True
    if "torch" in sys.modules:
        import torch

        if isinstance(error, torch.OutOfMemoryError):
            return True
    words = (
        "out of memory",
        "not enough memory",
        "can't allocate memory",
        "cannot allocate memory",
        "bad_alloc",
        "bad allocation",
        "failed to allocate",
    )
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


@contextmanager
def memory_errors(message: str) -> Iterator[None]:
    """Turn running out of memory inside the block into UserError(`message`)."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(message) from None
